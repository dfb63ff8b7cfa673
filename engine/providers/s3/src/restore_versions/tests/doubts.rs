//! What a listing does not tell: other metadata on the same content, ETags that are no sums, markers that stay, versions
//! that a later step saves.

use jm_client_s3::{DefaultEncryption, Encryption, OtherHeaders, Pace, Put};

use super::super::choose::{Chooser, Verdict};
use super::*;
use crate::store::stores;

fn put(language: &str, color: &str) -> Put {
    Put {
        content_type: Some("text/plain".to_owned()),
        headers: OtherHeaders {
            content_language: Some(language.to_owned()),
            ..OtherHeaders::default()
        },
        metadata: [("color".to_owned(), color.to_owned())].into(),
        ..Put::default()
    }
}

/// As after `aws s3 cp --metadata-directive REPLACE` over a whole bucket.
#[tokio::test]
async fn other_metadata_on_the_same_content_is_undone_once() {
    for store in all_stores().await {
        let bucket = store.bucket("replaced").await;
        bucket.set_versioning(true).await.expect("set");
        for key in ["metadata", "header", "neither"] {
            bucket.put_bytes(key, "same", put("de", "red")).await.expect("written");
        }
        let at = now_of(&store).await;
        for (key, language, color) in [
            ("metadata", "de", "blue"),
            ("header", "en", "red"),
            ("neither", "de", "red"),
        ] {
            bucket
                .put_bytes(key, "same", put(language, color))
                .await
                .expect("written");
        }
        let input = json!({ "as_of": at.to_string() });
        let bench = bench(&store, "replaced").await;
        let preview = bench.preview(&RestoreVersions, input.clone()).await.expect("a preview");
        let output = bench.run(&RestoreVersions, input.clone()).await.output();
        assert_eq!(Some(&output), preview.predicted.as_ref(), "{}", store.name);
        assert_eq!(
            (&output["copied_back"], &output["as_it_was"]),
            (&json!(2), &json!(1)),
            "{}: {output}",
            store.name
        );
        for key in ["metadata", "header"] {
            let info = bucket.head(key, None).await.expect("an answer").expect("there");
            assert_eq!(info.metadata["color"], "red", "{} {key}", store.name);
            assert_eq!(
                info.headers.content_language.as_deref(),
                Some("de"),
                "{} {key}",
                store.name
            );
        }
        let again = bench.run(&RestoreVersions, input).await.output();
        assert_eq!(
            (&again["copied_back"], &again["as_it_was"]),
            (&json!(0), &json!(3)),
            "{}: {again}",
            store.name
        );
    }
}

/// As after `aws s3api put-object` of what was there, with other tags or none. (Ministack tells of tags where they are asked for, and
/// not with a look.)
#[tokio::test]
async fn other_tags_on_the_same_content_are_undone_once() {
    let tagged = |tags: Option<&str>| Put {
        tags: tags.map(str::to_owned),
        ..Put::default()
    };
    for store in stores().await {
        let bucket = store.bucket("tagged").await;
        bucket.set_versioning(true).await.expect("set");
        let red = Some("color=red");
        let keys = [
            ("changed", red, Some("color=blue")),
            ("removed", red, None),
            ("added", None, red),
            ("same", red, red),
            ("none", None, None),
        ];
        for (key, then, _) in keys {
            bucket.put_bytes(key, "same", tagged(then)).await.expect("written");
        }
        let at = now_of(&store).await;
        for (key, _, since) in keys {
            bucket.put_bytes(key, "same", tagged(since)).await.expect("written");
        }
        let bench = bench(&store, "tagged").await;
        for copied in [3, 0] {
            let output = bench.run(&RestoreVersions, as_of(at)).await.output();
            assert_eq!(
                (&output["copied_back"], &output["as_it_was"]),
                (&json!(copied), &json!(5 - copied)),
                "{}: {output}",
                store.name
            );
        }
        for (key, then, _) in keys {
            let tags = bucket.tags(key).await.expect("told");
            assert_eq!(tags.as_deref(), then, "{} {key}", store.name);
        }
    }
}

/// Ministack alone takes an archive for one.
#[tokio::test]
async fn the_same_content_in_an_archive_is_not_as_it_was() {
    let store = ministack().await;
    let bucket = store.bucket("sunk").await;
    bucket.set_versioning(true).await.expect("set");
    put_by_aws(&store, "sunk", "k", &[]).await;
    let at = now_of(&store).await;
    put_by_aws(&store, "sunk", "k", &["--storage-class", "GLACIER"]).await;
    let bench = bench(&store, "sunk").await;
    let output = bench.run(&RestoreVersions, as_of(at)).await.output();
    assert_eq!(output["copied_back"], json!(1), "{output}");
    assert_eq!(content(&bucket, "k", None).await.as_deref(), Some(&b"old"[..]));
    let again = bench.attempt(2).run(&RestoreVersions, as_of(at)).await.output();
    assert_eq!(again["as_it_was"], json!(1), "{again}");
}

