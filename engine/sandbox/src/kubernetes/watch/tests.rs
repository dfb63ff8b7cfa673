//! Watches over a store that changes: what each watcher is told adds up to what there is.

use std::collections::BTreeMap;

use futures::StreamExt;
use proptest::prelude::*;

use super::super::kinds;
use super::super::store::Key;
use super::*;

fn store() -> (tempfile::TempDir, Arc<Store>) {
    let root = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(root.path()).unwrap());
    (root, store)
}

fn put(store: &Store, name: &str, label: &str) {
    let object = json!({"metadata": {"name": name, "namespace": "a", "labels": {"app": label}}});
    store
        .write(|transaction| Ok(transaction.put(&Key::new("configmaps", "a", name), object)))
        .unwrap();
}

fn delete(store: &Store, name: &str) {
    store
        .write(|transaction| {
            transaction.delete(&Key::new("configmaps", "a", name));
            Ok(())
        })
        .unwrap();
}

fn watcher(store: &Arc<Store>, query: &str, stop: &CancellationToken) -> Result<Watcher, ApiError> {
    let uri = format!("/api/v1/namespaces/a/configmaps?watch=1&{query}")
        .parse()
        .unwrap();
    let call = Call::new(&http::Method::GET, &uri, &http::HeaderMap::new());
    let target = Target::parse("/api/v1/namespaces/a/configmaps", kinds::find).unwrap();
    let asked = call.query.number("resourceVersion").unwrap().unwrap_or_default();
    let mut watcher = Watcher {
        store: Arc::clone(store),
        revisions: store.subscribe(),
        from: asked,
        view: View {
            kind: kinds::find("", "v1", "configmaps").unwrap(),
            namespace: target.namespace.clone(),
            selection: call.selection(&target).unwrap(),
            form: Form::Whole,
            include: table::Include::Metadata,
        },
        bookmarks: call.query.flag("allowWatchBookmarks"),
        pending: VecDeque::new(),
        ends: Instant::now() + Duration::from_secs(1000),
        next_bookmark: Instant::now() + BOOKMARK_EVERY,
        stop: stop.clone(),
        ended: false,
    };
    watcher.begin(asked, call.query.get("sendInitialEvents"))?;
    Ok(watcher)
}

/// Everything that a watcher says before it would wait.
async fn told(store: &Arc<Store>, query: &str) -> Vec<(String, String)> {
    let stop = CancellationToken::new();
    let watcher = watcher(store, query, &stop).unwrap();
    stop.cancel();
    let lines: Vec<Bytes> = watcher.into_stream().collect().await;
    let event = |line: &Bytes| {
        let value: Value = serde_json::from_slice(line).unwrap();
        (
            value["type"].as_str().unwrap().to_owned(),
            object::name(&value["object"]).to_owned(),
        )
    };
    lines.iter().map(event).collect()
}

fn pair(what: &str, name: &str) -> (String, String) {
    (what.to_owned(), name.to_owned())
}

#[tokio::test]
async fn begins_with_what_there_is_or_after_a_revision() {
    let (_root, store) = store();
    put(&store, "one", "x");
    put(&store, "two", "x");
    delete(&store, "one");
    assert_eq!(told(&store, "").await, [pair("ADDED", "two")]);
    assert_eq!(
        told(&store, "resourceVersion=1").await,
        [pair("ADDED", "two"), pair("DELETED", "one")]
    );
    let with_end = told(
        &store,
        "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
    )
    .await;
    assert_eq!(with_end, [pair("ADDED", "two"), pair("BOOKMARK", "")]);
}

#[tokio::test]
async fn an_object_that_no_longer_fits_is_deleted_for_the_watcher() {
    let (_root, store) = store();
    put(&store, "one", "x");
    put(&store, "one", "y");
    put(&store, "one", "x");
    let events = told(&store, "resourceVersion=1&labelSelector=app%3Dx").await;
    assert_eq!(events, [pair("DELETED", "one"), pair("ADDED", "one")]);
}

#[tokio::test]
async fn the_past_that_is_gone_is_said_to_be_gone() {
    let (_root, store) = store();
    put(&store, "one", "x");
    put(&store, "two", "x");
    store.forget_history();
    assert_eq!(told(&store, "resourceVersion=1").await, [pair("ERROR", "")]);
    let ahead = watcher(&store, "resourceVersion=99", &CancellationToken::new())
        .err()
        .unwrap();
    assert_eq!(ahead.code, 504);
}

#[tokio::test]
async fn quiet_watches_say_how_far_they_are() {
    let (_root, store) = store();
    put(&store, "one", "x");
    let stop = CancellationToken::new();
    let mut watcher = watcher(&store, "resourceVersion=1&allowWatchBookmarks=1", &stop).unwrap();
    watcher.next_bookmark = Instant::now();
    let mut stream = Box::pin(watcher.into_stream());
    let line: Value = serde_json::from_slice(&stream.next().await.unwrap()).unwrap();
    assert_eq!(
        (&line["type"], &line["object"]["metadata"]["resourceVersion"]),
        (&json!("BOOKMARK"), &json!("1"))
    );
}

fn changes() -> impl Strategy<Value = Vec<(u8, u8)>> {
    prop::collection::vec((0..4u8, 0..3u8), 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whoever begins anywhere and follows a selector ends with what the selector lists.
    #[test]
    fn events_add_up(changes in changes(), cut in 0..30usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (_root, store) = store();
        let mut there: BTreeMap<String, String> = BTreeMap::new();
        let mut at_cut = (0, BTreeMap::new());
        for (index, (name, action)) in changes.iter().enumerate() {
            if index == cut {
                at_cut = (store.list("configmaps", None).0, there.clone());
            }
            let name = format!("n{name}");
            match action {
                0 => if there.remove(&name).is_some() { delete(&store, &name) },
                1 => { put(&store, &name, "x"); there.insert(name, "x".into()); }
                _ => { put(&store, &name, "y"); there.insert(name, "y".into()); }
            }
        }
        let fitting = |all: &BTreeMap<String, String>| all.iter().filter(|(_, label)| *label == "x")
            .map(|(name, _)| name.clone()).collect::<std::collections::BTreeSet<_>>();
        let (revision, mut known) = (at_cut.0, fitting(&at_cut.1));
        let events = runtime.block_on(told(&store, &format!("resourceVersion={revision}&sendInitialEvents=false&labelSelector=app%3Dx")));
        // Revision nought without initial events begins at the present.
        if revision == 0 { known = fitting(&there); }
        for (what, name) in events {
            match what.as_str() {
                "ADDED" => prop_assert!(known.insert(name)),
                "DELETED" => prop_assert!(known.remove(&name)),
                _ => prop_assert!(known.contains(&name)),
            }
        }
        prop_assert_eq!(known, fitting(&there));
    }
}
