//! Whether what stands under `with` fits the step type's input.

use jm_step::Known;

use crate::code::Code;
use crate::compile::{Draftee, Work};
use crate::error::{PlanError, Problems};
use crate::shape::{Shape, Violation, fit};
use crate::template::{InputTemplate, Part, PartKind, Rendered};

/// Checks all inputs; gives what is known of each.
pub(crate) fn check(work: &Work<'_>, problems: &mut Problems) -> Vec<Known> {
    work.steps.iter().map(|step| one(work, step, problems)).collect()
}

fn one(work: &Work<'_>, step: &Draftee<'_>, problems: &mut Problems) -> Known {
    let template = step.spec.with.clone().unwrap_or_else(|| InputTemplate::empty(step.place()));
    let rendered = match template.render_with(&work.scope) {
        Ok(rendered) => rendered,
        Err(error) => {
            problems.push(failed(&template, &error));
            return Known::new(serde_json::Value::Null);
        }
    };
    if let Some(schemas) = &step.schemas {
        against_schema(step, &rendered, &template, Shape::root(&schemas.input), problems);
    }
    rendered.known()
}

fn failed(template: &InputTemplate, error: &crate::RenderError) -> PlanError {
    let at = template.expressions().into_iter().find(|expression| expression.text() == error.expression);
    let at = at.map_or(template.root().span, |expression| expression.span());
    PlanError::at(Code::ExpressionFailed, at, format!("the expression cannot be evaluated: {}", error.message))
}

fn against_schema(
    step: &Draftee<'_>,
    rendered: &Rendered,
    template: &InputTemplate,
    shape: Shape<'_>,
    problems: &mut Problems,
) {
    let unknown = |pointer: &str| rendered.unknown.iter().any(|leaf| leaf.pointer == pointer);
    let fit = fit(&rendered.value, shape, &unknown);
    let sound = fit.violations.is_empty();
    problems.extend(fit.violations.iter().map(|violation| as_error(violation, template.root())));
    if let (true, true, Some(step_type)) = (sound, rendered.is_whole(), &step.step_type) {
        for issue in step_type.check(&rendered.value).err().unwrap_or_default() {
            let at = place(template.root(), &issue.pointer, false);
            problems.push(PlanError::at(Code::InvalidValue, at, issue.message).maybe_help(issue.help));
        }
    }
}

/// A violation at its place in the file.
pub(crate) fn as_error(violation: &Violation, part: &Part) -> PlanError {
    let at = place(part, &violation.pointer, violation.at_key);
    PlanError::at(violation.code, at, violation.message.clone()).maybe_help(violation.help.clone())
}

/// Where a pointer leads to: the value, or its key.
fn place(part: &Part, pointer: &str, key: bool) -> miette::SourceSpan {
    let (parent, last) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    if key {
        if let PartKind::Map(entries) = &part.at_pointer(parent).kind {
            let last = last.replace("~1", "/").replace("~0", "~");
            if let Some((key, _)) = entries.iter().find(|(key, _)| key.value == last) {
                return key.span;
            }
        }
    }
    let found = part.at_pointer(pointer);
    match found.kind {
        // Of a mapping over many lines only the first key is marked.
        PartKind::Map(ref entries) => entries.first().map_or(found.span, |(key, _)| key.span),
        _ => found.span,
    }
}
