//! What every step type promises, of those that set a bucket and write to it, each on a store of its own.

#![expect(clippy::disallowed_methods, reason = "tests make files of their own")]

use std::cell::RefCell;
use std::time::Duration;

use jm_client_s3::{Pace, Put, S3};
use jm_step::AnyStepType;
use jm_testkit::StepBench;
use jm_testkit::conformance::{
    World, cancels_promptly, preview_writes_nothing, resumes_after_each_checkpoint, runs_once,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::bucket::Bucket;
use crate::record_release::RecordRelease;
use crate::restore_versions::RestoreVersions;
use crate::store::{Store, sandbox};
use crate::sync::{Copy, SyncStep};

/// The bucket that a step acts on.
const NAME: &str = "acted-on";
const OTHER: &str = "other";
const KEYS: [&str; 3] = ["a", "b/c", "ä"];

/// Keeps a store, and what was last seen in the bucket: each look that shows something else counts as an effect.
struct Fresh {
    _store: Store,
    bench: StepBench,
    bucket: S3,
    seen: RefCell<(String, usize)>,
    incidental: &'static [&'static str],
}

impl World for Fresh {
    fn bench(&self) -> StepBench {
        self.bench.clone()
    }
    fn effects(&self) -> usize {
        let now = wait(look(&self.bucket));
        let mut seen = self.seen.borrow_mut();
        if seen.0 != now {
            *seen = (now, seen.1 + 1);
        }
        seen.1
    }
    fn incidental(&self) -> &'static [&'static str] {
        self.incidental
    }
}

fn wait<F: Future>(work: F) -> F::Output {
    block_in_place(|| Handle::current().block_on(work))
}

/// The bucket with its settings, and every version in it.
async fn look(bucket: &S3) -> String {
    if !bucket.exists().await.expect("an answer") {
        return "missing".to_owned();
    }
    let settings = (
        bucket.versioning().await.expect("told"),
        bucket.bucket_tags().await.expect("told"),
        bucket.lifecycle().await.expect("told"),
    );
    let versions = bucket
        .versions_page(&Pace::alone(), "", None, 1000)
        .await
        .expect("a page");
    format!("{settings:?} {:?}", versions.entries)
}

/// How the bucket is before a step.
#[derive(Clone, Copy)]
enum Before {
    Missing,
    Empty,
    /// Its objects are deleted, and their versions there.
    Deleted,
}

fn fresh(before: Before, incidental: &'static [&'static str]) -> Fresh {
    wait(async {
        let store = sandbox().await;
        let other = store.bucket(OTHER).await;
        for key in KEYS {
            other.put_bytes(key, "content", Put::default()).await.expect("written");
        }
        if !matches!(before, Before::Missing) {
            store.bucket(NAME).await;
        }
        let bucket = store.connection(NAME).await;
        if matches!(before, Before::Deleted) {
            bucket.set_versioning(true).await.expect("set");
            for key in KEYS {
                bucket.put_bytes(key, "content", Put::default()).await.expect("written");
                bucket.delete(key, None).await.expect("deleted");
            }
        }
        let bench = StepBench::new()
            .with("bucket", store.connection(NAME).await)
            .with("from", store.connection(OTHER).await)
            .with("to", store.connection(NAME).await);
        let seen = RefCell::new((look(&bucket).await, 0));
        Fresh {
            _store: store,
            bench,
            bucket,
            seen,
            incidental,
        }
    })
}

/// Each step type with an input, how the bucket is when it begins, and what its output tells otherwise each time.
type Case = (&'static dyn AnyStepType, Value, Before, &'static [&'static str]);

fn cases(files: &TempDir) -> [Case; 5] {
    let wanted = json!({ "versioning": "enabled", "tags": { "purpose": "backups" } });
    let directory = json!({ "directory": files.path() });
    [
        (&Bucket, wanted, Before::Missing, &[]),
        (&Copy, json!({}), Before::Empty, &[]),
        (
            &RecordRelease,
            directory.clone(),
            Before::Empty,
            &["/release", "/recorded_at"],
        ),
        (&RestoreVersions, json!({ "page": 2 }), Before::Deleted, &["/oldest"]),
        (&SyncStep, directory, Before::Empty, &[]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_keeps_what_a_step_type_promises() {
    let files = tempfile::tempdir().expect("a folder");
    for name in ["one", "two"] {
        std::fs::write(files.path().join(name), name).expect("written");
    }
    for (step, input, before, incidental) in cases(&files) {
        let make = || fresh(before, incidental);
        preview_writes_nothing(step, make, input.clone()).await;
        runs_once(step, make, input.clone()).await;
        resumes_after_each_checkpoint(step, make, input.clone()).await;
        let (after, patience) = (Duration::from_millis(5), Duration::from_secs(5));
        cancels_promptly(step, make, input, after, patience).await;
    }
}
