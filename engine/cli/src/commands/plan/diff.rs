//! `jm plan diff OLD NEW`: what a change of a plan means, for whoever reviews it: promises, inputs, steps that come and go,
//! what each step may do, what it waits for, and from where on nothing can be taken back.

use std::collections::BTreeMap;

use jm_plan::{Arguments, Mode, Plan, PlannedStep, duration};
use jm_step::Registry;
use schemars::JsonSchema;
use serde::Serialize;
use similar::TextDiff;

use crate::args::{DiffArgs, DryRunFormat};
use crate::commands::Outcome;
use crate::exit::{CommandError, Exit};
use crate::project;
use crate::report::document::Document;
use crate::report::words;
use crate::session::Source;
use crate::ui::{Style, Ui};

/// Lines around a change of a step's text.
const CONTEXT: usize = 1;

/// What stands under a name before and after; nothing where the name is new or gone.
#[derive(Debug, Serialize, JsonSchema)]
struct Change {
    /// The name, such as `RTO`.
    what: String,
    before: Option<String>,
    after: Option<String>,
}

/// A step that is there before and after, and is not what it was.
#[derive(Debug, Serialize, JsonSchema)]
struct Changed {
    /// Its id.
    step: String,
    /// What the two compiled plans say of it.
    #[serde(rename = "changes")]
    facts: Vec<Change>,
    /// Its own lines in the files, in the unified form.
    #[serde(rename = "diff")]
    text: String,
}

/// A step of only one of the plans.
#[derive(Debug, Serialize, JsonSchema)]
struct Single {
    /// Its id.
    step: String,
    /// Its step type and effect.
    what: String,
}

/// What became of a plan.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::commands) struct PlanDiff {
    /// Whether both do the same.
    same: bool,
    /// What is said of the plan as a whole.
    plan: Vec<Change>,
    inputs: Vec<Change>,
    #[serde(rename = "steps_added")]
    added: Vec<Single>,
    #[serde(rename = "steps_removed")]
    removed: Vec<Single>,
    #[serde(rename = "steps_changed")]
    changed: Vec<Changed>,
}

pub(in crate::commands) fn diff(args: &DiffArgs, ui: &Ui) -> Outcome {
    let registry = crate::providers::registry();
    // One targets file for both, so that what differs is the plan.
    let targets = project::targets_for(&args.new, args.targets.as_deref());
    let read = |file: &std::path::Path| Source::of(&display(file), &project::read(file)?, targets.clone());
    let (old, new) = (read(&args.old)?, read(&args.new)?);
    let difference = PlanDiff::of(
        (&compiled(&old, &registry, ui)?, &old),
        (&compiled(&new, &registry, ui)?, &new),
    );
    match args.format {
        DryRunFormat::Human => difference.human(ui),
        DryRunFormat::Json => Document::of(difference).print(ui),
        DryRunFormat::Markdown => ui.out(difference.markdown().trim_end()),
    }
    Ok(Exit::Done)
}

fn display(file: &std::path::Path) -> String {
    file.display().to_string()
}

fn compiled(source: &Source, registry: &Registry, ui: &Ui) -> Result<Plan, CommandError> {
    source.compile(registry, &Arguments::none(), Mode::Validate, ui)
}

impl PlanDiff {
    fn of((old, old_source): (&Plan, &Source), (new, new_source): (&Plan, &Source)) -> Self {
        let mut difference = Self {
            same: false,
            plan: changes(plan_facts(old, old_source), &plan_facts(new, new_source)),
            inputs: changes(input_facts(old_source), &input_facts(new_source)),
            added: Vec::new(),
            removed: Vec::new(),
            changed: Vec::new(),
        };
        let known = |step: &PlannedStep| Single {
            step: step.id.to_string(),
            what: format!("{}, {}", step.uses, words::effect(step.effect)),
        };
        for step in new.all_steps() {
            match old.step(step.id.as_str()) {
                None => difference.added.push(known(step)),
                Some(before) => difference
                    .changed
                    .extend(changed((old, before, old_source), (new, step, new_source))),
            }
        }
        let gone = old.all_steps().filter(|step| new.step(step.id.as_str()).is_none());
        difference.removed = gone.map(known).collect();
        difference.same = difference.plan.is_empty()
            && difference.inputs.is_empty()
            && difference.added.is_empty()
            && difference.removed.is_empty()
            && difference.changed.is_empty();
        difference
    }

    fn human(&self, ui: &Ui) {
        if self.same {
            ui.out("the plans do the same");
            return;
        }
        self.plan.iter().for_each(|change| ui.out(change.line("", ui)));
        self.inputs.iter().for_each(|change| ui.out(change.line("input ", ui)));
        for Single { step, what } in &self.added {
            ui.out(ui.paint(Style::Green, &format!("+ step {step}: {what}")));
        }
        for Single { step, what } in &self.removed {
            ui.out(ui.paint(Style::Red, &format!("- step {step}: {what}")));
        }
        for changed in &self.changed {
            ui.out(ui.paint(Style::Bold, &format!("~ step {}", changed.step)));
            for fact in &changed.facts {
                ui.out(format!("    {}", fact.line("", ui)));
            }
            for line in changed.text.lines() {
                ui.out(format!("    {}", super::drift::painted(line, ui)));
            }
        }
    }

