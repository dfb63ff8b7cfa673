//! Repositories of the tests: a clone with a remote, made by git itself.

#![expect(clippy::disallowed_methods, reason = "a repository of the tests is a directory")]

use std::path::{Path, PathBuf};

use jm_backup::Backups;
use jm_step::testing::{Bench, Told};
use jm_step::{AnyStepType, Preview, Probe, ReadContext, RunId, StepError};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::git::Git;

/// Where programs are; git needs no more.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// What opens the backups of the tests.
pub(crate) const KEY: &str = "a passphrase of many words, and more";

pub(crate) struct World {
    dir: TempDir,
    cx: ReadContext,
}

impl World {
    /// A bare remote and a clone of it, with two commits and the tag `v1` on the first.
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let home = dir.path().display().to_string();
        let config = "[user]\n\tname = Test\n\temail = test@example.com\n[init]\n\tdefaultBranch = main\n";
        std::fs::write(dir.path().join(".gitconfig"), config).expect("a file");
        let cx = Bench::new().env("PATH", PATH).env("HOME", &home).read();
        let world = Self { dir, cx };
        let remote = world.remote().display().to_string();
        let clone = world.clone_dir().display().to_string();
        Git::nowhere(&world.cx)
            .tell(&["init", "--bare", "--quiet", &remote])
            .await
            .expect("a remote");
        Git::nowhere(&world.cx)
            .tell(&["clone", "--quiet", &remote, &clone])
            .await
            .expect("a clone");
        world.commit("first").await;
        world.git(&["tag", "v1"]).await;
        world.commit("second").await;
        world.git(&["push", "--quiet", "origin", "main", "v1"]).await;
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn remote(&self) -> PathBuf {
        self.path("remote.git")
    }

    pub(crate) fn clone_dir(&self) -> PathBuf {
        self.path("clone")
    }

    /// A step in this world, of one run.
    pub(crate) fn seat(&self) -> Seat {
        Seat {
            home: self.dir.path().display().to_string(),
            run: RunId::generate(),
            checkpoint: None,
        }
    }

    /// Git in the clone.
    pub(crate) async fn git(&self, args: &[&str]) -> String {
        Git::at(&self.cx, &self.clone_dir())
            .tell(args)
            .await
            .expect("git does it")
    }

    /// Git in another folder.
    pub(crate) async fn git_in(&self, dir: &Path, args: &[&str]) -> String {
        Git::at(&self.cx, dir).tell(args).await.expect("git does it")
    }

    /// Commits a file, and gives the commit.
    pub(crate) async fn commit(&self, text: &str) -> String {
        std::fs::write(self.clone_dir().join("file"), text).expect("a file");
        self.git(&["add", "file"]).await;
        self.git(&["commit", "--quiet", "-m", text]).await;
        self.git(&["rev-parse", "HEAD"]).await
    }

    /// The commit that a name stands for.
    pub(crate) async fn hash(&self, name: &str) -> String {
        self.git(&["rev-parse", name]).await
    }

    /// Everything that the operator sees: head, index and files of the clone.
    pub(crate) async fn sight(&self) -> String {
        let status = self.git(&["status", "--porcelain=v2", "--branch"]).await;
        let file = std::fs::read_to_string(self.clone_dir().join("file")).unwrap_or_default();
        format!("{status}\n{file}")
    }

    /// Two commits whose hashes begin alike, in four letters; gives those.
    pub(crate) async fn alike(&self) -> String {
        let tree = self.git(&["rev-parse", "HEAD^{tree}"]).await;
        let mut seen = std::collections::BTreeSet::new();
        // Among so many two begin alike for all but certain: 65,536 beginnings, 1,500 commits.
        for n in 0..1500 {
            let made = self.git(&["commit-tree", &tree, "-m", &n.to_string()]).await;
            let begins = made[..4].to_owned();
            if !seen.insert(begins.clone()) {
                return begins;
            }
        }
        panic!("no two commits begin alike");
    }
}

/// Where one step of one run is tried, again and again.
pub(crate) struct Seat {
    home: String,
    run: RunId,
    checkpoint: Option<Value>,
}

impl Seat {
    /// What an earlier attempt saved to go on from.
    pub(crate) fn checkpoint(mut self, checkpoint: Value) -> Self {
        self.checkpoint = Some(checkpoint);
        self
    }

    pub(crate) async fn preview(&self, step: &dyn AnyStepType, input: &Value) -> Result<Preview<Value>, StepError> {
        step.preview(&self.bench().read(), input.clone()).await
    }

    pub(crate) async fn probe(&self, step: &dyn AnyStepType, input: &Value) -> Probe<Value> {
        step.probe(&self.bench().read(), input.clone())
            .await
            .expect("an answer")
    }

    /// Runs it, and hears what it says.
    pub(crate) async fn run(&self, step: &dyn AnyStepType, input: &Value) -> (Result<Value, StepError>, Told) {
        let (cx, listener) = self.bench().step();
        let outcome = step.run(&cx, input.clone()).await;
        (outcome, listener.told(cx).await)
    }

    /// Its output.
    pub(crate) async fn output(&self, step: &dyn AnyStepType, input: &Value) -> Value {
        self.run(step, input).await.0.expect("it succeeds")
    }

    /// Its error.
    pub(crate) async fn error(&self, step: &dyn AnyStepType, input: &Value) -> StepError {
        self.run(step, input).await.0.expect_err("it fails")
    }

    fn bench(&self) -> Bench {
        let bench = Bench::new()
            .env("PATH", PATH)
            .env("HOME", &self.home)
            .env("TMPDIR", &self.home)
            .target::<Backups>(
                "backups",
                json!({ "directory": format!("{}/backups", self.home), "key": KEY }),
            )
            .run(self.run.clone());
        match &self.checkpoint {
            Some(checkpoint) => bench.checkpoint(checkpoint.clone()),
            None => bench,
        }
    }
}
