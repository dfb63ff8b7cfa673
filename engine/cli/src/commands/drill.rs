//! `jm drill PLAN --sandbox`: everything that the plan needs is started here, filled, backed up, broken, and repaired by
//! the plan itself, run by the same command as in an emergency; then what came back is compared with what was lost.

mod loss;

use std::path::Path;
use std::process::Stdio;

use jm_plan::TargetsDocument;
use jm_sandbox::Description;

use self::loss::{Before, Loss};
use crate::args::{DrillArgs, Format};
use crate::commands::{Outcome, sandbox};
use crate::exit::{CommandError, Exit};
use crate::session::Source;
use crate::signals::Interrupted;
use crate::ui::{Style, Ui};
use crate::{launch, project};

pub(super) fn drill(args: &DrillArgs, ui: &Ui) -> Outcome {
    if !args.sandbox {
        return Err(CommandError::usage("a drill needs a place that is not production")
            .hint("`jm drill PLAN --sandbox`; or bind the plan to other systems: `jm plan run PLAN --drill --targets FILE`"));
    }
    let loss = Loss::of(args, ui)?;
    let words = plan_words(args, ui)?;
    let directory = sandbox::directory_of_drill();
    let interrupted = Interrupted::listen()?;
    let ways = ways_on(&directory, &words);
    // Before there is anything to lose sight of: a drill that is killed says nothing any more.
    ui.say(format!("the sandbox of this drill, should it be killed: {ways}"));
    let up = sandbox::start(&directory, args.kubernetes, loss.database_place(), &interrupted, ui)?;
    let exit = rehearse(args, (&directory, &up), &loss, &words, &interrupted, ui);
    // What can be resumed, or looked into, needs the systems and the journal that are in there.
    let goes_on = [Exit::Failed, Exit::Stopped, Exit::Waiting].map(Exit::code);
    let keep = args.keep || matches!(exit, Ok(Exit::Command(code)) if goes_on.contains(&code));
    if keep {
        ui.say(format!("the sandbox stays up: {ways}"));
    } else {
        sandbox::end(&directory)?;
    }
    exit
}

/// How a drill whose sandbox is up is gone on with, or given up.
fn ways_on(directory: &Path, words: &[String]) -> String {
    let confirmed = words.iter().skip_while(|word| *word != "--confirm").nth(1);
    let confirm = confirmed.map(|name| format!(" --confirm {name}")).unwrap_or_default();
    let place = directory.display();
    format!(
        "`jm sandbox run --directory {place} -- jm plan resume{confirm}` goes on, `jm sandbox down --directory {place}` ends it"
    )
}

fn rehearse(
    args: &DrillArgs,
    (directory, up): (&Path, &Description),
    loss: &Loss,
    words: &[String],
    interrupted: &Interrupted,
    ui: &Ui,
) -> Outcome {
    sandbox::furnish(up, args.scale, interrupted, ui)?;
    let mut before = None;
    if loss.is_any() {
        heading(ui, "a backup");
        for step in loss.backups() {
            backup(args, (directory, up), step)?;
            interrupted.check()?;
        }
        before = Some(Before::look(up)?);
        let lost = loss.happen(directory, up)?;
        heading(ui, &format!("the loss: {lost}"));
    } else {
        heading(
            ui,
            "nothing is broken: the plan repairs nothing that can be lost here, so what it does is tried and not proven",
        );
    }
    heading(ui, &format!("the plan: {}", args.plan.display()));
    interrupted.check()?;
    let words = [words, &loss.inputs(directory, up, before.as_ref())].concat();
    let code = sandbox::inside(directory, up, &this_program()?, &words, Stdio::inherit())?;
    ui.answers();
    let ended_well = code == Exit::Done.code() || code == Exit::Degraded.code();
    if let Some(before) = before.filter(|_| ended_well) {
        heading(ui, "what came back");
        loss.compare(up, &before, ui)?;
    }
    Ok(Exit::Command(code))
}

/// Backs up by a step type, as its plan would.
fn backup(args: &DrillArgs, (directory, up): (&Path, &Description), step: &str) -> Result<(), CommandError> {
    let mut words = ["step", "run", step, "--yes"]
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    words.extend(targets_words(args)?);
    // What the drill gives out is the plan's summary alone.
    match sandbox::inside(directory, up, &this_program()?, &words, std::io::stderr().into())? {
        0 => Ok(()),
        code => Err(CommandError::new(
            Exit::Command(code),
            format!("the sandbox could not be backed up by `{step}`"),
        )),
    }
}

