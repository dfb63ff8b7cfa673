//! What the schema cannot say: circles, and what a good recovery plan owes its reader.

use std::collections::HashSet;
use std::time::Duration;

use jm_step::Effect;

use super::guards::Guards;
use super::references::left_by_undo;
use crate::code::Code;
use crate::compile::{Traits, Work};
use crate::duration::show;
use crate::error::{PlanError, Problems};
use crate::graph::{Draft, Edge, longest};
use crate::parse::suggestion;
use crate::plan::OnFailure;
use crate::template::{Evaluated, Expression, NothingKnown, Reference, Root, evaluate};

/// Reports steps that wait for each other, each circle whole.
pub(crate) fn cycles(work: &Work<'_>, draft: &Draft, problems: &mut Problems) {
    for cycle in draft.cycles() {
        problems.push(circle(work, &cycle));
    }
}

fn circle(work: &Work<'_>, cycle: &[&Edge]) -> PlanError {
    let id = |step: usize| work.steps[step].id();
    let mut way: Vec<&str> = cycle.iter().map(|edge| id(edge.before)).collect();
    way.extend(way.first().copied());
    let message = format!("steps wait for each other: {}", way.join(" → "));
    let Some((first, rest)) = cycle.split_first() else {
        return PlanError::nowhere(Code::Cycle, message);
    };
    let label = |edge: &Edge| format!("`{}` waits for `{}`", id(edge.after), id(edge.before));
    let error = PlanError::at(Code::Cycle, first.span, message).label(label(first));
    let error = rest
        .iter()
        .fold(error, |error, edge| error.also(edge.span, label(edge)));
    error.help("remove the dependency that is not meant")
}

/// Everything else.
pub(crate) fn check(work: &Work<'_>, draft: &Draft, traits: &[Option<Traits>], problems: &mut Problems) {
    unused_inputs(work, problems);
    never_true(work, problems);
    // One step by itself has nothing before it: whoever asks for it by name has to know.
    if !work.document.plan.one_step {
        unproven(work, draft, traits, problems);
    }
    budgets(work, draft, problems);
    contacts(work, problems);
    review(work, problems);
    schedules(work, problems);
    repairs(work, problems);
    drill(work, problems);
    undone(work, draft, problems);
}

fn expressions<'a>(work: &'a Work<'_>) -> impl Iterator<Item = &'a Expression> {
    let steps = work.steps.iter().flat_map(|step| {
        step.spec
            .when
            .iter()
            .chain(step.spec.with.iter().flat_map(|with| with.expressions()))
    });
    let outputs = work
        .document
        .plan
        .outputs
        .iter()
        .flat_map(|(_, output)| output.expressions());
    steps.chain(outputs)
}

fn unused_inputs(work: &Work<'_>, problems: &mut Problems) {
    // What could not be read may have used them.
    if work.document.broken {
        return;
    }
    let used: HashSet<&str> = expressions(work)
        .flat_map(Expression::references)
        .filter(|reference| reference.root == Root::Inputs)
        .map(Reference::name)
        .collect();
    for input in &work.document.plan.inputs {
        if !used.contains(input.name.value.as_str()) {
            let error = PlanError::at(
                Code::UnusedInput,
                input.name.span,
                format!("nothing reads the input `{}`", input.name.value),
            );
            problems.push(error.help(format!(
                "write `${{{{ inputs.{} }}}}` where it is meant, or remove it",
                input.name.value
            )));
        }
    }
}

fn never_true(work: &Work<'_>, problems: &mut Problems) {
    for step in &work.steps {
        let Some(when) = &step.spec.when else { continue };
        match evaluate(when, &NothingKnown) {
            Ok(Evaluated::Value(serde_json::Value::Bool(false))) => {
                let message = format!("`{}` can never run", step.id());
                let error = PlanError::at(Code::UnreachableStep, when.span(), message).label("this is always false");
                problems.push(error.help("remove the step, or say when it runs"));
            }
            Err(error) => {
                let message = format!("the expression cannot be evaluated: {}", error.message);
                problems.push(PlanError::at(Code::ExpressionFailed, when.span(), message));
            }
            Ok(_) => {}
        }
    }
}

