//! How each record changes the state, and which records may follow on which.

use jiff::Timestamp;
use jm_step::{Answer, StepId};

use super::{FailedAttempt, IllegalTransition, RunState, StepEntry, StepState};
use crate::journal::{OperatorVerb, Record, RecordKind, Said, StopCause, Then, Why};

/// Why a record cannot follow.
type Refusal = String;

impl RunState {
    /// Takes a record in. A record that cannot follow leaves the state as it was.
    pub fn apply(&mut self, record: &Record) -> Result<(), IllegalTransition> {
        let illegal = |why| IllegalTransition {
            seq: record.seq,
            kind: record.kind.name(),
            step: record.kind.step().cloned(),
            why,
        };
        if record.seq != self.last_seq + 1 {
            return Err(illegal(format!("record {} was the last", self.last_seq)));
        }
        self.fits_run(&record.kind).map_err(illegal)?;
        self.take(record).map_err(illegal)?;
        self.last_seq = record.seq;
        // A person's word is written by whoever is there.
        if !matches!(record.kind, RecordKind::Operator(_)) {
            self.retried.clear();
            self.last_at = Some(record.at);
        }
        Ok(())
    }

    fn fits_run(&self, kind: &RecordKind) -> Result<(), Refusal> {
        let is_opening = matches!(kind, RecordKind::RunOpened(_));
        if is_opening == self.opened.is_some() {
            return Err(if is_opening {
                "the run is open"
            } else {
                "the run is not open"
            }
            .to_owned());
        }
        let at_rest = self.closed.is_some() || self.stopped.is_some();
        let goes_on = matches!(kind, RecordKind::Operator(_) | RecordKind::RunResumed { .. });
        if at_rest && !goes_on {
            return Err("the run was at rest".to_owned());
        }
        Ok(())
    }

    fn take(&mut self, record: &Record) -> Result<(), Refusal> {
        let at = record.at;
        match &record.kind {
            RecordKind::RunOpened(opened) => {
                self.opened = Some(opened.clone());
                self.session_at = Some(at);
            }
            RecordKind::TargetOpened { target, identity } => {
                let known = self.targets.entry(target.clone()).or_default();
                known.0.extend(identity.0.clone());
            }
            RecordKind::Operator(said) => self.hear(said, at)?,
            RecordKind::DeadlinePassed {} => self.deadline_passed = true,
            RecordKind::RunStopped { by } => self.rest(Some(by.clone()), at),
            RecordKind::RunClosed { status } => {
                self.closed = Some(*status);
                self.rest(None, at);
            }
            RecordKind::RunResumed { .. } => self.resume(at),
            kind => self.step_record(kind, at)?,
        }
        Ok(())
    }

    fn rest(&mut self, stopped: Option<StopCause>, at: Timestamp) {
        self.stopped = stopped;
        self.ended_at = Some(at);
    }

    fn step_record(&mut self, kind: &RecordKind, at: Timestamp) -> Result<(), Refusal> {
        let id = kind.step().ok_or("it names no step")?;
        let i = self.number(id)?;
        let entry = &mut self.steps[i];
        let new = transition(entry, kind, at)?;
        note(entry, kind, at);
        self.set(i, new, at);
        Ok(())
    }

    fn number(&mut self, id: &StepId) -> Result<usize, Refusal> {
        if let Some(i) = self.index.get(id) {
            return Ok(*i);
        }
        if self.frontier.is_some() {
            return Err("the plan has no such step".to_owned());
        }
        self.steps.push(StepEntry::new(id.clone()));
        self.index.insert(id.clone(), self.steps.len() - 1);
        Ok(self.steps.len() - 1)
    }

    fn set(&mut self, i: usize, new: Option<StepState>, at: Timestamp) {
        let Some(new) = new else { return };
        let entry = &mut self.steps[i];
        keep_time(entry, &new, at);
        if let Some(frontier) = &mut self.frontier {
            frontier.change(i, &entry.state, &new);
        }
        entry.state = new;
    }

    /// Attempts that were under way are unclear; questions are asked again; retries begin afresh.
    fn resume(&mut self, at: Timestamp) {
        self.closed = None;
        self.stopped = None;
        self.ended_at = None;
        self.deadline_passed = false;
        self.session_at = Some(at);
        self.resumes += 1;
        for i in 0..self.steps.len() {
            cut_off(&mut self.steps[i], self.last_at.unwrap_or(at));
            let new = resumed(&self.steps[i], at);
            if matches!(self.steps[i].state, StepState::NotStarted { .. }) {
                self.steps[i].error = None;
            }
            if new.is_some() {
                self.steps[i].tries = 0;
            }
            self.set(i, new, at);
        }
    }

