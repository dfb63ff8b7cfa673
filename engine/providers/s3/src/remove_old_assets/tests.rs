//! Against the stores. Only versitygw lets an object be older than it is; with the others, the days are shifted.

use std::cell::RefCell;

use futures::{StreamExt, TryStreamExt};
use jiff::SignedDuration;
use jm_client_s3::{Put, S3Bucket};
use jm_step::{Grade, StepErrorKind};
use jm_testkit::StepBench;
use jm_testkit::conformance::{
    World, cancels_promptly, preview_writes_nothing, resumes_after_each_checkpoint, runs_once,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::*;
use crate::release::{Asset, Manifest};
use crate::restore_versions::RestoreVersions;
use crate::store::{Store, all_stores, sandbox, versitygw};

const DAY: Duration = Duration::from_hours(24);

/// Assets with their ages in days.
const ASSETS: &[(&str, u32)] = &[
    ("static/a.js", 100),
    ("static/b.js", 100),
    ("static/c.js", 50),
    ("static/live.js", 5),
    ("static/stray.js", 60),
    ("static/before.js", 200),
    ("index.html", 100),
];
/// Releases with their ages in days, and what they name.
const RELEASES: &[(u32, &[&str])] = &[
    (90, &["static/a.js", "static/b.js", "index.html"]),
    (45, &["static/b.js", "static/c.js", "index.html"]),
    (4, &["static/c.js", "static/live.js", "index.html"]),
];

fn input(more: Value) -> Value {
    let mut input = json!({ "days": 30, "at_least": 1, "include": ["static/*"] });
    let (fields, more) = (input.as_object_mut().expect("fields"), more);
    fields.extend(more.as_object().expect("fields").clone());
    input
}

fn parsed(more: Value) -> Input {
    serde_json::from_value(input(more)).expect("an input")
}

async fn put(bucket: &S3Bucket, key: &str) {
    bucket
        .put_bytes(key, key.to_owned(), Put::default())
        .await
        .expect("written");
}

/// Writes a release down as of so many days ago.
async fn record(bucket: &S3Bucket, days: u32, keys: &[&str]) -> String {
    let at = jm_step::clock::now() - SignedDuration::from_hours(24 * i64::from(days));
    let objects = keys.iter().map(|key| Asset {
        key: (*key).to_owned(),
        bytes: key.len() as u64,
        sha256: hex::encode(Sha256::digest(key)),
    });
    let manifest = Manifest::new(at, None, objects.collect());
    let text = serde_json::to_vec(&manifest).expect("JSON");
    let key = release::key(&release::folder(), at, "test");
    bucket.put_bytes(&key, text, Put::default()).await.expect("written");
    key
}

/// A bucket that keeps versions, with assets and releases of all ages.
async fn site(store: &Store, name: &str) -> S3Bucket {
    let bucket = store.bucket(name).await;
    bucket.set_versioning(true).await.expect("set");
    for (key, days) in ASSETS {
        put(&bucket, key).await;
        store.age(name, key, DAY * *days);
    }
    for (days, keys) in RELEASES {
        let key = record(&bucket, *days, keys).await;
        store.age(name, &key, DAY * *days);
    }
    bucket
}

async fn keys(bucket: &S3Bucket) -> Vec<String> {
    let listed: Vec<_> = bucket.list("").try_collect().await.expect("a listing");
    let keys = listed.into_iter().map(|object| object.key);
    keys.filter(|key| !key.starts_with(".jm/")).collect()
}

fn without(gone: &[&str]) -> Vec<&'static str> {
    let mut left: Vec<&str> = ASSETS.iter().map(|(key, _)| *key).collect();
    left.retain(|key| !gone.contains(key));
    left.sort_unstable();
    left
}

async fn bench(store: &Store, bucket: &str) -> StepBench {
    StepBench::new().with("bucket", store.connection(bucket).await)
}

