//! Against real stores.

#![expect(clippy::disallowed_methods, reason = "tests make and read files of their own")]

use jm_client_s3::S3Bucket;
use jm_step::testing::{Bench, Told};
use jm_step::{AnyStepType, Grade, StepErrorKind};
use serde_json::Value;
use sha2::Digest;

use super::*;
use crate::store::{Store, all_stores, stores};

async fn run(bench: &Bench, input: &Value) -> (Result<Value, StepError>, Told) {
    let (cx, listener) = bench.step();
    let outcome = AnyStepType::run(&Download, &cx, input.clone()).await;
    (outcome, listener.told(cx).await)
}

async fn preview(bench: &Bench, input: &Value) -> Result<Preview<Value>, StepError> {
    AnyStepType::preview(&Download, &bench.read(), input.clone()).await
}

async fn filled(store: &Store, name: &str, content: &str) -> S3Bucket {
    let bucket = store.bucket(name).await;
    bucket
        .put_bytes("a", content.to_owned(), jm_client_s3::Put::default())
        .await
        .expect("written");
    bucket
}

fn sha256(content: &[u8]) -> String {
    hex::encode(sha2::Sha256::digest(content))
}

#[tokio::test]
async fn an_object_becomes_a_file_as_the_preview_said() {
    for store in stores().await {
        filled(&store, "get", "content").await;
        let bench = store.bench("get");
        let file = store.files().join("a");
        let input = json!({ "key": "a", "file": file });
        let foreseen = preview(&bench, &input).await.expect("a preview");
        assert_eq!(foreseen.grade, Grade::Computed);
        assert!(!file.exists(), "a preview writes nothing");
        assert_eq!(
            AnyStepType::probe(&Download, &bench.read(), input.clone())
                .await
                .expect("a probe"),
            Probe::NotStarted
        );

        let (outcome, told) = run(&bench, &input).await;
        let output = outcome.expect("brought");
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), "content");
        assert!(!partial(&file).exists());
        assert_eq!(told.changes, foreseen.changes, "{}", store.name);
        assert_eq!(
            (&output["sha256"], &output["verified_by"]),
            (&json!(sha256(b"content")), &json!("store-checksum"))
        );

        let again = preview(&bench, &input).await.expect("a preview");
        assert_eq!((again.grade, again.predicted), (Grade::Verified, Some(output.clone())));
        let (outcome, told) = run(&bench, &input).await;
        assert_eq!((outcome.expect("is there"), told.changes.len()), (output.clone(), 0));
        let probe = AnyStepType::probe(&Download, &bench.read(), input)
            .await
            .expect("a probe");
        assert_eq!(probe, Probe::Succeeded(output));
    }
}

/// Killed between the rename and the record, and there is no checksum to compare the file with: then the object is read again.
#[tokio::test]
async fn what_no_checksum_speaks_for_is_found_by_its_content() {
    let mut without = 0;
    for store in all_stores().await {
        store.bucket("old").await;
        store.put_in_parts("old", "a", &[b"content"]).await;
        let bench = store.bench("old");
        let file = store.files().join("a");
        let input = json!({ "key": "a", "file": file });
        let first = run(&bench, &input).await.0.expect("brought");
        // Some stores compute one of their own.
        without += usize::from(first["verified_by"] == "size");
        assert_eq!(run(&bench, &input).await.0.expect("is there"), first, "{}", store.name);
        std::fs::write(&file, "CONTENT").expect("a file");
        let error = run(&bench, &input).await.0.expect_err("in the way");
        assert_eq!(error.kind(), StepErrorKind::Conflict, "{}", store.name);
    }
    assert!(without > 0, "every store has a checksum for it");
}

