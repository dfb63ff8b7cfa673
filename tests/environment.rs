//! Where a test runs the binary: in worlds of its own, with a cleared environment.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::Fingerprint;
use jm_sandbox::webhook::{Received, WebhookServer, received};
use jm_sandbox::{Description, journeyman};
use serde_json::Value;
use tempfile::TempDir;

use crate::wire::Wire;

/// The binary under test.
pub(crate) const JM: &str = env!("CARGO_BIN_EXE_jm");

/// A file of the repository.
pub(crate) fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The binary with nothing in its environment but where programs are.
pub(crate) fn jm(state: &Path) -> Command {
    let mut command = Command::new(JM);
    bare(&mut command);
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("JM_STATE", state)
        .env("HOME", state);
    command
}

/// Clears an environment down to what every program needs. What `tests/run` marks its children with stays.
fn bare(command: &mut Command) {
    command.env_clear();
    for name in ["PATH", "JM_TEST_RUN"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
}

/// What `jm drill` of a plan said, in a folder of its own. It has to end well, and everything has to be as before.
pub(crate) fn drilled(plan: &str) -> Result<String> {
    drilled_with(plan, &[])
}

/// The same with more words.
pub(crate) fn drilled_with(plan: &str, words: &[&str]) -> Result<String> {
    let folder = folder()?;
    let mut drill = jm(&folder.path().join("state"));
    drill
        .env("TMPDIR", folder.path())
        .args(["drill", plan, "--sandbox"])
        .args(words);
    let output = drill.output()?;
    let text = said(&output);
    ensure!(output.status.code() == Some(0), "{text}");
    ensure!(!text.contains("DIFFERENT"), "{text}");
    Ok(text)
}

/// What a command said, as text.
pub(crate) fn said(output: &Output) -> String {
    format!(
        "exit {:?}\n--- out\n{}\n--- err\n{}",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Whether a text has these words, wherever a line was broken between them.
pub(crate) fn has_words(text: &str, words: &str) -> bool {
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.contains(words) || flat(text).contains(&flat(words))
}

/// Journeyman in one piece: a database, a bucket with a backup in it, an application.
pub(crate) struct World {
    folder: TempDir,
    pub(crate) systems: Description,
    ends: Vec<Vec<String>>,
    /// Where the receiver of its notifications keeps them.
    told: PathBuf,
    /// The receiver, where it is in this process.
    _receiver: Option<WebhookServer>,
    runtime: tokio::runtime::Runtime,
}

impl World {
    /// In a sandbox: PostgreSQL's own server, and the stand-ins for S3 and Kubernetes.
    pub(crate) fn sandbox() -> Result<Self> {
        Self::sandbox_with(&[], |_| Ok(()))
    }

    /// The same with more words for `jm sandbox up`, in a folder that was made ready for it.
    pub(crate) fn sandbox_with(words: &[&str], ready: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let folder = folder()?;
        let place = folder.path().join("sandbox");
        ready(&place)?;
        let mut up = jm(&folder.path().join("state"));
        // Where a real control plane's programs are, for whoever asks for one.
        up.envs(std::env::var_os("KUBEBUILDER_ASSETS").map(|value| ("KUBEBUILDER_ASSETS", value)));
        let kwok = std::env::var_os("JM_TEST_KWOK").map(PathBuf::from);
        let cache = kwok.as_deref().and_then(|kwok| kwok.ancestors().nth(3));
        up.envs(cache.map(|cache| ("JM_CACHE", cache)));
        let output = up
            .args(["sandbox", "up", "--directory"])
            .arg(&place)
            .args(words)
            .output()?;
        ensure!(output.status.success(), "{}", said(&output));
        let systems = Description::find(&place)?.context("the sandbox is up")?;
        let down = vec![
            JM.to_owned(),
            "sandbox".to_owned(),
            "down".to_owned(),
            "--directory".to_owned(),
            place.display().to_string(),
        ];
        Ok(Self {
            told: place.join("webhook.jsonl"),
            folder,
            systems,
            ends: vec![down],
            _receiver: None,
            runtime: tokio::runtime::Runtime::new()?,
        })
    }

    /// On separately started servers: PostgreSQL, versitygw, a Kubernetes control plane, and a receiver of notifications.
    pub(crate) fn real() -> Result<Self> {
        Self::real_with(&[])
    }

    /// The same with more words for the PostgreSQL server.
    pub(crate) fn real_with(postgres: &[&str]) -> Result<Self> {
        let folder = folder()?;
        let runtime = tokio::runtime::Runtime::new()?;
        let (mut environment, ends) = servers(folder.path(), postgres)?;
        let told = folder.path().join("webhook.jsonl");
        let receiver = runtime.block_on(WebhookServer::start(&told, (Ipv4Addr::LOCALHOST, 0).into()))?;
        environment.insert("WEBHOOK_URL".to_owned(), receiver.url());
        let database = environment
            .get("DATABASE_URL")
            .context("a URL")?
            .replace("/postgres", &format!("/{}", journeyman::DATABASE));
        // The certificate is the server's own, and the address is this machine's.
        environment.insert("DATABASE_URL".to_owned(), database);
        for (name, value) in [
            ("ENCRYPTION_KEY", "a-key-of-thirty-two-characters!!"),
            ("AWS_ENABLED", "true"),
            ("BACKUP_S3_BUCKET", journeyman::BUCKET),
        ] {
            environment.insert(name.to_owned(), value.to_owned());
        }
        environment.insert(
            "BACKUP_DIR".to_owned(),
            folder.path().join("backups").display().to_string(),
        );
        environment.insert("HOME".to_owned(), folder.path().display().to_string());
        environment.insert("JM_STATE".to_owned(), folder.path().join("state").display().to_string());
        environment.retain(|name, _| !name.starts_with("PG") && name != "KUBECTL");
        let systems = Description {
            pid: 0,
            started_at: jm_step::clock::now(),
            environment,
            database: jm_sandbox::DatabasePlace::Beside,
            control: None,
        };
        let world = Self {
            folder,
            systems,
            ends,
            told,
            _receiver: Some(receiver),
            runtime,
        };
        world.runtime.block_on(async {
            journeyman::create_buckets(&world.systems).await?;
            journeyman::create_database(&world.systems, 1).await?;
            journeyman::deploy(&world.systems).await
        })?;
        Ok(world)
    }

    /// The binary in this world, and in no other.
    pub(crate) fn jm(&self) -> Command {
        let mut command = Command::new(JM);
        self.enter(&mut command);
        command
    }

    /// A command in this world, and in no other.
    pub(crate) fn enter(&self, command: &mut Command) {
        bare(command);
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .envs(&self.systems.environment);
    }

    /// A program of this machine in this world. It has to succeed.
    pub(crate) fn run(&self, program: &str, words: &[&str]) -> Result<String> {
        let mut command = Command::new(program);
        self.enter(&mut command);
        let output = command.args(words).output().with_context(|| program.to_owned())?;
        ensure!(output.status.success(), "{program} {words:?}: {}", said(&output));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// AWS's own command line in this world.
    pub(crate) fn aws(&self, words: &[&str]) -> Result<String> {
        let program = std::env::var("JM_TEST_AWS").context("JM_TEST_AWS is not set: run the tests by `tests/run`")?;
        self.run(&program, words)
    }

    /// Puts a wire that reads along, and so cannot be encrypted, between this world and its PostgreSQL.
    pub(crate) fn through_a_wire(&mut self) -> Result<Wire> {
        let url = self.systems.variable("DATABASE_URL").to_owned();
        let port = url
            .rsplit_once(':')
            .and_then(|(_, end)| end.split_once('/'))
            .context("a port")?
            .0;
        let wire = Wire::to(port.parse()?)?;
        let through = url.replace(&format!(":{port}/"), &format!(":{}/", wire.port()));
        let through = format!("{through}?sslmode=disable");
        self.systems.environment.insert("DATABASE_URL".to_owned(), through);
        Ok(wire)
    }

    /// Where runs are kept.
    pub(crate) fn state(&self) -> PathBuf {
        PathBuf::from(self.systems.variable("JM_STATE"))
    }

    /// A folder of the test's own.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// How many runs are kept.
    pub(crate) fn runs(&self) -> Result<usize> {
        Ok(runs(&self.state())?.len())
    }

    /// Waits for something in this world's runtime.
    pub(crate) fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }

    /// What the webhook was told so far.
    pub(crate) fn told(&self) -> Result<Vec<Received>> {
        Ok(received(&self.told)?)
    }

    /// `jm step run` of a step type on the targets of the plans.
    pub(crate) fn step(&self, step_type: &str, words: &[&str]) -> Command {
        let mut command = self.jm();
        command
            .args(["step", "run", step_type, "--yes", "--targets", "plans/targets.yaml"])
            .args(words);
        command
    }

    /// Takes a backup by the step type itself.
    pub(crate) fn back_up(&self) -> Result<()> {
        let output = self.step("backup.create", &[]).output()?;
        ensure!(output.status.success(), "{}", said(&output));
        Ok(())
    }

    /// The database is gone.
    pub(crate) fn lose_database(&self) -> Result<()> {
        Ok(self.runtime.block_on(journeyman::lose_database(&self.systems))?)
    }

    /// The cluster is gone with everything in it; an empty one is at its address.
    pub(crate) fn lose_cluster(&self) -> Result<()> {
        Ok(self.runtime.block_on(journeyman::lose_cluster(&self.systems))?)
    }

    /// The bucket of the backups is gone, with every version of everything in it.
    pub(crate) fn lose_bucket(&self) -> Result<()> {
        Ok(self.runtime.block_on(journeyman::lose_bucket(&self.systems))?)
    }

    /// The content of each object of the backups' bucket.
    pub(crate) fn stored(&self) -> Result<BTreeMap<String, String>> {
        Ok(self.runtime.block_on(journeyman::stored(&self.systems))?)
    }

    /// A digest of each object of the application.
    pub(crate) fn objects(&self) -> Result<BTreeMap<String, String>> {
        Ok(self.runtime.block_on(journeyman::objects(&self.systems))?)
    }

    /// The images that the application runs.
    pub(crate) fn images(&self) -> Result<std::collections::BTreeSet<String>> {
        Ok(self.runtime.block_on(journeyman::images(&self.systems))?)
    }

    /// All content of the database, and what is around it.
    pub(crate) fn fingerprint(&self) -> Result<Fingerprint> {
        Ok(self.runtime.block_on(journeyman::fingerprint(&self.systems))?)
    }

    /// What belongs to the database's name.
    pub(crate) fn belongings(&self) -> Result<Vec<String>> {
        Ok(self.runtime.block_on(journeyman::belongings(&self.systems))?)
    }

    /// What writes to the database, as it is declared.
    pub(crate) fn workloads(&self) -> Result<Vec<Value>> {
        Ok(self.runtime.block_on(journeyman::workloads(&self.systems))?)
    }

    /// Pods of the application that are ready.
    pub(crate) fn ready_replicas(&self) -> Result<i32> {
        Ok(self.runtime.block_on(journeyman::ready_replicas(&self.systems))?)
    }

    /// What a query gives, one row a line: by PostgreSQL's own client.
    pub(crate) fn query(&self, database: &str, query: &str) -> Result<Vec<String>> {
        let url = self
            .systems
            .variable("DATABASE_URL")
            .replace(&format!("/{}", journeyman::DATABASE), &format!("/{database}"));
        let mut psql = Command::new("psql");
        bare(&mut psql);
        let output = psql.args(["-XAtd", &url, "-c", query]).output()?;
        ensure!(output.status.success(), "{}", said(&output));
        Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
    }

    /// The names of all databases that are Journeyman's, or that jm made.
    pub(crate) fn databases(&self) -> Result<Vec<String>> {
        self.query(
            "postgres",
            "SELECT datname FROM pg_database WHERE datname LIKE 'journeyman%' ORDER BY 1",
        )
    }

    /// `jm plan run plans/complete-db-loss.yaml` with all that it needs to be let through.
    pub(crate) fn recover(&self) -> Command {
        let mut command = self.jm();
        command.args(RECOVER);
        command
    }

    /// `jm plan resume`, let through likewise.
    pub(crate) fn resume(&self) -> Command {
        let mut command = self.jm();
        command.args(RESUME);
        command
    }
}

/// The words that go on with it.
pub(crate) const RESUME: [&str; 5] = ["plan", "resume", "--yes", "--confirm", "production"];

/// The words of the recovery.
pub(crate) const RECOVER: [&str; 6] = [
    "plan",
    "run",
    "plans/complete-db-loss.yaml",
    "--yes",
    "--confirm",
    "production",
];

impl Drop for World {
    fn drop(&mut self) {
        for end in self.ends.iter().rev() {
            let mut command = Command::new(&end[0]);
            bare(&mut command);
            // What does not end here ends with this process, which it was told to watch.
            drop(command.args(&end[1..]).output());
        }
    }
}

/// How servers are reached, and the commands that end them.
type Servers = (BTreeMap<String, String>, Vec<Vec<String>>);

/// Starts the separate servers, all at a time, each in a folder of its own.
fn servers(folder: &Path, postgres: &[&str]) -> Result<Servers> {
    let services =
        std::env::var("JM_TEST_SERVICES").context("JM_TEST_SERVICES is not set: run the tests by `tests/run`")?;
    let mut started = Vec::new();
    for (name, words) in [
        ("postgres", postgres),
        ("s3", &["versitygw"][..]),
        ("control-plane", &[]),
    ] {
        let (script, place) = (format!("{services}/{name}"), folder.join(name));
        let mut start = Command::new(&script);
        start.arg("start").arg(&place).args(words);
        let child = start.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        started.push((script, place, child));
    }
    let (mut environment, mut ends) = (BTreeMap::new(), Vec::new());
    for (script, place, child) in started {
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{script} start: {}", said(&output));
        environment.extend(variables(&std::fs::read_to_string(place.join("env"))?));
        ends.push(vec![script, "stop".to_owned(), place.display().to_string()]);
    }
    Ok((environment, ends))
}

/// A folder that the servers' users can pass through.
pub(crate) fn folder() -> Result<TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::Builder::new().prefix("jm-it-").tempdir()?;
    // PostgreSQL's user has to pass through.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))?;
    Ok(folder)
}

pub(crate) fn variables(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
        .collect()
}

/// The records of the newest run; none where its journal was never written.
pub(crate) fn journal(state: &Path) -> Result<Vec<Value>> {
    runs(state)?.last().map_or(Ok(Vec::new()), |run| records(run))
}

/// The records of the newest run of a plan.
pub(crate) fn journal_of(state: &Path, plan: &str) -> Result<Vec<Value>> {
    for run in runs(state)?.iter().rev() {
        let records = records(run)?;
        if records.first().is_some_and(|record| record["run"]["plan"] == plan) {
            return Ok(records);
        }
    }
    anyhow::bail!("no run of {plan}")
}

/// The folders of all runs, oldest first.
fn runs(state: &Path) -> Result<Vec<PathBuf>> {
    let Ok(entries) = std::fs::read_dir(state.join("runs")) else {
        return Ok(Vec::new());
    };
    let mut runs: Vec<PathBuf> = entries
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .map(|entry| entry.path())
        .collect();
    runs.sort();
    Ok(runs)
}

/// The whole records of a run: the last line may have been cut.
fn records(run: &Path) -> Result<Vec<Value>> {
    let text = match std::fs::read_to_string(run.join("journal.jsonl")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    Ok(text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

/// Records of a kind.
pub(crate) fn of_kind<'r>(records: &'r [Value], kind: &str) -> Vec<&'r Value> {
    records.iter().filter(|record| record["kind"] == kind).collect()
}
