//! A working tree of a clone's, made so that whoever is stopped in between leaves nothing that keeps it from being made.

use std::path::{Path, PathBuf};

use jm_step::{ReadContext, StepError};

use crate::git::Git;

/// What git writes into the lock of a working tree that it is making, in English. It takes the lock away once it is done.
const BEING_MADE: &str = "locked initializing";

/// Adds a working tree with the files of a commit, in a folder that is not there.
///
/// Git locks a tree for as long as it makes it, and who is killed meanwhile leaves the lock: nobody can add a tree in that
/// folder then, and nothing prunes it. What takes long is therefore done to a tree that is made already, and a lock from a
/// tree that was never made is overridden. A lock that somebody has put there stays.
pub(super) async fn add(cx: &ReadContext, clone: &Git<'_>, dir: &Path, commit: &str) -> Result<(), StepError> {
    let place = dir.display().to_string();
    let trees = clone.tell(&["worktree", "list", "--porcelain"]).await?;
    let mut words = vec!["worktree", "add", "--force"];
    if was_being_made(&trees, &real(dir)) {
        words.push("--force");
    }
    words.extend(["--detach", "--no-checkout", &place, commit]);
    clone.tell(&words).await?;
    Git::at(cx, dir).tell(&["reset", "--hard", "--quiet"]).await.map(drop)
}

/// Whether, by git's list of working trees, one in this folder was begun and not made.
fn was_being_made(trees: &str, dir: &Path) -> bool {
    let here = format!("worktree {}", dir.display());
    trees.split("\n\n").any(|tree| {
        let mut lines = tree.lines();
        lines.next() == Some(&here) && lines.any(|line| line == BEING_MADE)
    })
}

/// The folder as git writes it, which follows links.
fn real(dir: &Path) -> PathBuf {
    let above = dir.parent().and_then(|above| above.canonicalize().ok());
    match (above, dir.file_name()) {
        (Some(above), Some(name)) => above.join(name),
        _ => dir.to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lock_of_gits_own_on_this_very_tree_is_overridden() {
        let trees = "worktree /clone\nHEAD 12\nbranch refs/heads/main\n\n\
                     worktree /mine\nHEAD 12\ndetached\nlocked initializing\nprunable gone\n\n\
                     worktree /stick\nHEAD 12\ndetached\nlocked on a stick\n\n\
                     worktree /made\nHEAD 12\ndetached\n";
        for (dir, expected) in [
            ("/mine", true),
            ("/min", false),
            ("/stick", false),
            ("/made", false),
            ("/clone", false),
        ] {
            assert_eq!(was_being_made(trees, Path::new(dir)), expected, "{dir}");
        }
    }
}