    fn markdown(&self) -> String {
        if self.same {
            return "The plans do the same.\n".to_owned();
        }
        let mut lines: Vec<String> = Vec::new();
        lines.extend(self.plan.iter().map(|change| format!("- {}", change.plain())));
        lines.extend(self.inputs.iter().map(|change| format!("- input {}", change.plain())));
        lines.extend(
            self.added
                .iter()
                .map(|Single { step, what }| format!("- **new** step `{step}`: {what}")),
        );
        lines.extend(
            self.removed
                .iter()
                .map(|Single { step, what }| format!("- **gone**: step `{step}`: {what}")),
        );
        for changed in &self.changed {
            let facts: Vec<String> = changed.facts.iter().map(Change::plain).collect();
            let facts = if facts.is_empty() {
                String::new()
            } else {
                format!(": {}", facts.join("; "))
            };
            lines.push(format!("- step `{}`{facts}", changed.step));
            if !changed.text.is_empty() {
                lines.push(format!("\n````diff\n{}\n````\n", changed.text.trim_end()));
            }
        }
        lines.join("\n") + "\n"
    }
}

impl Change {
    fn plain(&self) -> String {
        let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "nothing".to_owned());
        format!("{}: {} -> {}", self.what, side(&self.before), side(&self.after))
    }

    fn line(&self, of: &str, ui: &Ui) -> String {
        let (mark, style) = match (&self.before, &self.after) {
            (None, _) => ('+', Style::Green),
            (_, None) => ('-', Style::Red),
            _ => ('~', Style::Yellow),
        };
        let text = match (&self.before, &self.after) {
            (None, Some(only)) | (Some(only), None) => format!("{}: {only}", self.what),
            _ => self.plain(),
        };
        ui.paint(style, &format!("{mark} {of}{text}"))
    }
}

type Facts = BTreeMap<String, String>;

/// What is not the same under the same name.
fn changes(old: Facts, new: &Facts) -> Vec<Change> {
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| Change {
            what: name.clone(),
            before: old.get(name).cloned(),
            after: new.get(name).cloned(),
        })
        .collect()
}

fn facts(all: impl IntoIterator<Item = (&'static str, Option<String>)>) -> Facts {
    let told = all
        .into_iter()
        .filter_map(|(name, fact)| Some((name.to_owned(), fact?)));
    told.filter(|(_, fact)| !fact.is_empty()).collect()
}

fn plan_facts(plan: &Plan, source: &Source) -> Facts {
    let objectives = plan.objectives();
    let repairs: Vec<&str> = plan.repairs().iter().map(jm_step::TargetName::as_str).collect();
    let targets: Vec<String> = plan.targets_used().iter().map(ToString::to_string).collect();
    facts([
        ("name", Some(plan.name().to_owned())),
        ("title", plan.title().map(str::to_owned)),
        ("version", source.document.spec().version.clone()),
        ("RTO", objectives.rto.map(duration::show)),
        ("RPO", objectives.rpo.map(duration::show)),
        ("deadline", plan.deadline().map(duration::show)),
        ("steps at once", Some(plan.max_parallel().to_string())),
        ("contacts", Some(plan.contacts().join(", "))),
        ("repairs", Some(repairs.join(", "))),
        ("targets", Some(targets.join(", "))),
        ("point of no return", plan.point_of_no_return().map(ToString::to_string)),
    ])
}

fn input_facts(source: &Source) -> Facts {
    let input = |input: &jm_plan::InputSpec| {
        let default = input
            .default
            .as_ref()
            .map_or_else(|| "required".to_owned(), |default| format!("default {}", default.value));
        (input.name.value.clone(), format!("{}, {default}", input.kind.name()))
    };
    source.inputs().iter().map(input).collect()
}

fn step_facts(plan: &Plan, step: &PlannedStep) -> Facts {
    let after: Vec<&str> = plan
        .dependencies(step.id.as_str())
        .iter()
        .map(|dependency| dependency.step.as_str())
        .collect();
    let targets: Vec<String> = step
        .bindings
        .iter()
        .map(|(role, target)| format!("{role} {target}"))
        .collect();
    let undoes: Vec<&str> = step.undoes.iter().map(jm_step::StepId::as_str).collect();
    facts([
        ("uses", Some(step.uses.clone())),
        ("effect", Some(words::effect(step.effect).to_owned())),
        ("after", Some(after.join(", "))),
        ("if", step.when.as_ref().map(|when| when.text().to_owned())),
        ("targets", Some(targets.join(", "))),
        ("undoes", Some(undoes.join(", "))),
        ("finally", step.in_finally.then(|| "yes".to_owned())),
        ("attempts", Some(step.retry.attempts.to_string())),
        ("time-out", Some(duration::show(step.timeout))),
        ("budget", step.budget.map(duration::show)),
        ("on failure", Some(format!("{:?}", step.on_failure).to_lowercase())),
    ])
}

fn changed(
    (old_plan, old, old_source): (&Plan, &PlannedStep, &Source),
    (new_plan, new, new_source): (&Plan, &PlannedStep, &Source),
) -> Option<Changed> {
    let facts = changes(step_facts(old_plan, old), &step_facts(new_plan, new));
    let (before, after) = (written(old_source, old), written(new_source, new));
    if facts.is_empty() && before == after {
        return None;
    }
    let diff = TextDiff::from_lines(&before, &after);
    let text = diff.unified_diff().context_radius(CONTEXT).to_string();
    Some(Changed {
        step: new.id.to_string(),
        facts,
        text,
    })
}

/// A step's own lines, without remarks and blank lines: those do nothing.
fn written(source: &Source, step: &PlannedStep) -> String {
    let spec = source.document.spec();
    let same = |one: &&jm_plan::StepSpec| one.id.as_ref().is_some_and(|id| id.value == step.id);
    let Some(found) = spec.steps.iter().chain(&spec.finally).find(same) else {
        return String::new();
    };
    let (from, length) = (found.span.offset(), found.span.len());
    let text = source.document.text().get(from..from + length).unwrap_or_default();
    let lines = text.lines().map(str::trim_end);
    let kept = lines.filter(|line| !line.trim_start().starts_with('#') && !line.is_empty());
    kept.flat_map(|line| [line, "\n"]).collect()
}
