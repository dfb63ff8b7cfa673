//! What stands where in a report: blocks that every form of it renders in its own way.

use jm_plan::duration as written;
use jm_run::{DataLoss, RunStatus, StepSummary, SummaryStatus};
use jm_step::{Action, ErrorSummary, Identity};
use serde_json::Value;

use super::{Failure, PostMortem, took};
use crate::report::{left, table, words};

/// What is longer is in the JSON form, and in the journal.
const LONGEST_VALUE: usize = 300;

/// A part of a report. Text between backticks is code.
#[derive(Debug, PartialEq)]
pub(super) enum Block {
    /// The heading of all.
    Title(String),
    /// The heading of a part.
    Heading(String),
    /// Text.
    Text(String),
    /// Names and what is to be said of them.
    Facts(Vec<(String, String)>),
    /// Points.
    List(Vec<String>),
    /// Headings and rows.
    Table(Vec<&'static str>, Vec<Vec<String>>),
    /// Text as it was, such as evidence.
    Verbatim(String),
    /// When steps went on, against the whole.
    Bars(f64, Vec<Bar>),
}

/// When a step went on, in seconds since the run was opened.
#[derive(Debug, PartialEq)]
pub(super) struct Bar {
    pub(super) step: String,
    pub(super) status: String,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) note: String,
}

/// The report of a run.
pub(super) fn of(report: &PostMortem) -> Vec<Block> {
    let mut blocks = vec![Block::Title(title(report)), Block::Text(verdict(report))];
    blocks.extend(report.description.clone().map(Block::Text));
    blocks.push(Block::Facts(facts(report)));
    blocks.extend(failures(report));
    blocks.extend(people(report));
    blocks.push(Block::Heading("Where the time went".to_owned()));
    blocks.push(bars(report));
    blocks.push(steps(report));
    blocks.extend(changes(report));
    blocks.push(Block::Heading("Timeline".to_owned()));
    blocks.push(timeline(report));
    blocks.extend(given(report));
    blocks
}

fn title(report: &PostMortem) -> String {
    let title = report.title.as_ref().unwrap_or(&report.summary.run.plan);
    let drill = if report.summary.run.drill { " (drill)" } else { "" };
    format!("{title}{drill}: post-mortem")
}

fn verdict(report: &PostMortem) -> String {
    let summary = &report.summary;
    let resumed = match summary.resumes {
        0 => String::new(),
        1 => ", resumed once".to_owned(),
        times => format!(", resumed {times} times"),
    };
    let aborted = summary
        .aborted_by
        .as_ref()
        .map(|who| format!(", aborted by {who}"))
        .unwrap_or_default();
    let end = match summary.status {
        SummaryStatus::AtRest(RunStatus::Failed) => "**FAILED**".to_owned(),
        status => format!("**{}**", status.as_str()),
    };
    format!("{end} after {}{resumed}{aborted}.", took(summary.seconds))
}

fn facts(report: &PostMortem) -> Vec<(String, String)> {
    let summary = &report.summary;
    let mut facts = vec![
        ("run".to_owned(), format!("`{}`", summary.run.id)),
        ("plan".to_owned(), plan(report)),
        ("began".to_owned(), moment(summary.run.started_at)),
    ];
    let mut put = |name: &str, text: String| facts.push((name.to_owned(), text));
    if let Some(ended) = summary.ended_at.filter(|_| !summary.alive) {
        put("came to rest", moment(ended));
    }
    if !summary.targets.is_empty() {
        put("targets", format!("`{}`", summary.targets));
    }
    for (target, identity) in &report.identities {
        put(&format!("target {target}"), identified(identity));
    }
    if let Some(rto) = &summary.rto {
        let kept = match rto.met {
            None => "open",
            Some(true) => "met",
            Some(false) => "**MISSED**",
        };
        let objective = written::show(std::time::Duration::from_secs(rto.objective));
        put(
            &format!("RTO {objective}"),
            format!("{kept}, took {}", took(rto.actual)),
        );
    }
    if let Some(loss) = &summary.data_loss {
        put(&format!("RPO {}", objective(loss)), lost(loss, summary.data_lost));
    }
    for one in &summary.left {
        let (what, removal) = (left::sentence(one), left::later_removal(one, summary));
        put(
            &format!("left behind {}", left::known(summary)),
            format!("{what}; {removal}"),
        );
    }
    if let Some(step) = &report.point_of_no_return {
        put("point of no return", passed(report, step.as_str()));
    }
    facts
}

