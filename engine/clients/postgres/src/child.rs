//! How a child program of PostgreSQL's own reaches the server: by variables, and the password by a file that only its
//! owner can read. Nothing of it stands in arguments.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "client programs take a password from a file"
)]

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;

use jm_step::process::Supervisor;
use jm_step::{StepError, StepId};

use crate::passfile;
use crate::settings::{self, Settings};

/// Variables for a child program. The password file goes when this is dropped: keep it until the program has ended. Where
/// jm is killed before that, its supervisor removes it.
pub struct ChildEnvironment {
    variables: BTreeMap<String, String>,
    _secrets: Option<SecretFolder>,
}

/// A folder that only its owner can read, and that does not outlive jm.
struct SecretFolder {
    folder: PathBuf,
    supervisor: Supervisor,
}

impl SecretFolder {
    /// An empty one. The supervisor knows of it before it is there: a kill at any moment leaves nothing.
    fn new(supervisor: &Supervisor) -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let made = tempfile::Builder::new().prefix("jm-").make(|folder| {
            supervisor.watch_folder(folder);
            let made = std::fs::DirBuilder::new().mode(0o700).create(folder);
            // A folder of this name that is somebody else's is not ours to remove.
            made.inspect_err(|_| supervisor.forget_folder(folder))
        })?;
        // Removed by this value alone, so that it is forgotten only after that.
        let folder = made.into_temp_path().keep()?;
        let supervisor = supervisor.clone();
        Ok(Self { folder, supervisor })
    }
}

impl Drop for SecretFolder {
    fn drop(&mut self) {
        // Removed before it is forgotten: a kill in between removes it again.
        drop(std::fs::remove_dir_all(&self.folder));
        self.supervisor.forget_folder(&self.folder);
    }
}

impl ChildEnvironment {
    /// The variables, by name. None of them is a secret.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }
}

impl fmt::Debug for ChildEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.variables).finish()
    }
}

pub(crate) fn environment(
    settings: &Settings,
    database: &str,
    step: Option<&StepId>,
    supervisor: &Supervisor,
) -> Result<ChildEnvironment, StepError> {
    let mut variables = settings::variables(settings, database, step);
    let lines = lines(settings, database)?;
    if lines.is_empty() {
        return Ok(ChildEnvironment {
            variables,
            _secrets: None,
        });
    }
    let (secrets, file) = write(&lines, supervisor).map_err(|error| {
        StepError::failed("a password file cannot be written to the temporary folder").source(error)
    })?;
    variables.insert("PGPASSFILE".to_owned(), file);
    Ok(ChildEnvironment {
        variables,
        _secrets: Some(secrets),
    })
}

fn lines(settings: &Settings, database: &str) -> Result<String, StepError> {
    let mut lines = String::new();
    for host in &settings.hosts {
        let Some(password) = settings.password(host, database) else {
            continue;
        };
        if password.expose().contains(['\n', '\r']) {
            return Err(StepError::invalid_input(
                "a password with a line break cannot be handed to PostgreSQL's programs",
            )
            .hint("change the password"));
        }
        // With one host nothing can be mistaken, and libpq's own name for it need not be guessed.
        let name = if settings.hosts.len() == 1 {
            "*".to_owned()
        } else {
            passfile::escape(&host.passfile_name())
        };
        let password = passfile::escape(password.expose());
        lines.push_str(
            &[&name, &host.port.to_string(), "*", "*", &password]
                .map(str::to_owned)
                .join(":"),
        );
        lines.push('\n');
    }
    Ok(lines)
}

fn write(lines: &str, supervisor: &Supervisor) -> std::io::Result<(SecretFolder, String)> {
    use std::os::unix::fs::OpenOptionsExt;
    let secrets = SecretFolder::new(supervisor)?;
    let path = secrets.folder.join("pgpass");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    file.write_all(lines.as_bytes())?;
    Ok((secrets, path.display().to_string()))
}
