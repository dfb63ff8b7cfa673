//! A bucket as a location. An upload in parts is no object before its end, and an object without a manifest counts for
//! nothing, so no other name is needed while it is written.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use jm_client_s3::{Get, Put, S3Bucket, unwrap_step_error};
use jm_step::{StepError, StepErrorKind};
use tokio_util::io::StreamReader;

use super::{Found, Stored, Trace};
use crate::flow::{Failure, Flow, flow};
use crate::name::BackupName;

pub(super) async fn list(bucket: &S3Bucket) -> Result<Vec<Found>, StepError> {
    let found = bucket.list("").map_ok(|object| Found {
        file: object.key,
        bytes: object.bytes,
    });
    // Keys with a slash are in folders below ours, and not ours.
    found
        .try_filter(|found| std::future::ready(!found.file.contains('/')))
        .try_collect()
        .await
}

pub(super) async fn head(bucket: &S3Bucket, file: &str, length: u64) -> Result<(Bytes, u64), StepError> {
    let get = Get {
        length: Some(length),
        ..Get::default()
    };
    let stream = match bucket.get(file, get).await {
        Ok(stream) => stream,
        // The range of an empty object cannot be satisfied.
        Err(error) => match bucket.head(file, None).await? {
            Some(info) if info.bytes == 0 => return Ok((Bytes::new(), 0)),
            _ => return Err(error),
        },
    };
    let bytes = stream.info().bytes;
    let chunks: Vec<Bytes> = stream.into_stream().try_collect().await.map_err(unwrap_step_error)?;
    Ok((chunks.concat().into(), bytes))
}

pub(super) async fn trace(bucket: &S3Bucket, file: &str, manifest: &str) -> Result<Trace, StepError> {
    let (file, manifest) = tokio::try_join!(bucket.head(file, None), bucket.head(manifest, None))?;
    let Some((mut file, manifest)) = file.zip(manifest) else {
        return Ok(Trace::Later);
    };
    Ok(match file.metadata.remove("sha256") {
        Some(noted) => Trace::Noted(noted),
        None if file.last_modified <= manifest.last_modified => Trace::AsManifest,
        None => Trace::Later,
    })
}

pub(super) async fn read(bucket: &S3Bucket, file: &str) -> Result<Flow, StepError> {
    let mut chunks = bucket.get(file, Get::default()).await?.into_stream();
    let (sender, output) = flow();
    tokio::spawn(async move {
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(bytes) => {
                    if sender.send(bytes).await.is_err() {
                        return;
                    }
                }
                Err(error) => return sender.fail(Failure::Source(unwrap_step_error(error))).await,
            }
        }
        drop(sender.end().await);
    });
    Ok(output)
}

pub(super) async fn store(bucket: &S3Bucket, file: &str, flow: Flow) -> Result<Stored, Failure> {
    let chunks = stream::try_unfold(flow, |mut flow| async move {
        match flow.next().await {
            Ok(Some(bytes)) => Ok(Some((bytes, flow))),
            Ok(None) => Ok(None),
            Err(Failure::Step(error) | Failure::Source(error)) => Err(std::io::Error::other(error)),
            Err(Failure::Content(error)) => Err(std::io::Error::other(error)),
        }
    });
    let put = Put {
        content_type: Some("application/pgp-encrypted".to_owned()),
        if_absent: true,
        ..Put::default()
    };
    let uploaded = bucket.put(file, StreamReader::new(chunks.boxed()), put).await?;
    let info = bucket.head(file, None).await?;
    let there = info.as_ref().map(|info| info.bytes);
    let sums = info.as_ref().and_then(|info| info.checksum.as_ref());
    if there != Some(uploaded.bytes) || sums.is_some_and(|sum| *sum != uploaded.checksum) {
        return Err(Failure::Step(StepError::failed(format!(
            "`{}` is not what was sent: the store has {there:?} bytes of {}",
            bucket.url(file),
            uploaded.bytes
        ))));
    }
    Ok(Stored::S3 { file: file.to_owned() })
}

pub(super) async fn end_uploads(bucket: &S3Bucket, before: Timestamp) -> Result<Vec<String>, StepError> {
    let mut ended = Vec::new();
    for upload in bucket.unfinished_uploads("").await? {
        let is_backup = upload.key.parse::<BackupName>().is_ok();
        if is_backup && upload.initiated.is_some_and(|begun| begun < before) {
            bucket.end_upload(&upload.key, upload.id()).await?;
            ended.push(upload.key);
        }
    }
    Ok(ended)
}

pub(super) async fn put_manifest(bucket: &S3Bucket, file: &str, manifest: Bytes) -> Result<(), StepError> {
    let put = Put {
        content_type: Some("application/json".to_owned()),
        if_absent: true,
        ..Put::default()
    };
    match bucket.put_bytes(file, manifest.clone(), put).await {
        Ok(_) => Ok(()),
        // A request whose answer was lost, sent once more, finds its own work.
        Err(error) if error.kind() == StepErrorKind::Conflict => {
            let there = bucket.get_bytes(file, manifest.len() as u64).await?;
            if there == manifest { Ok(()) } else { Err(error) }
        }
        Err(error) => Err(error),
    }
}
