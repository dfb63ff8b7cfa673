//! `jm schema`: JSON Schemas for editors, checks and programs, generated from the Rust types.

use std::collections::BTreeMap;
use std::path::Path;

use jm_step::AnyStepType;
use schemars::JsonSchema;
use serde_json::{Value, json};

use crate::args::SchemaArgs;
use crate::commands::plan::saved::Saved;
use crate::commands::{Outcome, backup, doctor, explain, lock, plan, run, sandbox, step};
use crate::exit::{CommandError, Exit};
use crate::project;
use crate::report::document::{Document, PrintedDryRun, PrintedSummary};
use crate::report::failure::Failure;
use crate::report::findings::Findings;
use crate::report::post_mortem::PostMortem;
use crate::ui::Ui;

pub(super) fn schema(args: &SchemaArgs, ui: &Ui) -> Outcome {
    let schemas = all();
    if let Some(directory) = &args.write {
        return write(&schemas, directory);
    }
    match &args.name {
        None => schemas.keys().for_each(|name| ui.out(name)),
        Some(name) => {
            let found = schemas.get(name).ok_or_else(|| {
                CommandError::usage(format!("there is no schema `{name}`")).hint("`jm schema` lists their names")
            })?;
            ui.out(text(found));
        }
    }
    Ok(Exit::Done)
}

/// Every schema by its name: the path of its file below `schemas/` without `.schema.json`.
fn all() -> BTreeMap<String, Value> {
    let registry = crate::providers::registry();
    let mut schemas = BTreeMap::from([
        ("plan".to_owned(), jm_plan::schema::plan(&registry)),
        ("targets".to_owned(), jm_plan::schema::targets(&registry)),
        ("journal".to_owned(), jm_step::schema::of::<jm_run::Record>()),
        ("events".to_owned(), jm_step::schema::of::<jm_run::Event>()),
        ("dry-run".to_owned(), document::<PrintedDryRun<'static>>()),
        ("summary".to_owned(), document::<PrintedSummary<'static>>()),
        ("report".to_owned(), jm_step::schema::of::<PostMortem>()),
        ("saved-dry-run".to_owned(), jm_step::schema::of::<Saved>()),
        ("commands/error".to_owned(), document::<Failure<'static>>()),
        ("commands/plan-list".to_owned(), document::<plan::list::PlanList>()),
        ("commands/plan-show".to_owned(), document::<plan::show::PlanShow>()),
        ("commands/plan-diff".to_owned(), document::<plan::diff::PlanDiff>()),
        ("commands/plan-validate".to_owned(), document::<Findings>()),
        ("commands/step-list".to_owned(), document::<step::list::StepList>()),
        ("commands/step-show".to_owned(), document::<step::show::StepShow>()),
        ("commands/run-list".to_owned(), document::<run::list::RunList>()),
        ("commands/lock-show".to_owned(), document::<lock::LockShow>()),
        (
            "commands/sandbox-list".to_owned(),
            document::<sandbox::list::SandboxList>(),
        ),
        (
            "commands/backup-list".to_owned(),
            document::<backup::list::BackupList>(),
        ),
        (
            "commands/backup-show".to_owned(),
            document::<backup::show::BackupShow>(),
        ),
        (
            "commands/backup-verify".to_owned(),
            document::<backup::verify::BackupVerify>(),
        ),
        (
            "commands/doctor-permissions".to_owned(),
            document::<doctor::Permissions>(),
        ),
        ("commands/doctor-policy".to_owned(), document::<doctor::Policies>()),
        ("commands/explain".to_owned(), document::<explain::Explanation>()),
    ]);
    for step_type in registry.step_types() {
        schemas.insert(format!("steps/{}", step_type.name()), of_step(step_type.as_ref()));
    }
    schemas
}

/// The schema of what a command prints with `--format json`.
fn document<T: JsonSchema>() -> Value {
    jm_step::schema::of::<Document<T>>()
}

/// A step type's schema: `with` and `outputs`, each with an `$id` of its own, so that what it defines stays inside it.
fn of_step(step_type: &dyn AnyStepType) -> Value {
    let id = |part: &str| format!("jm:steps/{}/{part}", step_type.name());
    let embedded = |part: &str, mut schema: Value| {
        schema["$id"] = Value::from(id(part));
        schema
    };
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": step_type.name(),
        "description": step_type.summary(),
        "type": "object",
        "properties": { "with": { "$ref": id("input") }, "outputs": { "$ref": id("output") } },
        "$defs": {
            "input": embedded("input", step_type.input_schema()),
            "output": embedded("output", step_type.output_schema()),
        },
    })
}

fn write(schemas: &BTreeMap<String, Value>, directory: &Path) -> Outcome {
    for (name, schema) in schemas {
        let file = directory.join(format!("{name}.schema.json"));
        project::publish(&file, &(text(schema) + "\n"))?;
    }
    Ok(Exit::Done)
}

fn text(schema: &Value) -> String {
    format!("{schema:#}")
}
