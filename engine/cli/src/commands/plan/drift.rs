//! Where the file of a plan has gone on since a run was begun. The run goes on with the plan in its journal; whoever
//! mended the file has to know that.

use std::path::Path;

use jm_run::journal::Opened;
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use crate::project;
use crate::ui::{Style, Ui};

/// Lines around a change.
const CONTEXT: usize = 2;

/// The plan's file, compared with the plan in the journal.
pub(super) struct Drift {
    file: String,
    found: Found,
}

enum Found {
    Same,
    Gone,
    Changed { added: usize, removed: usize, diff: String },
}

impl Drift {
    /// Compares. `text` is the plan in the journal. A run that came from no file has nothing to compare with.
    pub(super) fn of(opened: &Opened, text: &str) -> Option<Self> {
        let path = Path::new(opened.file.as_ref()?);
        let found = match project::read(path) {
            Ok(now) if now == text => Found::Same,
            Ok(now) => changed(text, &now),
            Err(_) => Found::Gone,
        };
        let file = project::shown(path);
        Some(Self { file, found })
    }

    /// Says it where it matters; the difference itself to whoever wants to hear more.
    pub(super) fn say(&self, run: &str, ui: &Ui) {
        match &self.found {
            Found::Same => {}
            Found::Gone => ui.say(format!(
                "{} is not here: the run goes on with the plan in its journal",
                self.file
            )),
            Found::Changed { added, removed, diff } => {
                ui.warn(format!(
                    "{} is not what this run began with (+{added} -{removed} lines): the run goes on with the plan in its journal",
                    self.file
                ));
                if ui.verbose > 0 {
                    diff.lines().for_each(|line| ui.say(painted(line, ui)));
                }
                let more = if ui.verbose > 0 {
                    ""
                } else {
                    "`-v` shows the difference; "
                };
                ui.say(format!(
                    "{} {more}to go by the file instead: `jm run abort {run}`, then `jm plan run {}`",
                    ui.paint(Style::Yellow, "hint:"),
                    self.file
                ));
            }
        }
    }

    /// For programs.
    pub(super) fn to_json(&self) -> Value {
        match &self.found {
            Found::Same => json!({ "file": self.file, "state": "same" }),
            Found::Gone => json!({ "file": self.file, "state": "gone" }),
            Found::Changed { added, removed, diff } => {
                json!({ "file": self.file, "state": "changed", "added": added, "removed": removed, "diff": diff })
            }
        }
    }
}

fn changed(journal: &str, file: &str) -> Found {
    let diff = TextDiff::from_lines(journal, file);
    let count = |tag| diff.iter_all_changes().filter(|change| change.tag() == tag).count();
    Found::Changed {
        added: count(ChangeTag::Insert),
        removed: count(ChangeTag::Delete),
        diff: diff
            .unified_diff()
            .context_radius(CONTEXT)
            .header("in the journal", "on disk")
            .to_string(),
    }
}

/// A line of a difference, in the colours that people know.
pub(super) fn painted(line: &str, ui: &Ui) -> String {
    match line.as_bytes().first() {
        Some(b'+') => ui.paint(Style::Green, line),
        Some(b'-') => ui.paint(Style::Red, line),
        Some(b'@') => ui.paint(Style::Dim, line),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_counted_and_shown() {
        let Found::Changed { added, removed, diff } = changed("a\nb\nc\n", "a\nB\nc\nd\n") else {
            panic!("they differ");
        };
        assert_eq!((added, removed), (2, 1));
        assert!(
            diff.contains("--- in the journal") && diff.contains("-b\n+B\n") && diff.contains("+d\n"),
            "{diff}"
        );
    }
}
