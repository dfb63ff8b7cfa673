//! Against real stores: versitygw, and the store of the sandbox, with the same functions.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests make and read files of their own"
)]

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use jm_step::{Connection, OpenContext, StepErrorKind};
use tokio::io::AsyncReadExt;

use crate::{Compatibility, Get, Newest, Put, S3, S3Bucket, VersioningStatus, unwrap_step_error};

mod answers;
mod copies;
mod credentials;
mod faults;
mod lines;
mod locks;
mod owners;
mod refusals;
mod regions;
mod rights;
mod stores;
use stores::{Store, stores};

const MIB: usize = 1024 * 1024;

/// Bytes without a pattern that a mistake could fit.
fn noise(length: usize) -> Vec<u8> {
    jm_testkit::noise(0, length)
}

async fn read(bucket: &S3Bucket, key: &str, get: Get) -> Vec<u8> {
    let mut content = Vec::new();
    let mut stream = bucket.get(key, get).await.expect("readable");
    stream.read_to_end(&mut content).await.expect("whole");
    content
}

async fn uploads(bucket: &S3Bucket) -> usize {
    let call = bucket.0.client.list_multipart_uploads().bucket(bucket.bucket());
    call.send().await.expect("a list").uploads().len()
}

#[tokio::test]
async fn a_small_object_goes_there_and_back() {
    for store in stores().await {
        let bucket = store.bucket("small").await;
        assert_eq!(bucket.head("a", None).await.expect("an answer"), None);
        let put = Put {
            content_type: Some("text/plain".to_owned()),
            metadata: BTreeMap::from([("sha256".to_owned(), "abc".to_owned())]),
            ..Put::default()
        };
        let uploaded = bucket.put_bytes("a", "content", put).await.expect("written");
        assert_eq!((uploaded.bytes, uploaded.parts), (7, 1));
        let info = bucket.head("a", None).await.expect("an answer").expect("an object");
        assert_eq!((info.bytes, info.key.as_str()), (7, "a"));
        assert_eq!(info.metadata.get("sha256").map(String::as_str), Some("abc"));
        assert_eq!(info.content_type.as_deref(), Some("text/plain"));
        assert_eq!(info.checksum, Some(uploaded.checksum), "{}", store.name);
        assert_eq!(bucket.get_bytes("a", 7).await.expect("read"), "content");
        bucket.get_bytes("a", 6).await.expect_err("larger than expected");
        bucket.delete("a", None).await.expect("deleted");
        assert_eq!(bucket.head("a", None).await.expect("an answer"), None);
        bucket.delete("a", None).await.expect("not there is no error");
        assert_eq!(read_empty(&bucket).await, 0);
    }
}

async fn read_empty(bucket: &S3Bucket) -> usize {
    bucket.put_bytes("empty", "", Put::default()).await.expect("written");
    read(bucket, "empty", Get::default()).await.len()
}

#[tokio::test]
async fn a_large_object_goes_in_parts_and_comes_back_whole_or_in_pieces() {
    let content = noise(20 * MIB + 17);
    for store in stores().await {
        for (compatibility, checked) in [(Compatibility::Full, true), (Compatibility::NoChecksums, false)] {
            let bucket = store.open("large", |config| config.compatibility = compatibility).await;
            bucket.create_bucket().await.expect("a bucket");
            let uploaded = bucket.put("b", &content[..], Put::default()).await.expect("written");
            assert_eq!(
                (uploaded.bytes, uploaded.parts),
                (content.len() as u64, 3),
                "{}",
                store.name
            );
            let info = bucket.head("b", None).await.expect("an answer").expect("an object");
            assert_eq!(info.bytes, content.len() as u64);
            assert!(!checked || info.checksum == Some(uploaded.checksum), "{}", store.name);
            assert!(read(&bucket, "b", Get::default()).await == content);
            let piece = Get {
                offset: 8 * MIB as u64 - 1,
                length: Some(10),
                ..Get::default()
            };
            assert_eq!(read(&bucket, "b", piece).await, content[8 * MIB - 1..8 * MIB + 9]);
            let rest = Get {
                offset: 20 * MIB as u64,
                ..Get::default()
            };
            assert_eq!(read(&bucket, "b", rest).await, content[20 * MIB..]);
            assert_eq!(uploads(&bucket).await, 0);
        }
    }
}

