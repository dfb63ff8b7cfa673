//! Contexts without an engine: a step type is previewed, run or probed by itself, and what it says is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use jm_run::RunFiles;
use jm_run::journal::MemoryFiles;
use jm_step::connection::{AnyConnection, AnyConnectionType};
use jm_step::process::Supervisor;
use jm_step::{
    Answer, AnyStepType, ArtefactRef, Change, Connection, Connections, ContextParts, Environment, Expect, Identity,
    IdentityGate, InputIssue, NamedFile, OpenContext, Preview, Probe, ReadContext, RunInfo, Secrets, StepContext,
    StepError, StepMessage, Target,
};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What one step is given. Each method call makes contexts afresh from it.
#[derive(Clone)]
pub struct StepBench {
    parts: ContextParts,
    targets: Vec<Target>,
    environment: Environment,
    answers: bool,
}

/// What a run of a step came to, and all that it said.
#[derive(Debug)]
pub struct Ran {
    /// Its end; `None` where it was cut off.
    pub result: Option<Result<Value, StepError>>,
    /// What it saved to go on from, first to last.
    pub checkpoints: Vec<Value>,
    /// What it saved of its output, first to last.
    pub outputs: Vec<Value>,
    /// What it changed.
    pub changes: Vec<Change>,
    /// What it logged.
    pub log: Vec<String>,
    /// Why it degrades the run.
    pub degraded: Vec<String>,
    /// What it asked.
    pub questions: Vec<String>,
    /// Files that it kept.
    pub artefacts: Vec<ArtefactRef>,
    files: MemoryFiles,
    saves: usize,
}

impl Ran {
    /// Its output.
    ///
    /// # Panics
    /// Where it failed or was cut off.
    pub fn output(self) -> Value {
        self.result.expect("it came to its end").expect("it succeeded")
    }

    /// Its error.
    ///
    /// # Panics
    /// Where it succeeded or was cut off.
    pub fn error(self) -> StepError {
        self.result.expect("it came to its end").expect_err("it failed")
    }

    /// The text of the last file that it kept under a name.
    pub fn kept(&self, name: &str) -> Option<String> {
        let artefact = self.artefacts.iter().rfind(|artefact| artefact.name == name)?;
        let content = self.files.get(artefact).ok()?;
        Some(String::from_utf8_lossy(&content).into_owned())
    }

    /// How often it saved something, checkpoints and outputs together.
    pub fn saves(&self) -> usize {
        self.saves
    }
}

impl Default for StepBench {
    fn default() -> Self {
        Self::new()
    }
}

impl StepBench {
    /// A step called `step` in a run of its own, with no systems.
    pub fn new() -> Self {
        let info = crate::info("test");
        let parts = ContextParts {
            idempotency_key: format!("{}-step-0", info.id),
            connections: connections(Vec::new(), Environment::default(), &Secrets::new(), &info),
            run: Arc::new(info),
            step: "step".parse().expect("a name"),
            attempt: 1,
            tried_again: false,
            bindings: Arc::new(BTreeMap::new()),
            checkpoint: None,
            saved_output: None,
            announced: Arc::default(),
            cancel: CancellationToken::new(),
            late: CancellationToken::new(),
            secrets: Secrets::new(),
            supervisor: Supervisor::none(),
        };
        Self {
            parts,
            targets: Vec::new(),
            environment: Environment::default(),
            answers: true,
        }
    }

    /// Adds an open connection in a role; its target is called like the role.
    pub fn with<C: Connection>(self, role: &str, connection: C) -> Self {
        self.with_shared(role, Arc::new(connection))
    }

    /// As [`Self::with`], for a connection that the test looks at too.
    pub fn with_shared<C: Connection>(mut self, role: &str, connection: Arc<C>) -> Self {
        let name: jm_step::TargetName = role.parse().expect("a role is a name");
        Arc::make_mut(&mut self.parts.bindings).insert(role.to_owned(), name.clone());
        self.targets.push(Target {
            name,
            connection: Arc::new(Ready {
                provider: C::PROVIDER,
                connection,
            }),
            config: Value::Null,
            pinned: None,
        });
        self
    }

