//! One run: everything it is made of, and the way in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jm_plan::Plan;
use jm_step::process::Supervisor;
use jm_step::{Effect, Environment, OpenContext, RunInfo, Secret, Secrets, StepId, Target, TargetName};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::dispatcher::Dispatcher;
use crate::error::RunError;
use crate::files::RunFiles;
use crate::guard::Person;
use crate::history::History;
use crate::journal::{FORMAT, Journal, MemoryFiles, Opened, Record, RunStatus, SecretReference};
use crate::lock::{Holder, LockError, System, TargetLock};
use crate::reporter::Reporter;
use crate::schedule::Stop;

/// A run of a plan.
#[derive(Clone)]
pub struct Run {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The plan's file, where it came from one, as an absolute path.
    pub file: Option<String>,
    /// The folder in which it was started, as an absolute path. A resume brings that of the journal.
    pub directory: Option<String>,
    /// The run's id, its plan's name, and when it was opened. A resume brings those of the journal.
    pub info: RunInfo,
    /// The targets, rendered. Those that no step uses are not opened.
    pub targets: Vec<Target>,
    /// Optional targets that are not configured, and why: steps that use them are skipped.
    pub not_configured: BTreeMap<TargetName, String>,
    /// How many steps may act on a target at once, where that is fewer than the plan lets run in all.
    pub max_parallel: BTreeMap<TargetName, usize>,
    /// The targets' name, such as `production`.
    pub targets_name: String,
    /// Digest of the targets as they were rendered.
    pub targets_digest: String,
    /// Whether irreversible steps need a word of their own.
    pub protected: bool,
    /// The environment as jm found it.
    pub environment: Environment,
    /// The masker, with all secrets known so far.
    pub secrets: Secrets,
    /// Ends child processes when jm is gone.
    pub supervisor: Supervisor,
    /// The secret inputs, read.
    pub secret_inputs: BTreeMap<String, Secret>,
    /// Artefacts, logs, inbox.
    pub files: Arc<dyn RunFiles>,
    /// What was asked for.
    pub options: Options,
    /// Whether to stop. A sender that is gone means: never.
    pub stop: watch::Receiver<Stop>,
    /// Who answers questions in this process, such as the person at the terminal.
    pub person: Option<Arc<dyn Person>>,
    /// The lock on the targets: a run that lost it stops.
    pub lock: Option<Arc<TargetLock>>,
    /// Who runs it, such as `ada@bastion`.
    pub by: String,
    /// The version of jm.
    pub version: String,
}

/// What was asked for besides the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Stop before this step.
    pub until: Option<StepId>,
    /// The targets' name was confirmed (`--confirm NAME`), so that irreversible steps may touch protected targets.
    pub confirmed: bool,
    /// So much of the data may be lost without a question.
    pub accept_data_loss: Option<Duration>,
    /// Identities that are accepted in place of the recorded ones.
    pub accept_identity: BTreeMap<TargetName, String>,
    /// How long a step that ran into its time-out may take to let go before it is dropped.
    pub grace: Duration,
    /// A dry run that reads nothing.
    pub offline: bool,
    /// How long steps took in earlier runs: what a dry run expects.
    pub history: History,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            until: None,
            confirmed: false,
            accept_data_loss: None,
            accept_identity: BTreeMap::new(),
            grace: Duration::from_secs(5),
            offline: false,
            history: History::default(),
        }
    }
}

