//! From a bucket to a directory.

use super::*;

#[tokio::test]
async fn a_directory_becomes_as_the_bucket_is() {
    for store in all_stores().await {
        let bucket = store.bucket("down").await;
        let large = noise(4, 9 * 1024 * 1024);
        for (key, content) in [
            ("in/a", &b"a"[..]),
            ("in/deep/er/ä b+", b"odd"),
            ("in/large", &large),
            ("out", b"x"),
        ] {
            bucket.put(key, content, told(content)).await.expect("written");
        }
        let folder = store.files().join("down");
        let bench = bench(&store, "down").await;
        let input = json!({ "directory": folder, "to": "directory", "prefix": "in/" });
        let preview = bench.preview(&SyncStep, input.clone()).await.expect("a preview");
        assert!(!folder.exists(), "a preview writes nothing");
        let ran = bench.run(&SyncStep, input.clone()).await;
        assert_eq!(ran.changes, preview.changes, "{}", store.name);
        assert_eq!(Some(&ran.output()), preview.predicted.as_ref(), "{}", store.name);
        assert_eq!(std::fs::read(folder.join("deep/er/ä b+")).expect("a file"), b"odd");
        assert!(
            std::fs::read(folder.join("large")).expect("a file") == large,
            "{}",
            store.name
        );

        std::fs::write(folder.join("a"), "b").expect("a file");
        std::fs::write(folder.join("surplus"), "x").expect("a file");
        let input = json!({ "directory": folder, "to": "directory", "prefix": "in/", "delete": { "at_most": 1 } });
        let output = bench.run(&SyncStep, input.clone()).await.output();
        assert_eq!(
            (&output["overwritten"], &output["unchanged"], &output["deleted"]),
            (&json!(1), &json!(2), &json!(1)),
            "{}",
            store.name
        );
        assert_eq!(std::fs::read(folder.join("a")).expect("a file"), b"a");
        assert!(!folder.join("surplus").exists());
        assert_eq!(
            bench.preview(&SyncStep, input).await.expect("a preview").grade,
            Grade::Verified
        );
    }
}

#[tokio::test]
async fn no_key_leads_out_of_the_directory() {
    let store = sandbox().await;
    let bucket = store.bucket("escape").await;
    let folder = store.files().join("escape/inside");
    for key in ["../outside", "/etc/absolute", "a/../../outside", "mark/", "good"] {
        bucket.put_bytes(key, "x", Put::default()).await.expect("written");
    }
    let bench = bench(&store, "escape").await;
    let input = json!({ "directory": folder, "to": "directory" });
    let output = bench.run(&SyncStep, input.clone()).await.output();
    assert_eq!(
        (&output["created"], &output["left_out_count"]),
        (&json!(1), &json!(4)),
        "{output}"
    );
    assert!(!folder.join("../outside").exists() && folder.join("good").exists());

    // A link in the directory is no way out either.
    let elsewhere = store.files().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a folder");
    std::os::unix::fs::symlink(&elsewhere, folder.join("link")).expect("a link");
    bucket.put_bytes("link/x", "x", Put::default()).await.expect("written");
    let error = bench.run(&SyncStep, input).await.error();
    assert_eq!(error.kind(), StepErrorKind::Refused, "{error}");
    assert!(!elsewhere.join("x").exists());
}

#[tokio::test]
async fn what_is_damaged_in_the_store_is_not_put_in_place() {
    let store = versitygw().await;
    let bucket = store.bucket("rot").await;
    let put = Put {
        metadata: [("sha256".to_owned(), "0".repeat(64))].into(),
        ..Put::default()
    };
    bucket.put_bytes("a", "content", put).await.expect("written");
    let folder = store.files().join("rot");
    let input = json!({ "directory": folder, "to": "directory" });
    let error = bench(&store, "rot").await.run(&SyncStep, input).await.error();
    assert!(error.message().contains("is not what was written"), "{error}");
    assert_eq!(
        std::fs::read_dir(&folder).expect("a folder").count(),
        0,
        "nothing is left"
    );
}

/// What another client wrote has no sum but its ETag.
#[tokio::test]
async fn what_was_damaged_and_has_an_md5_for_its_etag_is_not_put_in_place() {
    let store = versitygw().await;
    store.bucket("rot").await;
    let (source, folder) = (folder(&store, "source"), store.files().join("rot"));
    write(&source, "a", "content");
    let source = source.join("a").display().to_string();
    let put = [
        "s3api",
        "put-object",
        "--bucket",
        "rot",
        "--key",
        "a",
        "--body",
        &source,
    ];
    store.aws(&put).await;
    let input = json!({ "directory": folder, "to": "directory" });
    bench(&store, "rot").await.run(&SyncStep, input.clone()).await.output();
    std::fs::remove_file(folder.join("a")).expect("removed");
    store.damage("rot", "a");
    let error = bench(&store, "rot").await.run(&SyncStep, input).await.error();
    assert!(error.message().contains("does not match the checksum"), "{error}");
    assert_eq!(
        std::fs::read_dir(&folder).expect("a folder").count(),
        0,
        "nothing is left"
    );
}

#[tokio::test]
async fn after_a_listing_that_broke_off_no_file_is_deleted() {
    use futures::StreamExt;

    let store = sandbox().await;
    let bucket = store.bucket("halves").await;
    // The last one is on the second page.
    let names = (0..1000).map(|number| format!("a{number:04}"));
    futures::stream::iter(names.chain(["z".to_owned()]))
        .for_each_concurrent(32, |key| {
            let bucket = bucket.clone();
            async move {
                bucket
                    .put_bytes(&key, "x", Put::default())
                    .await
                    .map(drop)
                    .expect("written");
            }
        })
        .await;
    let folder = folder(&store, "halves");
    write(&folder, "z", "x");
    let words = &["GET ", "list-type=2", "continuation-token"];
    let broken = StepBench::new().with("bucket", store.refusing("halves", words).await);
    let input = json!({ "directory": folder, "to": "directory", "delete": { "at_most": 5000 } });
    let error = broken.run(&SyncStep, input.clone()).await.error();
    assert_eq!(error.kind(), StepErrorKind::Denied, "{error}");
    let left = || std::fs::read_dir(&folder).expect("a folder").count();
    assert_eq!((left(), folder.join("z").exists()), (1, true), "something was done");
    // The line alone is to blame.
    let output = self::bench(&store, "halves").await.run(&SyncStep, input).await.output();
    assert_eq!((&output["created"], left()), (&json!(1000), 1001));
}

/// Somebody has written other content beside the sum of the old one. Ministack keeps no checksums.
#[tokio::test]
async fn what_a_writer_says_of_the_content_is_not_believed_against_the_etag() {
    let store = ministack().await;
    let bucket = store.bucket("said").await;
    let folder = folder(&store, "said");
    write(&folder, "k", "right");
    bucket.put_bytes("k", "wrong", told(b"right")).await.expect("written");
    let bench = bench(&store, "said").await;
    let input = json!({ "directory": folder });
    let output = bench.run(&SyncStep, input).await.output();
    assert_eq!(output["overwritten"], json!(1), "{output}");
    assert_eq!(content(&bucket, "k").await.as_deref(), Some(&b"right"[..]));

    bucket.put_bytes("k", "wrong", told(b"right")).await.expect("written");
    // What comes down is held to that word, too, and refused.
    let input = json!({ "directory": folder, "to": "directory" });
    let error = bench.run(&SyncStep, input).await.error();
    assert!(error.message().contains("is not what was written"), "{error}");
    assert_eq!(std::fs::read(folder.join("k")).expect("a file"), b"right");
}
