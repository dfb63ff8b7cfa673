//! Against real stores, with histories that nobody thought out.

use std::collections::BTreeSet;

use futures::future::join_all;
use jm_client_s3::{ObjectVersion, Put};
use jm_step::{Grade, StepErrorKind};
use jm_testkit::StepBench;
use serde_json::{Value, json};

use super::progress::{Begun, Failures};
use super::walk::Walk;
use super::*;
use crate::store::{Store, all_stores, ministack, sandbox, versitygw, without_versions};

mod acls;
mod archives;
mod doubts;
mod failures;
mod foresight;
mod histories;
mod kills;
mod later;
mod model;
mod moments;
mod nulls;
mod proofs;
use histories::{Deeds, KEYS, Rng, history, keys, written};
use model::{State, Told, content, entries, now_of, state};

/// Versions come in pages of this size, so that a few keys already make many pages.
const PAGE: u16 = 5;

async fn bench(store: &Store, bucket: &str) -> StepBench {
    StepBench::new().with("bucket", store.connection(bucket).await)
}

fn as_of(at: Timestamp) -> Value {
    json!({ "as_of": at.to_string(), "created_since": "hide", "page": PAGE })
}

/// Where a restore was killed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cut {
    /// It came to its end.
    Never,
    /// Before anything was known to be done.
    Early,
    /// When a part of the keys was done, after which the next attempt goes on.
    Later,
}

/// Restores, checks against the model, and that a second time changes nothing. Tells where it was killed.
async fn restored(store: &Store, name: &str, told: &Told, input: &Value, kill_at: Option<usize>) -> Cut {
    let what = format!("{} {name}, killed at {kill_at:?}", store.name);
    let connection = store.connection(name).await;
    let suspended = connection.versioning().await.expect("told").status == VersioningStatus::Suspended;
    let before = entries(&connection).await;
    told.is_listed(&before);
    let undated = before.iter().filter(|entry| entry.last_modified.is_none());
    let undated = undated.map(|entry| entry.key.as_str()).collect();
    let wanted = told.expected(input, suspended, &undated);
    let bench = bench(store, name).await;
    let mut cut = Cut::Never;
    let ran = match kill_at {
        None => bench.run(&RestoreVersions, input.clone()).await,
        Some(saves) => {
            let first = bench.run_until(&RestoreVersions, input.clone(), saves).await;
            if first.result.is_some() {
                first
            } else {
                // What was on its way when the process died may still arrive.
                tokio::time::sleep(Duration::from_millis(300)).await;
                let saved = first.checkpoints.last().expect("saved").clone();
                cut = if saved["after"].is_null() {
                    Cut::Early
                } else {
                    Cut::Later
                };
                let again = bench.clone().attempt(2).checkpoint(saved);
                again.run(&RestoreVersions, input.clone()).await
            }
        }
    };
    match ran.result.as_ref().expect("an end") {
        Ok(output) => {
            assert_eq!(wanted.refused, BTreeSet::new(), "{what}");
            assert_eq!(
                (
                    output["undeleted"].as_u64(),
                    output["copied_back"].as_u64(),
                    output["hidden"].as_u64()
                ),
                (Some(wanted.undeleted), Some(wanted.copied_back), Some(wanted.hidden)),
                "{what}: {output}"
            );
        }
        Err(error) => {
            let output = ran.outputs.last().expect("an output");
            let failed = output["failures"].as_array().expect("a list").iter();
            let failed: BTreeSet<String> = failed
                .filter_map(|failure| Some(failure["key"].as_str()?.to_owned()))
                .collect();
            let count = wanted.refused.len();
            assert!(
                error.message().starts_with(&format!("{count} keys could not")),
                "{what}, of {:?} that must not be touched: {error}, {failed:?}",
                wanted.refused
            );
            // A record names the first of them only.
            assert!(
                failed.is_subset(&wanted.refused),
                "{what}: {failed:?} {:?}",
                wanted.refused
            );
        }
    }
    let found = state(&connection).await;
    let differs = |key: &&String| found.get(*key) != wanted.state.get(*key);
    let differing: Vec<&String> = found.keys().chain(wanted.state.keys()).filter(differs).collect();
    let of_those = |all: &[ObjectVersion]| {
        let meant = all.iter().filter(|entry| differing.contains(&&entry.key));
        meant.cloned().collect::<Vec<_>>()
    };
    let after = entries(&connection).await;
    assert!(
        differing.is_empty(),
        "{what}: {differing:?} are not as they were\nbefore: {:#?}\nafter: {:#?}",
        of_those(&before),
        of_those(&after)
    );
    for entry in before.iter().filter(|entry| !entry.marker) {
        let stays = |kept: &&ObjectVersion| (&kept.key, &kept.version_id) == (&entry.key, &entry.version_id);
        assert!(after.iter().any(|kept| stays(&kept)), "{what}: lost {entry:?}");
    }
    let again = bench.attempt(3).run(&RestoreVersions, input.clone()).await;
    if wanted.refused.is_empty() {
        let output = again.output();
        let done = [&output["undeleted"], &output["copied_back"], &output["hidden"]];
        assert_eq!(done, [&json!(0); 3], "{what}: {output}");
    }
    assert_eq!(
        entries(&connection).await,
        after,
        "{what}: a second time changes nothing"
    );
    cut
}

