//! Many writers at once.

use std::thread;

use super::*;

const WRITERS: u8 = 8;

/// Runs the same thing in many threads at the same time.
fn all_at_once<T: Send>(work: impl Fn(u8) -> T + Sync) -> Vec<T> {
    let start = std::sync::Barrier::new(usize::from(WRITERS));
    thread::scope(|scope| {
        let (start, work) = (&start, &work);
        let begin = |writer| {
            scope.spawn(move || {
                start.wait();
                work(writer)
            })
        };
        let running: Vec<_> = (0..WRITERS).map(begin).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn no_version_of_one_key_is_lost() {
    let (folder, store, bucket) = fresh(Some(Versioning::Enabled));
    let ids = all_at_once(|writer| [1, 2, 3].map(|turn| (put(&bucket, "k", &[writer, turn]).version, [writer, turn])));
    for (id, body) in ids.iter().flatten() {
        assert_eq!(bytes(&bucket.read("k", *id).unwrap()), body);
    }
    let before = bucket.with_index(|index| index["k"].clone());
    assert_eq!(before.versions.len(), ids.len() * 3);
    assert!(before.versions.is_sorted_by(|a, b| a.stamp < b.stamp));
    drop((store, bucket));
    let bucket = Store::open(folder.path()).unwrap().bucket("bucket").unwrap();
    assert_eq!(bucket.with_index(|index| index["k"].clone()), before);
}

#[test]
fn one_of_many_makes_the_object() {
    let (_folder, _store, bucket) = fresh(Some(Versioning::Enabled));
    let new = Condition {
        if_match: None,
        if_none: true,
    };
    let made = all_at_once(|writer| put_if(&bucket, "k", &[writer], &new).is_ok());
    assert_eq!(made.iter().filter(|made| **made).count(), 1);
    assert_eq!(bucket.with_index(|index| index["k"].versions.len()), 1);
}

#[test]
fn one_of_many_completes_the_upload_and_all_hear_the_same() {
    let (_folder, _store, bucket) = fresh(Some(Versioning::Enabled));
    let plan = bucket.begin_upload("k", Details::default(), None, None).unwrap();
    bucket.put_part("k", plan.id, 1, blob(&bucket, b"part")).unwrap();
    let number = 1;
    let completion = Completion {
        parts: vec![Wanted {
            number,
            ..Wanted::default()
        }],
        ..Completion::default()
    };
    let ids = all_at_once(|_| bucket.complete_upload("k", plan.id, &completion).unwrap().version);
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(bucket.with_index(|index| index["k"].versions.len()), 1);
}

#[test]
fn writers_of_many_keys_do_not_disturb_each_other() {
    let (folder, _store, bucket) = fresh(None);
    all_at_once(|writer| {
        for turn in 0..20 {
            put(&bucket, &format!("{writer}/{turn}"), &[writer, turn]);
            put(&bucket, &format!("shared/{turn}"), &[writer]);
        }
    });
    assert_eq!(bucket.with_index(bucket::Index::len), usize::from(WRITERS) * 20 + 20);
    assert_eq!(data_files(&folder), usize::from(WRITERS) * 20 + 20);
}
