//! Versions copied back, markers removed, archives asked: against the stores, and against one that has no time.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_sdk_s3::types::{Tag, Tagging};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::faults::request;
use super::*;
use crate::{ArchiveTier, NULL_VERSION, ObjectVersion, Pace, VersionOf};

async fn versions(bucket: &S3Bucket) -> Vec<ObjectVersion> {
    bucket
        .versions_page(&Pace::alone(), "", None, 1000)
        .await
        .expect("a page")
        .entries
}

async fn tags(bucket: &S3Bucket, key: &str) -> Vec<(String, String)> {
    let call = bucket.0.client.get_object_tagging().bucket(bucket.bucket()).key(key);
    let told = call.send().await.expect("tags");
    let mut tags: Vec<_> = told
        .tag_set()
        .iter()
        .map(|tag| (tag.key().to_owned(), tag.value().to_owned()))
        .collect();
    tags.sort();
    tags
}

async fn set_tags(bucket: &S3Bucket, key: &str) {
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build().expect("a tag");
    let set = Tagging::builder()
        .tag_set(tag("team", "a + b/c"))
        .tag_set(tag("n", "1=2"));
    let call = bucket.0.client.put_object_tagging().bucket(bucket.bucket()).key(key);
    call.tagging(set.build().expect("tags")).send().await.expect("set");
}

#[tokio::test]
async fn a_copy_keeps_all_that_belongs_to_the_content() {
    for store in stores().await {
        let bucket = store
            .open("copies", |config| config.storage_class = Some("STANDARD_IA".to_owned()))
            .await;
        bucket.create_bucket().await.expect("a bucket");
        bucket.set_versioning(true).await.expect("set");
        for (key, content) in [("small +é", noise(1000)), ("in parts", noise(20 * MIB + 17))] {
            let put = Put {
                content_type: Some("text/plain".to_owned()),
                cache_control: Some("max-age=60".to_owned()),
                metadata: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
                ..Put::default()
            };
            bucket.put(key, &content[..], put).await.expect("written");
            set_tags(&bucket, key).await;
            let (old, old_tags) = (
                bucket.head(key, None).await.expect("told").expect("there"),
                tags(&bucket, key).await,
            );
            assert_eq!(old_tags.len(), 2);
            bucket.put_bytes(key, "other", Put::default()).await.expect("written");
            let target = versions(&bucket)
                .await
                .into_iter()
                .find(|version| version.key == key && !version.latest);
            let (target, pace) = (target.expect("an old version"), Pace::new(4, 8));
            bucket.copy_version(&pace, &target, false).await.expect("copied");
            let new = bucket.head(key, None).await.expect("told").expect("there");
            let what = format!("{} {key}", store.name);
            assert_ne!(new.version_id, old.version_id, "{what}");
            assert_eq!((new.bytes, &new.etag), (old.bytes, &old.etag), "{what}");
            assert_eq!(
                (&new.content_type, &new.metadata),
                (&old.content_type, &old.metadata),
                "{what}"
            );
            assert_eq!(
                (new.storage_class, tags(&bucket, key).await),
                (old.storage_class, old_tags),
                "{what}"
            );
            assert!(read(&bucket, key, Get::default()).await == content, "{what}");
            assert_eq!(uploads(&bucket).await, 0, "{what}");
        }
    }
}

#[tokio::test]
async fn removed_markers_uncover_what_lies_under_them() {
    for store in stores().await {
        let bucket = store.bucket("markers").await;
        bucket.set_versioning(true).await.expect("set");
        let keys = ["a", "b c", "d+é&<", "new\nline"];
        for key in keys {
            bucket
                .put_bytes(key, key.to_owned(), Put::default())
                .await
                .expect("written");
            bucket.delete(key, None).await.expect("deleted");
        }
        let markers: Vec<VersionOf> = versions(&bucket)
            .await
            .into_iter()
            .filter(|version| version.marker)
            .map(|version| VersionOf {
                key: version.key,
                version_id: version.version_id,
            })
            .collect();
        let pace = Pace::new(4, 8);
        for _ in 0..2 {
            let left = bucket
                .remove_markers(&pace, markers.clone(), true)
                .await
                .expect("an answer");
            assert!(left.is_empty(), "{}: {left:?}", store.name);
        }
        for key in keys {
            assert_eq!(
                read(&bucket, key, Get::default()).await,
                key.as_bytes(),
                "{}",
                store.name
            );
        }
    }
}

/// A store that answers each request by its first line and its number, from 0.
pub(super) async fn scripted(
    asked: Arc<Mutex<Vec<String>>>,
    answer: impl Fn(&str, usize) -> (&'static str, String) + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (number, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(answer));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (asked, number, answer) = (asked.clone(), number.clone(), answer.clone());
            tokio::spawn(async move {
                let line = request(&mut stream).await;
                let (status, body) = answer(&line, number.fetch_add(1, Ordering::SeqCst));
                asked.lock().expect("no panic").push(line);
                let length = body.len();
                let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
                drop(stream.write_all(format!("{head}{body}").as_bytes()).await);
            });
        }
    });
    address
}

