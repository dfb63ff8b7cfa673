//! A bench for step types: contexts without an engine, for the tests of providers.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::connection::{Connection, ConnectionType, Connections, OpenContext};
use crate::process::Supervisor;
use crate::{
    Answer, ArtefactRef, Change, ContextParts, Environment, Expect, Identity, IdentityGate, ReadContext, RunId,
    RunInfo, Secrets, StepContext, StepError, StepId, StepMessage, Target, TargetName,
};

/// Makes contexts for one step of a run named `test` that never was.
#[derive(Default)]
pub struct Bench {
    targets: Vec<Target>,
    bindings: BTreeMap<String, TargetName>,
    environment: BTreeMap<String, String>,
    checkpoint: Option<Value>,
    saved_output: Option<Value>,
    run: Option<RunId>,
    answer: Option<Answer>,
    secrets: Secrets,
    cancel: CancellationToken,
}

impl Bench {
    /// No targets, no environment.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a target that plays a role, with this configuration; it is named like the role.
    pub fn target<C: Connection>(mut self, role: &str, config: Value) -> Self {
        let name: TargetName = role.parse().expect("roles are names");
        self.targets.push(Target {
            name: name.clone(),
            connection: Arc::new(ConnectionType::<C>::new()),
            config,
            pinned: None,
        });
        self.bindings.insert(role.to_owned(), name);
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// What an earlier attempt saved to go on from.
    pub fn checkpoint(mut self, checkpoint: Value) -> Self {
        self.checkpoint = Some(checkpoint);
        self
    }

    /// What an earlier attempt saved of its output.
    pub fn saved_output(mut self, output: Value) -> Self {
        self.saved_output = Some(output);
        self
    }

    /// Makes all contexts those of one run. Without this, each is of a run of its own.
    pub fn run(mut self, run: RunId) -> Self {
        self.run = Some(run);
        self
    }

    /// What people answer when they are asked. Without this, nobody answers.
    pub fn answer(mut self, answer: Answer) -> Self {
        self.answer = Some(answer);
        self
    }

    /// The masker of all contexts.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Tells all steps to stop.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// A context for `preview` and `probe`.
    pub fn read(&self) -> ReadContext {
        ReadContext::new(self.parts())
    }

    /// A context for `run`, and the other end of it.
    pub fn step(&self) -> (StepContext, Listener) {
        let (messages, heard) = mpsc::channel(16);
        let listening = tokio::spawn(listen(heard, self.answer.clone()));
        (StepContext::new(self.parts(), messages), Listener(listening))
    }

    fn parts(&self) -> ContextParts {
        let run = RunInfo {
            id: self.run.clone().unwrap_or_else(RunId::generate),
            plan: "test".to_owned(),
            started_at: crate::clock::now(),
            drill: false,
        };
        let open = OpenContext {
            secrets: self.secrets.clone(),
            environment: Environment::new(self.environment.clone()),
            run: run.id.clone(),
        };
        let step: StepId = "step".parse().expect("a name");
        ContextParts {
            idempotency_key: format!("{}/{step}/1", run.id),
            run: Arc::new(run),
            step,
            attempt: 1,
            tried_again: false,
            bindings: Arc::new(self.bindings.clone()),
            connections: Connections::new(self.targets.clone(), Arc::new(AllWelcome), open),
            checkpoint: self.checkpoint.clone(),
            saved_output: self.saved_output.clone(),
            announced: Arc::default(),
            cancel: self.cancel.clone(),
            late: CancellationToken::new(),
            secrets: self.secrets.clone(),
            supervisor: Supervisor::none(),
        }
    }
}

/// Everything that a step said.
#[derive(Debug, Default)]
pub struct Told {
    /// Lines for the log.
    pub log: Vec<String>,
    /// What was changed.
    pub changes: Vec<Change>,
    /// What was saved to go on from.
    pub checkpoints: Vec<Value>,
    /// What was saved of the output.
    pub outputs: Vec<Value>,
    /// Why the run is degraded.
    pub degraded: Vec<String>,
    /// What people were asked.
    pub questions: Vec<String>,
}

/// Hears what a step says.
pub struct Listener(JoinHandle<Told>);

impl Listener {
    /// All that was said. The context goes first, so that nothing more can come.
    pub async fn told(self, cx: StepContext) -> Told {
        drop(cx);
        self.0.await.expect("listening does not panic")
    }
}

async fn listen(mut heard: mpsc::Receiver<StepMessage>, answer: Option<Answer>) -> Told {
    let mut told = Told::default();
    // Those who wait for an answer that nobody gives go on waiting until the context is gone.
    let mut unanswered = Vec::new();
    while let Some(message) = heard.recv().await {
        let ack = match message {
            StepMessage::Progress { .. } => continue,
            StepMessage::Log { line } => {
                told.log.push(line);
                continue;
            }
            StepMessage::Changed { change } => {
                told.changes.push(change);
                continue;
            }
            StepMessage::Ask { question, ack } => {
                told.questions.push(question);
                match &answer {
                    Some(answer) => drop(ack.send(Ok(answer.clone()))),
                    None => unanswered.push(ack),
                }
                continue;
            }
            StepMessage::Artefact { name, content, ack } => {
                let bytes = content.len() as u64;
                let sha256 = String::new();
                drop(ack.send(Ok(ArtefactRef { name, sha256, bytes })));
                continue;
            }
            StepMessage::Degraded { reason, ack } => {
                told.degraded.push(reason);
                ack
            }
            StepMessage::Checkpoint { data, ack } => {
                told.checkpoints.push(data);
                ack
            }
            StepMessage::Output { output, ack } => {
                told.outputs.push(output);
                ack
            }
        };
        drop(ack.send(Ok(())));
    }
    told
}

struct AllWelcome;

impl IdentityGate for AllWelcome {
    fn admit<'a>(&'a self, _: &'a Target, _: Identity, _: Expect) -> BoxFuture<'a, Result<(), StepError>> {
        async { Ok(()) }.boxed()
    }
}
