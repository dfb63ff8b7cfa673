//! What has the id `null`, of which a bucket that keeps no new versions has one only.

use jm_client_s3::{Pace, Put};
use jm_step::Change;

use super::doubts::{put_by_aws, rules};
use super::*;

/// The preview says what the run would end with, and in a plan that lets the bucket keep versions before, both go well.
#[tokio::test]
async fn what_would_be_lost_fails_the_preview_unless_a_step_before_saves_it() {
    for store in dating_stores().await {
        let bucket = store.bucket("suspended").await;
        bucket.set_versioning(true).await.expect("set");
        bucket.put_bytes("k", "old", Put::default()).await.expect("written");
        let at = now_of(&store).await;
        bucket.set_versioning(false).await.expect("set");
        bucket.put_bytes("k", "other", Put::default()).await.expect("written");
        let input = json!({ "as_of": at.to_string() });
        let bench = bench(&store, "suspended").await;
        let foreseen = bench
            .preview(&RestoreVersions, input.clone())
            .await
            .expect_err("it would be lost");
        let error = bench.run(&RestoreVersions, input.clone()).await.error();
        assert_eq!(foreseen.kind(), StepErrorKind::Conflict, "{}", store.name);
        assert_eq!(foreseen.message(), error.message(), "{}", store.name);

        let saved = Change::update("versioning of bucket `suspended`", json!("suspended"), json!("enabled"));
        let after = bench.clone().announced(&[saved]);
        let preview = after.preview(&RestoreVersions, input.clone()).await.expect("a preview");
        bucket.set_versioning(true).await.expect("set");
        let output = bench.run(&RestoreVersions, input).await.output();
        assert_eq!(Some(output), preview.predicted, "{}", store.name);
        assert_eq!(content(&bucket, "k", None).await.as_deref(), Some(&b"old"[..]));
    }
}

/// What the first walk leaves alone, for content under the id `null` would be lost, a later one that comes for archived versions
/// leaves alone, too.
#[tokio::test]
async fn no_walk_copies_over_content_that_would_be_lost() {
    let store = ministack().await;
    let bucket = store.bucket("thawing").await;
    bucket.set_versioning(true).await.expect("set");
    for key in ["asked for", "refused"] {
        put_by_aws(&store, "thawing", key, &["--storage-class", "GLACIER"]).await;
    }
    let at = now_of(&store).await;
    bucket
        .put_bytes("asked for", "newer", Put::default())
        .await
        .expect("written");
    bucket.set_versioning(false).await.expect("set");
    bucket
        .put_bytes("refused", "newer", Put::default())
        .await
        .expect("written");
    let later = now_of(&store).await;
    for only_archived in [false, true] {
        let rules = Rules {
            wish: Wish::AsOf(at),
            nulls_are_lost: true,
            ask_archive: true,
            only_archived,
            since: only_archived.then_some(later),
            ..rules(false, false)
        };
        let mut walk = Walk::new(bucket.reader().clone(), Pace::alone(), "", rules, None);
        let part = walk.next().await.expect("listed").expect("a part");
        let archived: Vec<&str> = part.archived.iter().map(|copy| copy.target.key.as_str()).collect();
        assert_eq!((archived, part.copies.len()), (vec!["asked for"], 0), "{only_archived}");
        assert_eq!(part.refused.len(), usize::from(!only_archived));
    }
}

