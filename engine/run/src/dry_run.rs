//! A dry run: every step is asked what it would do, in order, with what is known; nothing is written anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jm_plan::{Evaluated, OnFailure, Outputs, PlannedStep, Rendered, Scope, StepScope, StepStatus};
use jm_step::{
    Change, Connections, ContextParts, Effect, ErrorSummary, Grade, OpenContext, Preview, ReadContext, StepError,
    StepErrorKind, StepId, TargetName,
};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::dispatcher::{OPENING, open_within};
use crate::error::RunError;
use crate::event::Event;
use crate::gate::is_left_to_a_gate;
use crate::graph::Graph;
use crate::journal::Record;
use crate::payload::presentable;
use crate::reporter::Reporter;
use crate::run::Run;
use crate::state::{RunState, StepState};
use crate::{resume, scope};

mod document;
pub use document::{DryRun, DryStatus, DryStep, DryVerdict, Expectation, TargetLook};
mod gate;
use gate::DryGate;
mod sight;
mod turn;
mod under_way;
use under_way::UnderWay;
mod verdict;

/// Tries a run without doing it. With the records of an earlier session, what a resume would do.
pub async fn dry_run(run: &Run, prior: &[Record], reporter: &mut dyn Reporter) -> Result<DryRun, RunError> {
    let mut trial = Trial::new(run, prior)?;
    let targets = trial.look_at_targets().await;
    let order: Vec<usize> = trial
        .graph
        .topological()
        .into_iter()
        .chain(trial.graph.finally())
        .collect();
    let mut steps = Vec::new();
    for i in order {
        let step = trial.step(i).await;
        let (id, grade) = (step.id.clone(), step.grade);
        reporter.report(&Event::Previewed { step: id, grade }, &trial.state);
        steps.push(step);
    }
    Ok(trial.sum_up(targets, steps))
}

struct Trial<'r> {
    run: &'r Run,
    graph: Arc<Graph>,
    planned: Vec<&'r PlannedStep>,
    state: RunState,
    resumes: bool,
    scope: Scope,
    connections: Connections,
    down: BTreeSet<TargetName>,
    seen: BTreeMap<usize, Seen>,
    /// The step before which the run would stop.
    until: Option<usize>,
    /// What steps say that they would change, in the order in which they were asked.
    announced: Vec<(usize, Vec<Change>)>,
    refusals: Vec<ErrorSummary>,
    /// Whether a target is another system than the one that is meant.
    is_another: bool,
}

/// What was found out about a step, for those that come after it.
#[derive(Clone, Copy, PartialEq)]
struct Seen {
    /// The step that would fail, where what comes after this one is blocked: itself, or the first before it.
    failed: Option<usize>,
    changes: bool,
    predicts: bool,
}

impl<'r> Trial<'r> {
    fn new(run: &'r Run, prior: &[Record]) -> Result<Self, RunError> {
        let graph = Arc::new(Graph::of(&run.plan));
        let mut state = RunState::of(&graph).and(prior)?;
        let mut scope = scope::opening(run);
        if state.opened().is_some() {
            state = resumed(run, state)?;
            let all = (0..state.steps().len()).collect();
            let refreshed = scope::refresh(&mut scope, &state, &all, &*run.files);
            refreshed.map_err(RunError::artefact)?;
            // What is not settled is not known.
            let settled = |id: &StepId| state.step(id.as_str()).is_some_and(|entry| entry.state.is_settled());
            scope.steps.retain(|id, _| settled(id));
        }
        let (info, directory) = (&run.info, scope::directory(run));
        scope.run = json!({ "id": info.id, "plan": info.plan, "directory": directory, "drill": info.drill });
        let cx = OpenContext {
            secrets: run.secrets.clone(),
            environment: run.environment.clone(),
            run: run.info.id.clone(),
        };
        let gate = DryGate::new(run, state.targets());
        // A run that has come past the step does not stop before it.
        let until = run.options.until.as_ref().and_then(|step| graph.find(step.as_str()));
        let until = until.filter(|i| matches!(state.entry(*i).state, StepState::NotStarted { .. }));
        Ok(Self {
            planned: run.plan.all_steps().collect(),
            connections: Connections::new(run.targets.clone(), Arc::new(gate), cx),
            resumes: !prior.is_empty(),
            down: BTreeSet::new(),
            seen: BTreeMap::new(),
            announced: Vec::new(),
            refusals: Vec::new(),
            is_another: false,
            until,
            run,
            graph,
            state,
            scope,
        })
    }

    async fn look_at_targets(&mut self) -> Vec<TargetLook> {
        let mut looks = Vec::new();
        let mut systems: BTreeMap<TargetName, String> = self
            .run
            .systems()
            .into_iter()
            .map(|system| (system.target, system.what))
            .collect();
        for target in self.run.plan.targets_used() {
            let mut look = TargetLook {
                system: systems.remove(&target).map(|what| {
                    let starts = self.run.starts(&target);
                    let told: Vec<String> = std::iter::once(what).chain(starts).collect();
                    self.run.secrets.mask(&told.join("; ")).into_owned()
                }),
                repairs: self.run.plan.repairs().contains(&target),
                up: None,
                detail: self.run.not_configured.get(&target).cloned(),
                target,
            };
            if look.detail.is_none() && !self.run.options.offline {
                let opened = open_within(&self.connections, &look.target, OPENING).await;
                look.up = Some(opened.is_ok());
                if let Err(error) = opened {
                    self.missed(&mut look, &error);
                }
            }
            looks.push(look);
        }
        looks
    }

