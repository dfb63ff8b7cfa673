//! What was deleted and lies in an archive, behind a line that plays one: no store of the tests brings an old version up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jm_client_s3::{Put, S3Bucket};
use jm_testkit::line::Answer;

use super::super::progress::Asked;
use super::*;

const NAME: &str = "archive";

/// The deleted ones, of which one lies in no archive.
const DELETED: [&str; 4] = ["plain", "sunk-a", "sunk-b", "sunk-c"];

/// An archive of the keys `sunk-…`.
#[derive(Debug, Default)]
struct Archive {
    /// How often each was asked for.
    asked: BTreeMap<String, usize>,
    has_come_up: bool,
    refuses: bool,
}

type Shared = Arc<Mutex<Archive>>;

impl Archive {
    /// What it says to a request; nothing to what it has nothing to do with.
    fn answer(&mut self, head: &str) -> Option<Answer> {
        let (method, place) = head.lines().next()?.split_once(' ')?;
        let key = place.split(['?', ' ']).next()?.strip_prefix("/archive/")?.to_owned();
        let asks = method == "POST" && place.contains("restore");
        if !key.starts_with("sunk-") || !asks && method != "HEAD" {
            return None;
        }
        let (status, body) = if !asks {
            let told = if self.asked.contains_key(&key) {
                format!("\r\nx-amz-restore: ongoing-request=\"{}\"", !self.has_come_up)
            } else {
                String::new()
            };
            (format!("200 OK\r\nx-amz-storage-class: GLACIER{told}"), "")
        } else if self.refuses {
            let denied = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
            ("403 Forbidden".to_owned(), denied)
        } else {
            *self.asked.entry(key).or_default() += 1;
            ("202 Accepted".to_owned(), "")
        };
        Some(Answer { status, body })
    }
}

/// A bucket of the sandbox in whose archive lies what was deleted, and something that was not, between them.
struct Sunk {
    store: Store,
    bucket: S3Bucket,
    bench: StepBench,
    archive: Shared,
}

impl Sunk {
    async fn new() -> Self {
        let store = sandbox().await;
        let bucket = store.bucket(NAME).await;
        bucket.set_versioning(true).await.expect("set");
        let archived = store.of_class(NAME, "GLACIER").await;
        bucket.put_bytes("plain", "old", Put::default()).await.expect("written");
        for key in DELETED[1..].iter().chain(&["sunk-b-here"]) {
            archived.put_bytes(key, "old", Put::default()).await.expect("written");
        }
        for key in DELETED {
            bucket.delete(key, None).await.expect("deleted");
        }
        let archive = Shared::default();
        let of_line = archive.clone();
        let answer = move |head: &str| of_line.lock().expect("no panic").answer(head);
        Self {
            bench: StepBench::new().with("bucket", store.answered(NAME, answer).await),
            store,
            bucket,
            archive,
        }
    }

    fn asked(&self) -> BTreeMap<String, usize> {
        self.archive.lock().expect("no panic").asked.clone()
    }

    /// The keys that are there.
    async fn there(&self) -> Vec<String> {
        let all = entries(&self.bucket).await.into_iter();
        all.filter(|entry| entry.latest && !entry.marker)
            .map(|entry| entry.key)
            .collect()
    }

    /// What a restore has saved that is killed at each of its saved points, up to where it begins to wait.
    async fn waiting(&self, mut saved: Value) -> Value {
        for attempt in 2..20 {
            if saved["walk"] == json!(2) {
                return saved;
            }
            let again = self.bench.clone().attempt(attempt).checkpoint(saved);
            saved = saved_by(&again, 1).await;
        }
        panic!("it never waits: {saved}");
    }
}

/// What is saved when it is killed.
async fn saved_by(bench: &StepBench, saves: usize) -> Value {
    let cut = bench.run_until(&RestoreVersions, input(true), saves).await;
    assert!(cut.result.is_none(), "nobody ends as long as something is awaited");
    cut.checkpoints.last().expect("saved").clone()
}

fn input(ask: bool) -> Value {
    json!({ "page": 1, "archived": { "ask": ask } })
}

fn once() -> BTreeMap<String, usize> {
    DELETED[1..].iter().map(|key| ((*key).to_owned(), 1)).collect()
}

fn counts<const N: usize>(output: &Value, of: [&str; N]) -> [u64; N] {
    of.map(|count| output[count].as_u64().expect("a count"))
}

/// Wherever it is killed: each that was deleted is asked for once, what was not is not, and it ends when all are there.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_in_an_archive_is_asked_for_once_and_waited_for() {
    for kill in 1.. {
        let sunk = Sunk::new().await;
        let saved = saved_by(&sunk.bench, kill).await;
        let waits = saved["walk"] == json!(2);
        let saved = sunk.waiting(saved).await;
        let what = format!("killed at {kill}: {saved}");
        assert_eq!(saved["counts"]["undeleted_archived"], json!(3), "{what}");
        assert_eq!(sunk.asked(), once(), "{what}");
        assert_eq!(sunk.there().await.len(), 5, "{what}");
        sunk.archive.lock().expect("no panic").has_come_up = true;
        let last = sunk.bench.clone().attempt(20).checkpoint(saved);
        let output = last.run(&RestoreVersions, input(true)).await.output();
        assert_eq!(
            counts(
                &output,
                ["undeleted", "undeleted_archived", "copied_back", "as_it_was", "failed"]
            ),
            [4, 0, 0, 1, 0],
            "{what} {output}"
        );
        assert_eq!(sunk.asked(), once(), "{what}");
        if waits {
            assert!(kill > 4, "each page was one to be killed at");
            return;
        }
    }
}

