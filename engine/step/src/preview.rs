//! What a step would do, told without doing it; and what became of one that was interrupted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How much a preview's word is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// The world was read and agrees.
    Verified,
    /// The change is known; the run will journal the very same changes.
    Computed,
    /// It will act, and what comes of it cannot be known beforehand.
    Declared,
    /// It waits for something that is known only later.
    Unknown,
    /// The preview found what will stop it.
    WouldFail,
}

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It comes into being.
    Create,
    /// It becomes different.
    Update,
    /// It goes away.
    Delete,
    /// Something is sent or run that leaves no object behind.
    Send,
}

/// One change to one object: the same form in a preview, in the journal and in a report, so that they can be compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// What is done.
    pub action: Action,
    /// To what: kind and name, such as ``deployment `backend-deployment` ``. Holds nothing that differs from run to
    /// run, so that a dry run can name it.
    pub object: String,
    /// As it is before, where that says something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// As it is after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

impl Change {
    /// An object comes into being.
    pub fn create(object: impl Into<String>, after: impl Into<Value>) -> Self {
        Self {
            action: Action::Create,
            object: object.into(),
            before: None,
            after: Some(after.into()),
        }
    }

    /// An object becomes different.
    pub fn update(object: impl Into<String>, before: impl Into<Value>, after: impl Into<Value>) -> Self {
        Self {
            action: Action::Update,
            object: object.into(),
            before: Some(before.into()),
            after: Some(after.into()),
        }
    }

    /// An object goes away.
    pub fn delete(object: impl Into<String>) -> Self {
        Self {
            action: Action::Delete,
            object: object.into(),
            before: None,
            after: None,
        }
    }

    /// Something is sent or run.
    pub fn send(object: impl Into<String>, what: impl Into<Value>) -> Self {
        Self {
            action: Action::Send,
            object: object.into(),
            before: None,
            after: Some(what.into()),
        }
    }
}

/// What a step would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview<O> {
    /// One line for people.
    pub summary: String,
    /// How much it is worth: [`Grade::Verified`], [`Grade::Computed`] or [`Grade::Declared`]; the engine adds the others.
    pub grade: Grade,
    /// What it would change.
    pub changes: Vec<Change>,
    /// What its output would be, so that a dry run can go on past it.
    pub predicted: Option<O>,
    /// The fields of its output that are known already, where not all are.
    pub foreseen: Option<Value>,
    /// Why a run would end degraded by it: as what a step says of itself while it runs.
    pub degraded: Vec<String>,
}

impl<O> Preview<O> {
    /// The world was read, and nothing needs to change or the step only looks.
    pub fn verified(summary: impl Into<String>) -> Self {
        Self {
            summary: summary.into(),
            grade: Grade::Verified,
            changes: Vec::new(),
            predicted: None,
            foreseen: None,
            degraded: Vec::new(),
        }
    }

    /// These changes, exactly.
    pub fn computed(summary: impl Into<String>, changes: Vec<Change>) -> Self {
        Self {
            summary: summary.into(),
            grade: Grade::Computed,
            changes,
            predicted: None,
            foreseen: None,
            degraded: Vec::new(),
        }
    }

    /// It will act; what comes of it is not known.
    pub fn declared(summary: impl Into<String>) -> Self {
        Self {
            summary: summary.into(),
            grade: Grade::Declared,
            changes: Vec::new(),
            predicted: None,
            foreseen: None,
            degraded: Vec::new(),
        }
    }

    /// Adds the output that it would have.
    pub fn predict(mut self, output: O) -> Self {
        self.predicted = Some(output);
        self
    }

    /// Adds the fields of its output that are known already, for what depends on these alone.
    pub fn foresee(mut self, fields: Value) -> Self {
        self.foreseen = Some(fields);
        self
    }

    /// Adds changes, without raising the grade.
    pub fn with_changes(mut self, changes: Vec<Change>) -> Self {
        self.changes = changes;
        self
    }

    /// Adds why a run would end degraded by it.
    pub fn degraded(mut self, reasons: impl IntoIterator<Item = String>) -> Self {
        self.degraded.extend(reasons);
        self
    }

    /// The same with another form of the output.
    pub fn map<P, E>(self, f: impl FnOnce(O) -> Result<P, E>) -> Result<Preview<P>, E> {
        let predicted = self.predicted.map(f).transpose()?;
        Ok(Preview {
            summary: self.summary,
            grade: self.grade,
            changes: self.changes,
            predicted,
            foreseen: self.foreseen,
            degraded: self.degraded,
        })
    }
}

/// What became of an attempt whose end was never recorded, or of which it is not known whether it took effect.
#[derive(Debug, Clone, PartialEq)]
pub enum Probe<O> {
    /// Nothing happened. Checkpoints are dropped, saved outputs kept, and the step runs.
    NotStarted,
    /// It goes on without us, and is waited for.
    Running,
    /// Something happened, not all. Runs again where repeating is safe, else waits for a person.
    Partial {
        /// What was found.
        reason: String,
    },
    /// It is done; this is its output.
    Succeeded(O),
    /// The world cannot tell. As [`Probe::Partial`].
    Unknown {
        /// Why not.
        reason: String,
    },
}

impl<O> Probe<O> {
    /// Something happened, not all.
    pub fn partial(reason: impl Into<String>) -> Self {
        Self::Partial { reason: reason.into() }
    }

    /// The world cannot tell.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self::Unknown { reason: reason.into() }
    }

    /// The same with another form of the output.
    pub fn map<P, E>(self, f: impl FnOnce(O) -> Result<P, E>) -> Result<Probe<P>, E> {
        Ok(match self {
            Self::NotStarted => Probe::NotStarted,
            Self::Running => Probe::Running,
            Self::Partial { reason } => Probe::Partial { reason },
            Self::Succeeded(output) => Probe::Succeeded(f(output)?),
            Self::Unknown { reason } => Probe::Unknown { reason },
        })
    }
}
