//! What killed processes and damaged disks leave behind.

use std::fs;

use super::*;
use crate::SandboxError;

#[test]
fn what_nothing_names_is_removed_at_the_start() {
    let (folder, store, bucket) = fresh(Some(Versioning::Enabled));
    put(&bucket, "k", b"1");
    let plan = bucket.begin_upload("up", Details::default(), None, None).unwrap();
    bucket.put_part("up", plan.id, 1, blob(&bucket, b"part")).unwrap();
    let files = data_files(&folder);
    // As a kill leaves them: bytes before their history, a draft, an upload before its record.
    let home = bucket.folder.clone();
    let mut stray = bucket.writer(&BTreeSet::new()).unwrap();
    stray.write(b"under way").unwrap();
    std::mem::forget(stray);
    fs::write(folder.path().join("tmp/draft"), "{").unwrap();
    fs::create_dir(home.upload(bucket.shared.stamps.next())).unwrap();
    drop((store, bucket));

    let store = Store::open(folder.path()).unwrap();
    let bucket = store.bucket("bucket").unwrap();
    assert_eq!(get(&bucket, "k").unwrap(), b"1");
    assert_eq!(bucket.upload("up", plan.id).unwrap().parts().len(), 1);
    assert_eq!(data_files(&folder), files);
    assert_eq!(disk::entries(&home.uploads()).unwrap().len(), 1);
    assert!(disk::entries(&folder.path().join("tmp")).unwrap().is_empty());
}

#[test]
fn an_upload_that_became_an_object_before_the_kill_is_done() {
    let (folder, store, bucket) = fresh(Some(Versioning::Enabled));
    let plan = bucket.begin_upload("k", Details::default(), None, None).unwrap();
    for number in [1, 2] {
        bucket.put_part("k", plan.id, number, blob(&bucket, &[0; 10])).unwrap();
    }
    let record = fs::read(bucket.folder.upload(plan.id).join("upload.json")).unwrap();
    let part = fs::read(bucket.folder.part(plan.id, 1)).unwrap();
    let completion = Completion {
        parts: vec![Wanted {
            number: 1,
            ..Wanted::default()
        }],
        ..Completion::default()
    };
    let written = bucket.complete_upload("k", plan.id, &completion).unwrap();
    assert_eq!(data_files(&folder), 1, "the part that was not used is gone");
    let home = bucket.folder.clone();
    drop((store, bucket));
    fs::create_dir(home.upload(plan.id)).unwrap();
    fs::write(home.upload(plan.id).join("upload.json"), record).unwrap();
    fs::write(home.part(plan.id, 1), part).unwrap();

    let store = Store::open(folder.path()).unwrap();
    let bucket = store.bucket("bucket").unwrap();
    assert!(matches!(
        bucket.abort_upload("k", plan.id),
        Err(StoreError::NoSuchUpload)
    ));
    assert_eq!(get(&bucket, "k").unwrap(), [0; 10]);
    let again = bucket.complete_upload("k", plan.id, &completion).unwrap();
    assert_eq!(again.version, written.version);
}

#[test]
fn versions_come_after_those_of_a_clock_that_was_ahead() {
    let (folder, store, bucket) = fresh(Some(Versioning::Enabled));
    bucket
        .shared
        .stamps
        .observe("7ZZZZZZZZZ0000000000000000".parse().unwrap());
    let ahead = put(&bucket, "k", b"1").version;
    drop((store, bucket));
    let store = Store::open(folder.path()).unwrap();
    let bucket = store.bucket("bucket").unwrap();
    put(&bucket, "k", b"2");
    assert_eq!(get(&bucket, "k").unwrap(), b"2");
    let page = bucket.with_index(|index| {
        let newest = index["k"].latest().unwrap().id();
        list_versions(index, &Filter::default(), &After::Version("k".into(), newest), 10)
    });
    let [Item::One(older)] = &page.items[..] else {
        panic!("{page:?}")
    };
    assert_eq!(Some(older.version.id()), ahead);
}

#[test]
fn bytes_of_the_wrong_length_are_never_served() {
    let (_folder, _store, bucket) = fresh(None);
    let written = put(&bucket, "k", b"12345");
    fs::write(bucket.folder.segment(written.object.segments[0].file), b"1234").unwrap();
    let reading = bucket.read("k", None).unwrap();
    let piece = reading.pieces(0, 2)[0];
    assert!(matches!(reading.open(piece).map(|_| ()), Err(StoreError::Damaged(_))));
}

#[test]
fn a_damaged_history_is_named() {
    let (folder, store, bucket) = fresh(None);
    put(&bucket, "k", b"1");
    let path = bucket.folder.history("k");
    drop((store, bucket));
    fs::write(&path, "{\"key\":").unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(
        matches!(&error, SandboxError::State { path: named, .. } if *named == path),
        "{error}"
    );
}

#[test]
fn two_servers_cannot_have_one_folder() {
    let (folder, store, bucket) = fresh(None);
    let refused = Store::open(folder.path()).unwrap_err().to_string();
    assert!(refused.contains("another server keeps its state here"), "{refused}");
    drop((store, bucket));
    Store::open(folder.path()).unwrap();
}

#[test]
fn uploads_are_checked_before_they_become_objects() {
    let (_folder, _store, bucket) = fresh(None);
    let plan = bucket.begin_upload("k", Details::default(), None, None).unwrap();
    for number in [2, 5] {
        bucket.put_part("k", plan.id, number, blob(&bucket, b"small")).unwrap();
    }
    let of = |numbers: &[u16]| Completion {
        parts: numbers
            .iter()
            .map(|number| Wanted {
                number: *number,
                ..Wanted::default()
            })
            .collect(),
        ..Completion::default()
    };
    let complete = |completion: &Completion| bucket.complete_upload("k", plan.id, completion).map(|_| ());
    assert!(matches!(complete(&of(&[5, 2])), Err(StoreError::InvalidPartOrder)));
    assert!(matches!(complete(&of(&[2, 2])), Err(StoreError::InvalidPartOrder)));
    assert!(matches!(complete(&of(&[1])), Err(StoreError::InvalidPart(1))));
    assert!(matches!(
        complete(&of(&[2, 5])),
        Err(StoreError::PartTooSmall { part: 2, size: 5 })
    ));
    let mut wrong = of(&[5]);
    wrong.parts[0].etag = Some("0".repeat(32));
    assert!(matches!(complete(&wrong), Err(StoreError::InvalidPart(5))));
    let wrong = Completion {
        size: Some(6),
        ..of(&[5])
    };
    assert!(matches!(complete(&wrong), Err(StoreError::WrongSize { actual: 5 })));
    let wrong = Completion {
        checksums: [(Algorithm::Crc64nvme, "AAAAAAAAAAA=".to_owned())].into(),
        ..of(&[5])
    };
    assert!(matches!(
        complete(&wrong),
        Err(StoreError::WrongChecksum(Algorithm::Crc64nvme))
    ));
    complete(&of(&[5])).unwrap();
    assert_eq!(get(&bucket, "k").unwrap(), b"small");
}