#[tokio::test]
async fn another_file_is_overwritten_only_by_force() {
    for store in stores().await {
        filled(&store, "force", "content").await;
        let bench = store.bench("force");
        let file = store.files().join("a");
        // The size is the same: only the content tells.
        std::fs::write(&file, "CONTENT").expect("a file");
        let input = json!({ "key": "a", "file": file });
        assert_eq!(
            preview(&bench, &input).await.expect_err("would fail").kind(),
            StepErrorKind::Conflict
        );
        let (outcome, _) = run(&bench, &input).await;
        assert_eq!(outcome.expect_err("in the way").kind(), StepErrorKind::Conflict);
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), "CONTENT");
        let input = json!({ "key": "a", "file": file, "force": true });
        run(&bench, &input).await.0.expect("brought");
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), "content");
    }
    assert_eq!(
        AnyStepType::effect(&Download, &Known::new(json!({}))),
        Effect::Reversible
    );
    assert_eq!(
        AnyStepType::effect(&Download, &Known::new(json!({ "force": true }))),
        Effect::Irreversible
    );
}

#[tokio::test]
async fn a_download_that_was_cut_off_goes_on() {
    for store in stores().await {
        filled(&store, "resume", "content").await;
        let file = store.files().join("a");
        let input = json!({ "key": "a", "file": file });
        let bench = store.bench("resume");
        let (_, told) = run(&bench, &input).await;
        let begun = told.checkpoints.first().expect("saved before the first byte").clone();
        std::fs::remove_file(&file).expect("removed");

        // What is there is kept: the right beginning makes the right file, a wrong one is found out and fetched anew.
        let bench = store.bench("resume").checkpoint(begun.clone());
        std::fs::write(partial(&file), "con").expect("a file");
        let probe = AnyStepType::probe(&Download, &bench.read(), input.clone())
            .await
            .expect("a probe");
        assert!(matches!(probe, Probe::Partial { .. }));
        run(&bench, &input).await.0.expect("brought");
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), "content");

        std::fs::remove_file(&file).expect("removed");
        std::fs::write(partial(&file), "CON").expect("a file");
        let (outcome, told) = run(&bench, &input).await;
        outcome.expect("brought");
        let found = "does not match the checksum that the store keeps: it is fetched once more";
        assert!(told.log.iter().any(|line| line.contains(found)), "{:?}", told.log);
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), "content");
        std::fs::remove_file(&file).expect("removed");

        // Without a word of whose beginning it is, it is not trusted.
        std::fs::write(partial(&file), "CON and much more than there should be").expect("a file");
        run(&store.bench("resume"), &input).await.0.expect("brought");
        assert_eq!(
            std::fs::read_to_string(&file).expect("a file"),
            "content",
            "{}",
            store.name
        );
    }
}

#[tokio::test]
async fn what_is_expected_is_checked() {
    for store in stores().await {
        filled(&store, "sums", "content").await;
        let bench = store.bench("sums");
        let file = store.files().join("a");
        let wrong = json!({ "key": "a", "file": file, "sha256": sha256(b"other") });
        let error = run(&bench, &wrong).await.0.expect_err("other content was expected");
        assert!(error.message().contains("SHA-256") && !file.exists(), "{error}");
        let right = json!({ "key": "a", "file": file, "sha256": sha256(b"content").to_uppercase() });
        assert_eq!(run(&bench, &right).await.0.expect("brought")["verified_by"], "sha256");
    }
}

#[tokio::test]
async fn an_old_version_can_be_brought() {
    for store in stores().await {
        let bucket = store.bucket("old").await;
        bucket.set_versioning(true).await.expect("set");
        let first = bucket
            .put_bytes("a", "one", jm_client_s3::Put::default())
            .await
            .expect("written");
        bucket
            .put_bytes("a", "two", jm_client_s3::Put::default())
            .await
            .expect("written");
        let file = store.files().join("a");
        let input = json!({ "key": "a", "file": file, "version_id": first.version_id });
        let output = run(&store.bench("old"), &input).await.0.expect("brought");
        assert_eq!(
            (
                std::fs::read_to_string(&file).expect("a file").as_str(),
                output["version_id"].as_str()
            ),
            ("one", first.version_id.as_deref())
        );
    }
}

