//! The question before a run begins or goes on, and what has to be said where nobody is there to be asked.

use jm_plan::PlannedStep;
use jm_run::{Run, RunState};
use jm_step::Effect;

use crate::args::RunOptions;
use crate::exit::{CommandError, Exit};
use crate::person;

/// Asks whether to begin.
pub(super) fn to_begin(run: &Run, options: &RunOptions) -> Result<(), CommandError> {
    let steps: Vec<&PlannedStep> = run.plan.all_steps().collect();
    agree(run, &steps, "begin?", options)
}

/// Asks whether to go on with what is [yet to come](to_come). A drill asks nothing.
pub(super) fn to_go_on(run: &Run, to_come: &[&PlannedStep], options: &RunOptions) -> Result<(), CommandError> {
    if run.info.drill {
        return Ok(());
    }
    agree(run, to_come, "go on?", options)
}

/// The steps that a resume has yet to do: of a run that a person ended, those of `finally`.
pub(super) fn to_come<'r>(run: &'r Run, state: &RunState) -> Vec<&'r PlannedStep> {
    let is_over = |step: &&PlannedStep| {
        let entry = state.step(step.id.as_str());
        entry.is_some_and(|entry| entry.state.is_passed())
    };
    let finally = run.plan.finally().iter();
    let main = run.plan.steps().iter().filter(|step| !is_over(step));
    main.filter(|_| state.aborted().is_none()).chain(finally).collect()
}

/// Without a terminal, what cannot be taken back needs `--yes`.
fn agree(run: &Run, steps: &[&PlannedStep], question: &str, options: &RunOptions) -> Result<(), CommandError> {
    let any = |is_one: fn(Effect) -> bool| steps.iter().any(|step| is_one(step.effect));
    if options.yes || !any(|effect| effect != Effect::ReadOnly) {
        return Ok(());
    }
    if person::is_there() {
        return match person::yes_or_no(question) {
            Some(true) => Ok(()),
            _ => Err(CommandError::new(Exit::Refused, "nobody agreed").hint("nothing was changed")),
        };
    }
    if any(|effect| effect == Effect::Irreversible) {
        return Err(CommandError::new(
            Exit::Refused,
            "what comes next cannot be taken back, and nobody is there to be asked",
        )
        .hint(format!(
            "add `{}`; `--dry-run` shows what it would do",
            words_of_consent(run, options)
        )));
    }
    Ok(())
}

/// All that has to be said where nobody is there to be asked: not one after the other, a start each.
fn words_of_consent(run: &Run, options: &RunOptions) -> String {
    if run.protected && options.confirm.is_none() {
        format!("--yes --confirm {}", run.targets_name)
    } else {
        "--yes".to_owned()
    }
}

/// The steps by what they do to the world: `14: 6 look, 7 change something, `switch` cannot be taken back`.
pub(super) fn deeds<'p>(steps: impl Iterator<Item = &'p PlannedStep>) -> String {
    let steps: Vec<&PlannedStep> = steps.collect();
    let of = |effect: Effect| steps.iter().filter(move |step| step.effect == effect);
    let grave: Vec<String> = of(Effect::Irreversible).map(|step| format!("`{}`", step.id)).collect();
    let mut parts = Vec::new();
    for (count, what) in [
        (of(Effect::ReadOnly).count(), "only look"),
        (of(Effect::Reversible).count(), "change something"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    if !grave.is_empty() {
        parts.push(format!("{} cannot be taken back", grave.join(", ")));
    }
    format!("{}: {}", steps.len(), parts.join(", "))
}
