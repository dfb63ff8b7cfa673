//! How the lines of a summary are laid out.

use std::time::Duration;

use jm_plan::duration as written;
use jm_run::StepSummary;

use crate::report::table;
use crate::ui::{Style, Ui};

/// The widest bar of a step's share of the time.
const BAR: usize = 20;

/// The rows of a table for which there is room below some lines: on a terminal so many that those stay in sight.
pub(super) fn room(above: usize, is_terminal: bool, ui: &Ui) -> usize {
    /// Beside the rows: blank lines, the heading, what is left out, the prompt.
    const AROUND: usize = 5;
    const LEAST: usize = 3;
    if is_terminal {
        ui.height().saturating_sub(above + AROUND).max(LEAST)
    } else {
        usize::MAX
    }
}

/// So many of the steps, in their order: those that failed, then those that took the longest.
pub(super) fn notable(steps: &[StepSummary], most: usize) -> Vec<&StepSummary> {
    let mut ranked: Vec<(usize, &StepSummary)> = steps.iter().enumerate().collect();
    let weight = |step: &StepSummary| (step.has_failed() || step.waits.is_some(), step.seconds);
    ranked.sort_by(|(_, a), (_, b)| {
        let (a, b) = (weight(a), weight(b));
        b.0.cmp(&a.0).then(b.1.total_cmp(&a.1))
    });
    ranked.truncate(most);
    ranked.sort_by_key(|(place, _)| *place);
    ranked.into_iter().map(|(_, step)| step).collect()
}

/// Lines under a word at the left, broken where the terminal would break them.
pub(super) fn labelled(word: &str, style: Style, lines: &[String], ui: &Ui) -> Vec<String> {
    /// As wide as the words that stand there most often.
    const LABEL: usize = 6;
    let room = ui.room().saturating_sub(LABEL + 3);
    let broken = lines.iter().flat_map(|line| table::wrap(line, room));
    let lead = |i| {
        if i == 0 {
            format!(
                "{}{}",
                ui.paint(style, word),
                " ".repeat(LABEL.saturating_sub(word.len()))
            )
        } else {
            " ".repeat(LABEL)
        }
    };
    let all = broken.enumerate().map(|(i, line)| format!("  {} {line}", lead(i)));
    all.collect()
}

/// An objective, and whether it was kept.
pub(super) fn promise(ui: &Ui, name: &str, objective: Option<u64>, met: Option<bool>, took: &str) -> String {
    let objective = objective.map_or_else(|| "-".to_owned(), |seconds| written::show(Duration::from_secs(seconds)));
    let kept = match met {
        Some(true) => ui.paint(Style::Green, "met"),
        Some(false) => ui.paint(Style::Red, "MISSED"),
        None => "open".to_owned(),
    };
    format!("  {name} {objective:<6} {kept}, {took}")
}

/// A share of the longest time.
pub(super) fn bar(seconds: f64, longest: f64) -> String {
    if longest <= 0.0 {
        return String::new();
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a bar of 20"
    )]
    let length = (seconds / longest * BAR as f64).round() as usize;
    "█".repeat(length.min(BAR))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_failed_and_what_took_long_is_shown_in_its_order() {
        let step = |id: &str, seconds: f64, failed: bool| -> StepSummary {
            let error = json!({ "kind": "failed", "message": "no", "causes": [] });
            let mut step = json!({ "id": id, "uses": "x.y", "in_finally": false, "status": "succeeded", "attempts": 1,
                "seconds": seconds });
            if failed {
                step["status"] = Value::from("failed");
                step["error"] = error;
            }
            serde_json::from_value(step).expect("a step")
        };
        let steps = [
            step("a", 1.0, false),
            step("b", 0.1, true),
            step("c", 0.2, false),
            step("d", 3.0, false),
        ];
        let names = |most| -> Vec<String> { notable(&steps, most).iter().map(|step| step.id.to_string()).collect() };
        assert_eq!(names(3), ["a", "b", "d"]);
        assert_eq!(names(usize::MAX).len(), 4);
    }

    #[test]
    fn bars_are_shares_of_the_longest() {
        assert_eq!(bar(0.0, 0.0), "");
        assert_eq!(bar(1.0, 2.0).chars().count(), BAR / 2);
        assert_eq!(bar(2.0, 2.0).chars().count(), BAR);
    }
}
