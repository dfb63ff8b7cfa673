//! The commands: one file each.

mod backup;
mod carry;
mod completions;
mod doctor;
mod drill;
mod explain;
mod lock;
mod man;
mod plan;
mod run;
pub(crate) mod sandbox;
mod schema;
mod step;

use crate::args::{BackupCommand, Command, LockCommand, PlanCommand, RunCommand, SandboxCommand, StepCommand};
use crate::exit::{CommandError, Exit};
use crate::report::failure;
use crate::ui::Ui;

/// How a command ends: with a code, or with an error that is yet to be said.
pub(crate) type Outcome = Result<Exit, CommandError>;

/// Carries out a command and says what went wrong; to a program on standard output, too.
pub(crate) fn dispatch(command: Command, program: bool, ui: &Ui) -> Exit {
    let error = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| carry_out(command, ui))) {
        Ok(Ok(exit)) => return exit,
        Ok(Err(error)) => error,
        Err(_) => CommandError::new(Exit::Bug, "a bug in jm: it panicked")
            .hint("what it did until then is in the journal: `jm run show`, then `jm plan resume`"),
    };
    ui.error(&error);
    if program {
        failure::print(&error, ui);
    }
    error.exit
}

fn carry_out(command: Command, ui: &Ui) -> Outcome {
    match command {
        Command::Plan(command) => match command {
            PlanCommand::Validate(args) => plan::validate::validate(&args, ui),
            PlanCommand::List(args) => plan::list::list(&args, ui),
            PlanCommand::Show(args) => plan::show::show(&args, ui),
            PlanCommand::Graph(args) => plan::graph::graph(&args, ui),
            PlanCommand::Diff(args) => plan::diff::diff(&args, ui),
            PlanCommand::Run(args) => plan::run::run(&args, ui),
            PlanCommand::Resume(args) => plan::resume::resume(&args, ui),
        },
        Command::Run(command) => match command {
            RunCommand::List(args) => run::list::list(&args, ui),
            RunCommand::Show(args) => run::show::show(&args, ui),
            RunCommand::Watch(args) => run::watch::watch(&args, ui),
            RunCommand::Logs(args) => run::logs::logs(&args, ui),
            RunCommand::Report(args) => run::report::report(&args, ui),
            word => run::operator::say(&word, ui),
        },
        Command::Step(command) => match command {
            StepCommand::List(args) => step::list::list(&args, ui),
            StepCommand::Show(args) => step::show::show(&args, ui),
            StepCommand::Run(args) => step::run::run(&args, ui),
        },
        Command::Backup(command) => match command {
            BackupCommand::List(args) => backup::list::list(&args, ui),
            BackupCommand::Show(args) => backup::show::show(&args, ui),
            BackupCommand::Verify(args) => backup::verify::verify(&args, ui),
            BackupCommand::Decrypt(args) => backup::decrypt::decrypt(&args, ui),
            BackupCommand::Import(args) => backup::import::import(&args, ui),
        },
        Command::Doctor(args) => doctor::doctor(&args, ui),
        Command::Schema(args) => schema::schema(&args, ui),
        Command::Drill(args) => drill::drill(&args, ui),
        Command::Sandbox(command) => match command {
            SandboxCommand::Up(args) => sandbox::up(&args, ui),
            SandboxCommand::Run(args) => sandbox::run(&args, ui),
            SandboxCommand::Down(args) => sandbox::down(&args, ui),
            SandboxCommand::List(args) => Ok(sandbox::list::list(&args, ui)),
        },
        Command::Lock(command) => match command {
            LockCommand::Show(args) => lock::show(&args, ui),
            LockCommand::Release(args) => lock::release(&args, ui),
        },
        Command::Explain(args) => explain::explain(&args, ui),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => man::man(&args, ui),
    }
}

/// The runtime for commands that talk to systems.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::new(Exit::Bug, "cannot start the runtime").cause(&error))?;
    Ok(runtime.block_on(future))
}
