//! Where the file of a plan has gone on since a run was begun. The run goes on with the plan in its journal; whoever
//! mended the file has to know that.

use std::path::Path;

use jm_run::journal::Opened;
use similar::{ChangeTag, TextDiff};

use crate::project;
use crate::report::document::{PlanFile, PlanFileState};
use crate::ui::{Style, Ui};

/// Lines around a change.
const CONTEXT: usize = 2;

/// Compares the plan's file with `text`, the plan in the journal. A run that came from no file has nothing to compare with.
pub(super) fn of(opened: &Opened, text: &str) -> Option<PlanFile> {
    let path = Path::new(opened.file.as_ref()?);
    let state = match project::read(path) {
        Ok(now) if now == text => PlanFileState::Same,
        Ok(now) => changed(text, &now),
        Err(_) => PlanFileState::Gone,
    };
    let file = project::shown(path);
    Some(PlanFile { file, state })
}

/// Says it where it matters; the difference itself to whoever wants to hear more.
pub(super) fn say(PlanFile { file, state }: &PlanFile, run: &str, ui: &Ui) {
    match state {
        PlanFileState::Same => {}
        PlanFileState::Gone => ui.say(format!(
            "{file} is not here: the run goes on with the plan in its journal"
        )),
        PlanFileState::Changed { added, removed, diff } => {
            ui.warn(format!(
                "{file} is not what this run began with (+{added} -{removed} lines): the run goes on with the plan in its journal"
            ));
            if ui.verbose > 0 {
                diff.lines().for_each(|line| ui.say(painted(line, ui)));
            }
            let more = if ui.verbose > 0 {
                ""
            } else {
                "`-v` shows the difference; "
            };
            ui.say_hanging(
                &format!("{} ", ui.paint(Style::Yellow, "hint:")),
                &format!(
                    "{more}to go by the file instead: `jm run abort {run} --reason TEXT`, then `jm plan run {file}`"
                ),
            );
        }
    }
}

fn changed(journal: &str, file: &str) -> PlanFileState {
    let diff = TextDiff::from_lines(journal, file);
    let count = |tag| diff.iter_all_changes().filter(|change| change.tag() == tag).count();
    PlanFileState::Changed {
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
        let PlanFileState::Changed { added, removed, diff } = changed("a\nb\nc\n", "a\nB\nc\nd\n") else {
            panic!("they differ");
        };
        assert_eq!((added, removed), (2, 1));
        assert!(
            diff.contains("--- in the journal") && diff.contains("-b\n+B\n") && diff.contains("+d\n"),
            "{diff}"
        );
    }
}
