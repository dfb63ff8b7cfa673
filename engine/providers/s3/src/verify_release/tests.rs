//! Against the stores: what was written down, and what becomes of it.

#![expect(clippy::disallowed_methods, reason = "tests make files of their own")]

use jm_client_s3::Put;
use jm_step::StepErrorKind;
use jm_testkit::StepBench;
use jm_testkit::conformance::{cancels_promptly, preview_writes_nothing, runs_once, saves_nothing};
use serde_json::{Value, json};

use super::*;
use crate::record_release::RecordRelease;
use crate::store::{Store, all_stores, sandbox};
use crate::sync::SyncStep;

const PAGE: &str = "<script src=static/app.1.js>";

/// A site that is published and written down; the bench, and the release's name.
async fn published(store: &Store, name: &str) -> (StepBench, Value) {
    store.bucket(name).await;
    let folder = store.files().join(name);
    std::fs::create_dir_all(folder.join("static")).expect("a folder");
    for (file, content) in [
        ("index.html", PAGE),
        ("static/app.1.js", "run()"),
        ("static/ä +.css", "p { }"),
        ("empty", ""),
    ] {
        std::fs::write(folder.join(file), content).expect("written");
    }
    let bench = StepBench::new().with("bucket", store.connection(name).await);
    let directory = json!({ "directory": folder, "prefix": "www/" });
    bench.run(&SyncStep, directory.clone()).await.output();
    let mut release = directory;
    release["commit"] = json!("0123abc");
    let recorded = bench.run(&RecordRelease, release).await.output();
    (bench, recorded["release"].clone())
}

/// A link, a pipe, and a name that is no text would be missing from the site that is published.
#[tokio::test]
async fn what_cannot_be_published_is_no_release() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let store = sandbox().await;
    store.bucket("holes").await;
    let folder = store.files().join("holes");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("index.html"), PAGE).expect("written");
    let bench = StepBench::new().with("bucket", store.connection("holes").await);
    let input = json!({ "directory": folder });
    bench.run(&RecordRelease, input.clone()).await.output();
    let link = folder.join("latest.js");
    std::os::unix::fs::symlink("index.html", &link).expect("a link");
    let error = bench.run(&RecordRelease, input.clone()).await.error();
    assert!(
        error.message().contains("`latest.js` (it is a symbolic link)"),
        "{error}"
    );
    let foreseen = bench.preview(&RecordRelease, input.clone()).await.expect_err("refused");
    assert_eq!(foreseen.message(), error.message());
    std::fs::remove_file(link).expect("removed");
    std::fs::write(folder.join(OsStr::from_bytes(b"\xff.js")), "x").expect("written");
    let error = bench.run(&RecordRelease, input).await.error();
    assert!(error.message().contains("UTF-8"), "{error}");
    let others = json!({ "directory": folder, "exclude": ["*.js"] });
    bench.run(&RecordRelease, others).await.output();
}

#[tokio::test]
async fn a_release_that_is_whole_is_proven_as_a_whole_or_by_a_sample() {
    for store in all_stores().await {
        let (bench, release) = published(&store, "whole").await;
        let all = bench.run(&VerifyRelease, json!({})).await.output();
        assert_eq!(all["release"], release, "{}", store.name);
        let bytes = PAGE.len() + "run()p { }".len();
        assert_eq!(
            (&all["objects"], &all["read"], &all["bytes"], &all["commit"]),
            (&json!(4), &json!(4), &json!(bytes), &json!("0123abc")),
            "{}",
            store.name
        );
        let some = json!({ "sample": 2, "include": ["www/static/*", "*.html"] });
        let preview = bench.preview(&VerifyRelease, some.clone()).await.expect("a preview");
        let some = bench.run(&VerifyRelease, some).await.output();
        assert_eq!((&some["objects"], &some["read"]), (&json!(3), &json!(2)));
        let foreseen = preview.foreseen.expect("known before");
        for (field, value) in foreseen.as_object().expect("fields") {
            assert_eq!(some[field], *value, "{} {field}", store.name);
        }
        // A name is a name with and without what is around it.
        let name = release.as_str().expect("a name");
        let short = name.trim_start_matches(".jm/releases/").trim_end_matches(".json");
        for name in [name, short] {
            let found = bench.run(&VerifyRelease, json!({ "release": name })).await.output();
            assert_eq!(found["release"], release);
        }
    }
}

#[tokio::test]
async fn what_is_missing_or_other_is_found() {
    for store in all_stores().await {
        let (bench, _) = published(&store, "damaged").await;
        let bucket = store.connection("damaged").await;
        let failed = async |evidence: Value| {
            let error = bench.run(&VerifyRelease, json!({})).await.error();
            assert_eq!(error.kind(), StepErrorKind::Failed);
            assert_eq!(error.summary().evidence, Some(evidence), "{} {error}", store.name);
        };
        let put = async |content: &'static str| {
            let key = "www/static/app.1.js";
            bucket.put_bytes(key, content, Put::default()).await.expect("written");
        };
        put("bad()").await;
        failed(json!({ "missing": [], "other_content": ["www/static/app.1.js"] })).await;
        // By its size alone a listing tells it, so that a preview does too.
        put("much worse()").await;
        failed(json!({ "missing": [], "other_content": ["www/static/app.1.js"] })).await;
        let foretold = bench
            .preview(&VerifyRelease, json!({}))
            .await
            .expect_err("it will fail");
        assert!(foretold.message().contains("not whole"), "{foretold}");
        put("run()").await;
        bucket.delete("www/index.html", None).await.expect("deleted");
        failed(json!({ "missing": ["www/index.html"], "other_content": [] })).await;
    }
}

#[tokio::test]
async fn a_release_that_is_not_there_is_said_to_be_missing() {
    let store = sandbox().await;
    store.bucket("none").await;
    let bench = StepBench::new().with("bucket", store.connection("none").await);
    let error = bench.run(&VerifyRelease, json!({})).await.error();
    assert_eq!(error.kind(), StepErrorKind::NotFound, "{error}");
    let (bench, release) = published(&store, "one").await;
    let error = bench.run(&VerifyRelease, json!({ "release": "other" })).await.error();
    let newest = release.as_str().expect("a name").trim_start_matches(".jm/releases/");
    assert!(error.message().contains(newest.trim_end_matches(".json")), "{error}");
    let error = bench.run(&VerifyRelease, json!({ "include": ["no/*"] })).await.error();
    assert!(error.message().contains("nothing that is to be verified"), "{error}");
}

#[tokio::test]
async fn it_only_looks() {
    let store = sandbox().await;
    let (bench, _) = published(&store, "look").await;
    let make = || (bench.clone(), || 0);
    preview_writes_nothing(&VerifyRelease, make, json!({})).await;
    runs_once(&VerifyRelease, make, json!({})).await;
    saves_nothing(&VerifyRelease, make, json!({})).await;
    let (after, patience) = (Duration::from_millis(5), Duration::from_secs(5));
    cancels_promptly(&VerifyRelease, make, json!({}), after, patience).await;
}