    /// Adds a target in a role, called like the role, that is opened whenever it is needed: for a test that knows
    /// connection types by their provider alone.
    pub fn target(mut self, role: &str, connection: &Arc<dyn AnyConnectionType>, config: Value) -> Self {
        let name: jm_step::TargetName = role.parse().expect("a role is a name");
        Arc::make_mut(&mut self.parts.bindings).insert(role.to_owned(), name.clone());
        self.targets.push(Target {
            name,
            connection: connection.clone(),
            config,
            pinned: None,
        });
        self
    }

    /// What an earlier attempt saved to go on from.
    pub fn checkpoint(mut self, checkpoint: impl Into<Value>) -> Self {
        self.parts.checkpoint = Some(checkpoint.into());
        self
    }

    /// What an earlier attempt saved of its output.
    pub fn saved_output(mut self, output: impl Into<Value>) -> Self {
        self.parts.saved_output = Some(output.into());
        self
    }

    /// What earlier steps of a dry run say that they would change.
    pub fn announced(mut self, changes: &[Change]) -> Self {
        self.parts.announced = changes.into();
        self
    }

    /// Another attempt than the first.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.parts.attempt = attempt;
        self
    }

    /// Another try follows where a system does not answer.
    pub fn tried_again(mut self) -> Self {
        self.parts.tried_again = true;
        self
    }

    /// Another idempotency key: a deed of its own.
    pub fn key(mut self, key: &str) -> Self {
        key.clone_into(&mut self.parts.idempotency_key);
        self
    }

    /// Variables of the environment. Children find programs by its `PATH`.
    pub fn environment<'v>(mut self, variables: impl IntoIterator<Item = (&'v str, &'v str)>) -> Self {
        let owned = variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.environment = Environment::new(owned);
        self
    }

    /// Secrets that are known to the run.
    pub fn secrets(mut self, secrets: Secrets) -> Self {
        self.parts.secrets = secrets;
        self
    }

    /// What a person answers to questions: yes, unless said otherwise.
    pub fn answers(mut self, approved: bool) -> Self {
        self.answers = approved;
        self
    }

    /// Fires when the step is to stop.
    pub fn cancellation(&self) -> CancellationToken {
        self.parts.cancel.clone()
    }

    /// Tells the step that its time is up.
    pub fn time_is_up(&self) {
        self.parts.late.cancel();
        self.parts.cancel.cancel();
    }

    /// What `preview` and `probe` get.
    pub fn read_context(&self) -> ReadContext {
        ReadContext::new(self.parts())
    }

    /// What `run` gets; the messages come out at the other end, and somebody has to answer them.
    pub fn step_context(&self) -> (StepContext, mpsc::Receiver<StepMessage>) {
        let (sender, receiver) = mpsc::channel(64);
        (StepContext::new(self.parts(), sender), receiver)
    }

    /// Previews a step.
    pub async fn preview(&self, step: &dyn AnyStepType, input: Value) -> Result<Preview<Value>, StepError> {
        step.preview(&self.read_context(), input).await
    }

    /// Asks what became of a step.
    pub async fn probe(&self, step: &dyn AnyStepType, input: Value) -> Result<Probe<Value>, StepError> {
        step.probe(&self.read_context(), input).await
    }

    /// Runs a step to its end.
    pub async fn run(&self, step: &dyn AnyStepType, input: Value) -> Ran {
        self.run_until(step, input, usize::MAX).await
    }

    /// Runs a step, and drops it as soon as it has saved something for the `saves`-th time.
    pub async fn run_until(&self, step: &dyn AnyStepType, input: Value, saves: usize) -> Ran {
        let (cx, mut messages) = self.step_context();
        let mut ear = Ear::new(self.answers);
        let mut work = step.run(&cx, input);
        let result = loop {
            tokio::select! {
                biased;
                Some(message) = messages.recv() => ear.hear(message),
                end = &mut work => break Some(end),
            }
            if ear.ran.saves >= saves {
                break None;
            }
        };
        while let Ok(message) = messages.try_recv() {
            ear.hear(message);
        }
        Ran { result, ..ear.ran }
    }

    fn parts(&self) -> ContextParts {
        let targets = self.targets.clone();
        let connections = connections(targets, self.environment.clone(), &self.parts.secrets, &self.parts.run);
        ContextParts {
            connections,
            ..self.parts.clone()
        }
    }
}

