//! Whether what stands under `with` fits the step type's input, and a target its provider's configuration.

use std::collections::{HashMap, HashSet};

use jm_step::Known;
use serde_json::Value;

use super::references::walk;
use crate::code::Code;
use crate::compile::{Draftee, Work};
use crate::document::InputType;
use crate::error::{PlanError, Problems};
use crate::shape::{Kinds, Shape, Violation, fit};
use crate::template::{
    Evaluated, Expression, FailedLeaf, InputTemplate, NothingKnown, Part, PartKind, Reference, Rendered, Root, Type,
    Types, evaluate,
};

/// Checks all inputs; gives what is known of each, `None` of those that are wrong.
pub(crate) fn check(work: &Work<'_>, problems: &mut Problems) -> Vec<Option<Known>> {
    let schemas: HashMap<&str, Value> = work
        .document
        .plan
        .inputs
        .iter()
        .map(|input| (input.name.value.as_str(), input.schema()))
        .collect();
    let checker = Checker {
        work,
        schemas: &schemas,
    };
    for step in &work.steps {
        let with = step.spec.with.iter().flat_map(|with| with.expressions());
        for expression in step.spec.when.iter().chain(with) {
            problems.extend(checker.odd_comparisons(expression));
        }
    }
    let mut knowns = Vec::with_capacity(work.steps.len());
    for step in &work.steps {
        let before = problems.len();
        let known = checker.step(step, problems);
        knowns.push((problems.len() == before).then_some(known));
    }
    knowns
}

struct Checker<'a, 'w> {
    work: &'a Work<'w>,
    schemas: &'a HashMap<&'a str, Value>,
}

impl Checker<'_, '_> {
    fn step(&self, step: &Draftee<'_>, problems: &mut Problems) -> Known {
        let template = step
            .spec
            .with
            .clone()
            .unwrap_or_else(|| InputTemplate::empty(step.place()));
        let (rendered, failed) = template.root().render_around(&self.work.scope);
        if !self.never_runs(step) {
            problems.extend(failed.iter().map(cannot_be_evaluated));
        }
        if let Some(schemas) = &step.schemas {
            let failed: HashSet<&str> = failed.iter().map(|leaf| leaf.pointer.as_str()).collect();
            let shape = Shape::root(&schemas.input);
            self.against_schema(step, &rendered, &failed, &template, shape, problems);
        }
        rendered.known()
    }

    fn against_schema(
        &self,
        step: &Draftee<'_>,
        rendered: &Rendered,
        failed: &HashSet<&str>,
        template: &InputTemplate,
        shape: Shape<'_>,
        problems: &mut Problems,
    ) {
        let unknown: HashSet<&str> = rendered.unknown.iter().map(|leaf| leaf.pointer.as_str()).collect();
        let mut fit = fit(&rendered.value, shape, &|pointer| unknown.contains(pointer));
        let never_runs = self.never_runs(step);
        if never_runs {
            fit.violations
                .retain(|violation| !is_computed(template.root().at_pointer(&violation.pointer)));
        }
        let mut sound = fit.violations.is_empty();
        problems.extend(
            fit.violations
                .iter()
                .map(|violation| as_error(violation, template.root())),
        );
        // Of what cannot be evaluated nothing more is said.
        let open = fit
            .open
            .iter()
            .filter(|(pointer, _)| !failed.contains(pointer.as_str()));
        for (pointer, wanted) in open {
            let error = self.open(step, template.root().at_pointer(pointer), *wanted);
            sound &= error.is_none();
            problems.extend(error);
        }
        let whole = sound && rendered.is_whole() && !never_runs;
        if let (true, Some(step_type)) = (whole, &step.step_type) {
            for issue in step_type.check(&rendered.value).err().unwrap_or_default() {
                let at = place(template.root(), &issue.pointer, false);
                problems.push(PlanError::at(Code::InvalidValue, at, issue.message).maybe_help(issue.help));
            }
        }
    }

    /// Whether the step's `if` is known to be false: then what its expressions give may make no sense, such as the empty
    /// address that the `if` asks about.
    fn never_runs(&self, step: &Draftee<'_>) -> bool {
        let evaluated = step.spec.when.as_ref().map(|when| evaluate(when, &self.work.scope));
        matches!(evaluated, Some(Ok(Evaluated::Value(Value::Bool(false)))))
    }

    fn odd_comparisons(&self, expression: &Expression) -> Vec<PlanError> {
        let one = |(left, right): (Kinds, Kinds)| {
            let message = format!(
                "{} is compared with {}: they are never equal and have no order",
                left.shown(),
                right.shown()
            );
            let numbers = left.meets(Kinds::NUMBER) || right.meets(Kinds::NUMBER);
            let help = "numbers stand without quotes".to_owned();
            PlanError::at(Code::WrongType, expression.span(), message).maybe_help(numbers.then_some(help))
        };
        expression.odd_comparisons(self).into_iter().map(one).collect()
    }

    /// A value that is not known yet must be able to be what is wanted.
    fn open(&self, step: &Draftee<'_>, part: &Part, wanted: Shape<'_>) -> Option<PlanError> {
        match &part.kind {
            PartKind::Text(_) => mismatch(&Type::of(Kinds::TEXT), wanted, part.span, None),
            PartKind::Expression(expression) => {
                let is = expression.static_type(self);
                mismatch(&is, wanted, expression.span(), Some(expression))
                    .or_else(|| self.default_fits(step, expression, wanted))
            }
            _ => None,
        }
    }

