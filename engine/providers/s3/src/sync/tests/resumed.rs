//! Large files of a sync that was cut off in their middle.

use jm_client_s3::S3;

use super::*;

/// Five parts of 8 MiB.
const LARGE: usize = 40 << 20;
/// What came over before the kill: two parts.
const BEFORE: usize = 16 << 20;

/// A sync of `large`, killed once the id of its upload is saved: what that has saved.
async fn killed(store: &Store, bucket: &str, folder: &Path) -> Value {
    let input = json!({ "directory": folder });
    let cut = bench(store, bucket).await.run_until(&SyncStep, input, 2).await;
    assert!(cut.result.is_none(), "{}: {:?}", store.name, cut.result);
    cut.checkpoints.last().expect("saved").clone()
}

/// Sends the first parts of an upload.
async fn send_parts(store: &Store, bucket: &str, saved: &Value, content: &[u8]) {
    let id = saved["uploads"]["large"]["upload"].as_str().expect("an id");
    let part = store.files().join("part");
    for (number, content) in (1..).zip(content.chunks(8 << 20)) {
        std::fs::write(&part, content).expect("a part");
        let (number, body) = (format!("{number}"), part.to_str().expect("text"));
        let key = ["--bucket", bucket, "--key", "large"];
        let sent = ["--upload-id", id, "--part-number", &number, "--body", body];
        store.aws(&[&["s3api", "upload-part"], &key[..], &sent].concat()).await;
    }
}

async fn resumed(through: S3, folder: &Path, saved: Value) -> Value {
    let again = StepBench::new().with("bucket", through).attempt(2).checkpoint(saved);
    again.run(&SyncStep, json!({ "directory": folder })).await.output()
}

#[tokio::test]
async fn whoever_goes_on_sends_those_parts_that_are_missing() {
    for store in all_stores().await {
        let bucket = store.bucket("resumed").await;
        let (folder, all) = (folder(&store, "resumed"), noise(5, LARGE));
        write(&folder, "large", &all);
        let saved = killed(&store, "resumed", &folder).await;
        send_parts(&store, "resumed", &saved, &all[..BEFORE]).await;
        // Those would not come through a second time.
        let is_there = |head: &str| {
            let is_part = |number| head.starts_with("PUT ") && head.contains(&format!("partNumber={number}&"));
            is_part(1) || is_part(2)
        };
        let output = resumed(store.denying("resumed", is_there).await, &folder, saved).await;
        assert_eq!(output["created"], json!(1), "{}", store.name);
        assert!(
            content(&bucket, "large").await == Some(all),
            "{}: other content",
            store.name
        );
        let left = bucket.unfinished_uploads("").await.expect("listed");
        assert!(left.is_empty(), "{}: {left:?}", store.name);
    }
}

/// Parts of another content are of no use, nor is an upload of what is not wanted any more.
#[tokio::test]
async fn what_changed_is_begun_anew_and_what_is_gone_is_ended() {
    for store in all_stores().await {
        let bucket = store.bucket("anew").await;
        for changed in [true, false] {
            let folder = folder(&store, if changed { "changed" } else { "gone" });
            write(&folder, "large", noise(6, LARGE));
            let saved = killed(&store, "anew", &folder).await;
            let all = noise(7, LARGE);
            if changed {
                write(&folder, "large", &all);
            } else {
                std::fs::remove_file(folder.join("large")).expect("removed");
            }
            resumed(store.connection("anew").await, &folder, saved).await;
            let there = content(&bucket, "large").await;
            assert!(
                there == changed.then_some(all),
                "{} {changed}: other content",
                store.name
            );
            let left = bucket.unfinished_uploads("").await.expect("listed");
            assert!(left.is_empty(), "{} {changed}: {left:?}", store.name);
            bucket.delete("large", None).await.expect("deleted");
        }
    }
}

