//! Later walks, which come back for what lay in an archive.

use jiff::SignedDuration;
use jm_client_s3::{ObjectVersion, Pace, Put, S3Bucket};

use super::doubts::{put_by_aws, rules};
use super::*;
use crate::restore_versions::choose::{Chooser, Verdict, is_written_since};
use crate::restore_versions::walk::Unsure;

/// Overwritten keys that have to come out of an archive, the moment before that, and what a restore of that moment saved when it
/// had asked for them. (They are of a class whose versions lie in an archive or do not: no store of the tests brings an old
/// version up.)
async fn awaited(bucket: &str, keys: &[&str]) -> (Store, S3Bucket, Timestamp, Progress) {
    let (store, name) = (ministack().await, bucket);
    let bucket = store.bucket(name).await;
    bucket.set_versioning(true).await.expect("set");
    for key in keys {
        put_by_aws(&store, name, key, &["--storage-class", "INTELLIGENT_TIERING"]).await;
    }
    let at = now_of(&store).await;
    for key in keys {
        write(&bucket, key, "newer").await;
    }
    let mut saved = Progress::new(at);
    saved.began_there = Some(begun_at(&store).await);
    saved.walk = 2;
    saved.counts.archived = keys.len() as u64;
    (store, bucket, at, saved)
}

/// When a restore began, as a store with the slowest clock tells it.
async fn begun_at(store: &Store) -> Timestamp {
    now_of(store).await - SignedDuration::from_secs(1)
}

async fn write(bucket: &S3Bucket, key: &str, text: &'static str) {
    bucket.put_bytes(key, text, Put::default()).await.expect("written");
}

async fn holds(bucket: &S3Bucket, wanted: &[(&str, Option<&str>)]) {
    for (key, text) in wanted {
        let found = content(bucket, key, None).await;
        assert_eq!(found.as_deref(), text.map(str::as_bytes), "{key}");
    }
}

/// What the application writes while the restore waits for an archive, or before it is tried again, stays, and is told. Whoever
/// asks for that moment in another run gets it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_between_two_walks_or_attempts_is_left_alone() {
    let (store, bucket, at, saved) = awaited("awaited", &["deleted", "quiet", "written"]).await;
    write(&bucket, "written", "newest").await;
    bucket.delete("deleted", None).await.expect("deleted");
    let saved = serde_json::to_value(saved).expect("JSON");
    let bench = bench(&store, "awaited").await.attempt(2);
    let ran = bench.clone().checkpoint(saved).run(&RestoreVersions, as_of(at)).await;
    let (saved, output) = (ran.checkpoints.last().cloned(), ran.outputs.last().cloned());
    let (saved, output) = (saved.expect("a checkpoint"), output.expect("an output"));
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
    holds(
        &bucket,
        &[("quiet", Some("old")), ("written", Some("newest")), ("deleted", None)],
    )
    .await;

    write(&bucket, "quiet", "used again").await;
    let kept = [
        ("quiet", Some("used again")),
        ("written", Some("newest")),
        ("deleted", None),
    ];
    let retried = bench.clone().checkpoint(saved);
    let anew = bench.clone().saved_output(output);
    for again in [retried, anew] {
        let ran = again.run(&RestoreVersions, as_of(at)).await;
        let output = ran.outputs.last().expect("an output").clone();
        let error = ran.error();
        assert!(
            error.message().starts_with("2 keys could not be brought back"),
            "{error}"
        );
        assert_eq!(output["as_it_was"], json!(1), "{output}");
        holds(&bucket, &kept).await;
    }
    let output = bench.run(&RestoreVersions, as_of(at)).await.output();
    assert_eq!(output["copied_back"], json!(3), "{output}");
    holds(&bucket, &["quiet", "written", "deleted"].map(|key| (key, Some("old")))).await;
}

/// What came out of the archive, and was used since, is done, and fails no walk that comes for others.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_back_and_was_used_since_is_done() {
    let (store, bucket, at, mut saved) = awaited("used", &["deleted", "written"]).await;
    let again = async |saved: &Progress| {
        let saved = serde_json::to_value(saved).expect("JSON");
        let again = bench(&store, "used").await.attempt(2).checkpoint(saved);
        again.run(&RestoreVersions, as_of(at)).await.output()
    };
    assert_eq!(again(&saved).await["copied_back"], json!(2));
    write(&bucket, "written", "used again").await;
    bucket.delete("deleted", None).await.expect("deleted");
    for walk in [3, 4] {
        saved.walk = walk;
        let output = again(&saved).await;
        assert_eq!(
            (&output["copied_back"], &output["failed"]),
            (&json!(0), &json!(0)),
            "{output}"
        );
        holds(&bucket, &[("written", Some("used again")), ("deleted", None)]).await;
    }
}

