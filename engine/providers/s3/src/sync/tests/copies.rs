//! From a bucket to another one.

use jm_testkit::conformance::{cancels_promptly, preview_writes_nothing, runs_once, saves_nothing};

use super::*;
use crate::restore_versions::RestoreVersions;

pub(super) async fn both(from: (&Store, &str), to: (&Store, &str)) -> StepBench {
    StepBench::new()
        .with("from", from.0.connection(from.1).await)
        .with("to", to.0.connection(to.1).await)
}

/// Fills a bucket and copies it, within a store or to another one.
async fn copied(from: &Store, to: &Store) {
    let what = format!("{} to {}", from.name, to.name);
    let source = from.bucket("copy-from").await;
    let large = noise(5, 9 * 1024 * 1024);
    let put = |content: &[u8]| {
        let mut put = Put {
            content_type: Some("text/plain".to_owned()),
            cache_control: Some("max-age=60".to_owned()),
            headers: jm_client_s3::OtherHeaders {
                content_encoding: Some("identity".to_owned()),
                content_disposition: Some("inline".to_owned()),
                content_language: Some("de".to_owned()),
                expires: Some("2031-01-01T00:00:00Z".parse().expect("a moment")),
            },
            tags: Some("kind=a%20b&of=c".to_owned()),
            ..told(content)
        };
        put.metadata.insert("a".to_owned(), "b".to_owned());
        put
    };
    source.put_bytes("in/ä b+", "odd", put(b"odd")).await.expect("written");
    source.put("in/large", &large[..], put(&large)).await.expect("written");
    let target = to.bucket("copy-to").await;
    let bench = both((from, "copy-from"), (to, "copy-to")).await;
    let input = json!({ "from_prefix": "in/", "to_prefix": "out/" });
    let preview = bench.preview(&Copy, input.clone()).await.expect("a preview");
    assert_eq!(keys(&target).await, Vec::<String>::new(), "a preview writes nothing");
    let ran = bench.run(&Copy, input.clone()).await;
    assert_eq!(ran.changes, preview.changes, "{what}");
    let mut expected = preview.predicted.expect("told");
    if to.name == "ministack" {
        // It gives a copy the ETag of its parts, and keeps no sum: that is seen once the copy is there.
        expected["unverified"] = json!(1);
    }
    assert_eq!(ran.output(), expected, "{what}");
    assert!(content(&target, "out/large").await == Some(large), "{what}");
    let info = target.head("out/ä b+", None).await.expect("an answer").expect("there");
    assert_eq!(info.content_type.as_deref(), Some("text/plain"), "{what}");
    assert_eq!(info.cache_control.as_deref(), Some("max-age=60"), "{what}");
    assert_eq!(info.metadata.get("a").map(String::as_str), Some("b"), "{what}");
    let was = source.head("in/ä b+", None).await.expect("an answer").expect("there");
    assert_eq!(info.headers, was.headers, "{what}");
    assert_eq!(info.headers.content_language.as_deref(), Some("de"), "{what}");
    assert!(info.headers.expires.is_some(), "{what}");
    let of_large = target.head("out/large", None).await.expect("an answer").expect("there");
    assert_eq!(of_large.headers, was.headers, "{what}");
    for (key, copy) in [("in/ä b+", "out/ä b+"), ("in/large", "out/large")] {
        // Ministack itself forgets the tags of what comes in parts.
        let tags = source.tags(key).await.expect("tags");
        assert!(tags.is_some() || key == "in/large", "{what}: `{key}` has no tags");
        assert_eq!(tags, target.tags(copy).await.expect("tags"), "{what}: `{copy}`");
    }
    let again = bench.preview(&Copy, input.clone()).await.expect("a preview");
    assert_eq!(again.grade, Grade::Verified, "{what}: {}", again.summary);

    source
        .put_bytes("in/ä b+", "new", Put::default())
        .await
        .expect("written");
    let keep = json!({ "from_prefix": "in/", "to_prefix": "out/", "existing": "keep" });
    let output = bench.run(&Copy, keep).await.output();
    assert_eq!(
        (&output["kept"], &output["overwritten"]),
        (&json!(1), &json!(0)),
        "{what}"
    );
    bench.run(&Copy, input).await.output();
    assert_eq!(
        content(&target, "out/ä b+").await.as_deref(),
        Some(&b"new"[..]),
        "{what}"
    );
}