fn connections(targets: Vec<Target>, environment: Environment, secrets: &Secrets, run: &RunInfo) -> Connections {
    let cx = OpenContext {
        secrets: secrets.clone(),
        environment,
        run: run.id.clone(),
    };
    Connections::new(targets, Arc::new(Anything), cx)
}

/// Keeps what a step says, and says yes to it.
struct Ear {
    ran: Ran,
    approved: bool,
}

impl Ear {
    fn new(approved: bool) -> Self {
        Self {
            ran: Ran {
                result: None,
                checkpoints: Vec::new(),
                outputs: Vec::new(),
                changes: Vec::new(),
                log: Vec::new(),
                degraded: Vec::new(),
                questions: Vec::new(),
                artefacts: Vec::new(),
                files: MemoryFiles::new(),
                saves: 0,
            },
            approved,
        }
    }

    fn hear(&mut self, message: StepMessage) {
        let ran = &mut self.ran;
        match message {
            StepMessage::Progress { .. } => {}
            StepMessage::Log { line } => ran.log.push(line),
            StepMessage::Degraded { reason, ack } => {
                ran.degraded.push(reason);
                drop(ack.send(Ok(())));
            }
            StepMessage::Checkpoint { data, ack } => {
                ran.checkpoints.push(data);
                ran.saves += 1;
                drop(ack.send(Ok(())));
            }
            StepMessage::Output { output, ack } => {
                ran.outputs.push(output);
                ran.saves += 1;
                drop(ack.send(Ok(())));
            }
            StepMessage::Ask { question, ack } => {
                ran.questions.push(question);
                drop(ack.send(Ok(Answer {
                    approved: self.approved,
                    who: "tester@bench".to_owned(),
                    reason: None,
                    at: jm_step::clock::now(),
                })));
            }
            StepMessage::Changed { change } => ran.changes.push(change),
            StepMessage::Artefact { name, content, ack } => {
                let artefact = ran.files.put(&name, &content).expect("memory does not fail");
                ran.artefacts.push(artefact.clone());
                drop(ack.send(Ok(artefact)));
            }
        }
    }
}

/// A connection that is open already.
struct Ready<C> {
    provider: &'static str,
    connection: Arc<C>,
}

impl<C: Connection> AnyConnectionType for Ready<C> {
    fn provider(&self) -> &'static str {
        self.provider
    }
    fn config_schema(&self) -> Value {
        Value::Null
    }
    fn check(&self, _: &Value, _: &Environment) -> Vec<InputIssue> {
        Vec::new()
    }
    fn files(&self, _: &Value, _: &Environment) -> Vec<NamedFile> {
        Vec::new()
    }
    fn is_shared(&self) -> bool {
        C::SHARED
    }
    fn knows_right(&self, right: &str) -> bool {
        C::knows_right(right)
    }
    fn address(&self, _: &Value, _: &OpenContext) -> Option<String> {
        None
    }
    fn starts(&self, _: &Value, _: &OpenContext) -> Option<String> {
        None
    }
    fn follows(&self, _: &Value) -> Option<&'static str> {
        None
    }
    fn open<'a>(&'a self, _: Value, _: &'a OpenContext) -> BoxFuture<'a, Result<Arc<dyn AnyConnection>, StepError>> {
        let connection: Arc<dyn AnyConnection> = self.connection.clone();
        async move { Ok(connection) }.boxed()
    }
}

/// Lets every system in.
struct Anything;

impl IdentityGate for Anything {
    fn admit<'a>(&'a self, _: &'a Target, _: Identity, _: Expect) -> BoxFuture<'a, Result<(), StepError>> {
        async { Ok(()) }.boxed()
    }
}
