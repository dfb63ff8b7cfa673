//! Against real stores.

#![expect(clippy::disallowed_methods, reason = "tests make and read files of their own")]

use jm_client_s3::S3Bucket;
use jm_step::testing::{Bench, Told};
use jm_step::{AnyStepType, Grade, StepErrorKind};
use jm_testkit::StepBench;
use serde_json::Value;
use tokio::io::AsyncReadExt;

use super::*;
use crate::store::{Store, all_stores, ministack, stores};

async fn run(bench: &Bench, input: &Value) -> (Result<Value, StepError>, Told) {
    let (cx, listener) = bench.step();
    let outcome = AnyStepType::run(&Upload, &cx, input.clone()).await;
    (outcome, listener.told(cx).await)
}

async fn preview(bench: &Bench, input: &Value) -> Result<Preview<Value>, StepError> {
    AnyStepType::preview(&Upload, &bench.read(), input.clone()).await
}

fn file(store: &Store, content: &[u8]) -> PathBuf {
    let file = store.files().join("upload");
    std::fs::write(&file, content).expect("a file");
    file
}

async fn content(bucket: &S3Bucket, key: &str) -> Vec<u8> {
    let mut content = Vec::new();
    let mut stream = bucket.get(key, Get::default()).await.expect("readable");
    stream.read_to_end(&mut content).await.expect("whole");
    content
}

#[tokio::test]
async fn a_file_becomes_an_object_as_the_preview_said() {
    for store in stores().await {
        let bucket = store.bucket("put").await;
        let bench = store.bench("put");
        let large = vec![7; 9 * 1024 * 1024];
        for (key, bytes) in [("small", &b"content"[..]), ("large", &large), ("empty", b"")] {
            let input = json!({ "file": file(&store, bytes), "key": key, "content_type": "text/plain" });
            let foreseen = preview(&bench, &input).await.expect("a preview");
            assert_eq!(foreseen.grade, Grade::Computed);
            assert_eq!(
                bucket.head(key, None).await.expect("an answer"),
                None,
                "a preview writes nothing"
            );
            let probe = AnyStepType::probe(&Upload, &bench.read(), input.clone())
                .await
                .expect("a probe");
            assert_eq!(probe, Probe::NotStarted);

            let (outcome, told) = run(&bench, &input).await;
            let output = outcome.expect("written");
            assert_eq!(told.changes, foreseen.changes, "{} {key}", store.name);
            assert!(content(&bucket, key).await == bytes, "{} {key}", store.name);
            let info = bucket.head(key, None).await.expect("an answer").expect("an object");
            assert_eq!(
                info.metadata.get("sha256").map(String::as_str),
                output["sha256"].as_str()
            );

            let again = preview(&bench, &input).await.expect("a preview");
            assert_eq!((again.grade, again.changes.len()), (Grade::Verified, 0));
            let (outcome, told) = run(&bench, &input).await;
            assert_eq!(
                (outcome.expect("is there")["already_there"].clone(), told.changes.len()),
                (json!(true), 0)
            );
            let probe = AnyStepType::probe(&Upload, &bench.read(), input)
                .await
                .expect("a probe");
            assert!(matches!(probe, Probe::Succeeded(_)));
        }
    }
}

#[tokio::test]
async fn another_object_is_overwritten_only_by_force() {
    for store in stores().await {
        let bucket = store.bucket("force").await;
        bucket.put_bytes("a", "CONTENT", Put::default()).await.expect("written");
        let bench = store.bench("force");
        let path = file(&store, b"content");
        let input = json!({ "file": path, "key": "a" });
        assert_eq!(
            preview(&bench, &input).await.expect_err("would fail").kind(),
            StepErrorKind::Conflict
        );
        let (outcome, told) = run(&bench, &input).await;
        assert_eq!(
            (outcome.expect_err("in the way").kind(), told.changes.len()),
            (StepErrorKind::Conflict, 0)
        );
        assert_eq!(content(&bucket, "a").await, b"CONTENT");
        let input = json!({ "file": path, "key": "a", "force": true });
        run(&bench, &input).await.0.expect("written");
        assert_eq!(content(&bucket, "a").await, b"content");
    }
}

