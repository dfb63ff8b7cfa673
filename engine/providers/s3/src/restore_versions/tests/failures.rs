//! Keys that cannot be brought back, beside others that can.

use jm_client_s3::Put;

use super::*;

const KEY_IS_DISABLED: &str = "<Error><Code>KMS.DisabledException</Code><Message>disabled</Message></Error>";

const DENIED: &str = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
const EXPIRED: &str = "<Error><Code>ExpiredToken</Code><Message>expired</Message></Error>";

/// A hundred keys of a first part fail: for a KMS key or a policy that is for them alone, which holds up nothing else, or for
/// credentials that are of no use any more.
#[tokio::test]
async fn a_part_that_fails_by_itself_ends_no_other() {
    let store = sandbox().await;
    let bucket = store.bucket("disabled").await;
    bucket.set_versioning(true).await.expect("set");
    let of_key: Vec<String> = (0..100).map(|number| format!("key-{number:02}")).collect();
    let keys = of_key.iter().map(String::as_str).chain(["other"]);
    for key in keys.clone() {
        bucket.put_bytes(key, "old", Put::default()).await.expect("written");
    }
    let at = now_of(&store).await;
    for key in keys {
        bucket.put_bytes(key, "newer", Put::default()).await.expect("written");
    }
    let input = json!({ "as_of": at.to_string(), "page": 100 });
    let run = async |words, status, body| {
        let line = store.answering("disabled", words, status, body).await;
        StepBench::new()
            .with("bucket", line)
            .run(&RestoreVersions, input.clone())
            .await
    };
    let expired = run(&["PUT ", "/"], "403 Forbidden", EXPIRED).await.error();
    assert!(expired.message().starts_with("cannot bring back"), "{expired}");
    for (number, status, body) in [(0, "400 Bad Request", KEY_IS_DISABLED), (1, "403 Forbidden", DENIED)] {
        if number > 0 {
            bucket
                .put_bytes("other", "newer", Put::default())
                .await
                .expect("written");
        }
        let ran = run(&["PUT ", "/key-"], status, body).await;
        let told: Vec<_> = ran
            .degraded
            .iter()
            .filter(|line| line.starts_with("100 keys were denied"))
            .collect();
        assert_eq!(told.len(), number, "{told:?}");
        assert!(told.iter().all(|line| line.contains("`s3:PutObject`")), "{told:?}");
        let failed = ran.error();
        assert!(
            failed.message().starts_with("100 keys could not be brought back"),
            "{failed}"
        );
        assert_eq!(content(&bucket, "other", None).await.as_deref(), Some(&b"old"[..]));
    }
    let denied = run(&["PUT ", "/"], "403 Forbidden", DENIED).await.error();
    assert!(
        denied.message().starts_with("100 keys"),
        "all but `other` are tried: {denied}"
    );
}

/// Some stores refuse to remove a thousand markers for one that may not be removed.
#[tokio::test]
async fn a_batch_that_is_denied_is_done_one_by_one() {
    let store = sandbox().await;
    let bucket = store.bucket("batch").await;
    bucket.set_versioning(true).await.expect("set");
    for key in ["a", "b", "c"] {
        bucket.put_bytes(key, "old", Put::default()).await.expect("written");
        bucket.delete(key, None).await.expect("deleted");
    }
    let is_denied = |head: &str| head.starts_with("POST ") || head.starts_with("DELETE ") && head.contains("/b?");
    let line = store.denying("batch", is_denied).await;
    let ran = StepBench::new()
        .with("bucket", line)
        .run(&RestoreVersions, json!({}))
        .await;
    let error = ran.error();
    assert!(
        error.message().starts_with("1 keys could not be brought back"),
        "{error}"
    );
    assert_eq!(content(&bucket, "a", None).await.as_deref(), Some(&b"old"[..]));
    assert_eq!(content(&bucket, "b", None).await, None);
    assert_eq!(content(&bucket, "c", None).await.as_deref(), Some(&b"old"[..]));
}

/// One key that nobody can date hides nothing of what a run would do to the others.
#[tokio::test]
async fn a_preview_tells_what_would_fail_beside_what_would_be_done() {
    for store in dating_stores().await {
        let bucket = store.bucket("beside").await;
        bucket.set_versioning(true).await.expect("set");
        for key in ["deleted", "lost"] {
            bucket.put_bytes(key, "old", Put::default()).await.expect("written");
        }
        let at = now_of(&store).await;
        bucket.delete("deleted", None).await.expect("deleted");
        bucket.set_versioning(false).await.expect("set");
        bucket
            .put_bytes("lost", "other", Put::default())
            .await
            .expect("written");
        let bench = bench(&store, "beside").await;
        let preview = bench.preview(&RestoreVersions, as_of(at)).await.expect("a preview");
        let ran = bench.run(&RestoreVersions, as_of(at)).await;
        assert_eq!((preview.grade, preview.predicted), (Grade::Computed, None));
        assert_eq!(preview.changes, ran.changes, "{}", store.name);
        let error = ran.error();
        assert_eq!(preview.degraded, [format!("it would fail: {}", error.message())]);
    }
}