/// Of an attempt that the run does anew only the output is known: what it had asked for is waited for all the same.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_begins_anew_waits_for_what_was_asked_for_before() {
    let sunk = Sunk::new().await;
    let foreseen = sunk
        .bench
        .preview(&RestoreVersions, input(true))
        .await
        .expect("a preview");
    let mut output = foreseen.predicted.expect("an output");
    output["began"] = json!(now_of(&sunk.store).await.to_string());
    let saved = saved_by(&sunk.bench, 1).await;
    sunk.waiting(saved).await;
    let anew = sunk.bench.clone().attempt(9).saved_output(output);
    let saved = saved_by(&anew, 1).await;
    let saved = sunk.waiting(saved).await;
    assert_eq!(saved["counts"]["undeleted_archived"], json!(3), "{saved}");
    assert_eq!(sunk.asked(), once());
}

/// It comes back as it was, and is told.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_in_the_archive_is_told() {
    let sunk = Sunk::new().await;
    let preview = sunk
        .bench
        .preview(&RestoreVersions, input(false))
        .await
        .expect("a preview");
    for words in ["3 wanted versions with 9 bytes", "3 of them were deleted and come back"] {
        assert!(preview.summary.contains(words), "no `{words}` in {}", preview.summary);
    }
    let ran = sunk.bench.run(&RestoreVersions, input(false)).await;
    assert_eq!(preview.changes, ran.changes);
    let output = ran.output();
    assert_eq!(
        counts(
            &output,
            [
                "undeleted",
                "undeleted_archived",
                "undeleted_archived_bytes",
                "archived"
            ]
        ),
        [4, 3, 9, 0],
        "{output}"
    );
    assert_eq!(Some(output), preview.predicted);
    assert_eq!(sunk.asked(), BTreeMap::new());
}

/// Nothing of the plan's later steps may take what is on its way for something that was left.
#[tokio::test(flavor = "multi_thread")]
async fn a_preview_tells_what_is_there_once_all_has_come_out() {
    let sunk = Sunk::new().await;
    let preview = sunk
        .bench
        .preview(&RestoreVersions, input(true))
        .await
        .expect("a preview");
    assert!(
        preview.summary.contains("they are asked for, which takes"),
        "{}",
        preview.summary
    );
    assert!(
        preview
            .changes
            .iter()
            .any(|change| change.object.starts_with("archived objects"))
    );
    let output = preview.predicted.expect("an output");
    assert_eq!(
        counts(&output, ["undeleted", "undeleted_archived", "archived"]),
        [4, 0, 0],
        "{output}"
    );
}

/// It can come from elsewhere meanwhile, and whoever tries again asks anew.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_may_ask_for_stays_deleted() {
    let sunk = Sunk::new().await;
    sunk.archive.lock().expect("no panic").refuses = true;
    let ran = sunk.bench.run(&RestoreVersions, input(true)).await;
    let output = ran.outputs.last().expect("an output").clone();
    let saved = ran.checkpoints.last().expect("saved").clone();
    let error = ran.error();
    assert!(
        error.message().starts_with("3 keys could not be brought back"),
        "{error}"
    );
    assert!(error.message().contains("it stays deleted"), "{error}");
    assert_eq!(
        counts(
            &output,
            ["undeleted", "undeleted_archived", "markers_removed", "failed"]
        ),
        [1, 0, 1, 3],
        "{output}"
    );
    assert_eq!(sunk.there().await, ["plain", "sunk-b-here"]);
    sunk.archive.lock().expect("no panic").refuses = false;
    let saved = saved_by(&sunk.bench.clone().attempt(2).checkpoint(saved), 1).await;
    sunk.waiting(saved).await;
    assert_eq!(sunk.asked(), once());
    assert_eq!(sunk.there().await.len(), 5);
}

#[test]
fn only_between_what_was_asked_for_anybody_looks() {
    let mut progress = Progress::new(Timestamp::UNIX_EPOCH);
    progress.ask_for(["m", "c"].into_iter());
    progress.ask_for(std::iter::empty());
    progress.ask_for(["k", "p"].into_iter());
    let asked = progress.asked.expect("some");
    let reached = ["b", "c", "n", "p", "q"].map(|key| asked.reaches(key));
    assert_eq!(reached, [false, true, true, true, false]);
    assert!(Asked::anywhere().reaches("") && Asked::anywhere().reaches("\u{10ffff}"));
}
