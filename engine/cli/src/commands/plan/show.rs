//! `jm plan show`: what a plan takes, does and promises.

use jm_plan::{Arguments, InputSpec, Mode, Plan, PlannedStep, Spanned, duration};
use jm_run::Expectation;
use serde_json::{Value, json};

use crate::args::{Format, ShowArgs};
use crate::commands::Outcome;
use crate::exit::{CommandError, Exit};
use crate::launch;
use crate::report::{dry_run, table, words};
use crate::session::Source;
use crate::ui::{Style, Ui};

pub(in crate::commands) fn show(args: &ShowArgs, ui: &Ui) -> Outcome {
    let registry = crate::providers::registry();
    let source = Source::read(&args.plan, args.targets.as_deref())?;
    let plan = source.compile(&registry, &Arguments::none(), Mode::Validate, ui)?;
    match args.format {
        Format::Json => ui.out(format!("{:#}", document(&plan, &source, expected(&plan, &source)?))),
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
    ui.out(format!(
        "{}  {}",
        ui.paint(Style::Bold, plan.name()),
        plan.title().unwrap_or_default()
    ));
    if let Some(description) = plan.description() {
        for line in table::wrap(description.trim(), ui.page().saturating_sub(2)) {
            ui.out(format!("  {line}"));
        }
    }
    let objectives = plan.objectives();
    let promised = [
        ("RTO", objectives.rto),
        ("RPO", objectives.rpo),
        ("deadline", plan.deadline()),
    ];
    for (name, promise) in promised {
        if let Some(promise) = promise {
            ui.out(format!("  {name:<9} {}", duration::show(promise)));
        }
    }
    if let Some(expected) = expected {
        ui.out(format!("  {:<9} {}", "takes", dry_run::expectation(&expected)));
    }
    if !plan.contacts().is_empty() {
        ui.out(format!("  {:<9} {}", "contacts", plan.contacts().join(", ")));
    }
    if let Some(step) = plan.point_of_no_return() {
        ui.out(format!("  {:<9} `{step}` is the point of no return", "guard"));
    }
    inputs(source.inputs(), ui);
    let rows: Vec<Vec<String>> = plan.all_steps().map(|step| row(plan, step)).collect();
    ui.out("");
    ui.out_all(&table::render(&["STEP", "USES", "EFFECT", "AFTER"], &rows, ui.page()));
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

fn document(plan: &Plan, source: &Source, expected: Option<Expectation>) -> Value {
    let seconds = |duration: Option<std::time::Duration>| duration.map(|duration| duration.as_secs());
    json!({
        "version": 1,
        "name": plan.name(),
        "title": plan.title(),
        "description": plan.description(),
        "file": plan.file(),
        "digest": plan.digest(),
        "rto_seconds": seconds(plan.objectives().rto),
        "rpo_seconds": seconds(plan.objectives().rpo),
        "expected": expected,
        "contacts": plan.contacts(),
        "repairs": plan.repairs(),
        "targets": plan.targets_used(),
        "point_of_no_return": plan.point_of_no_return(),
        "inputs": source.inputs().iter().map(|input| json!({
            "name": input.name.value,
            "type": input.kind.name(),
            "default": input.default.as_ref().map(|default: &Spanned<Value>| &default.value),
            "description": input.description,
        })).collect::<Vec<_>>(),
        "steps": plan.all_steps().map(|step| json!({
            "id": step.id,
            "uses": step.uses,
            "finally": step.in_finally,
            "effect": step.effect,
            "targets": step.bindings,
            "if": step.when.as_ref().map(jm_plan::Expression::text),
            "after": plan.dependencies(step.id.as_str()).iter().map(|dependency| &dependency.step).collect::<Vec<_>>(),
            "undoes": step.undoes,
        })).collect::<Vec<_>>(),
    })
}
