//! PostgreSQL of the sandbox: the machine's own server programs, on a folder of their own.
//!
//! The server refuses to run as root; where jm is root, it runs as the system's user `postgres`, else `nobody`.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use jm_step::process::{Command, Process, Supervisor};
use jm_step::{Environment, Secret};
use tokio::time::Instant;

use crate::SandboxError;

pub(crate) mod programs;
use programs::programs;

/// The role that the sandbox's address names. It owns everything, as the role of a small shop does.
const ROLE: &str = "journeyman";
/// How long a server may take to answer after its start.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How long one look at it may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Users that a server may run as where jm is root.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// A running PostgreSQL server. It ends when it is dropped; its data stays.
pub struct PostgresServer {
    port: u16,
    password: Secret,
    process: Process,
}

impl PostgresServer {
    /// Starts a server on the data in `root`, which is made where it is missing, on this port of 127.0.0.1.
    pub async fn start(
        root: &Path,
        port: u16,
        supervisor: &Supervisor,
        environment: &Environment,
    ) -> Result<Self, SandboxError> {
        let programs = programs(environment)?;
        let account = account()?;
        let data = root.join("data");
        let password = password(root)?;
        if !data.join("PG_VERSION").exists() {
            initialise(root, &data, &password, &programs, account, supervisor, environment).await?;
        }
        let log = File::create(root.join("postgres.log")).map_err(SandboxError::file("write", root))?;
        let command = as_account(Command::new(programs.join("postgres")), account)
            .arg("-D")
            .arg(data.display().to_string())
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .args(["-c".to_owned(), format!("port={port}")])
            .output_to(log);
        let process = command
            .spawn(supervisor, environment)
            .map_err(|error| failed(error.message()))?;
        let mut server = Self {
            port,
            password,
            process,
        };
        server.wait_until_ready(root).await?;
        Ok(server)
    }

    /// Where a database of it is.
    pub fn url(&self, database: &str) -> String {
        url(&self.password, self.port, database)
    }

    /// Ends it, as a power cut would, and waits until it is gone.
    pub(crate) async fn stop(mut self) {
        self.process.kill().await;
    }

    /// Waits for its end, which is a failure as long as nobody asked for it.
    pub async fn ended(&mut self) -> SandboxError {
        match self.process.wait().await {
            Ok(status) => failed(format!("ended by itself ({status}); read postgres.log in its folder")),
            Err(error) => failed(error.message()),
        }
    }

    async fn wait_until_ready(&mut self, root: &Path) -> Result<(), SandboxError> {
        let limit = Instant::now() + START_LIMIT;
        loop {
            let url = self.url("postgres");
            // Whoever else has its port may take a connection and never say a word.
            let answered = async {
                let answered = answers(&url).await;
                if !answered {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                answered
            };
            tokio::select! {
                biased;
                ended = self.process.wait() => {
                    drop(ended);
                    return Err(failed(format!("did not start: {}", last_words(root))));
                }
                answered = tokio::time::timeout(ANSWER_LIMIT, answered) => if answered == Ok(true) {
                    return Ok(());
                }
            }
            if Instant::now() > limit {
                return Err(failed(format!(
                    "did not answer within {} s: {}",
                    START_LIMIT.as_secs(),
                    last_words(root)
                )));
            }
        }
    }
}

/// Where a database is whose server has, or will have, this password and port.
pub(crate) fn url(password: &Secret, port: u16, database: &str) -> String {
    format!("postgresql://{ROLE}:{}@127.0.0.1:{port}/{database}", password.expose())
}

async fn answers(url: &str) -> bool {
    let Ok((client, connection)) = tokio_postgres::connect(url, tokio_postgres::NoTls).await else {
        return false;
    };
    let connection = tokio::spawn(connection);
    let answered = client.simple_query("SELECT 1").await.is_ok();
    drop(client);
    drop(connection.await);
    answered
}

/// The user and group that the server runs as, where it may not run as ours.
fn account() -> Result<Option<(u32, u32)>, SandboxError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd").map_err(SandboxError::file("read", "/etc/passwd"))?;
    let entry = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    USERS
        .iter()
        .find_map(|name| entry(name))
        .map(Some)
        .ok_or_else(|| failed("may not run as root, and there is no user `postgres` or `nobody` to run as"))
}

fn as_account(command: Command, account: Option<(u32, u32)>) -> Command {
    match account {
        Some((user, group)) => command.user(user, group),
        None => command,
    }
}

/// The role's password: made once, kept in a file of the sandbox's own.
pub(crate) fn password(root: &Path) -> Result<Secret, SandboxError> {
    let path = root.join("password");
    if let Ok(text) = std::fs::read_to_string(&path) {
        return Ok(Secret::new(text));
    }
    let text = hex::encode(rand::random::<[u8; 16]>());
    std::fs::create_dir_all(root)
        .and_then(|()| std::fs::write(&path, &text))
        .map_err(SandboxError::file("write", path))?;
    Ok(Secret::new(text))
}

async fn initialise(
    root: &Path,
    data: &Path,
    password: &Secret,
    programs: &Path,
    account: Option<(u32, u32)>,
    supervisor: &Supervisor,
    environment: &Environment,
) -> Result<(), SandboxError> {
    // The password reaches initdb by a file that the server's user can read, and that is gone afterwards.
    let file = root.join("initial-password");
    std::fs::write(&file, password.expose()).map_err(SandboxError::file("write", &file))?;
    if let Some((user, group)) = account {
        for path in [root, &file] {
            std::os::unix::fs::chown(path, Some(user), Some(group)).map_err(SandboxError::file("give away", path))?;
        }
    }
    let log_path = root.join("initdb.log");
    let log = File::create(&log_path).map_err(SandboxError::file("write", &log_path))?;
    let command = as_account(Command::new(programs.join("initdb")), account)
        .args([
            "-D".to_owned(),
            data.display().to_string(),
            "-U".to_owned(),
            ROLE.to_owned(),
        ])
        .args([
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--data-checksums",
            "--no-sync",
        ])
        .arg(format!("--pwfile={}", file.display()))
        .output_to(log);
    let mut process = command
        .spawn(supervisor, environment)
        .map_err(|error| failed(error.message()))?;
    let status = process.wait().await.map_err(|error| failed(error.message()))?;
    std::fs::remove_file(&file).map_err(SandboxError::file("remove", &file))?;
    if status.success() {
        return Ok(());
    }
    let said = std::fs::read_to_string(&log_path).unwrap_or_default();
    Err(failed(format!(
        "could not be set up in `{}`: {}; its user must be able to reach that folder",
        root.display(),
        tail(&said)
    )))
}

fn last_words(root: &Path) -> String {
    tail(&std::fs::read_to_string(root.join("postgres.log")).unwrap_or_default())
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join("; ")
}

fn failed(reason: impl Into<String>) -> SandboxError {
    SandboxError::Server {
        service: "PostgreSQL",
        reason: reason.into(),
    }
}
