//! Moments that nobody means.

use jm_client_s3::Put;
use jm_step::clock;

use super::*;

/// A moment that is yet to come, as of whoever takes a time of his own zone for one of UTC, restores nothing: nobody may call that done.
#[tokio::test]
async fn a_moment_that_is_yet_to_come_is_refused() {
    let store = sandbox().await;
    let bucket = store.bucket("future").await;
    bucket.set_versioning(true).await.expect("set");
    bucket.put_bytes("k", "x", Put::default()).await.expect("written");
    let bench = bench(&store, "future").await;
    let in_minutes = |minutes| as_of(clock::now() + SignedDuration::from_mins(minutes));
    let previewed = bench
        .preview(&RestoreVersions, in_minutes(60))
        .await
        .expect_err("refused");
    let ran = bench.run(&RestoreVersions, in_minutes(60)).await.error();
    for error in [previewed, ran] {
        assert_eq!(error.kind(), StepErrorKind::InvalidInput, "{error}");
        assert!(error.hint_text().expect("a hint").contains("time zone"), "{error}");
    }
    bench.run(&RestoreVersions, in_minutes(5)).await.output();
}

/// Before there was anything everything is new: that is told, with when the oldest version is of.
#[tokio::test]
async fn a_moment_before_all_versions_is_told() {
    for store in all_stores().await {
        let bucket = store.bucket("early").await;
        bucket.set_versioning(true).await.expect("set");
        let early = now_of(&store).await;
        for key in ["first", "second"] {
            bucket.put_bytes(key, "x", Put::default()).await.expect("written");
        }
        let later = now_of(&store).await;
        let bench = bench(&store, "early").await;
        let oldest = entries(&bucket)
            .await
            .into_iter()
            .filter_map(|entry| entry.last_modified)
            .min();
        let oldest = oldest.expect("a time").to_string();
        for (at, told) in [(early, true), (later, false)] {
            let input = json!({ "as_of": at.to_string() });
            let preview = bench.preview(&RestoreVersions, input.clone()).await.expect("a preview");
            let ran = bench.run(&RestoreVersions, input).await;
            assert_eq!(preview.degraded, ran.degraded, "{}", store.name);
            let names_oldest = |reasons: &[String]| matches!(reasons, [reason] if reason.contains(&oldest));
            assert_eq!(
                (names_oldest(&ran.degraded), ran.degraded.len()),
                (told, usize::from(told)),
                "{}",
                store.name
            );
            ran.output();
        }
    }
}