    fn missed(&mut self, look: &mut TargetLook, error: &StepError) {
        let shown = presentable(&self.run.secrets, error.summary());
        look.detail = Some(shown.message.clone());
        self.down.insert(look.target.clone());
        let may_be_another = look.repairs && is_left_to_a_gate(self.run, &self.state, &look.target);
        if error.kind() == StepErrorKind::Refused && !may_be_another {
            self.is_another = true;
            self.refusals.push(shown);
        }
    }

    async fn step(&mut self, i: usize) -> DryStep {
        let planned = self.planned[i];
        let mut step = blank(planned, self.run);
        self.judge(i, &mut step).await;
        if let Some(error) = step.error.take() {
            step.error = Some(presentable(&self.run.secrets, error));
        }
        for change in &mut step.changes {
            change.object = self.run.secrets.mask(&change.object).into_owned();
            for side in [&mut change.before, &mut change.after].into_iter().flatten() {
                self.run.secrets.mask_json(side);
            }
        }
        step.summary = step.summary.map(|text| self.run.secrets.mask(&text).into_owned());
        self.run.secrets.mask_json(&mut step.input);
        step
    }

    async fn judge(&mut self, i: usize, step: &mut DryStep) {
        let again = match self.under_way(i, step).await {
            UnderWay::Told => return,
            UnderWay::Again => true,
            UnderWay::NotAsked => false,
        };
        if (!again && self.has_happened(i, step))
            || self.is_blocked(i, step)
            || self.is_left(i, step)
            || self.is_not_configured(i, step)
        {
            return;
        }
        let planned = self.planned[i];
        if let Some(when) = &planned.when {
            match when.evaluate(&self.scope) {
                Ok(Evaluated::Value(Value::Bool(true))) => {}
                Ok(Evaluated::Value(_)) => return self.skip(i, step, format!("`{}` is false", when.text())),
                Ok(Evaluated::Unknown { waits_for }) => {
                    step.status = DryStatus::MayRun;
                    step.because = Some(known_after("whether it runs", &waits_for));
                }
                Err(error) => return self.fails(i, step, &StepError::invalid_input(error.to_string())),
            }
        }
        match planned.input.render(&self.scope) {
            Err(error) => self.fails(i, step, &StepError::invalid_input(error.to_string())),
            Ok(rendered) => self.preview(i, step, rendered).await,
        }
    }

    fn fails(&mut self, i: usize, step: &mut DryStep, error: &StepError) {
        step.grade = Grade::WouldFail;
        step.error = Some(error.summary());
        let is_tolerated = self.planned[i].on_failure == OnFailure::Continue;
        if is_tolerated && step.status == DryStatus::WillRun {
            step.degraded.push("it would fail, and the run goes on".to_owned());
        }
        // A step that may never run decides nothing, neither for those after it nor for the whole.
        if step.status != DryStatus::WillRun {
            return self.leave_open(i, step);
        }
        if error.kind() == StepErrorKind::Refused && !is_tolerated {
            self.refusals.push(presentable(&self.run.secrets, error.summary()));
        }
        self.settle(i, StepStatus::Failed);
        self.see(i, Some(i), false, false);
    }

    fn settle(&mut self, i: usize, status: StepStatus) {
        let outputs = Outputs::Known(Value::Object(Map::new()));
        self.scope
            .steps
            .insert(self.planned[i].id.clone(), StepScope { status, outputs });
    }

    fn see(&mut self, i: usize, failed: Option<usize>, changes: bool, predicts: bool) {
        let seen = Seen {
            failed,
            changes,
            predicts,
        };
        self.seen.insert(i, seen);
    }

    async fn preview(&mut self, i: usize, step: &mut DryStep, rendered: Rendered) {
        let planned = self.planned[i];
        step.input = rendered.shown();
        step.effect = planned.step_type.effect(&rendered.known());
        step.predicted_input = self
            .graph
            .node(i)
            .needs
            .iter()
            .any(|need| self.seen.get(&need.node).is_some_and(|seen| seen.predicts));
        if !rendered.is_whole() {
            let waits: BTreeSet<StepId> = rendered
                .unknown
                .iter()
                .flat_map(|leaf| leaf.waits_for.clone())
                .collect();
            step.waits_for = waits.into_iter().collect();
            step.grade = Grade::Unknown;
            step.because
                .get_or_insert_with(|| known_after("its input", &step.waits_for));
            return self.outcome(i, step, None, None);
        }
        if let Err(issues) = planned.step_type.check(&rendered.value) {
            let all: Vec<String> = issues
                .iter()
                .map(|issue| format!("`{}` {}", issue.pointer, issue.message))
                .collect();
            return self.fails(i, step, &StepError::invalid_input(all.join("; ")));
        }
        if self.run.options.offline {
            step.grade = Grade::Declared;
            return self.outcome(i, step, None, None);
        }
        let asked = self.ask(i, rendered.value).await;
        match asked {
            Ok(preview) => self.previewed(i, step, preview),
            Err(error) if self.is_premature(i, &error) => {
                step.grade = Grade::Unknown;
                step.because = Some(format!(
                    "it cannot be looked at yet: {}",
                    self.run.secrets.mask(error.message())
                ));
                self.outcome(i, step, None, None);
            }
            Err(error) => self.fails(i, step, &error),
        }
    }

