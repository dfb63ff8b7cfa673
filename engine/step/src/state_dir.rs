//! Where jm keeps what outlives a run.

use std::path::PathBuf;

/// Where runs are kept, and what belongs beside them: `JM_STATE`, else `jm` under the user's state directory
/// (<https://specifications.freedesktop.org/basedir-spec>). `variable` looks up a variable of the environment; one that is empty
/// counts as unset.
pub fn state_dir(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("JM_STATE")
        .or_else(|| set("XDG_STATE_HOME").map(|base| base.join("jm")))
        .or_else(|| set("HOME").map(|home| home.join(".local/state/jm")))
}
