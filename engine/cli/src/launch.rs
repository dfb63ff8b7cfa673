//! From a checked plan to a run that is under way: targets rendered, secrets read, lock taken, signals heard, told about.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use jm_plan::{Arguments, Around, Mode, Plan, RenderedTargets, TargetsDocument};
use jm_run::journal::{JournalError, Opened};
use jm_run::{History, Options, Record, RecordKind, Reporter, Run, RunDir, RunFiles, StateDir, Stop};
use jm_step::process::Supervisor;
use jm_step::{Environment, Registry, RunInfo, Secret, Secrets, StepError, StepId, TargetName};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, watch};

use crate::args::RunOptions;
use crate::exit::{CommandError, Exit};
use crate::person::{self, AtTerminal};
use crate::report::apart::Apart;
use crate::report::json::{All, Events};
use crate::report::lines::Lines;
use crate::report::screen::Screen;
use crate::report::terminal::{Outline, Terminal};
use crate::session::{self, Source};
use crate::ui::Ui;
use crate::{SUPERVISE, environment};

/// The state directory, opened.
pub(crate) fn state() -> Result<StateDir, CommandError> {
    let path = environment::state_dir().ok_or_else(|| {
        CommandError::state("there is no place to keep runs").hint("set JM_STATE to a directory, or HOME")
    })?;
    StateDir::open(path).map_err(|error| CommandError::state("the state directory cannot be used").cause(&error))
}

/// A run with everything that it needs from this machine: systems, secrets, a supervisor for its children.
pub(crate) fn assemble(
    plan: Plan,
    info: RunInfo,
    targets: Option<&TargetsDocument>,
    registry: &Registry,
    options: &RunOptions,
    ui: &Ui,
) -> Result<Run, CommandError> {
    let environment = environment::snapshot();
    let secrets = Secrets::new();
    let mut run = Run::new(Arc::new(plan), info);
    if let Some(document) = targets {
        let (used, repaired) = (run.plan.targets_used(), run.plan.repairs());
        let rendered = render(document, registry, (&used, repaired), &environment, ui)?;
        rendered
            .secrets
            .iter()
            .for_each(|secret| secrets.register(secret.expose()));
        run.targets = rendered.targets;
        run.not_configured = rendered.not_configured;
        run.max_parallel = rendered.max_parallel;
        run.targets_digest = rendered.digest;
        document.name().clone_into(&mut run.targets_name);
        run.protected = document.is_protected();
    }
    run.secret_inputs = secret_inputs(&run.plan, &environment)?;
    run.secret_inputs
        .values()
        .for_each(|secret| secrets.register(secret.expose()));
    run.options = parse_options(options, &run)?;
    run.environment = environment;
    run.secrets = secrets;
    run.by = environment::who();
    env!("CARGO_PKG_VERSION").clone_into(&mut run.version);
    Ok(run)
}

/// The targets that are used, with what the environment says put in. Those that are repaired may be described by files
/// that are not there yet.
pub(crate) fn render(
    document: &TargetsDocument,
    registry: &Registry,
    (used, repaired): (&BTreeSet<TargetName>, &BTreeSet<TargetName>),
    environment: &Environment,
    ui: &Ui,
) -> Result<RenderedTargets, CommandError> {
    let around = Around {
        environment,
        variable: &|name| environment::lookup(environment, name),
        readable: &environment::readable,
        repaired,
    };
    let rendered = document.render(registry, used, &around);
    rendered.map_err(|errors| session::say(errors, "targets", ui))
}

/// A run of which no system is to be read: targets are not rendered, so nothing of the environment is needed.
pub(crate) fn assemble_offline(
    plan: Plan,
    info: RunInfo,
    targets: Option<&TargetsDocument>,
    options: &RunOptions,
) -> Result<Run, CommandError> {
    let mut run = Run::new(Arc::new(plan), info);
    run.targets_name = targets.map(|targets| targets.name().to_owned()).unwrap_or_default();
    run.protected = targets.is_some_and(TargetsDocument::is_protected);
    run.options = parse_options(options, &run)?;
    run.by = environment::who();
    Ok(run)
}

/// Lets a dry run know how long the plan's steps took in earlier runs. Looking makes nothing: no state, no history.
pub(crate) fn remember(run: &mut Run) -> Result<(), CommandError> {
    run.options.history = history(&run.plan, &run.targets_name)?;
    Ok(())
}

/// How long the steps of a plan took in earlier runs of this machine.
pub(crate) fn history(plan: &Plan, targets: &str) -> Result<History, CommandError> {
    if !environment::state_dir().is_some_and(|path| path.join("runs").is_dir()) {
        return Ok(History::default());
    }
    let unreadable = |error: JournalError| CommandError::state("earlier runs cannot be read").cause(&error);
    History::of(&state()?, plan.name(), targets).map_err(unreadable)
}

/// The plan that a run was opened with, from its directory; the targets file does not matter for looking at it.
pub(crate) fn plan_of(directory: &RunDir, records: &[Record], ui: &Ui) -> Result<Plan, CommandError> {
    let registry = crate::providers::registry();
    let text = directory
        .plan()
        .map_err(|error| CommandError::state("the run's plan cannot be read").cause(&error))?;
    let source = Source::of("the run's plan", &text, None)?;
    let inputs = match records.first().map(|record| &record.kind) {
        Some(RecordKind::RunOpened(opened)) => all_inputs(opened, directory)?,
        _ => Map::new(),
    };
    source.compile(
        &registry,
        &Arguments::from_journal(&source.document, &inputs),
        Mode::Run,
        ui,
    )
}

