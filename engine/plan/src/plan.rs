//! A checked plan: every name resolved, every input fitting, no circle. A [`Plan`] that exists is valid.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jm_step::{AnyStepType, Effect, Need, Repeat, StepErrorKind, StepId, TargetName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::template::{Expression, InputTemplate};

/// What a step's failure does to the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Nothing new starts but `finally`; what runs is let finish.
    Fail,
    /// The run goes on and ends degraded.
    Continue,
    /// The run waits for a person.
    Pause,
}

/// How often a step is tried, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Tries in all, at least 1.
    pub attempts: u32,
    /// The first pause.
    pub base: Duration,
    /// By how much each pause is longer than the one before.
    pub factor: f64,
    /// The longest pause.
    pub cap: Duration,
    /// How much of a pause is left to chance, from 0 to 1.
    pub jitter: f64,
    /// The failures after which it is tried again. `ambiguous` is never among them: after it the probe decides.
    pub on: Vec<StepErrorKind>,
}

/// Why one step waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Because {
    /// Its author wrote it under `needs`.
    Needs,
    /// It reads the other's output or status.
    Reference,
}

/// One step waits for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The step that comes before.
    pub step: StepId,
    /// Why. `needs` wins where both are so.
    pub because: Because,
    /// The waiting step's `if` names the other's status: then the `if` alone decides about it, and the other's failure
    /// does not block. It is still waited for.
    pub decided_by_if: bool,
}

/// What is promised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Objectives {
    /// Recovery time.
    pub rto: Option<Duration>,
    /// Recovery point: how old the data may be that is brought back.
    pub rpo: Option<Duration>,
}

/// One step, ready to run.
#[derive(Clone)]
pub struct PlannedStep {
    /// Its name.
    pub id: StepId,
    /// Whether it stands under `finally`.
    pub in_finally: bool,
    /// Its step type's name.
    pub uses: String,
    /// Its step type.
    pub step_type: Arc<dyn AnyStepType>,
    /// Its targets, by role. A role is absent only where the plan was compiled without a targets file.
    pub bindings: BTreeMap<String, TargetName>,
    /// Whether it runs.
    pub when: Option<Expression>,
    /// Its input.
    pub input: InputTemplate,
    /// How often it is tried.
    pub retry: RetryPolicy,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Its share of the RTO.
    pub budget: Option<Duration>,
    /// What its failure does.
    pub on_failure: OnFailure,
    /// The steps that are to be done anew once this one has started.
    pub undoes: Vec<StepId>,
    /// What it can do, as far as its input is known.
    pub effect: Effect,
    /// Whether twice equals once, as far as its input is known.
    pub repeat: Repeat,
    /// What it needs to be allowed, as far as its input is known.
    pub needs: Vec<Need>,
    /// For people.
    pub name: Option<String>,
    /// For people, when it fails.
    pub why: Option<String>,
    /// For people, when it fails.
    pub runbook: Option<String>,
}

impl fmt::Debug for PlannedStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlannedStep")
            .field("id", &self.id)
            .field("uses", &self.uses)
            .finish_non_exhaustive()
    }
}

/// A checked, sealed plan.
#[derive(Clone)]
pub struct Plan {
    pub(crate) parts: Parts,
    pub(crate) graph: Graph,
}

/// What a plan consists of besides its graph.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) name: String,
    pub(crate) title: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) file: String,
    pub(crate) text: Arc<str>,
    pub(crate) digest: String,
    pub(crate) max_parallel: usize,
    pub(crate) deadline: Option<Duration>,
    pub(crate) objectives: Objectives,
    pub(crate) contacts: Vec<String>,
    pub(crate) repairs: BTreeSet<TargetName>,
    pub(crate) inputs: Map<String, Value>,
    pub(crate) secret_inputs: BTreeMap<String, String>,
    pub(crate) outputs: InputTemplate,
    pub(crate) steps: Vec<PlannedStep>,
    pub(crate) finally: Vec<PlannedStep>,
}

/// How the steps depend on each other.
#[derive(Clone, Default)]
pub(crate) struct Graph {
    pub(crate) index: HashMap<StepId, usize>,
    pub(crate) dependencies: Vec<Vec<Dependency>>,
    pub(crate) dependents: Vec<Vec<StepId>>,
    pub(crate) order: Vec<usize>,
}

/// A way through the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CriticalPath {
    /// The steps on it, first to last.
    pub steps: Vec<StepId>,
    /// What they cost together.
    pub total: Duration,
}

