//! Runs one attempt or one probe in a task of its own, and tells the dispatcher what came of it.

use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::future::FutureExt;
use jm_plan::RetryPolicy;
use jm_step::{
    Ack, Answer, AnyStepType, Change, ContextParts, Effect, Probe, ReadContext, StepContext, StepError, StepErrorKind,
    StepId, StepMessage, Unit,
};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::files::RunFiles;
use crate::gate::Admission;
use crate::guard::Consent;
use crate::holds::Holds;
use crate::journal::{Payload, RecordKind};
use crate::payload::{clean, store, words};
use crate::retry;

/// What a step says within its own room, before it waits for the dispatcher.
const CHANNEL: usize = 64;
/// How often a probe that fails is tried.
const PROBE_TRIES: u32 = 3;
/// How long one probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_mins(1);

/// What the dispatcher hears.
pub(crate) enum News {
    /// A record about a step that is under way, and who waits for it to be on disk.
    Save(RecordKind, Ack),
    /// Passing.
    Progress(StepId, u64, Option<u64>, Unit),
    /// Passing.
    Log(StepId, String),
    /// A step asks a person.
    Ask(usize, String, Ack<Answer>),
    /// An attempt ended.
    Ended(usize, Outcome),
    /// A probe found the attempt still under way, and goes on asking until then.
    StillRunning(usize, Duration),
    /// A probe ended.
    Probed(usize, Result<Probe<Value>, StepError>),
    /// Something that is worth a line.
    Notice(String),
    /// A system wants to be used under a target's name.
    Admit(Admission, oneshot::Sender<Result<(), StepError>>),
    /// A person answered a guard.
    Consented(usize, Consent),
    /// A person answered a step's question, or was not there.
    Answered(usize, String, Option<Answer>),
}

/// How an attempt ended.
pub(crate) struct Outcome {
    pub(crate) result: Result<Payload<Value>, StepError>,
    pub(crate) changes: Payload<Vec<Change>>,
    /// The step broke off in the middle: what it did is not known.
    pub(crate) panicked: bool,
}

/// An attempt, about to begin.
pub(crate) struct Attempt {
    pub(crate) node: usize,
    pub(crate) step_type: Arc<dyn AnyStepType>,
    pub(crate) input: Value,
    pub(crate) timeout: Duration,
    pub(crate) grace: Duration,
    pub(crate) parts: ContextParts,
    pub(crate) files: Arc<dyn RunFiles>,
    pub(crate) holds: Arc<Holds>,
    pub(crate) news: mpsc::Sender<News>,
}

impl Attempt {
    /// Whether it uses no system, and its type changes nothing whatever its input: a check of what is known already.
    pub(crate) fn is_light(&self) -> bool {
        self.parts.bindings.is_empty() && self.step_type.most_effect() == Effect::ReadOnly
    }
}

/// Runs an attempt.
pub(crate) async fn attempt(attempt: Attempt) {
    if attempt.holds.ensure(attempt.parts.bindings.values()).await.is_err() {
        // The run stops for it, and takes this task along.
        return std::future::pending().await;
    }
    let (sender, mut receiver) = mpsc::channel(CHANNEL);
    let cx = StepContext::new(attempt.parts.clone(), sender);
    let mut listener = Listener::new(&attempt);
    let work = attempt.step_type.run(&cx, attempt.input);
    let (late, cancel) = (attempt.parts.late.clone(), attempt.parts.cancel.clone());
    let stop = || {
        late.cancel();
        cancel.cancel();
    };
    let work = bounded(work, attempt.timeout, attempt.grace, stop);
    let mut work = std::pin::pin!(AssertUnwindSafe(work).catch_unwind());
    let end = loop {
        tokio::select! {
            biased;
            Some(message) = receiver.recv() => listener.hear(message).await,
            end = &mut work => break end,
        }
    };
    while let Ok(message) = receiver.try_recv() {
        listener.hear(message).await;
    }
    let outcome = listener.outcome(end).await;
    drop(attempt.news.send(News::Ended(attempt.node, outcome)).await);
}

