//! The store through restarts, cuts and transactions.

use std::collections::BTreeMap;
use std::io::Write;

use proptest::prelude::*;

use super::*;

fn key(name: &str) -> Key {
    Key::new("configmaps", "default", name)
}

fn map(name: &str, value: i32) -> Value {
    json!({"metadata": {"name": name, "namespace": "default"}, "data": {"value": value.to_string()}})
}

fn put(store: &Store, name: &str, value: i32) -> Arc<Value> {
    store
        .write(|transaction| Ok(transaction.put(&key(name), map(name, value))))
        .unwrap()
}

fn delete(store: &Store, name: &str) {
    store
        .write(|transaction| {
            transaction.delete(&key(name));
            Ok(())
        })
        .unwrap();
}

fn contents(store: &Store) -> (u64, Vec<Value>) {
    let (revision, objects) = store.list("configmaps", None);
    (revision, objects.iter().map(|object| (**object).clone()).collect())
}

#[test]
fn keeps_objects_and_revisions_through_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    put(&store, "a", 1);
    put(&store, "b", 1);
    put(&store, "a", 2);
    delete(&store, "b");
    let before = contents(&store);
    drop(store);
    let again = Store::open(root.path()).unwrap();
    assert_eq!(contents(&again), before);
    assert_eq!(again.changes_since(0, "configmaps").unwrap().changes.len(), 4);
    assert!(
        put(&again, "c", 1)["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > before.0
    );
}

#[test]
fn an_equal_object_makes_no_change() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let first = put(&store, "a", 1);
    assert_eq!(put(&store, "a", 1), first);
    assert_eq!(store.list("configmaps", None).0, 1);
}

#[test]
fn a_dry_or_failed_write_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    store
        .write(|transaction| {
            transaction.only_try(true);
            transaction.put(&key("a"), map("a", 1));
            assert!(transaction.get(&key("a")).is_some());
            Ok(())
        })
        .unwrap();
    let refused: Result<(), _> = store.write(|transaction| {
        transaction.put(&key("b"), map("b", 1));
        Err(ApiError::bad_request("no"))
    });
    assert!(refused.is_err());
    assert_eq!(contents(&store), (0, vec![]));
    drop(store);
    assert_eq!(contents(&Store::open(root.path()).unwrap()), (0, vec![]));
}

#[test]
fn a_line_that_was_cut_short_is_dropped() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    put(&store, "a", 1);
    drop(store);
    let path = root.path().join("objects.jsonl");
    std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(b"[{\"revision\":2,\"ke")
        .unwrap();
    let store = Store::open(root.path()).unwrap();
    put(&store, "b", 1);
    drop(store);
    assert_eq!(contents(&Store::open(root.path()).unwrap()).1.len(), 2);
}

#[test]
fn damage_elsewhere_is_refused_with_its_line() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    put(&store, "a", 1);
    drop(store);
    let path = root.path().join("objects.jsonl");
    let text = std::fs::read_to_string(&path).unwrap().replace("\"key\"", "\"kex\"");
    std::fs::write(&path, text).unwrap();
    let error = Store::open(root.path()).unwrap_err().to_string();
    assert!(error.contains("line 2 is damaged"), "{error}");
}

#[test]
fn a_compacted_log_says_the_same_and_forgets_the_past() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    for value in 0..20_010 {
        put(&store, "a", value);
    }
    let before = contents(&store);
    drop(store);
    let length = std::fs::read_to_string(root.path().join("objects.jsonl"))
        .unwrap()
        .lines()
        .count();
    assert!(length < 100, "{length} lines");
    let again = Store::open(root.path()).unwrap();
    assert_eq!(contents(&again), before);
    assert_eq!(again.changes_since(5, "configmaps").err().unwrap().code, 410);
}

#[derive(Debug, Clone)]
enum Action {
    Put(u8, i32),
    Delete(u8),
    Restart,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        4 => (0..5u8, 0..3i32).prop_map(|(name, value)| Action::Put(name, value)),
        2 => (0..5u8).prop_map(Action::Delete),
        1 => Just(Action::Restart),
    ];
    prop::collection::vec(action, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn history_leads_to_what_is_there(actions in actions()) {
        let root = tempfile::tempdir().unwrap();
        let mut store = Store::open(root.path()).unwrap();
        let mut model: BTreeMap<String, i32> = BTreeMap::new();
        for action in actions {
            match action {
                Action::Put(name, value) => {
                    put(&store, &name.to_string(), value);
                    model.insert(name.to_string(), value);
                }
                Action::Delete(name) => {
                    if model.remove(&name.to_string()).is_some() {
                        delete(&store, &name.to_string());
                    }
                }
                Action::Restart => {
                    drop(store);
                    store = Store::open(root.path()).unwrap();
                }
            }
        }
        let expected: Vec<_> = model.iter().map(|(name, value)| (name.clone(), value.to_string())).collect();
        let found: Vec<_> = contents(&store).1.iter()
            .map(|object| (object::name(object).to_owned(), object::text(object, "/data/value").to_owned())).collect();
        prop_assert_eq!(&found, &expected);
        let mut replayed: BTreeMap<String, String> = BTreeMap::new();
        let mut last = 0;
        for change in store.changes_since(0, "configmaps").unwrap().changes {
            prop_assert!(change.revision > last);
            last = change.revision;
            match &change.new {
                Some(object) => { replayed.insert(change.key.name.clone(), object::text(object, "/data/value").to_owned()); }
                None => { replayed.remove(&change.key.name); }
            }
        }
        prop_assert_eq!(replayed.into_iter().collect::<Vec<_>>(), expected);
    }
}
