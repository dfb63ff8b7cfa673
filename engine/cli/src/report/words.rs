//! What happened, in the words that every form of a report uses.

use std::time::Duration;

use jm_run::journal::{Then, Verdict, Why};
use jm_run::{DataLoss, Record, RecordKind, RunState};
use jm_step::{Effect, ErrorSummary, StepId};
use serde_json::Value;

use crate::report::table::{hang, shorten, tame};
use crate::report::{shown, time};
use crate::ui::{Style, Ui};

/// An effect in the words of people.
pub(crate) fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::ReadOnly => "looks",
        Effect::Reversible => "changes",
        Effect::Irreversible => "irreversible",
    }
}

/// The longest word of [`Line::word`].
pub(crate) const WORD: usize = 8;

/// How far the lines of an error are indented, with their mark.
const INDENT: usize = 12;

/// One line of a report: a word that the eye finds, who it is about, and what there is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// `done`, `FAILED`, `skipped`, …: readable without colour.
    pub(crate) word: &'static str,
    /// How it stands out.
    pub(crate) style: Option<Style>,
    /// The step; empty for the run.
    pub(crate) who: String,
    /// The rest.
    pub(crate) text: String,
}

impl Line {
    fn new(word: &'static str, style: Option<Style>, who: &StepId, text: impl Into<String>) -> Self {
        Self {
            word,
            style,
            who: who.to_string(),
            text: text.into(),
        }
    }

    fn of_run(word: &'static str, style: Option<Style>, text: impl Into<String>) -> Self {
        Self {
            word,
            style,
            who: String::new(),
            text: text.into(),
        }
    }

    /// The line in columns, no wider than `width`. What concerns the run is read whole, on several lines where it is long; a
    /// step's words stand in its error and in the summary again.
    pub(crate) fn render(&self, ui: &Ui, column: usize, width: usize) -> String {
        let word = format!("{:<WORD$}", self.word);
        if self.who.is_empty() {
            let text = whole(self.word, &self.text, width);
            return match (self.style, text.strip_prefix(&word)) {
                (Some(style), Some(rest)) => format!("{}{rest}", ui.paint(style, &word)),
                _ => text,
            };
        }
        let rest = format!("{:<column$}  {}", self.who, self.text);
        let rest = shorten(&rest, width.saturating_sub(WORD + 1));
        let word = self.style.map_or(word.clone(), |style| ui.paint(style, &word));
        format!("{word} {rest}").trim_end().to_owned()
    }
}

/// A line of the run, which is read whole: on several lines where it is long.
pub(crate) fn whole(word: &str, text: &str, width: usize) -> String {
    hang(&format!("{word:<WORD$} "), &tame(text), width).join("\n")
}

/// What a record says to people; nothing where it is only for jm. `state` is the state after it.
pub(crate) fn of(record: &Record, state: &RunState) -> Option<Line> {
    Some(match &record.kind {
        RecordKind::StepSucceeded { step, .. } => Line::new("done", Some(Style::Green), step, spent(state, step)),
        RecordKind::StepFailed {
            step,
            error,
            will_retry: Some(at),
            ..
        } => {
            let wait = Duration::try_from(at.duration_since(record.at)).unwrap_or_default();
            Line::new(
                "retry",
                Some(Style::Yellow),
                step,
                format!("in {}: {}", time::duration(wait), error.message),
            )
        }
        RecordKind::StepFailed { step, error, .. } => {
            Line::new("FAILED", Some(Style::Red), step, error.message.clone())
        }
        RecordKind::StepSkipped { step, because, .. } => Line::new("skipped", Some(Style::Dim), step, because.clone()),
        RecordKind::StepBlocked { step, by } => {
            Line::new("blocked", Some(Style::Yellow), step, format!("`{by}` did not succeed"))
        }
        RecordKind::StepUndone { step, by } => Line::new(
            "undone",
            Some(Style::Yellow),
            step,
            format!("by `{by}`: a resume does it anew"),
        ),
        RecordKind::StepAnew { step, because } => Line::new("anew", Some(Style::Dim), step, because.clone()),
        RecordKind::StepDegraded { step, reason } => Line::new("degraded", Some(Style::Yellow), step, reason.clone()),
        RecordKind::Probed { step, verdict, then } => {
            Line::new("probed", Some(Style::Dim), step, probed(verdict, then))
        }
        RecordKind::OperatorNeeded { step, why } => Line::new("WAITS", Some(Style::Yellow), step, waits(why)),
        RecordKind::Operator(said) => {
            let step = said.step.as_ref().map(|step| format!(" `{step}`")).unwrap_or_default();
            let reason = said
                .reason
                .as_ref()
                .map(|reason| format!(": {reason}"))
                .unwrap_or_default();
            Line::of_run(
                "said",
                None,
                format!("{} by {}{step}{reason}", said.verb.as_str(), said.who),
            )
        }
        RecordKind::DeadlinePassed {} => Line::of_run(
            "deadline",
            Some(Style::Red),
            "is over: nothing new starts but `finally`",
        ),
        RecordKind::RunResumed { by, .. } => Line::of_run("resumed", None, format!("by {by}")),
        _ => return None,
    })
}