    async fn ask(&self, i: usize, input: Value) -> Result<Preview<Value>, StepError> {
        let cx = ReadContext::new(self.parts(i)?);
        let asked = self.planned[i].step_type.preview(&cx, input);
        self.patiently(i, "the preview", asked).await
    }

    /// What a step answers, unless it takes longer than anybody waits for a dry run.
    async fn patiently<T>(
        &self,
        i: usize,
        what: &str,
        asked: impl Future<Output = Result<T, StepError>>,
    ) -> Result<T, StepError> {
        let patience = self.planned[i].timeout.min(Duration::from_mins(2));
        let answer = tokio::time::timeout(patience, asked).await;
        answer.unwrap_or_else(|_| Err(StepError::timed_out(format!("{what} got no answer"))))
    }

    fn parts(&self, i: usize) -> Result<ContextParts, StepError> {
        let entry = self.state.entry(i);
        let load = |saved: &Option<_>| {
            saved
                .as_ref()
                .map(|saved| crate::load(&*self.run.files, saved))
                .transpose()
        };
        Ok(ContextParts {
            run: Arc::new(self.run.info.clone()),
            step: entry.id.clone(),
            attempt: entry.attempts + 1,
            tried_again: false,
            idempotency_key: format!("{}-{}-{}", self.run.info.id, entry.id, entry.generation),
            bindings: Arc::new(self.planned[i].bindings.clone()),
            connections: self.connections.clone(),
            checkpoint: load(&entry.checkpoint)?,
            saved_output: if entry.is_undone() { None } else { load(&entry.output)? },
            announced: self.announced_to(i),
            cancel: CancellationToken::new(),
            late: CancellationToken::new(),
            secrets: self.run.secrets.clone(),
            supervisor: self.run.supervisor.clone(),
        })
    }

    fn previewed(&mut self, i: usize, step: &mut DryStep, preview: Preview<Value>) {
        if step.status == DryStatus::WillRun {
            self.announced.push((i, preview.changes.clone()));
        }
        step.summary = Some(preview.summary);
        step.degraded = preview.degraded;
        step.changes = preview.changes;
        step.grade = match preview.grade {
            Grade::Verified if self.is_changed_before(i) => Grade::Computed,
            grade => grade,
        };
        self.outcome(i, step, preview.predicted, preview.foreseen);
    }

    fn outcome(&mut self, i: usize, step: &DryStep, predicted: Option<Value>, foreseen: Option<Value>) {
        let id = step.id.clone();
        let certain = step.status == DryStatus::WillRun;
        let predicts = certain && (predicted.is_some() || foreseen.is_some());
        let outputs = match predicted {
            Some(output) if certain => Outputs::Known(output),
            _ => Outputs::Unknown {
                of: id.clone(),
                partial: foreseen.filter(|_| certain),
            },
        };
        self.scope.steps.insert(
            id,
            StepScope {
                status: StepStatus::Unknown,
                outputs,
            },
        );
        self.see(i, None, step.effect != Effect::ReadOnly, predicts);
    }
}

/// The state as a resume would begin with it.
fn resumed(run: &Run, mut state: RunState) -> Result<RunState, RunError> {
    for kind in resume::records(run, &state) {
        let seq = state.last_seq() + 1;
        let at = jm_step::clock::now();
        state.apply(&Record {
            seq,
            batch: seq,
            at,
            kind,
        })?;
    }
    Ok(state)
}

fn known_after(what: &str, steps: &[StepId]) -> String {
    let names: Vec<String> = steps.iter().map(|step| format!("`{step}`")).collect();
    if names.is_empty() {
        format!("{what} is known only later")
    } else {
        format!("{what} is known after {}", names.join(", "))
    }
}

fn blank(planned: &PlannedStep, run: &Run) -> DryStep {
    DryStep {
        id: planned.id.clone(),
        name: planned.name.clone(),
        uses: planned.uses.clone(),
        needs: run
            .plan
            .dependencies(planned.id.as_str())
            .iter()
            .map(|need| need.step.clone())
            .collect(),
        effect: planned.effect,
        status: DryStatus::WillRun,
        grade: Grade::Unknown,
        because: None,
        summary: None,
        changes: Vec::new(),
        degraded: Vec::new(),
        input: Value::Object(Map::new()),
        predicted_input: false,
        waits_for: Vec::new(),
        expected: run.options.history.seconds(&planned.id),
        error: None,
    }
}
