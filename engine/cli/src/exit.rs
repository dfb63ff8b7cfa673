//! How jm ends: one code for each class of outcome, the same in a dry run, and the errors that lead to them. What is said
//! of the codes anywhere (help, manual pages, error documents, the README's table) is said here.

use std::process::ExitCode;

use jm_run::RunStatus;
use jm_step::{ErrorSummary, StepError, StepErrorKind};

use crate::report::findings::Checked;
use crate::report::table;

/// Columns that help fits into.
const COLUMNS: usize = 80;

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
    /// Stopped, or could not begin: can be resumed.
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
    /// All that jm itself ends with, by their numbers.
    pub(crate) const ALL: [Self; 11] = [
        Self::Done,
        Self::Bug,
        Self::Usage,
        Self::Invalid,
        Self::Failed,
        Self::Stopped,
        Self::Waiting,
        Self::State,
        Self::Locked,
        Self::Degraded,
        Self::Refused,
    ];
    /// What a check of files ends with.
    pub(crate) const OF_A_CHECK: [Self; 4] = [Self::Done, Self::Bug, Self::Usage, Self::Invalid];

    /// What a look at rights ends with.
    pub(crate) const OF_A_DOCTOR: [Self; 6] = [
        Self::Done,
        Self::Bug,
        Self::Usage,
        Self::Invalid,
        Self::Failed,
        Self::Degraded,
    ];

    /// These codes with their meanings, as help ends with them.
    pub(crate) fn table(codes: &[Self]) -> String {
        let mut lines = vec!["Exit codes:".to_owned()];
        for exit in codes {
            lines.extend(table::hang(&format!("  {:<2}  ", exit.code()), exit.meaning(), COLUMNS));
        }
        lines.join("\n")
    }

    /// What it means, for people.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done, and as asked",
            Self::Bug => "a bug in jm",
            Self::Usage => "wrong use",
            Self::Invalid => "plan, targets or inputs invalid; findings",
            Self::Failed => "a step failed, or the run was aborted",
            Self::Stopped => "stopped, or could not begin: can be resumed",
            Self::Waiting => "waits for a person",
            Self::State => "state or journal cannot be used",
            Self::Locked => "somebody else holds the lock",
            Self::Degraded => "done, but degraded, or an objective was missed",
            Self::Refused => "refused by a guard: protected target, wrong cluster or database, data loss not accepted",
            Self::Command(_) => "as the command ended that jm was asked to run",
        }
    }

    /// Its name for programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Bug => "bug",
            Self::Usage => "usage",
            Self::Invalid => "invalid",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Waiting => "waiting",
            Self::State => "state",
            Self::Locked => "locked",
            Self::Degraded => "degraded",
            Self::Refused => "refused",
            // What jm runs by itself is another jm.
            Self::Command(code) => Self::ALL
                .into_iter()
                .find(|exit| exit.code() == code)
                .map_or("command", Self::name),
        }
    }

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
    /// What is wrong with the file that is at fault; said to people already.
    pub(crate) findings: Option<Box<Checked>>,
}

impl CommandError {
    /// An error that ends with this code.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
            causes: Vec::new(),
            findings: None,
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
            findings: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Arguments;

    #[test]
    fn help_and_the_readme_say_the_same_of_every_code() {
        let readme = include_str!("../../../README.md");
        for (number, exit) in Exit::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(exit.code()), number);
            let row = format!("| {number} | {} |", exit.meaning());
            assert!(readme.contains(&row), "no `{row}` in the README");
        }
        let helps: [(&[&str], &[Exit]); 7] = [
            (&[], &Exit::ALL),
            (&["plan", "run"], &Exit::ALL),
            (&["plan", "resume"], &Exit::ALL),
            (&["drill"], &Exit::ALL),
            (&["step", "run"], &Exit::ALL),
            (&["plan", "validate"], &Exit::OF_A_CHECK),
            (&["doctor"], &Exit::OF_A_DOCTOR),
        ];
        for (words, codes) in helps {
            let mut command = Arguments::command();
            let mut named = &mut command;
            for word in words {
                named = named.find_subcommand_mut(word).expect("a command");
            }
            let help = named.render_help().to_string();
            for line in Exit::table(codes).lines() {
                assert!(help.contains(line), "{words:?}: no `{line}` in\n{help}");
            }
        }
    }

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
