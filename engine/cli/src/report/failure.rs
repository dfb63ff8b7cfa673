//! What `--format json` prints where a command did not do what it was asked: an error document, so that whoever reads
//! standard output never finds it empty.

use schemars::JsonSchema;
use serde::Serialize;

use super::document::Document;
use super::findings::Findings;
use crate::exit::{CommandError, Exit};
use crate::ui::Ui;

/// Why a command did not do what it was asked.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Failure<'a> {
    error: Told<'a>,
    /// Where a file is at fault: what `jm plan validate` prints of it.
    #[serde(flatten)]
    findings: Option<Findings>,
}

/// What standard error says, in parts.
#[derive(Debug, Serialize, JsonSchema)]
struct Told<'a> {
    /// What the shell sees.
    exit_code: u8,
    /// The same in a word, such as `invalid` or `locked`.
    code: &'static str,
    /// What happened, to what.
    message: &'a str,
    /// What to do next.
    help: Option<&'a str>,
    /// The errors underneath, the nearest first.
    causes: &'a [String],
}

impl<'a> Failure<'a> {
    fn of(error: &'a CommandError) -> Self {
        Self {
            error: Told {
                exit_code: error.exit.code(),
                code: error.exit.name(),
                message: &error.message,
                help: error.hint.as_deref(),
                causes: &error.causes,
            },
            findings: error
                .findings
                .as_deref()
                .map(|checked| Findings::of(std::slice::from_ref(checked))),
        }
    }
}

/// Prints the error for a program, unless the command has given an answer already.
pub(crate) fn print(error: &CommandError, ui: &Ui) {
    if !ui.has_answered() {
        Document::of(Failure::of(error)).print(ui);
    }
}

/// The error for words that are no command: what is wrong, then how it is written.
pub(crate) fn of_words(error: &clap::Error) -> CommandError {
    let text = error.render().to_string();
    let (wrong, usage) = text.split_once("\n\n").unwrap_or((&text, ""));
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let wrong = flat(wrong.trim_start_matches("error: "));
    let told = CommandError::new(Exit::Usage, wrong);
    if usage.is_empty() { told } else { told.hint(flat(usage)) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Arguments;

    #[test]
    fn words_that_are_no_command_are_told_with_what_would_be() {
        let error = Arguments::try_parse_from(["jm", "plan", "run"]).expect_err("no plan");
        let told = of_words(&error);
        assert_eq!(told.exit, Exit::Usage);
        assert!(told.message.contains("<PLAN>"), "{}", told.message);
        assert!(told.hint.expect("usage").contains("jm plan run"));
    }
}
