//! Generated histories against a model that knows nothing of files, indexes or stamps.

use proptest::prelude::*;

use super::*;

/// What may be done to a bucket.
#[derive(Clone, Debug)]
enum Operation {
    Put(usize, u8),
    Delete(usize),
    /// The version at that place among all that were ever made, gone ones too.
    DeleteVersion(usize),
    Versioning(Versioning),
    Restart,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        5 => (0..KEYS.len(), any::<u8>()).prop_map(|(key, byte)| Operation::Put(key, byte)),
        3 => (0..KEYS.len()).prop_map(Operation::Delete),
        3 => (0..40_usize).prop_map(Operation::DeleteVersion),
        1 => Just(Operation::Versioning(Versioning::Enabled)),
        1 => Just(Operation::Versioning(Versioning::Suspended)),
        1 => Just(Operation::Restart),
    ]
}

const KEYS: [&str; 3] = ["a", "a/b", "é \u{1}"];

/// A version as S3's documentation tells it: who wrote what under which id, in the order of time.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    key: &'static str,
    id: String,
    /// None is a delete marker.
    body: Option<Vec<u8>>,
}

#[derive(Default)]
struct Model {
    entries: Vec<Entry>,
    versioning: Versioning,
    /// Every key and id that there ever was.
    seen: Vec<(&'static str, String)>,
}

impl Model {
    fn add(&mut self, key: &'static str, id: String, body: Option<Vec<u8>>) {
        self.entries
            .retain(|entry| entry.key != key || entry.id != "null" || id != "null");
        self.seen.push((key, id.clone()));
        self.entries.push(Entry { key, id, body });
    }

    fn newest_first(&self, key: &str) -> Vec<&Entry> {
        self.entries.iter().rev().filter(|entry| entry.key == key).collect()
    }
}

/// The store under test; `None` only while it is opened again.
struct Subject {
    folder: TempDir,
    open: Option<(Store, Arc<Bucket>)>,
}

impl Subject {
    fn bucket(&self) -> &Arc<Bucket> {
        &self.open.as_ref().unwrap().1
    }

    fn restart(&mut self) {
        self.open = None;
        let store = Store::open(self.folder.path()).unwrap();
        let bucket = store.bucket("bucket").unwrap();
        self.open = Some((store, bucket));
    }

    fn apply(&mut self, model: &mut Model, operation: &Operation) {
        match *operation {
            Operation::Put(key, byte) => {
                let body = vec![byte; usize::from(byte)];
                let id = put(self.bucket(), KEYS[key], &body).version;
                assert_eq!(id.is_none(), model.versioning == Versioning::Never);
                let id = id.map_or_else(|| "null".to_owned(), |id| id.to_string());
                assert_eq!(id == "null", model.versioning != Versioning::Enabled);
                model.add(KEYS[key], id, Some(body));
            }
            Operation::Delete(key) => self.delete(model, KEYS[key]),
            Operation::DeleteVersion(place) => {
                let Some((key, id)) = model.seen.get(place).cloned() else {
                    return;
                };
                let was = model
                    .entries
                    .iter()
                    .position(|entry| entry.key == key && entry.id == id);
                let was = was.map(|place| model.entries.remove(place));
                let id: VersionId = id.parse().unwrap();
                let deleted = self.bucket().delete_version(key, id, &Condition::default()).unwrap();
                let marker = was.is_some_and(|entry| entry.body.is_none());
                assert_eq!(
                    deleted,
                    Deleted {
                        version: Some(id),
                        marker
                    }
                );
            }
            Operation::Versioning(versioning) => {
                self.bucket().set_versioning(versioning).unwrap();
                model.versioning = versioning;
            }
            Operation::Restart => self.restart(),
        }
    }

    fn delete(&mut self, model: &mut Model, key: &'static str) {
        let deleted = self.bucket().delete_key(key, &Condition::default()).unwrap();
        match model.versioning {
            Versioning::Never => {
                let nothing = Deleted {
                    version: None,
                    marker: false,
                };
                assert_eq!(deleted, nothing);
                model.entries.retain(|entry| entry.key != key);
            }
            versioning => {
                assert!(deleted.marker);
                let id = deleted.version.unwrap().to_string();
                assert_eq!(id == "null", versioning == Versioning::Suspended);
                model.add(key, id, None);
            }
        }
    }

    fn compare(&self, model: &Model) {
        let (bucket, whole) = (self.bucket(), usize::MAX);
        let page = bucket.with_index(|index| list_versions(index, &Filter::default(), &After::Start, whole));
        let mut listed = page.items.into_iter();
        for key in KEYS {
            let expected = model.newest_first(key);
            for (place, entry) in expected.iter().enumerate() {
                let Some(Item::One(one)) = listed.next() else {
                    panic!("{entry:?} is not listed")
                };
                let found = (one.history.key.as_str(), one.version.id().to_string(), one.latest);
                assert_eq!(found, (key, entry.id.clone(), place == 0));
                self.compare_version(entry);
            }
            let current = expected.first().and_then(|entry| entry.body.clone());
            assert_eq!(get(bucket, key).ok(), current);
        }
        assert_eq!(listed.next(), None);
        let kept = model.entries.iter().filter(|entry| entry.body.is_some()).count();
        assert_eq!(
            data_files(&self.folder),
            kept,
            "bytes that nothing names, or names without bytes"
        );
    }

    fn compare_version(&self, entry: &Entry) {
        let id = Some(entry.id.parse().unwrap());
        match (self.bucket().read(entry.key, id), &entry.body) {
            (Ok(reading), Some(body)) => assert_eq!(bytes(&reading), *body),
            (Err(StoreError::IsMarker { .. }), None) => {}
            (found, _) => panic!("{entry:?}: {found:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn histories_are_those_of_the_model(operations in prop::collection::vec(operation(), 0..40)) {
        let (folder, store, bucket) = fresh(None);
        let mut subject = Subject { folder, open: Some((store, bucket)) };
        let mut model = Model::default();
        for operation in &operations {
            subject.apply(&mut model, operation);
            subject.compare(&model);
        }
        subject.restart();
        subject.compare(&model);
    }

    #[test]
    fn any_key_comes_back(key in "\\PC{1,40}|[ /+%?\"'.\\\\]{1,8}|(é日){1,170}", body in any::<Vec<u8>>()) {
        let (folder, store, bucket) = fresh(None);
        put(&bucket, &key, &body);
        prop_assert_eq!(get(&bucket, &key).unwrap(), body.clone());
        drop((store, bucket));
        let bucket = Store::open(folder.path()).unwrap().bucket("bucket").unwrap();
        prop_assert_eq!(get(&bucket, &key).unwrap(), body);
        let keys: Vec<_> = bucket.with_index(|index| index.keys().cloned().collect());
        prop_assert_eq!(keys, [key]);
    }
}

#[test]
fn keys_that_file_systems_confuse_stay_apart() {
    let (_folder, _store, bucket) = fresh(None);
    let long = "x".repeat(1024);
    let keys = [
        "a//b", "a/b", "a/./b", "a/../b", "/a/b", "a/b/", "A/B", "..", ".", "%20", " ", "+", "?", "\"", &long,
    ];
    for key in keys {
        put(&bucket, key, key.as_bytes());
    }
    for key in keys {
        assert_eq!(get(&bucket, key).unwrap(), key.as_bytes());
    }
}