/// What helps where a step took too long, and says nothing itself.
const LONGER: &str = "give the step a longer `timeout`, or find out what holds it up";

/// Runs to the end or to the time-out; then asks to stop, and drops what does not. What a step says of why it was not
/// through by then is kept.
async fn bounded(
    work: impl Future<Output = Result<Value, StepError>>,
    timeout: Duration,
    grace: Duration,
    stop: impl FnOnce(),
) -> Result<Value, StepError> {
    let mut work = std::pin::pin!(work);
    if let Ok(end) = tokio::time::timeout(timeout, &mut work).await {
        return end;
    }
    stop();
    let late = format!(
        "it took longer than its time-out of {}",
        jm_plan::duration::show(timeout)
    );
    let ended = match tokio::time::timeout(grace, work).await {
        Ok(Ok(output)) => return Ok(output),
        Ok(Err(error)) => Some(error),
        Err(_) => None,
    };
    // A step that only stops may say what it leaves behind.
    let left = ended.as_ref().and_then(StepError::hint_text).map(str::to_owned);
    Err(match ended.filter(|error| error.kind() != StepErrorKind::Cancelled) {
        Some(error) if left.is_some() => error.context(late).of_kind(StepErrorKind::TimedOut),
        Some(error) => error.context(late).of_kind(StepErrorKind::TimedOut).hint(LONGER),
        None => {
            StepError::timed_out(late).hint(left.map_or_else(|| LONGER.to_owned(), |left| format!("{LONGER}; {left}")))
        }
    })
}

/// Hears what a step says.
struct Listener {
    step: StepId,
    node: usize,
    attempt: u32,
    secrets: jm_step::Secrets,
    files: Arc<dyn RunFiles>,
    news: mpsc::Sender<News>,
    log: Option<Box<dyn Write + Send + Sync>>,
    changes: Vec<Change>,
}

impl Listener {
    fn new(attempt: &Attempt) -> Self {
        Self {
            step: attempt.parts.step.clone(),
            node: attempt.node,
            attempt: attempt.parts.attempt,
            secrets: attempt.parts.secrets.clone(),
            files: attempt.files.clone(),
            news: attempt.news.clone(),
            log: None,
            changes: Vec::new(),
        }
    }

    async fn hear(&mut self, message: StepMessage) {
        match message {
            StepMessage::Progress { done, total, unit } => {
                // News that passes may be lost where the dispatcher is busy; the next one says more.
                drop(self.news.try_send(News::Progress(self.step.clone(), done, total, unit)));
            }
            StepMessage::Log { line } => self.log(&line),
            StepMessage::Degraded { reason, ack } => {
                let reason = words(&self.secrets, &reason);
                let step = self.step.clone();
                self.tell(News::Save(RecordKind::StepDegraded { step, reason }, ack))
                    .await;
            }
            StepMessage::Checkpoint { data, ack } => match self.keep("checkpoint", data).await {
                Ok(data) => {
                    let step = self.step.clone();
                    self.tell(News::Save(RecordKind::StepCheckpoint { step, data }, ack))
                        .await;
                }
                Err(error) => drop(ack.send(Err(error))),
            },
            StepMessage::Output { output, ack } => match self.keep("output", output).await {
                Ok(output) => {
                    let step = self.step.clone();
                    self.tell(News::Save(RecordKind::OutputSaved { step, output }, ack))
                        .await;
                }
                Err(error) => drop(ack.send(Err(error))),
            },
            StepMessage::Ask { question, ack } => {
                let question = words(&self.secrets, &question);
                self.tell(News::Ask(self.node, question, ack)).await;
            }
            StepMessage::Changed { change } => self.changes.push(change),
            StepMessage::Artefact { name, content, ack } => {
                let kept = self.artefact(name, content).await;
                drop(ack.send(kept));
            }
        }
    }

