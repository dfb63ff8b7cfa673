//! `jm drill PLAN --sandbox`: everything that the plan needs is started here, filled, backed up, broken, and repaired by
//! the plan itself, run by the same command as in an emergency; then what came back is compared with what was lost.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use jm_plan::{Arguments, Mode, TargetsDocument};
use jm_sandbox::{Description, journeyman};
use jm_step::TargetName;

use crate::args::{DrillArgs, Format};
use crate::commands::{Outcome, block_on, sandbox};
use crate::exit::{CommandError, Exit};
use crate::session::Source;
use crate::signals::Interrupted;
use crate::ui::{Style, Ui};
use crate::{launch, project};

/// Rows and digest of each table.
type Fingerprint = BTreeMap<String, (i64, String)>;

pub(super) fn drill(args: &DrillArgs, ui: &Ui) -> Outcome {
    if !args.sandbox {
        return Err(CommandError::usage("a drill needs a place that is not production")
            .hint("`jm drill PLAN --sandbox`; or bind the plan to other systems: `jm plan run PLAN --drill --targets FILE`"));
    }
    let breaks = breaks(args, ui)?;
    let words = plan_words(args, ui)?;
    let directory = sandbox::directory(None).with_extension(format!("drill-{}", std::process::id()));
    let interrupted = Interrupted::listen()?;
    let up = sandbox::start(&directory, args.kubernetes, &interrupted, ui)?;
    let exit = rehearse(args, &up, breaks, &words, &interrupted, ui);
    // What can be resumed, or looked into, needs the systems and the journal that are in there.
    let goes_on = [Exit::Failed, Exit::Stopped, Exit::Waiting].map(Exit::code);
    let keep = args.keep || matches!(exit, Ok(Exit::Command(code)) if goes_on.contains(&code));
    if keep {
        let place = directory.display();
        ui.say(format!("the sandbox stays up: `jm sandbox run --directory {place} -- jm plan resume`, `jm sandbox down --directory {place}`"));
    } else {
        sandbox::end(&directory)?;
    }
    exit
}

fn rehearse(
    args: &DrillArgs,
    up: &Description,
    breaks: bool,
    words: &[String],
    interrupted: &Interrupted,
    ui: &Ui,
) -> Outcome {
    sandbox::furnish(up, args.scale, interrupted, ui)?;
    let mut before = None;
    if breaks {
        heading(ui, "a backup");
        backup(args, up)?;
        interrupted.check()?;
        before = Some(block_on(journeyman::fingerprint(up))?.map_err(sandbox::failed)?);
        block_on(journeyman::lose_database(up))?.map_err(sandbox::failed)?;
        heading(ui, &format!("the loss: database `{}` is dropped", journeyman::DATABASE));
    } else {
        heading(
            ui,
            "nothing is broken: the plan repairs no database, so what it does is tried and not proven",
        );
    }
    heading(ui, &format!("the plan: {}", args.plan.display()));
    interrupted.check()?;
    let code = sandbox::inside(up, &this_program()?, words, Stdio::inherit())?;
    let ended_well = code == Exit::Done.code() || code == Exit::Degraded.code();
    if let Some(before) = before.filter(|_| ended_well) {
        heading(ui, "what came back");
        verify(up, &before, ui)?;
    }
    Ok(Exit::Command(code))
}

/// Whether the plan repairs the database, which then has to be broken.
fn breaks(args: &DrillArgs, ui: &Ui) -> Result<bool, CommandError> {
    let registry = crate::providers::registry();
    let source = Source::read(&args.plan, args.bindings.targets.as_deref())?;
    let plan = source.compile(&registry, &Arguments::none(), Mode::Validate, ui)?;
    let providers: BTreeMap<&TargetName, &str> = source.targets.iter().flat_map(TargetsDocument::targets).collect();
    Ok(plan
        .repairs()
        .iter()
        .any(|target| providers.get(target) == Some(&"postgres")))
}

fn backup(args: &DrillArgs, up: &Description) -> Result<(), CommandError> {
    let mut words = vec!["step", "run", "backup.create", "--yes"]
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    words.extend(targets_words(args)?);
    // What the drill gives out is the plan's summary alone.
    match sandbox::inside(up, &this_program()?, &words, std::io::stderr().into())? {
        0 => Ok(()),
        code => Err(CommandError::new(
            Exit::Command(code),
            "the sandbox's database could not be backed up",
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

fn verify(up: &Description, before: &Fingerprint, ui: &Ui) -> Result<(), CommandError> {
    let after = block_on(journeyman::fingerprint(up))?.map_err(sandbox::failed)?;
    let ready = block_on(journeyman::ready_replicas(up))?.map_err(sandbox::failed)?;
    let mut wrong = Vec::new();
    let column = before.keys().map(String::len).max().unwrap_or_default();
    for (aspect, (count, digest)) in before {
        let found = after.get(aspect);
        if found.is_none_or(|(_, now)| now != digest) {
            wrong.push(format!("{aspect}: not what it was"));
        }
        ui.say(format!(
            "  {aspect:<column$} {count:>9}  {}",
            if found.is_some_and(|(_, now)| now == digest) {
                "as before"
            } else {
                "DIFFERENT"
            }
        ));
    }
    if ready != journeyman::REPLICAS {
        wrong.push(format!(
            "{ready} of {} pods of the application are ready",
            journeyman::REPLICAS
        ));
    }
    ui.say(format!(
        "  {:<column$} {ready:>9} of {} pods ready",
        "application",
        journeyman::REPLICAS
    ));
    if wrong.is_empty() {
        return Ok(());
    }
    Err(CommandError::new(
        Exit::Failed,
        format!("the plan ended well, and what it left is wrong: {}", wrong.join("; ")),
    )
    .hint("repeat with `--keep` and look into the sandbox"))
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