pub(super) fn error(code: &str, message: &str) -> String {
    format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>")
}

pub(super) fn version(class: Option<&str>) -> ObjectVersion {
    ObjectVersion {
        key: "k".to_owned(),
        version_id: "v".to_owned(),
        marker: false,
        latest: false,
        last_modified: None,
        bytes: 3,
        etag: None,
        storage_class: class.map(str::to_owned),
    }
}

#[tokio::test]
async fn a_store_that_is_asked_too_much_is_asked_less_and_later() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let address = scripted(asked.clone(), |_, number| match number {
        0..3 => ("503 Slow Down", error("SlowDown", "Please reduce your request rate.")),
        // The request as a whole is taken, and of its keys one is not.
        3 => {
            let refused = "<Error><Key>k</Key><VersionId>v</VersionId><Code>SlowDown</Code></Error>";
            ("200 OK", format!("<DeleteResult>{refused}</DeleteResult>"))
        }
        _ => ("200 OK", "<DeleteResult></DeleteResult>".to_owned()),
    });
    let bucket = Store::at("busy", address.await).open("b", |_| {}).await;
    let pace = Pace::new(16, 64);
    let marker = |key: &str| VersionOf {
        key: key.to_owned(),
        version_id: "v".to_owned(),
    };
    let left = bucket
        .remove_markers(&pace, vec![marker("k"), marker("l")], false)
        .await
        .expect("an answer");
    assert!(left.is_empty(), "{left:?}");
    assert_eq!((asked.lock().expect("no panic").len(), pace.times_slowed()), (5, 4));
    assert!(pace.limit() < 16, "{}", pace.limit());
}

/// What is written has the id of such a marker only where no versions are kept. Then a few are looked at, and these removed,
/// before the next ones are looked at.
#[tokio::test]
async fn a_marker_that_may_be_replaced_is_looked_at_just_before() {
    for (keeps, expected) in [(true, vec![0]), (false, vec![32, 32, 6])] {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let address = scripted(asked.clone(), |line, _| match line {
            line if line.starts_with("HEAD /b/k-69?") => ("200 OK", String::new()),
            line if line.starts_with("HEAD") => ("405 Method Not Allowed", String::new()),
            _ => ("200 OK", "<DeleteResult></DeleteResult>".to_owned()),
        });
        let bucket = Store::at("markers", address.await).open("b", |_| {}).await;
        let markers = (0..70).map(|number| VersionOf {
            key: format!("k-{number}"),
            version_id: NULL_VERSION.to_owned(),
        });
        let left = bucket.remove_markers(&Pace::new(8, 8), markers.collect(), keeps).await;
        let left: Vec<String> = left
            .expect("an answer")
            .into_iter()
            .map(|(marker, _)| marker.key)
            .collect();
        let written: &[&str] = if keeps { &[] } else { &["k-69"] };
        assert_eq!(left, written);
        let asked = asked.lock().expect("no panic");
        let mut looks = vec![0];
        for line in asked.iter() {
            if line.starts_with("HEAD") {
                *looks.last_mut().expect("one") += 1;
            } else {
                looks.push(0);
            }
        }
        assert_eq!(looks.pop(), Some(0), "no look after the last removal");
        assert_eq!(looks, expected);
    }
}

/// Outside of a pace, too: an object that is read, written, or written in parts, and a listing.
#[tokio::test]
async fn a_store_that_has_no_time_for_three_tries_is_asked_again() {
    let refused = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
    let times = refused.clone();
    let address = scripted(Arc::default(), move |line, _| {
        // Of each kind of request the first five are too much.
        let kind =
            line.split('?').next().unwrap_or_default().to_owned() + if line.contains("uploads") { "?" } else { "" };
        let mut refused = times.lock().expect("no panic");
        let count = refused.entry(kind).or_default();
        *count += 1;
        if *count <= 5 {
            return ("503 Slow Down", error("SlowDown", "Please reduce your request rate."));
        }
        let answer = match line {
            line if line.contains("uploads") => {
                "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
            }
            line if line.starts_with("POST") => {
                "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"
            }
            line if line.contains("list-type") => {
                "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
            }
            line if line.starts_with("GET") => "content",
            _ => "",
        };
        ("200 OK", answer.to_owned())
    });
    let bucket = Store::at("busy", address.await).open("b", |_| {}).await;
    let large = noise(9 * MIB);
    let (read, listed, small, parts) = tokio::join!(
        bucket.get_bytes("read", 100),
        bucket.list("").try_collect::<Vec<_>>(),
        bucket.put_bytes("small", "x", Put::default()),
        bucket.put("large", &large[..], Put::default()),
    );
    assert_eq!(&read.expect("read")[..], b"content");
    assert_eq!(listed.expect("listed").len(), 0);
    assert_eq!(small.expect("written").parts, 1);
    assert_eq!(parts.expect("written").parts, 2);
    assert_eq!(refused.lock().expect("no panic").len(), 6, "kinds of requests");
}