/// What was right when it began, and is used or deleted since, is left and told; what was created since stays.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_tries_again_touches_nothing_that_was_right_when_it_began() {
    for store in all_stores().await {
        let bucket = store.bucket("right").await;
        bucket.set_versioning(true).await.expect("set");
        for key in ["deleted", "used", "twice"] {
            write(&bucket, key, "old").await;
        }
        let at = now_of(&store).await;
        bucket.delete("twice", None).await.expect("deleted");
        let mut saved = Progress::new(at);
        saved.began_there = Some(begun_at(&store).await);
        for key in ["deleted", "twice"] {
            bucket.delete(key, None).await.expect("deleted");
        }
        for key in ["created", "used"] {
            write(&bucket, key, "newest").await;
        }
        let saved = serde_json::to_value(saved).expect("JSON");
        let again = bench(&store, "right").await.attempt(2).checkpoint(saved);
        let before = entries(&bucket).await;
        let ran = again.run(&RestoreVersions, as_of(at)).await;
        let output = ran.outputs.last().expect("an output").clone();
        let changed = ["deleted", "used"].map(str::to_owned);
        assert_eq!(ran.degraded, [run::changed_since(2, &changed)], "{}", store.name);
        let error = ran.error();
        assert!(
            error.message().contains("`twice`: it was written or deleted anew"),
            "{error}"
        );
        assert_eq!(
            (&output["changed_since"], &output["created_since"], &output["failed"]),
            (&json!(2), &json!(1), &json!(1)),
            "{}: {output}",
            store.name
        );
        assert_eq!(entries(&bucket).await, before, "{}", store.name);
    }
}

/// A job that goes on deleting while a restore is cut off takes nothing away in silence.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_while_a_restore_is_cut_off_is_told() {
    for store in all_stores().await {
        let bucket = store.bucket("job").await;
        bucket.set_versioning(true).await.expect("set");
        for key in ["a", "b", "c", "d"] {
            write(&bucket, key, "old").await;
        }
        bucket.delete("a", None).await.expect("deleted");
        now_of(&store).await;
        let input = json!({ "page": 2 });
        let first = bench(&store, "job").await;
        let cut = first.run_until(&RestoreVersions, input.clone(), 1).await;
        let saved = cut.checkpoints.last().expect("saved").clone();
        now_of(&store).await;
        for key in ["c", "d"] {
            bucket.delete(key, None).await.expect("deleted");
        }
        let again = first.attempt(2).checkpoint(saved);
        let ran = again.run(&RestoreVersions, input).await;
        let changed = ["c", "d"].map(str::to_owned);
        assert_eq!(ran.degraded, [run::changed_since(2, &changed)], "{}", store.name);
        let output = ran.output();
        assert_eq!(
            (&output["undeleted"], &output["as_it_was"], &output["changed_since"]),
            (&json!(1), &json!(1), &json!(2)),
            "{}: {output}",
            store.name
        );
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
            before <= began && began <= after,
            "{}: {before} {began} {after}",
            store.name
        );
    }
}

/// Stores tell the time of an answer by the second, and some by one that has passed: what was there before is not taken for what
/// somebody has written since.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_the_first_page_tells_was_written_since() {
    for store in all_stores().await {
        let bucket = store.bucket("fresh").await;
        bucket.set_versioning(true).await.expect("set");
        for _ in 0..10 {
            write(&bucket, "k", "x").await;
            let reader = bucket.reader().clone();
            let mut walk = Walk::new(reader, Pace::alone(), "", rules(false, false), None);
            walk.next().await.expect("listed").expect("a part");
            let since = walk.began();
            assert!(since.is_some(), "{}", store.name);
            for entry in entries(&bucket).await {
                assert!(!is_written_since(&entry, since), "{}: {since:?} {entry:?}", store.name);
            }
            tokio::time::sleep(Duration::from_millis(230)).await;
        }
    }
}

