//! The environment: read here, and nowhere else.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a variable may name a file that holds its value"
)]

use std::path::{Path, PathBuf};

use jm_step::Environment;

/// The largest file that a `NAME_FILE` variable or a `file:` reference may name. Keys and passwords are short.
const LARGEST_SECRET: u64 = 64 * 1024;

/// Names the directory of the sandbox that a command runs in.
pub(crate) const IN_SANDBOX: &str = "JM_SANDBOX";

/// A command of jm as it is given again later: where this one runs in a sandbox, it has to be given in there.
pub(crate) fn again(command: String) -> String {
    match variable(IN_SANDBOX) {
        Some(directory) => format!("jm sandbox run --directory {directory} -- {command}"),
        None => command,
    }
}

/// A variable's value, where it is set and is text.
#[expect(clippy::disallowed_methods, reason = "this is the module that owns the environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether a variable is set to anything at all.
pub(crate) fn is_set(name: &str) -> bool {
    variable(name).is_some_and(|value| !value.is_empty())
}

/// The whole environment, as it is handed on to connections and children. What is not text is left out.
#[expect(clippy::disallowed_methods, reason = "this is the module that owns the environment")]
pub(crate) fn snapshot() -> Environment {
    let text =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Environment::new(text)
}

/// A variable for a targets file: `NAME`, else the content of the file that `NAME_FILE` names.
pub(crate) fn lookup(environment: &Environment, name: &str) -> Result<Option<String>, String> {
    if let Some(value) = environment.get(name) {
        return Ok(Some(value.to_owned()));
    }
    match environment.get(&format!("{name}_FILE")) {
        Some(path) => read_secret(path)
            .map(Some)
            .map_err(|error| format!("{name}_FILE: {error}")),
        None => Ok(None),
    }
}

/// A secret by its reference, `env:NAME` or `file:PATH`.
pub(crate) fn resolve(environment: &Environment, reference: &str) -> Result<String, String> {
    match reference.split_once(':') {
        Some(("env", name)) => environment
            .get(name)
            .map(str::to_owned)
            .ok_or_else(|| format!("variable {name} is not set")),
        Some(("file", path)) => read_secret(path),
        _ => Err("a secret is given as `env:NAME` or `file:PATH`".to_owned()),
    }
}

/// The content of a file without the one line end that editors add, as `gpg --passphrase-file` reads it.
fn read_secret(path: &str) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot read {path}: {error}");
    if std::fs::metadata(path).map_err(cannot)?.len() > LARGEST_SECRET {
        return Err(format!("{path} is larger than any secret ({LARGEST_SECRET} bytes)"));
    }
    let mut text = std::fs::read_to_string(path).map_err(cannot)?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

/// Whether one of these files is there, and those that are can be read. The error says which is not, and why.
pub(crate) fn readable(files: &[PathBuf]) -> Result<(), String> {
    let mut missing = None;
    let mut found = false;
    for file in files {
        match can_be_read(file) {
            Ok(()) => found = true,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                missing.get_or_insert_with(|| format!("{}: {error}", file.display()));
            }
            Err(error) => return Err(format!("{}: {error}", file.display())),
        }
    }
    missing.filter(|_| !found).map_or(Ok(()), Err)
}

fn can_be_read(file: &Path) -> std::io::Result<()> {
    let found = std::fs::metadata(file)?;
    if found.is_dir() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    // What is no plain file, such as a pipe, can be opened only once.
    if found.is_file() {
        std::fs::File::open(file).map(drop)
    } else {
        Ok(())
    }
}

/// Where runs are kept: `JM_STATE`, else `jm` under the user's state directory.
pub(crate) fn state_dir() -> Option<PathBuf> {
    jm_step::state_dir(variable)
}

/// Who is at work, such as `ada@bastion`, for the journal.
pub(crate) fn who() -> String {
    format!("{}@{}", user(), host())
}

/// The user's name: as the environment has it, which may name the person behind an account that several share; where it
/// says nothing, as the user database has it.
pub(crate) fn user() -> String {
    let said = |name: &str| variable(name).filter(|name| !name.trim().is_empty());
    let known = || whoami::username().ok().filter(|name| !name.is_empty());
    let by_number = || rustix::process::geteuid().as_raw().to_string();
    said("USER")
        .or_else(|| said("LOGNAME"))
        .or_else(known)
        .unwrap_or_else(by_number)
}

/// This machine's name.
pub(crate) fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| variable("HOSTNAME"));
    host.as_deref().map_or("unknown", str::trim).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::new(
            variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    #[test]
    fn a_file_stands_in_for_an_unset_variable() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "from the file\n\n").expect("written");
        let path = file.path().to_str().expect("text");
        let both = environment(&[("KEY", "from the variable"), ("KEY_FILE", path)]);
        assert_eq!(lookup(&both, "KEY"), Ok(Some("from the variable".to_owned())));
        let file_only = environment(&[("KEY_FILE", path)]);
        assert_eq!(
            lookup(&file_only, "KEY"),
            Ok(Some("from the file\n".to_owned())),
            "one line end goes, not two"
        );
        assert_eq!(lookup(&environment(&[]), "KEY"), Ok(None));
        assert!(
            lookup(&environment(&[("KEY_FILE", "/nowhere")]), "KEY")
                .expect_err("missing")
                .contains("KEY_FILE")
        );
    }

    #[test]
    fn one_of_some_files_is_enough_and_each_that_is_there_has_to_be_readable() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config");
        std::fs::write(&file, "").expect("written");
        let nowhere = PathBuf::from("/nowhere/config");
        assert_eq!(readable(&[nowhere.clone(), file.clone()]), Ok(()));
        assert!(
            readable(&[nowhere])
                .expect_err("missing")
                .starts_with("/nowhere/config: ")
        );
        assert!(
            readable(&[file, folder.path().to_path_buf()])
                .expect_err("a folder")
                .contains("directory")
        );
    }

    #[test]
    fn a_secret_is_a_reference() {
        let known = environment(&[("TOKEN", "t")]);
        assert_eq!(resolve(&known, "env:TOKEN"), Ok("t".to_owned()));
        assert!(resolve(&known, "env:OTHER").is_err());
        assert!(resolve(&known, "plain").expect_err("a value").contains("env:NAME"));
    }
}