impl Run {
    /// A run without targets, secrets, files on disk, or anybody to ask: the rest is filled in by whoever has it.
    pub fn new(plan: Arc<Plan>, info: RunInfo) -> Self {
        Self {
            plan,
            file: None,
            directory: None,
            info,
            targets: Vec::new(),
            not_configured: BTreeMap::new(),
            max_parallel: BTreeMap::new(),
            targets_name: String::new(),
            targets_digest: String::new(),
            protected: false,
            environment: Environment::default(),
            secrets: Secrets::new(),
            supervisor: Supervisor::none(),
            secret_inputs: BTreeMap::new(),
            files: Arc::new(MemoryFiles::new()),
            options: Options::default(),
            stop: watch::channel(Stop::Go).1,
            person: None,
            lock: None,
            by: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// The targets that its steps use and that are configured.
    pub(crate) fn targets_used(&self) -> BTreeSet<TargetName> {
        let mut used = self.plan.targets_used();
        used.retain(|name| !self.not_configured.contains_key(name));
        used
    }

    /// The targets that it writes to and that no other run may write to meanwhile.
    pub(crate) fn exclusive_targets(&self) -> BTreeSet<TargetName> {
        let mut used = self.targets_used();
        let writing = self.plan.all_steps().filter(|step| step.effect != Effect::ReadOnly);
        let written: BTreeSet<&TargetName> = writing.flat_map(|step| step.bindings.values()).collect();
        let shared = self.targets.iter().filter(|target| target.connection.is_shared());
        let shared: BTreeSet<&TargetName> = shared.map(|target| &target.name).collect();
        used.retain(|name| written.contains(name) && !shared.contains(name));
        used
    }

    /// Takes the lock on the systems that the run writes to, by their addresses; their identities are added as soon as
    /// they are known. A run that writes to none needs none.
    pub fn lock_targets(&mut self, locks: &Path, host: &str) -> Result<(), LockError> {
        let exclusive = self.exclusive_targets();
        if exclusive.is_empty() {
            return Ok(());
        }
        let holder = Holder {
            targets: self.targets_name.clone(),
            owner: self.by.clone(),
            host: host.to_owned(),
            run: self.info.id.clone(),
        };
        let targets = self.targets.iter().filter(|target| exclusive.contains(&target.name));
        let systems = targets.filter_map(|target| self.system(target));
        let lock = TargetLock::acquire(locks, holder, systems)?;
        self.lock = Some(Arc::new(lock));
        Ok(())
    }

    /// The system of a target by its address, where that is known before it is opened.
    fn system(&self, target: &Target) -> Option<System> {
        let address = target.connection.address(&target.config, &self.open_context())?;
        Some(System {
            target: target.name.clone(),
            what: format!("{} at {address}", target.connection.provider()),
        })
    }

    /// The systems that its steps use, for people: with the address where it is known, else the provider alone.
    pub fn systems(&self) -> Vec<System> {
        let used = self.targets_used();
        let targets = self.targets.iter().filter(|target| used.contains(&target.name));
        let known = targets.map(|target| {
            self.system(target).unwrap_or_else(|| System {
                target: target.name.clone(),
                what: target.connection.provider().to_owned(),
            })
        });
        known.collect()
    }

    /// What opening a target starts on this machine, in words.
    pub(crate) fn starts(&self, target: &TargetName) -> Option<String> {
        let target = self.targets.iter().find(|one| one.name == *target)?;
        target.starts(&self.open_context())
    }

    /// What its connections may use while they open.
    pub(crate) fn open_context(&self) -> OpenContext {
        OpenContext {
            secrets: self.secrets.clone(),
            environment: self.environment.clone(),
            run: self.info.id.clone(),
        }
    }

    /// What the run is, or would be, opened with, whatever its size.
    pub fn opened(&self) -> Opened {
        Opened {
            format: FORMAT,
            run: self.info.clone(),
            plan: self.plan.digest().to_owned(),
            file: self.file.clone(),
            directory: self.directory.clone(),
            inputs: serde_json::Value::Object(self.plain_inputs()),
            inputs_artefact: None,
            secrets: self.secret_references(),
            targets: self.targets_name.clone(),
            targets_digest: self.targets_digest.clone(),
            protected: self.protected,
            jm: self.version.clone(),
            by: self.by.clone(),
        }
    }

    /// The inputs that may be written down and be seen by expressions.
    pub(crate) fn plain_inputs(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut inputs = self.plan.inputs().clone();
        inputs.retain(|name, _| !self.plan.secret_inputs().contains_key(name));
        inputs
    }

    fn secret_references(&self) -> BTreeMap<String, SecretReference> {
        let reference = |(name, from): (&String, &String)| {
            let salt = hex::encode(rand::random::<[u8; 16]>());
            let digest = salted_digest(&salt, self.secret_inputs.get(name)?);
            let from = from.clone();
            Some((name.clone(), SecretReference { from, salt, digest }))
        };
        self.plan.secret_inputs().iter().filter_map(reference).collect()
    }

    /// The secret inputs whose value is not the one that the run was opened with.
    pub fn changed_secrets<'o>(&self, opened: &'o Opened) -> Vec<&'o str> {
        let differs = |name: &str, known: &SecretReference| {
            let now = self.secret_inputs.get(name);
            now.is_none_or(|secret| salted_digest(&known.salt, secret) != known.digest)
        };
        let changed = opened.secrets.iter().filter(|(name, known)| differs(name, known));
        changed.map(|(name, _)| name.as_str()).collect()
    }
}

fn salted_digest(salt: &str, secret: &Secret) -> String {
    hex::encode(
        Sha256::new()
            .chain_update(salt)
            .chain_update(secret.expose())
            .finalize(),
    )
}

/// Runs a plan to its end, or until it stops or waits. With the records of an earlier session it goes on from there.
pub async fn run(
    run: &Run,
    prior: &[Record],
    journal: &mut dyn Journal,
    reporter: &mut dyn Reporter,
) -> Result<RunStatus, RunError> {
    Dispatcher::new(run, prior, journal, reporter)?.run().await
}
