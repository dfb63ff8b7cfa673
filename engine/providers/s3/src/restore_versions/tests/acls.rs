//! The rights that an ACL gives to others. Ministack alone keeps ACLs of versions.

use jm_client_s3::{Ownership, Put, S3Bucket};

use super::doubts::put_by_aws;
use super::*;

/// A bucket whose objects were overwritten since a moment at which one of them was for everybody to read.
async fn shared() -> (Store, S3Bucket, Timestamp) {
    let store = ministack().await;
    let bucket = store.bucket("acls").await;
    bucket.set_versioning(true).await.expect("set");
    bucket.set_ownership(Ownership::ObjectWriter).await.expect("set");
    put_by_aws(&store, "acls", "shared", &["--acl", "public-read"]).await;
    put_by_aws(&store, "acls", "own", &[]).await;
    let at = now_of(&store).await;
    overwrite(&bucket).await;
    (store, bucket, at)
}

async fn overwrite(bucket: &S3Bucket) {
    for key in ["shared", "own"] {
        bucket.put_bytes(key, "new", Put::default()).await.expect("written");
    }
}

async fn is_public(store: &Store, key: &str) -> bool {
    let asked = ["s3api", "get-object-acl", "--bucket", "acls", "--key", key];
    store.aws(&asked).await.to_string().contains("AllUsers")
}

/// A bench on whose line no ACL is set.
async fn refusing_to_set(store: &Store) -> StepBench {
    StepBench::new().with("bucket", store.refusing("acls", &["PUT ", "?acl"]).await)
}

#[tokio::test]
async fn an_acl_comes_along_or_stays_behind_aloud() {
    let (store, bucket, at) = shared().await;
    let allowed = bench(&store, "acls").await;
    let refused = refusing_to_set(&store).await;
    for (bench, told) in [(refused, vec![run::left_behind(1)]), (allowed, vec![])] {
        let ran = bench.run(&RestoreVersions, as_of(at)).await;
        assert_eq!(ran.degraded, told);
        assert_eq!(ran.output()["copied_back"], json!(2));
        assert_eq!(
            (is_public(&store, "shared").await, is_public(&store, "own").await),
            (told.is_empty(), false)
        );
        overwrite(&bucket).await;
    }
    // Where ACLs count for nothing nobody is asked for one.
    bucket.set_ownership(Ownership::BucketOwnerEnforced).await.expect("set");
    let refused = StepBench::new().with("bucket", store.refusing("acls", &["?acl"]).await);
    let ran = refused.run(&RestoreVersions, as_of(at)).await;
    assert_eq!(ran.degraded, [] as [&str; 0]);
    ran.output();
}

/// Who may read neither ACLs nor whether they count does not take a public object for a private one.
#[tokio::test]
async fn an_acl_that_nobody_may_read_may_stay_behind() {
    let (store, bucket, at) = shared().await;
    let lines: [(&'static [&'static str], u64); 2] = [(&["GET ", "?acl"], 2), (&["GET ", "?ownershipControls"], 0)];
    for (words, behind) in lines {
        let refused = StepBench::new().with("bucket", store.refusing("acls", words).await);
        let ran = refused.run(&RestoreVersions, as_of(at)).await;
        let told: Vec<String> = (behind > 0).then(|| run::left_behind(behind)).into_iter().collect();
        assert_eq!(ran.degraded, told, "{words:?}");
        assert_eq!(ran.output()["copied_back"], json!(2));
        assert_eq!(is_public(&store, "shared").await, behind == 0, "{words:?}");
        overwrite(&bucket).await;
    }
}

/// A process that died between a copy and its ACL leaves what a run leaves behind that is allowed no ACL.
#[tokio::test]
async fn a_copy_that_was_killed_before_it_had_its_acl_gets_it_from_whoever_goes_on() {
    let (store, bucket, at) = shared().await;
    let refused = refusing_to_set(&store).await;
    let ran = refused.run(&RestoreVersions, as_of(at)).await;
    let saved = ran.checkpoints.last().expect("saved").clone();
    assert_eq!(ran.output()["copied_back"], json!(2));
    let copied = entries(&bucket).await;
    let allowed = bench(&store, "acls").await;
    for (bench, told) in [(refused, vec![run::left_behind(1)]), (allowed, vec![])] {
        let again = bench.attempt(2).checkpoint(saved.clone());
        let ran = again.run(&RestoreVersions, as_of(at)).await;
        assert_eq!(ran.degraded, told);
        assert_eq!(ran.output()["copied_back"], json!(2));
        assert_eq!(
            (is_public(&store, "shared").await, is_public(&store, "own").await),
            (told.is_empty(), false)
        );
        assert_eq!(entries(&bucket).await, copied, "no other version");
    }
}