fn plan(report: &PostMortem) -> String {
    let file = report
        .plan_file
        .as_ref()
        .map(|file| format!(" from `{file}`"))
        .unwrap_or_default();
    let digest = report.plan_digest.get(..12).unwrap_or(&report.plan_digest);
    format!("`{}`{file}, digest `{digest}`", report.summary.run.plan)
}

fn identified(identity: &Identity) -> String {
    if identity.0.is_empty() {
        return "nothing about it tells which one it is".to_owned();
    }
    format!("`{identity}`")
}

fn objective(loss: &DataLoss) -> String {
    loss.objective.map_or_else(
        || "-".to_owned(),
        |seconds| written::show(std::time::Duration::from_secs(seconds)),
    )
}

fn lost(loss: &DataLoss, is_final: bool) -> String {
    let kept = match (is_final, loss.is_missed()) {
        (false, _) => "open",
        (true, true) => "**MISSED**",
        (true, false) => "met",
    };
    format!("{kept}, {}", words::lost(loss, is_final))
}

/// Whether the point of no return was passed, and when. One that was begun and did not succeed may have been taken back by
/// the system itself: people decide by this line whether there is a way back.
fn passed(report: &PostMortem, step: &str) -> String {
    let began = report
        .timeline
        .iter()
        .find(|moment| moment.what == "started" && moment.step.as_ref().is_some_and(|one| one.as_str() == step));
    let Some(began) = began else {
        return format!("`{step}`, not reached");
    };
    let after = took(began.after);
    let steps = &report.summary.steps;
    let status = steps
        .iter()
        .find(|one| one.id.as_str() == step)
        .map(|one| one.status.as_str());
    match status {
        Some("succeeded") => format!("`{step}`, passed after {after}"),
        Some("failed") => format!("`{step}`, begun after {after}; it failed, and its error says what became of it"),
        _ => format!("`{step}`, begun after {after}; it is not known whether it took effect"),
    }
}