    /// The default of an input that is passed on must fit where it goes, unless the step's `if` asks about that input.
    fn default_fits(&self, step: &Draftee<'_>, expression: &Expression, wanted: Shape<'_>) -> Option<PlanError> {
        let reference = expression
            .plain_reference()
            .filter(|reference| reference.root == Root::Inputs)?;
        let asked = |when: &Expression| when.references().iter().any(|other| other.path == reference.path);
        if step.spec.when.as_ref().is_some_and(asked) {
            return None;
        }
        let input = self
            .work
            .document
            .plan
            .inputs
            .iter()
            .find(|input| input.name.value == reference.name())?;
        let default = input
            .default
            .as_ref()
            .filter(|_| reference.path.len() == 1 && input.kind != InputType::Secret)?;
        let violation = fit(&default.value, wanted, &|_| false).violations.into_iter().next()?;
        let message = format!(
            "the default of input `{}` does not fit here: {}",
            reference.name(),
            violation.message
        );
        let error = PlanError::at(violation.code, expression.span(), message).also(default.span, "the default");
        Some(error.maybe_help(violation.help))
    }
}

/// Whether an expression had a part in it.
fn is_computed(part: &Part) -> bool {
    matches!(part.kind, PartKind::Expression(_) | PartKind::Text(_))
}

impl<'s> Types<'s> for Checker<'s, '_> {
    fn type_of(&self, reference: &Reference) -> Type<'s> {
        let described = |shapes: Result<Vec<Shape<'s>>, _>| match shapes {
            Ok(shapes) if !shapes.is_empty() => Type::described(shapes),
            _ => Type::ANY,
        };
        match reference.root {
            Root::Inputs => match self.schemas.get(reference.name()) {
                Some(schema) => described(walk(Shape::root(schema), &reference.path[1..])),
                None => Type::ANY,
            },
            Root::Steps => {
                let step = reference.step().and_then(|id| self.work.index.get(id.as_str()));
                let schemas = step.and_then(|number| self.work.steps[*number].schemas.as_ref());
                match (reference.output(), schemas) {
                    (Some([]), Some(_)) => Type::of(Kinds::MAP),
                    (Some(way), Some(schemas)) => described(walk(Shape::root(&schemas.output), way)),
                    (None, _) => Type::of(Kinds::TEXT),
                    _ => Type::ANY,
                }
            }
            Root::Run if reference.name() == "drill" => Type::of(Kinds::BOOL),
            Root::Run | Root::Objectives | Root::Env => Type::of(Kinds::TEXT),
        }
    }
}

/// Reports what can never be what is wanted.
fn mismatch(
    is: &Type<'_>,
    wanted: Shape<'_>,
    at: miette::SourceSpan,
    expression: Option<&Expression>,
) -> Option<PlanError> {
    let kinds = wanted.kinds();
    let what = expression.map_or_else(
        || "text with expressions in it".to_owned(),
        |expression| format!("`{}`", expression.text()),
    );
    if !is.kinds.meets(kinds) {
        let message = format!(
            "{what} is {}, and {} is wanted",
            is.kinds.shown(),
            kinds.without(Kinds::NULL).shown()
        );
        let error = PlanError::at(Code::WrongType, at, message);
        return Some(match expression {
            None => error.help("an expression that is to keep its type stands alone: `${{ ... }}` and nothing else"),
            Some(_) if kinds.meets(Kinds::TEXT) => error.help("add `| string` to make it text"),
            Some(_) => error,
        });
    }
    let item = |shapes: &[Shape<'_>]| -> Option<Kinds> {
        let items = shapes.iter().flat_map(|shape| shape.items()).map(Shape::kinds);
        items.reduce(|all, one| all | one)
    };
    let (mine, theirs) = (item(&is.shapes)?, item(&[wanted])?);
    (!mine.meets(theirs)).then(|| {
        PlanError::at(
            Code::WrongType,
            at,
            format!(
                "each item of {what} is {}, and {} is wanted",
                mine.shown(),
                theirs.shown()
            ),
        )
    })
}

/// Checks a target's configuration, the environment being unknown.
pub(crate) fn target(config: &Part, shape: Shape<'_>, problems: &mut Problems) {
    let (rendered, failed) = config.render_around(&NothingKnown);
    problems.extend(failed.iter().map(cannot_be_evaluated));
    let unknown: HashSet<&str> = rendered.unknown.iter().map(|leaf| leaf.pointer.as_str()).collect();
    let fit = fit(&rendered.value, shape, &|pointer| unknown.contains(pointer));
    problems.extend(fit.violations.iter().map(|violation| as_error(violation, config)));
}

fn cannot_be_evaluated(leaf: &FailedLeaf) -> PlanError {
    let message = format!("the expression cannot be evaluated: {}", leaf.error.message);
    PlanError::at(Code::ExpressionFailed, leaf.at, message)
}

/// A violation at its place in the file.
pub(crate) fn as_error(violation: &Violation, part: &Part) -> PlanError {
    let at = place(part, &violation.pointer, violation.at_key);
    PlanError::at(violation.code, at, violation.message.clone()).maybe_help(violation.help.clone())
}

/// Where a pointer leads to: the value, or its key.
pub(crate) fn place(part: &Part, pointer: &str, key: bool) -> miette::SourceSpan {
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
