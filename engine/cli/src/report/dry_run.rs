//! A dry run: for people, as a document, and as Markdown for a pull request, the same for the same plan and world.

use std::fmt::Write;
use std::time::Duration;

use jm_plan::{Plan, duration as written};
use jm_run::{DataLoss, DryRun, DryStatus, DryStep, DryVerdict, Expectation, TargetLook};
use jm_step::{Action, Change, Effect, Grade, StepId};

use crate::args::DryRunFormat;
use crate::exit::Exit;
use crate::report::document::{Document, PlanFile, PrintedDryRun};
use crate::report::{table, time, words};
use crate::ui::{Style, Ui};

mod markdown;

/// Names of steps in a sentence, at most.
const MOST_NAMED: usize = 6;

/// Prints a dry run.
pub(crate) fn print(result: &DryRun, plan: &Plan, format: DryRunFormat, plan_file: Option<&PlanFile>, ui: &Ui) {
    match format {
        DryRunFormat::Human => human(result, ui),
        DryRunFormat::Json => Document::of(PrintedDryRun {
            dry_run: result,
            plan_file,
        })
        .print(ui),
        DryRunFormat::Markdown => ui.out(markdown::render(result, plan).trim_end()),
    }
}

/// A line that begins with `head`, laid out for people wherever it goes: somebody reads it in a ticket, too.
fn put(ui: &Ui, head: &str, text: &str) {
    ui.out_all(&table::hang(head, text, ui.sheet()));
}

/// The exit code that the run itself would be refused or fail with.
pub(crate) fn exit(result: &DryRun) -> Exit {
    match result.verdict {
        DryVerdict::Ready => Exit::Done,
        DryVerdict::WouldFail => Exit::Failed,
        DryVerdict::CannotBegin => Exit::Stopped,
        DryVerdict::Refused => Exit::Refused,
    }
}

/// The grade of a step, or why it has none.
fn grade(step: &DryStep) -> (&'static str, Option<Style>) {
    match (step.status, step.grade) {
        (_, Grade::WouldFail) => ("WOULD FAIL", Some(Style::Red)),
        (DryStatus::Skipped, _) => ("skipped", Some(Style::Dim)),
        (DryStatus::Blocked, _) => ("blocked", Some(Style::Yellow)),
        (DryStatus::Done, _) => ("done", Some(Style::Green)),
        (DryStatus::WillProbe, _) => ("to probe", Some(Style::Yellow)),
        (DryStatus::Waits, _) => ("waits", Some(Style::Yellow)),
        (DryStatus::Left, _) => ("left", Some(Style::Dim)),
        (_, Grade::Verified) => ("verified", Some(Style::Green)),
        (_, Grade::Computed) => ("computed", None),
        (_, Grade::Declared) => ("declared", None),
        (_, Grade::Unknown) => ("unknown", Some(Style::Yellow)),
    }
}

fn human(result: &DryRun, ui: &Ui) {
    let column = result
        .steps
        .iter()
        .chain(&result.finally)
        .map(|step| step.id.as_str().len())
        .max()
        .unwrap_or(0);
    ui.out(ui.paint(Style::Bold, &format!("dry run of {}", result.plan)));
    targets(result, ui);
    ui.out("");
    for step in &result.steps {
        if result.point_of_no_return.as_ref() == Some(&step.id) && step.status != DryStatus::Left {
            ui.out(ui.paint(Style::Yellow, "-- point of no return --"));
        }
        of_step(step, column, ui);
    }
    if !result.finally.is_empty() {
        ui.out("finally");
        result.finally.iter().for_each(|step| of_step(step, column, ui));
    }
    ui.out("");
    for refusal in &result.refusals {
        let mut head = format!("{} ", ui.paint(Style::Red, "REFUSED"));
        for line in words::error(ui, refusal) {
            put(ui, &head, &line);
            head = " ".repeat("REFUSED ".len());
        }
    }
    let ends = promises(result)
        .into_iter()
        .chain(left(result))
        .chain([verdict(result)]);
    ends.for_each(|line| put(ui, "", &line));
}

/// What a run that stops leaves for a resume: ``stops before `switch`; left for a resume: switch, resume, `finally` ``.
fn left(result: &DryRun) -> Option<String> {
    let until = result.until.as_ref()?;
    let is_left = |step: &&DryStep| step.status == DryStatus::Left;
    let steps: Vec<&StepId> = result.steps.iter().filter(is_left).map(|step| &step.id).collect();
    if steps.is_empty() {
        return None;
    }
    let mut names: Vec<String> = steps.iter().take(MOST_NAMED).map(ToString::to_string).collect();
    if steps.len() > MOST_NAMED {
        names.push(format!("{} more", steps.len() - MOST_NAMED));
    }
    names.extend(
        result
            .finally
            .iter()
            .any(|step| is_left(&step))
            .then(|| "`finally`".to_owned()),
    );
    Some(format!(
        "stops before `{until}`; left for a resume: {}",
        names.join(", ")
    ))
}

