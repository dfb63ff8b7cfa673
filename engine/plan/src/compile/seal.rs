//! Putting a checked plan together.

use std::sync::Arc;
use std::time::Duration;

use jm_step::{Effect, Known, Need, Repeat, StepErrorKind, StepId};
use sha2::{Digest, Sha256};

use super::scope::objectives;
use super::{Bindings, Draftee, Work};
use crate::document::RetrySpec;
use crate::graph::Draft;
use crate::plan::{Parts, Plan, PlannedStep, RetryPolicy};
use crate::template::InputTemplate;

const MAX_PARALLEL: usize = 8;
const ATTEMPTS: u32 = 3;
const BASE: Duration = Duration::from_secs(2);
const FACTOR: f64 = 2.0;
const CAP: Duration = Duration::from_mins(1);
const JITTER: f64 = 0.2;

/// What a step can do, as far as its input is known.
#[derive(Debug, Clone)]
pub(crate) struct Traits {
    pub(crate) effect: Effect,
    pub(crate) repeat: Repeat,
    pub(crate) needs: Vec<Need>,
}

/// The traits of each step; `None` where the step type is not known or the input is wrong.
pub(super) fn traits(work: &Work<'_>, knowns: &[Option<Known>]) -> Vec<Option<Traits>> {
    let one = |(step, known): (&Draftee<'_>, &Option<Known>)| {
        let (step_type, known) = (step.step_type.as_ref()?, known.as_ref()?);
        Some(Traits {
            effect: step_type.effect(known),
            repeat: step_type.repeat(known),
            needs: step_type.needs(known),
        })
    };
    work.steps.iter().zip(knowns).map(one).collect()
}

/// Seals the plan. `None` where a step lacks what the checks must have reported.
pub(super) fn seal(
    work: &Work<'_>,
    draft: &Draft,
    bindings: Vec<Bindings>,
    traits: Vec<Option<Traits>>,
) -> Option<Plan> {
    let planned = work.steps.iter().zip(bindings).zip(traits);
    let mut steps: Vec<PlannedStep> = planned
        .map(|((step, bindings), traits)| self::planned(step, bindings, traits?))
        .collect::<Option<_>>()?;
    let ids: Vec<StepId> = steps.iter().map(|step| step.id.clone()).collect();
    let graph = draft.seal(&ids);
    if graph.index.len() != ids.len() || graph.order.len() != work.main {
        return None;
    }
    let finally = steps.split_off(work.main);
    Some(Plan {
        parts: parts(work, steps, finally)?,
        graph,
    })
}

fn parts(work: &Work<'_>, steps: Vec<PlannedStep>, finally: Vec<PlannedStep>) -> Option<Parts> {
    let spec = &work.document.plan;
    let text = work.document.text();
    let mut inputs = work.scope.inputs.clone();
    inputs.extend(
        work.scope
            .secrets
            .iter()
            .map(|(name, reference)| (name.clone(), reference.as_str().into())),
    );
    Some(Parts {
        name: spec.name.as_ref()?.value.clone(),
        title: spec.title.clone(),
        description: spec.description.clone(),
        file: work.document.file().to_owned(),
        digest: digest(text),
        text: Arc::from(text),
        max_parallel: spec.max_parallel.map_or(MAX_PARALLEL, |limit| {
            usize::try_from(limit.value).unwrap_or(MAX_PARALLEL)
        }),
        deadline: spec.deadline.map(|deadline| deadline.value),
        objectives: objectives(work.document),
        contacts: spec.contacts.iter().map(|contact| contact.value.clone()).collect(),
        repairs: spec.repairs.iter().map(|target| target.value.clone()).collect(),
        inputs,
        secret_inputs: work.scope.secrets.clone(),
        outputs: InputTemplate::map(&spec.outputs, (0, 0).into()),
        steps,
        finally,
    })
}

/// SHA-256 of a text with line ends as `\n`, lower-case hex.
pub(crate) fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text.replace("\r\n", "\n")))
}

fn planned(step: &Draftee<'_>, bindings: Bindings, traits: Traits) -> Option<PlannedStep> {
    let spec = step.spec;
    let step_type = step.step_type.clone()?;
    Some(PlannedStep {
        id: spec.id.as_ref()?.value.clone(),
        in_finally: step.in_finally,
        uses: step_type.name().to_owned(),
        bindings,
        when: spec.when.clone(),
        input: spec.with.clone().unwrap_or_else(|| InputTemplate::empty(spec.span)),
        retry: retry(&spec.retry, traits.repeat),
        timeout: spec.timeout.map_or(step_type.timeout(), |timeout| timeout.value),
        budget: spec.budget.map(|budget| budget.value),
        on_failure: spec.on_failure,
        undoes: spec.undoes.iter().map(|id| id.value.clone()).collect(),
        effect: traits.effect,
        repeat: traits.repeat,
        needs: traits.needs,
        name: spec.name.clone(),
        why: spec.why.clone(),
        runbook: spec.runbook.clone(),
        step_type,
    })
}

fn retry(spec: &RetrySpec, repeat: Repeat) -> RetryPolicy {
    let attempts = if repeat == Repeat::Safe { ATTEMPTS } else { 1 };
    RetryPolicy {
        attempts: spec.attempts.unwrap_or(attempts),
        base: spec.base.unwrap_or(BASE),
        factor: spec.factor.unwrap_or(FACTOR),
        cap: spec.cap.unwrap_or(CAP),
        jitter: spec.jitter.unwrap_or(JITTER),
        on: spec
            .on
            .clone()
            .unwrap_or_else(|| vec![StepErrorKind::Unavailable, StepErrorKind::TimedOut]),
    }
}
