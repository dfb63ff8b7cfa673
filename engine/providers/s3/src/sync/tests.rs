//! Against the stores.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests make and read files of their own"
)]

use std::path::Path;

use jm_client_s3::{Get, Put, S3Bucket};
use jm_step::{Action, Grade, StepErrorKind};
use jm_testkit::line::Refusal;
use jm_testkit::{StepBench, noise};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use super::*;
use crate::store::{Store, all_stores, ministack, sandbox, stores, versitygw};

mod copies;
mod downloads;
mod manifests;
mod proofs;
mod resumed;
mod uploads;

async fn bench(store: &Store, bucket: &str) -> StepBench {
    StepBench::new().with("bucket", store.connection(bucket).await)
}

/// A folder of its own for each store and test.
fn folder(store: &Store, name: &str) -> PathBuf {
    let folder = store.files().join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, content).expect("a file");
}

async fn content(bucket: &S3Bucket, key: &str) -> Option<Vec<u8>> {
    bucket.head(key, None).await.expect("an answer")?;
    let mut content = Vec::new();
    let mut stream = bucket.get(key, Get::default()).await.expect("readable");
    stream.read_to_end(&mut content).await.expect("whole");
    Some(content)
}

async fn keys(bucket: &S3Bucket) -> Vec<String> {
    use futures::TryStreamExt;
    let listed: Vec<_> = bucket.list("").try_collect().await.expect("a listing");
    listed.into_iter().map(|object| object.key).collect()
}

/// Metadata that tell the content's sum, as jm writes them: of an upload in parts not every store keeps one.
fn told(content: &[u8]) -> Put {
    use sha2::Digest;
    let sha256 = hex::encode(sha2::Sha256::digest(content));
    Put {
        metadata: [("sha256".to_owned(), sha256)].into(),
        ..Put::default()
    }
}

#[test]
fn odd_inputs_are_refused() {
    for (more, pointer) in [
        (json!({ "concurrency": 0 }), "/concurrency"),
        (json!({ "headers": [{ "match": "*" }] }), "/headers/0"),
        (json!({ "manifests": { "ending": "" } }), "/manifests/ending"),
        (json!({ "to": "directory", "follow_links": true }), "/follow_links"),
        (
            json!({ "to": "directory", "headers": [{ "match": "*", "cache_control": "x" }] }),
            "/headers",
        ),
    ] {
        let mut input = json!({ "directory": "/x" });
        input
            .as_object_mut()
            .expect("fields")
            .extend(more.as_object().expect("fields").clone());
        let input: Input = serde_json::from_value(input).expect("decodes");
        let issues = StepType::check(&SyncStep, &input).expect_err("refused");
        assert_eq!(issues[0].pointer, pointer);
    }
}

#[test]
fn only_what_overwrites_or_deletes_cannot_be_taken_back() {
    let effect = |input: Value| StepType::effect(&SyncStep, &Known::new(input));
    assert_eq!(effect(json!({})), Effect::Irreversible);
    assert_eq!(effect(json!({ "existing": "keep" })), Effect::Reversible);
    assert_eq!(
        effect(json!({ "existing": "keep", "delete": { "at_most": 1 } })),
        Effect::Irreversible
    );
}