#[tokio::test]
async fn what_no_release_of_the_last_days_names_is_deleted_and_comes_back_from_its_versions() {
    let store = versitygw().await;
    let bucket = site(&store, "site").await;
    let bench = bench(&store, "site").await;
    let preview = bench
        .preview(&RemoveOldAssets, input(json!({})))
        .await
        .expect("a preview");
    assert_eq!(preview.grade, Grade::Computed, "{}", preview.summary);
    assert_eq!(keys(&bucket).await, without(&[]), "a preview deletes nothing");

    let ran = bench.run(&RemoveOldAssets, input(json!({}))).await;
    assert_eq!(ran.changes, preview.changes);
    let output = ran.output();
    let mut predicted = preview.predicted.expect("known");
    predicted["list"] = output["list"].clone();
    assert_eq!(output, predicted);
    assert_eq!(output["names"], json!(["static/a.js"]));
    for (field, count) in [
        ("looked_at", 6),
        ("named", 3),
        ("young", 0),
        ("unknown", 1),
        ("unrecorded", 1),
        ("removed", 1),
        ("bytes", "static/a.js".len()),
        ("failed", 0),
        ("releases", 3),
        ("kept_releases", 2),
    ] {
        assert_eq!(output[field], json!(count), "{field} in {output}");
    }
    assert_eq!(keys(&bucket).await, without(&["static/a.js"]));

    let again = bench
        .preview(&RemoveOldAssets, input(json!({})))
        .await
        .expect("a preview");
    assert_eq!(
        (again.grade, again.changes.len()),
        (Grade::Verified, 0),
        "{}",
        again.summary
    );
    let all = input(json!({ "unrecorded": "remove" }));
    let output = bench.run(&RemoveOldAssets, all).await.output();
    assert_eq!(output["names"], json!(["static/before.js"]));

    // A bucket that keeps versions was given markers, and no content is lost.
    bench.run(&RestoreVersions, json!({})).await.output();
    assert_eq!(keys(&bucket).await, without(&[]));
}

#[tokio::test]
async fn on_every_store_the_same_is_old() {
    for store in all_stores().await {
        let bucket = store.bucket("ages").await;
        bucket.set_versioning(true).await.expect("set");
        put(&bucket, "static/before.js").await;
        for key in ["static/old.js", "static/live.js", "index.html"] {
            put(&bucket, key).await;
        }
        // Times are told in whole seconds.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        record(&bucket, 0, &["static/old.js"]).await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        put(&bucket, "static/stray.js").await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        record(&bucket, 0, &["static/live.js", "index.html"]).await;
        let survey = async |days: i64, more: Value| {
            let now = jm_step::clock::now() + SignedDuration::from_hours(24 * days);
            let survey = Survey::take(&bucket, &parsed(more), now).await.expect("a survey");
            let doomed = survey.doomed.into_iter().map(|object| object.key);
            (doomed.collect::<Vec<_>>(), survey.counts)
        };
        let (doomed, counts) = survey(0, json!({ "unrecorded": "remove" })).await;
        assert_eq!(doomed, Vec::<String>::new(), "{}", store.name);
        // Both releases stay, and the other two are young.
        assert_eq!(
            (counts.named, counts.young, counts.looked_at),
            (2, 2, 4),
            "{}",
            store.name
        );
        let (doomed, counts) = survey(31, json!({})).await;
        assert_eq!(doomed, ["static/old.js"], "{}", store.name);
        assert_eq!((counts.unknown, counts.unrecorded), (1, 1), "{}", store.name);
        let (doomed, _) = survey(31, json!({ "unrecorded": "remove" })).await;
        assert_eq!(doomed, ["static/before.js", "static/old.js"], "{}", store.name);
        let (doomed, _) = survey(31, json!({ "at_least": 2 })).await;
        assert_eq!(doomed, Vec::<String>::new(), "{}", store.name);
    }
}

#[tokio::test]
async fn where_too_little_is_known_nothing_is_deleted() {
    for store in all_stores().await {
        let later = jm_step::clock::now() + SignedDuration::from_hours(24 * 40);
        let refused = async |name: &str, more: Value, kind: StepErrorKind, words: &str| {
            let bucket = store.connection(name).await;
            let before = keys(&bucket).await;
            let error = Survey::take(&bucket, &parsed(more), later).await.expect_err("refused");
            assert_eq!(error.kind(), kind, "{} {error}", store.name);
            assert!(error.message().contains(words), "{} {error}", store.name);
            assert_eq!(keys(&bucket).await, before);
        };
        let bucket = store.bucket("dark").await;
        put(&bucket, "static/a.js").await;
        put(&bucket, "static/b.js").await;
        refused("dark", json!({}), StepErrorKind::Refused, "keeps no versions").await;
        bucket.set_versioning(true).await.expect("set");
        refused("dark", json!({}), StepErrorKind::Refused, "no release is written down").await;
        bucket.set_versioning(false).await.expect("set");
        refused("dark", json!({}), StepErrorKind::Refused, "keeps no versions").await;
        bucket.set_versioning(true).await.expect("set");

        record(&bucket, 0, &["static/b.js"]).await;
        refused("dark", json!({}), StepErrorKind::Refused, "names nothing but assets").await;
        put(&bucket, "index.html").await;
        record(&bucket, 0, &["index.html"]).await;
        let all = json!({ "unrecorded": "remove" });
        refused("dark", all, StepErrorKind::Refused, "no asset in").await;
        record(&bucket, 0, &["static/b.js", "index.html"]).await;
        let few = json!({ "unrecorded": "remove", "at_most": 0 });
        refused("dark", few, StepErrorKind::Refused, "no more than 0 may be").await;
        for text in [
            "{",
            r#"{"format":"other","recorded_at":"2026-01-01T00:00:00Z","commit":null,"objects":[]}"#,
        ] {
            let key = ".jm/releases/damaged.json";
            bucket.put_bytes(key, text, Put::default()).await.expect("written");
            refused("dark", json!({}), StepErrorKind::Failed, "no manifest of a release").await;
        }
    }
}

