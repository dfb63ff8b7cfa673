//! What steps name: in expressions, in `needs` and in `undoes`. From this come the edges of the graph.

use std::collections::HashMap;

use jm_step::StepId;
use miette::SourceSpan;
use minijinja::machinery::ast::{BinOpKind, Expr, UnaryOpKind};

use super::guards::{Guards, Statuses, all, compared};
use crate::code::Code;
use crate::compile::{Bindings, Draftee, Work};
use crate::error::{PlanError, Problems};
use crate::graph::Edge;
use crate::parse::{did_you_mean, suggestion};
use crate::plan::{Because, OnFailure};
use crate::shape::{Field, Shape};
use crate::span::Spanned;
use crate::template::{Expression, Reference, Root, Segment, StepStatus, parse_code};

/// Checks all that steps name; gives the edges.
pub(crate) fn check(work: &Work<'_>, bindings: &[Bindings], problems: &mut Problems) -> Vec<Edge> {
    let mut checker = Checker {
        work,
        bindings,
        problems,
        edges: Vec::new(),
        guards: work
            .steps
            .iter()
            .map(|step| Guards::of(step.spec.when.as_ref()))
            .collect(),
    };
    for number in 0..work.steps.len() {
        checker.step(number);
    }
    for (_, output) in &work.document.plan.outputs {
        for expression in output.expressions() {
            checker.expression(None, expression, &Guards::default());
        }
    }
    checker.edges
}

struct Checker<'a, 'w, 'p> {
    work: &'a Work<'w>,
    bindings: &'a [Bindings],
    problems: &'p mut Problems,
    edges: Vec<Edge>,
    guards: Vec<Guards>,
}

