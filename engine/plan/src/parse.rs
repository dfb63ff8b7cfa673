//! YAML text to a [`Document`]: every field read, every mistake in the structure reported, none of them the last.

mod fields;
mod input;
mod step;

use std::collections::HashMap;

use miette::SourceSpan;

use crate::code::Code;
use crate::document::{Document, DrillSpec, ObjectivesSpec, PlanSpec, ScheduleSpec, StepSpec};
use crate::error::{PlanError, Problems, is_error};
use crate::span::{Spanned, source};
use crate::template::InputTemplate;
use crate::yaml::{self, Kind, Node};
pub(crate) use fields::{Fields, did_you_mean, scalar_looks_boolean, shorten, suggestion, wrong_type};

const API_VERSION: &str = "jm/v1";

/// Reads a plan. The errors are those of form; what the parts mean to each other is [`crate::compile`]'s.
pub fn parse(name: &str, text: &str) -> (Document, Vec<PlanError>) {
    let source = source(name, text);
    let mut problems = Problems::new(&source);
    let yaml::Read { root, torn } = yaml::read(text, &mut problems);
    let yaml = problems.len();
    let plan = if matches!(root.kind, Kind::Null) {
        empty(text, &mut problems)
    } else {
        plan(&root, text, &mut problems)
    };
    if let Some(torn) = torn {
        problems.forget_after(torn, yaml);
    }
    let found = problems.into_found();
    let broken = found.iter().any(is_error);
    let document = Document {
        source,
        plan,
        found: found.clone(),
        broken,
        torn: torn.is_some(),
    };
    (document, found)
}

fn empty(text: &str, problems: &mut Problems) -> PlanSpec {
    if text.trim().is_empty() {
        let error = PlanError::at(Code::NotThisKind, (0, 0).into(), "the file is empty");
        problems.push(error.help("a plan begins with `apiVersion: jm/v1`, `name:` and `steps:`"));
    }
    PlanSpec::default()
}

fn plan(root: &Node, text: &str, problems: &mut Problems) -> PlanSpec {
    let Some(mut fields) = Fields::open(root, "a plan", text, problems) else {
        return PlanSpec::default();
    };
    let kind = fields.peek("kind").and_then(Node::text);
    let one_step = kind == Some(ONE_STEP);
    if !check_kind(&mut fields, one_step.then_some(ONE_STEP)) {
        return PlanSpec::default();
    }
    let plan = PlanSpec {
        one_step,
        name: fields
            .required("name", "the plan's name, such as `complete-db-loss`")
            .and_then(|node| fields.name(node)),
        title: fields.text("title"),
        description: fields.text("description"),
        version: fields.text("version"),
        updated: fields.date("updated"),
        reviewed: fields.date("reviewed"),
        review_every: fields.duration("review_every"),
        objectives: objectives(&mut fields),
        contacts: fields.texts("contacts"),
        repairs: fields.ids("repairs"),
        schedule: fields.take("schedule").and_then(|node| schedule(node, &mut fields)),
        inputs: fields
            .take("inputs")
            .map(|node| input::all(node, &mut fields))
            .unwrap_or_default(),
        max_parallel: fields.count("max_parallel"),
        deadline: fields.duration("deadline"),
        steps: steps(&mut fields, "steps", true),
        finally: steps(&mut fields, "finally", false),
        outputs: outputs(&mut fields),
        drill: fields.take("drill").and_then(|node| drill(node, &mut fields)),
    };
    fields.close();
    if one_step && plan.steps.len() + plan.finally.len() != 1 {
        let error = PlanError::at(Code::NotThisKind, root.span, "a document of `kind: Step` has one step");
        problems.push(error.help("leave out `kind`: this is a plan"));
    }
    duplicate_ids(&plan, problems);
    plan
}

/// The kind of document that `jm step run` makes of its words.
const ONE_STEP: &str = "Step";

/// Whether the file is of this kind. Where it is not, nothing else is worth saying.
pub(crate) fn check_kind(fields: &mut Fields<'_, '_>, kind: Option<&str>) -> bool {
    let version = fields.take("apiVersion");
    let written = fields.take("kind");
    let error = match (version, written.and_then(Node::text), kind) {
        (None, ..) => {
            let error = PlanError::at(Code::NotThisKind, fields.start(), "`apiVersion` is missing");
            error.help("write `apiVersion: jm/v1` at the top")
        }
        (Some(node), ..) if node.text() != Some(API_VERSION) => PlanError::at(
            Code::NotThisKind,
            node.span,
            "this version of the language is not known",
        )
        .help("this jm reads `apiVersion: jm/v1`; a newer version needs a newer jm"),
        (_, Some("Targets"), None) => wrong_kind(written, "this is a targets file, not a plan"),
        (_, None, Some("Targets")) => {
            let error = PlanError::at(Code::NotThisKind, fields.start(), "`kind: Targets` is missing");
            error.help("a targets file begins with `apiVersion: jm/v1` and `kind: Targets`")
        }
        (_, Some(other), expected) if expected.unwrap_or("Plan") != other => {
            wrong_kind(written, format!("files of kind `{other}` are not known here"))
        }
        _ => return true,
    };
    fields.problems().push(error);
    false
}