#[tokio::test]
async fn after_a_listing_that_broke_off_nothing_is_deleted() {
    let store = versitygw().await;
    let bucket = site(&store, "broken").await;
    // So many that there is a second page, which comes after those that are old.
    let written = (0..1000).map(|number| format!("z/{number:04}"));
    futures::stream::iter(written)
        .for_each_concurrent(32, |key| {
            let bucket = bucket.clone();
            async move { put(&bucket, &key).await }
        })
        .await;
    let words = &["GET ", "list-type=2", "continuation-token"];
    let bench = StepBench::new().with("bucket", store.refusing("broken", words).await);
    let error = bench.run(&RemoveOldAssets, input(json!({}))).await.error();
    assert_eq!(error.kind(), StepErrorKind::Denied, "{error}");
    let kept = keys(&bucket).await;
    assert_eq!(kept.len(), ASSETS.len() + 1000, "something was deleted");
    // The line alone is to blame.
    let bench = self::bench(&store, "broken").await;
    assert_eq!(
        bench.run(&RemoveOldAssets, input(json!({}))).await.output()["removed"],
        json!(1)
    );
}

#[tokio::test]
async fn a_release_that_comes_meanwhile_stops_it() {
    let store = sandbox().await;
    let bucket = store.bucket("meanwhile").await;
    bucket.set_versioning(true).await.expect("set");
    put(&bucket, "index.html").await;
    record(&bucket, 1, &["index.html"]).await;
    let input = parsed(json!({}));
    let survey = Survey::take(&bucket, &input, jm_step::clock::now())
        .await
        .expect("a survey");
    survey.still_holds(&bucket, &input).await.expect("nothing came");
    record(&bucket, 0, &["index.html"]).await;
    let error = survey.still_holds(&bucket, &input).await.expect_err("one came");
    assert_eq!(error.kind(), StepErrorKind::Conflict, "{error}");
}

#[tokio::test]
async fn where_another_page_is_live_than_was_written_down_last_nothing_is_deleted() {
    for store in all_stores().await {
        let bucket = store.bucket("back").await;
        bucket.set_versioning(true).await.expect("set");
        for key in ["static/old.js", "static/new.js", "index.html", "help.html"] {
            put(&bucket, key).await;
        }
        record(&bucket, 0, &["static/old.js", "index.html", "help.html"]).await;
        // Times are told in whole seconds.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        record(&bucket, 0, &["static/new.js", "index.html", "help.html"]).await;
        let take = async || {
            let later = jm_step::clock::now() + SignedDuration::from_hours(24 * 40);
            let survey = Survey::take(&bucket, &parsed(json!({})), later).await;
            survey.map(|survey| survey.doomed.into_iter().map(|object| object.key).collect::<Vec<_>>())
        };
        assert_eq!(take().await.expect("a survey"), ["static/old.js"], "{}", store.name);

        let refused = async |words: &str| {
            let error = take().await.expect_err("refused");
            assert_eq!(error.kind(), StepErrorKind::Refused, "{} {error}", store.name);
            assert!(error.message().contains(words), "{} {error}", store.name);
        };
        // Somebody puts a page of an older site back, of the same size or of another.
        for older in ["HELP.HTML", "an older page"] {
            bucket
                .put_bytes("help.html", older.to_owned(), Put::default())
                .await
                .expect("written");
            refused("0 are missing and 1 have other content, the first `help.html`").await;
        }
        bucket.delete("help.html", None).await.expect("deleted");
        refused("1 are missing and 0 have other content, the first `help.html`").await;
        put(&bucket, "help.html").await;
        assert_eq!(take().await.expect("a survey"), ["static/old.js"], "{}", store.name);
    }
}