impl Checker<'_, '_, '_> {
    fn step(&mut self, number: usize) {
        let step = &self.work.steps[number];
        for need in &step.spec.needs {
            self.need(number, step, need);
        }
        for undone in &step.spec.undoes {
            self.undo(step, undone);
        }
        let guards = std::mem::take(&mut self.guards[number]);
        if let Some(when) = &step.spec.when {
            self.expression(Some(number), when, &guards);
            self.reachable(number, when, &guards);
        }
        for expression in step.spec.with.iter().flat_map(|with| with.expressions()) {
            self.expression(Some(number), expression, &guards);
        }
        self.guards[number] = guards;
    }

    fn need(&mut self, number: usize, step: &Draftee<'_>, need: &Spanned<StepId>) {
        let error = match self.work.index.get(need.value.as_str()) {
            _ if step.in_finally => PlanError::at(Code::FinallyStep, need.span, "steps of `finally` have no `needs`")
                .help("they run one after the other as written; an `if` decides whether one runs"),
            None => self.unknown_step(need.value.as_str(), need.span),
            Some(before) if *before == number => PlanError::at(
                Code::SelfDependency,
                need.span,
                format!("`{}` needs itself", need.value),
            )
            .help("remove it from its own `needs`"),
            Some(before) if self.work.steps[*before].in_finally => finally_named(need.value.as_str(), need.span),
            Some(before) => {
                return self.edges.push(Edge {
                    before: *before,
                    after: number,
                    because: Because::Needs,
                    decided_by_if: false,
                    span: need.span,
                });
            }
        };
        self.problems.push(error);
    }

    fn undo(&mut self, step: &Draftee<'_>, undone: &Spanned<StepId>) {
        let error = match self.work.index.get(undone.value.as_str()) {
            _ if !step.in_finally => {
                PlanError::at(Code::FinallyStep, undone.span, "`undoes` is for steps of `finally`")
                    .help("what a step of `steps` does is done once; a resume does not go back over it")
            }
            None => self.unknown_step(undone.value.as_str(), undone.span),
            Some(number) if self.work.steps[*number].in_finally => {
                let message = format!("`{}` is a step of `finally`, and those always run anew", undone.value);
                PlanError::at(Code::FinallyStep, undone.span, message).help("name steps of `steps`")
            }
            Some(_) => return,
        };
        self.problems.push(error);
    }

    fn unknown_step(&self, name: &str, at: SourceSpan) -> PlanError {
        PlanError::at(Code::UnknownStep, at, format!("there is no step `{name}`")).help(suggestion(
            name,
            self.work.ids(),
            "the steps are",
        ))
    }

    /// `number` is the step that it stands in; none for the plan's own outputs.
    fn expression(&mut self, number: Option<usize>, expression: &Expression, guards: &Guards) {
        for reference in expression.references() {
            match reference.root {
                Root::Inputs => self.input(reference),
                Root::Steps => self.step_reference(number, expression, reference, guards),
                Root::Run | Root::Objectives | Root::Env => {}
            }
        }
        self.statuses(expression);
    }

    fn input(&mut self, reference: &Reference) {
        let inputs = &self.work.document.plan.inputs;
        let Some(input) = inputs.iter().find(|input| input.name.value == reference.name()) else {
            let known = inputs.iter().map(|input| input.name.value.as_str());
            let help = suggestion(reference.name(), known, "the inputs are");
            let message = format!("the plan has no input `{}`", reference.name());
            return self
                .problems
                .push(PlanError::at(Code::UnknownInput, reference.span, message).help(help));
        };
        let schema = input.schema();
        if let Err((_, step)) = walk(Shape::root(&schema), &reference.path[1..]) {
            let message = format!(
                "the input `{}` is of type `{}` and has no `{step}`",
                reference.name(),
                input.kind.name()
            );
            self.problems
                .push(PlanError::at(Code::WrongType, reference.span, message).also(input.name.span, "declared here"));
        }
    }

    fn step_reference(
        &mut self,
        number: Option<usize>,
        expression: &Expression,
        reference: &Reference,
        guards: &Guards,
    ) {
        let name = reference.step().unwrap_or_default();
        let Some(before) = self.work.index.get(name.as_str()).copied() else {
            let error = self.unknown_step(&name, reference.span);
            return self.problems.push(error);
        };
        if let Some(error) = self.misplaced(number, before, &name, reference) {
            self.problems.push(error);
            // What is wrong with it once it has moved is told now, and not in a round of its own.
            if reference.output().is_some() {
                self.output_exists(before, reference);
            }
            return;
        }
        if let Some(number) = number {
            self.edges.push(Edge {
                before,
                after: number,
                because: Because::Reference,
                decided_by_if: expression.is_condition() && reference.is_status(),
                span: reference.span,
            });
        }
        if reference.output().is_some() && self.output_exists(before, reference) {
            self.output_is_there(number, before, expression, reference, guards);
        }
    }

    /// A reference to something that is not before it.
    fn misplaced(&self, number: Option<usize>, before: usize, name: &str, reference: &Reference) -> Option<PlanError> {
        let there = &self.work.steps[before];
        let Some(number) = number else {
            return there.in_finally.then(|| finally_named(name, reference.span));
        };
        let here = &self.work.steps[number];
        if before == number {
            let error = PlanError::at(Code::SelfDependency, reference.span, format!("`{name}` reads itself"));
            return Some(error.help("a step's outputs and status are there only after it"));
        }
        if there.in_finally && !here.in_finally {
            return Some(finally_named(name, reference.span));
        }
        (before > number).then(|| {
            PlanError::at(Code::LaterStep, reference.span, format!("`{name}` comes later"))
                .also(there.place(), "here")
                .help(format!("move `{name}` before `{}`", here.id()))
        })
    }

    fn output_exists(&mut self, before: usize, reference: &Reference) -> bool {
        let there = &self.work.steps[before];
        let Some(schemas) = &there.schemas else { return false };
        let way = reference.output().unwrap_or_default();
        let Err((at, step)) = walk(Shape::root(&schemas.output), way) else {
            return true;
        };
        let uses = there.spec.uses.as_ref().map_or("", |uses| uses.value.as_str());
        let names = at.field_names();
        let message = format!("`{}` (`{uses}`) has no output `{step}`", there.id());
        let help = if names.is_empty() {
            "it has no outputs".to_owned()
        } else {
            suggestion(&step, names.iter().copied(), "it has")
        };
        let all = if help.starts_with("did you") {
            format!("{help} {}", suggestion("", names, "it has"))
        } else {
            help
        };
        self.problems
            .push(PlanError::at(Code::UnknownOutput, reference.span, message).help(all));
        false
    }

    /// A field of an output must be there whenever it is read.
    fn output_is_there(
        &mut self,
        number: Option<usize>,
        before: usize,
        expression: &Expression,
        reference: &Reference,
        guards: &Guards,
    ) {
        let whole = reference.output().is_some_and(<[Segment]>::is_empty);
        if whole || reference.guarded || expression.is_condition() || guards.ensures(reference) {
            return;
        }
        let there = &self.work.steps[before];
        let mut possible = self.possible(number, before, false);
        if let Some(ruled) = guards.statuses.get(there.id()) {
            possible = &possible & ruled;
        }
        if possible.contains("skipped") && there.spec.when.is_some() && guards.implies(&self.guards[before]) {
            possible.remove("skipped");
        }
        possible.remove("succeeded");
        if possible.is_empty() {
            return;
        }
        let error = self.unguarded(number, there, reference, &possible);
        self.problems.push(error);
    }

    fn unguarded(
        &self,
        number: Option<usize>,
        there: &Draftee<'_>,
        reference: &Reference,
        possible: &Statuses,
    ) -> PlanError {
        let id = there.id();
        let in_finally = number.is_some_and(|number| self.work.steps[number].in_finally);
        let why = if in_finally {
            "may not have succeeded when `finally` runs"
        } else if possible.contains("failed") {
            "may have failed and let the run continue"
        } else {
            "may have been skipped"
        };
        let error = PlanError::at(
            Code::UnguardedOutput,
            reference.span,
            format!("`{id}` {why}: this may not be there"),
        );
        let error = match &there.spec.when {
            Some(when) if !in_finally && possible.contains("skipped") => {
                error.also(when.span(), "it runs only if this is true")
            }
            _ => error,
        };
        error.help(format!(
            "write `{} | default(...)`, or add `if: ${{{{ steps.{id}.status == 'succeeded' }}}}`",
            reference.shown()
        ))
    }

    /// The statuses that a step can have when another one is asked whether it runs. `operator` counts in what a person
    /// may do to it.
    fn possible(&self, number: Option<usize>, before: usize, operator: bool) -> Statuses {
        let there = &self.work.steps[before];
        let in_finally = number.is_some_and(|number| self.work.steps[number].in_finally);
        if in_finally && !there.in_finally {
            return all().into_iter().filter(|word| *word != "running").collect();
        }
        let mut possible = Statuses::from(["succeeded"]);
        if there.spec.when.is_some() || operator || self.may_be_unconfigured(before) {
            possible.insert("skipped");
        }
        if there.spec.on_failure == OnFailure::Continue || there.in_finally {
            possible.insert("failed");
        }
        possible
    }

    fn may_be_unconfigured(&self, number: usize) -> bool {
        let optional = |name: &jm_step::TargetName| {
            self.work
                .targets
                .and_then(|targets| targets.target(name.as_str()))
                .is_some_and(|target| target.optional)
        };
        self.bindings
            .get(number)
            .is_some_and(|bindings| bindings.values().any(optional))
    }

    /// An `if` that asks for a status that cannot be.
    fn reachable(&mut self, number: usize, when: &Expression, guards: &Guards) {
        for (step, asked) in &guards.statuses {
            let Some(before) = self
                .work
                .index
                .get(step.as_str())
                .copied()
                .filter(|before| *before < number)
            else {
                continue;
            };
            let possible = self.possible(Some(number), before, true);
            if possible.is_disjoint(asked) && !unknown_words(when) {
                let words: Vec<&str> = possible.into_iter().collect();
                let error = PlanError::at(
                    Code::UnreachableStep,
                    when.span(),
                    format!("`{}` can never run", self.work.steps[number].id()),
                )
                .label(format!("at this moment `{step}` is {}", words.join(" or ")));
                let failed = asked.contains("failed") && !self.work.steps[number].in_finally;
                let help = format!("let `{step}` say `on_failure: continue`, or move this step to `finally`");
                self.problems.push(error.maybe_help(failed.then_some(help)));
            }
        }
    }

    fn statuses(&mut self, expression: &Expression) {
        for word in status_words(expression) {
            if !StepStatus::WORDS.contains(&word.as_str()) {
                let help = match did_you_mean(&word, StepStatus::WORDS) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => suggestion(&word, StepStatus::WORDS, "the statuses are"),
                };
                let message = format!("`{word}` is never the status of a step");
                self.problems
                    .push(PlanError::at(Code::UnknownStatus, expression.span(), message).help(help));
            }
        }
    }
}