/// A bucket with a history, a moment in its middle, and what was there at that moment.
struct Past {
    name: String,
    at: Timestamp,
    then: State,
    told: Told,
}

/// Several histories at once in one store.
async fn pasts(store: &Store, deeds: Deeds, seeds: std::ops::Range<u64>) -> Vec<Past> {
    let first = seeds.map(|seed| async move {
        let name = format!("history-{seed}");
        let bucket = store.bucket(&name).await;
        bucket.set_versioning(true).await.expect("set");
        let mut rng = Rng::new(seed);
        let done = history(&bucket, &mut rng, deeds, 40).await;
        let then = state(&bucket).await;
        (name, bucket, rng, done, then)
    });
    let halves = join_all(first).await;
    let at = now_of(store).await;
    let second = halves
        .into_iter()
        .map(|(name, bucket, mut rng, done, then)| async move {
            let told = Told {
                then: done,
                since: history(&bucket, &mut rng, deeds, 40).await,
            };
            if deeds.switches() {
                // One in three keeps no new versions when it is restored. Of such a bucket versitygw copies no version.
                let keeps = rng.below(3) > 0 || deeds == Deeds::Switched;
                bucket.set_versioning(keeps).await.expect("set");
            }
            Past { name, at, then, told }
        });
    join_all(second).await
}