impl Plan {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.parts.name
    }

    /// For people.
    pub fn title(&self) -> Option<&str> {
        self.parts.title.as_deref()
    }

    /// For people.
    pub fn description(&self) -> Option<&str> {
        self.parts.description.as_deref()
    }

    /// The file that it was read from, as it was named.
    pub fn file(&self) -> &str {
        &self.parts.file
    }

    /// SHA-256 of its text with line ends as `\n`, lower-case hex.
    pub fn digest(&self) -> &str {
        &self.parts.digest
    }

    /// Its text as it was written.
    pub fn text(&self) -> &str {
        &self.parts.text
    }

    /// How many steps run at once, at most.
    pub fn max_parallel(&self) -> usize {
        self.parts.max_parallel
    }

    /// How long the run may take.
    pub fn deadline(&self) -> Option<Duration> {
        self.parts.deadline
    }

    /// What is promised.
    pub fn objectives(&self) -> Objectives {
        self.parts.objectives
    }

    /// The objectives as expressions see them: `rto` and `rpo` as text such as `30m`.
    pub fn objectives_value(&self) -> Value {
        objectives_value(self.parts.objectives)
    }

    /// Keys of `contacts` in the targets file.
    pub fn contacts(&self) -> &[String] {
        &self.parts.contacts
    }

    /// Targets that may be down or absent when the plan starts.
    pub fn repairs(&self) -> &BTreeSet<TargetName> {
        &self.parts.repairs
    }

    /// The inputs that are known, by name: what was given, else the default. Secret ones as references such as
    /// `env:NAME`.
    pub fn inputs(&self) -> &Map<String, Value> {
        &self.parts.inputs
    }

    /// The secret inputs that were given, by name: references (`env:NAME`, `file:PATH`) for the command line to read
    /// into [`crate::Scope::secret_inputs`].
    pub fn secret_inputs(&self) -> &BTreeMap<String, String> {
        &self.parts.secret_inputs
    }

    /// What the plan gives out, rendered at its end.
    pub fn outputs(&self) -> &InputTemplate {
        &self.parts.outputs
    }

    /// The main steps, as written.
    pub fn steps(&self) -> &[PlannedStep] {
        &self.parts.steps
    }

    /// The steps of `finally`, as written: the order in which they run.
    pub fn finally(&self) -> &[PlannedStep] {
        &self.parts.finally
    }

    /// All steps: main ones, then those of `finally`.
    pub fn all_steps(&self) -> impl Iterator<Item = &PlannedStep> {
        self.parts.steps.iter().chain(&self.parts.finally)
    }

    /// The step of this name, wherever it stands.
    pub fn step(&self, id: &str) -> Option<&PlannedStep> {
        self.nth(*self.graph.index.get(id)?)
    }

    fn nth(&self, index: usize) -> Option<&PlannedStep> {
        let main = self.parts.steps.len();
        self.parts
            .steps
            .get(index)
            .or_else(|| self.parts.finally.get(index.checked_sub(main)?))
    }

    /// What a step waits for, in the order of the file. Of a step of `finally`: what it reads; nothing of it blocks.
    pub fn dependencies(&self, id: &str) -> &[Dependency] {
        self.graph
            .index
            .get(id)
            .map_or(&[], |index| &self.graph.dependencies[*index])
    }

    /// The steps that wait for a step, or read it, in the order of the file.
    pub fn dependents(&self, id: &str) -> &[StepId] {
        self.graph
            .index
            .get(id)
            .map_or(&[], |index| &self.graph.dependents[*index])
    }

    /// The main steps, each after what it waits for; otherwise as written.
    pub fn topological(&self) -> impl Iterator<Item = &PlannedStep> {
        self.graph.order.iter().filter_map(|index| self.nth(*index))
    }

    /// The targets that its steps use.
    pub fn targets_used(&self) -> BTreeSet<TargetName> {
        self.all_steps()
            .flat_map(|step| step.bindings.values().cloned())
            .collect()
    }

    /// The first main step that cannot be taken back.
    pub fn point_of_no_return(&self) -> Option<&StepId> {
        self.topological()
            .find(|step| step.effect == Effect::Irreversible)
            .map(|step| &step.id)
    }

    /// The longest way through the main steps, where each costs what is said (a budget, an expectation).
    pub fn critical_path(&self, cost: impl Fn(&PlannedStep) -> Duration) -> CriticalPath {
        crate::graph::critical_path(self, cost)
    }
}

pub(crate) fn objectives_value(objectives: Objectives) -> Value {
    let mut map = Map::new();
    for (name, duration) in [("rto", objectives.rto), ("rpo", objectives.rpo)] {
        if let Some(duration) = duration {
            map.insert(name.to_owned(), Value::from(crate::duration::show(duration)));
        }
    }
    Value::Object(map)
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("name", &self.parts.name)
            .field("digest", &self.parts.digest)
            .finish_non_exhaustive()
    }
}