fn unknown_words(expression: &Expression) -> bool {
    status_words(expression)
        .iter()
        .any(|word| !StepStatus::WORDS.contains(&word.as_str()))
}

/// The words that statuses are compared with anywhere in an expression.
fn status_words(expression: &Expression) -> Vec<String> {
    let mut found = Vec::new();
    if expression.references().iter().any(Reference::is_status) {
        if let Ok(tree) = parse_code(expression.code()) {
            collect_words(&tree, expression, &mut found);
        }
    }
    found
}

fn collect_words(expr: &Expr<'_>, expression: &Expression, found: &mut Vec<String>) {
    match expr {
        Expr::BinOp(op) => {
            if let Some((_, words)) = compared(op, expression) {
                found.extend(words);
            } else if matches!(op.op, BinOpKind::ScAnd | BinOpKind::ScOr) {
                collect_words(&op.left, expression, found);
                collect_words(&op.right, expression, found);
            }
        }
        Expr::UnaryOp(op) if matches!(op.op, UnaryOpKind::Not) => collect_words(&op.expr, expression, found),
        Expr::IfExpr(branches) => collect_words(&branches.test_expr, expression, found),
        _ => {}
    }
}

fn finally_named(name: &str, at: SourceSpan) -> PlanError {
    PlanError::at(
        Code::FinallyStep,
        at,
        format!("`{name}` is a step of `finally`, which comes after all others"),
    )
    .help("nothing can wait for what runs when the run has ended")
}