#[tokio::test]
async fn what_was_there_before_versions_were_kept_can_be_brought() {
    for store in stores().await {
        let bucket = store.bucket("before").await;
        for (key, versions) in [("a", false), ("gone", false), ("a", true), ("gone", true)] {
            if versions {
                bucket.set_versioning(true).await.expect("set");
            }
            bucket
                .put_bytes(key, if versions { "two" } else { "one" }, jm_client_s3::Put::default())
                .await
                .expect("written");
        }
        bucket.delete("gone", None).await.expect("marked");
        for key in ["a", "gone"] {
            let file = store.files().join(key);
            let input = json!({ "key": key, "file": file, "version_id": "null" });
            run(&store.bench("before"), &input).await.0.expect("brought");
            let content = std::fs::read_to_string(&file).expect("a file");
            assert_eq!(content, "one", "{} {key}", store.name);
        }
    }
}

#[tokio::test]
async fn what_is_not_there_and_what_cannot_be_written_is_said() {
    for store in stores().await {
        filled(&store, "missing", "content").await;
        let bench = store.bench("missing");
        let input = json!({ "key": "b", "file": store.files().join("b") });
        for error in [preview(&bench, &input).await.err(), run(&bench, &input).await.0.err()] {
            assert_eq!(error.expect("no object").kind(), StepErrorKind::NotFound);
        }
        let input = json!({ "key": "a", "file": store.files().join("no/such/folder/a") });
        assert_eq!(
            run(&bench, &input).await.0.expect_err("no folder").kind(),
            StepErrorKind::NotFound
        );
        let input = json!({ "key": "a", "file": store.files() });
        assert_eq!(
            run(&bench, &input).await.0.expect_err("a folder").kind(),
            StepErrorKind::InvalidInput
        );
    }
}

#[test]
fn nonsense_is_found_before_the_run() {
    for bad in [
        json!({ "key": "", "file": "a" }),
        json!({ "key": "a", "file": "/" }),
        json!({ "key": "a", "file": "a", "sha256": "12" }),
    ] {
        AnyStepType::check(&Download, &bad).expect_err(&bad.to_string());
    }
}

#[tokio::test]
async fn a_part_of_an_object_is_brought_and_gone_on_with() {
    for store in stores().await {
        filled(&store, "part", "0123456789").await;
        let bench = store.bench("part");
        let file = store.files().join("part");
        for (offset, length, expected) in [(2, json!(3), "234"), (7, json!(9), "789"), (4, Value::Null, "456789")] {
            let input = json!({ "key": "a", "file": file, "offset": offset, "length": length, "force": true });
            let foreseen = preview(&bench, &input).await.expect("a preview");
            let (outcome, told) = run(&bench, &input).await;
            assert_eq!(told.changes, foreseen.changes, "{}", store.name);
            assert_eq!(outcome.expect("brought")["bytes"], json!(expected.len()));
            assert_eq!(
                std::fs::read_to_string(&file).expect("a file"),
                expected,
                "{}",
                store.name
            );
            let again = preview(&bench, &input).await.expect("a preview");
            assert_eq!(
                again.grade,
                Grade::Verified,
                "{}: what is there is compared with the part",
                store.name
            );
        }
        // What an attempt before had brought of it.
        std::fs::remove_file(&file).expect("removed");
        std::fs::write(partial(&file), "23").expect("a file");
        let bucket = store.connection("part").await;
        let info = bucket.head("a", None).await.expect("an answer").expect("there");
        let begun = json!({ "etag": info.etag, "version_id": info.version_id, "offset": 2, "length": 5 });
        let input = json!({ "key": "a", "file": file, "offset": 2, "length": 5, "sha256": sha256(b"23456") });
        let (outcome, _) = run(&store.bench("part").checkpoint(begun), &input).await;
        assert_eq!(outcome.expect("brought")["verified_by"], "sha256");
        assert_eq!(
            std::fs::read_to_string(&file).expect("a file"),
            "23456",
            "{}",
            store.name
        );

        let beyond = json!({ "key": "a", "file": store.files().join("beyond"), "offset": 10 });
        let error = run(&bench, &beyond).await.0.expect_err("there is nothing");
        assert_eq!(error.kind(), StepErrorKind::NotFound, "{}: {error}", store.name);
    }
}