/// A line that breaks in the middle: the next attempt goes on, and what fails for good is ended.
#[tokio::test]
async fn what_had_no_answer_stays_for_the_next_attempt() {
    let store = sandbox().await;
    let bucket = store.bucket("unanswered").await;
    let (folder, all) = (folder(&store, "unanswered"), noise(8, LARGE));
    write(&folder, "large", &all);
    for (status, code, left) in [
        ("503 Unavailable", "ServiceUnavailable", 1),
        ("403 Forbidden", "AccessDenied", 0),
    ] {
        let body = format!("<Error><Code>{code}</Code><Message>no</Message></Error>").leak();
        let is_meant = |head: &str| head.starts_with("PUT ") && head.contains("partNumber=4&");
        let line = store.over("unanswered", Refusal { is_meant, status, body }).await;
        let ran = StepBench::new()
            .with("bucket", line)
            .run(&SyncStep, json!({ "directory": folder }))
            .await;
        let saved = ran.checkpoints.last().expect("saved").clone();
        ran.error();
        let uploads = bucket.unfinished_uploads("").await.expect("listed");
        assert_eq!(uploads.len(), left, "{code}");
        if left > 0 {
            let is_first = |head: &str| head.starts_with("PUT ") && head.contains("partNumber=1&");
            resumed(store.denying("unanswered", is_first).await, &folder, saved).await;
            assert!(content(&bucket, "large").await == Some(all.clone()));
            bucket.delete("large", None).await.expect("deleted");
        }
    }
}

/// The rest alone is asked for; and what turns out to be the beginning of something else comes whole.
#[tokio::test]
async fn a_large_object_comes_from_where_it_was_cut_off() {
    for store in all_stores().await {
        let bucket = store.bucket("down").await;
        let all = noise(9, LARGE);
        bucket.put("large", &all[..], told(&all)).await.expect("written");
        let folder = folder(&store, "down");
        let input = json!({ "directory": folder, "to": "directory" });
        let is_not_the_rest = |head: &str| {
            let head = head.to_lowercase();
            head.starts_with("get /down/large") && !head.contains(&format!("range: bytes={BEFORE}-"))
        };
        let strict = StepBench::new().with("bucket", store.denying("down", is_not_the_rest).await);
        for (begun, bench) in [
            (all[..BEFORE].to_vec(), strict.clone()),
            (all.clone(), strict),
            (vec![0; BEFORE], bench(&store, "down").await),
        ] {
            write(&folder, "large.jm-partial", &begun);
            bench.run(&SyncStep, input.clone()).await.output();
            assert!(
                std::fs::read(folder.join("large")).expect("a file") == all,
                "{}",
                store.name
            );
            assert!(!folder.join("large.jm-partial").exists(), "{}", store.name);
            std::fs::remove_file(folder.join("large")).expect("removed");
        }
    }
}

/// A kill while the rest comes leaves what came.
#[tokio::test]
async fn a_line_that_breaks_leaves_what_came_of_a_large_object() {
    let store = sandbox().await;
    let bucket = store.bucket("broken").await;
    let all = noise(10, LARGE);
    bucket.put("large", &all[..], told(&all)).await.expect("written");
    let folder = folder(&store, "broken");
    write(&folder, "large.jm-partial", &all[..BEFORE]);
    let input = json!({ "directory": folder, "to": "directory" });
    let body = "<Error><Code>ServiceUnavailable</Code><Message>no</Message></Error>";
    let words = &["GET ", "/large"];
    let line = store.answering("broken", words, "503 Unavailable", body).await;
    let error = StepBench::new()
        .with("bucket", line)
        .run(&SyncStep, input)
        .await
        .error();
    assert!(error.kind().is_transient(), "{error}");
    let left = std::fs::metadata(folder.join("large.jm-partial")).expect("it stays");
    assert_eq!(left.len(), BEFORE as u64);
}

/// Nobody goes on with the run that was killed: the next one ends what it left, and nothing of others.
#[tokio::test]
async fn an_upload_that_another_sync_left_is_ended_by_the_next_one() {
    let store = sandbox().await;
    let bucket = store.bucket("left").await;
    let folder = folder(&store, "left");
    write(&folder, "large", noise(11, LARGE));
    let input = json!({ "directory": folder });
    let words = ["s3api", "create-multipart-upload", "--bucket", "left", "--key", "large"];
    let of_other = store.aws(&words).await["UploadId"].as_str().expect("an id").to_owned();
    let bench = StepBench::new().with("bucket", store.noting("left").await);
    let cut = bench.run_until(&SyncStep, input.clone(), 2).await;
    assert!(cut.result.is_none());
    assert_eq!(bucket.unfinished_uploads("").await.expect("listed").len(), 2);
    bench.run(&SyncStep, input).await.output();
    let left = bucket.unfinished_uploads("").await.expect("listed");
    assert_eq!(
        left.iter().map(jm_client_s3::UnfinishedUpload::id).collect::<Vec<_>>(),
        [of_other]
    );
}
