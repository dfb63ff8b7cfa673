//! The certificates and the key that opening a connection reads and that somebody names.

use std::path::{Path, PathBuf};

use jm_step::{Environment, NamedBy, NamedFile, StepError};

use super::{Check, VARIABLES, gather, hosts, sslmode};
use crate::PostgresConfig;
use crate::conninfo;

/// The files by name. No file is read; those that lie where libpq looks for them by itself may be absent.
pub(crate) fn files(config: &PostgresConfig, environment: &Environment) -> Result<Vec<NamedFile>, StepError> {
    let url = conninfo::parse(config.url.expose())?;
    let all = gather(config.url.expose(), environment)?;
    let get = |key: &str| all.get(key).map(String::as_str);
    let named = |what, key: &'static str| {
        let variable = VARIABLES.iter().find(|(_, parameter)| *parameter == key);
        let by = match variable {
            Some((variable, _)) if !url.contains_key(key) => NamedBy::Variable(variable),
            _ => NamedBy::Field("/url"),
        };
        get(key).map(|path| NamedFile::new(what, path, by))
    };
    let trusted = match config.ca_file.as_deref().filter(|file| !file.is_empty()) {
        Some(file) => Some(NamedFile::new("file of certificates", file, NamedBy::Field("/ca_file"))),
        None => named("file of certificates", "sslrootcert"),
    };
    let trusted = trusted.filter(|file| file.paths != [Path::new("system")]);
    // Where no host is named, the default one is on this machine, whatever its socket.
    let hosts = hosts::resolve(get("host").or(Some("localhost")), get("hostaddr"), get("port"))?;
    let roots = trusted.as_ref().and_then(|file| file.paths.first());
    let mode = sslmode(get("sslmode"), &hosts, roots.map(PathBuf::as_path), get("sslrootcert"))?;
    let trusted = trusted.filter(|_| mode.check() != Check::Nothing);
    let own = [named("certificate", "sslcert"), named("key", "sslkey")];
    Ok(trusted.into_iter().chain(own.into_iter().flatten()).collect())
}

#[cfg(test)]
mod tests {
    use jm_step::Secret;

    use super::*;

    fn files_of(url: &str, ca_file: Option<&str>, variables: &[(&str, &str)]) -> Vec<(String, NamedBy)> {
        let config = PostgresConfig {
            url: Secret::new(url),
            maintenance_database: None,
            ca_file: ca_file.map(str::to_owned),
            query_timeout_seconds: None,
        };
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let files = files(&config, &Environment::new(variables)).expect("a sound configuration");
        files
            .into_iter()
            .map(|file| (file.paths[0].display().to_string(), file.by))
            .collect()
    }

    #[test]
    fn what_is_named_and_needed_is_looked_for() {
        let url = "postgresql://u@db/app?sslmode=verify-full";
        let variables = [("PGSSLROOTCERT", "/ca"), ("PGSSLCERT", "/mine"), ("PGSSLKEY", "/key")];
        let by = |path: &str, variable| (path.to_owned(), NamedBy::Variable(variable));
        assert_eq!(
            files_of(url, None, &variables),
            [
                by("/ca", "PGSSLROOTCERT"),
                by("/mine", "PGSSLCERT"),
                by("/key", "PGSSLKEY")
            ]
        );
        assert_eq!(
            files_of(&format!("{url}&sslrootcert=/mine"), None, &variables[..1]),
            [("/mine".to_owned(), NamedBy::Field("/url"))]
        );
        assert_eq!(
            files_of(url, Some("/file"), &variables[..1]),
            [("/file".to_owned(), NamedBy::Field("/ca_file"))]
        );
        assert_eq!(files_of(url, None, &[("PGSSLROOTCERT", "system")]), []);
        let unchecked = "postgresql://u@localhost/app?sslmode=disable";
        assert_eq!(files_of(unchecked, None, &variables[..1]), [], "nobody reads it");
        assert_eq!(files_of("postgresql://u@db/app", None, &[]), []);
    }
}
