//! What git's complaints mean, and what to do about them.

use jm_step::{StepError, StepErrorKind};
use serde_json::json;

/// Words of git (in English: `LC_ALL=C`), what they mean, and what to do.
const KNOWN: [(&str, StepErrorKind, &str, &str); 16] = [
    (
        "Could not resolve host",
        StepErrorKind::Unavailable,
        "the remote's name cannot be resolved",
        "check the address and the name server",
    ),
    (
        "Connection refused",
        StepErrorKind::Unavailable,
        "the remote refuses connections",
        "see whether the remote is up",
    ),
    (
        "Connection timed out",
        StepErrorKind::Unavailable,
        "the remote does not answer",
        "see whether the remote is up",
    ),
    (
        "Connection reset",
        StepErrorKind::Unavailable,
        "the connection to the remote broke off",
        "try again",
    ),
    (
        "early EOF",
        StepErrorKind::Unavailable,
        "the connection to the remote broke off",
        "try again",
    ),
    (
        "The requested URL returned error: 5",
        StepErrorKind::Unavailable,
        "the remote has trouble of its own",
        "try again later",
    ),
    (
        "terminal prompts disabled",
        StepErrorKind::Denied,
        "the remote wants a name and a password",
        "set up a credential helper, or use an SSH key",
    ),
    (
        "Authentication failed",
        StepErrorKind::Denied,
        "the remote does not take the credentials",
        "renew them in the credential helper",
    ),
    (
        "Permission denied (publickey",
        StepErrorKind::Denied,
        "the remote does not take the SSH key",
        "let SSH_AUTH_SOCK or GIT_SSH_COMMAND lead to a key that it knows",
    ),
    (
        "Host key verification failed",
        StepErrorKind::Denied,
        "the remote's host key is not known",
        "put it into ~/.ssh/known_hosts after comparing it",
    ),
    (
        "dubious ownership",
        StepErrorKind::Denied,
        "the repository belongs to another user",
        "run jm as that user, or add the folder to git's `safe.directory`",
    ),
    (
        "not a git repository",
        StepErrorKind::NotFound,
        "there is no git repository",
        "name the folder of a clone, or the address of a remote",
    ),
    (
        "does not appear to be a git repository",
        StepErrorKind::NotFound,
        "there is no git repository",
        "correct the address of the remote",
    ),
    (
        "does not exist",
        StepErrorKind::NotFound,
        "there is nothing of that name",
        "correct the name",
    ),
    (
        "No space left on device",
        StepErrorKind::Failed,
        "the disk is full",
        "make room, or name another folder under `into`",
    ),
    (
        "is a missing but locked worktree",
        StepErrorKind::Conflict,
        "the clone has a locked working tree in that folder, which is not there",
        "bring it back, give it up with `git worktree remove --force --force FOLDER`, or name another folder under `into`",
    ),
];

/// The step error for a call of git that failed.
pub(crate) fn of(args: &[&str], said: &str) -> StepError {
    let verb = args.first().copied().unwrap_or_default();
    let evidence =
        json!({ "git": said.lines().rev().take(20).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>() });
    let known = KNOWN.iter().find(|(words, ..)| said.contains(words));
    let error = if let Some((_, kind, reason, hint)) = known {
        StepError::new(*kind, format!("`git {verb}` failed: {reason}")).hint(*hint)
    } else {
        let last = said
            .lines()
            .rfind(|line| !line.trim().is_empty())
            .unwrap_or("it said nothing");
        StepError::failed(format!("`git {verb}` failed: {}", last.trim_start_matches("fatal: ")))
            .hint("all that git said is in the evidence")
    };
    error.evidence(evidence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_classed() {
        let error = of(&["fetch"], "fatal: unable to access 'x': Could not resolve host: h");
        assert_eq!(error.kind(), StepErrorKind::Unavailable);
        let error = of(&["fetch"], "fatal: something new\n");
        assert_eq!(error.message(), "`git fetch` failed: something new");
    }
}
