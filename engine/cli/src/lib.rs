//! The command line: the only room that prints, reads the environment, or exits.

mod args;
mod commands;
mod environment;
mod exit;
mod launch;
mod person;
mod project;
mod providers;
pub use providers::registry;
mod report;
mod session;
mod signals;
mod ui;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Arguments;
use crate::ui::Ui;

/// The argument under which jm watches over the children of another jm.
pub(crate) const SUPERVISE: &str = "__supervise";
/// The argument under which jm is the process that holds a sandbox.
pub(crate) const SANDBOX: &str = "__sandbox";

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        Some(SUPERVISE) => {
            jm_step::process::supervise(&words.next().unwrap_or_default());
            return ExitCode::SUCCESS;
        }
        Some(SANDBOX) => return commands::sandbox::hold(&words.next().unwrap_or_default()).into(),
        _ => {}
    }
    let program = args::is_for_a_program(std::env::args_os().skip(1));
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error, program),
    };
    let ui = Ui::new(&arguments.global);
    commands::dispatch(arguments.command, program, &ui).into()
}

/// Help and version are answers, everything else is wrong use.
fn usage(error: &clap::Error, program: bool) -> ExitCode {
    // The terminal may be gone; there is nobody left to tell.
    drop(error.print());
    if !error.use_stderr() {
        return exit::Exit::Done.into();
    }
    if program {
        report::failure::print(&report::failure::of_words(error), &Ui::plain());
    }
    exit::Exit::Usage.into()
}