    fn hear(&mut self, said: &Said, at: Timestamp) -> Result<(), Refusal> {
        if self.has_heard(&said.id) {
            return Err("the same word was counted before".to_owned());
        }
        self.accepts(said.verb, said.step.as_ref())?;
        self.heard.insert(said.id.clone());
        match (said.verb, &said.step) {
            (OperatorVerb::Consent, _) => self.consents.push(said.clone()),
            (OperatorVerb::Abort, _) => self.aborted = Some(said.who.clone()),
            (_, Some(id)) => self.hear_of_step(said, id, at)?,
            (_, None) => {}
        }
        Ok(())
    }

    fn hear_of_step(&mut self, said: &Said, id: &StepId, at: Timestamp) -> Result<(), Refusal> {
        let i = self.number(id)?;
        let by = format!("{} by {}", said.verb.as_str(), said.who);
        self.steps[i].error = None;
        let new = match said.verb {
            OperatorVerb::Approve | OperatorVerb::Reject => {
                answer(&mut self.steps[i], said, at);
                Some(StepState::Running)
            }
            OperatorVerb::Retry => {
                start_over(&mut self.steps[i]);
                self.retried.push(id.clone());
                Some(StepState::NotStarted { undone: false })
            }
            OperatorVerb::MarkDone => {
                self.steps[i].by_person = true;
                Some(StepState::Succeeded)
            }
            _ => {
                // The plan wanted it done, and a safety backup that was not made is nothing to be silent about.
                let reason = said.reason.as_deref().unwrap_or("no reason given");
                let left_out = format!("left out by {}: {reason}", said.who);
                self.steps[i].degraded.push(left_out);
                Some(StepState::Skipped {
                    because: said.reason.clone().unwrap_or(by),
                    by_person: true,
                })
            }
        };
        // A run that was over has something to do again, and one that was to be ended goes on.
        self.closed = None;
        self.aborted = None;
        self.set(i, new, at);
        Ok(())
    }
}

/// The state that follows; `None` where it stays what it is.
fn transition(entry: &StepEntry, kind: &RecordKind, at: Timestamp) -> Result<Option<StepState>, Refusal> {
    use StepState as S;
    let no = || Err(format!("the step is {}", describe(&entry.state)));
    let asking = matches!(&entry.state, S::Awaiting { why } if matches!(**why, Why::Approval { .. }));
    Ok(match (kind, &entry.state) {
        (RecordKind::StepStarted { attempt, .. }, S::NotStarted { .. } | S::Retrying { .. }) => {
            if *attempt != entry.attempts + 1 {
                return Err(format!("attempt {} was the last", entry.attempts));
            }
            Some(S::Running)
        }
        (
            RecordKind::StepCheckpoint { .. } | RecordKind::OutputSaved { .. } | RecordKind::StepDegraded { .. },
            S::Running | S::Awaiting { .. },
        ) if asking || entry.state == S::Running => None,
        (RecordKind::StepSucceeded { .. }, S::Running | S::Unclear { .. }) => Some(S::Succeeded),
        (RecordKind::StepSucceeded { .. }, S::Awaiting { .. }) if asking => Some(S::Succeeded),
        (RecordKind::StepFailed { .. }, state) => match failed(state, kind, asking, at) {
            None => return no(),
            new => new,
        },
        (RecordKind::StepSkipped { because, by_person, .. }, S::NotStarted { .. }) => Some(S::Skipped {
            because: because.clone(),
            by_person: *by_person,
        }),
        (RecordKind::StepBlocked { by, .. }, S::NotStarted { .. }) => Some(S::Blocked { by: by.clone() }),
        (RecordKind::StepUndone { .. }, state) if *state != S::Running => Some(S::NotStarted { undone: true }),
        (RecordKind::StepAnew { .. }, state) if *state != S::Running => Some(S::NotStarted { undone: false }),
        (RecordKind::Probed { then, .. }, S::Unclear { failed, .. }) => probed(then, failed.as_deref()),
        (RecordKind::OperatorNeeded { why, .. }, S::Running | S::Unclear { .. } | S::Failed { .. }) => {
            Some(S::Awaiting {
                why: Box::new(why.clone()),
            })
        }
        _ => return no(),
    })
}

fn failed(state: &StepState, kind: &RecordKind, asking: bool, at: Timestamp) -> Option<StepState> {
    let RecordKind::StepFailed {
        error,
        will_retry,
        unclear,
        ..
    } = kind
    else {
        return None;
    };
    let live = *state == StepState::Running || asking;
    // One about which a person was asked fails where the run is aborted instead.
    let fits = live
        || matches!(
            state,
            StepState::NotStarted { .. }
                | StepState::Unclear { .. }
                | StepState::Retrying { .. }
                | StepState::Awaiting { .. }
        );
    fits.then(|| match will_retry {
        retry_at if live && *unclear => StepState::Unclear {
            ask_at: at,
            failed: Some(Box::new(FailedAttempt {
                error: error.clone(),
                retry_at: *retry_at,
            })),
        },
        Some(not_before) => StepState::Retrying {
            not_before: *not_before,
        },
        None => StepState::Failed {
            error: Box::new(error.clone()),
            unclear: *unclear,
        },
    })
}