fn targets(result: &DryRun, ui: &Ui) {
    for target in &result.targets {
        put(ui, &format!("  target {:<10} ", target.target.as_str()), &found(target));
    }
}

/// How a target was found, and which system it is: ``up, postgres at db.example:5432/app``.
fn found(target: &TargetLook) -> String {
    let system = target
        .system
        .as_ref()
        .map(|system| format!(", {system}"))
        .unwrap_or_default();
    let detail = target.detail.as_deref().map(table::tame).unwrap_or_default();
    match target.up {
        Some(true) => format!("up{system}"),
        Some(false) if target.repairs => format!("down, and the plan repairs it{system}: {detail}"),
        Some(false) => format!("DOWN{system}: {detail}"),
        None if target.detail.is_some() => format!("not configured: {detail}"),
        None => format!("not read{system}"),
    }
}

fn of_step(step: &DryStep, column: usize, ui: &Ui) {
    let (word, style) = grade(step);
    let word = style.map_or_else(
        || format!("{word:<10}"),
        |style| ui.paint(style, &format!("{word:<10}")),
    );
    let may = if step.status == DryStatus::MayRun {
        "may run: "
    } else {
        ""
    };
    let said = step.summary.as_deref().or(step.because.as_deref());
    let said = table::tame(said.unwrap_or_default());
    let irreversible = if step.effect == Effect::Irreversible {
        " (irreversible)"
    } else {
        ""
    };
    let expected = expected(step)
        .map(|expected| format!(", about {expected}"))
        .unwrap_or_default();
    put(
        ui,
        &format!("{word} {:<column$}  ", step.id.as_str()),
        &format!("{may}{said}{irreversible}{expected}"),
    );
    let indent = " ".repeat(11);
    for change in &step.changes {
        put(ui, &indent, &table::tame(&one_line(change)));
    }
    for reason in &step.degraded {
        let head = format!("{indent}{} ", ui.paint(Style::Yellow, "degraded:"));
        put(ui, &head, &table::tame(reason));
    }
    if step.summary.is_some()
        && let Some(because) = &step.because
    {
        put(ui, &indent, &table::tame(because));
    }
    if let Some(error) = &step.error {
        for line in words::error(ui, error) {
            put(ui, &indent, &line);
        }
    }
    if shows_input(step) {
        put(ui, &format!("{indent}with "), &table::tame(&step.input.to_string()));
    }
}

/// What cannot be looked at yet is told by what it would be asked to do.
fn shows_input(step: &DryStep) -> bool {
    step.grade == Grade::Unknown && step.status == DryStatus::WillRun
}

/// How long a step that would run took before.
fn expected(step: &DryStep) -> Option<String> {
    let runs = !matches!(
        step.status,
        DryStatus::Done | DryStatus::Skipped | DryStatus::Blocked | DryStatus::Left
    );
    let seconds = step.expected.filter(|_| runs && step.grade != Grade::WouldFail)?;
    Some(time::duration(Duration::from_secs_f64(seconds)))
}

/// A change as a diff on one line: `~ deployment/web {"replicas":3} -> {"replicas":0}`.
fn one_line(change: &Change) -> String {
    let mark = match change.action {
        Action::Create => '+',
        Action::Update => '~',
        Action::Delete => '-',
        Action::Send => '>',
    };
    let mut line = format!("{mark} {}", change.object);
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => drop(write!(line, "  {before} -> {after}")),
        (None, Some(after)) if !after.is_null() => drop(write!(line, "  {after}")),
        (Some(before), None) => drop(write!(line, "  {before}")),
        _ => {}
    }
    line
}

fn promises(result: &DryRun) -> Vec<String> {
    let mut lines = Vec::new();
    if result.rto.is_some() || result.expected.is_some() {
        lines.push(recovery_time(result));
    }
    if let Some(loss) = &result.data_loss {
        lines.push(lost(loss));
    }
    lines
}

/// What is promised and what is expected: `RTO 30m: expected 4m12s along find, restore, switch (median of 3 runs)`.
fn recovery_time(result: &DryRun) -> String {
    let until = result
        .until
        .as_ref()
        .map(|step| format!(" until `{step}`"))
        .unwrap_or_default();
    let promised = result.rto.map_or_else(
        || "no RTO".to_owned(),
        |rto| format!("RTO {}", written::show(Duration::from_secs(rto))),
    );
    let Some(expected) = &result.expected else {
        return format!("{promised}: how long it takes is not known, for no earlier run was completed");
    };
    #[expect(clippy::cast_precision_loss, reason = "an RTO has fewer than 2^52 seconds")]
    let over = result.rto.is_some_and(|rto| expected.seconds > rto as f64);
    format!(
        "{promised}: {}{until}{}",
        expectation(expected),
        if over { ", MORE THAN PROMISED" } else { "" }
    )
}