/// A version with the id `null` that is copied over what lies on it takes its own place, with another time.
#[tokio::test]
async fn nor_over_the_version_that_is_wanted_itself() {
    let store = ministack().await;
    let bucket = store.bucket("itself").await;
    bucket.put_bytes("k", "wanted", Put::default()).await.expect("put");
    bucket.set_versioning(true).await.expect("set");
    let at = now_of(&store).await;
    bucket.put_bytes("k", "newer", Put::default()).await.expect("put");
    bucket.set_versioning(false).await.expect("set");
    let before = entries(&bucket).await;
    let bench = bench(&store, "itself").await;
    let error = bench.run(&RestoreVersions, as_of(at)).await.error();
    assert!(error.message().contains("`null` would be lost"), "{error}");
    assert_eq!(entries(&bucket).await, before);
    bucket.set_versioning(true).await.expect("set");
    bench.run(&RestoreVersions, as_of(at)).await.output();
    assert_eq!(content(&bucket, "k", None).await.as_deref(), Some(b"wanted".as_slice()));
}

/// A key that was deleted while the bucket kept no versions, and was written again since, after it kept some: another marker
/// would take the place of the one that says so, and whoever asks for that moment again would find what lies below.
#[tokio::test]
async fn nor_is_a_marker_put_in_the_place_of_the_one_that_is_wanted() {
    for store in dating_stores().await {
        let bucket = store.bucket("marked").await;
        bucket.set_versioning(true).await.expect("set");
        bucket.put_bytes("k", "old", Put::default()).await.expect("written");
        bucket.set_versioning(false).await.expect("set");
        bucket.delete("k", None).await.expect("deleted");
        let at = now_of(&store).await;
        bucket.set_versioning(true).await.expect("set");
        bucket.put_bytes("k", "newer", Put::default()).await.expect("written");
        bucket.set_versioning(false).await.expect("set");
        let before = entries(&bucket).await;
        let bench = bench(&store, "marked").await;
        let error = bench.run(&RestoreVersions, as_of(at)).await.error();
        assert!(error.message().contains("`null` would be lost"), "{error}");
        assert_eq!(entries(&bucket).await, before, "{}", store.name);
        bucket.set_versioning(true).await.expect("set");
        for again in [1, 0] {
            let output = bench.run(&RestoreVersions, as_of(at)).await.output();
            assert_eq!(output["hidden"], json!(again), "{}: {output}", store.name);
            assert_eq!(content(&bucket, "k", None).await, None, "{}", store.name);
        }
    }
}

/// Versitygw cannot say when what it has under the id `null` was written once something lies on it, nor when it made a marker of
/// that id: what hangs on that is refused. (It copies no version of a bucket that keeps none, and may keep old content under a
/// marker of the same id, so an undelete is none that the model knows.)
#[tokio::test(flavor = "multi_thread")]
async fn a_moment_is_restored_where_versioning_was_switched_as_far_as_it_is_dated() {
    let store = versitygw().await;
    for past in pasts(&store, Deeds::Switched, 60..68).await {
        restored(&store, &past.name, &past.told, &as_of(past.at), None).await;
    }
}

/// Versitygw does not go on after an older version with the id `null`, such as those of a bucket that began without versions.
#[tokio::test]
async fn no_page_leaves_out_what_comes_after_a_version_without_an_id() {
    for store in all_stores().await {
        let bucket = store.bucket("paged").await;
        let keys = ["a", "b", "c", "d", "e", "f"];
        for key in keys {
            bucket.put_bytes(key, "old", Put::default()).await.expect("written");
        }
        bucket.set_versioning(true).await.expect("set");
        for key in ["a", "b", "c", "d", "d"] {
            bucket.put_bytes(key, "newer", Put::default()).await.expect("written");
        }
        bucket.delete("e", None).await.expect("deleted");
        let ids = |entries: &[ObjectVersion]| {
            let ids = entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.version_id.clone()));
            ids.collect::<Vec<_>>()
        };
        let all = ids(&entries(&bucket).await);
        for limit in 3..8 {
            let (mut told, mut after) = (Vec::new(), None);
            loop {
                let page = bucket.versions_page(&Pace::alone(), "", after.as_ref(), limit).await;
                let page = page.expect("a page");
                told.extend(ids(&page.entries));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            told.dedup();
            assert_eq!(told, all, "{} in pages of {limit}", store.name);
        }
    }
}
