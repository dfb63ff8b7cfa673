//! `git.checkout`: puts a commit into a working tree of its own.

#![expect(clippy::disallowed_methods, reason = "a checkout is a directory")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use jm_step::{
    Change, Effect, InputIssue, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::git::{Git, is_remote};
use crate::revision::{self, Revision};
use crate::verify::signer;

mod lfs;
mod worktree;

/// Puts a commit into a working tree of its own.
pub(crate) struct Checkout;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The folder of a clone, whose own working tree stays as it is, or the address of a remote, which is cloned.
    repository: String,
    /// The full hash of a commit, or the name of a tag. A short hash will do where one commit alone begins with it.
    commit: String,
    /// Where the tree is put: a folder that is not there yet. One of jm's own, where not given.
    #[serde(default)]
    into: Option<PathBuf>,
    /// Whether the tag, or the commit where no tag was named, has to have a good signature.
    #[serde(default)]
    signed: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The folder of the tree.
    #[schemars(extend("x-jm-on-this-machine" = true))]
    dir: PathBuf,
    /// The commit's full hash.
    commit: String,
    /// The tag by which it was named; empty where it was named by its hash.
    tag: String,
    /// The branch that keeps it: `recovery/` and its hash. Nothing is checked out on it.
    branch: String,
    /// The first line of its message.
    subject: String,
    /// When it was committed, such as `2026-11-22T10:00:00+01:00`.
    committed_at: String,
    /// Who signed it; empty where that was not asked.
    signer: String,
}

/// The folder that this step makes. Saved before it is there, so that what a crash left of it is known to be ours.
#[derive(Debug, Serialize, Deserialize)]
struct Making {
    dir: PathBuf,
}

impl StepType for Checkout {
    const NAME: &'static str = "git.checkout";
    const SUMMARY: &'static str = "puts a commit into a working tree of its own";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_mins(15);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let issues: Vec<InputIssue> = [
            revision::repository_issue(&input.repository),
            revision::issue(&input.commit),
        ]
        .into_iter()
        .flatten()
        .collect();
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        if is_remote(&input.repository) {
            let remote = Git::nowhere(cx);
            remote
                .tell(&["ls-remote", "--exit-code", &input.repository, "HEAD"])
                .await?;
            let summary = format!("clones `{}` and takes `{}` out of it", input.repository, input.commit);
            return Ok(Preview::declared(summary));
        }
        let git = Git::at(cx, Path::new(&input.repository));
        let found = revision::find(&git, &input.commit).await?;
        let output = described(&git, &found, input, &folder(cx, input)).await?;
        kept_elsewhere(&git, &found).await?;
        if standing(cx, &output).await? {
            return Ok(Preview::verified(format!(
                "commit `{}` is in `{}` already",
                found.commit,
                output.dir.display()
            ))
            .predict(output));
        }
        free(&output.dir)?;
        let summary = format!(
            "puts commit `{}` ({}) into a working tree of its own",
            found.commit, output.subject
        );
        Ok(Preview::computed(summary, vec![change(&output)]).predict(output))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let dir = folder(cx, &input);
        let made: Option<Making> = cx.checkpoint()?;
        if is_remote(&input.repository) {
            return clone(cx, &input, &dir, made).await;
        }
        let git = Git::at(cx, Path::new(&input.repository));
        let found = revision::find(&git, &input.commit).await?;
        let output = described(&git, &found, &input, &dir).await?;
        kept_elsewhere(&git, &found).await?;
        if !standing(cx, &output).await? {
            begin(cx, &dir, made).await?;
            worktree::add(cx, &git, &dir, &found.commit).await?;
        }
        submodules(cx, &output).await?;
        keep(&git, &found).await?;
        proven(cx, &output).await
    }

    async fn probe(&self, cx: &ReadContext, input: &Input) -> Result<Probe<Output>, StepError> {
        let dir = folder(cx, input);
        if !dir.exists() {
            return Ok(Probe::NotStarted);
        }
        let git = if is_remote(&input.repository) {
            Git::at(cx, &dir)
        } else {
            Git::at(cx, Path::new(&input.repository))
        };
        let Ok(found) = revision::find(&git, &input.commit).await else {
            return Ok(Probe::partial("the clone is not complete"));
        };
        let output = described(&git, &found, input, &dir).await?;
        let kept = branch_of(&git, &found).await?.is_some();
        Ok(if standing(cx, &output).await? && kept {
            Probe::Succeeded(output)
        } else {
            Probe::partial("the working tree is not complete")
        })
    }
}

fn folder(cx: &ReadContext, input: &Input) -> PathBuf {
    input.into.clone().unwrap_or_else(|| cx.own_folder())
}

async fn clone(cx: &StepContext, input: &Input, dir: &Path, made: Option<Making>) -> Result<Output, StepError> {
    begin(cx, dir, made).await?;
    let place = dir.display().to_string();
    Git::nowhere(cx)
        .tell(&["clone", "--no-checkout", "--", &input.repository, &place])
        .await?;
    let git = Git::at(cx, dir);
    let found = revision::find(&git, &input.commit).await?;
    let output = described(&git, &found, input, dir).await?;
    git.tell(&["checkout", "--detach", &found.commit]).await?;
    submodules(cx, &output).await?;
    keep(&git, &found).await?;
    proven(cx, &output).await
}

/// Makes room for the tree: what an attempt of ours left is removed, what is somebody else's is not.
async fn begin(cx: &StepContext, dir: &Path, made: Option<Making>) -> Result<(), StepError> {
    if made.is_some_and(|made| made.dir == dir) && dir.exists() {
        tokio::fs::remove_dir_all(dir).await.map_err(|error| {
            StepError::failed(format!(
                "what an earlier attempt left in `{}` cannot be removed",
                dir.display()
            ))
            .source(error)
        })?;
    }
    free(dir)?;
    cx.save_checkpoint(Making { dir: dir.to_path_buf() }).await
}

