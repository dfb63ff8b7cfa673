//! Real PostgreSQL servers for tests: started in a temporary folder on a free port of 127.0.0.1, and ended when the value
//! is dropped, when a test panics, and when the test program itself is killed.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a server of the tests has a directory with its data and settings"
)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use jm_step::{Connection, Environment, OpenContext, RunId, Secret, Secrets};
use tempfile::TempDir;

use crate::{Postgres, PostgresConfig};

mod proxy;
pub use proxy::{Cut, Proxy};

/// The superuser of every test server, and its password.
pub const USER: &str = "jm";
/// See [`USER`].
pub const PASSWORD: &str = "correct-horse-battery";
const START_LIMIT: Duration = Duration::from_mins(1);

/// How a test server differs from the ordinary.
#[derive(Debug, Clone, Default)]
pub struct PgOptions {
    /// Lines for `postgresql.conf`.
    pub settings: Vec<(String, String)>,
    /// Certificate and key (PEM) to serve TLS with.
    pub tls: Option<(String, String)>,
    /// Keep what was committed through a kill.
    pub durable: bool,
    /// Check passwords by MD5, which costs a debug build far less time than SCRAM.
    pub md5: bool,
}

/// A running server.
pub struct PgServer {
    folder: TempDir,
    port: u16,
    /// A shell that holds the server: it ends it when its standard input closes.
    keeper: Option<Child>,
}

impl PgServer {
    /// Starts one. Panics where the machine has no PostgreSQL: a missing server is an error and never a skipped test.
    pub fn start() -> Self {
        Self::start_with(&PgOptions::default())
    }

