//! How jm ends: one code for each class of outcome, the same in a dry run, and the errors that lead to them.

use std::process::ExitCode;

use jm_run::RunStatus;
use jm_step::{ErrorSummary, StepError, StepErrorKind};

/// The exit codes. They are a public interface: CI jobs and runbooks depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, and as asked.
    Done,
    /// A bug in jm. A panic, too.
    Bug,
    /// Wrong use.
    Usage,
    /// Plan, targets or inputs invalid; findings.
    Invalid,
    /// A step failed, or the run was aborted.
    Failed,
    /// Stopped, can be resumed.
    Stopped,
    /// Waits for a person.
    Waiting,
    /// State or journal cannot be used.
    State,
    /// Somebody else holds the lock.
    Locked,
    /// Done, but degraded, or an objective was missed.
    Degraded,
    /// Refused by a guard.
    Refused,
    /// As the command ended that jm was asked to run.
    Command(u8),
}

impl Exit {
    /// The number that the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Bug => 1,
            Self::Usage => 2,
            Self::Invalid => 3,
            Self::Failed => 4,
            Self::Stopped => 5,
            Self::Waiting => 6,
            Self::State => 7,
            Self::Locked => 8,
            Self::Degraded => 9,
            Self::Refused => 10,
            Self::Command(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

impl From<RunStatus> for Exit {
    fn from(status: RunStatus) -> Self {
        match status {
            RunStatus::Completed => Self::Done,
            RunStatus::Degraded => Self::Degraded,
            RunStatus::Failed | RunStatus::Aborted => Self::Failed,
            RunStatus::Stopped => Self::Stopped,
            RunStatus::Waiting => Self::Waiting,
        }
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct CommandError {
    /// How jm ends.
    pub(crate) exit: Exit,
    /// What happened, to what; lower case.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) hint: Option<String>,
    /// The errors underneath.
    pub(crate) causes: Vec<String>,
}

impl CommandError {
    /// An error that ends with this code.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
            causes: Vec::new(),
        }
    }

    /// Wrong use.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The state directory cannot be used.
    pub(crate) fn state(message: impl Into<String>) -> Self {
        Self::new(Exit::State, message)
    }

    /// Adds what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the errors underneath.
    pub(crate) fn cause(mut self, error: &dyn std::error::Error) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            self.causes.push(error.to_string());
            next = error.source();
        }
        self
    }
}

impl From<StepError> for CommandError {
    fn from(error: StepError) -> Self {
        error.summary().into()
    }
}

impl From<ErrorSummary> for CommandError {
    fn from(error: ErrorSummary) -> Self {
        let exit = match error.kind {
            StepErrorKind::Refused => Exit::Refused,
            StepErrorKind::InvalidInput => Exit::Invalid,
            _ => Exit::Failed,
        };
        Self {
            exit,
            message: error.message,
            hint: error.hint,
            causes: error.causes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_states_have_the_codes_of_the_table() {
        for (status, code) in [
            (RunStatus::Completed, 0),
            (RunStatus::Failed, 4),
            (RunStatus::Aborted, 4),
            (RunStatus::Stopped, 5),
            (RunStatus::Waiting, 6),
            (RunStatus::Degraded, 9),
        ] {
            assert_eq!(Exit::from(status).code(), code);
        }
        assert_eq!(CommandError::from(StepError::refused("no")).exit, Exit::Refused);
    }
}
