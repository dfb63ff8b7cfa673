//! A plan as it was written: every value with its place, nothing resolved yet.

use std::time::Duration;

use jiff::civil::Date;
use jm_step::{StepErrorKind, StepId, TargetName};
use miette::SourceSpan;
use regex::Regex;
use serde_json::Value;

use crate::error::PlanError;
use crate::plan::OnFailure;
use crate::span::{Source, Spanned};
use crate::template::{Expression, InputTemplate};

/// A plan file. Made by [`crate::parse`]; what could not be read is absent.
#[derive(Debug, Clone)]
pub struct Document {
    pub(crate) source: Source,
    pub(crate) plan: PlanSpec,
    /// What parsing found.
    pub(crate) found: Vec<PlanError>,
    /// Whether there are errors among it: such a document is never sealed.
    pub(crate) broken: bool,
    /// Whether a part of the file could not be read: then nothing is said about the rest.
    pub(crate) torn: bool,
}

impl Document {
    /// The file's name, as it was given.
    pub fn file(&self) -> &str {
        self.source.name()
    }

    /// The file's text.
    pub fn text(&self) -> &str {
        self.source.inner()
    }

    /// The source that findings point into.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What was written.
    pub fn spec(&self) -> &PlanSpec {
        &self.plan
    }
}

/// The fields of a plan.
#[derive(Debug, Clone, Default)]
pub struct PlanSpec {
    /// Whether it is no plan but one step that somebody asked for by name (`kind: Step`).
    pub one_step: bool,
    /// See the language: its name, by which runs are listed.
    pub name: Option<Spanned<String>>,
    /// For people.
    pub title: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// Of the plan, for people.
    pub version: Option<String>,
    /// When it was last changed.
    pub updated: Option<Spanned<Date>>,
    /// When it was last reviewed.
    pub reviewed: Option<Spanned<Date>>,
    /// How often it is to be reviewed.
    pub review_every: Option<Spanned<Duration>>,
    /// What is promised.
    pub objectives: ObjectivesSpec,
    /// Keys of `contacts` in the targets file.
    pub contacts: Vec<Spanned<String>>,
    /// Targets that may be down when the plan starts.
    pub repairs: Vec<Spanned<TargetName>>,
    /// When it runs by itself.
    pub schedule: Option<ScheduleSpec>,
    /// What it can be given.
    pub inputs: Vec<InputSpec>,
    /// How many steps run at once.
    pub max_parallel: Option<Spanned<u32>>,
    /// How long the run may take.
    pub deadline: Option<Spanned<Duration>>,
    /// The steps.
    pub steps: Vec<StepSpec>,
    /// What runs when the run ends.
    pub finally: Vec<StepSpec>,
    /// What the plan gives out.
    pub outputs: Vec<(Spanned<String>, InputTemplate)>,
    /// How it is drilled.
    pub drill: Option<DrillSpec>,
}

/// What is promised.
#[derive(Debug, Clone, Copy, Default)]
pub struct ObjectivesSpec {
    /// Recovery time.
    pub rto: Option<Spanned<Duration>>,
    /// Recovery point.
    pub rpo: Option<Spanned<Duration>>,
}

/// When a plan runs by itself.
#[derive(Debug, Clone)]
pub struct ScheduleSpec {
    /// Five fields, as in crontab, or `@daily` and the like.
    pub cron: Spanned<String>,
    /// An IANA name, such as `Europe/Berlin`; UTC where it is absent.
    pub timezone: Option<Spanned<String>>,
}

/// How a plan is drilled.
#[derive(Debug, Clone, Default)]
pub struct DrillSpec {
    /// When.
    pub schedule: Option<ScheduleSpec>,
    /// Inputs that are other than their defaults.
    pub inputs: Vec<(Spanned<String>, Spanned<Value>)>,
}

/// The types of inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputType {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A list.
    Array,
    /// A mapping.
    Object,
    /// Such as `25m`.
    Duration,
    /// RFC 3339.
    Timestamp,
    /// `YYYY-MM-DD`.
    Date,
    /// Given as `env:NAME` or `file:PATH` only.
    Secret,
}

impl InputType {
    /// All of them, by the names that plans use.
    pub(crate) const ALL: [(&'static str, Self); 10] = [
        ("string", Self::String),
        ("integer", Self::Integer),
        ("number", Self::Number),
        ("boolean", Self::Boolean),
        ("array", Self::Array),
        ("object", Self::Object),
        ("duration", Self::Duration),
        ("timestamp", Self::Timestamp),
        ("date", Self::Date),
        ("secret", Self::Secret),
    ];

    /// The name that plans use.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("string", |(name, _)| name)
    }
}

/// An input that a plan declares.
#[derive(Debug, Clone)]
pub struct InputSpec {
    /// Its name.
    pub name: Spanned<String>,
    /// Its type.
    pub kind: InputType,
    /// The type of an array's items.
    pub items: Option<InputType>,
    /// What it is where it is not given.
    pub default: Option<Spanned<Value>>,
    /// The values that it may have.
    pub choices: Option<Vec<Value>>,
    /// What text must match, anywhere in it.
    pub pattern: Option<Regex>,
    /// The least value of a number, duration, time or day, or the least length of text or a list.
    pub min: Option<Spanned<Value>>,
    /// The greatest.
    pub max: Option<Spanned<Value>>,
    /// For people.
    pub description: Option<String>,
}

/// A step as it was written.
#[derive(Debug, Clone)]
pub struct StepSpec {
    /// The place of the whole.
    pub span: SourceSpan,
    /// Its name; absent where it is not a name.
    pub id: Option<Spanned<StepId>>,
    /// Its step type.
    pub uses: Option<Spanned<String>>,
    /// Its one target.
    pub target: Option<Spanned<TargetName>>,
    /// Its targets, by role.
    pub targets: Vec<(Spanned<String>, Spanned<TargetName>)>,
    /// What comes before it.
    pub needs: Vec<Spanned<StepId>>,
    /// Whether it runs.
    pub when: Option<Expression>,
    /// Its input.
    pub with: Option<InputTemplate>,
    /// How often it is tried.
    pub retry: RetrySpec,
    /// How long one attempt may take.
    pub timeout: Option<Spanned<Duration>>,
    /// Its share of the RTO.
    pub budget: Option<Spanned<Duration>>,
    /// What its failure does.
    pub on_failure: OnFailure,
    /// What is to be done anew after it ran.
    pub undoes: Vec<Spanned<StepId>>,
    /// For people.
    pub name: Option<String>,
    /// For people, when it fails.
    pub why: Option<String>,
    /// For people, when it fails.
    pub runbook: Option<String>,
}

/// What a step says of its retries; what it does not say depends on its step type.
#[derive(Debug, Clone, Default)]
pub struct RetrySpec {
    /// Tries in all, at least 1.
    pub attempts: Option<u32>,
    /// The first pause.
    pub base: Option<Duration>,
    /// By how much each pause is longer than the one before.
    pub factor: Option<f64>,
    /// The longest pause.
    pub cap: Option<Duration>,
    /// How much of a pause is left to chance, 0 to 1.
    pub jitter: Option<f64>,
    /// The failures after which it is tried again.
    pub on: Option<Vec<StepErrorKind>>,
}
