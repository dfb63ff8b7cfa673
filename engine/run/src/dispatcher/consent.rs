//! Guards: no step that cannot be taken back touches protected targets without a word, and none of a recovery that would
//! lose data changes anything.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use jm_plan::Outputs;
use jm_step::{Effect, StepError, StepId};
use serde_json::Value;

use super::Dispatcher;
use crate::error::RunError;
use crate::executor::News;
use crate::guard::{self, Consent, DataLoss, GuardQuestion};
use crate::journal::{OperatorVerb, RecordKind, Said};
use crate::operator;

/// What was asked and answered in this session. A resume asks again: the world may have changed.
#[derive(Default)]
pub(super) struct Consents {
    asked: HashMap<usize, (GuardQuestion, StepError)>,
    given: HashSet<usize>,
    /// The points to which a person agreed to go back.
    losses: HashSet<Timestamp>,
    told: HashSet<usize>,
    protected: bool,
}

impl Consents {
    /// Whether a person is being asked about a step.
    pub(super) fn is_asked(&self, step: usize) -> bool {
        self.asked.contains_key(&step)
    }

    /// A person said yes to touching the protected targets.
    pub(super) fn give_protected(&mut self) {
        self.protected = true;
    }
}

impl Dispatcher<'_> {
    /// Whether a step that cannot be taken back may start now. Where not, it has failed or a person is being asked.
    pub(super) fn may_pass(&mut self, step: usize) -> Result<bool, RunError> {
        if self.run.protected && !self.is_confirmed(step) {
            let question = GuardQuestion::Protected {
                targets: self.run.targets_name.clone(),
                steps: vec![self.id(step)],
            };
            let objection = guard::protected_objection(&self.run.targets_name, &self.id(step));
            return self.ask_or_refuse(step, question, objection);
        }
        if let Some(loss) = self.data_loss() {
            self.tell_of_loss(step, &loss);
        }
        self.may_lose_data(step)
    }

    /// Whether as much may be lost as is known by now. Where not, the step has failed or a person is being asked.
    pub(super) fn may_lose_data(&mut self, step: usize) -> Result<bool, RunError> {
        let Some(loss) = self.data_loss() else { return Ok(true) };
        match guard::objection(&loss, self.run.options.accept_data_loss) {
            Some(objection) if !self.consents.losses.contains(&loss.recovery_point) => {
                let question = GuardQuestion::DataLoss {
                    step: self.id(self.final_from(step).unwrap_or(step)),
                    loss,
                };
                self.ask_or_refuse(step, question, objection)
            }
            _ => Ok(true),
        }
    }

    /// Whether a step that makes a loss final comes after this one. Nothing is stopped for a recovery that will be refused.
    pub(super) fn leads_to_loss(&self, step: usize) -> bool {
        !self.graph.node(step).in_finally && self.final_from(step).is_some()
    }

    /// The step that cannot be taken back: this one, or the first that comes after it.
    fn final_from(&self, step: usize) -> Option<usize> {
        let mut from = std::iter::once(step).chain(self.graph.after(step));
        from.find(|i| self.graph.node(*i).effect == Effect::Irreversible)
    }

    /// Says once, before a step makes it final, that more is lost than was promised.
    fn tell_of_loss(&mut self, step: usize, loss: &DataLoss) {
        if loss.is_missed() && self.consents.told.insert(step) {
            let window = loss.shown();
            let id = self.id(step);
            let since = loss.recovery_point;
            self.notice(format!(
                "`{id}` makes it final that {window} of data are lost: what was written since {since}"
            ));
        }
    }

    fn is_confirmed(&self, step: usize) -> bool {
        self.run.options.confirmed
            || self.consents.protected
            || self.consents.given.contains(&step)
            || self.was_approved(step)
    }

    /// Whether a person approved a step that comes before this one.
    fn was_approved(&self, step: usize) -> bool {
        let approved = |i: &usize| {
            self.ledger
                .state()
                .entry(*i)
                .answers
                .iter()
                .any(|(_, answer)| answer.approved)
        };
        self.graph.before(step).iter().any(approved)
    }

    pub(super) fn data_loss(&self) -> Option<DataLoss> {
        let state = self.ledger.state();
        let output = |id: &StepId| -> Option<&Value> {
            let seen = self
                .scope
                .steps
                .get(id)
                .filter(|seen| seen.status == jm_plan::StepStatus::Succeeded)?;
            match &seen.outputs {
                Outputs::Known(value) => Some(value),
                Outputs::Unknown { .. } => None,
            }
        };
        guard::data_loss(&self.run.plan, state, output, jm_step::clock::now())
    }

    fn ask_or_refuse(&mut self, step: usize, question: GuardQuestion, objection: StepError) -> Result<bool, RunError> {
        let Some(person) = self.run.person.clone() else {
            self.refuse(step, &objection)?;
            return Ok(false);
        };
        self.consents.asked.insert(step, (question.clone(), objection));
        let news = self.news.clone();
        self.tasks.spawn(async move {
            let consent = person.consent(&question).await;
            drop(news.send(News::Consented(step, consent)).await);
        });
        Ok(false)
    }

    pub(super) fn on_consent(&mut self, step: usize, consent: Consent) -> Result<(), RunError> {
        let Some((question, objection)) = self.consents.asked.remove(&step) else {
            return Ok(());
        };
        let Consent::Yes { who } = consent else {
            return self.refuse(step, &objection);
        };
        let reason = match &question {
            GuardQuestion::Protected { targets, .. } => format!("it may touch the protected targets `{targets}`"),
            GuardQuestion::DataLoss { loss, .. } => {
                format!("{} of data may be lost", loss.shown())
            }
        };
        match question {
            GuardQuestion::Protected { .. } => drop(self.consents.given.insert(step)),
            GuardQuestion::DataLoss { loss, .. } => drop(self.consents.losses.insert(loss.recovery_point)),
        }
        self.ledger.note(RecordKind::Operator(Said {
            id: operator::word_id(),
            who,
            verb: OperatorVerb::Consent,
            step: Some(self.id(step)),
            reason: Some(reason),
        }))
    }
}