    async fn tell(&self, news: News) {
        // A dispatcher that is gone needs no news.
        drop(self.news.send(news).await);
    }

    fn log(&mut self, line: &str) {
        let line = self.secrets.mask(line).into_owned();
        if self.log.is_none() {
            self.log = self.files.log(&self.step, self.attempt).ok();
        }
        if let Some(log) = &mut self.log {
            // A log that cannot be written must not fail a recovery.
            drop(writeln!(log, "{} {line}", jm_step::clock::now()));
        }
        drop(self.news.try_send(News::Log(self.step.clone(), line)));
    }

    async fn keep(&self, what: &str, value: Value) -> Result<Payload<Value>, StepError> {
        let text = clean(&self.secrets, what, &value)?;
        store(&self.files, what, value, text).await
    }

    async fn artefact(&self, name: String, content: Vec<u8>) -> Result<jm_step::ArtefactRef, StepError> {
        let content = match std::str::from_utf8(&content) {
            Ok(text) => self.secrets.mask(text).into_owned().into_bytes(),
            Err(_) => content,
        };
        let files = self.files.clone();
        match tokio::task::spawn_blocking(move || files.put(&name, &content)).await {
            Ok(kept) => {
                kept.map_err(|error| StepError::failed("cannot keep an artefact in the run's directory").source(error))
            }
            Err(_) => Err(StepError::cancelled("the run is over")),
        }
    }

    async fn outcome(mut self, end: std::thread::Result<Result<Value, StepError>>) -> Outcome {
        let changes = self.kept_changes().await;
        let panicked = end.is_err();
        let result = match end {
            Ok(Ok(output)) => self.keep("output", output).await,
            Ok(Err(error)) => Err(error),
            Err(panic) => Err(StepError::failed(format!(
                "a bug in the step: it panicked: {}",
                panic_text(&*panic)
            ))),
        };
        if let Err(error) = &result {
            self.log(&format!("failed: {error}"));
        }
        Outcome {
            result,
            changes,
            panicked,
        }
    }

    async fn kept_changes(&mut self) -> Payload<Vec<Change>> {
        let mut changes = std::mem::take(&mut self.changes);
        if changes.is_empty() {
            return Payload::default();
        }
        for change in &mut changes {
            change.object = self.secrets.mask(&change.object).into_owned();
            for side in [&mut change.before, &mut change.after].into_iter().flatten() {
                self.secrets.mask_json(side);
            }
        }
        let text = serde_json::to_string(&changes).unwrap_or_default();
        store(&self.files, "changes", changes, text).await.unwrap_or_default()
    }
}