/// How long a run is expected to take, and what that is known from.
pub(crate) fn expectation(expected: &Expectation) -> String {
    let names = |steps: &[jm_step::StepId]| steps.iter().map(jm_step::StepId::as_str).collect::<Vec<_>>().join(", ");
    let at_least = if expected.not_known.is_empty() { "" } else { "at least " };
    let along = if expected.path.is_empty() {
        String::new()
    } else {
        format!(" along {}", names(&expected.path))
    };
    let runs = match expected.runs {
        1 => "1 earlier run".to_owned(),
        runs => format!("the median of {runs} earlier runs"),
    };
    let elsewhere = if expected.other_targets {
        " on other targets"
    } else {
        ""
    };
    let not_known = if expected.not_known.is_empty() {
        String::new()
    } else {
        format!("; not known of {}", names(&expected.not_known))
    };
    format!(
        "expected {at_least}{}{along} (from {runs}{elsewhere}{not_known})",
        time::duration(Duration::from_secs_f64(expected.seconds))
    )
}

fn lost(loss: &DataLoss) -> String {
    let objective = loss
        .objective
        .map_or_else(|| "-".to_owned(), |seconds| written::show(Duration::from_secs(seconds)));
    let over = if loss.is_missed() { ", MORE THAN PROMISED" } else { "" };
    let point = loss.recovery_point.strftime("%Y-%m-%d %H:%M:%SZ");
    format!(
        "RPO {objective}: data as of {point} comes back, {} would be lost{over}",
        time::duration(loss.window())
    )
}

fn verdict(result: &DryRun) -> String {
    let count = |word: &str| {
        result
            .steps
            .iter()
            .chain(&result.finally)
            .filter(|step| grade(step).0 == word)
            .count()
    };
    let words = [
        "verified",
        "computed",
        "declared",
        "unknown",
        "skipped",
        "blocked",
        "left",
        "WOULD FAIL",
    ];
    let counts: Vec<String> = words
        .iter()
        .filter(|word| count(word) > 0)
        .map(|word| format!("{} {word}", count(word)))
        .collect();
    let verdict = match (result.verdict, &result.until) {
        (DryVerdict::Ready, until) => {
            let until = until
                .as_ref()
                .map(|step| format!(" before `{step}`"))
                .unwrap_or_default();
            format!(
                "nothing found that would stop it{until}{}{}",
                as_far_as(result),
                degraded(result)
            )
        }
        (DryVerdict::WouldFail, _) => format!("it WOULD FAIL at {}", failing(result)),
        (DryVerdict::CannotBegin, _) => format!("it CANNOT BEGIN without {}", missed(result)),
        (DryVerdict::Refused, _) => "a guard REFUSES it".to_owned(),
    };
    format!("{verdict}; {}", counts.join(", "))
}

/// What nobody can look into while it is down, and that a plan repairs it does not say that it comes up again.
fn as_far_as(result: &DryRun) -> String {
    let down = result.targets.iter().filter(|target| target.up == Some(false));
    let names: Vec<String> = down.map(|target| format!("`{}`", target.target)).collect();
    match &names[..] {
        [] => String::new(),
        [one] => format!(", as far as can be told while {one} is down"),
        several => format!(", as far as can be told while {} are down", several.join(", ")),
    }
}

/// It would come to its end, and not to the one that is hoped for.
fn degraded(result: &DryRun) -> String {
    match names(result, |step| !step.degraded.is_empty()) {
        names if names.is_empty() => names,
        names => format!(", but it WOULD END DEGRADED by {names}"),
    }
}

/// The targets that cannot be opened, and that nothing brings back.
fn missed(result: &DryRun) -> String {
    let is_missed = |target: &&TargetLook| target.up == Some(false) && !target.repairs;
    let missed = result.targets.iter().filter(is_missed);
    let names: Vec<String> = missed.map(|target| format!("`{}`", target.target)).collect();
    names.join(", ")
}

/// The steps by which it would fail; those that they block, and those that it goes on without, are told at their places.
fn failing(result: &DryRun) -> String {
    names(result, |step| {
        step.grade == Grade::WouldFail && step.status == DryStatus::WillRun && step.degraded.is_empty()
    })
}

/// The steps of which this is so.
fn names(result: &DryRun, is_so: impl Fn(&DryStep) -> bool) -> String {
    let steps = result.steps.iter().chain(&result.finally);
    let names: Vec<String> = steps
        .filter(|step| is_so(step))
        .map(|step| format!("`{}`", step.id))
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_reads_as_a_diff() {
        let update = Change::update("deployment/web", json!({ "replicas": 3 }), json!({ "replicas": 0 }));
        assert_eq!(
            one_line(&update),
            "~ deployment/web  {\"replicas\":3} -> {\"replicas\":0}"
        );
        assert_eq!(one_line(&Change::delete("database `x`")), "- database `x`");
    }
}
