//! `git.verify`: proves that a remote has a commit, and that it is the one that is meant.

use std::time::Duration;

use jm_step::{Effect, InputIssue, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::git::Git;
use crate::mirror::{self, Depth, Mirror};
use crate::revision::{self, Revision};

/// Proves that a remote has a commit, and that it is the one that is meant.
pub(crate) struct Verify;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The folder of a clone, whose remote is asked, or the address of a remote.
    repository: String,
    /// The full hash of a commit, or the name of a tag.
    commit: String,
    /// The name of the clone's remote.
    #[serde(default = "origin")]
    remote: String,
    /// Whether the tag, or the commit where no tag was named, has to have a good signature.
    #[serde(default)]
    signed: bool,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The commit's full hash.
    commit: String,
    /// The tag by which it was named; empty where it was named by its hash.
    tag: String,
    /// The remote's branches and tags that lead to it, at most twenty.
    found_in: Vec<String>,
    /// Who signed it; empty where that was not asked.
    signer: String,
}

impl StepType for Verify {
    const NAME: &'static str = "git.verify";
    const SUMMARY: &'static str = "proves that a remote has a commit, and that it is the one that is meant";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_mins(15);
    const GATE: bool = true;
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let mut issues: Vec<InputIssue> = [
            revision::repository_issue(&input.repository),
            revision::issue(&input.commit),
        ]
        .into_iter()
        .flatten()
        .collect();
        issues.extend(mirror::remote_issue(&input.remote));
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let output = verify(cx, input).await?;
        Ok(Preview::verified(format!("the remote has commit `{}`", output.commit)).predict(output))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        verify(cx, &input).await
    }

    /// It only looks, so nothing of it can have stayed.
    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

fn origin() -> String {
    "origin".to_owned()
}

/// Looks at the remote through a repository that is thrown away: neither it nor the clone changes.
async fn verify(cx: &ReadContext, input: &Input) -> Result<Output, StepError> {
    let mirror = Mirror::of(cx, &input.repository, &input.remote, Depth::Commits).await?;
    let found = mirror.find(&input.commit).await?;
    let found_in = mirror.leading_to(&found).await?;
    let signer = if input.signed {
        signer(&mirror.git(), &found).await?
    } else {
        String::new()
    };
    Ok(Output {
        commit: found.commit,
        tag: found.tag.unwrap_or_default(),
        found_in,
        signer,
    })
}

/// Who signed the tag or the commit; that nobody did whose key is known is an error.
pub(crate) async fn signer(git: &Git<'_>, found: &Revision) -> Result<String, StepError> {
    let (verb, name) = match &found.tag {
        Some(tag) => ("verify-tag", tag.as_str()),
        None => ("verify-commit", found.commit.as_str()),
    };
    let said = git.ask(&[verb, "--raw", name]).await?;
    // GnuPG says `[GNUPG:] GOODSIG KEY NAME`, SSH `Good "git" signature for NAME with …`.
    let signer = said.err.lines().find_map(|line| {
        let gpg = line
            .strip_prefix("[GNUPG:] GOODSIG ")
            .and_then(|rest| rest.split_once(' '));
        gpg.map(|(_, name)| name)
            .or(line.strip_prefix("Good \"git\" signature for "))
    });
    match (said.good, signer) {
        (true, Some(signer)) => Ok(signer.trim().to_owned()),
        _ => Err(
            StepError::failed(format!("`{name}` has no signature that is good and by a known key"))
                .hint("see whether its signer's key is in the keyring of the user that runs jm (GNUPGHOME)")
                .evidence(json!({ "git": said.err.lines().take(20).collect::<Vec<_>>() })),
        ),
    }
}

#[cfg(test)]
mod tests;
