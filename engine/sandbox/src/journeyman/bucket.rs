//! The bucket of the backups: what is in it, and what befalls it.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::primitives::ByteStream;
use sha2::{Digest, Sha256};

use super::{BUCKET, s3};
use crate::{Description, SandboxError};

/// Every object of the bucket by its key, with the SHA-256 of its content; none where the bucket is gone.
pub async fn stored(sandbox: &Description) -> Result<BTreeMap<String, String>, SandboxError> {
    let s3 = s3(sandbox);
    let mut stored = BTreeMap::new();
    if s3.head_bucket().bucket(BUCKET).send().await.is_err() {
        return Ok(stored);
    }
    for key in keys(&s3).await? {
        let got = s3.get_object().bucket(BUCKET).key(&key).send().await;
        let body = got.map_err(failed("read an object"))?.body.collect().await;
        let content = body.map_err(SandboxError::furnish("read an object"))?.into_bytes();
        stored.insert(key, hex::encode(Sha256::digest(&content)));
    }
    Ok(stored)
}

/// Every other object is deleted, the rest overwritten: in a later second than what was there before, for stores tell
/// times by the second.
pub async fn damage_objects(sandbox: &Description) -> Result<(), SandboxError> {
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let s3 = s3(sandbox);
    for (number, key) in keys(&s3).await?.into_iter().enumerate() {
        if number % 2 == 0 {
            let deleted = s3.delete_object().bucket(BUCKET).key(key).send().await;
            deleted.map(drop).map_err(failed("delete an object"))?;
        } else {
            let content = ByteStream::from_static(b"encrypted by somebody else");
            let put = s3.put_object().bucket(BUCKET).key(key).body(content).send().await;
            put.map(drop).map_err(failed("overwrite an object"))?;
        }
    }
    Ok(())
}

/// The bucket is gone, with every version of everything in it.
pub async fn lose_bucket(sandbox: &Description) -> Result<(), SandboxError> {
    let s3 = s3(sandbox);
    loop {
        let listed = s3.list_object_versions().bucket(BUCKET).send().await;
        let listed = listed.map_err(failed("empty the bucket"))?;
        let versions = listed.versions().iter().map(|one| (one.key(), one.version_id()));
        let markers = listed.delete_markers().iter().map(|one| (one.key(), one.version_id()));
        let all: Vec<_> = versions.chain(markers).collect();
        if all.is_empty() {
            break;
        }
        for (key, version) in all {
            let delete = s3.delete_object().bucket(BUCKET).set_key(key.map(str::to_owned));
            let deleted = delete.set_version_id(version.map(str::to_owned)).send().await;
            deleted.map_err(failed("empty the bucket"))?;
        }
    }
    let deleted = s3.delete_bucket().bucket(BUCKET).send().await;
    deleted.map(drop).map_err(failed("delete the bucket"))
}

async fn keys(s3: &Client) -> Result<Vec<String>, SandboxError> {
    let mut pages = s3.list_objects_v2().bucket(BUCKET).into_paginator().send();
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(failed("list the bucket"))?;
        keys.extend(
            page.contents()
                .iter()
                .filter_map(|object| object.key().map(str::to_owned)),
        );
    }
    Ok(keys)
}

pub(super) fn failed<E: std::error::Error>(action: &'static str) -> impl FnOnce(E) -> SandboxError {
    move |error| SandboxError::Furnish {
        action,
        reason: DisplayErrorContext(error).to_string(),
    }
}
