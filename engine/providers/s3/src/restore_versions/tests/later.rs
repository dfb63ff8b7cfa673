//! Later walks, which come back for what lay in an archive.

use jm_client_s3::{ObjectVersion, Put};

use super::doubts::{put_by_aws, rules};
use super::*;
use crate::restore_versions::choose::Verdict;
use crate::restore_versions::walk::Unsure;

/// What the application writes while the restore waits for an archive stays, and is told. (Of a class whose versions lie in an
/// archive or do not: no store of the tests brings an old version up.)
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_between_two_walks_is_left_alone() {
    let (store, keys) = (ministack().await, ["deleted", "quiet", "written"]);
    let bucket = store.bucket("awaited").await;
    bucket.set_versioning(true).await.expect("set");
    for key in keys {
        put_by_aws(&store, "awaited", key, &["--storage-class", "INTELLIGENT_TIERING"]).await;
    }
    let at = now_of(&store).await;
    for key in keys {
        bucket.put_bytes(key, "newer", Put::default()).await.expect("written");
    }
    let mut saved = Progress::new(at);
    saved.began_there = Some(now_of(&store).await);
    saved.walk = 2;
    saved.counts.archived = 3;
    bucket
        .put_bytes("written", "newest", Put::default())
        .await
        .expect("written");
    bucket.delete("deleted", None).await.expect("deleted");
    let saved = serde_json::to_value(saved).expect("JSON");
    let again = bench(&store, "awaited").await.attempt(2).checkpoint(saved);
    let ran = again.run(&RestoreVersions, as_of(at)).await;
    let output = ran.outputs.last().expect("an output").clone();
    let error = ran.error();
    assert!(
        error.message().starts_with("2 keys could not be brought back"),
        "{error}"
    );
    assert_eq!(
        (&output["copied_back"], &output["failed"], &output["archived"]),
        (&json!(1), &json!(2), &json!(0)),
        "{output}"
    );
    for (key, holds) in [("quiet", Some("old")), ("written", Some("newest")), ("deleted", None)] {
        let found = content(&bucket, key, None).await;
        assert_eq!(found.as_deref(), holds.map(str::as_bytes), "{key}");
    }
}

/// The time by which later walks tell what was written since is that of the store, and is saved before anything is done.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_walk_keeps_when_it_began_there() {
    for store in all_stores().await {
        let bucket = store.bucket("begun").await;
        bucket.set_versioning(true).await.expect("set");
        bucket.put_bytes("k", "x", Put::default()).await.expect("written");
        let before = now_of(&store).await;
        let first = bench(&store, "begun")
            .await
            .run_until(&RestoreVersions, json!({}), 1)
            .await;
        let saved: Progress = serde_json::from_value(first.checkpoints[0].clone()).expect("decodes");
        let after = now_of(&store).await;
        let began = saved.began_there.expect("told");
        assert!(
            before < began && began < after,
            "{}: {before} {began} {after}",
            store.name
        );
    }
}

/// What an earlier walk copied is not copied again, where no sum says that it is the same: KMS and parts.
#[test]
fn what_an_earlier_walk_copied_is_not_copied_again() {
    let at = |second| Timestamp::from_second(second).ok();
    let version = |written, etag: &str| ObjectVersion {
        key: "k".to_owned(),
        version_id: etag.to_owned(),
        marker: false,
        latest: false,
        bytes: 5,
        etag: Some(etag.to_owned()),
        last_modified: at(written),
        storage_class: Some("GLACIER".to_owned()),
    };
    let unsure = |written| Unsure {
        target: version(5, "old-2"),
        latest: version(written, "new-1"),
        loses_null: false,
    };
    let rules = Rules {
        again_since: at(10),
        ..rules(false, true)
    };
    assert_eq!(unsure(11).verdict(None, rules), Verdict::AsItWas);
    for (written, same) in [(10, None), (11, Some(false))] {
        let verdict = unsure(written).verdict(same, rules);
        assert!(
            matches!(verdict, Verdict::CopyBack { .. }),
            "{written} {same:?}: {verdict:?}"
        );
    }
}

#[test]
fn each_walk_tells_anew_what_fails_in_an_archive() {
    let failure = |key: &str| Failure {
        key: key.to_owned(),
        reason: "refused".to_owned(),
    };
    let mut progress = Progress::new(Timestamp::UNIX_EPOCH);
    progress.failures.add(failure("for good"));
    progress.in_archive.add(failure("awaited"));
    progress.counts.failed = 2;
    progress.forget_archived();
    assert_eq!((progress.counts.failed, progress.in_archive), (1, Failures::default()));
    assert_eq!(progress.failures.first, [failure("for good")]);
}

/// Whoever goes on after a kill has the first failures only, and says so.
#[test]
fn failures_that_nobody_knows_any_more_are_counted() {
    let failure = |number: u64| Failure {
        key: number.to_string(),
        reason: "refused".to_owned(),
    };
    let mut failures = Failures::default();
    (0..30).for_each(|number| failures.add(failure(number)));
    let saved = serde_json::to_value(&failures).expect("JSON");
    let mut after: Failures = serde_json::from_value(saved).expect("decodes");
    assert_eq!(after.lines(), None, "the record has all that is known");
    let mut later = Failures::default();
    later.add(failure(30));
    after.append(later);
    let (lines, unknown) = after.lines().expect("more than the record has");
    assert_eq!((after.count, lines.lines().count(), unknown), (31, 21, 10));
}
