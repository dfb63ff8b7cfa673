//! `jm plan run`: a plan from its file to its end, or, with `--dry-run`, what it would do.

use std::sync::Arc;

use jm_plan::{Arguments, Mode, Plan};
use jm_run::journal::FileJournal;
use jm_run::lock::Holder;
use jm_run::{Run, TargetLock};
use jm_step::{Effect, RunId, RunInfo};

use crate::args::{DryRunFormat, PlanRunArgs, RunOptions};
use crate::commands::{Outcome, block_on, carry};
use crate::exit::{CommandError, Exit};
use crate::session::Source;
use crate::ui::{Style, Ui};
use crate::{environment, launch, person};

pub(in crate::commands) fn run(args: &PlanRunArgs, ui: &Ui) -> Outcome {
    let registry = crate::providers::registry();
    let source = Source::read(&args.plan, args.bindings.targets.as_deref())?;
    let arguments = source.arguments(&args.bindings, ui)?;
    begin(&source, &registry, &arguments, args, ui)
}

fn begin(source: &Source, registry: &jm_step::Registry, arguments: &Arguments, args: &PlanRunArgs, ui: &Ui) -> Outcome {
    let plan = source.compile(registry, arguments, Mode::Run, ui)?;
    if args.dry_run {
        return preview(plan, source, registry, args, ui);
    }
    if args.format == DryRunFormat::Markdown {
        return Err(CommandError::usage("`--format markdown` is for dry runs").hint("add `--dry-run`"));
    }
    start(
        plan,
        source,
        registry,
        &args.options,
        args.drill,
        args.format == DryRunFormat::Json,
        ui,
    )
}

fn preview(plan: Plan, source: &Source, registry: &jm_step::Registry, args: &PlanRunArgs, ui: &Ui) -> Outcome {
    let info = info(&plan, args.drill);
    let mut run = if args.offline {
        launch::assemble_offline(plan, info, source.targets.as_ref(), &args.options)?
    } else {
        launch::assemble(plan, info, source.targets.as_ref(), registry, &args.options, ui)?
    };
    run.options.offline = args.offline;
    carry::dry_run(&mut run, &[], args.format, ui)
}

/// Runs a plan that is not in any journal yet.
pub(in crate::commands) fn start(
    plan: Plan,
    source: &Source,
    registry: &jm_step::Registry,
    options: &RunOptions,
    drill: bool,
    json: bool,
    ui: &Ui,
) -> Outcome {
    let info = info(&plan, drill);
    let mut run = launch::assemble(plan, info, source.targets.as_ref(), registry, options, ui)?;
    announce(&run, ui);
    agree(&run, options)?;
    let state = launch::state()?;
    run.lock = lock(&run, &state.locks())?;
    run.supervisor = launch::supervisor()?;
    let directory = state
        .create_run(&run.info.id, run.plan.text())
        .map_err(super::super::run::unusable)?;
    let mut journal = FileJournal::create(directory.path()).map_err(super::super::run::unusable)?;
    run.files = Arc::new(directory.clone());
    block_on(carry::run(run, &directory, &[], &mut journal, options, json, ui))?
}

/// The lock on the targets that the run acts on. A run that acts on none needs none.
pub(in crate::commands) fn lock(run: &Run, locks: &std::path::Path) -> Result<Option<Arc<TargetLock>>, CommandError> {
    if run.targets.is_empty() {
        return Ok(None);
    }
    let holder = Holder {
        targets: run.targets_name.clone(),
        owner: run.by.clone(),
        host: environment::host(),
        run: run.info.id.clone(),
    };
    let lock = TargetLock::acquire(locks, &holder).map_err(super::super::lock::refused)?;
    Ok(Some(Arc::new(lock)))
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
    ui.say(format!(
        "{}  {}{drill}",
        ui.paint(Style::Bold, plan.name()),
        plan.title().unwrap_or_default()
    ));
    let mut facts = vec![("run", run.info.id.to_string())];
    if !run.targets_name.is_empty() {
        let guarded = if run.protected { ", protected" } else { "" };
        facts.push(("targets", format!("{}{guarded}", run.targets_name)));
    }
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
        ui.say(format!("  {name:<9} {fact}"));
    }
    ui.say("");
}

/// Asks whether to begin. Without a terminal, a plan that does what cannot be taken back needs `--yes`.
fn agree(run: &Run, options: &RunOptions) -> Result<(), CommandError> {
    let grave = run.plan.all_steps().any(|step| step.effect == Effect::Irreversible);
    let changes = run.plan.all_steps().any(|step| step.effect != Effect::ReadOnly);
    if options.yes || !changes {
        return Ok(());
    }
    if person::is_there() {
        return match person::yes_or_no("begin?") {
            Some(true) => Ok(()),
            _ => Err(CommandError::new(Exit::Refused, "not begun").hint("nothing was changed")),
        };
    }
    if grave {
        return Err(CommandError::new(
            Exit::Refused,
            "the plan does what cannot be taken back, and nobody is there to be asked",
        )
        .hint("add `--yes`; `--dry-run` shows what it would do"));
    }
    Ok(())
}
