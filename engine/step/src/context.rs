//! What a step is given: its systems, its memory, and a way to say how far it is.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::connection::{Connection, Connections, Environment, Expect, ReaderOf};
use crate::message::Ack;
use crate::process::Supervisor;
use crate::{Answer, ArtefactRef, Change, RunId, Secrets, StepError, StepId, StepMessage, TargetName, Unit};

/// The run that a step belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunInfo {
    /// Its id.
    pub id: RunId,
    /// The plan's name.
    pub plan: String,
    /// When it was opened.
    #[schemars(with = "String")]
    pub started_at: Timestamp,
    /// Whether it is a drill: nothing that it touches is production.
    pub drill: bool,
}

/// Everything a context is made of. The engine and the tests fill it in.
#[derive(Clone)]
pub struct ContextParts {
    /// The run.
    pub run: Arc<RunInfo>,
    /// The step.
    pub step: StepId,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// See [`ReadContext::is_tried_again`].
    pub tried_again: bool,
    /// See [`ReadContext::idempotency_key`].
    pub idempotency_key: String,
    /// The targets, by the role they play for this step.
    pub bindings: Arc<BTreeMap<String, TargetName>>,
    /// The systems.
    pub connections: Connections,
    /// What an earlier attempt saved to go on from.
    pub checkpoint: Option<Value>,
    /// What an earlier attempt saved of its output.
    pub saved_output: Option<Value>,
    /// See [`ReadContext::announced`].
    pub announced: Arc<[Change]>,
    /// Fires when the step is to stop.
    pub cancel: CancellationToken,
    /// Fires just before that where it is to stop because its time is up.
    pub late: CancellationToken,
    /// The masker.
    pub secrets: Secrets,
    /// Ends child processes when jm is gone.
    pub supervisor: Supervisor,
}

/// What `preview` and `probe` get: everything that looks, nothing that writes.
#[derive(Clone)]
pub struct ReadContext(ContextParts);

impl ReadContext {
    /// Wraps the parts.
    pub fn new(parts: ContextParts) -> Self {
        Self(parts)
    }

    /// The run.
    pub fn run(&self) -> &RunInfo {
        &self.0.run
    }

    /// The step's id.
    pub fn step(&self) -> &StepId {
        &self.0.step
    }

    /// Which try this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// Whether another try follows by itself where a system does not answer this one. A preview is not tried again.
    pub fn is_tried_again(&self) -> bool {
        self.0.tried_again
    }

    /// The same for every attempt of this step in this run; a step that is done anew (resumed after a failure, undone,
    /// retried by a person) gets a new one.
    pub fn idempotency_key(&self) -> &str {
        &self.0.idempotency_key
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        crate::clock::now()
    }

    /// The reading side of the one target of `C`'s provider that this step uses.
    pub async fn read<C: Connection>(&self) -> Result<ReaderOf<C>, StepError> {
        self.open::<C>(None).await.map(ReaderOf::new)
    }

    /// The reading side of the target that plays a role, for a step type that uses two of one provider.
    pub async fn read_as<C: Connection>(&self, role: &str) -> Result<ReaderOf<C>, StepError> {
        self.open::<C>(Some(role)).await.map(ReaderOf::new)
    }

    /// The reading side of the one target of `C`'s provider, whichever system that is now: for a step that has to see a
    /// system before it can say, with [`StepContext::reopen`], that it is the one that was brought back.
    pub async fn look<C: Connection>(&self) -> Result<ReaderOf<C>, StepError> {
        let name = self.binding::<C>(None)?;
        let connection = self.0.connections.look(name).await?;
        downcast(connection.into_any(), name).map(ReaderOf::new)
    }

    /// The reading side of the one target of `C`'s provider, whether or not there is such a system: nothing has been asked
    /// of it. For a step that makes one where it is missing.
    pub async fn unreached<C: Connection>(&self) -> Result<ReaderOf<C>, StepError> {
        self.client::<C>().await.map(ReaderOf::new)
    }

    /// What the targets file says of the one target of `C`'s provider. There need be no such system.
    pub fn config<C: Connection>(&self) -> Result<C::Config, StepError> {
        self.0.connections.config::<C>(self.binding::<C>(None)?)
    }