#[tokio::test]
async fn the_same_content_counts_however_it_came_there() {
    for store in stores().await {
        let bucket = store.bucket("same").await;
        // No SHA-256 of ours beside it, as with other tools.
        bucket.put_bytes("a", "content", Put::default()).await.expect("written");
        let input = json!({ "file": file(&store, b"content"), "key": "a" });
        let output = run(&store.bench("same"), &input).await.0.expect("is there");
        assert_eq!(output["already_there"], true, "{}", store.name);
    }
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_not_written() {
    for store in stores().await {
        let bucket = store.bucket("changing").await;
        let path = file(&store, b"content");
        let sums = file::sums_before_upload(&path, None).await.expect("read");
        std::fs::write(&path, "another").expect("a file");
        let body = Unchanged::open(&path, &sums, Arc::default()).await.expect("opened");
        let error = bucket.put("a", body, Put::default()).await.expect_err("changed");
        assert_eq!(error.kind(), StepErrorKind::Conflict, "{error}");
        assert_eq!(bucket.head("a", None).await.expect("an answer"), None);
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_found() {
    for store in stores().await {
        store.bucket("nothing").await;
        let input = json!({ "file": store.files().join("nothing"), "key": "a" });
        assert_eq!(
            run(&store.bench("nothing"), &input)
                .await
                .0
                .expect_err("no file")
                .kind(),
            StepErrorKind::NotFound
        );
    }
}

#[tokio::test]
async fn told_to_stop_it_leaves_no_object() {
    for store in stores().await {
        let bucket = store.bucket("stopped").await;
        let bench = store.bench("stopped");
        let input = json!({ "file": file(&store, &vec![1; 20 * 1024 * 1024]), "key": "a" });
        bench.cancel();
        let error = run(&bench, &input).await.0.expect_err("stopped");
        assert_eq!(error.kind(), StepErrorKind::Cancelled);
        assert_eq!(bucket.head("a", None).await.expect("an answer"), None);
    }
}

#[test]
fn nonsense_is_found_before_the_run() {
    for bad in [
        json!({ "key": "", "file": "a" }),
        json!({ "key": "folder/", "file": "a" }),
    ] {
        AnyStepType::check(&Upload, &bad).expect_err(&bad.to_string());
    }
}

#[tokio::test]
async fn headers_are_set_also_where_the_content_is_there() {
    for store in stores().await {
        let bucket = store.bucket("headers").await;
        bucket
            .put_bytes("index.html", "content", Put::default())
            .await
            .expect("written");
        let bench = store.bench("headers");
        let input = json!({ "file": file(&store, b"content"), "key": "index.html", "cache_control": "no-cache" });
        let foreseen = preview(&bench, &input).await.expect("a preview");
        let (outcome, told) = run(&bench, &input).await;
        outcome.expect("written");
        assert_eq!(
            (told.changes.len(), &told.changes),
            (1, &foreseen.changes),
            "{}",
            store.name
        );
        let info = bucket
            .head("index.html", None)
            .await
            .expect("an answer")
            .expect("there");
        assert_eq!(info.cache_control.as_deref(), Some("no-cache"), "{}", store.name);
        assert_eq!(
            info.content_type.as_deref(),
            Some("text/html; charset=utf-8"),
            "{}",
            store.name
        );
        let again = preview(&bench, &input).await.expect("a preview");
        assert_eq!(again.grade, Grade::Verified, "{}", store.name);
    }
}

/// A run that was begun on another machine has left no note here: what may be its own is told as that, and is not ended.
#[tokio::test]
async fn an_upload_that_somebody_began_meanwhile_is_left_and_told() {
    for store in all_stores().await {
        let bucket = store.bucket("cut").await;
        for key in ["large", "large-too"] {
            store
                .aws(&["s3api", "create-multipart-upload", "--bucket", "cut", "--key", key])
                .await;
        }
        let input = json!({ "file": file(&store, &vec![7; 9 << 20]), "key": "large" });
        let bench = StepBench::new().with("bucket", store.noting("cut").await);
        let saved = json!({ "began": jm_step::clock::now().to_string() });
        let again = bench.attempt(2).checkpoint(saved);
        let probe = again.probe(&Upload, input.clone()).await.expect("a probe");
        assert!(matches!(probe, Probe::Partial { .. }), "{probe:?}");
        let ran = again.run(&Upload, input).await;
        let told = |words: &str| ran.log.iter().any(|line| line.contains(words));
        assert!(
            told("2 uploads in parts were begun under"),
            "{}: {:?}",
            store.name,
            ran.log
        );
        assert!(
            told("1 of them go to keys of this step, such as `large`"),
            "{}: {:?}",
            store.name,
            ran.log
        );
        ran.output();
        let unfinished = bucket.unfinished_uploads("").await.expect("listed");
        let left: Vec<&str> = unfinished.iter().map(|upload| upload.key.as_str()).collect();
        assert_eq!(left, ["large", "large-too"], "{}", store.name);
    }
}

/// Of 21 MiB in three parts the store has the first as it is, and something else as the second.
#[tokio::test]
async fn whoever_goes_on_sends_what_is_missing_and_nothing_else() {
    for store in all_stores().await {
        let bucket = store.bucket("resumed").await;
        let all: Vec<u8> = (0..21_u32 << 20).map(|n| (n % 251) as u8).collect();
        let input = json!({ "file": file(&store, &all), "key": "large" });
        let bench = StepBench::new().with("bucket", store.connection("resumed").await);
        // Killed once the id of the upload is saved.
        let cut = bench.clone().run_until(&Upload, input.clone(), 2).await;
        let saved = cut.checkpoints.last().expect("saved").clone();
        let id = saved["upload"].as_str().expect("an id").to_owned();
        let part = store.files().join("part");
        for (number, content) in [("1", all[..8 << 20].to_vec()), ("2", vec![0; 8 << 20])] {
            std::fs::write(&part, content).expect("a part");
            let (key, body) = (["--bucket", "resumed", "--key", "large"], part.to_str().expect("text"));
            let sent = ["--upload-id", &id, "--part-number", number, "--body", body];
            store
                .aws(&[&["s3api", "upload-part"], &key[..], &sent[..]].concat())
                .await;
        }
        // The first part would not come through a second time.
        let through = match store.name {
            "sandbox" => store.refusing("resumed", &["PUT ", "partNumber=1&"]).await,
            _ => store.connection("resumed").await,
        };
        let again = StepBench::new().with("bucket", through).attempt(2).checkpoint(saved);
        let ran = again.run(&Upload, input.clone()).await;
        let went_on = ran
            .log
            .iter()
            .any(|line| line.contains("the store has 16777216 of 22020096 bytes of"));
        assert!(went_on, "{}: {:?}", store.name, ran.log);
        ran.output();
        assert!(content(&bucket, "large").await == all, "{}: other content", store.name);
        let left = bucket.unfinished_uploads("").await.expect("listed");
        assert!(left.is_empty(), "{}: {left:?}", store.name);
    }
}

/// Its parts are of no use to a file with other content, and an upload that was ended to nobody.
#[tokio::test]
async fn an_upload_of_other_content_or_one_that_is_over_is_begun_anew() {
    for store in all_stores().await {
        let bucket = store.bucket("anew").await;
        let bench = StepBench::new().with("bucket", store.connection("anew").await);
        for (key, other) in [("changed", true), ("ended", false)] {
            let input = json!({ "file": file(&store, &vec![7; 9 << 20]), "key": key });
            let cut = bench.clone().run_until(&Upload, input.clone(), 2).await;
            let saved = cut.checkpoints.last().expect("saved").clone();
            if other {
                file(&store, &vec![8; 9 << 20]);
            } else {
                for upload in bucket.unfinished_uploads(key).await.expect("listed") {
                    bucket.end_upload(&upload.key, upload.id()).await.expect("ended");
                }
            }
            let again = bench.clone().attempt(2).checkpoint(saved);
            again.run(&Upload, input).await.output();
            let expected = vec![if other { 8 } else { 7 }; 9 << 20];
            assert!(content(&bucket, key).await == expected, "{} {key}", store.name);
            let left = bucket.unfinished_uploads("").await.expect("listed");
            assert!(left.is_empty(), "{} {key}: {left:?}", store.name);
        }
    }
}

/// Nobody goes on with the run that was killed: the next one to the same key ends what it left, and nothing of others.
#[tokio::test]
async fn an_upload_that_another_run_left_is_ended_by_the_next_one() {
    for store in all_stores().await {
        let bucket = store.bucket("left").await;
        let left = async || {
            let unfinished = bucket.unfinished_uploads("").await.expect("listed");
            unfinished
                .into_iter()
                .map(|upload| upload.id().to_owned())
                .collect::<Vec<_>>()
        };
        let place = ["--bucket", "left", "--key", "large"];
        let of_other = store
            .aws(&[&["s3api", "create-multipart-upload"], &place[..]].concat())
            .await;
        let of_other = of_other["UploadId"].as_str().expect("an id").to_owned();
        let input = json!({ "file": file(&store, &vec![7; 9 << 20]), "key": "large" });
        let bench = StepBench::new().with("bucket", store.noting("left").await);
        let cut = bench.run_until(&Upload, input.clone(), 2).await;
        assert!(cut.result.is_none(), "{}", store.name);
        assert_eq!(left().await.len(), 2, "{}", store.name);
        bench.run(&Upload, input).await.output();
        assert_eq!(left().await, [of_other], "{}", store.name);
        let notes = std::fs::read_dir(store.files().join("state/uploads")).expect("a folder");
        assert_eq!(notes.count(), 0, "{}: all are over", store.name);
    }
}

/// Somebody has written other content beside the sum of the old one. Ministack keeps no checksums.
#[tokio::test]
async fn what_a_writer_says_of_the_content_is_not_believed_against_the_etag() {
    let store = ministack().await;
    let bucket = store.bucket("said").await;
    let path = file(&store, b"right");
    let sha256 = file::sums_of(&path, None).await.expect("read").sha256();
    let said = Put {
        metadata: BTreeMap::from([("sha256".to_owned(), sha256)]),
        ..Put::default()
    };
    bucket.put_bytes("k", "wrong", said).await.expect("written");
    let input = json!({ "file": path, "key": "k" });
    let error = run(&store.bench("said"), &input).await.0.expect_err("in the way");
    assert_eq!(error.kind(), StepErrorKind::Conflict, "{error}");
}