/// Follows a way into a schema. An error gives the schema that has no such field, and the field.
pub(crate) fn walk<'s>(shape: Shape<'s>, way: &[Segment]) -> Result<Vec<Shape<'s>>, (Shape<'s>, String)> {
    let mut at = vec![shape];
    for segment in way {
        let mut next = Vec::new();
        match segment {
            Segment::Field(name) => {
                let fields: Vec<Field<'s>> = at.iter().map(|shape| shape.field(name)).collect();
                if fields.iter().any(|field| matches!(field, Field::Open)) {
                    return Ok(Vec::new());
                }
                next.extend(fields.into_iter().flat_map(|field| match field {
                    Field::Declared(shapes) => shapes,
                    _ => Vec::new(),
                }));
                if let (true, Some(first)) = (next.is_empty(), at.first()) {
                    return Err((*first, name.clone()));
                }
            }
            Segment::Index(_) => next.extend(at.iter().flat_map(|shape| shape.items())),
            Segment::Dynamic => return Ok(Vec::new()),
        }
        if next.is_empty() {
            return Ok(Vec::new());
        }
        at = next;
    }
    Ok(at)
}

/// The steps that an undoing step leaves as they are although they depend on what it undoes, in the order of the file.
pub(crate) fn left_by_undo(undone: &[usize], after: impl Fn(usize) -> Vec<usize>) -> Vec<(usize, usize)> {
    let mut left: HashMap<usize, usize> = HashMap::new();
    for step in undone {
        for dependent in after(*step) {
            if !undone.contains(&dependent) {
                left.entry(dependent).or_insert(*step);
            }
        }
    }
    let mut left: Vec<(usize, usize)> = left.into_iter().collect();
    left.sort_unstable();
    left
}
