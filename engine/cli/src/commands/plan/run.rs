//! `jm plan run`: a plan from its file to its end, or, with `--dry-run`, what it would do. A dry run that was saved is
//! run as it was shown.

use std::path::Path;
use std::sync::Arc;

use jm_plan::{Arguments, Mode, Plan};
use jm_run::journal::FileJournal;
use jm_run::{DryVerdict, Run, StateDir};
use jm_step::{Registry, RunId, RunInfo};

use super::saved::Saved;
use super::{agree, resume};
use crate::args::{DryRunFormat, PlanRunArgs};
use crate::commands::carry::Telling;
use crate::commands::{Outcome, block_on, carry};
use crate::exit::CommandError;
use crate::report::dry_run as shown;
use crate::session::Source;
use crate::ui::{Style, Ui};
use crate::{environment, launch, project};

pub(in crate::commands) fn run(args: &PlanRunArgs, ui: &Ui) -> Outcome {
    if !args.dry_run && args.format == DryRunFormat::Markdown {
        return Err(CommandError::usage("`--format markdown` is for dry runs").hint("add `--dry-run`"));
    }
    let registry = crate::providers::registry();
    let telling = Telling::of(&args.options, args.format)?;
    if let Some(saved) = Saved::find(&args.plan)? {
        let run = saved.assemble(args, &registry, ui)?;
        return if args.dry_run {
            preview(run, args, &telling, ui)
        } else {
            start(run, &telling, ui)
        };
    }
    let source = Source::read(&args.plan, args.bindings.targets.as_deref())?;
    let arguments = source.arguments(&args.bindings, ui)?;
    let run = assemble(&source, &arguments, args, &registry, ui)?;
    if args.dry_run {
        preview(run, args, &telling, ui)
    } else {
        start(run, &telling, ui)
    }
}

fn assemble(
    source: &Source,
    arguments: &Arguments,
    args: &PlanRunArgs,
    registry: &Registry,
    ui: &Ui,
) -> Result<Run, CommandError> {
    let plan = source.compile(registry, arguments, Mode::Run, ui)?;
    let info = info(&plan, args.drill);
    let targets = source.targets.as_ref();
    let mut run = if args.offline {
        launch::assemble_offline(plan, info, targets, &args.options)?
    } else {
        launch::assemble(plan, info, targets, registry, &args.options, ui)?
    };
    run.file = Some(project::absolute(&args.plan)?);
    run.directory = Some(project::absolute(Path::new("."))?);
    run.options.offline = args.offline;
    Ok(run)
}

fn preview(mut run: Run, args: &PlanRunArgs, telling: &Telling<'_>, ui: &Ui) -> Outcome {
    launch::remember(&mut run)?;
    let result = carry::try_dry(&run, &[])?;
    shown::print(&result, &run.plan, telling.format, telling.plan_file.as_ref(), ui);
    if let Some(file) = &args.out {
        Saved::new(&run, &result, args)?.save(file)?;
        let then = match result.verdict {
            DryVerdict::Ready => format!("`jm plan run {}` runs exactly this", file.display()),
            DryVerdict::WouldFail | DryVerdict::CannotBegin | DryVerdict::Refused => {
                "it is no plan to run, for it would not go through".to_owned()
            }
        };
        ui.say(format!("saved in {}: {then}", file.display()));
    }
    Ok(shown::exit(&result))
}

/// Runs a plan that is not in any journal yet.
pub(in crate::commands) fn start(mut run: Run, telling: &Telling<'_>, ui: &Ui) -> Outcome {
    announce(&run, ui);
    let state = launch::state()?;
    tell_of_unfinished(&run, &state, ui);
    agree::to_begin(&run, telling.options)?;
    lock(&mut run, &state.locks())?;
    run.supervisor = launch::supervisor()?;
    let directory = state
        .create_run(&run.info.id, run.plan.text())
        .map_err(super::super::run::unusable)?;
    let mut journal = FileJournal::create(directory.path()).map_err(super::super::run::unusable)?;
    run.files = Arc::new(directory.clone());
    block_on(carry::run(run, &directory, &[], &mut journal, telling, ui))?
}

/// A run that broke off may have left things half done, which a resume knows of and a new run does not.
fn tell_of_unfinished(run: &Run, state: &StateDir, ui: &Ui) {
    if let Some(older) = resume::unfinished(state, &run.opened()).filter(|_| !run.info.drill) {
        let id = older.id();
        ui.warn(format!(
            "run {} of the same plan and targets is not finished: `jm plan resume {}` goes on with it, `jm run show {}` tells \
             where it stands; this begins another one",
            id,
            id.short(),
            id.short()
        ));
    }
}

/// Takes the lock on the systems that the run writes to.
pub(in crate::commands) fn lock(run: &mut Run, locks: &Path) -> Result<(), CommandError> {
    run.lock_targets(locks, &environment::host())
        .map_err(super::super::lock::refused)
}

pub(in crate::commands) fn info(plan: &Plan, drill: bool) -> RunInfo {
    RunInfo {
        id: RunId::generate(),
        plan: plan.name().to_owned(),
        started_at: jm_step::clock::now(),
        drill,
    }
}

/// Says what is about to happen, to what, under which promises.
fn announce(run: &Run, ui: &Ui) {
    let plan = &run.plan;
    let drill = if run.info.drill { ", a drill" } else { "" };
    let head = format!("{}  ", ui.paint(Style::Bold, plan.name()));
    ui.say_hanging(&head, &format!("{}{drill}", plan.title().unwrap_or_default()));
    let mut facts = vec![("run", run.info.id.to_string())];
    if !run.targets_name.is_empty() {
        let guarded = if run.protected { ", protected" } else { "" };
        facts.push(("targets", format!("{}{guarded}", run.targets_name)));
    }
    let systems = run.systems();
    let column = systems
        .iter()
        .map(|system| system.target.as_str().len())
        .max()
        .unwrap_or_default();
    facts.extend(
        systems
            .iter()
            .map(|system| ("", format!("{:<column$}  {}", system.target.as_str(), system.what))),
    );
    facts.push(("steps", agree::deeds(plan.all_steps())));
    let promises = [("RTO", plan.objectives().rto), ("RPO", plan.objectives().rpo)];
    let promises: Vec<String> = promises
        .iter()
        .filter_map(|(name, promise)| Some(format!("{name} {}", jm_plan::duration::show((*promise)?))))
        .collect();
    if !promises.is_empty() {
        facts.push(("promises", promises.join(", ")));
    }
    if let Some(step) = plan.point_of_no_return() {
        facts.push(("no return", format!("from step `{step}` on")));
    }
    for (name, fact) in facts {
        ui.say_hanging(&format!("  {name:<9} "), &fact);
    }
    ui.say("");
}
