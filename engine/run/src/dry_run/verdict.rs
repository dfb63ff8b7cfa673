//! What a dry run comes to as a whole.

use std::collections::BTreeSet;

use jm_plan::{OnFailure, Outputs};
use jm_step::{Effect, Grade, StepId};

use super::{DryRun, DryStatus, DryStep, DryVerdict, Expectation, TargetLook, Trial};
use crate::dispatcher::targets_ahead;
use crate::guard::{self, DataLoss};
use crate::payload::presentable;

impl Trial<'_> {
    pub(super) fn sum_up(mut self, targets: Vec<TargetLook>, mut steps: Vec<DryStep>) -> DryRun {
        let finally = steps.split_off(self.graph.main().len());
        let loss = self.data_loss();
        self.refuse(&steps, loss.as_ref());
        let fails = steps.iter().chain(&finally).any(|step| self.stops(step));
        let plan = &self.run.plan;
        DryRun {
            plan: plan.name().to_owned(),
            title: plan.title().map(str::to_owned),
            digest: plan.digest().to_owned(),
            targets_name: self.run.targets_name.clone(),
            resumes: self.resumes,
            verdict: self.verdict(self.cannot_begin(&targets), fails),
            until: self.until.map(|i| self.planned[i].id.clone()),
            point_of_no_return: plan.point_of_no_return().cloned(),
            rto: plan.objectives().rto.map(|rto| rto.as_secs()),
            expected: self.expected(&steps),
            data_loss: loss,
            refusals: self.refusals,
            targets,
            steps,
            finally,
        }
    }

    /// A run looks at its targets first, and then at what a person has agreed to.
    fn verdict(&self, cannot_begin: bool, fails: bool) -> DryVerdict {
        if self.is_another {
            DryVerdict::Refused
        } else if cannot_begin {
            DryVerdict::CannotBegin
        } else if !self.refusals.is_empty() {
            DryVerdict::Refused
        } else if fails {
            DryVerdict::WouldFail
        } else {
            DryVerdict::Ready
        }
    }

    /// Whether the run would end failed by a step.
    fn stops(&self, step: &DryStep) -> bool {
        let planned = self.graph.find(step.id.as_str()).map(|i| self.planned[i]);
        let is_tolerated = planned.is_some_and(|planned| planned.on_failure == OnFailure::Continue);
        step.grade == Grade::WouldFail && step.status == DryStatus::WillRun && !is_tolerated
    }

    /// A run opens all that it is going to use before its first step.
    fn cannot_begin(&self, targets: &[TargetLook]) -> bool {
        let ahead = targets_ahead(self.run, &self.state);
        let is_missed = |look: &TargetLook| look.up == Some(false) && !look.repairs;
        targets
            .iter()
            .any(|look| is_missed(look) && ahead.contains(&look.target))
    }

    /// What the guards would say to the steps that cannot be taken back.
    fn refuse(&mut self, steps: &[DryStep], loss: Option<&DataLoss>) {
        let runs = |step: &&DryStep| matches!(step.status, DryStatus::WillRun | DryStatus::MayRun);
        let irreversible: Vec<&DryStep> = steps
            .iter()
            .filter(runs)
            .filter(|step| step.effect == Effect::Irreversible)
            .collect();
        let Some(first) = irreversible.first() else { return };
        if let Some(objection) = loss.and_then(|loss| guard::objection(loss, self.run.options.accept_data_loss)) {
            self.refusals.push(presentable(&self.run.secrets, objection.summary()));
        }
        let is_asked = |step: &DryStep| {
            let i = self.graph.find(step.id.as_str());
            i.is_some_and(|i| guard::is_asked_before(&self.graph, &self.planned, i))
        };
        if self.run.protected && !self.run.options.confirmed && !irreversible.iter().all(|step| is_asked(step)) {
            self.refusals
                .push(guard::protected_objection(&self.run.targets_name, &first.id).summary());
        }
    }

    fn data_loss(&self) -> Option<DataLoss> {
        let output = |id: &StepId| match &self.scope.steps.get(id)?.outputs {
            Outputs::Known(value) => Some(value),
            Outputs::Unknown { .. } => None,
        };
        guard::data_loss(&self.run.plan, &self.state, output, jm_step::clock::now())
    }

    fn expected(&self, steps: &[DryStep]) -> Option<Expectation> {
        let is_over = |step: &&DryStep| {
            use DryStatus as S;
            matches!(step.status, S::Done | S::Skipped | S::Blocked | S::Left)
        };
        let over: BTreeSet<&StepId> = steps.iter().filter(is_over).map(|step| &step.id).collect();
        let history = &self.run.options.history;
        history.expect(&self.run.plan, |step| !over.contains(step))
    }
}
