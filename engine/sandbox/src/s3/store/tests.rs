//! Tests of the store against a brute-force model, over restarts, damage and parallel writers.

mod damage;
mod killed;
mod model;
mod paging;
mod parallel;

use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;

/// Bytes on disk, as an upload brings them.
fn blob(bucket: &Bucket, body: &[u8]) -> Blob {
    let mut writer = bucket.writer(&BTreeSet::from([Algorithm::Crc64nvme])).unwrap();
    writer.write(body).unwrap();
    writer.finish().unwrap()
}

fn put_if(bucket: &Bucket, key: &str, body: &[u8], condition: &Condition) -> Result<Written, StoreError> {
    let (object, drafts) = blob(bucket, body).into_object(Details::default());
    bucket.put(key, object, drafts, condition)
}

fn put(bucket: &Bucket, key: &str, body: &[u8]) -> Written {
    put_if(bucket, key, body, &Condition::default()).unwrap()
}

fn bytes(reading: &Reading) -> Vec<u8> {
    let mut all = Vec::new();
    for piece in reading.pieces(0, reading.object().size) {
        reading.open(piece).unwrap().read_to_end(&mut all).unwrap();
    }
    all
}

fn get(bucket: &Arc<Bucket>, key: &str) -> Result<Vec<u8>, StoreError> {
    bucket.read(key, None).map(|reading| bytes(&reading))
}

/// A store with one bucket.
fn fresh(versioning: Option<Versioning>) -> (TempDir, Store, Arc<Bucket>) {
    let folder = TempDir::new().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let bucket = store.create_bucket("bucket", None).unwrap();
    if let Some(versioning) = versioning {
        bucket.set_versioning(versioning).unwrap();
    }
    (folder, store, bucket)
}

/// How many data files the bucket has.
fn data_files(folder: &TempDir) -> usize {
    disk::files(&folder.path().join("buckets/bucket/data")).unwrap().len()
}

#[test]
fn buckets_come_and_go() {
    let (folder, store, bucket) = fresh(Some(Versioning::Enabled));
    assert!(matches!(
        store.create_bucket("bucket", None),
        Err(StoreError::BucketExists)
    ));
    put(&bucket, "key", b"1");
    assert!(matches!(store.delete_bucket("bucket"), Err(StoreError::BucketNotEmpty)));
    let marker = bucket.delete_key("key", &Condition::default()).unwrap();
    assert!(marker.marker && matches!(store.delete_bucket("bucket"), Err(StoreError::BucketNotEmpty)));
    let ids: Vec<_> = bucket.with_index(|index| index["key"].versions.iter().map(history::Version::id).collect());
    for id in ids {
        bucket.delete_version("key", id, &Condition::default()).unwrap();
    }
    bucket.begin_upload("half", Details::default(), None, None).unwrap();
    store.delete_bucket("bucket").unwrap();
    assert!(matches!(store.delete_bucket("bucket"), Err(StoreError::NoSuchBucket)));
    let late = put_if(
        &store.create_bucket("bucket", None).unwrap(),
        "key",
        b"2",
        &Condition::default(),
    );
    assert!(late.is_ok());
    assert!(matches!(bucket.hold("key").map(|_| ()), Err(StoreError::NoSuchBucket)));
    assert!(disk::entries(&folder.path().join("tmp")).unwrap().is_empty());
}

#[test]
fn conditions_are_about_the_current_object() {
    let (_folder, _store, bucket) = fresh(Some(Versioning::Enabled));
    let new = Condition {
        if_match: None,
        if_none: true,
    };
    let over = |etag: &str| Condition {
        if_match: Some(etag.into()),
        if_none: false,
    };
    assert!(matches!(
        put_if(&bucket, "k", b"1", &over("x")),
        Err(StoreError::NoSuchKey { marker: None })
    ));
    let first = put_if(&bucket, "k", b"1", &new).unwrap();
    assert!(matches!(
        put_if(&bucket, "k", b"2", &new),
        Err(StoreError::PreconditionFailed(_))
    ));
    assert!(matches!(
        put_if(&bucket, "k", b"2", &over("x")),
        Err(StoreError::PreconditionFailed(_))
    ));
    put_if(&bucket, "k", b"2", &over(&first.object.etag)).unwrap();
    assert!(matches!(
        bucket.delete_key("k", &over("x")),
        Err(StoreError::PreconditionFailed(_))
    ));
    bucket.delete_key("k", &over("*")).unwrap();
    let hidden = put_if(&bucket, "k", b"3", &over(&first.object.etag));
    assert!(matches!(hidden, Err(StoreError::NoSuchKey { marker: Some(_) })));
    put_if(&bucket, "k", b"3", &new).unwrap();
    assert_eq!(get(&bucket, "k").unwrap(), b"3");
}

#[test]
fn refused_bytes_leave_no_file() {
    let (folder, _store, bucket) = fresh(None);
    put(&bucket, "k", b"1");
    let condition = Condition {
        if_match: None,
        if_none: true,
    };
    put_if(&bucket, "k", b"2", &condition).unwrap_err();
    drop(blob(&bucket, b"never put"));
    drop(bucket.writer(&BTreeSet::new()).unwrap());
    assert_eq!(data_files(&folder), 1);
}

#[test]
fn a_reader_keeps_the_bytes_it_reads() {
    let (folder, _store, bucket) = fresh(None);
    put(&bucket, "k", b"old");
    let (one, two) = (bucket.read("k", None).unwrap(), bucket.read("k", None).unwrap());
    put(&bucket, "k", b"new");
    assert_eq!((bytes(&one), bytes(&two)), (b"old".to_vec(), b"old".to_vec()));
    drop(one);
    assert_eq!(bytes(&two), b"old");
    assert_eq!(data_files(&folder), 2);
    drop(two);
    assert_eq!(data_files(&folder), 1);
    assert_eq!(get(&bucket, "k").unwrap(), b"new");
}

#[test]
fn a_linked_copy_outlives_its_source() {
    let (folder, store, bucket) = fresh(None);
    let other = store.create_bucket("other", None).unwrap();
    put(&bucket, "k", b"body");
    let source = bucket.read("k", None).unwrap();
    let (segments, drafts) = other.link(&source).unwrap();
    let copy = Object {
        segments,
        ..Object::clone(source.object())
    };
    other.put("copy", copy, drafts, &Condition::default()).unwrap();
    drop(source);
    bucket.delete_key("k", &Condition::default()).unwrap();
    assert_eq!(data_files(&folder), 0);
    assert_eq!(get(&other, "copy").unwrap(), b"body");
}

#[test]
fn tags_change_and_the_version_stays() {
    let (folder, store, bucket) = fresh(Some(Versioning::Enabled));
    let first = put(&bucket, "k", b"1").version;
    put(&bucket, "k", b"2");
    let tags = vec![("a".to_owned(), "b".to_owned())];
    assert_eq!(bucket.set_tags("k", first, tags.clone()).unwrap(), first);
    drop((store, bucket));
    let store = Store::open(folder.path()).unwrap();
    let bucket = store.bucket("bucket").unwrap();
    assert_eq!(bucket.read("k", first).unwrap().object().details.tags, tags);
    assert_eq!(bucket.read("k", None).unwrap().object().details.tags, []);
    assert_eq!(get(&bucket, "k").unwrap(), b"2");
    assert_eq!(data_files(&folder), 2);
}