fn unproven(work: &Work<'_>, draft: &Draft, traits: &[Option<Traits>], problems: &mut Problems) {
    let proves = |step: usize| {
        let step = &work.steps[step];
        let gate = step.step_type.as_ref().is_some_and(|step_type| step_type.is_gate());
        gate && step.spec.on_failure != OnFailure::Continue
    };
    for (number, step) in work.steps.iter().enumerate() {
        // Of a step whose input is wrong it cannot be said what it does.
        let effect = traits[number].as_ref().map(|traits| traits.effect);
        if step.spec.id.is_none() || effect != Some(Effect::Irreversible) {
            continue;
        }
        let before = if step.in_finally {
            proven_before_finally(work, draft, number)
        } else {
            draft.ancestors(number).into_iter().collect()
        };
        if !before.into_iter().any(proves) {
            let at = step.spec.uses.as_ref().map_or_else(|| step.place(), |uses| uses.span);
            let message = format!(
                "`{}` cannot be taken back, and nothing before it verifies or approves",
                step.id()
            );
            let error = PlanError::at(Code::UnprovenIrreversible, at, message).label("irreversible");
            problems.push(error.help(
                "let it need a step that verifies (such as `postgres.verify` or `check.assert`) or `manual.approve`",
            ));
        }
    }
}

/// What must have succeeded before a step of `finally` runs: the steps of `finally` before it, and what its `if` asks
/// for with all that comes before that.
fn proven_before_finally(work: &Work<'_>, draft: &Draft, number: usize) -> Vec<usize> {
    let mut before: Vec<usize> = (work.main..number).collect();
    for (step, statuses) in &Guards::of(work.steps[number].spec.when.as_ref()).statuses {
        if let (true, Some(at)) = (statuses.iter().eq(["succeeded"].iter()), work.index.get(step.as_str())) {
            before.push(*at);
            before.extend(draft.ancestors(*at));
        }
    }
    before
}

fn budgets(work: &Work<'_>, draft: &Draft, problems: &mut Problems) {
    let Some(rto) = work.document.plan.objectives.rto else {
        return;
    };
    let budget = |step: usize| work.steps[step].spec.budget;
    let before = |step: usize| draft.before(step).into_iter().map(|edge| edge.before).collect();
    let cost = |step: usize| budget(step).map_or(Duration::ZERO, |budget| budget.value);
    let (way, total) = longest(&draft.order(), before, cost);
    if total <= rto.value {
        return;
    }
    let message = format!(
        "the budgets on the longest way add up to {}, more than the RTO of {}",
        show(total),
        show(rto.value)
    );
    let error = PlanError::at(Code::BudgetOverRto, rto.span, message).label("the RTO");
    let budgets = way
        .into_iter()
        .filter_map(|step| Some((work.steps[step].id(), budget(step)?)));
    let error = budgets.fold(error, |error, (id, budget)| error.also(budget.span, format!("`{id}`")));
    problems.push(error.help("shorten a budget, let steps run side by side, or state the objective as it is"));
}

fn contacts(work: &Work<'_>, problems: &mut Problems) {
    let Some(targets) = work.targets else { return };
    for contact in &work.document.plan.contacts {
        match targets.contacts().get(&contact.value) {
            None => {
                let known = targets.contacts().keys().map(String::as_str);
                let message = format!("`{}` has no contact `{}`", targets.file(), contact.value);
                let error = PlanError::at(Code::UnknownContact, contact.span, message);
                problems.push(error.help(suggestion(&contact.value, known, "its contacts are")));
            }
            Some(known) if is_placeholder(&known.reach) => {
                let at = targets
                    .contact_places
                    .get(&contact.value)
                    .copied()
                    .unwrap_or(contact.span);
                let message = format!("nobody can reach the contact `{}`", contact.value);
                let error = PlanError::at(Code::PlaceholderContact, at, message).in_source(&targets.source);
                problems.push(error.help("put a telephone number or an address into `reach`"));
            }
            Some(_) => {}
        }
    }
}

fn is_placeholder(reach: &str) -> bool {
    let reach = reach.trim().to_lowercase();
    let words = [
        "todo",
        "tbd",
        "xxx",
        "n/a",
        "example.com",
        "example.org",
        "your-",
        "<",
        "[",
        "555-",
        "placeholder",
        "fixme",
    ];
    reach.is_empty() || words.iter().any(|word| reach.contains(word))
}