/// The words of `jm plan run` that this drill stands for.
fn plan_words(args: &DrillArgs, ui: &Ui) -> Result<Vec<String>, CommandError> {
    let mut words = vec![
        "plan".to_owned(),
        "run".to_owned(),
        project::absolute(&args.plan)?,
        "--drill".to_owned(),
        "--yes".to_owned(),
    ];
    let source = Source::read(&args.plan, args.bindings.targets.as_deref())?;
    words.extend(confirm(args, source.targets.as_ref())?);
    words.extend(targets_words(args)?);
    words.extend(
        args.bindings
            .inputs
            .iter()
            .flat_map(|pair| ["-i".to_owned(), pair.clone()]),
    );
    for (flag, file) in [
        ("--inputs", &args.bindings.inputs_file),
        ("--events", &args.options.events),
    ] {
        if let Some(file) = file {
            words.extend([
                flag.to_owned(),
                if file == Path::new("-") {
                    "-".to_owned()
                } else {
                    project::absolute(file)?
                },
            ]);
        }
    }
    for (flag, value) in [
        ("--until", &args.options.until),
        ("--accept-data-loss", &args.options.accept_data_loss),
    ] {
        words.extend(value.iter().flat_map(|value| [flag.to_owned(), value.clone()]));
    }
    let identities = args.options.accept_identity.iter();
    words.extend(identities.flat_map(|pair| ["--accept-identity".to_owned(), pair.clone()]));
    words.extend((0..ui.verbose).map(|_| "-v".to_owned()));
    words.push(format!("--color={}", if ui.color { "always" } else { "never" }));
    words.extend(ui.quiet.then(|| "--quiet".to_owned()));
    words.extend((args.format == Format::Json).then(|| "--format=json".to_owned()));
    Ok(words)
}

/// A drill asks nothing: it confirms by itself. What somebody confirms all the same has to be what is acted on.
fn confirm(args: &DrillArgs, targets: Option<&TargetsDocument>) -> Result<Vec<String>, CommandError> {
    let name = targets.map_or("", TargetsDocument::name);
    match &args.options.confirm {
        Some(confirmed) if confirmed != name => Err(launch::other_targets(confirmed, name)),
        _ => Ok(targets.map_or_else(Vec::new, |_| vec!["--confirm".to_owned(), name.to_owned()])),
    }
}

fn targets_words(args: &DrillArgs) -> Result<Vec<String>, CommandError> {
    let file = project::targets_for(&args.plan, args.bindings.targets.as_deref());
    file.map_or(Ok(Vec::new()), |file| {
        Ok(vec!["--targets".to_owned(), project::absolute(&file)?])
    })
}

fn heading(ui: &Ui, text: &str) {
    ui.say(format!("\n{}", ui.paint(Style::Bold, &format!("== {text}"))));
}

fn this_program() -> Result<std::path::PathBuf, CommandError> {
    std::env::current_exe().map_err(|error| CommandError::new(Exit::Bug, "jm cannot find itself").cause(&error))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments as Words, Command};

    fn words(more: &[&str]) -> Result<Vec<String>, CommandError> {
        let plan = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plans/complete-db-loss.yaml");
        let given = ["jm", "drill", plan, "--sandbox"];
        let given = given.iter().chain(more);
        match Words::try_parse_from(given).expect("words of jm").command {
            Command::Drill(args) => plan_words(
                &args,
                &Ui {
                    verbose: 2,
                    ..Ui::plain()
                },
            ),
            _ => unreachable!("it is a drill"),
        }
    }

    #[test]
    fn what_a_drill_is_told_the_run_is_told() {
        let words = words(&["--accept-identity", "database=7", "--accept-data-loss", "1d"]).expect("words");
        let words = words.join(" ");
        for expected in [
            "--confirm production",
            "--accept-identity database=7",
            "--accept-data-loss 1d",
            "-v -v",
        ] {
            assert!(words.contains(expected), "no `{expected}` in {words}");
        }
    }

    #[test]
    fn a_drill_confirms_what_it_acts_on_and_nothing_else() {
        assert!(words(&["--confirm", "production"]).is_ok());
        let error = words(&["--confirm", "staging"]).expect_err("refused");
        assert_eq!(error.exit, Exit::Refused);
        assert!(error.message.contains("staging") && error.message.contains("production"));
    }
}