fn free(dir: &Path) -> Result<(), StepError> {
    if std::fs::symlink_metadata(dir).is_ok() {
        return Err(StepError::conflict(format!(
            "`{}` is there already, and is not this commit as it was committed",
            dir.display()
        ))
        .hint("name another folder under `into`, or leave `into` out"));
    }
    Ok(())
}

/// Whether the tree is there, of this commit, and unchanged.
async fn standing(cx: &ReadContext, output: &Output) -> Result<bool, StepError> {
    if !output.dir.join(".git").exists() {
        return Ok(false);
    }
    let git = Git::at(cx, &output.dir);
    let head = git.maybe(&["rev-parse", "--verify", "HEAD"]).await?;
    let changes = git.maybe(&["status", "--porcelain", "--untracked-files=no"]).await?;
    let is_clean = changes.is_some_and(|changes| changes.is_empty());
    let is_this = head.as_ref() == Some(&output.commit) && is_clean && is_filled(&git, &output.dir).await?;
    Ok(is_this && lfs::pointer(cx, &output.dir).await?.is_none())
}

/// Whether all submodules are there: to git's status, one that was never fetched is no change.
async fn is_filled(git: &Git<'_>, dir: &Path) -> Result<bool, StepError> {
    if !dir.join(".gitmodules").exists() {
        return Ok(true);
    }
    let told = git.maybe(&["submodule", "status", "--recursive"]).await?;
    Ok(told.is_some_and(|told| told.lines().all(|line| line.starts_with(' '))))
}

/// What is in the repositories that this one names belongs to the commit.
async fn submodules(cx: &StepContext, output: &Output) -> Result<(), StepError> {
    if !output.dir.join(".gitmodules").exists() {
        return Ok(());
    }
    let git = Git::at(cx, &output.dir);
    git.tell(&["submodule", "update", "--init", "--recursive", "--quiet"])
        .await
        .map(drop)
        .map_err(|error| error.context("the submodules of the commit"))
}

async fn proven(cx: &StepContext, output: &Output) -> Result<Output, StepError> {
    if let Some(pointer) = lfs::pointer(cx, &output.dir).await? {
        return Err(StepError::failed(format!(
            "`{}` is a pointer of git-lfs's, and not the file as it was committed",
            pointer.display()
        ))
        .hint(
            "install git-lfs for whoever runs jm (`git lfs install`), see that its server has the file, and resume",
        ));
    }
    if !standing(cx, output).await? {
        return Err(StepError::failed(format!(
            "`{}` is not commit `{}` as it was committed",
            output.dir.display(),
            output.commit
        ))
        .hint("see whether a filter of git's (line ends, LFS) changes files, and whether the disk is well"));
    }
    cx.changed(change(output)).await;
    Ok(output.clone())
}

fn branch_name(found: &Revision) -> String {
    format!("recovery/{}", found.commit)
}

/// What the branch of the commit points at, where there is one.
async fn branch_of(git: &Git<'_>, found: &Revision) -> Result<Option<String>, StepError> {
    let name = format!("refs/heads/{}", branch_name(found));
    git.maybe(&["rev-parse", "--verify", "--quiet", &name]).await
}

/// A branch of this name with other commits on it is somebody's work; and beside a branch `recovery`, git keeps none whose
/// name goes on from there.
async fn kept_elsewhere(git: &Git<'_>, found: &Revision) -> Result<(), StepError> {
    let in_the_way = ["rev-parse", "--verify", "--quiet", "refs/heads/recovery"];
    if git.maybe(&in_the_way).await?.is_some() {
        return Err(StepError::conflict(format!(
            "there is a branch `recovery`, and git makes no branch `{}` beside it",
            branch_name(found)
        ))
        .hint("rename it: `git branch -m recovery NAME`, then try again"));
    }
    match branch_of(git, found).await? {
        Some(other) if other != found.commit => Err(StepError::conflict(format!(
            "branch `{}` is there already, at commit `{other}`",
            branch_name(found)
        ))
        .hint("somebody works on it: rename that branch, then try again")),
        _ => Ok(()),
    }
}

/// Makes the branch that keeps the commit, or finds it.
async fn keep(git: &Git<'_>, found: &Revision) -> Result<(), StepError> {
    kept_elsewhere(git, found).await?;
    if branch_of(git, found).await?.is_some() {
        return Ok(());
    }
    let name = format!("refs/heads/{}", branch_name(found));
    git.tell(&["update-ref", "-m", "jm: git.checkout", &name, &found.commit, ""])
        .await
        .map(drop)
}

async fn described(git: &Git<'_>, found: &Revision, input: &Input, dir: &Path) -> Result<Output, StepError> {
    let signer = if input.signed {
        signer(git, found).await?
    } else {
        String::new()
    };
    let told = git
        .tell(&["show", "--no-patch", "--format=%cI%n%s", &found.commit])
        .await?;
    let (committed_at, subject) = told.split_once('\n').unwrap_or((&told, ""));
    Ok(Output {
        dir: dir.to_path_buf(),
        commit: found.commit.clone(),
        tag: found.tag.clone().unwrap_or_default(),
        branch: branch_name(found),
        subject: subject.to_owned(),
        committed_at: committed_at.to_owned(),
        signer,
    })
}

fn change(output: &Output) -> Change {
    Change::create(
        format!("working tree of commit `{}`", output.commit),
        json!({ "branch": output.branch, "subject": output.subject }),
    )
}

#[cfg(test)]
mod tests;