/// A checkpoint of an attempt that died while it deleted `batch`.
fn died(now: Timestamp, deleted: u64, batch: &[&str]) -> Value {
    let batch: Vec<_> = batch.iter().map(|key| json!([key, key.len()])).collect();
    json!({
        "now": now, "batch": batch, "list": { "name": "old-assets.jsonl", "sha256": "", "bytes": 0 },
        "deleted": { "count": deleted, "bytes": 10 * deleted, "names": ["static/first.js"] },
    })
}

#[tokio::test]
async fn what_a_release_has_saved_since_an_attempt_that_died_is_not_counted_as_deleted() {
    let store = versitygw().await;
    let bucket = site(&store, "saved").await;
    for key in ["static/a.js", "static/saved.js"] {
        put(&bucket, key).await;
        store.age("saved", key, DAY * 100);
    }
    // It names what the attempt was about to delete; `gone.js` it has deleted, and `a.js` it has not.
    record(&bucket, 0, &["static/saved.js", "static/c.js", "index.html"]).await;
    let checkpoint = died(
        jm_step::clock::now(),
        7,
        &["static/gone.js", "static/saved.js", "static/a.js"],
    );
    let bench = bench(&store, "saved").await.checkpoint(checkpoint);
    let output = bench.run(&RemoveOldAssets, input(json!({}))).await.output();
    let bytes = 70 + "static/gone.js".len() + "static/a.js".len();
    assert_eq!(
        (&output["removed"], &output["bytes"]),
        (&json!(9), &json!(bytes)),
        "{output}"
    );
    assert_eq!(
        output["names"],
        json!(["static/first.js", "static/gone.js", "static/a.js"])
    );
    assert!(keys(&bucket).await.contains(&"static/saved.js".to_owned()));
}

#[tokio::test]
async fn deleting_that_is_not_allowed_is_told() {
    let store = versitygw().await;
    let bucket = site(&store, "denied").await;
    let bench = StepBench::new().with("bucket", store.refusing("denied", &["POST ", "?delete"]).await);
    let error = bench.run(&RemoveOldAssets, input(json!({}))).await.error();
    assert_eq!(error.kind(), StepErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("delete objects in"), "{error}");
    assert_eq!(keys(&bucket).await, without(&[]));
}

/// A store with an old asset, and what was last seen in its bucket.
struct Fresh {
    _store: Store,
    bench: StepBench,
    bucket: S3Bucket,
    seen: RefCell<(Vec<String>, usize)>,
}

impl World for Fresh {
    fn bench(&self) -> StepBench {
        self.bench.clone()
    }
    fn effects(&self) -> usize {
        let now = wait(keys(&self.bucket));
        let mut seen = self.seen.borrow_mut();
        if seen.0 != now {
            *seen = (now, seen.1 + 1);
        }
        seen.1
    }
    fn incidental(&self) -> &'static [&'static str] {
        &["/kept_since", "/list"]
    }
}

fn wait<F: Future>(work: F) -> F::Output {
    block_in_place(|| Handle::current().block_on(work))
}

fn fresh() -> Fresh {
    wait(async {
        let store = versitygw().await;
        let bucket = site(&store, "fresh").await;
        Fresh {
            bench: bench(&store, "fresh").await,
            seen: RefCell::new((keys(&bucket).await, 0)),
            _store: store,
            bucket,
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_what_a_step_type_promises() {
    preview_writes_nothing(&RemoveOldAssets, fresh, input(json!({}))).await;
    runs_once(&RemoveOldAssets, fresh, input(json!({}))).await;
    resumes_after_each_checkpoint(&RemoveOldAssets, fresh, input(json!({}))).await;
    let (after, patience) = (Duration::from_millis(5), Duration::from_secs(5));
    cancels_promptly(&RemoveOldAssets, fresh, input(json!({})), after, patience).await;
}

#[test]
fn odd_inputs_are_refused() {
    for (more, pointer) in [
        (json!({ "days": 0 }), "/days"),
        (json!({ "at_least": 0 }), "/at_least"),
        (json!({ "include": [] }), "/include"),
        (json!({ "releases": "" }), "/releases"),
    ] {
        let issues = StepType::check(&RemoveOldAssets, &parsed(more)).expect_err("refused");
        assert_eq!(issues[0].pointer, pointer);
    }
}
