//! The beginning of attempts and probes: inputs are rendered, guards asked, contexts made.

use std::sync::Arc;

use jm_plan::PlannedStep;
use jm_step::{ContextParts, Effect, Known, StepError, StepErrorKind, StepId};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::Dispatcher;
use crate::error::RunError;
use crate::executor::{self, Attempt, Probing};
use crate::journal::RecordKind;
use crate::payload::{self, presentable};
use crate::retry;
use crate::state::StepState;

impl Dispatcher<'_> {
    /// A failure for good of a step that was not under way.
    pub(super) fn failure(&self, step: usize, error: jm_step::ErrorSummary) -> RecordKind {
        RecordKind::StepFailed {
            step: self.id(step),
            error,
            will_retry: None,
            unclear: false,
            changes: crate::journal::Payload::default(),
        }
    }

    pub(super) fn refuse(&mut self, step: usize, error: &StepError) -> Result<(), RunError> {
        let error = presentable(&self.run.secrets, error.summary());
        self.ledger.note(self.failure(step, error))
    }

    pub(super) fn begin(&mut self, step: usize, attempt: u32) -> Result<(), RunError> {
        if self.consents.is_asked(step) {
            return Ok(());
        }
        let planned = self.planned[step];
        let ready = self
            .input(planned)
            .and_then(|input| Ok((self.parts(step, attempt)?, input)));
        let (parts, input) = match ready {
            Ok(ready) => ready,
            Err(error) => return self.refuse(step, &error),
        };
        let may_pass = match planned.step_type.effect(&Known::new(input.clone())) {
            Effect::Irreversible => self.may_pass(step)?,
            Effect::Reversible if self.leads_to_loss(step) => self.may_lose_data(step)?,
            _ => true,
        };
        if !may_pass {
            return Ok(());
        }
        let key = parts.idempotency_key.clone();
        self.ledger.note(RecordKind::StepStarted {
            step: planned.id.clone(),
            attempt,
            key,
        })?;
        self.undo(step)?;
        self.live.insert(step, parts.cancel.clone());
        self.begun.push(Attempt {
            node: step,
            step_type: planned.step_type.clone(),
            timeout: planned.timeout,
            grace: self.run.options.grace,
            files: self.run.files.clone(),
            holds: self.holds.clone(),
            news: self.news.clone(),
            input,
            parts,
        });
        Ok(())
    }

    /// From the start of a step on, those that it undoes are not-started again.
    fn undo(&mut self, step: usize) -> Result<(), RunError> {
        let graph = self.graph.clone();
        for undone in &graph.node(step).undoes {
            let state = &self.ledger.state().entry(*undone).state;
            if !matches!(state, StepState::NotStarted { .. } | StepState::Running) {
                self.ledger.note(RecordKind::StepUndone {
                    step: self.id(*undone),
                    by: self.id(step),
                })?;
            }
        }
        Ok(())
    }

    fn input(&self, planned: &PlannedStep) -> Result<Value, StepError> {
        let rendered = planned.input.render(&self.scope);
        let rendered = rendered.map_err(|error| StepError::invalid_input(error.to_string()))?;
        if let Some(leaf) = rendered.unknown.first() {
            let waits: Vec<&str> = leaf.waits_for.iter().map(StepId::as_str).collect();
            let message = format!(
                "input `{}` is not known, for it comes from {}",
                leaf.pointer,
                waits.join(", ")
            );
            return Err(StepError::invalid_input(message));
        }
        planned.step_type.check(&rendered.value).map_err(|issues| {
            let all: Vec<String> = issues
                .iter()
                .map(|issue| format!("`{}` {}", issue.pointer, issue.message))
                .collect();
            StepError::invalid_input(format!("the input does not fit: {}", all.join("; ")))
        })?;
        Ok(rendered.value)
    }

    fn parts(&self, step: usize, attempt: u32) -> Result<ContextParts, StepError> {
        let entry = self.ledger.state().entry(step);
        let load = |saved: &Option<_>| {
            saved
                .as_ref()
                .map(|saved| payload::load(&*self.run.files, saved))
                .transpose()
        };
        Ok(ContextParts {
            run: Arc::new(self.run.info.clone()),
            step: entry.id.clone(),
            attempt,
            tried_again: retry::is_worth_retrying(
                &self.planned[step].retry,
                StepErrorKind::Unavailable,
                entry.tries + 1,
            ),
            idempotency_key: format!("{}-{}-{}", self.run.info.id, entry.id, entry.generation),
            bindings: Arc::new(self.planned[step].bindings.clone()),
            connections: self.connections.clone(),
            checkpoint: load(&entry.checkpoint)?,
            saved_output: if entry.is_undone() { None } else { load(&entry.output)? },
            announced: Arc::default(),
            cancel: CancellationToken::new(),
            late: CancellationToken::new(),
            secrets: self.run.secrets.clone(),
            supervisor: self.run.supervisor.clone(),
        })
    }

    pub(super) fn begin_probe(&mut self, step: usize) -> Result<(), RunError> {
        if self.probing.contains(&step) {
            return Ok(());
        }
        let planned = self.planned[step];
        let attempt = self.ledger.state().entry(step).attempts;
        let ready = self
            .input(planned)
            .and_then(|input| Ok((self.parts(step, attempt)?, input)));
        let no_more = match &self.ledger.state().entry(step).state {
            StepState::Unclear {
                failed: Some(failed), ..
            } => failed.retry_at.is_none(),
            _ => false,
        };
        self.probing.insert(step);
        match ready {
            Err(error) => self.on_probed(step, Err(error)),
            Ok((parts, input)) => {
                self.tasks.spawn(executor::probe(Probing {
                    node: step,
                    step_type: planned.step_type.clone(),
                    news: self.news.clone(),
                    patience: (!no_more).then_some(planned.timeout),
                    input,
                    parts,
                }));
                Ok(())
            }
        }
    }
}