/// Writes `old` as jm itself would not.
#[expect(
    clippy::disallowed_methods,
    reason = "the client of AWS reads what it writes from a file"
)]
pub(super) async fn put_by_aws(store: &Store, bucket: &str, key: &str, more: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let body = folder.path().join("old");
    std::fs::write(&body, "old").expect("written");
    let body = body.to_str().expect("text");
    let words = ["s3api", "put-object", "--bucket", bucket, "--key", key, "--body", body];
    store.aws(&[&words, more].concat()).await;
}

/// Ministack lists such keys in a way that nobody can read, and versitygw does not take all of them.
#[tokio::test]
async fn keys_that_xml_cannot_say_come_back() {
    let store = sandbox().await;
    let bucket = store.bucket("unsayable").await;
    bucket.set_versioning(true).await.expect("set");
    let keys = ["\u{1}deleted\u{1f}", "\u{1}overwritten\u{b}"];
    for key in keys {
        bucket.put_bytes(key, "old", Put::default()).await.expect("written");
    }
    let at = now_of(&store).await;
    bucket.delete(keys[0], None).await.expect("deleted");
    bucket
        .put_bytes(keys[1], "newer", Put::default())
        .await
        .expect("written");
    let output = bench(&store, "unsayable")
        .await
        .run(&RestoreVersions, as_of(at))
        .await
        .output();
    assert_eq!(
        (&output["undeleted"], &output["copied_back"]),
        (&json!(1), &json!(1)),
        "{output}"
    );
    for key in keys {
        assert_eq!(
            content(&bucket, key, None).await.as_deref(),
            Some(&b"old"[..]),
            "{key:?}"
        );
    }
}

/// Of an object that another client wrote in parts, stores keep no sum but the ETag.
#[tokio::test]
async fn what_was_written_in_parts_comes_back_once() {
    for store in all_stores().await {
        let bucket = store.bucket("parts").await;
        bucket.set_versioning(true).await.expect("set");
        let first = vec![b'a'; 5 * 1024 * 1024];
        store.put_in_parts("parts", "k", &[&first, b"rest"]).await;
        let at = now_of(&store).await;
        let changed = vec![b'b'; first.len() + 4];
        bucket.put_bytes("k", changed, Put::default()).await.expect("written");
        let bench = bench(&store, "parts").await;
        let output = bench.run(&RestoreVersions, as_of(at)).await.output();
        assert_eq!(output["copied_back"], json!(1), "{}: {output}", store.name);
        let whole = [&first[..], b"rest"].concat();
        assert!(content(&bucket, "k", None).await == Some(whole), "{}", store.name);
        let before = entries(&bucket).await;
        let again = bench.attempt(2).run(&RestoreVersions, as_of(at)).await.output();
        assert_eq!(
            (&again["copied_back"], &again["as_it_was"]),
            (&json!(0), &json!(1)),
            "{}: {again}",
            store.name
        );
        assert_eq!(entries(&bucket).await, before, "{}", store.name);
    }
}

/// Ministack alone keeps keys.
#[tokio::test]
async fn a_version_comes_back_under_its_own_key_and_once() {
    let (store, key) = (ministack().await, "arn:aws:kms:us-east-1:000000000000:key/one");
    let bucket = store.bucket("keys").await;
    bucket.set_versioning(true).await.expect("set");
    let write = async |name: &str, key: &str| {
        let by_key = ["--server-side-encryption", "aws:kms", "--ssekms-key-id", key];
        put_by_aws(&store, "keys", name, &by_key).await;
    };
    for name in ["overwritten", "by another key"] {
        write(name, key).await;
    }
    let at = now_of(&store).await;
    bucket
        .put_bytes("overwritten", "new", Put::default())
        .await
        .expect("written");
    write("by another key", "arn:aws:kms:us-east-1:000000000000:key/two").await;
    let bench = bench(&store, "keys").await;
    let output = bench.run(&RestoreVersions, as_of(at)).await.output();
    assert_eq!(output["copied_back"], json!(2), "{output}");
    for name in ["overwritten", "by another key"] {
        let info = bucket.head(name, None).await.expect("an answer").expect("there");
        let keys = info.encryption.expect("encrypted");
        assert_eq!(
            (keys.algorithm.as_str(), keys.kms_key.as_deref()),
            ("aws:kms", Some(key)),
            "{name}"
        );
        assert_eq!(content(&bucket, name, None).await.as_deref(), Some(&b"old"[..]));
    }
    let again = bench.attempt(2).run(&RestoreVersions, as_of(at)).await.output();
    assert_eq!(
        (&again["copied_back"], &again["as_it_was"]),
        (&json!(0), &json!(2)),
        "{again}"
    );
}