#[tokio::test]
async fn a_bucket_becomes_as_another_one_is() {
    for store in all_stores().await {
        Box::pin(copied(&store, &store)).await;
    }
}

#[tokio::test]
async fn between_two_stores_the_bytes_go_through_here() {
    Box::pin(copied(&sandbox().await, &versitygw().await)).await;
    Box::pin(copied(&versitygw().await, &sandbox().await)).await;
}

/// What another client wrote in parts has no sum but its ETag, and gets another one by a copy.
#[tokio::test]
async fn what_was_written_in_parts_is_copied_once() {
    let (versity, sandbox) = (versitygw().await, sandbox().await);
    for (from, to) in [(&versity, &versity), (&sandbox, &sandbox), (&versity, &sandbox)] {
        let (source, target) = (format!("of-{}", to.name), format!("to-{}", from.name));
        from.bucket(&source).await;
        to.bucket(&target).await;
        let first = noise(3, 5 * 1024 * 1024);
        from.put_in_parts(&source, "k", &[&first, b"rest"]).await;
        let bench = both((from, &source), (to, &target)).await;
        let output = bench.run(&Copy, json!({})).await.output();
        assert_eq!(output["created"], json!(1), "{output}");
        let again = bench.preview(&Copy, json!({})).await.expect("a preview");
        assert_eq!(
            again.grade,
            Grade::Verified,
            "{} {}: {}",
            from.name,
            to.name,
            again.summary
        );
        from.put_in_parts(&source, "k", &[&first, b"else"]).await;
        let other = bench.preview(&Copy, json!({})).await.expect("a preview");
        assert_eq!(
            other.grade,
            Grade::Computed,
            "{} {}: {}",
            from.name,
            to.name,
            other.summary
        );
    }
}

#[tokio::test]
async fn a_bucket_is_not_copied_to_itself() {
    let store = sandbox().await;
    store.bucket("same").await;
    let error = both((&store, "same"), (&store, "same"))
        .await
        .run(&Copy, json!({}))
        .await
        .error();
    assert_eq!(error.kind(), StepErrorKind::InvalidInput);
}

/// A key that is deleted and has a version is kept; one of which there are markers alone, or nothing, is not.
#[tokio::test]
async fn what_no_version_is_kept_of_is_told() {
    for store in all_stores().await {
        let (source, target) = (store.bucket("copies").await, store.bucket("original").await);
        target.set_versioning(true).await.expect("set");
        for key in ["b/deleted", "b/gone", "b/kept", "b/marked", "c"] {
            source
                .put_bytes(&format!("of/{key}"), key, Put::default())
                .await
                .expect("written");
        }
        for key in ["b/deleted", "b/kept"] {
            target.put_bytes(key, "other", Put::default()).await.expect("written");
        }
        for key in ["b/deleted", "b/marked"] {
            target.delete(key, None).await.expect("deleted");
        }
        let bench = both((&store, "copies"), (&store, "original")).await;
        let input = json!({ "from_prefix": "of/b/", "to_prefix": "b/" });
        let told = bench.run(&Lacking, input).await.output();
        let expected = json!({ "looked_at": 4, "lacking": 2, "names": ["gone", "marked"] });
        assert_eq!(told, expected, "{}", store.name);
    }
}

