//! A dry run for a pull request: summary first, graph as Mermaid, stable from run to run.

use std::time::Duration;

use jm_plan::{Plan, duration as written, export};
use jm_run::{DryRun, DryStatus, DryStep, TargetLook};
use jm_step::{Effect, Grade};

use super::{found, grade, left, one_line, recovery_time, shows_input, verdict};

/// The dry run as Markdown.
pub(super) fn render(result: &DryRun, plan: &Plan) -> String {
    let mut text = String::new();
    let mut line = |words: String| {
        text.push_str(&words);
        text.push('\n');
    };
    line(format!(
        "## `{}` {}",
        result.plan,
        escape(result.title.as_deref().unwrap_or_default())
    ));
    line(String::new());
    line(format!(
        "**{}** Targets `{}`.",
        escape(&verdict(result)),
        result.targets_name
    ));
    line(String::new());
    result.targets.iter().map(target).for_each(&mut line);
    points(result).into_iter().for_each(&mut line);
    line(String::new());
    line("| grade | step | what it would do |".to_owned());
    line("| --- | --- | --- |".to_owned());
    let steps = result.steps.iter().chain(&result.finally);
    steps.map(row).for_each(&mut line);
    line(String::new());
    line("<details><summary>graph</summary>".to_owned());
    line(String::new());
    line("```mermaid".to_owned());
    line(export::mermaid(plan).trim_end().to_owned());
    line("```".to_owned());
    line("</details>".to_owned());
    text
}

/// Which system a target is, and how it was found.
fn target(look: &TargetLook) -> String {
    let how = found(look);
    let how = if look.up == Some(false) && !look.repairs {
        format!("**DOWN**{}", how.trim_start_matches("DOWN"))
    } else {
        how
    };
    format!("- `{}`: {}", look.target, escape(&how))
}

/// What a reviewer has to know before the table.
fn points(result: &DryRun) -> Vec<String> {
    let mut points: Vec<String> = result
        .refusals
        .iter()
        .map(|refusal| format!("- refused: {}", escape(&refusal.message)))
        .collect();
    if let Some(loss) = &result.data_loss {
        let objective = loss
            .objective
            .map_or_else(|| "-".to_owned(), |seconds| written::show(Duration::from_secs(seconds)));
        // The window grows by the minute; what a reviewer needs is whether the promise holds.
        let kept = if loss.is_missed() { "**missed**" } else { "met" };
        points.push(format!("- RPO {objective}: {kept}"));
    }
    if result.rto.is_some() || result.expected.is_some() {
        points.push(format!("- {}", escape(&recovery_time(result))));
    }
    if let Some(step) = &result.point_of_no_return {
        let is_left = |one: &DryStep| one.id == *step && one.status == DryStatus::Left;
        let reached = if result.steps.iter().any(is_left) {
            ", not reached"
        } else {
            ""
        };
        points.push(format!("- point of no return: `{step}`{reached}"));
    }
    points.extend(left(result).map(|left| format!("- {left}")));
    points
}

fn row(step: &DryStep) -> String {
    let (word, _) = grade(step);
    let word = if step.grade == Grade::WouldFail {
        format!("**{word}**")
    } else {
        word.to_owned()
    };
    let mut said: Vec<String> = step
        .summary
        .iter()
        .chain(&step.because)
        .map(|text| escape(text))
        .collect();
    if step.effect == Effect::Irreversible && word != "skipped" {
        said.push("**irreversible**".to_owned());
    }
    if shows_input(step) {
        said.push(format!("with {}", as_code(&step.input.to_string())));
    }
    said.extend(step.changes.iter().map(|change| as_code(&one_line(change))));
    said.extend(
        step.degraded
            .iter()
            .map(|reason| format!("**degraded**: {}", escape(reason))),
    );
    said.extend(step.error.iter().map(|error| escape(&error.message)));
    said.extend(
        step.error
            .iter()
            .filter_map(|error| error.hint.as_deref())
            .map(|hint| format!("hint: {}", escape(hint))),
    );
    format!("| {word} | `{}` | {} |", step.id, said.join("<br>"))
}

/// Text of the world in a table of ours: it can end neither the cell nor the comment.
fn escape(text: &str) -> String {
    in_cell(text).replace('<', "&lt;")
}

/// The same between backticks, where GitHub takes all but the end of a cell as it stands.
fn as_code(text: &str) -> String {
    format!("`{}`", in_cell(text).replace('`', "'"))
}

/// What would end a cell does not.
fn in_cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use jm_step::Change;
    use serde_json::json;

    use super::*;

    #[test]
    fn text_of_the_world_cannot_leave_its_cell() {
        assert_eq!(escape("a|b\n<img>"), "a\\|b &lt;img>");
        let step: DryStep = serde_json::from_value(json!({
            "id": "dump", "name": null, "uses": "command.run", "needs": [], "effect": "reversible", "because": null,
            "input": {}, "predicted_input": false, "waits_for": [], "status": "will-run", "grade": "computed", "summary": "runs a|b", "degraded": ["c|d"],
            "changes": [
                Change::update("script of `x`", "pg_dump | gzip", "pg_dump\r\n| zstd"),
                Change::create("f\ng", "h|i"),
            ],
            "error": { "kind": "failed", "message": "no|pipe", "hint": "j|k" },
        }))
        .expect("a step");
        let row = row(&step);
        assert!(!row.contains(['\n', '\r']), "{row}");
        let cells = row.replace("\\|", "").matches('|').count();
        assert_eq!(cells, 4, "three cells: {row}");
        assert!(row.contains(r#"`~ script of 'x'  "pg_dump \| gzip" -> "#), "{row}");
    }
}
