//! What became of the steps that were under way when a run came to its end: asked as a resume would ask, for a probe only
//! looks.

use jm_plan::{Outputs, StepScope, StepStatus};
use jm_step::{Grade, Probe, ReadContext, Repeat, StepError};
use serde_json::Value;

use super::{DryStatus, DryStep, Trial};
use crate::state::StepState;

/// What a resume would do with a step.
pub(super) enum UnderWay {
    /// It was not under way, or its end cannot be asked about now.
    NotAsked,
    /// All that is to be said was said.
    Told,
    /// It would be run again.
    Again,
}

impl Trial<'_> {
    pub(super) async fn under_way(&mut self, i: usize, step: &mut DryStep) -> UnderWay {
        let was = matches!(self.state.entry(i).state, StepState::Unclear { .. });
        let ends = self.state.aborted().is_some() && !self.planned[i].in_finally;
        if !was || ends || self.run.options.offline {
            return UnderWay::NotAsked;
        }
        let rendered = match self.planned[i].input.render(&self.scope) {
            Ok(rendered) if rendered.is_whole() => rendered,
            _ => return UnderWay::NotAsked,
        };
        step.input = rendered.shown();
        match self.probe(i, rendered.value).await {
            Ok(Probe::Succeeded(output)) => self.adopt(i, step, output),
            Ok(Probe::Running) => self.open_end(i, step, DryStatus::WillProbe, "it still goes on, and is waited for"),
            Ok(Probe::NotStarted) => again(step, "nothing had happened"),
            Ok(Probe::Partial { reason } | Probe::Unknown { reason }) => self.again_if_safe(i, step, &reason),
            Err(error) => self.again_if_safe(i, step, &format!("the probe failed: {error}")),
        }
    }

    async fn probe(&self, i: usize, input: Value) -> Result<Probe<Value>, StepError> {
        let cx = ReadContext::new(self.parts(i)?);
        let asked = self.planned[i].step_type.probe(&cx, input);
        self.patiently(i, "it", asked).await
    }

    fn adopt(&mut self, i: usize, step: &mut DryStep, output: Value) -> UnderWay {
        step.status = DryStatus::Done;
        step.grade = Grade::Verified;
        step.because = Some("it had been done: a resume takes it over".to_owned());
        let scope = StepScope {
            status: StepStatus::Succeeded,
            outputs: Outputs::Known(output),
        };
        self.scope.steps.insert(step.id.clone(), scope);
        self.see(i, None, false, false);
        UnderWay::Told
    }

    /// Something happened, or nobody can tell.
    fn again_if_safe(&mut self, i: usize, step: &mut DryStep, found: &str) -> UnderWay {
        let found = self.run.secrets.mask(found).into_owned();
        if self.graph.node(i).repeat == Repeat::Safe {
            return again(step, &found);
        }
        self.open_end(i, step, DryStatus::Waits, &format!("{found}; a person has to say"))
    }

    fn open_end(&mut self, i: usize, step: &mut DryStep, status: DryStatus, because: &str) -> UnderWay {
        step.status = status;
        step.because = Some(because.to_owned());
        self.leave_open(i, step);
        UnderWay::Told
    }
}

fn again(step: &mut DryStep, found: &str) -> UnderWay {
    step.because = Some(format!("{found}: it is run again"));
    UnderWay::Again
}
