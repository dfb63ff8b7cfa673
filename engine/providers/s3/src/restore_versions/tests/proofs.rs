//! Copies are compared with the versions that they were made of.

use std::collections::BTreeSet;

use jm_client_s3::{Copied, Pace, Put};

use super::super::verify;
use super::super::walk::CopyBack;
use super::*;
use crate::store::stores;

/// A store that lost a bit of an old version copies what it has, and says what that is.
#[tokio::test]
async fn a_copy_of_a_damaged_version_is_told_by_name() {
    let store = versitygw().await;
    let bucket = store.bucket("damaged").await;
    bucket.set_versioning(true).await.expect("set");
    for key in ["damaged", "whole"] {
        bucket.put_bytes(key, "old", Put::default()).await.expect("written");
    }
    let at = now_of(&store).await;
    for key in ["damaged", "whole"] {
        bucket.put_bytes(key, "new", Put::default()).await.expect("written");
    }
    let before = entries(&bucket).await;
    let old = |version: &&ObjectVersion| version.key == "damaged" && !version.latest;
    store.damage_version(&before.iter().find(old).expect("an old version").version_id);
    let bench = bench(&store, "damaged").await;
    let first = bench.run(&RestoreVersions, as_of(at)).await;
    let retried = bench
        .clone()
        .attempt(2)
        .checkpoint(first.checkpoints.last().expect("saved").clone());
    let output = first.outputs.last().expect("an output").clone();
    assert_eq!(
        (&output["copied_back"], &output["verified"], &output["failed"]),
        (&json!(1), &json!(1), &json!(1)),
        "{output}"
    );
    assert_eq!(output["failures"][0]["key"], "damaged", "{output}");
    let error = first.error();
    assert!(
        error
            .message()
            .contains("`s3://damaged/damaged`: the copy of its version"),
        "{error}"
    );
    // Nor is it taken for what was wanted by whoever tries again, in the same run or in another.
    for again in [retried, bench] {
        let error = again.run(&RestoreVersions, as_of(at)).await.error();
        assert!(error.message().contains("`s3://damaged/damaged`"), "{error}");
    }
}

/// Parts of several sizes make an ETag that no copy has, and other clients keep no sum over the whole of it. (Ministack gives a
/// copy the ETag of its version.)
#[tokio::test]
async fn a_copy_that_no_sum_proves_is_counted() {
    for store in stores().await {
        let bucket = store.bucket("uneven").await;
        bucket.set_versioning(true).await.expect("set");
        let (small, large) = (vec![b'a'; 5 * 1024 * 1024], vec![b'b'; 6 * 1024 * 1024]);
        store.put_in_parts("uneven", "parts", &[&small, &large, b"c"]).await;
        bucket.put_bytes("whole", "old", Put::default()).await.expect("written");
        let at = now_of(&store).await;
        for key in ["parts", "whole"] {
            bucket.put_bytes(key, "new", Put::default()).await.expect("written");
        }
        let output = bench(&store, "uneven")
            .await
            .run(&RestoreVersions, as_of(at))
            .await
            .output();
        assert_eq!(
            (&output["copied_back"], &output["verified"], &output["unverified"]),
            (&json!(2), &json!(1), &json!(1)),
            "{}: {output}",
            store.name
        );
    }
}

/// More keys than a checkpoint holds: whoever goes on after a kill has the names of the others in the log.
#[tokio::test]
async fn each_key_that_could_not_be_brought_back_is_named_where_a_kill_does_not_lose_it() {
    let store = sandbox().await;
    let bucket = store.bucket("refused").await;
    bucket.set_versioning(true).await.expect("set");
    let keys: BTreeSet<String> = (0..30).map(|number| format!("k-{number:02}")).collect();
    for key in &keys {
        bucket.put_bytes(key, "old", Put::default()).await.expect("written");
    }
    let at = now_of(&store).await;
    for key in &keys {
        bucket.put_bytes(key, "new", Put::default()).await.expect("written");
    }
    let refused = store.refusing("refused", &["PUT ", "CopyObject"]).await;
    let refused = StepBench::new().with("bucket", refused);
    let ran = refused.run(&RestoreVersions, as_of(at)).await;
    let saved = ran.outputs.last().expect("an output")["failures"].clone();
    let saved: Vec<Failure> = serde_json::from_value(saved).expect("decodes");
    assert_eq!(saved.len(), 20);
    let logged = ran
        .log
        .iter()
        .filter_map(|line| line.strip_prefix('`')?.split('`').next());
    let named = logged.chain(saved.iter().map(|failure| failure.key.as_str()));
    assert_eq!(named.map(str::to_owned).collect::<BTreeSet<_>>(), keys);
}

/// A store that says that it copied, and did not.
#[tokio::test]
async fn a_copy_that_is_not_there_is_told() {
    let store = sandbox().await;
    let bucket = store.bucket("nothing").await;
    bucket.set_versioning(true).await.expect("set");
    bucket.put_bytes("k", "old", Put::default()).await.expect("written");
    let at = now_of(&store).await;
    bucket.put_bytes("k", "new", Put::default()).await.expect("written");
    let copied = "<CopyObjectResult><ETag>&quot;other&quot;</ETag></CopyObjectResult>";
    let lying = store
        .answering("nothing", &["PUT ", "CopyObject"], "200 OK", copied)
        .await;
    let lying = StepBench::new().with("bucket", lying);
    let error = lying.run(&RestoreVersions, as_of(at)).await.error();
    assert!(
        error.message().contains("`s3://nothing/k`") && error.message().ends_with("is not there"),
        "{error}"
    );
}

/// A store that keeps versions and names none of a copy.
#[tokio::test]
async fn a_copy_of_which_no_version_is_named_is_found_by_its_key() {
    for store in stores().await {
        let bucket = store.bucket("unnamed").await;
        bucket.set_versioning(true).await.expect("set");
        let (small, large) = (vec![b'a'; 5 * 1024 * 1024], vec![b'b'; 6 * 1024 * 1024]);
        store.put_in_parts("unnamed", "k", &[&small, &large, b"c"]).await;
        bucket.put_bytes("k", "new", Put::default()).await.expect("written");
        let newest_first = entries(&bucket).await;
        let back = CopyBack {
            latest: newest_first[0].clone(),
            target: newest_first[1].clone(),
        };
        let pace = Pace::alone();
        let copied = bucket.copy_version(&pace, &back.target, true).await.expect("copied");
        assert!(
            copied.etag != back.target.etag,
            "{}: nothing is to be looked at",
            store.name
        );
        let unnamed = Copied {
            version_id: None,
            ..copied
        };
        let found = async |back: &CopyBack| verify::copy(&bucket, &pace, back, &unnamed).await;
        assert!(!found(&back).await.expect("there"), "{}", store.name);
        bucket.put_bytes("k", "since", Put::default()).await.expect("written");
        assert!(!found(&back).await.expect("somebody wrote"), "{}", store.name);
        let before = CopyBack {
            latest: entries(&bucket).await.remove(0),
            ..back.clone()
        };
        let error = found(&before).await.expect_err("nothing was copied");
        assert!(error.message().ends_with("is not there"), "{}: {error}", store.name);
        bucket.delete("k", None).await.expect("deleted");
        assert!(!found(&back).await.expect("somebody deleted"), "{}", store.name);
    }
}