/// Content that was written in such a second.
fn entry(written: i64, etag: &str) -> ObjectVersion {
    ObjectVersion {
        key: "k".to_owned(),
        version_id: written.to_string(),
        marker: false,
        latest: false,
        bytes: 5,
        etag: Some(etag.to_owned()),
        last_modified: Timestamp::from_second(written).ok(),
        storage_class: None,
    }
}

/// What an earlier walk copied is not copied again, where no sum says that it is the same: KMS and parts.
#[test]
fn what_an_earlier_walk_copied_is_not_copied_again() {
    let at = |second| Timestamp::from_second(second).ok();
    let version = |written, etag| ObjectVersion {
        storage_class: Some("GLACIER".to_owned()),
        ..entry(written, etag)
    };
    let unsure = |written| Unsure {
        target: version(5, "old-2"),
        latest: version(written, "new-1"),
        loses_null: false,
        newer: Vec::new(),
    };
    let rules = Rules {
        only_archived: true,
        since: at(10),
        ..rules(false, true)
    };
    assert_eq!(unsure(12).verdict(None, rules), Verdict::AsItWas);
    for (written, same) in [(11, None), (12, Some(false))] {
        let verdict = unsure(written).verdict(same, rules);
        assert!(
            matches!(verdict, Verdict::CopyBack { .. }),
            "{written} {same:?}: {verdict:?}"
        );
    }
}

/// A server that writes the time of its answers anew once a second tells too early when a restore began: what was lost in
/// the second before that is brought back all the same.
#[test]
fn what_was_written_in_the_second_of_a_slow_clock_is_not_taken_for_new() {
    let began = Timestamp::from_second(10).ok();
    for (second, since) in [(10, false), (11, false), (12, true)] {
        assert_eq!(is_written_since(&entry(second, "bad"), began), since, "{second}");
    }
}

/// A copy that others wrote over is known by its ETag, or it is looked for: no more of them than those next to the version that is
/// wanted.
#[test]
fn a_copy_is_found_under_what_was_written_over_it() {
    let verdict = |above: Vec<ObjectVersion>| {
        let wish = Wish::AsOf(Timestamp::from_second(3).expect("a time"));
        let mut chooser = Chooser::new(wish, Timestamp::from_second(10).ok());
        for entry in above.into_iter().chain([entry(5, "bad"), entry(2, "wanted")]) {
            assert_eq!(chooser.push(entry), None);
        }
        chooser.finish().expect("a key").verdict
    };
    assert_eq!(verdict(vec![entry(13, "used"), entry(12, "wanted")]), Verdict::AsItWas);
    let Verdict::CopyBack { newer, .. } = verdict((12..5000).rev().map(|at| entry(at, "used")).collect()) else {
        panic!("nobody copied it");
    };
    let held: Vec<&str> = newer.iter().map(|one| one.version_id.as_str()).collect();
    assert_eq!((held.len(), held[0], held[999]), (1000, "12", "1011"));
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
    for number in 0..30 {
        assert_eq!(failures.add(failure(number)), number >= 20, "{number}");
    }
    let saved = serde_json::to_value(&failures).expect("JSON");
    let mut after: Failures = serde_json::from_value(saved).expect("decodes");
    assert_eq!(after.lines(), None, "the record has all that is known");
    let mut later = Failures::default();
    later.add(failure(30));
    after.append(later);
    let (lines, unknown) = after.lines().expect("more than the record has");
    assert_eq!((after.count, lines.lines().count(), unknown), (31, 21, 10));
}

/// Versitygw tells what has the id `null` again on each page that goes on below it, and may have a marker of that id over it.
#[test]
fn what_has_no_id_of_its_own_is_taken_once_of_each_kind() {
    let null = |marker| ObjectVersion {
        version_id: "null".to_owned(),
        marker,
        ..entry(4, "null")
    };
    let mut chooser = Chooser::new(Wish::Undelete, None);
    for entry in [
        null(true),
        entry(3, "old"),
        null(false),
        null(true),
        entry(2, "older"),
        null(false),
    ] {
        assert_eq!(chooser.push(entry), None);
    }
    let decided = chooser.finish().expect("a key");
    assert_eq!(decided.versions, 4);
    assert!(matches!(decided.verdict, Verdict::Undelete { markers, .. } if markers.len() == 1));
}