    /// Whether a person has named the system that is behind the one target of `C`'s provider now: its identity is pinned by
    /// the targets file, or was accepted for this run.
    pub async fn is_named<C: Connection>(&self) -> Result<bool, StepError> {
        self.0.connections.is_named(self.binding::<C>(None)?).await
    }

    /// The name of the target that plays a role.
    pub fn target(&self, role: &str) -> Option<&TargetName> {
        self.0.bindings.get(role)
    }

    /// What an earlier attempt saved to go on from.
    pub fn checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>, StepError> {
        decode_saved(self.0.checkpoint.as_ref(), "checkpoint")
    }

    /// What an earlier attempt saved of its output.
    pub fn saved_output<T: DeserializeOwned>(&self) -> Result<Option<T>, StepError> {
        decode_saved(self.0.saved_output.as_ref(), "saved output")
    }

    /// In a dry run: how the steps that this one comes after say that they leave an object, which is still as it was.
    /// Only what they change of it is in there. `None` in a run, where the object itself tells.
    pub fn announced(&self, object: &str) -> Option<&Value> {
        let of_it = self.0.announced.iter().rev().find(|change| change.object == object);
        of_it.and_then(|change| change.after.as_ref())
    }

    /// Completes when the step is to stop.
    pub async fn cancelled(&self) {
        self.0.cancel.cancelled().await;
    }

    /// The token behind [`ReadContext::cancelled`], for work that is handed on.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.0.cancel
    }

    /// Whether it is to stop because its time is up. Unlike one that a person stops, it has a few seconds to tell in its
    /// error what it was waiting for.
    pub fn is_late(&self) -> bool {
        self.0.late.is_cancelled()
    }

    /// The masker.
    pub fn secrets(&self) -> &Secrets {
        &self.0.secrets
    }

    /// The environment as jm found it.
    pub fn environment(&self) -> &Environment {
        &self.0.connections.open_context().environment
    }

    /// Starts child processes that end with jm.
    pub fn supervisor(&self) -> &Supervisor {
        &self.0.supervisor
    }

    async fn open<C: Connection>(&self, role: Option<&str>) -> Result<Arc<C>, StepError> {
        let name = self.binding::<C>(role)?;
        let connection = self.0.connections.open(name).await?;
        downcast(connection.into_any(), name)
    }

    async fn client<C: Connection>(&self) -> Result<Arc<C>, StepError> {
        let name = self.binding::<C>(None)?;
        let connection = self.0.connections.client(name).await?;
        downcast(connection.into_any(), name)
    }

    fn binding<C: Connection>(&self, role: Option<&str>) -> Result<&TargetName, StepError> {
        let missing = || {
            StepError::invalid_input(format!(
                "step `{}` has no target of provider `{}`",
                self.0.step,
                C::PROVIDER
            ))
        };
        match role {
            Some(role) => self.0.bindings.get(role).ok_or_else(missing),
            None => self
                .0
                .connections
                .only_of(self.0.bindings.values(), C::PROVIDER)
                .ok_or_else(missing),
        }
    }
}

fn downcast<C: Connection>(
    connection: Arc<dyn std::any::Any + Send + Sync>,
    name: &TargetName,
) -> Result<Arc<C>, StepError> {
    connection
        .downcast::<C>()
        .map_err(|_| StepError::invalid_input(format!("target `{name}` is not of provider `{}`", C::PROVIDER)))
}

fn decode_saved<T: DeserializeOwned>(saved: Option<&Value>, what: &str) -> Result<Option<T>, StepError> {
    saved
        .map(|value| serde_json::from_value(value.clone()))
        .transpose()
        .map_err(|error| StepError::failed(format!("the {what} in the journal does not fit this jm")).source(error))
}

/// What `run` gets: everything of [`ReadContext`], and what changes the world or the journal.
pub struct StepContext {
    read: ReadContext,
    messages: mpsc::Sender<StepMessage>,
}

impl Deref for StepContext {
    type Target = ReadContext;
    fn deref(&self) -> &ReadContext {
        &self.read
    }
}