fn review(work: &Work<'_>, problems: &mut Problems) {
    let plan = &work.document.plan;
    let (Some(every), Some(reviewed)) = (plan.review_every, plan.reviewed.or(plan.updated)) else {
        return;
    };
    let today = work.now.to_zoned(jiff::tz::TimeZone::UTC).date();
    let Ok(since) = reviewed.value.until(today) else { return };
    let days = u64::try_from(since.get_days()).unwrap_or(0);
    if Duration::from_secs(days * 86_400) > every.value {
        let message = format!(
            "the last review was {days} days ago, and one is due every {}",
            show(every.value)
        );
        let error = PlanError::at(Code::ReviewOverdue, reviewed.span, message).label("the last review");
        problems
            .push(error.help("read the plan against the systems as they are, drill it, and set `reviewed` to the day"));
    }
}

/// A reader takes a schedule for something that happens.
fn schedules(work: &Work<'_>, problems: &mut Problems) {
    let plan = &work.document.plan;
    let drill = plan.drill.as_ref().and_then(|drill| drill.schedule.as_ref());
    let file = work.document.file();
    let plans = [("plan", "plan run", plan.schedule.as_ref()), ("drill", "drill", drill)];
    for (what, verb, schedule) in plans {
        let Some(schedule) = schedule else { continue };
        let message = format!("nothing starts the {what} at these times");
        let error = PlanError::at(Code::ScheduleNotKept, schedule.cron.span, message);
        problems.push(error.help(format!(
            "let cron or a timer call `jm {verb} {file}`; jm starts nothing by itself"
        )));
    }
}

fn repairs(work: &Work<'_>, problems: &mut Problems) {
    let Some(targets) = work.targets.filter(|targets| !targets.is_broken()) else {
        return;
    };
    for name in &work.document.plan.repairs {
        if targets.target(name.value.as_str()).is_none() {
            let known = targets.targets().map(|(name, _)| name.as_str());
            let error = PlanError::at(
                Code::UnknownTarget,
                name.span,
                format!("there is no target `{}`", name.value),
            );
            problems.push(error.help(suggestion(name.value.as_str(), known, "the targets are")));
        }
    }
}

fn drill(work: &Work<'_>, problems: &mut Problems) {
    let inputs = &work.document.plan.inputs;
    for (name, value) in work.document.plan.drill.iter().flat_map(|drill| &drill.inputs) {
        match inputs.iter().find(|input| input.name.value == name.value) {
            None => {
                let known = inputs.iter().map(|input| input.name.value.as_str());
                let error = PlanError::at(
                    Code::UnknownInput,
                    name.span,
                    format!("the plan has no input `{}`", name.value),
                );
                problems.push(error.help(suggestion(&name.value, known, "the inputs are")));
            }
            Some(input) => {
                if let Err(reason) = input.accepts(&value.value) {
                    problems.push(PlanError::at(
                        Code::InvalidValue,
                        value.span,
                        format!("input `{}`: {reason}", name.value),
                    ));
                }
            }
        }
    }
}

fn undone(work: &Work<'_>, draft: &Draft, problems: &mut Problems) {
    for step in work.steps.iter().filter(|step| !step.spec.undoes.is_empty()) {
        let number = |id: &jm_step::StepId| work.index.get(id.as_str()).copied();
        let undone: Vec<usize> = step.spec.undoes.iter().filter_map(|id| number(&id.value)).collect();
        let after = |step: usize| draft.after(step).into_iter().filter(|next| *next < work.main).collect();
        let left = left_by_undo(&undone, after);
        if left.is_empty() {
            continue;
        }
        let names: Vec<String> = left
            .iter()
            .map(|(step, _)| format!("`{}`", work.steps[*step].id()))
            .collect();
        let at = step.spec.undoes.first().map_or_else(|| step.place(), |id| id.span);
        let message = format!(
            "not done anew although they depend on what is undone: {}",
            names.join(", ")
        );
        let error = PlanError::at(Code::UndoLeavesDependents, at, message);
        problems.push(error.help("add those to `undoes` that are to be done anew on a resume; leave the others"));
    }
}