/// A bucket may want a key by now that it did not want when a version was written, and refuse what is written without it.
#[tokio::test]
async fn a_version_without_a_key_comes_back_under_that_of_the_bucket_and_once() {
    let store = ministack().await;
    let bucket = store.bucket("moved").await;
    bucket.set_versioning(true).await.expect("set");
    put_by_aws(&store, "moved", "k", &["--server-side-encryption", "AES256"]).await;
    let at = now_of(&store).await;
    bucket.put_bytes("k", "new", Put::default()).await.expect("written");
    let keys = DefaultEncryption {
        keys: Encryption::KmsKey("alias/backups".to_owned()),
        bucket_key: false,
    };
    bucket.set_default_encryption(&keys).await.expect("set");
    let bench = bench(&store, "moved").await;
    let output = bench.run(&RestoreVersions, as_of(at)).await.output();
    assert_eq!(output["copied_back"], json!(1), "{output}");
    let info = bucket.head("k", None).await.expect("an answer").expect("there");
    assert_ne!(
        info.encryption.map(|keys| keys.algorithm).as_deref(),
        Some("AES256"),
        "the bucket decides"
    );
    let again = bench.attempt(2).run(&RestoreVersions, as_of(at)).await.output();
    assert_eq!(again["as_it_was"], json!(1), "{again}");
}

pub(super) fn rules(markers_stay: bool, by_kms: bool) -> Rules {
    Rules {
        wish: Wish::Undelete,
        hide: false,
        nulls_are_lost: false,
        markers_stay,
        by_kms,
        ask_archive: false,
        only_archived: false,
        since: None,
        page: PAGE,
    }
}

#[tokio::test]
async fn where_no_marker_may_be_removed_what_lies_under_it_is_copied_over_it() {
    for store in all_stores().await {
        let bucket = store.bucket("guarded").await;
        bucket.set_versioning(true).await.expect("set");
        bucket.put_bytes("k", "there", Put::default()).await.expect("written");
        bucket.delete("k", None).await.expect("deleted");
        let mut walk = Walk::new(bucket.reader().clone(), Pace::alone(), "", rules(true, false), None);
        let part = walk.next().await.expect("listed").expect("a part");
        assert_eq!((part.markers.len(), part.copies.len()), (0, 1), "{}", store.name);
        assert_eq!((part.planned.undeleted, part.planned.copied_back), (0, 1));
        let pace = Pace::alone();
        bucket
            .copy_version(&pace, &part.copies[0].target, false)
            .await
            .expect("copied");
        assert_eq!(content(&bucket, "k", None).await.as_deref(), Some(&b"there"[..]));
    }
}

/// A job that deletes the same key each minute leaves half a million markers in a year.
#[test]
fn what_lies_under_very_many_markers_is_copied_over_them() {
    let entry = |number: usize, marker: bool| ObjectVersion {
        key: "k".to_owned(),
        version_id: number.to_string(),
        marker,
        latest: number == 0,
        bytes: 1,
        etag: None,
        last_modified: None,
        storage_class: None,
    };
    for (markers, copied) in [(10_000, false), (10_001, true), (1_000_000, true)] {
        let mut chooser = Chooser::new(Wish::Undelete, None);
        for number in 0..markers {
            assert_eq!(chooser.push(entry(number, true)), None);
        }
        chooser.push(entry(markers, false));
        let verdict = chooser.finish().expect("a key").verdict;
        let removed = match &verdict {
            Verdict::Undelete { markers, .. } => markers.len(),
            Verdict::CopyBack { target, .. } => {
                assert_eq!(target.version_id, markers.to_string());
                0
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(removed, if copied { 0 } else { markers });
    }
}

#[test]
fn an_etag_is_a_sum_where_kms_encrypts_nothing() {
    let version = |etag: &str, bytes| ObjectVersion {
        key: "k".to_owned(),
        version_id: "v".to_owned(),
        marker: false,
        latest: false,
        bytes,
        etag: Some(etag.to_owned()),
        last_modified: None,
        storage_class: None,
    };
    let (one, other) = (version("a", 1), version("b", 1));
    assert!(!rules(false, false).are_unsure(&one, &other), "other content");
    assert!(
        rules(false, true).are_unsure(&one, &other),
        "the same content has another ETag"
    );
    assert!(!rules(false, true).are_unsure(&one, &version("b", 2)), "another size");
    assert!(rules(false, false).are_unsure(&one, &version("a", 1)), "other metadata");
}
