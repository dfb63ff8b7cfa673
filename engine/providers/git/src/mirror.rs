//! A remote as it is now, in a repository that is thrown away: neither it nor a clone of it changes.

use std::path::{Path, PathBuf};

use jm_step::{InputIssue, ReadContext, StepError};
use serde_json::json;
use tempfile::TempDir;

use crate::git::{Git, is_remote};
use crate::revision::{self, Revision};

/// How much of a remote is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// All commits, without their files.
    Commits,
    /// All of it.
    Whole,
}

/// All branches and tags of a remote.
pub(crate) struct Mirror<'c> {
    cx: &'c ReadContext,
    folder: TempDir,
    /// The address of the remote.
    address: String,
    /// The clone whose remote it is, where a folder was named.
    clone: Option<PathBuf>,
}

/// What is wrong with the name of a remote.
pub(crate) fn remote_issue(remote: &str) -> Option<InputIssue> {
    let odd = remote.is_empty() || remote.starts_with('-');
    odd.then(|| InputIssue::at("/remote", "there is no remote").help("`git remote` lists them"))
}

impl<'c> Mirror<'c> {
    /// Fetches the remote that an address names, or that a clone knows by this name.
    pub(crate) async fn of(
        cx: &'c ReadContext,
        repository: &str,
        remote: &str,
        depth: Depth,
    ) -> Result<Mirror<'c>, StepError> {
        let clone = (!is_remote(repository)).then(|| PathBuf::from(repository));
        let address = match &clone {
            Some(clone) => Git::at(cx, clone).tell(&["remote", "get-url", remote]).await?,
            None => repository.to_owned(),
        };
        let folder = tempfile::Builder::new()
            .prefix("jm-git-")
            .tempdir_in(cx.temporary_folder())
            .map_err(|error| StepError::failed("no temporary folder can be made").source(error))?;
        let mirror = Self {
            cx,
            folder,
            address: whole(&address, clone.as_deref()),
            clone,
        };
        mirror.git().tell(&["init", "--quiet", "--bare"]).await?;
        let mut fetch = vec!["fetch", "--quiet", "--no-tags"];
        // A bundle gives all that it has.
        if depth == Depth::Commits && !is_bundle(&mirror.address) {
            fetch.push("--filter=tree:0");
        }
        let refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        fetch.extend(["--end-of-options", &mirror.address]);
        fetch.extend(refs);
        mirror.git().tell(&fetch).await?;
        Ok(mirror)
    }

    /// Has the branch checked out that the remote has, so that a clone of it does, too. A remote may have none.
    pub(crate) async fn follow_head(&self) -> Result<(), StepError> {
        let asked = ["ls-remote", "--symref", "--end-of-options", &self.address, "HEAD"];
        let told = self.git().maybe(&asked).await?.unwrap_or_default();
        let branch = told
            .lines()
            .find_map(|line| line.strip_prefix("ref: ")?.strip_suffix("\tHEAD"));
        match branch {
            Some(branch) => self.git().tell(&["symbolic-ref", "HEAD", branch]).await.map(drop),
            None => Ok(()),
        }
    }

    /// Git in it.
    pub(crate) fn git(&self) -> Git<'c> {
        Git::at(self.cx, self.folder.path())
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The address of the remote, without what lets one in.
    pub(crate) fn shown(&self) -> String {
        without_credentials(&self.address)
    }

    /// The commit that a name stands for, at the remote and in the clone alike.
    pub(crate) async fn find(&self, name: &str) -> Result<Revision, StepError> {
        let ours = match &self.clone {
            Some(clone) => Some(revision::find(&Git::at(self.cx, clone), name).await?),
            None => None,
        };
        agreed(ours, revision::find(&self.git(), name).await)
    }

    /// The first tag on a commit; empty where it has none.
    pub(crate) async fn tag_of(&self, found: &Revision) -> Result<String, StepError> {
        let wanted = [
            "for-each-ref",
            "--format=%(refname:short)",
            "--count=1",
            "--points-at",
            &found.commit,
            "refs/tags",
        ];
        self.git().tell(&wanted).await
    }

    /// The remote's branches and tags that lead to a commit, at most twenty; that there is none is an error.
    pub(crate) async fn leading_to(&self, found: &Revision) -> Result<Vec<String>, StepError> {
        let wanted = ["for-each-ref", "--format=%(refname:short)", "--contains", &found.commit];
        let leading = self.git().tell(&wanted).await?;
        let found_in: Vec<String> = leading.lines().take(20).map(str::to_owned).collect();
        if found_in.is_empty() {
            return Err(not_there(found));
        }
        Ok(found_in)
    }
}

/// A relative address is meant from where the clone is, or from where jm runs.
fn whole(address: &str, clone: Option<&Path>) -> String {
    if is_remote(address) && !is_bundle(address) {
        return address.to_owned();
    }
    let base = std::path::absolute(clone.unwrap_or(Path::new("."))).unwrap_or_default();
    base.join(address).display().to_string()
}

/// Whether an address is that of a file which `git bundle` made.
pub(crate) fn is_bundle(address: &str) -> bool {
    !address.contains("://")
        && Path::new(address)
            .extension()
            .is_some_and(|extension| extension == "bundle")
}

fn without_credentials(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else {
        return address.to_owned();
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}/{path}")
}

/// What the clone and the remote say of a name, where they say the same.
fn agreed(ours: Option<Revision>, theirs: Result<Revision, StepError>) -> Result<Revision, StepError> {
    match (ours, theirs) {
        (None, theirs) => theirs,
        (Some(ours), Ok(theirs)) if ours.commit == theirs.commit => Ok(theirs),
        (Some(ours), Ok(theirs)) => Err(StepError::conflict(format!(
            "`{}` is commit `{}` here and `{}` at the remote: one of them was moved",
            ours.tag.as_deref().unwrap_or(&ours.commit),
            ours.commit,
            theirs.commit
        ))
        .hint("find out which is right, and write its full hash")
        .evidence(json!({ "here": ours.commit, "remote": theirs.commit }))),
        (Some(ours), Err(error)) if error.kind() == jm_step::StepErrorKind::NotFound => Err(not_there(&ours)),
        (Some(_), Err(error)) => Err(error),
    }
}

fn not_there(found: &Revision) -> StepError {
    let name = found
        .tag
        .as_ref()
        .map_or(format!("commit `{}`", found.commit), |tag| format!("tag `{tag}`"));
    StepError::failed(format!("the remote has no {name}: it was never pushed, or pushed over"))
        .hint("push it (a tag keeps it for good), or choose a commit that the remote has")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_lets_one_in() {
        for (address, shown) in [
            ("https://me:token@host/a.git", "https://host/a.git"),
            ("ssh://git@host:22/a.git", "ssh://host:22/a.git"),
            ("git@host:a/b.git", "git@host:a/b.git"),
            ("/a/b", "/a/b"),
        ] {
            assert_eq!(without_credentials(address), shown);
        }
    }
}