fn spent(state: &RunState, step: &StepId) -> String {
    state
        .step(step.as_str())
        .and_then(|entry| Duration::try_from(entry.spent).ok())
        .map(time::duration)
        .unwrap_or_default()
}

fn probed(verdict: &Verdict, then: &Then) -> String {
    let found = match verdict {
        Verdict::NotStarted => "nothing had happened".to_owned(),
        Verdict::Running => "it is still going on".to_owned(),
        Verdict::Partial { reason } => format!("partly done: {reason}"),
        Verdict::Succeeded => "it had been done".to_owned(),
        Verdict::Unknown { reason } => format!("cannot be told: {reason}"),
    };
    let next = match then {
        Then::Adopt => "taken over",
        Then::Wait { .. } => "waiting for it",
        Then::Again { .. } => "running it again",
        Then::Operator => "a person has to say",
        Then::Fail => "no attempt is left",
    };
    format!("{found}; {next}")
}

/// What comes back, and what is lost, or would be as long as nothing was done that cannot be taken back.
pub(crate) fn lost(loss: &DataLoss, is_final: bool) -> String {
    let point = loss.recovery_point.strftime("%Y-%m-%d %H:%M:%SZ");
    let window = time::duration(loss.window());
    if is_final {
        format!("data as of {point}, {window} lost")
    } else {
        format!("data as of {point} would come back, {window} would be lost")
    }
}

/// Why a person is needed, and the commands that go on.
pub(crate) fn waits(why: &Why) -> String {
    match why {
        Why::Approval { question } => question.clone(),
        Why::Paused { error } => format!("paused after a failure: {}", error.message),
        Why::Unclear { reason } => format!("it is not known whether it took effect: {reason}"),
    }
}

/// The commands by which a person goes on with a step that waits.
pub(crate) fn verbs(why: &Why, step: &StepId) -> String {
    match why {
        Why::Approval { .. } => {
            format!("`jm run approve {step}` or `jm run reject {step}`, with `--reason`")
        }
        Why::Paused { .. } | Why::Unclear { .. } => {
            format!(
                "`jm run retry {step}`, `jm run skip {step}`, `jm run mark-done {step}` or `jm run abort`, with `--reason`"
            )
        }
    }
}

/// An error in full: what happened, what lies underneath, what was seen, and what to do next.
pub(crate) fn error(ui: &Ui, error: &ErrorSummary) -> Vec<String> {
    let mut lines = vec![tame(&error.message)];
    lines.extend(
        error
            .causes
            .iter()
            .filter(|cause| !error.message.contains(cause.as_str()))
            .map(|cause| format!("because: {}", tame(cause))),
    );
    let seen = error
        .evidence
        .iter()
        .flat_map(|seen| shown::lines(&news(seen, &error.message), ui.width().saturating_sub(INDENT)));
    let mark = ui.paint(Style::Dim, "│");
    lines.extend(seen.map(|line| format!("{mark} {}", shorten(&line, ui.room().saturating_sub(INDENT)))));
    lines.extend(
        error
            .hint
            .iter()
            .map(|hint| format!("{} {}", ui.paint(Style::Yellow, "hint:"), tame(hint))),
    );
    lines
}

/// What was seen beyond what the message says, as much of it as fits on a screen: of what a program said its last lines.
/// The rest is in the log.
fn news(seen: &Value, message: &str) -> Value {
    const MOST: usize = 5;
    let is_said = |value: &Value| match value {
        Value::Array(lines) => lines.is_empty(),
        Value::Number(number) => message.contains(&number.to_string()),
        Value::String(text) => message.contains(text.as_str()),
        _ => false,
    };
    match seen {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null() && !is_said(value));
            Value::Object(
                fields
                    .map(|(name, value)| (name.clone(), news(value, message)))
                    .collect(),
            )
        }
        Value::Array(lines) if lines.iter().all(Value::is_string) => {
            Value::Array(lines[lines.len().saturating_sub(MOST)..].to_vec())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_seen_is_said_once() {
        let said: Vec<String> = (1..8).map(|n| format!("line {n}")).collect();
        let seen = json!({ "exit_code": 3, "signal": null, "stderr": said });
        let error = ErrorSummary {
            evidence: Some(seen),
            ..jm_step::StepError::failed("`sh` ended with exit code 3")
                .hint("read its last words")
                .summary()
        };
        let lines = self::error(&Ui::plain(), &error);
        assert_eq!(lines.len(), 7, "{lines:?}");
        assert_eq!((lines[1].as_str(), lines[5].as_str()), ("│ line 3", "│ line 7"));
        let quiet = ErrorSummary {
            evidence: Some(json!({ "exit_code": 3, "stderr": [] })),
            ..error
        };
        assert_eq!(self::error(&Ui::plain(), &quiet).len(), 2);
    }
}