fn wrong_kind(node: Option<&Node>, message: impl Into<String>) -> PlanError {
    let span = node.map_or_else(|| (0, 0).into(), |node| node.span);
    PlanError::at(Code::NotThisKind, span, message)
}

fn objectives(fields: &mut Fields<'_, '_>) -> ObjectivesSpec {
    let Some(mut inner) = fields.inner("objectives", "`objectives`") else {
        return ObjectivesSpec::default();
    };
    let objectives = ObjectivesSpec {
        rto: inner.duration("rto"),
        rpo: inner.duration("rpo"),
    };
    inner.close();
    objectives
}

fn schedule<'n>(node: &'n Node, fields: &mut Fields<'n, '_>) -> Option<ScheduleSpec> {
    if let Some(text) = node.text() {
        return cron(Spanned::new(text.to_owned(), node.span), fields)
            .map(|cron| ScheduleSpec { cron, timezone: None });
    }
    let mut inner = fields.of(node, "`schedule`")?;
    let written = inner
        .required("cron", "when, as in crontab: `0 2 * * *`")
        .and_then(|node| inner.as_text(node));
    let timezone = inner.spanned_text("timezone");
    inner.close();
    let cron = cron(written?, fields)?;
    Some(ScheduleSpec { cron, timezone })
}

fn cron(text: Spanned<String>, fields: &mut Fields<'_, '_>) -> Option<Spanned<String>> {
    const NAMED: [&str; 6] = ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly"];
    let well_formed = NAMED.contains(&text.value.as_str())
        || (text.value.split_whitespace().count() == 5
            && text
                .value
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || " ,-*/#?".contains(c)));
    if well_formed {
        return Some(text);
    }
    let error = PlanError::at(Code::InvalidValue, text.span, "this is not a schedule");
    let help = "five fields as in crontab: minute, hour, day, month, day of the week, such as `0 2 * * *`; or `@daily`";
    fields.problems().push(error.help(help));
    None
}

fn drill<'n>(node: &'n Node, fields: &mut Fields<'n, '_>) -> Option<DrillSpec> {
    let mut inner = fields.of(node, "`drill`")?;
    let schedule = inner.take("schedule").and_then(|node| schedule(node, &mut inner));
    let inputs = inner.take("inputs").map(|node| inner.entries(node)).unwrap_or_default();
    let inputs = inputs
        .into_iter()
        .map(|(key, node)| (key.clone(), Spanned::new(node.to_value(), node.span)))
        .collect();
    inner.close();
    Some(DrillSpec { schedule, inputs })
}

fn outputs(fields: &mut Fields<'_, '_>) -> Vec<(Spanned<String>, InputTemplate)> {
    let Some(node) = fields.take("outputs") else {
        return Vec::new();
    };
    let entries = fields.entries(node);
    let mut outputs = Vec::new();
    for (name, value) in entries {
        fields.plain_name(name, "an output");
        outputs.push((name.clone(), fields.template(value)));
    }
    outputs
}

fn steps(fields: &mut Fields<'_, '_>, key: &str, needed: bool) -> Vec<StepSpec> {
    let node = if needed {
        fields.required(key, "the list of what is done")
    } else {
        fields.take(key)
    };
    let Some(node) = node else { return Vec::new() };
    let Some(items) = fields.list(node) else {
        return Vec::new();
    };
    if needed && items.is_empty() {
        fields.problems().push(PlanError::at(
            Code::InvalidValue,
            node.span,
            "a plan has at least one step",
        ));
    }
    items.iter().filter_map(|item| step::step(item, fields)).collect()
}

fn duplicate_ids(plan: &PlanSpec, problems: &mut Problems) {
    let mut seen: HashMap<&str, SourceSpan> = HashMap::new();
    for id in plan
        .steps
        .iter()
        .chain(&plan.finally)
        .filter_map(|step| step.id.as_ref())
    {
        if let Some(first) = seen.insert(id.value.as_str(), id.span) {
            let error = PlanError::at(
                Code::DuplicateId,
                id.span,
                format!("two steps have the id `{}`", id.value),
            );
            problems.push(
                error
                    .label("again here")
                    .also(first, "first here")
                    .help("give one of them another id"),
            );
        }
    }
}

#[cfg(test)]
mod tests;