    /// Starts one that differs from the ordinary.
    pub fn start_with(options: &PgOptions) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("jm-pg-")
            .tempdir()
            .expect("temporary folder");
        let mut server = Self {
            folder,
            port: free_port(),
            keeper: None,
        };
        server.initialise(options);
        server.resume();
        server
    }

    /// The one server that all tests of a program share; each makes databases of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PgServer> = OnceLock::new();
        SHARED.get_or_init(|| {
            Self::start_with(&PgOptions {
                md5: true,
                ..PgOptions::default()
            })
        })
    }

    /// Where a database of it is, with the superuser's password.
    pub fn url(&self, database: &str) -> String {
        self.url_on(self.port, database)
    }

    /// The same by way of another port, such as a proxy's.
    pub fn url_on(&self, port: u16, database: &str) -> String {
        format!("postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/{database}")
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its Unix socket.
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A name for a database or a role that no other test has.
    pub fn unique(prefix: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!(
            "{prefix}_{}_{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        )
    }

    /// Opens a connection as a step would get it, meaning a database.
    pub async fn open(&self, database: &str) -> Postgres {
        open_url(&self.url(database)).await
    }

    /// Runs statements in a database, one by one.
    pub async fn sql(&self, database: &str, statements: &[&str]) {
        let session = self
            .open(database)
            .await
            .connect_to(database, None)
            .await
            .expect("session");
        session
            .batch("SET search_path = public, pg_catalog")
            .await
            .expect("search path");
        for statement in statements {
            session
                .batch(statement)
                .await
                .unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }

    /// The first column of a query's first row, as text.
    pub async fn text(&self, database: &str, sql: &str) -> Option<String> {
        let session = self
            .open(database)
            .await
            .connect_to(database, None)
            .await
            .expect("session");
        let rows = session.query(&format!("SELECT ({sql})::text"), &[]).await;
        rows.unwrap_or_else(|error| panic!("{sql}: {error}"))
            .first()
            .and_then(|row| row.get(0))
    }

    /// Makes a role that is no superuser and may create databases, as jm needs it at least, and gives its name.
    pub async fn role(&self, prefix: &str) -> String {
        let name = Self::unique(prefix);
        let sql = format!("CREATE ROLE {name} LOGIN NOSUPERUSER CREATEDB PASSWORD '{PASSWORD}'");
        self.sql("postgres", &[&sql]).await;
        name
    }

    /// Where a database of it is for such a role.
    pub fn url_of(&self, role: &str, database: &str) -> String {
        format!("postgresql://{role}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes an empty database and gives its name.
    pub async fn database(&self, prefix: &str) -> String {
        let name = Self::unique(prefix);
        self.sql("postgres", &[&format!("CREATE DATABASE {name} TEMPLATE template0")])
            .await;
        name
    }

    /// Kills it, as a machine that loses power would.
    pub fn kill(&mut self) {
        self.signal(rustix::process::Signal::KILL);
        if let Some(pipe) = self.keeper.as_mut().and_then(|keeper| keeper.stdin.as_mut()) {
            writeln!(pipe, "keep").expect("the shell listens");
        }
        self.wait_for_keeper();
    }

    /// Starts it again on the same port with the same data.
    pub fn resume(&mut self) {
        assert!(self.keeper.is_none(), "the server runs");
        drop(std::fs::remove_file(self.data().join("postmaster.pid")));
        self.keeper = Some(self.spawn_keeper());
        self.wait_until_ready();
    }

    fn initialise(&self, options: &PgOptions) {
        let folder = self.folder.path();
        give_away(folder);
        let password = folder.join("password");
        write(&password, PASSWORD, 0o644);
        let output = as_server_user("initdb")
            .arg("-D")
            .arg(self.data())
            .args([
                "-U",
                USER,
                "-A",
                if options.md5 { "md5" } else { "scram-sha-256" },
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
                "-k",
                "--pwfile",
            ])
            .arg(password)
            .current_dir(folder)
            .output()
            .expect("initdb");
        assert!(
            output.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        self.configure(options);
    }

    fn configure(&self, options: &PgOptions) {
        let mut lines = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\n",
            self.port,
            self.folder.path().display()
        );
        if !options.durable {
            lines += "fsync = off\nfull_page_writes = off\nsynchronous_commit = off\n";
        }
        if let Some((certificate, key)) = &options.tls {
            write(&self.folder.path().join("server.crt"), certificate, 0o644);
            write(&self.folder.path().join("server.key"), key, 0o600);
            give_away(&self.folder.path().join("server.key"));
            let at = self.folder.path().display();
            write!(
                lines,
                "ssl = on\nssl_cert_file = '{at}/server.crt'\nssl_key_file = '{at}/server.key'\n"
            )
            .expect("text");
        }
        for (name, value) in &options.settings {
            writeln!(lines, "{name} = '{value}'").expect("text");
        }
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(self.data().join("postgresql.conf"))
            .expect("postgresql.conf");
        file.write_all(lines.as_bytes()).expect("postgresql.conf");
    }

    fn spawn_keeper(&self) -> Child {
        // The shell's `read` ends when this program closes the pipe or is gone, by whatever means. Then nobody else is
        // left to clean up.
        let script = r#"log=$1; shift; "$@" >>"$log" 2>&1 & pid=$!; read -r word
            kill -QUIT $pid 2>/dev/null; wait $pid; [ "$word" = keep ] || rm -rf "$PWD""#;
        as_server_user("sh")
            .args(["-c", script, "sh"])
            .arg(self.folder.path().join("log"))
            .arg(program("postgres"))
            .arg("-D")
            .arg(self.data())
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts")
    }

    fn wait_until_ready(&self) {
        let since = Instant::now();
        while !self.is_ready() {
            assert!(
                since.elapsed() < START_LIMIT,
                "the server does not start:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// The last line of the pid file tells the server's own state.
    fn is_ready(&self) -> bool {
        self.pid_file()
            .is_some_and(|text| text.lines().any(|line| line.trim() == "ready"))
    }

    fn pid_file(&self) -> Option<String> {
        std::fs::read_to_string(self.data().join("postmaster.pid")).ok()
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = self
            .pid_file()
            .and_then(|text| text.lines().next()?.trim().parse().ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    fn wait_for_keeper(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            drop(keeper.wait());
        }
    }
}

impl Drop for PgServer {
    fn drop(&mut self) {
        self.wait_for_keeper();
    }
}

/// Opens a connection to a URL with an empty environment.
pub async fn open_url(url: &str) -> Postgres {
    let config = PostgresConfig {
        url: Secret::new(url),
        maintenance_database: None,
        ca_file: None,
        query_timeout_seconds: None,
    };
    open_config(config).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Opens a connection with an empty environment.
pub async fn open_config(config: PostgresConfig) -> Result<Postgres, jm_step::StepError> {
    let cx = OpenContext {
        secrets: Secrets::new(),
        environment: Environment::new([]),
        run: RunId::generate(),
    };
    Postgres::open(config, &cx).await
}

/// A port of 127.0.0.1 that nobody uses.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn write(path: &Path, content: &str, mode: u32) {
    std::fs::write(path, content).expect("write");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("mode");
}

fn give_away(path: &Path) {
    if rustix::process::geteuid().is_root() {
        let status = command("chown").arg("postgres").arg(path).status().expect("chown");
        assert!(status.success());
    }
}

/// A server's program: of the folder that `JM_TEST_POSTGRES` names, or of the newest PostgreSQL on this machine.
fn program(name: &str) -> PathBuf {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test is told from outside which server to try"
    )]
    if let Ok(folder) = std::env::var("JM_TEST_POSTGRES") {
        return Path::new(&folder).join(name);
    }
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin").join(name),
            ))
        })
        .filter(|(_, path)| path.exists())
        .collect();
    versions.sort();
    versions.pop().map_or_else(|| PathBuf::from(name), |(_, path)| path)
}

/// PostgreSQL refuses to run as root.
fn as_server_user(name: &str) -> std::process::Command {
    let program = if name == "sh" {
        PathBuf::from("/bin/sh")
    } else {
        program(name)
    };
    if !rustix::process::geteuid().is_root() {
        return command(program);
    }
    let mut wrapped = command("setpriv");
    wrapped
        .args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--"])
        .arg(program);
    wrapped
}

#[expect(clippy::disallowed_methods, reason = "test servers are no children of a step")]
fn command(program: impl AsRef<std::ffi::OsStr>) -> std::process::Command {
    std::process::Command::new(program)
}
