//! `jm completions SHELL`.

use clap::CommandFactory;

use crate::args::{Arguments, CompletionsArgs};
use crate::commands::Outcome;
use crate::exit::Exit;

#[expect(clippy::unnecessary_wraps, reason = "every command has this form")]
pub(super) fn completions(args: &CompletionsArgs) -> Outcome {
    clap_complete::generate(args.shell, &mut Arguments::command(), "jm", &mut std::io::stdout());
    Ok(Exit::Done)
}
