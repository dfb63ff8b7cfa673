//! Reading the declarations of inputs.

use regex::Regex;
use serde_json::Value;

use super::fields::Fields;
use crate::code::Code;
use crate::document::{InputSpec, InputType};
use crate::error::PlanError;
use crate::span::Spanned;
use crate::yaml::Node;

pub(super) fn all<'n>(node: &'n Node, plan: &mut Fields<'n, '_>) -> Vec<InputSpec> {
    let entries = plan.entries(node);
    entries
        .into_iter()
        .filter_map(|(name, node)| one(name, node, plan))
        .collect()
}

fn one<'n>(name: &Spanned<String>, node: &'n Node, plan: &mut Fields<'n, '_>) -> Option<InputSpec> {
    plan.plain_name(name, "an input");
    let mut fields = plan.of(node, "an input")?;
    let kind = fields
        .required("type", "the input's type, such as `string`")
        .and_then(|node| kind(node, &mut fields));
    let spec = InputSpec {
        name: name.clone(),
        kind: kind.unwrap_or(InputType::String),
        items: fields.take("items").and_then(|node| self::kind(node, &mut fields)),
        default: fields
            .take("default")
            .map(|node| Spanned::new(node.to_value(), node.span)),
        choices: fields.take("enum").and_then(|node| choices(node, &mut fields)),
        pattern: fields
            .spanned_text("pattern")
            .and_then(|text| pattern(&text, &mut fields)),
        min: fields.take("min").map(|node| Spanned::new(node.to_value(), node.span)),
        max: fields.take("max").map(|node| Spanned::new(node.to_value(), node.span)),
        description: fields.text("description"),
    };
    fields.close();
    if kind.is_some() {
        check(&spec, plan);
    }
    Some(spec)
}

fn kind(node: &Node, fields: &mut Fields<'_, '_>) -> Option<InputType> {
    fields.choice(node, &InputType::ALL)
}

fn choices<'n>(node: &'n Node, fields: &mut Fields<'n, '_>) -> Option<Vec<Value>> {
    let items = fields.list(node)?;
    if items.is_empty() {
        fields.problems().push(PlanError::at(
            Code::InvalidValue,
            node.span,
            "an `enum` lists at least one value",
        ));
        return None;
    }
    Some(items.iter().map(Node::to_value).collect())
}

fn pattern(text: &Spanned<String>, fields: &mut Fields<'_, '_>) -> Option<Regex> {
    match Regex::new(&text.value) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let reason = error.to_string();
            let reason = reason
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned();
            let error = PlanError::at(Code::InvalidValue, text.span, "this is not a regular expression");
            fields.problems().push(error.label(reason));
            None
        }
    }
}

/// The parts of a declaration must fit each other.
fn check(spec: &InputSpec, fields: &mut Fields<'_, '_>) {
    if let Some(default) = &spec.default {
        check_default(spec, default, fields);
    }
    for choice in spec.choices.iter().flatten() {
        if let Err(reason) = spec.is_of_type(choice) {
            let message = format!(
                "the `enum` of input `{}` holds a value that does not fit: {reason}",
                spec.name.value
            );
            fields
                .problems()
                .push(PlanError::at(Code::InvalidValue, spec.name.span, message));
        }
    }
    for bound in [&spec.min, &spec.max].into_iter().flatten() {
        if !spec.bound_makes_sense(&bound.value) {
            let message = format!("this is no bound for an input of type `{}`", spec.kind.name());
            let help = "a number for numbers and for lengths of text and lists; a duration, time or date for those";
            fields
                .problems()
                .push(PlanError::at(Code::InvalidValue, bound.span, message).help(help));
        }
    }
}

fn check_default(spec: &InputSpec, default: &Spanned<Value>, fields: &mut Fields<'_, '_>) {
    let Err(reason) = spec.accepts(&default.value) else {
        return;
    };
    let error = if spec.kind == InputType::Secret {
        let error = PlanError::at(Code::SecretInPlan, default.span, "a secret stands in the plan");
        error.help("the default of a secret is a reference: `env:NAME` or `file:PATH`")
    } else {
        let message = format!("the default of input `{}` does not fit: {reason}", spec.name.value);
        PlanError::at(Code::InvalidValue, default.span, message)
    };
    fields.problems().push(error);
}