/// All inputs of a run, secret ones as the references that they were given as.
pub(crate) fn all_inputs(opened: &Opened, files: &dyn RunFiles) -> Result<Map<String, Value>, CommandError> {
    let lost = |error: StepError| CommandError::state("the inputs of the run cannot be read").cause(&error);
    let inputs = opened.all_inputs(files).map_err(lost)?;
    let mut inputs = inputs.as_object().cloned().unwrap_or_default();
    inputs.extend(
        opened
            .secrets
            .iter()
            .map(|(name, secret)| (name.clone(), Value::from(secret.from.as_str()))),
    );
    Ok(inputs)
}

/// The supervisor that ends the run's children when this jm is gone.
pub(crate) fn supervisor() -> Result<Supervisor, CommandError> {
    let program =
        std::env::current_exe().map_err(|error| CommandError::new(Exit::Bug, "jm cannot find itself").cause(&error))?;
    Ok(Supervisor::start(&program, SUPERVISE)?)
}

fn secret_inputs(plan: &Plan, environment: &Environment) -> Result<BTreeMap<String, Secret>, CommandError> {
    let read = |(name, reference): (&String, &String)| match environment::resolve(environment, reference) {
        Ok(value) => Ok((name.clone(), Secret::new(value))),
        Err(why) => Err(CommandError::new(
            Exit::Invalid,
            format!("secret input `{name}` cannot be read: {why}"),
        )),
    };
    plan.secret_inputs().iter().map(read).collect()
}

fn parse_options(options: &RunOptions, run: &Run) -> Result<Options, CommandError> {
    if let Some(confirmed) = options.confirm.as_ref().filter(|name| **name != run.targets_name) {
        return Err(other_targets(confirmed, &run.targets_name));
    }
    let until = options
        .until
        .as_ref()
        .map(|step| main_step(step, &run.plan))
        .transpose()?;
    let accept_data_loss = options.accept_data_loss.as_ref().map(|text| {
        jm_plan::duration::parse(text)
            .ok_or_else(|| CommandError::usage(format!("`{text}` is not a duration")).hint("write it as `36h` or `2d`"))
    });
    let accept_identity = options.accept_identity.iter().map(|pair| {
        let parsed = pair
            .split_once('=')
            .and_then(|(name, id)| Some((name.parse().ok()?, id.to_owned())));
        parsed.ok_or_else(|| CommandError::usage(format!("`{pair}` does not say TARGET=ID")))
    });
    Ok(Options {
        until,
        confirmed: options.confirm.is_some(),
        accept_data_loss: accept_data_loss.transpose()?,
        accept_identity: accept_identity.collect::<Result<_, _>>()?,
        ..Options::default()
    })
}

/// Somebody confirms other targets than those that a run would act on.
pub(crate) fn other_targets(confirmed: &str, acts_on: &str) -> CommandError {
    let message = format!("`--confirm {confirmed}` names other targets than `{acts_on}`, which the run would act on");
    CommandError::new(Exit::Refused, message)
}

/// A step before which a run can stop.
fn main_step(name: &str, plan: &Plan) -> Result<StepId, CommandError> {
    let step = known_step(name, plan)?;
    if plan.finally().iter().any(|last| last.id == step) {
        return Err(CommandError::usage(format!(
            "`{step}` stands under `finally`, which a run that stops does not come to"
        ))
        .hint("name one of the main steps"));
    }
    Ok(step)
}

/// A step of the plan by its name.
pub(crate) fn known_step(name: &str, plan: &Plan) -> Result<StepId, CommandError> {
    plan.step(name).map(|step| step.id.clone()).ok_or_else(|| {
        let steps: Vec<&str> = plan.all_steps().map(|step| step.id.as_str()).collect();
        CommandError::usage(format!("the plan has no step `{name}`"))
            .hint(format!("its steps are: {}", steps.join(", ")))
    })
}

/// Who is told: the terminal or plain lines, and a file of events where one is wanted; apart from the run, which waits
/// for none of them.
pub(crate) fn reporter(
    run: &Run,
    prior: &[Record],
    events: Option<&PathBuf>,
    screen: &Screen,
    ui: &Ui,
) -> Result<Apart, CommandError> {
    let outline = Outline::of(&run.plan);
    let shown: Box<dyn Reporter> = if ui.moving {
        Box::new(Terminal::new(
            ui,
            outline,
            screen,
            jm_run::taken(&run.info, jm_step::clock::now()),
        ))
    } else {
        Box::new(Lines::new(ui, outline.column()))
    };
    let mut all = vec![shown];
    if let Some(path) = events {
        all.push(Box::new(Events::to(path)?));
    }
    Apart::new(All(all), prior)
}

/// Fills in who can be asked at this terminal, where somebody sits there.
pub(crate) fn invite(run: &mut Run, screen: &Screen, ui: &Ui) {
    if person::is_there() {
        run.person = Some(Arc::new(AtTerminal::new(screen.clone(), ui, run.by.clone())));
    }
}

/// Turns signals into stops: the first lets steps finish, every further one ends them now.
pub(crate) fn heed(mut signals: mpsc::UnboundedReceiver<&'static str>) -> watch::Receiver<Stop> {
    let (sender, receiver) = watch::channel(Stop::Go);
    tokio::spawn(async move {
        let mut first = true;
        while let Some(name) = signals.recv().await {
            let stop = if first {
                Stop::Finish(name.to_owned())
            } else {
                Stop::Now(name.to_owned())
            };
            first = false;
            if sender.send(stop).is_err() {
                return;
            }
        }
    });
    receiver
}
