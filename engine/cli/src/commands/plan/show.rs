//! `jm plan show`: what a plan takes, does and promises.

use std::collections::BTreeMap;

use jm_plan::{Arguments, InputSpec, Mode, Plan, PlannedStep, duration};
use jm_run::Expectation;
use jm_step::{Effect, StepId, TargetName};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::args::{Format, ShowArgs};
use crate::commands::Outcome;
use crate::exit::{CommandError, Exit};
use crate::launch;
use crate::report::document::Document;
use crate::report::{dry_run, table, words};
use crate::session::Source;
use crate::ui::{Style, Ui};

pub(in crate::commands) fn show(args: &ShowArgs, ui: &Ui) -> Outcome {
    let registry = crate::providers::registry();
    let source = Source::read(&args.plan, args.targets.as_deref())?;
    let plan = source.compile(&registry, &Arguments::none(), Mode::Validate, ui)?;
    match args.format {
        Format::Json => Document::of(document(&plan, &source, expected(&plan, &source)?)).print(ui),
        Format::Human => human(&plan, &source, expected(&plan, &source)?, ui),
    }
    Ok(Exit::Done)
}

/// How long it takes where all of it runs, by earlier runs.
fn expected(plan: &Plan, source: &Source) -> Result<Option<Expectation>, CommandError> {
    let targets = source
        .targets
        .as_ref()
        .map(jm_plan::TargetsDocument::name)
        .unwrap_or_default();
    Ok(launch::history(plan, targets)?.expect(plan, |_| true))
}

fn human(plan: &Plan, source: &Source, expected: Option<Expectation>, ui: &Ui) {
    let head = format!("{}  ", ui.paint(Style::Bold, plan.name()));
    ui.out_hanging(&head, plan.title().unwrap_or_default());
    if let Some(description) = plan.description() {
        ui.out_hanging("  ", description.trim());
    }
    let objectives = plan.objectives();
    let promised = [
        ("RTO", objectives.rto),
        ("RPO", objectives.rpo),
        ("deadline", plan.deadline()),
    ];
    for (name, promise) in promised {
        if let Some(promise) = promise {
            fact(name, &duration::show(promise), ui);
        }
    }
    if let Some(expected) = expected {
        fact("takes", &dry_run::expectation(&expected), ui);
    }
    if !plan.contacts().is_empty() {
        fact("contacts", &plan.contacts().join(", "), ui);
    }
    if let Some(step) = plan.point_of_no_return() {
        fact("guard", &format!("`{step}` is the point of no return"), ui);
    }
    inputs(source.inputs(), ui);
    let rows: Vec<Vec<String>> = plan.all_steps().map(|step| row(plan, step)).collect();
    ui.out("");
    ui.out_all(&table::flowing(&["STEP", "USES", "EFFECT", "AFTER"], &rows, ui.page()));
}

fn fact(name: &str, text: &str, ui: &Ui) {
    ui.out_hanging(&format!("  {name:<9} "), text);
}

fn inputs(inputs: &[InputSpec], ui: &Ui) {
    if inputs.is_empty() {
        return;
    }
    let rows: Vec<Vec<String>> = inputs
        .iter()
        .map(|input| {
            let default = input
                .default
                .as_ref()
                .map_or_else(|| "required".to_owned(), |default| default.value.to_string());
            vec![
                input.name.value.clone(),
                input.kind.name().to_owned(),
                default,
                input.description.clone().unwrap_or_default(),
            ]
        })
        .collect();
    ui.out("");
    ui.out_all(&table::flowing(
        &["INPUT", "TYPE", "DEFAULT", "MEANING"],
        &rows,
        ui.page(),
    ));
}

fn row(plan: &Plan, step: &PlannedStep) -> Vec<String> {
    let after = plan
        .dependencies(step.id.as_str())
        .iter()
        .map(|dependency| dependency.step.as_str())
        .collect::<Vec<_>>();
    let name = if step.in_finally {
        format!("{} (finally)", step.id)
    } else {
        step.id.to_string()
    };
    vec![
        name,
        step.uses.clone(),
        words::effect(step.effect).to_owned(),
        after.join(", "),
    ]
}

