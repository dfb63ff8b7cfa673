//! What a run leaves behind, in words: what it is, and the command that removes it. Whoever reads of it later is told that
//! it was there then: nobody has looked since, and somebody may have removed it.

use jm_run::{Leftover, RunSummary, SummaryStatus};

use super::time;
use crate::environment;

/// What it is: ``old database `app_old_ab12cd`, 1.2 GiB, kept by `switch` ``.
pub(crate) fn sentence(left: &Leftover) -> String {
    let Leftover { what, name, step, .. } = left;
    let size = left
        .bytes
        .map(|bytes| format!(", {}", time::bytes(bytes)))
        .unwrap_or_default();
    if left.finished {
        format!("{what} `{name}`{size}, by `{step}`")
    } else {
        format!("{what} `{name}`{size}, which `{step}` did not finish, may be there")
    }
}

/// Up to when it is known to be there.
pub(crate) fn known(run: &RunSummary) -> &'static str {
    match run.status {
        SummaryStatus::Running => "so far",
        status if status.is_resumable() => "when the run stopped",
        _ => "when the run ended",
    }
}

/// What it is, and that it was that then.
pub(crate) fn past_sentence(left: &Leftover, run: &RunSummary) -> String {
    format!("{}, {}", sentence(left), known(run))
}

/// How it is removed, where it is there after all that was done since.
pub(crate) fn later_removal(left: &Leftover, run: &RunSummary) -> String {
    format!("where it still is there: {}", removal(left, run))
}

/// How it is removed, and whether a resume still needs it.
pub(crate) fn removal(left: &Leftover, run: &RunSummary) -> String {
    let fields: Vec<String> = left
        .remove
        .with
        .iter()
        .map(|(field, value)| word(field, value))
        .collect();
    let confirm = if run.protected {
        format!(" --confirm {}", run.targets)
    } else {
        String::new()
    };
    let command = environment::again(format!(
        "jm step run {} {}{confirm}",
        left.remove.uses,
        fields.join(" ")
    ));
    match (left.resumed, left.finished) {
        (true, true) => format!("a resume goes on with it; without one, remove it: `{command}`"),
        (true, false) => format!("a resume makes it anew; without one, remove it: `{command}`"),
        (false, _) => format!("remove it once nobody needs it: `{command}`"),
    }
}

/// A field as a shell takes it.
fn word(field: &str, value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if value.chars().all(is_plain) {
        format!("-w {field}={value}")
    } else {
        format!("-w {field}='{}'", value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_reach_the_shell_whole() {
        assert_eq!(word("database", "app_old_1"), "-w database=app_old_1");
        assert_eq!(word("database", "it's app"), r"-w database='it'\''s app'");
    }
}
