//! What steps name: in expressions, in `needs` and in `undoes`. From this come the edges of the graph.

use jm_step::StepId;

use crate::code::Code;
use crate::compile::{Draftee, Work};
use crate::error::{PlanError, Problems};
use crate::graph::Edge;
use crate::parse::suggestion;
use crate::plan::Because;
use crate::span::Spanned;
use crate::template::{Expression, Reference, Root};

/// Checks all that steps name; gives the edges.
pub(crate) fn check(work: &Work<'_>, problems: &mut Problems) -> Vec<Edge> {
    let mut checker = Checker {
        work,
        problems,
        edges: Vec::new(),
    };
    for number in 0..work.steps.len() {
        checker.step(number);
    }
    checker.edges
}

struct Checker<'a, 'w, 'p> {
    work: &'a Work<'w>,
    problems: &'p mut Problems,
    edges: Vec<Edge>,
}

impl Checker<'_, '_, '_> {
    fn step(&mut self, number: usize) {
        let step = &self.work.steps[number];
        for need in &step.spec.needs {
            self.need(number, step, need);
        }
        if let Some(when) = &step.spec.when {
            self.expression(number, when);
        }
        for expression in step.spec.with.iter().flat_map(|with| with.expressions()) {
            self.expression(number, expression);
        }
    }

    fn need(&mut self, number: usize, step: &Draftee<'_>, need: &Spanned<StepId>) {
        let error = match self.work.index.get(need.value.as_str()) {
            _ if step.in_finally => {
                PlanError::at(Code::FinallyStep, need.span, "steps of `finally` have no `needs`")
                    .help("they run one after the other as written; an `if` decides whether one runs")
            }
            None => self.unknown_step(need.value.as_str(), need.span),
            Some(before) if *before == number => {
                PlanError::at(Code::SelfDependency, need.span, format!("`{}` needs itself", need.value))
                    .help("remove it from its own `needs`")
            }
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

    fn unknown_step(&self, name: &str, at: miette::SourceSpan) -> PlanError {
        PlanError::at(Code::UnknownStep, at, format!("there is no step `{name}`"))
            .help(suggestion(name, self.work.ids(), "the steps are"))
    }

    fn expression(&mut self, number: usize, expression: &Expression) {
        for reference in expression.references() {
            match reference.root {
                Root::Inputs => self.input(reference),
                Root::Steps => self.step_reference(number, expression, reference),
                Root::Run | Root::Objectives | Root::Env => {}
            }
        }
    }

    fn input(&mut self, reference: &Reference) {
        let inputs = &self.work.document.plan.inputs;
        if !inputs.iter().any(|input| input.name.value == reference.name()) {
            let known = inputs.iter().map(|input| input.name.value.as_str());
            let help = suggestion(reference.name(), known, "the inputs are");
            let message = format!("the plan has no input `{}`", reference.name());
            self.problems.push(PlanError::at(Code::UnknownInput, reference.span, message).help(help));
        }
    }

    fn step_reference(&mut self, number: usize, expression: &Expression, reference: &Reference) {
        let name = reference.step().unwrap_or_default();
        let Some(before) = self.work.index.get(name.as_str()).copied() else {
            let error = self.unknown_step(&name, reference.span);
            return self.problems.push(error);
        };
        let here = &self.work.steps[number];
        let there = &self.work.steps[before];
        let error = if before == number {
            PlanError::at(Code::SelfDependency, reference.span, format!("`{name}` reads itself"))
                .help("a step's outputs and status are there only after it")
        } else if there.in_finally && !here.in_finally {
            finally_named(&name, reference.span)
        } else if before > number {
            PlanError::at(Code::LaterStep, reference.span, format!("`{name}` comes later"))
                .also(there.place(), "here")
                .help(format!("move `{name}` before `{}`", here.id()))
        } else {
            return self.edges.push(Edge {
                before,
                after: number,
                because: Because::Reference,
                decided_by_if: expression.is_condition() && reference.is_status(),
                span: reference.span,
            });
        };
        self.problems.push(error);
    }
}

fn finally_named(name: &str, at: miette::SourceSpan) -> PlanError {
    PlanError::at(Code::FinallyStep, at, format!("`{name}` is a step of `finally`, which comes after all others"))
        .help("a step cannot wait for what runs when the run has ended")
}