impl StepContext {
    /// Wraps the parts; the engine listens at the other end.
    pub fn new(parts: ContextParts, messages: mpsc::Sender<StepMessage>) -> Self {
        Self {
            read: ReadContext(parts),
            messages,
        }
    }

    /// The one target of `C`'s provider that this step uses, opened.
    pub async fn connect<C: Connection>(&self) -> Result<Arc<C>, StepError> {
        self.read.open(None).await
    }

    /// The target that plays a role, opened.
    pub async fn connect_as<C: Connection>(&self, role: &str) -> Result<Arc<C>, StepError> {
        self.read.open(Some(role)).await
    }

    /// The one target of `C`'s provider where the system is missing and this step makes it: nothing has been asked of it.
    /// Once it is made, [`StepContext::reopen`] sees which one it is.
    pub async fn client_of_missing<C: Connection>(&self) -> Result<Arc<C>, StepError> {
        self.read.client().await
    }

    /// Opens a system that the plan has just brought back; its identity is recorded.
    pub async fn reopen<C: Connection>(&self, expect: Expect) -> Result<Arc<C>, StepError> {
        let name = self.read.binding::<C>(None)?;
        let connection = self.read.0.connections.reopen(name, expect).await?;
        downcast(connection.into_any(), name)
    }

    /// The step succeeds, and the run ends degraded (a second location was down). Returns once that is on disk.
    pub async fn degraded(&self, reason: impl Into<String>) -> Result<(), StepError> {
        let reason = reason.into();
        self.ask(|ack| StepMessage::Degraded { reason, ack }).await
    }

    /// How far the step is. May be called as often as one likes.
    pub async fn progress(&self, done: u64, total: Option<u64>, unit: Unit) {
        self.tell(StepMessage::Progress { done, total, unit }).await;
    }

    /// A line for the attempt's log file.
    pub async fn log(&self, line: impl Into<String>) {
        self.tell(StepMessage::Log { line: line.into() }).await;
    }

    /// Saves progress to go on from. Returns once it is on disk.
    pub async fn save_checkpoint(&self, data: impl Serialize) -> Result<(), StepError> {
        let data = encode_saved(data)?;
        self.ask(|ack| StepMessage::Checkpoint { data, ack }).await
    }

    /// Saves the output before the effect: `finally` and a resume need it even if this step fails. Returns once it is
    /// on disk.
    pub async fn save_output(&self, output: impl Serialize) -> Result<(), StepError> {
        let output = encode_saved(output)?;
        self.ask(|ack| StepMessage::Output { output, ack }).await
    }

    /// Asks the people who run the plan, and waits for the answer (`jm run approve`, `jm run reject`, or the terminal).
    /// Where nothing else is left to do the run ends here and waits; the attempt that a resume starts asks again, and
    /// gets the answer that was given meanwhile.
    pub async fn ask_operator(&self, question: impl Into<String>) -> Result<Answer, StepError> {
        let question = question.into();
        self.ask(|ack| StepMessage::Ask { question, ack }).await
    }

    /// What was really done, in the same form as a preview's changes. Journalled with the step's end.
    pub async fn changed(&self, change: Change) {
        self.tell(StepMessage::Changed { change }).await;
    }

    /// Keeps content that is larger than a record in the run's directory.
    pub async fn artefact(&self, name: &str, content: impl Into<Vec<u8>>) -> Result<ArtefactRef, StepError> {
        let (name, content) = (name.to_owned(), content.into());
        self.ask(|ack| StepMessage::Artefact { name, content, ack }).await
    }

    async fn tell(&self, message: StepMessage) {
        // A closed channel means that the run is over; whatever the step still says interests nobody.
        drop(self.messages.send(message).await);
    }

    async fn ask<T>(&self, message: impl FnOnce(Ack<T>) -> StepMessage) -> Result<T, StepError> {
        let (ack, answer) = oneshot::channel();
        let gone = || StepError::cancelled("the run is over");
        self.messages.send(message(ack)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn encode_saved(data: impl Serialize) -> Result<Value, StepError> {
    serde_json::to_value(data)
        .map_err(|error| StepError::failed("what is to be saved cannot be written as JSON").source(error))
}