#[tokio::test]
async fn what_is_exactly_one_part_is_written_too() {
    let content = noise(8 * MIB);
    for store in stores().await {
        let bucket = store.bucket("exact").await;
        // Also where what was said of the size is wrong.
        for bytes in [
            None,
            Some(content.len() as u64),
            Some(5),
            Some(5 * content.len() as u64),
        ] {
            let put = Put {
                bytes,
                ..Put::default()
            };
            let uploaded = bucket.put("c", &content[..], put).await.expect("written");
            assert_eq!((uploaded.bytes, uploaded.parts), (content.len() as u64, 1));
            assert!(read(&bucket, "c", Get::default()).await == content);
        }
    }
}

#[tokio::test]
async fn an_upload_that_fails_or_is_dropped_leaves_nothing() {
    let content = noise(20 * MIB);
    for store in stores().await {
        let bucket = store.bucket("broken").await;
        let breaks = std::io::Error::other(jm_step::StepError::conflict("the file changed"));
        let body = (&content[..]).chain(faults::Breaks(Some(breaks)));
        let error = bucket
            .put("d", body, Put::default())
            .await
            .expect_err("the stream breaks");
        assert_eq!(
            (error.kind(), error.message()),
            (StepErrorKind::Conflict, "the file changed")
        );
        assert_eq!(
            (uploads(&bucket).await, bucket.head("d", None).await.expect("an answer")),
            (0, None)
        );

        let body = (&content[..]).chain(faults::Never);
        let put = bucket.put("e", body, Put::default());
        tokio::time::timeout(std::time::Duration::from_secs(3), put)
            .await
            .expect_err("never ends");
        let mut left = uploads(&bucket).await;
        for _ in 0..50 {
            if left == 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            left = uploads(&bucket).await;
        }
        assert_eq!(
            (left, bucket.head("e", None).await.expect("an answer")),
            (0, None),
            "{}",
            store.name
        );
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_made_anew() {
    let content = noise(3 * MIB);
    for store in stores().await {
        let bucket = store.bucket("cut").await;
        bucket
            .put_bytes("f", content.clone(), Put::default())
            .await
            .expect("written");
        // Every answer is cut after one MiB: the object comes in at least three pieces.
        let proxy = faults::Proxy::start(store.address(), MIB).await;
        let through = store
            .open("cut", |config| config.endpoint = Some(proxy.endpoint()))
            .await;
        assert!(read(&through, "f", Get::default()).await == content, "{}", store.name);
        assert!(proxy.cuts() >= 2, "{}: {} cuts", store.name, proxy.cuts());
    }
}

#[tokio::test]
async fn an_object_that_changes_while_it_is_read_is_a_conflict() {
    for store in stores().await {
        let bucket = store.bucket("changes").await;
        bucket
            .put_bytes("g", noise(3 * MIB), Put::default())
            .await
            .expect("written");
        let proxy = faults::Proxy::start(store.address(), MIB).await;
        let through = store
            .open("changes", |config| config.endpoint = Some(proxy.endpoint()))
            .await;
        let mut stream = through.get("g", Get::default()).await.expect("readable");
        stream.read_exact(&mut [0; 1024]).await.expect("a beginning");
        bucket.put_bytes("g", "other", Put::default()).await.expect("written");
        let error = stream.read_to_end(&mut Vec::new()).await.expect_err("changed");
        assert_eq!(
            unwrap_step_error(error).kind(),
            StepErrorKind::Conflict,
            "{}",
            store.name
        );
    }
}

#[tokio::test]
async fn listings_are_complete_relative_and_newest_first() {
    for store in stores().await {
        let bucket = store.bucket("list").await;
        let within = store
            .open("list", |config| config.prefix = "/backups/".to_owned())
            .await;
        let keys: Vec<String> = (0..1003).map(|n| format!("day/{n:04}")).collect();
        stream::iter(keys.iter().map(|key| within.put_bytes(key, "x", Put::default())))
            .buffer_unordered(16)
            .try_collect::<Vec<_>>()
            .await
            .expect("written");
        bucket
            .put_bytes("elsewhere", "x", Put::default())
            .await
            .expect("written");
        let listed: Vec<_> = within.list("day/").try_collect().await.expect("listed");
        assert_eq!(
            listed.iter().map(|object| object.key.clone()).collect::<Vec<_>>(),
            keys,
            "{}",
            store.name
        );
        assert_eq!(within.list("").count().await, 1003);
        assert_eq!(bucket.list("").count().await, 1004);

        // Times have whole seconds on some stores.
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        within
            .put_bytes("day/0500", "newer", Put::default())
            .await
            .expect("written");
        let Newest { count, bytes, newest } = within.newest("day/", 3, |_| {}).await.expect("listed");
        let all: Vec<_> = within.list("day/").try_collect().await.expect("listed");
        let total: u64 = all.iter().map(|object| object.bytes).sum();
        assert_eq!((count, bytes), (all.len() as u64, total), "{}", store.name);
        assert_eq!(
            (newest.len(), newest[0].key.as_str(), newest[0].bytes),
            (3, "day/0500", 5)
        );
        assert!(newest[0].last_modified > newest[1].last_modified);
    }
}

#[tokio::test]
async fn versions_are_kept_read_and_deleted() {
    for store in stores().await {
        let bucket = store.bucket("versions").await;
        assert_eq!(
            bucket.versioning().await.expect("an answer").status,
            VersioningStatus::Never,
            "{}",
            store.name
        );
        bucket.set_versioning(true).await.expect("set");
        assert_eq!(
            bucket.versioning().await.expect("an answer").status,
            VersioningStatus::Enabled
        );
        let first = bucket.put_bytes("h", "one", Put::default()).await.expect("written");
        let second = bucket.put_bytes("h", "two", Put::default()).await.expect("written");
        assert_ne!(first.version_id, second.version_id);
        let old = Get {
            version_id: first.version_id.clone(),
            ..Get::default()
        };
        assert_eq!(read(&bucket, "h", old.clone()).await, b"one");
        assert_eq!(read(&bucket, "h", Get::default()).await, b"two");
        bucket.delete("h", None).await.expect("marked");
        assert_eq!(bucket.head("h", None).await.expect("an answer"), None);
        let error = bucket.get("h", Get::default()).await.err().expect("marked as deleted");
        assert_eq!(error.kind(), StepErrorKind::NotFound);
        assert_eq!(read(&bucket, "h", old).await, b"one");
        bucket.delete("h", first.version_id.as_deref()).await.expect("gone");
        assert_eq!(
            bucket.head("h", first.version_id.as_deref()).await.expect("an answer"),
            None
        );
        bucket.set_versioning(false).await.expect("set");
        assert_eq!(
            bucket.versioning().await.expect("an answer").status,
            VersioningStatus::Suspended
        );
    }
}

#[tokio::test]
async fn writing_only_where_nothing_is_does_so() {
    for store in stores().await {
        for compatibility in [
            Compatibility::Full,
            Compatibility::NoConditionalWrites,
            Compatibility::Basic,
        ] {
            let bucket = store
                .open("absent", |config| config.compatibility = compatibility)
                .await;
            bucket.create_bucket().await.expect("a bucket");
            bucket.delete("i", None).await.expect("deleted");
            let put = Put {
                if_absent: true,
                ..Put::default()
            };
            bucket.put_bytes("i", "one", put.clone()).await.expect("written");
            let error = bucket.put_bytes("i", "two", put).await.expect_err("is there");
            assert_eq!(error.kind(), StepErrorKind::Conflict, "{}", store.name);
            assert_eq!(read(&bucket, "i", Get::default()).await, b"one");
        }
    }
}

#[tokio::test]
async fn errors_say_what_to_do() {
    for store in stores().await {
        store.bucket("errors").await;
        let missing = store.open("no-such-bucket", |_| {}).await;
        for error in [
            missing.ping().await.expect_err("no bucket"),
            missing
                .head("a", None)
                .await
                .expect_err("no bucket, and not only no object"),
            missing.get("a", Get::default()).await.err().expect("no bucket"),
        ] {
            assert_eq!(error.kind(), StepErrorKind::NotFound, "{}", store.name);
            assert!(
                error.message().contains("the bucket does not exist") && error.hint_text().is_some(),
                "{error}"
            );
        }
        let wrong = store
            .open("errors", |config| {
                config.secret_access_key = Some(jm_step::Secret::new("wrong-canary"));
            })
            .await;
        let error = wrong.get("a", Get::default()).await.err().expect("wrong secret");
        assert_eq!(error.kind(), StepErrorKind::Denied, "{}: {error}", store.name);
        assert!(!format!("{error:?}").contains("wrong-canary"));
        let unknown = store
            .open("errors", |config| config.access_key_id = Some("nobody".to_owned()))
            .await;
        let error = unknown.ping().await.expect_err("unknown key");
        assert_eq!(
            error.kind(),
            StepErrorKind::Denied,
            "{}: {:?}",
            store.name,
            error.summary()
        );
        let right = store.open("errors", |_| {}).await;
        let error = right.get("a", Get::default()).await.err().expect("no object");
        assert!(
            error.message().contains("`s3://errors/a`: there is no such object"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_store_that_is_not_there_is_unavailable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let bucket = Store::at("nobody", address).open("b", |_| {}).await;
    let error = bucket.ping().await.expect_err("nobody listens");
    assert_eq!(error.kind(), StepErrorKind::Unavailable, "{error}");
    assert!(error.hint_text().is_some());
}

#[tokio::test]
async fn a_store_that_hangs_is_given_up() {
    // It takes connections and never says a word.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let bucket = Store::at("silent", address).open("b", |_| {}).await;
    let begun = std::time::Instant::now();
    let error = bucket.ping().await.expect_err("silence");
    assert_eq!(error.kind(), StepErrorKind::TimedOut, "{error}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(40));
}

#[tokio::test]
async fn a_bucket_has_one_identity() {
    for store in stores().await {
        let bucket = store.bucket("identity").await;
        let identity = bucket.identity().await.expect("an answer");
        assert_eq!(identity.name, "identity");
        assert_eq!(bucket.identity().await.expect("an answer"), identity);
        let cx = OpenContext {
            secrets: jm_step::Secrets::new(),
            environment: jm_step::Environment::default(),
            run: jm_step::RunId::generate(),
        };
        let s3 = S3::open(store.config("identity"), &cx).await.expect("opened");
        Connection::ping(&s3).await.expect("answers");
        let text = Connection::identity(&s3).await.expect("an answer").to_string();
        assert!(text.starts_with("bucket identity"), "{text}");
        assert!(
            cx.secrets.occur_in("jm-test-secret"),
            "the keys of the configuration are masked"
        );
    }
}

#[tokio::test]
async fn content_that_was_damaged_in_the_store_is_not_handed_on_as_good() {
    let store = Store::versitygw().await;
    let bucket = store.bucket("damaged").await;
    bucket
        .put_bytes("j", noise(100_000), Put::default())
        .await
        .expect("written");
    let file = store.data().join("damaged/j");
    let mut content = std::fs::read(&file).expect("the object as a file");
    content[50_000] ^= 1;
    let attributes_stay = std::fs::OpenOptions::new().write(true).open(&file).expect("writable");
    std::os::unix::fs::FileExt::write_all_at(&attributes_stay, &content, 0).expect("written");
    let mut stream = bucket.get("j", Get::default()).await.expect("readable");
    let error = stream.read_to_end(&mut Vec::new()).await.expect_err("damaged");
    let error = unwrap_step_error(error);
    assert!(error.message().contains("does not match the checksum"), "{error}");
}