/// The output that a probe found, fit for the journal.
pub(crate) fn clean_output(
    secrets: &jm_step::Secrets,
    files: &dyn RunFiles,
    output: Value,
) -> Result<Payload<Value>, StepError> {
    let text = clean(secrets, "output", &output)?;
    if text.len() <= crate::payload::INLINE {
        return Ok(Payload::Inline(output));
    }
    let kept = files.put("output", text.as_bytes());
    kept.map(Payload::Artefact)
        .map_err(|error| StepError::failed("cannot keep a large value in the run's directory").source(error))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

/// A probe, about to be asked.
pub(crate) struct Probing {
    pub(crate) node: usize,
    pub(crate) step_type: Arc<dyn AnyStepType>,
    pub(crate) input: Value,
    pub(crate) parts: ContextParts,
    pub(crate) news: mpsc::Sender<News>,
    /// How long an attempt that is still under way is waited for; not at all where none is left to follow.
    pub(crate) patience: Option<Duration>,
}

/// How an attempt that is still under way is asked after: soon at first, and at last as often as an API that counts its
/// callers bears for most of an hour.
fn pace() -> RetryPolicy {
    RetryPolicy {
        attempts: u32::MAX,
        base: Duration::from_secs(1),
        factor: 1.5,
        cap: Duration::from_secs(15),
        jitter: 0.5,
        on: Vec::new(),
    }
}

/// Asks what became of an attempt, until there is an answer.
pub(crate) async fn probe(probing: Probing) {
    let cx = ReadContext::new(probing.parts.clone());
    let began = Instant::now();
    let pace = pace();
    let (mut failures, mut looks) = (0, 0);
    let verdict = loop {
        match ask(&probing, &cx).await {
            Ok(Probe::Running) => match probing.patience.filter(|patience| began.elapsed() < *patience) {
                Some(patience) => {
                    looks += 1;
                    if looks == 1 {
                        drop(probing.news.send(News::StillRunning(probing.node, patience)).await);
                    }
                    let pause = retry::pause(&pace, &probing.parts.run.id, &probing.parts.step, looks);
                    tokio::time::sleep(pause).await;
                }
                None => break Ok(Probe::partial("it still goes on without us")),
            },
            Err(error) if error.kind().is_transient() && failures + 1 < PROBE_TRIES => {
                failures += 1;
                tokio::time::sleep(Duration::from_millis(500) * failures).await;
            }
            verdict => break verdict,
        }
    };
    drop(probing.news.send(News::Probed(probing.node, verdict)).await);
}

async fn ask(probing: &Probing, cx: &ReadContext) -> Result<Probe<Value>, StepError> {
    let asked = AssertUnwindSafe(probing.step_type.probe(cx, probing.input.clone())).catch_unwind();
    match tokio::time::timeout(PROBE_TIMEOUT, asked).await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(panic)) => Err(StepError::failed(format!(
            "a bug in the step's probe: it panicked: {}",
            panic_text(&*panic)
        ))),
        Err(_) => Err(StepError::timed_out("the probe got no answer")),
    }
}

#[cfg(test)]
mod tests {
    use jm_step::RunId;
    use serde_json::json;
    use tokio_util::sync::CancellationToken;

    use super::*;

    /// What comes of a step that says this when its time is up.
    async fn late(says: StepError) -> StepError {
        let stop = CancellationToken::new();
        let told = stop.clone();
        let work = async move {
            told.cancelled().await;
            Err(says)
        };
        let (timeout, grace) = (Duration::from_secs(1), Duration::from_secs(5));
        let end = bounded(work, timeout, grace, || stop.cancel()).await;
        end.expect_err("it is late")
    }

    #[tokio::test]
    async fn what_a_step_says_when_its_time_is_up_is_kept() {
        let seen = json!({ "pods": 1 });
        let says = StepError::failed("it is not ready").hint("look at it");
        let error = late(says.evidence(seen.clone())).await;
        assert_eq!(error.kind(), StepErrorKind::TimedOut);
        assert_eq!(
            error.message(),
            "it took longer than its time-out of 1s: it is not ready"
        );
        assert_eq!(error.hint_text(), Some("look at it"));
        assert_eq!(error.summary().evidence, Some(seen));

        let error = late(StepError::cancelled("told to stop")).await;
        assert_eq!(error.kind(), StepErrorKind::TimedOut);
        assert_eq!(error.message(), "it took longer than its time-out of 1s");
        assert!(error.hint_text().is_some_and(|hint| hint.contains("`timeout`")));

        let error = late(StepError::cancelled("told to stop").hint("half of it is in `x`")).await;
        let hint = error.hint_text().expect("a hint");
        assert!(
            hint.contains("longer `timeout`") && hint.contains("half of it is in `x`"),
            "{hint}"
        );
    }

    #[test]
    fn what_takes_an_hour_is_not_asked_after_every_second() {
        let (pace, run, step) = (pace(), RunId::generate(), "a".parse().expect("a name"));
        let pause = |looks| retry::pause(&pace, &run, &step, looks);
        assert!(pause(1) <= Duration::from_secs(1), "what ends soon is seen soon");
        let (mut looks, mut passed) = (0, Duration::ZERO);
        while passed < Duration::from_mins(45) {
            looks += 1;
            passed += pause(looks);
        }
        assert!((180..=400).contains(&looks), "{looks}");
    }
}
