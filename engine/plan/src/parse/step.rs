//! Reading one step.

use jm_step::StepErrorKind;

use super::fields::Fields;
use crate::code::Code;
use crate::document::{RetrySpec, StepSpec};
use crate::error::PlanError;
use crate::plan::OnFailure;
use crate::span::Spanned;
use crate::yaml::Node;

const ON_FAILURE: [(&str, OnFailure); 3] = [
    ("fail", OnFailure::Fail),
    ("continue", OnFailure::Continue),
    ("pause", OnFailure::Pause),
];

/// The failures that a plan may name under `retry.on`: those that another attempt can mend.
const RETRIED: [(&str, StepErrorKind); 4] = [
    ("unavailable", StepErrorKind::Unavailable),
    ("timed-out", StepErrorKind::TimedOut),
    ("conflict", StepErrorKind::Conflict),
    ("failed", StepErrorKind::Failed),
];

pub(super) fn step<'n>(node: &'n Node, plan: &mut Fields<'n, '_>) -> Option<StepSpec> {
    let mut fields = plan.of(node, "a step")?;
    let id = fields
        .required("id", "the step's name, such as `restore`")
        .and_then(|node| fields.id(node));
    let uses = fields
        .required("uses", "the step type, such as `postgres.verify`")
        .and_then(|node| fields.as_text(node));
    reject_for_each(&mut fields);
    let step = StepSpec {
        span: node.span,
        id,
        uses,
        target: fields.take("target").and_then(|node| fields.id(node)),
        targets: fields
            .take("targets")
            .map(|node| targets(node, &mut fields))
            .unwrap_or_default(),
        needs: fields.ids("needs"),
        when: fields.take("if").and_then(|node| fields.condition(node)),
        with: fields.take("with").map(|node| fields.template(node)),
        retry: retry(&mut fields),
        timeout: fields
            .duration("timeout")
            .filter(|timeout| positive(timeout, &mut fields)),
        budget: fields.duration("budget"),
        on_failure: fields
            .take("on_failure")
            .and_then(|node| fields.choice(node, &ON_FAILURE))
            .unwrap_or(OnFailure::Fail),
        undoes: fields.ids("undoes"),
        name: fields.text("name"),
        why: fields.text("why"),
        runbook: fields.text("runbook"),
    };
    fields.close();
    Some(step)
}

fn positive(timeout: &Spanned<std::time::Duration>, fields: &mut Fields<'_, '_>) -> bool {
    if timeout.value.is_zero() {
        let error = PlanError::at(
            Code::InvalidValue,
            timeout.span,
            "a time-out of nothing lets no step end",
        );
        fields
            .problems()
            .push(error.help("leave `timeout` out for the step type's own"));
    }
    !timeout.value.is_zero()
}

fn reject_for_each(fields: &mut Fields<'_, '_>) {
    if let Some(node) = fields.take("for_each") {
        let error = PlanError::at(Code::ForEach, node.span, "`for_each` comes with a later version");
        fields
            .problems()
            .push(error.help("until then, write one step for each item"));
    }
}

fn targets<'n>(node: &'n Node, fields: &mut Fields<'n, '_>) -> Vec<(Spanned<String>, Spanned<jm_step::TargetName>)> {
    let entries = fields.entries(node);
    entries
        .into_iter()
        .filter_map(|(role, node)| Some((role.clone(), fields.id(node)?)))
        .collect()
}

fn retry(fields: &mut Fields<'_, '_>) -> RetrySpec {
    let Some(mut inner) = fields.inner("retry", "`retry`") else {
        return RetrySpec::default();
    };
    let mut retry = RetrySpec {
        attempts: inner.count("attempts").map(|count| count.value),
        on: inner.take("on").map(|node| kinds(node, &mut inner)),
        ..RetrySpec::default()
    };
    if let Some(mut backoff) = inner.inner("backoff", "`backoff`") {
        retry.base = backoff.duration("base").map(|base| base.value);
        retry.factor = backoff.number("factor", 1.0, 100.0);
        retry.cap = backoff.duration("cap").map(|cap| cap.value);
        retry.jitter = backoff.number("jitter", 0.0, 1.0);
        backoff.close();
    }
    inner.close();
    retry
}

fn kinds<'n>(node: &'n Node, fields: &mut Fields<'n, '_>) -> Vec<StepErrorKind> {
    let items = fields.list(node).unwrap_or_default();
    items.iter().filter_map(|item| fields.choice(item, &RETRIED)).collect()
}
