//! What a plan may call a commit: its hash, or a tag. Never a branch, which is another commit tomorrow.

use jm_step::{InputIssue, StepError};
use serde_json::json;

use crate::git::Git;

/// A commit, found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revision {
    /// Its full hash.
    pub(crate) commit: String,
    /// The tag by which it was named.
    pub(crate) tag: Option<String>,
}

/// What cannot be the name of a commit or of a tag.
pub(crate) fn issue(name: &str) -> Option<InputIssue> {
    let odd = name.is_empty()
        || name.starts_with('-')
        || name.contains(|letter: char| letter.is_whitespace() || letter.is_control() || "~^:?*[\\".contains(letter))
        || name.contains("..")
        || name.contains("@{");
    odd.then(|| {
        InputIssue::at("/commit", format!("`{name}` is not the name of a commit"))
            .help("write the full hash of a commit, or the name of a tag")
    })
}

/// A folder or an address that git would take for an option, or that holds a password.
pub(crate) fn repository_issue(repository: &str) -> Option<InputIssue> {
    let password = repository
        .split_once("://")
        .and_then(|(_, rest)| rest.split('/').next()?.split_once('@'))
        .is_some_and(|(user, _)| user.contains(':'));
    if password {
        return Some(
            InputIssue::at(
                "/repository",
                "the address holds a password, which everybody on the machine could read",
            )
            .help("leave it out, and set up a credential helper"),
        );
    }
    let odd = repository.is_empty() || repository.starts_with('-');
    odd.then(|| InputIssue::at("/repository", "there is no repository").help("name a folder or an address"))
}

/// Finds the commit that a name stands for.
pub(crate) async fn find(git: &Git<'_>, name: &str) -> Result<Revision, StepError> {
    let tag = git
        .maybe(&[
            "rev-parse",
            "--verify",
            "--quiet",
            &format!("refs/tags/{name}^{{commit}}"),
        ])
        .await?;
    let hash = is_hash(name);
    let commits = if hash { commits(git, name).await? } else { Vec::new() };
    match (tag, commits.as_slice()) {
        (Some(commit), []) => Ok(Revision {
            commit,
            tag: Some(name.to_owned()),
        }),
        (None, [commit]) => Ok(Revision {
            commit: commit.clone(),
            tag: None,
        }),
        (None, []) => Err(missing(git, name, hash).await?),
        (tag, commits) => {
            let mut candidates: Vec<String> = commits.to_vec();
            candidates.extend(tag.map(|commit| format!("{commit} (tag `{name}`)")));
            Err(
                StepError::invalid_input(format!("`{name}` is ambiguous: {} commits go by it", candidates.len()))
                    .hint("write the full hash")
                    .evidence(json!({ "candidates": candidates })),
            )
        }
    }
}

fn is_hash(name: &str) -> bool {
    (4..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The commits whose hashes begin like this.
async fn commits(git: &Git<'_>, prefix: &str) -> Result<Vec<String>, StepError> {
    let prefix = prefix.to_ascii_lowercase();
    let objects = git.maybe(&["rev-parse", &format!("--disambiguate={prefix}")]).await?;
    let mut found = Vec::new();
    for object in objects.unwrap_or_default().lines() {
        if git.maybe(&["cat-file", "-t", object]).await?.as_deref() == Some("commit") {
            found.push(object.to_owned());
        }
    }
    Ok(found)
}

async fn missing(git: &Git<'_>, name: &str, hash: bool) -> Result<StepError, StepError> {
    let branch = git
        .maybe(&[
            "rev-parse",
            "--verify",
            "--quiet",
            &format!("refs/heads/{name}^{{commit}}"),
        ])
        .await?;
    if let Some(commit) = branch {
        return Ok(
            StepError::invalid_input(format!("`{name}` is a branch, which is another commit tomorrow"))
                .hint(format!("write the commit itself: `{commit}`")),
        );
    }
    let what = if hash { "commit" } else { "tag" };
    Ok(StepError::not_found(format!("the repository has no {what} `{name}`"))
        .hint("fetch it first, or name the address of a remote that has it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_are_found_before_the_run() {
        for odd in ["", "-f", "a b", "HEAD~1", "a..b", "x^{tree}", "@{u}"] {
            assert!(issue(odd).is_some(), "{odd}");
        }
        for good in ["v1.2.3", "release/2026-11", "0123456789abcdef0123456789abcdef01234567"] {
            assert!(issue(good).is_none(), "{good}");
        }
        assert!(repository_issue("https://me:secret@host/a.git").is_some());
        assert!(repository_issue("https://me@host/a.git").is_none());
        assert!(repository_issue("--upload-pack=x").is_some());
    }
}