/// Those in whose buckets versioning may be switched off and on: versitygw loses when a version with the id `null` was
/// written that was overwritten later ([`what_nobody_can_date_is_refused`]).
async fn dating_stores() -> Vec<Store> {
    vec![sandbox().await, ministack().await]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_is_restored_as_the_model_says() {
    for store in dating_stores().await {
        for past in pasts(&store, Deeds::Everything, 0..6).await {
            restored(&store, &past.name, &past.told, &as_of(past.at), None).await;
        }
    }
}

/// The same with no other model than what the store itself gave out at that moment.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_is_there_again() {
    for store in all_stores().await {
        for past in pasts(&store, Deeds::Plain, 40..44).await {
            restored(&store, &past.name, &past.told, &as_of(past.at), None).await;
            let connection = store.connection(&past.name).await;
            assert_eq!(state(&connection).await, past.then, "{} {}", store.name, past.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undelete_brings_back_what_is_deleted_and_nothing_else() {
    for store in dating_stores().await {
        for past in pasts(&store, Deeds::Everything, 10..13).await {
            restored(&store, &past.name, &past.told, &json!({ "page": PAGE }), None).await;
        }
    }
    for store in all_stores().await {
        for past in pasts(&store, Deeds::Unmarked, 50..53).await {
            restored(&store, &past.name, &past.told, &json!({ "page": PAGE }), None).await;
            let connection = store.connection(&past.name).await;
            let written = written(past.told.all());
            assert_eq!(state(&connection).await, written, "{} {}", store.name, past.name);
        }
    }
}

/// What came out of the archive was copied, and the process died before that was saved.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_goes_on_waits_for_nothing_that_came_out_of_the_archive_already() {
    let store = sandbox().await;
    let bucket = store.bucket("thawed").await;
    bucket.set_versioning(true).await.expect("set");
    bucket.put_bytes("k", "old", Put::default()).await.expect("put");
    let at = now_of(&store).await;
    for content in ["new", "old"] {
        bucket.put_bytes("k", content, Put::default()).await.expect("put");
    }
    let waiting = Counts {
        keys: 1,
        archived: 1,
        archived_bytes: 3,
        ..Counts::default()
    };
    let mut saved = Progress::new(at);
    saved.walk = 2;
    saved.counts = waiting.clone();
    saved.begun = vec![Begun {
        upto: "k".to_owned(),
        planned: waiting,
    }];
    let saved = serde_json::to_value(saved).expect("JSON");
    let again = bench(&store, "thawed").await.attempt(2).checkpoint(saved);
    let ran = again.run(&RestoreVersions, as_of(at));
    let ran = tokio::time::timeout(Duration::from_mins(1), ran)
        .await
        .expect("no wait");
    let output = ran.output();
    assert_eq!(
        (&output["archived"], &output["copied_back"]),
        (&json!(0), &json!(1)),
        "{output}"
    );
}

/// What somebody uploads under the same prefix, while a killed restore goes on, is none of its business.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_somebody_else_is_left_alone_by_whoever_goes_on() {
    for store in all_stores().await {
        let bucket = store.bucket("shared").await;
        bucket.set_versioning(true).await.expect("set");
        let mut rng = Rng::new(7);
        history(&bucket, &mut rng, Deeds::Unmarked, 50).await;
        let at = now_of(&store).await;
        history(&bucket, &mut rng, Deeds::Unmarked, 50).await;
        let input = as_of(at);
        let cut = bench(&store, "shared")
            .await
            .run_until(&RestoreVersions, input.clone(), 1)
            .await;
        assert!(cut.result.is_none(), "{}", store.name);
        let begun: Vec<String> = KEYS.iter().map(ToString::to_string).collect();
        for key in &begun {
            let words = ["s3api", "create-multipart-upload", "--bucket", "shared", "--key", key];
            store.aws(&words).await;
        }
        let saved = cut.checkpoints.last().expect("saved").clone();
        let again = bench(&store, "shared").await.attempt(2).checkpoint(saved);
        again.run(&RestoreVersions, input).await.output();
        let mut left: Vec<String> = bucket
            .unfinished_uploads("")
            .await
            .expect("listed")
            .into_iter()
            .map(|upload| upload.key)
            .collect();
        left.sort();
        let mut begun = begun;
        begun.sort();
        assert_eq!(left, begun, "{}", store.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_aws_sees_the_same_versions() {
    for store in all_stores().await {
        pasts(&store, Deeds::Unmarked, 20..21).await;
        aws_agrees(&store, "history-20").await;
    }
}

/// Whether the client of AWS lists the same versions and markers.
async fn aws_agrees(store: &Store, name: &str) {
    let connection = store.connection(name).await;
    let ours = entries(&connection).await;
    let theirs = store.aws(&["s3api", "list-object-versions", "--bucket", name]).await;
    for (list, marker) in [("Versions", false), ("DeleteMarkers", true)] {
        let empty = Vec::new();
        let mut theirs: Vec<(String, String)> = theirs[list]
            .as_array()
            .unwrap_or(&empty)
            .iter()
            .map(|entry| {
                let text = |name: &str| entry[name].as_str().expect("text").to_owned();
                (text("Key"), text("VersionId"))
            })
            .collect();
        let ours = ours.iter().filter(|entry| entry.marker == marker);
        let mut ours: Vec<_> = ours
            .map(|entry| (entry.key.clone(), entry.version_id.clone()))
            .collect();
        ours.sort();
        theirs.sort();
        theirs.dedup();
        assert_eq!(ours, theirs, "{} {name} {list}", store.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_says_what_the_run_does_and_writes_nothing() {
    for store in all_stores().await {
        let past = pasts(&store, Deeds::Unmarked, 30..31).await.remove(0);
        foreseen(&store, &past, as_of(past.at)).await;
    }
}

async fn foreseen(store: &Store, past: &Past, input: Value) {
    let connection = store.connection(&past.name).await;
    let before = entries(&connection).await;
    let bench = bench(store, &past.name).await;
    let preview = bench.preview(&RestoreVersions, input.clone()).await.expect("a preview");
    assert_eq!(preview.grade, Grade::Computed);
    assert_eq!(entries(&connection).await, before, "{}", store.name);
    let probe = bench.probe(&RestoreVersions, input.clone()).await.expect("a probe");
    assert_eq!(probe, Probe::NotStarted);
    let ran = bench.run(&RestoreVersions, input.clone()).await;
    assert_eq!(ran.changes, preview.changes, "{}", store.name);
    assert_eq!(Some(ran.output()), preview.predicted, "{}", store.name);
    let again = bench.preview(&RestoreVersions, input).await.expect("a preview");
    assert_eq!(
        (again.grade, again.changes.len()),
        (Grade::Verified, 0),
        "{}",
        store.name
    );
}

#[tokio::test]
async fn a_store_without_versions_has_nothing_to_bring_back() {
    for store in [without_versions().await, sandbox().await] {
        let bucket = store.bucket("plain").await;
        bucket
            .put_bytes("a", "x", jm_client_s3::Put::default())
            .await
            .expect("written");
        let ran = bench(&store, "plain").await.run(&RestoreVersions, json!({})).await;
        let error = ran.error();
        assert!(
            matches!(error.kind(), StepErrorKind::NotFound | StepErrorKind::Failed),
            "{}: {error}",
            store.name
        );
        assert!(error.hint_text().is_some(), "{error}");
        assert_eq!(content(&bucket, "a", None).await.as_deref(), Some(&b"x"[..]));
    }
}

/// Versitygw says when the version with the id `null` was overwritten, which is after the moment or long after it was
/// written: nothing is done to its key, and the operator is told.
#[tokio::test]
async fn what_nobody_can_date_is_refused() {
    let store = versitygw().await;
    let bucket = store.bucket("undated").await;
    let put = |content: &'static str| bucket.put_bytes("k", content, jm_client_s3::Put::default());
    put("first").await.expect("written");
    bucket.set_versioning(true).await.expect("set");
    let at = now_of(&store).await;
    put("second").await.expect("written");
    let input = json!({ "as_of": at.to_string(), "created_since": "hide" });
    let ran = bench(&store, "undated").await.run(&RestoreVersions, input).await;
    let error = ran.error();
    assert_eq!(error.kind(), StepErrorKind::Conflict, "{error}");
    assert!(error.message().contains("nobody can say"), "{error}");
    assert_eq!(content(&bucket, "k", None).await.as_deref(), Some(&b"second"[..]));
}

#[tokio::test]
async fn metadata_and_type_come_back_with_the_content() {
    for store in all_stores().await {
        let bucket = store.bucket("details").await;
        bucket.set_versioning(true).await.expect("set");
        let put = jm_client_s3::Put {
            content_type: Some("text/plain".to_owned()),
            cache_control: Some("max-age=60".to_owned()),
            metadata: std::collections::BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            ..jm_client_s3::Put::default()
        };
        bucket.put_bytes("k", "old", put).await.expect("written");
        let at = now_of(&store).await;
        bucket
            .put_bytes("k", "new!", jm_client_s3::Put::default())
            .await
            .expect("written");
        let input = json!({ "as_of": at.to_string() });
        let output = bench(&store, "details")
            .await
            .run(&RestoreVersions, input)
            .await
            .output();
        assert_eq!(
            (&output["copied_back"], &output["bytes_copied"]),
            (&json!(1), &json!(3)),
            "{} as of {at}: {output} {:?}",
            store.name,
            entries(&bucket).await
        );
        let info = bucket.head("k", None).await.expect("an answer").expect("there");
        assert_eq!(info.content_type.as_deref(), Some("text/plain"), "{}", store.name);
        assert_eq!(info.metadata.get("a").map(String::as_str), Some("b"), "{}", store.name);
        assert_eq!(content(&bucket, "k", None).await.as_deref(), Some(&b"old"[..]));
    }
}

#[test]
fn odd_inputs_are_refused() {
    for (input, pointer) in [
        (json!({ "as_of": "yesterday" }), "/as_of"),
        (json!({ "created_since": "hide" }), "/created_since"),
        (json!({ "page": 0 }), "/page"),
        (json!({ "concurrency": 0 }), "/concurrency"),
    ] {
        let input: Input = serde_json::from_value(input).expect("decodes");
        let issues = StepType::check(&RestoreVersions, &input).expect_err("refused");
        assert_eq!(issues[0].pointer, pointer);
    }
    let empty: Input = serde_json::from_value(json!({ "as_of": "" })).expect("decodes");
    assert!(
        StepType::check(&RestoreVersions, &empty).is_ok(),
        "a plan's empty default is no moment"
    );
    assert!(KEYS.iter().all(|key| !key.is_empty()));
}