/// What a plan takes, does and promises.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::commands) struct PlanShow {
    name: String,
    title: Option<String>,
    /// What it is for.
    description: Option<String>,
    /// The file, as it was named.
    file: String,
    /// SHA-256 of its text, lower-case hex.
    digest: String,
    /// The time in which it promises to be done.
    rto_seconds: Option<u64>,
    /// The data that it promises to lose at most, in time.
    rpo_seconds: Option<u64>,
    /// How long it takes where all of it runs, by earlier runs.
    expected: Option<Expectation>,
    /// Whom to call.
    contacts: Vec<String>,
    /// The targets that it repairs, and so may find down.
    repairs: Vec<TargetName>,
    /// The targets that its steps use.
    targets: Vec<TargetName>,
    /// The first step that cannot be taken back.
    point_of_no_return: Option<StepId>,
    inputs: Vec<ShownInput>,
    /// In the order of the file, those of `finally` last.
    steps: Vec<ShownStep>,
}

/// What a plan wants to be told.
#[derive(Debug, Serialize, JsonSchema)]
struct ShownInput {
    name: String,
    /// Such as `string` or `duration`.
    #[serde(rename = "type")]
    kind: String,
    /// None where it has to be given.
    default: Option<Value>,
    description: Option<String>,
}

/// A step of a plan.
#[derive(Debug, Serialize, JsonSchema)]
struct ShownStep {
    id: StepId,
    /// Its step type.
    uses: String,
    /// Whether it is one of `finally`.
    finally: bool,
    /// What it can do to the world.
    effect: Effect,
    /// The target for each role of its step type.
    targets: BTreeMap<String, TargetName>,
    /// Its condition, as written.
    #[serde(rename = "if")]
    when: Option<String>,
    /// The steps that it comes after.
    after: Vec<StepId>,
    /// The steps that it undoes, so that a resume does them anew.
    undoes: Vec<StepId>,
}

fn document(plan: &Plan, source: &Source, expected: Option<Expectation>) -> PlanShow {
    let seconds = |duration: Option<std::time::Duration>| duration.map(|duration| duration.as_secs());
    PlanShow {
        name: plan.name().to_owned(),
        title: plan.title().map(str::to_owned),
        description: plan.description().map(str::to_owned),
        file: plan.file().to_owned(),
        digest: plan.digest().to_owned(),
        rto_seconds: seconds(plan.objectives().rto),
        rpo_seconds: seconds(plan.objectives().rpo),
        expected,
        contacts: plan.contacts().to_vec(),
        repairs: plan.repairs().iter().cloned().collect(),
        targets: plan.targets_used().into_iter().collect(),
        point_of_no_return: plan.point_of_no_return().cloned(),
        inputs: source.inputs().iter().map(ShownInput::of).collect(),
        steps: plan.all_steps().map(|step| ShownStep::of(plan, step)).collect(),
    }
}

impl ShownInput {
    fn of(input: &InputSpec) -> Self {
        Self {
            name: input.name.value.clone(),
            kind: input.kind.name().to_owned(),
            default: input.default.as_ref().map(|default| default.value.clone()),
            description: input.description.clone(),
        }
    }
}

impl ShownStep {
    fn of(plan: &Plan, step: &PlannedStep) -> Self {
        let after = plan.dependencies(step.id.as_str()).iter();
        Self {
            id: step.id.clone(),
            uses: step.uses.clone(),
            finally: step.in_finally,
            effect: step.effect,
            targets: step.bindings.clone(),
            when: step.when.as_ref().map(|when| when.text().to_owned()),
            after: after.map(|dependency| dependency.step.clone()).collect(),
            undoes: step.undoes.clone(),
        }
    }
}
