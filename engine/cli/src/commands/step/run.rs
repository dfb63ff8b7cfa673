//! `jm step run TYPE`: one step as a plan of its own, so that it has everything that a plan has: checks, a dry run, a
//! journal, a resume.

use std::path::PathBuf;

use jm_plan::{Arguments, Mode};
use serde_json::{Map, Value, json};

use crate::args::StepRunArgs;
use crate::commands::carry::Telling;
use crate::commands::plan::run as plan_run;
use crate::commands::{Outcome, carry};
use crate::exit::CommandError;
use crate::session::Source;
use crate::ui::Ui;
use crate::{launch, project};

pub(in crate::commands) fn run(args: &StepRunArgs, ui: &Ui) -> Outcome {
    // Who runs one step by hand wants to see what it says meanwhile, such as the lines of a log that it follows.
    let ui = &Ui {
        verbose: ui.verbose.max(1),
        ..ui.clone()
    };
    let registry = crate::providers::registry();
    let step_type = registry
        .get(&args.step_type)
        .ok_or_else(|| super::show::unknown(&registry, &args.step_type))?;
    let targets: Option<PathBuf> = if step_type.roles().is_empty() {
        None
    } else {
        project::targets_here(args.targets.as_deref())
    };
    if targets.is_none() && !step_type.roles().is_empty() {
        return Err(CommandError::usage(format!(
            "`{}` acts on a target, and there is no targets file",
            args.step_type
        ))
        .hint("name one with `--targets FILE`"));
    }
    let text = plan(args)?;
    let source = Source::of(&format!("step {}", args.step_type), &text, targets)?;
    let plan = source.compile(&registry, &Arguments::none(), Mode::Run, ui)?;
    let info = plan_run::info(&plan, false);
    let mut run = launch::assemble(plan, info, source.targets.as_ref(), &registry, &args.options, ui)?;
    let telling = Telling::of(&args.options, args.format)?;
    if args.dry_run {
        launch::remember(&mut run)?;
        return carry::dry_run(&run, &[], &telling, ui);
    }
    plan_run::start(run, &telling, ui)
}

/// The plan that stands for the step. JSON is YAML.
fn plan(args: &StepRunArgs) -> Result<String, CommandError> {
    let mut step = json!({ "id": "step", "uses": args.step_type, "with": with(&args.with)? });
    if let Some(target) = &args.target {
        step["target"] = Value::from(target.as_str());
    }
    let name = format!("step-{}", args.step_type.replace(['.', '_'], "-"));
    let plan = json!({ "apiVersion": "jm/v1", "kind": "Step", "name": name, "title": format!("one step: {}", args.step_type),
        "steps": [step], "outputs": { "output": "${{ steps.step.outputs }}" } });
    Ok(format!("{plan:#}"))
}

fn with(fields: &[String]) -> Result<Map<String, Value>, CommandError> {
    let mut with = Map::new();
    for field in fields {
        let (name, text) = field
            .split_once('=')
            .ok_or_else(|| CommandError::usage(format!("`{field}` does not say FIELD=VALUE")))?;
        // What reads as JSON is meant as such; a number that is meant as text needs its quotes, as in a plan.
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
        with.insert(name.to_owned(), value);
    }
    Ok(with)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_json_where_they_read_as_such() {
        let fields = ["a=1", "b=text", "c=[\"x\"]", "d=\"1\"", "e=x=y"].map(str::to_owned);
        assert_eq!(
            Value::Object(with(&fields).expect("read")),
            json!({ "a": 1, "b": "text", "c": ["x"], "d": "1", "e": "x=y" })
        );
        assert!(with(&["a".to_owned()]).is_err());
    }
}
