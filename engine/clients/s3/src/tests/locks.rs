//! Object Lock on a real store.

use jiff::SignedDuration;
use jm_step::clock;

use super::*;
use crate::{LockMode, ObjectLock, Pace};

const LOCK: ObjectLock = ObjectLock {
    mode: LockMode::Governance,
    days: 7,
};

async fn locked(store: &Store, compatibility: Compatibility) -> S3Bucket {
    let bucket = store.open("locked", |config| {
        (config.object_lock, config.compatibility) = (Some(LOCK), compatibility);
    });
    let bucket = bucket.await;
    let call = bucket.0.client.create_bucket().bucket(bucket.bucket());
    drop(call.object_lock_enabled_for_bucket(true).send().await);
    bucket
}

#[tokio::test]
async fn what_is_written_with_a_lock_can_be_marked_as_deleted_and_never_is() {
    let store = Store::versitygw().await;
    for compatibility in [Compatibility::Full, Compatibility::NoChecksums] {
        let bucket = locked(&store, compatibility).await;
        let large = noise(9 * MIB);
        bucket.put_bytes("whole", "x", Put::default()).await.expect("written");
        bucket.put("parts", &large[..], Put::default()).await.expect("written");
        let small = bucket
            .put_small(&Pace::new(1, 1), "small", "x".into(), &Put::default())
            .await;
        small.expect("written");
        for key in ["whole", "parts", "small"] {
            let info = bucket.head(key, None).await.expect("an answer").expect("an object");
            let left = info.locked_until.expect("locked").duration_since(clock::now());
            assert!(left > SignedDuration::from_hours(7 * 24 - 1), "{key}: {left}");
            let version = info.version_id.expect("a version");
            let error = bucket.delete(key, Some(&version)).await.expect_err("locked");
            assert_eq!(error.kind(), StepErrorKind::Denied, "{error}");
            assert!(error.message().contains("locked against deletion"), "{error}");
            let hint = error.hint_text().unwrap_or_default();
            let day = info
                .locked_until
                .expect("locked")
                .strftime("after %Y-%m-%d")
                .to_string();
            assert!(hint.contains(&day), "{hint}");
            bucket.delete(key, None).await.expect("a marker is no deletion");
            assert!(bucket.head(key, Some(&version)).await.expect("an answer").is_some());
        }
    }
}

#[tokio::test]
async fn a_bucket_without_locks_is_told() {
    let store = Store::versitygw().await;
    store.bucket("open").await;
    let bucket = store.open("open", |config| config.object_lock = Some(LOCK)).await;
    let error = bucket.put_bytes("k", "x", Put::default()).await.expect_err("no lock");
    assert_eq!(error.kind(), StepErrorKind::InvalidInput, "{error}");
    assert!(
        error.hint_text().is_some_and(|hint| hint.contains("`object_lock`")),
        "{error:?}"
    );
}