#[tokio::test]
async fn who_tells_what_is_lacking_only_looks() {
    let store = sandbox().await;
    for name in ["copies", "original"] {
        store.bucket(name).await;
    }
    let bench = both((&store, "copies"), (&store, "original")).await;
    let make = || (bench.clone(), || 0);
    preview_writes_nothing(&Lacking, make, json!({})).await;
    runs_once(&Lacking, make, json!({})).await;
    saves_nothing(&Lacking, make, json!({})).await;
    let (after, patience) = (Duration::from_millis(5), Duration::from_secs(5));
    cancels_promptly(&Lacking, make, json!({}), after, patience).await;
}

/// Where a step before brings back what was deleted, only what no version holds is still to come.
#[tokio::test]
async fn a_preview_leaves_out_what_versions_bring_back() {
    let store = sandbox().await;
    let source = store.bucket("replica").await;
    let target = store.bucket("lost").await;
    target.set_versioning(true).await.expect("set");
    for key in ["b/kept", "b/deleted", "b/gone", "c"] {
        source.put_bytes(key, key, Put::default()).await.expect("written");
    }
    target
        .put_bytes("b/kept", "b/kept", Put::default())
        .await
        .expect("written");
    target
        .put_bytes("b/deleted", "b/deleted", Put::default())
        .await
        .expect("written");
    target.delete("b/deleted", None).await.expect("deleted");
    let bench = both((&store, "replica"), (&store, "lost")).await;
    let input = json!({ "from_prefix": "b/", "to_prefix": "b/", "existing": "keep" });
    let alone = bench.preview(&Copy, input.clone()).await.expect("a preview");
    assert_eq!(alone.predicted.expect("told")["created"], json!(2));
    let restore = StepBench::new().with("bucket", store.connection("lost").await);
    let announced = restore.preview(&RestoreVersions, json!({ "prefix": "b/" })).await;
    let after = bench.announced(&announced.expect("a preview").changes);
    let preview = after.preview(&Copy, input).await.expect("a preview");
    let predicted = preview.predicted.expect("told");
    assert_eq!((&predicted["created"], &predicted["unchanged"]), (&json!(1), &json!(2)));
    assert!(
        preview.summary.contains("1 come back by a step before"),
        "{}",
        preview.summary
    );
}

/// A store that lost a bit of an object copies what it has, and says what that is.
#[tokio::test]
async fn a_copy_of_what_is_damaged_is_told_by_name() {
    let store = versitygw().await;
    let source = store.bucket("of-damaged").await;
    store.bucket("to-damaged").await;
    for key in ["damaged", "whole"] {
        source.put_bytes(key, "content", Put::default()).await.expect("written");
    }
    store.damage("of-damaged", "damaged");
    let bench = both((&store, "of-damaged"), (&store, "to-damaged")).await;
    let ran = bench.run(&Copy, json!({})).await;
    let output = ran.outputs.last().expect("an output").clone();
    assert_eq!(
        (&output["created"], &output["failed"]),
        (&json!(1), &json!(1)),
        "{output}"
    );
    assert_eq!(output["failures"][0]["name"], "damaged", "{output}");
    let error = ran.error();
    assert!(
        error
            .message()
            .contains("`s3://to-damaged/damaged` is a copy of `s3://of-damaged/damaged`"),
        "{error}"
    );
}

/// Somebody has written other content beside the sum of the old one, as with `aws s3 cp --metadata`. Ministack keeps no checksums.
#[tokio::test]
async fn what_a_writer_says_of_the_content_is_not_believed_against_the_etag() {
    let store = ministack().await;
    let (from, to) = (store.bucket("said-from").await, store.bucket("said-to").await);
    from.put_bytes("k", "right", told(b"right")).await.expect("written");
    to.put_bytes("k", "wrong", told(b"right")).await.expect("written");
    let bench = both((&store, "said-from"), (&store, "said-to")).await;
    let output = bench.run(&Copy, json!({})).await.output();
    assert_eq!(output["overwritten"], json!(1), "{output}");
    assert_eq!(content(&to, "k").await.as_deref(), Some(&b"right"[..]));
}
