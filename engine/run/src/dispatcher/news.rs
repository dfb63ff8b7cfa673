//! What the dispatcher does about what it hears.

use jm_step::{Ack, Answer, Effect, Probe, Repeat, StepError, StepErrorKind, clock};
use serde_json::Value;
use tokio::sync::oneshot;

use super::Dispatcher;
use crate::error::RunError;
use crate::event::Event;
use crate::executor::{News, Outcome, clean_output};
use crate::gate::{Admission, Known, repinned};
use crate::journal::{Payload, RecordKind, Then, Verdict, Why};
use crate::payload::{presentable, words};
use crate::retry;
use crate::schedule::Stop;
use crate::state::{FailedAttempt, StepState};

impl Dispatcher<'_> {
    pub(super) fn hear(&mut self, news: News) -> Result<(), RunError> {
        match news {
            News::Save(record, ack) => self.save(record, ack),
            News::Progress(step, done, total, unit) => {
                self.ledger.tell(&Event::Progress {
                    step,
                    done,
                    total,
                    unit,
                });
                Ok(())
            }
            News::Log(step, line) => {
                self.ledger.tell(&Event::Log { step, line });
                Ok(())
            }
            News::Notice(text) => {
                self.notice(text);
                Ok(())
            }
            News::Ask(step, question, ack) => self.on_ask(step, question, ack),
            News::Ended(step, outcome) => self.on_ended(step, outcome),
            News::StillRunning(step, patience) => {
                let until = clock::now().checked_add(patience).unwrap_or(jiff::Timestamp::MAX);
                self.probed(step, Verdict::Running, Then::Wait { until })
            }
            News::Probed(step, verdict) => self.on_probed(step, verdict),
            News::Admit(wanted, ack) => self.on_admit(wanted, ack),
            News::Consented(step, consent) => self.on_consent(step, consent),
            News::Answered(step, question, answer) => self.on_answered(step, &question, answer),
        }
    }

    fn save(&mut self, record: RecordKind, ack: Ack) -> Result<(), RunError> {
        // What a step says that was dropped meanwhile does not count any more.
        let under_way = record.step().and_then(|step| self.graph.find(step.as_str()));
        if under_way.is_some_and(|step| self.live.contains_key(&step)) {
            self.ledger.note(record)?;
            self.afterwards.push(Box::new(move || drop(ack.send(Ok(())))));
        }
        Ok(())
    }

    fn on_ended(&mut self, step: usize, outcome: Outcome) -> Result<(), RunError> {
        if self.live.remove(&step).is_none() {
            return Ok(());
        }
        self.take_question(step);
        let id = self.id(step);
        match outcome.result {
            Ok(output) => self.ledger.note(RecordKind::StepSucceeded {
                step: id,
                output,
                changes: outcome.changes,
            }),
            // A step that was told to stop and stopped is under way, not failed.
            Err(error) if error.kind() == StepErrorKind::Cancelled && self.stop != Stop::Go => Ok(()),
            Err(error) => {
                let failed = self.failed(step, &error, outcome.panicked, outcome.changes);
                self.ledger.note(failed)
            }
        }
    }

    fn failed(
        &self,
        step: usize,
        error: &StepError,
        panicked: bool,
        changes: Payload<Vec<jm_step::Change>>,
    ) -> RecordKind {
        let (node, planned) = (self.graph.node(step), self.planned[step]);
        let tries = self.ledger.state().entry(step).tries;
        let aborted = self.ledger.state().aborted().is_some() && !node.in_finally;
        let unclear = match error.kind() {
            _ if node.effect == Effect::ReadOnly => false,
            StepErrorKind::Ambiguous => true,
            StepErrorKind::TimedOut => node.repeat == Repeat::Probe,
            _ => panicked,
        };
        let again = !aborted && retry::is_worth_retrying(&planned.retry, error.kind(), tries);
        let pause = retry::pause(&planned.retry, &self.run.info.id, &planned.id, tries);
        RecordKind::StepFailed {
            step: planned.id.clone(),
            error: presentable(&self.run.secrets, error.summary()),
            will_retry: again.then(|| clock::now().checked_add(pause).unwrap_or(jiff::Timestamp::MAX)),
            unclear,
            changes,
        }
    }

    fn probed(&mut self, step: usize, verdict: Verdict, then: Then) -> Result<(), RunError> {
        if !matches!(self.ledger.state().entry(step).state, StepState::Unclear { .. }) {
            return Ok(());
        }
        let step = self.id(step);
        self.ledger.note(RecordKind::Probed { step, verdict, then })
    }

    pub(super) fn on_probed(&mut self, step: usize, answer: Result<Probe<Value>, StepError>) -> Result<(), RunError> {
        self.probing.remove(&step);
        let StepState::Unclear { failed, .. } = self.ledger.state().entry(step).state.clone() else {
            return Ok(());
        };
        let mask = |reason: String| words(&self.run.secrets, &reason);
        let (verdict, happened) = match answer {
            Ok(Probe::Succeeded(output)) => return self.adopt(step, output),
            Ok(Probe::NotStarted) => (Verdict::NotStarted, None),
            Ok(Probe::Running) => (Verdict::Running, Some("it still goes on".to_owned())),
            Ok(Probe::Partial { reason }) => {
                let reason = mask(reason);
                (Verdict::Partial { reason: reason.clone() }, Some(reason))
            }
            Ok(Probe::Unknown { reason }) => {
                let reason = mask(reason);
                (Verdict::Unknown { reason: reason.clone() }, Some(reason))
            }
            Err(error) => {
                let reason = mask(format!("the probe failed: {error}"));
                (Verdict::Unknown { reason: reason.clone() }, Some(reason))
            }
        };
        self.after_probe(step, verdict, happened, failed.as_deref())
    }

    /// Nothing, something, or nobody knows what happened: runs again, asks a person, or leaves it failed.
    fn after_probe(
        &mut self,
        step: usize,
        verdict: Verdict,
        happened: Option<String>,
        failed: Option<&FailedAttempt>,
    ) -> Result<(), RunError> {
        let node = self.graph.node(step);
        if self.ledger.state().aborted().is_some() && !node.in_finally {
            return self.leave_failed(step, verdict, happened, failed);
        }
        let may_repeat = happened.is_none() || node.repeat == Repeat::Safe;
        let drop_checkpoint = happened.is_none();
        let now = clock::now();
        match (failed, may_repeat) {
            (Some(only), _) if only.retry_at.is_none() => self.leave_failed(step, verdict, happened, failed),
            (failed, true) => {
                let at = failed.and_then(|failed| failed.retry_at).map_or(now, |at| at.max(now));
                self.probed(step, verdict, Then::Again { at, drop_checkpoint })?;
                if failed.is_none() {
                    self.make_again_what_is_gone()?;
                }
                Ok(())
            }
            (_, false) => {
                let reason = happened.unwrap_or_default();
                self.probed(step, verdict, Then::Operator)?;
                self.ledger.note(RecordKind::OperatorNeeded {
                    step: self.id(step),
                    why: Why::Unclear { reason },
                })
            }
        }
    }

    /// As long as it was not known what became of a step that the run was broken off in, what it worked in was let be.
    fn make_again_what_is_gone(&mut self) -> Result<(), RunError> {
        for record in crate::resume::before_again(self.run, self.ledger.state()) {
            self.ledger.note(record)?;
        }
        Ok(())
    }

    /// No attempt follows: it failed as the last one did, or because nobody saw it end.
    fn leave_failed(
        &mut self,
        step: usize,
        verdict: Verdict,
        happened: Option<String>,
        failed: Option<&FailedAttempt>,
    ) -> Result<(), RunError> {
        let interrupted = || {
            let message = match &happened {
                Some(reason) => format!("the run was aborted, and nobody saw it end: {reason}"),
                None => "the run was aborted before it did anything".to_owned(),
            };
            StepError::cancelled(message).summary()
        };
        let error = failed.map_or_else(interrupted, |failed| failed.error.clone());
        self.probed(step, verdict, Then::Fail)?;
        self.ledger.note(RecordKind::StepFailed {
            step: self.id(step),
            error,
            will_retry: None,
            unclear: happened.is_some(),
            changes: Payload::default(),
        })
    }

    fn adopt(&mut self, step: usize, output: Value) -> Result<(), RunError> {
        match clean_output(&self.run.secrets, &*self.run.files, output) {
            Ok(output) => {
                self.probed(step, Verdict::Succeeded, Then::Adopt)?;
                let step = self.id(step);
                self.ledger.note(RecordKind::StepSucceeded {
                    step,
                    output,
                    changes: Payload::default(),
                })
            }
            Err(error) => {
                self.probed(step, Verdict::Succeeded, Then::Fail)?;
                self.refuse(step, &error)
            }
        }
    }

    pub(super) fn on_admit(
        &mut self,
        wanted: Admission,
        ack: oneshot::Sender<Result<(), StepError>>,
    ) -> Result<(), RunError> {
        let known = Known {
            recorded: self.ledger.state().targets(),
            accepted: &self.run.options.accept_identity,
            repairs: self.run.plan.repairs(),
        };
        let answer = match known.judge(&wanted) {
            Err(error) => Err(error),
            Ok(false) => Ok(()),
            Ok(true) => {
                if let Some(text) = repinned(&wanted) {
                    self.notice(text);
                }
                let Admission { target, identity, .. } = wanted;
                self.ledger.note(RecordKind::TargetOpened { target, identity })?;
                Ok(())
            }
        };
        self.afterwards.push(Box::new(move || drop(ack.send(answer))));
        Ok(())
    }

    fn on_ask(&mut self, step: usize, question: String, ack: Ack<Answer>) -> Result<(), RunError> {
        let entry = self.ledger.state().entry(step);
        if let Some(answer) = entry.answer(&question).cloned() {
            drop(ack.send(Ok(answer)));
            return Ok(());
        }
        if entry.state != StepState::Running {
            drop(ack.send(Err(StepError::failed("a step asks one question at a time"))));
            return Ok(());
        }
        let (id, why) = (
            self.id(step),
            Why::Approval {
                question: question.clone(),
            },
        );
        self.ledger.note(RecordKind::OperatorNeeded { step: id.clone(), why })?;
        self.questions.insert(step, (question.clone(), ack));
        if let Some(person) = self.run.person.clone() {
            let news = self.news.clone();
            let asking = self.tasks.spawn(async move {
                let answer = person.answer(&id, &question).await;
                drop(news.send(News::Answered(step, question, answer)).await);
            });
            self.asking.insert(step, asking);
        }
        Ok(())
    }
}
