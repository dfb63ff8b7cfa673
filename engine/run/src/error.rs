//! Why a run cannot go on as a whole. A step that fails is not among it.

use jm_step::{ErrorSummary, StepErrorKind, TargetName};

use crate::journal::JournalError;
use crate::lock::LockError;
use crate::state::IllegalTransition;

/// Why a run could not begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The journal. Exit code 7.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal holds what cannot have happened. Exit code 7.
    #[error("the journal does not hang together")]
    Illegal(#[from] IllegalTransition),
    /// The journal belongs to another plan. Exit code 7.
    #[error("the run was opened with plan {opened}, and this is plan {given}")]
    OtherPlan {
        /// Digest in the journal.
        opened: String,
        /// Digest of the plan at hand.
        given: String,
    },
    /// The run is over, and nothing is left to resume.
    #[error("the run is over: {0}")]
    Over(crate::RunStatus),
    /// Targets that cannot be used, found before the first step. Exit code 10 where one was refused, else 4.
    #[error("{}", preflight(.problems))]
    Preflight {
        /// Which, and why.
        problems: Vec<TargetProblem>,
    },
    /// A guard said no before the first step. Exit code 10.
    #[error("{}", .0.message)]
    Refused(Box<ErrorSummary>),
    /// Somebody else holds a system that the run writes to. Exit code 8.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// Somebody else took the lock on the targets. Exit code 8.
    #[error("the lock on the targets was taken away: {0}")]
    LockLost(String),
}

/// A target that cannot be used.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetProblem {
    /// Which.
    pub target: TargetName,
    /// Why.
    pub error: ErrorSummary,
}

impl RunError {
    /// A file of the run's directory that the journal needs is gone or changed.
    pub(crate) fn artefact(error: jm_step::StepError) -> Self {
        Self::Journal(JournalError::Io {
            doing: "use",
            path: "artefacts".into(),
            source: std::io::Error::other(error),
        })
    }

    /// Whether a guard said no.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Preflight { problems } => problems.iter().any(|p| p.error.kind == StepErrorKind::Refused),
            _ => false,
        }
    }
}

fn preflight(problems: &[TargetProblem]) -> String {
    let all: Vec<&str> = problems.iter().map(|problem| problem.error.message.as_str()).collect();
    format!("the run cannot begin: {}", all.join("; "))
}
