//! What a dry run gives out: a document with a schema.

use jm_step::{Change, Effect, ErrorSummary, Grade, StepId, TargetName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::guard::DataLoss;

/// What a plan would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DryRun {
    /// The plan's name.
    pub plan: String,
    /// For people.
    pub title: Option<String>,
    /// Digest of the plan's text.
    pub digest: String,
    /// The targets' name.
    pub targets_name: String,
    /// Whether it goes on with a run instead of beginning one.
    pub resumes: bool,
    /// What was found.
    pub verdict: DryVerdict,
    /// The step before which the run would stop, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<StepId>,
    /// The targets that the plan uses.
    pub targets: Vec<TargetLook>,
    /// The main steps, each after what it waits for.
    pub steps: Vec<DryStep>,
    /// The steps of `finally`.
    pub finally: Vec<DryStep>,
    /// The first step that cannot be taken back.
    pub point_of_no_return: Option<StepId>,
    /// What is promised for the recovery time, in seconds.
    pub rto: Option<u64>,
    /// What the main steps are expected to take together, where earlier runs can tell.
    pub expected: Option<Expectation>,
    /// The data that would be lost, where a preview can say.
    pub data_loss: Option<DataLoss>,
    /// What a guard would refuse.
    pub refusals: Vec<ErrorSummary>,
}

/// How long a run is expected to take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Expectation {
    /// The length of the critical path, in seconds: at least so long, where steps are not known.
    pub seconds: f64,
    /// The steps along it.
    pub path: Vec<StepId>,
    /// From how many earlier runs that is the median.
    pub runs: usize,
    /// Whether those acted on other targets, for there is none on these.
    pub other_targets: bool,
    /// Steps that would run, of which no earlier run tells how long they take.
    pub not_known: Vec<StepId>,
}

/// What a dry run comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DryVerdict {
    /// Nothing was found that would stop it.
    Ready,
    /// A step would fail, in `finally` too. Exit code 4.
    WouldFail,
    /// A target does not answer that the plan does not repair. Exit code 5.
    CannotBegin,
    /// A guard would refuse it. Exit code 10.
    Refused,
}

/// A target as it is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetLook {
    /// Which.
    pub target: TargetName,
    /// Its provider, and its address where that is known: ``postgres at db.example:5432/app``. `None` where the targets file
    /// was not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Whether it answers; `None` where nothing was read.
    pub up: Option<bool>,
    /// Whether the plan repairs it, so that it may be down.
    pub repairs: bool,
    /// What it said where it does not answer, or why it is not configured.
    pub detail: Option<String>,
}

/// Whether a step would run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DryStatus {
    /// It runs.
    WillRun,
    /// It runs or not: its `if` waits for something that is known only later.
    MayRun,
    /// It is not needed.
    Skipped,
    /// A step that it needs would fail.
    Blocked,
    /// It is done already, in the run that is resumed.
    Done,
    /// It was under way when the run broke off: the world is asked what became of it.
    WillProbe,
    /// It waits for a person.
    Waits,
    /// It is left for a resume: the run stops before it comes to it.
    Left,
}

/// A step of a dry run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DryStep {
    /// Its id.
    pub id: StepId,
    /// For people.
    pub name: Option<String>,
    /// Its step type.
    pub uses: String,
    /// The steps that come before it.
    pub needs: Vec<StepId>,
    /// The most that it does.
    pub effect: Effect,
    /// Whether it runs.
    pub status: DryStatus,
    /// How much what follows is worth.
    pub grade: Grade,
    /// Why it is skipped, blocked, left, or not certain.
    pub because: Option<String>,
    /// One line for people.
    pub summary: Option<String>,
    /// What it would change.
    pub changes: Vec<Change>,
    /// Why the run would end degraded by it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<String>,
    /// Its input: secrets masked, unknown parts as `(known after x)`.
    pub input: Value,
    /// Whether parts of the input are the predicted outputs of other steps.
    pub predicted_input: bool,
    /// The steps whose outputs it waits for.
    pub waits_for: Vec<StepId>,
    /// How long it took in earlier runs, in seconds: their median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<f64>,
    /// What will stop it.
    pub error: Option<ErrorSummary>,
}
