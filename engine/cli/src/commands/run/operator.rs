//! `jm run approve|reject|retry|skip|mark-done|abort`: a person's word, with who said it and why.

use jm_run::RunDir;
use jm_run::journal::OperatorVerb;

use crate::args::{RunCommand, StepWordArgs};
use crate::commands::Outcome;
use crate::exit::{CommandError, Exit};
use crate::report::summary;
use crate::ui::Ui;
use crate::{environment, launch, person};

pub(in crate::commands) fn say(command: &RunCommand, ui: &Ui) -> Outcome {
    let word = Word::of(command)?;
    let run = super::find(&launch::state()?, word.run)?;
    let step = word
        .step
        .map(|step| {
            step.parse()
                .map_err(|error: jm_step::InvalidName| CommandError::usage(error.to_string()))
        })
        .transpose()?;
    let reason = word.reason.and_then(person::something).or_else(asked);
    let reason = reason.ok_or_else(|| word.unexplained())?;
    let heard = jm_run::operator(&run, word.verb, step, &reason, environment::who()).map_err(super::refused)?;
    ui.say(match heard {
        jm_run::Delivered::Heard => format!("run {} is alive and acts on it", run.id()),
        jm_run::Delivered::ToInbox => format!("run {} is alive and will act on it as soon as it can", run.id()),
        jm_run::Delivered::ToJournal => format!("written down; `{}` {}", resume(&run, ui), goes(word.verb)),
    });
    Ok(Exit::Done)
}

/// Why, as somebody at the terminal says it.
fn asked() -> Option<String> {
    person::is_there().then(|| person::text("why? It goes into the journal:"))?
}

/// A word as it was typed.
struct Word<'a> {
    verb: OperatorVerb,
    step: Option<&'a str>,
    run: Option<&'a str>,
    reason: Option<&'a str>,
}

impl<'a> Word<'a> {
    fn of(command: &'a RunCommand) -> Result<Self, CommandError> {
        let of_step = |verb, args: &'a StepWordArgs| Self {
            verb,
            step: Some(&args.step),
            run: args.run.as_deref(),
            reason: args.reason.as_deref(),
        };
        Ok(match command {
            RunCommand::Approve(args) => of_step(OperatorVerb::Approve, args),
            RunCommand::Reject(args) => of_step(OperatorVerb::Reject, args),
            RunCommand::Retry(args) => of_step(OperatorVerb::Retry, args),
            RunCommand::Skip(args) => of_step(OperatorVerb::Skip, args),
            RunCommand::MarkDone(args) => of_step(OperatorVerb::MarkDone, args),
            RunCommand::Abort(args) => Self {
                verb: OperatorVerb::Abort,
                step: None,
                run: args.run.as_deref(),
                reason: args.reason.as_deref(),
            },
            RunCommand::List(_)
            | RunCommand::Show(_)
            | RunCommand::Watch(_)
            | RunCommand::Logs(_)
            | RunCommand::Report(_) => {
                return Err(CommandError::new(Exit::Bug, "not a word about a run"));
            }
        })
    }

    /// The error for a word without a reason: whoever reads the journal later has nobody to ask for it.
    fn unexplained(&self) -> CommandError {
        let verb = self.verb.as_str();
        let step = self.step.map(|step| format!(" {step}"));
        let run = match (self.run, self.verb) {
            (Some(run), OperatorVerb::Abort) => format!(" {run}"),
            (Some(run), _) => format!(" --run {run}"),
            (None, _) => String::new(),
        };
        let command = environment::again(format!("jm run {verb}{}{run} --reason TEXT", step.unwrap_or_default()));
        CommandError::usage(format!("`jm run {verb}` needs a reason, which goes into the journal"))
            .hint(format!("`{command}`"))
    }
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
