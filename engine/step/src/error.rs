//! How a step fails: a kind that the engine acts on, a message for people, and what to do next.

use std::error::Error;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The class of a failure. Set where the error is understood; retries depend on nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepErrorKind {
    /// The input makes no sense for this step.
    InvalidInput,
    /// What the step needs is not there.
    NotFound,
    /// The system knows us and says no.
    Denied,
    /// Something else holds or has changed what the step wants to change.
    Conflict,
    /// A guard of jm's own said no: wrong cluster, protected target. Exit code 10.
    Refused,
    /// The system does not answer, or asks to come back later. Retried.
    Unavailable,
    /// It took longer than it may. Retried.
    TimedOut,
    /// It is not known whether the effect took place (the connection went at COMMIT). Retried only after the probe.
    Ambiguous,
    /// The step was told to stop and stopped.
    Cancelled,
    /// Everything else: the step did its work, and the work failed.
    Failed,
}

impl StepErrorKind {
    /// Whether another attempt can help without anybody changing anything.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unavailable | Self::TimedOut | Self::Ambiguous)
    }

    /// The name as plans write it, such as `timed-out`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid-input",
            Self::NotFound => "not-found",
            Self::Denied => "denied",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed-out",
            Self::Ambiguous => "ambiguous",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for StepErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a step failed. The message is lower case and says what happened to what; the hint says what to do next.
#[derive(Debug)]
pub struct StepError(Box<Details>);

#[derive(Debug)]
struct Details {
    kind: StepErrorKind,
    message: String,
    hint: Option<String>,
    evidence: Option<Value>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $function:ident => $kind:ident),* $(,)?) => {
        $($(#[$doc])* pub fn $function(message: impl Into<String>) -> Self { Self::new(StepErrorKind::$kind, message) })*
    };
}

impl StepError {
    /// An error of this kind.
    pub fn new(kind: StepErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind,
            message: message.into(),
            hint: None,
            evidence: None,
            source: None,
        }))
    }

    constructors! {
        /// See [`StepErrorKind::InvalidInput`].
        invalid_input => InvalidInput,
        /// See [`StepErrorKind::NotFound`].
        not_found => NotFound,
        /// See [`StepErrorKind::Denied`].
        denied => Denied,
        /// See [`StepErrorKind::Conflict`].
        conflict => Conflict,
        /// See [`StepErrorKind::Refused`].
        refused => Refused,
        /// See [`StepErrorKind::Unavailable`].
        unavailable => Unavailable,
        /// See [`StepErrorKind::TimedOut`].
        timed_out => TimedOut,
        /// See [`StepErrorKind::Ambiguous`].
        ambiguous => Ambiguous,
        /// See [`StepErrorKind::Cancelled`].
        cancelled => Cancelled,
        /// See [`StepErrorKind::Failed`].
        failed => Failed,
    }

    /// Adds what to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds what was seen, as data: counts, names, the last lines of a log. No secrets.
    pub fn evidence(mut self, evidence: Value) -> Self {
        self.0.evidence = Some(evidence);
        self
    }

    /// Adds the error underneath.
    pub fn source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Puts what was being done before the message: `cannot read the manifest: permission denied`.
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.0.message = format!("{doing}: {}", self.0.message);
        self
    }

    /// Makes it one of another class.
    pub fn of_kind(mut self, kind: StepErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Its class.
    pub fn kind(&self) -> StepErrorKind {
        self.0.kind
    }

    /// What happened, to what.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do next.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The form that goes into journals and reports: text and data, never the live error.
    pub fn summary(&self) -> ErrorSummary {
        let mut causes = Vec::new();
        let mut next = Error::source(self);
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        ErrorSummary {
            kind: self.0.kind,
            message: self.0.message.clone(),
            hint: self.0.hint.clone(),
            causes,
            evidence: self.0.evidence.clone(),
        }
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl Error for StepError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// A failure as it is written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorSummary {
    /// Its class.
    pub kind: StepErrorKind,
    /// What happened, to what.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The errors underneath, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What was seen, as data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Value>,
}

impl From<ErrorSummary> for StepError {
    fn from(summary: ErrorSummary) -> Self {
        let mut error = StepError::new(summary.kind, summary.message);
        error.0.hint = summary.hint;
        error.0.evidence = summary.evidence;
        error
    }
}

/// One thing wrong with an input, at one of its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputIssue {
    /// Where, as a JSON pointer such as `/paths/0`; empty for the input as a whole.
    pub pointer: String,
    /// What is wrong, lower case.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl InputIssue {
    /// Something wrong at a place.
    pub fn at(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            message: message.into(),
            help: None,
        }
    }

    /// Adds what to write instead.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What an error says of the value at a place.
    pub fn of(pointer: impl Into<String>, error: &StepError) -> Self {
        Self {
            pointer: pointer.into(),
            message: error.message().to_owned(),
            help: error.hint_text().map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_keeps_the_chain_of_causes() {
        let inner = std::io::Error::other("no route to host");
        let error = StepError::unavailable("cannot reach `db`")
            .hint("start it")
            .source(inner)
            .context("opening target `database`");
        let summary = error.summary();
        assert_eq!(summary.message, "opening target `database`: cannot reach `db`");
        assert_eq!(summary.causes, ["no route to host"]);
        assert_eq!(summary.hint.as_deref(), Some("start it"));
        assert!(summary.kind.is_transient());
    }
}
