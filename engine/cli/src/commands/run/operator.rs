//! `jm run approve|reject|retry|skip|mark-done|abort`: a person's word, with who said it and why.

use jm_run::RunDir;
use jm_run::journal::OperatorVerb;

use crate::args::{RunCommand, StepWordArgs};
use crate::commands::Outcome;
use crate::environment;
use crate::exit::{CommandError, Exit};
use crate::launch;
use crate::report::summary;
use crate::ui::Ui;

pub(in crate::commands) fn say(command: &RunCommand, ui: &Ui) -> Outcome {
    let of_step = |verb, args: &StepWordArgs| (verb, Some(args.step.clone()), args.run.clone(), args.reason.clone());
    let (verb, step, run, reason) = match command {
        RunCommand::Approve(args) => of_step(OperatorVerb::Approve, args),
        RunCommand::Reject(args) => of_step(OperatorVerb::Reject, args),
        RunCommand::Retry(args) => of_step(OperatorVerb::Retry, args),
        RunCommand::Skip(args) => of_step(OperatorVerb::Skip, args),
        RunCommand::MarkDone(args) => of_step(OperatorVerb::MarkDone, args),
        RunCommand::Abort(args) => (OperatorVerb::Abort, None, args.run.clone(), args.reason.clone()),
        RunCommand::List(_)
        | RunCommand::Show(_)
        | RunCommand::Watch(_)
        | RunCommand::Logs(_)
        | RunCommand::Report(_) => {
            return Err(CommandError::new(Exit::Bug, "not a word about a run"));
        }
    };
    let run = super::find(&launch::state()?, run.as_deref())?;
    let step = step
        .map(|step| {
            step.parse()
                .map_err(|error: jm_step::InvalidName| CommandError::usage(error.to_string()))
        })
        .transpose()?;
    let heard = jm_run::operator(&run, verb, step, reason, environment::who()).map_err(super::refused)?;
    ui.say(match heard {
        jm_run::Delivered::Heard => format!("run {} is alive and acts on it", run.id()),
        jm_run::Delivered::ToInbox => format!("run {} is alive and will act on it as soon as it can", run.id()),
        jm_run::Delivered::ToJournal => format!("written down; `{}` {}", resume(&run, ui), goes(verb)),
    });
    Ok(Exit::Done)
}

/// The command that goes on with a run as it stands now. The word itself is on disk by then, whatever is told of it.
fn resume(run: &RunDir, ui: &Ui) -> String {
    let with_words = || {
        let records = run.read().ok()?.records;
        let plan = launch::plan_of(run, &records, ui).ok()?;
        summary::of(&plan, &records, run).ok()?.resume()
    };
    with_words().unwrap_or_else(|| format!("jm plan resume {}", run.id().short()))
}

fn goes(verb: OperatorVerb) -> &'static str {
    match verb {
        OperatorVerb::Abort => "does what is left under `finally`, and ends it",
        _ => "goes on",
    }
}