#[tokio::test]
async fn a_store_that_never_has_time_is_given_up() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let address = scripted(asked.clone(), |_, _| {
        ("400 Bad Request", error("RequestTimeout", "too slow"))
    });
    let bucket = Store::at("busy", address.await).open("b", |_| {}).await;
    tokio::time::timeout(std::time::Duration::from_mins(2), async {
        let error = bucket
            .copy_version(&Pace::new(1, 1), &version(None), false)
            .await
            .expect_err("never");
        assert_eq!(error.kind(), StepErrorKind::Unavailable, "{error}");
    })
    .await
    .expect("an end");
    assert_eq!(asked.lock().expect("no panic").len(), 9);
}

#[tokio::test]
async fn a_key_that_may_not_be_used_is_told_from_an_object_that_may_not_be_read() {
    for (code, message) in [
        (
            "AccessDenied",
            "User: x is not authorized to perform: kms:Decrypt on this resource",
        ),
        ("KMS.DisabledException", "arn:aws:kms:… is disabled."),
    ] {
        let address = scripted(Arc::default(), move |_, _| ("403 Forbidden", error(code, message)));
        let bucket = Store::at("locked", address.await).open("b", |_| {}).await;
        let error = bucket
            .copy_version(&Pace::new(1, 1), &version(None), false)
            .await
            .expect_err("refused");
        assert_eq!(error.kind(), StepErrorKind::Denied);
        assert!(error.message().contains("KMS key"), "{error}");
        assert!(error.hint_text().is_some());
    }
}

#[tokio::test]
async fn an_archived_version_is_asked_for_once() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let address = scripted(asked.clone(), |_, number| match number {
        0 => ("202 Accepted", String::new()),
        1 => (
            "409 Conflict",
            error("RestoreAlreadyInProgress", "Object restore is already in progress"),
        ),
        2 => (
            "403 Forbidden",
            error(
                "ObjectAlreadyInActiveTierError",
                "This is not allowed against this storage tier",
            ),
        ),
        3 => ("501 Not Implemented", error("NotImplemented", "not implemented")),
        _ => ("403 Forbidden", error("AccessDenied", "Access Denied")),
    });
    let bucket = Store::at("archive", address.await).open("b", |_| {}).await;
    let version = version(Some("DEEP_ARCHIVE"));
    assert!(version.in_archive());
    for waits in [true, true, false, false] {
        let asked = bucket
            .ask_for_archived(&Pace::alone(), &version, 7, ArchiveTier::Bulk)
            .await;
        assert_eq!(asked.expect("asked for, now or before, or at hand"), waits);
    }
    let denied = bucket
        .ask_for_archived(&Pace::alone(), &version, 7, ArchiveTier::Bulk)
        .await
        .expect_err("denied");
    assert!(denied.hint_text().expect("a hint").contains("s3:RestoreObject"));
    let asked = asked.lock().expect("no panic");
    assert!(
        asked
            .iter()
            .all(|line| line.starts_with("POST /b/k?") && line.contains("versionId=v")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_copy_keeps_a_redirect_where_the_bucket_is_a_website() {
    for store in stores().await {
        let bucket = store.bucket("website").await;
        bucket.set_versioning(true).await.expect("set");
        assert!(!bucket.is_website().await, "{}", store.name);
        let call = bucket.0.client.put_object().bucket("website").key("old");
        call.website_redirect_location("/new").send().await.expect("written");
        bucket.put_bytes("old", "other", Put::default()).await.expect("written");
        let target = versions(&bucket).await.into_iter().find(|version| !version.latest);
        let pace = Pace::new(1, 1);
        let target = target.expect("an old version");
        bucket.copy_version(&pace, &target, true).await.expect("copied");
        let head = bucket.0.client.head_object().bucket("website").key("old").send();
        let redirect = head
            .await
            .expect("there")
            .website_redirect_location()
            .map(str::to_owned);
        assert_eq!(redirect.as_deref(), Some("/new"), "{}", store.name);
    }
}

/// Only versitygw knows websites.
#[tokio::test]
async fn a_website_is_known_by_its_configuration() {
    use aws_sdk_s3::types::{IndexDocument, WebsiteConfiguration};
    let store = Store::versitygw().await;
    let bucket = store.bucket("site").await;
    let index = IndexDocument::builder()
        .suffix("index.html")
        .build()
        .expect("a document");
    let website = WebsiteConfiguration::builder().index_document(index).build();
    let call = bucket.0.client.put_bucket_website().bucket("site");
    call.website_configuration(website).send().await.expect("set");
    assert!(bucket.is_website().await);
}