fn moment(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// What went wrong: first what it ended with, then what was overcome.
fn failures(report: &PostMortem) -> Vec<Block> {
    let degraded: Vec<String> = report
        .summary
        .steps
        .iter()
        .flat_map(|step| step.degraded.iter().map(|why| format!("`{}`: {why}", step.id)))
        .collect();
    let deadline = report.summary.deadline_passed;
    if report.failures.is_empty() && degraded.is_empty() && !deadline {
        return Vec::new();
    }
    let mut blocks = vec![Block::Heading("What went wrong".to_owned())];
    if deadline {
        let text = "The plan's deadline passed: nothing new was started any more but `finally`.";
        blocks.push(Block::Text(text.to_owned()));
    }
    blocks.extend(report.failures.iter().flat_map(|failure| of_failure(report, failure)));
    if !degraded.is_empty() {
        blocks.push(Block::Text(
            "Done all the same, and not as well as it should be:".to_owned(),
        ));
        blocks.push(Block::List(degraded));
    }
    blocks
}

fn of_failure(report: &PostMortem, failure: &Failure) -> Vec<Block> {
    let again = if failure.retried { ", tried again" } else { "" };
    let after = failure.at.duration_since(report.summary.run.started_at).as_secs_f64();
    let mut blocks = vec![Block::Text(format!(
        "`{}`, attempt {}, after {}{again}: **{}**",
        failure.step,
        failure.attempt,
        took(after.max(0.0)),
        failure.error.message
    ))];
    let mut points = told(&failure.error);
    points.extend(failure.why.iter().map(|why| format!("why it matters: {why}")));
    points.extend(failure.runbook.iter().map(|runbook| format!("runbook: {runbook}")));
    if !points.is_empty() {
        blocks.push(Block::List(points));
    }
    if let Some(evidence) = &failure.error.evidence {
        blocks.push(Block::Verbatim(match evidence {
            Value::String(text) => text.clone(),
            other => format!("{other:#}"),
        }));
    }
    blocks
}

fn told(error: &ErrorSummary) -> Vec<String> {
    let causes = error
        .causes
        .iter()
        .filter(|cause| !error.message.contains(cause.as_str()));
    causes
        .map(|cause| format!("because: {cause}"))
        .chain(error.hint.iter().map(|hint| format!("hint: {hint}")))
        .collect()
}

/// Who did what.
fn people(report: &PostMortem) -> Vec<Block> {
    let sessions = report.sessions.iter().enumerate().map(|(i, session)| {
        let what = if i == 0 { "began the run" } else { "went on with it" };
        (
            session.at,
            vec![
                session.who.clone(),
                format!("{what}, jm {}", session.jm),
                String::new(),
                String::new(),
            ],
        )
    });
    let words = report.words.iter().map(|word| {
        let step = word.step.as_ref().map(|step| format!("`{step}`")).unwrap_or_default();
        let why = word.reason.clone().unwrap_or_default();
        (
            word.at,
            vec![word.who.clone(), word.verb.as_str().to_owned(), step, why],
        )
    });
    let mut rows: Vec<_> = sessions.chain(words).collect();
    rows.sort_by_key(|(at, _)| *at);
    let rows = rows
        .into_iter()
        .map(|(at, row)| std::iter::once(moment(at)).chain(row).collect())
        .collect();
    vec![
        Block::Heading("Who did what".to_owned()),
        Block::Table(vec!["when", "who", "what", "step", "why"], rows),
    ]
}

fn bars(report: &PostMortem) -> Block {
    let began = report.summary.run.started_at;
    let after = |at: jiff::Timestamp| at.duration_since(began).as_secs_f64().max(0.0);
    let bar = |step: &StepSummary| {
        let from = after(step.started_at?);
        Some(Bar {
            step: step.id.to_string(),
            status: step.status.clone(),
            from,
            to: step.ended_at.map_or(report.summary.seconds, after).max(from),
            note: took(step.seconds),
        })
    };
    Block::Bars(
        report.summary.seconds,
        report.summary.steps.iter().filter_map(bar).collect(),
    )
}

fn steps(report: &PostMortem) -> Block {
    let critical = &report.summary.critical_path;
    let row = |step: &StepSummary| {
        let took = if step.attempts == 0 {
            String::new()
        } else {
            took(step.seconds)
        };
        let budget = step
            .budget
            .map(|seconds| written::show(std::time::Duration::from_secs(seconds)))
            .unwrap_or_default();
        let mut notes = Vec::new();
        if step.in_finally {
            notes.push("finally".to_owned());
        }
        if critical.contains(&step.id) {
            notes.push("on the critical path".to_owned());
        }
        notes.extend(step.because.clone());
        vec![
            format!("`{}`", step.id),
            format!("`{}`", step.uses),
            step.status.clone(),
            took,
            budget,
            step.attempts.to_string(),
            notes.join("; "),
        ]
    };
    Block::Table(
        vec!["step", "type", "status", "took", "budget", "attempts", "note"],
        report.summary.steps.iter().map(row).collect(),
    )
}

fn changes(report: &PostMortem) -> Vec<Block> {
    let side = |value: &Option<Value>| {
        let value = value.as_ref().filter(|value| !value.is_null());
        value.map(|value| format!("`{value}`")).unwrap_or_default()
    };
    let rows: Vec<Vec<String>> = report
        .summary
        .steps
        .iter()
        .flat_map(|step| step.changes.iter().map(move |change| (step, change)))
        .map(|(step, change)| {
            let action = match change.action {
                Action::Create => "created",
                Action::Update => "changed",
                Action::Delete => "removed",
                Action::Send => "sent",
            };
            vec![
                format!("`{}`", step.id),
                action.to_owned(),
                change.object.clone(),
                side(&change.before),
                side(&change.after),
            ]
        })
        .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    vec![
        Block::Heading("What was changed".to_owned()),
        Block::Table(vec!["step", "", "what", "before", "after"], rows),
    ]
}

fn timeline(report: &PostMortem) -> Block {
    let rows = report.timeline.iter().map(|moment| {
        vec![
            moment.at.strftime("%H:%M:%S%.3fZ").to_string(),
            format!("+{}", took(moment.after)),
            moment.what.clone(),
            moment.step.as_ref().map(|step| format!("`{step}`")).unwrap_or_default(),
            moment.text.clone(),
        ]
    });
    Block::Table(vec!["time", "after", "what", "step", ""], rows.collect())
}

/// What the run was given.
fn given(report: &PostMortem) -> Vec<Block> {
    let plain = report.inputs.as_object().into_iter().flatten();
    let plain = plain.map(|(name, value)| {
        let value = table::shorten(&value.to_string(), LONGEST_VALUE);
        vec![format!("`{name}`"), format!("`{value}`")]
    });
    let secret = report.secret_inputs.iter();
    let secret = secret.map(|(name, from)| vec![format!("`{name}`"), format!("secret, from `{from}`")]);
    let rows: Vec<_> = plain.chain(secret).collect();
    if rows.is_empty() {
        return Vec::new();
    }
    vec![
        Block::Heading("Inputs".to_owned()),
        Block::Table(vec!["input", "value"], rows),
    ]
}