fn probed(then: &Then, failed: Option<&FailedAttempt>) -> Option<StepState> {
    match then {
        Then::Wait { until } => Some(StepState::Unclear {
            ask_at: *until,
            failed: failed.cloned().map(Box::new),
        }),
        Then::Again { at, .. } => Some(StepState::Retrying { not_before: *at }),
        Then::Adopt | Then::Operator | Then::Fail => None,
    }
}

fn resumed(entry: &StepEntry, at: Timestamp) -> Option<StepState> {
    let interrupted = StepState::Unclear {
        ask_at: at,
        failed: None,
    };
    match &entry.state {
        StepState::Running | StepState::Unclear { .. } | StepState::Failed { unclear: true, .. } => Some(interrupted),
        StepState::Retrying { not_before } => Some(StepState::Retrying {
            not_before: *not_before,
        }),
        StepState::Awaiting { why } => match why.as_ref() {
            Why::Approval { .. } => Some(StepState::Retrying { not_before: at }),
            Why::Unclear { .. } => Some(interrupted),
            Why::Paused { .. } => None,
        },
        _ => None,
    }
}

/// What the record adds to the step's history.
fn note(entry: &mut StepEntry, kind: &RecordKind, at: Timestamp) {
    match kind {
        RecordKind::StepStarted { attempt, key, .. } => {
            entry.attempts = *attempt;
            entry.tries += 1;
            entry.key = Some(key.clone());
            entry.started_at.get_or_insert(at);
            entry.attempt_at = Some(at);
        }
        RecordKind::StepCheckpoint { data, .. } => entry.checkpoint = Some(data.clone()),
        RecordKind::OutputSaved { output, .. } => entry.output = Some(output.clone()),
        RecordKind::StepSucceeded { output, changes, .. } => {
            entry.output = Some(output.clone());
            entry.checkpoint = None;
            entry.error = None;
            keep_changes(entry, changes);
        }
        RecordKind::StepFailed { error, changes, .. } => {
            entry.error = Some(Box::new(error.clone()));
            keep_changes(entry, changes);
        }
        RecordKind::StepDegraded { reason, .. } => entry.degraded.push(reason.clone()),
        RecordKind::StepUndone { .. } => start_over(entry),
        RecordKind::StepAnew { .. } => {
            entry.error = None;
            start_over(entry);
        }
        RecordKind::Probed {
            then: Then::Again {
                drop_checkpoint: true, ..
            },
            ..
        } => entry.checkpoint = None,
        _ => {}
    }
}

fn keep_changes(entry: &mut StepEntry, changes: &crate::journal::Payload<Vec<jm_step::Change>>) {
    if !changes.is_empty() {
        entry.changes.push(changes.clone());
    }
}

fn start_over(entry: &mut StepEntry) {
    entry.generation += 1;
    entry.tries = 0;
    entry.checkpoint = None;
    entry.by_person = false;
    entry.degraded.clear();
    entry.answers.clear();
    entry.started_at = None;
    entry.ended_at = None;
}

fn answer(entry: &mut StepEntry, said: &Said, at: Timestamp) {
    if let StepState::Awaiting { why } = &entry.state {
        if let Why::Approval { question } = why.as_ref() {
            let answer = Answer {
                approved: said.verb == OperatorVerb::Approve,
                who: said.who.clone(),
                reason: said.reason.clone(),
                at,
            };
            entry.answers.push((question.clone(), answer));
        }
    }
}

/// An attempt whose process is gone took the time until that was last heard of, and not until somebody went on.
fn cut_off(entry: &mut StepEntry, last: Timestamp) {
    if let Some(since) = entry.attempt_at.take() {
        entry.spent += last.duration_since(since);
    }
}

/// Adds up the time of attempts, and keeps when the step came to rest.
fn keep_time(entry: &mut StepEntry, new: &StepState, at: Timestamp) {
    let was_live = matches!(entry.state, StepState::Running | StepState::Awaiting { .. });
    let is_live = matches!(new, StepState::Running | StepState::Awaiting { .. });
    if was_live && !is_live {
        if let Some(since) = entry.attempt_at.take() {
            entry.spent += at.duration_since(since);
        }
    }
    entry.ended_at = new.is_settled().then_some(at);
}

fn describe(state: &StepState) -> &'static str {
    match state {
        StepState::Retrying { .. } => "waiting for its next attempt",
        StepState::Unclear { .. } => "to be probed",
        StepState::Awaiting { .. } => "waiting for a person",
        other => other.status(),
    }
}
