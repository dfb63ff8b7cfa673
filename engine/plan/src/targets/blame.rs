//! Who is told of in a finding about a rendered target: the place in the file, and the variables that a value came from.

use std::collections::BTreeSet;

use jm_step::{InputIssue, NamedBy, NamedFile};

use super::TargetSpec;
use super::render::Around;
use crate::code::Code;
use crate::error::PlanError;
use crate::template::{Expression, Part, PartKind, Reference, TextPiece};

/// What a provider says of a value, at its place in the file, with the variables that the value came from.
pub(super) fn at_fault(issue: &InputIssue, spec: &TargetSpec, around: &jm_step::Environment) -> PlanError {
    let part = spec.config.at_pointer(&issue.pointer);
    let at = crate::check::inputs::place(&spec.config, &issue.pointer, false);
    let error = PlanError::at(Code::InvalidValue, at, issue.message.clone()).maybe_help(issue.help.clone());
    match variables(part, around) {
        Some(variables) => error.because_of(&variables),
        None => error,
    }
}

/// What is wrong with a file that opening the target would read, at the place that names it; of one that a variable
/// names, at the target.
pub(super) fn unreadable(file: &NamedFile, spec: &TargetSpec, around: &Around<'_>) -> Option<PlanError> {
    if file.comes_with_system && around.repaired.contains(&spec.name.value) {
        return None;
    }
    let why = (around.readable)(&file.paths).err()?;
    Some(match file.by {
        NamedBy::Field(pointer) => {
            let at = crate::check::inputs::place(&spec.config, pointer, false);
            let error = PlanError::at(Code::Unreadable, at, format!("the {} cannot be read: {why}", file.what));
            match variables(spec.config.at_pointer(pointer), around.environment) {
                Some(variables) => error.because_of(&variables),
                None => error,
            }
        }
        NamedBy::Variable(name) => PlanError::at(
            Code::Unreadable,
            spec.name.span,
            format!("the {} that `{name}` names cannot be read: {why}", file.what),
        )
        .help(format!("set `{name}` to the path of a file that is there, or unset it")),
    })
}

/// The variables that a value is made of, and where each was found; `None` where the file itself says it.
pub(super) fn variables(part: &Part, around: &jm_step::Environment) -> Option<String> {
    let expressions: Vec<&Expression> = match &part.kind {
        PartKind::Expression(expression) => vec![expression],
        PartKind::Text(pieces) => pieces
            .iter()
            .filter_map(|piece| match piece {
                TextPiece::Expression(expression) => Some(expression),
                TextPiece::Literal(_) => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    let names: BTreeSet<&str> = expressions
        .iter()
        .flat_map(|expression| expression.references())
        .map(Reference::name)
        .collect();
    let shown: Vec<String> = names.into_iter().map(|name| found_in(name, around)).collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

/// A variable and where its value was found.
fn found_in(name: &str, around: &jm_step::Environment) -> String {
    let file = format!("{name}_FILE");
    match (around.get(name), around.get(&file)) {
        (Some(_), _) => format!("`{name}`"),
        (None, Some(path)) => format!("`{name}`, from {path} by `{file}`"),
        (None, None) => format!("`{name}`, which is not set"),
    }
}
