//! Keys that cannot be brought back, beside others that can.

use jm_client_s3::Put;

use super::*;

const KEY_IS_DISABLED: &str = "<Error><Code>KMS.DisabledException</Code><Message>disabled</Message></Error>";

/// A hundred keys of a first part fail: for a KMS key that only they have, which holds up nothing else, or for a right that nobody has.
#[tokio::test]
async fn a_part_that_fails_for_its_kms_key_ends_no_other() {
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
    let run = async |line| {
        let bench = StepBench::new().with("bucket", line);
        bench.run(&RestoreVersions, input.clone()).await.error()
    };
    let denied = run(store.refusing("disabled", &["PUT ", "/"]).await).await;
    assert!(denied.message().starts_with("cannot bring back"), "{denied}");
    let line = store.answering("disabled", &["PUT ", "/key-"], "400 Bad Request", KEY_IS_DISABLED);
    let failed = run(line.await).await;
    assert!(
        failed.message().starts_with("100 keys could not be brought back"),
        "{failed}"
    );
    assert_eq!(content(&bucket, "other", None).await.as_deref(), Some(&b"old"[..]));
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
