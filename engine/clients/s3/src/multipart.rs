//! An upload in parts: a few at a time, checked one by one and as a whole, ended where it cannot be finished.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};
use tokio::io::AsyncRead;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use jm_step::{StepError, StepErrorKind};

use crate::begun::SentPart;
use crate::own::Note;
use crate::pace::insist;
use crate::put::{FIRST_PART, MOST_PARTS, part_size, read_part};
use crate::transport::patient;
use crate::{Checksum, Hasher, ObjectInfo, Put, S3Bucket, Uploaded, checksum};

/// So much may be on its way at once; a larger part goes alone.
const IN_FLIGHT: u64 = 3 * FIRST_PART;

impl S3Bucket {
    pub(crate) async fn put_parts(
        &self,
        key: &str,
        first: Bytes,
        body: impl AsyncRead + Send + Unpin,
        put: &Put,
    ) -> Result<Uploaded, StepError> {
        let id = self.create_upload(key, put).await?;
        let mut upload = Upload::new(Pending::new(self, key, &id), BTreeMap::new());
        match upload.finish(first, body, put).await {
            Ok(uploaded) => Ok(uploaded),
            Err(error) => {
                upload.abort().await;
                Err(error)
            }
        }
    }

    /// Begins an upload, and tells its id.
    pub(crate) async fn create_upload(&self, key: &str, put: &Put) -> Result<String, StepError> {
        let doing = self.on_object("write", key, "s3:PutObject");
        let crc = self.0.compatibility.has_checksums();
        let (encryption, kms_key) = self.encryption();
        let (lock, until) = self.lock();
        let call = || {
            let call = self.0.client.create_multipart_upload().bucket(&self.0.bucket);
            call.key(self.full(key))
                .set_checksum_algorithm(crc.then_some(ChecksumAlgorithm::Crc64Nvme))
                .set_checksum_type(crc.then_some(ChecksumType::FullObject))
                .set_content_type(put.content_type.clone())
                .set_cache_control(put.cache_control.clone())
                .set_content_encoding(put.headers.content_encoding.clone())
                .set_content_disposition(put.headers.content_disposition.clone())
                .set_content_language(put.headers.content_language.clone())
                .set_expires(put.headers.expires())
                .set_tagging(put.tags.clone())
                .set_metadata(Some(put.metadata.clone().into_iter().collect()))
                .set_storage_class(self.storage_class())
                .set_server_side_encryption(encryption.clone())
                .set_ssekms_key_id(kms_key.clone())
                .set_object_lock_mode(lock.clone())
                .set_object_lock_retain_until_date(until)
                .send()
        };
        let output = insist(call).await.map_err(|error| doing.failed(&error))?;
        let id = output.upload_id().map(str::to_owned);
        id.ok_or_else(|| StepError::failed(format!("{doing}: the store named no upload")))
    }
}

/// An upload in parts under way. Dropped before its end, it is ended on the store.
pub(crate) struct Pending {
    bucket: S3Bucket,
    key: String,
    id: Option<String>,
    note: Option<Note>,
    /// Whether whoever goes on with it has its id, so that it is not ended with this process's work.
    is_kept: bool,
}

impl Pending {
    pub(crate) fn new(bucket: &S3Bucket, key: &str, id: &str) -> Self {
        Self {
            bucket: bucket.clone(),
            key: key.to_owned(),
            id: Some(id.to_owned()),
            note: bucket.note(key, id),
            is_kept: false,
        }
    }

    /// One whose id whoever goes on has: dropped, it stays for them.
    pub(crate) fn begun(bucket: &S3Bucket, key: &str, id: &str, note: Option<Note>) -> Self {
        Self {
            bucket: bucket.clone(),
            key: key.to_owned(),
            id: Some(id.to_owned()),
            note: note.or_else(|| bucket.note(key, id)),
            is_kept: true,
        }
    }

    /// The upload's id.
    pub(crate) fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    /// It became an object.
    pub(crate) fn done(&mut self) {
        self.id = None;
        if let Some(note) = self.note.take() {
            note.over();
        }
    }

    /// Ends the upload on the store, so that its parts are not paid for.
    pub(crate) async fn abort(&mut self) {
        if let Some(id) = self.id.take() {
            abort(&self.bucket, &self.key, &id).await;
            self.note = None;
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let Some(id) = self.id.take().filter(|_| !self.is_kept) else {
            return;
        };
        let (bucket, key, note) = (self.bucket.clone(), self.key.clone(), self.note.take());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(async move {
                abort(&bucket, &key, &id).await;
                drop(note);
            }));
        }
    }
}

/// A part that was sent, and its memory where nothing holds that any more.
type Sent = (CompletedPart, Option<BytesMut>);

/// An upload of a stream.
pub(crate) struct Upload {
    // Its parts are given up before it is.
    tasks: JoinSet<Result<Sent, StepError>>,
    pending: Pending,
    /// Parts that the store had before, by number.
    sent: BTreeMap<u32, SentPart>,
    parts: Vec<CompletedPart>,
    /// Memory of parts that were sent.
    spare: Vec<BytesMut>,
    crc: Hasher,
    bytes: u64,
}

impl Upload {
    pub(crate) fn new(pending: Pending, sent: BTreeMap<u32, SentPart>) -> Self {
        Self {
            pending,
            sent,
            tasks: JoinSet::new(),
            parts: Vec::new(),
            spare: Vec::new(),
            crc: Hasher::crc64(),
            bytes: 0,
        }
    }

    pub(crate) async fn finish(
        &mut self,
        first: Bytes,
        mut body: impl AsyncRead + Send + Unpin,
        put: &Put,
    ) -> Result<Uploaded, StepError> {
        let room = Arc::new(Semaphore::new(tokens(IN_FLIGHT)));
        let mut part = first;
        let mut number = 1;
        while !part.is_empty() {
            self.crc.update(&part);
            self.bytes += part.len() as u64;
            self.take(number, part, &room).await?;
            number += 1;
            let memory = self.spare.pop().unwrap_or_default();
            part = read_part(&mut body, part_size(number, put.bytes), memory).await?;
            if number > MOST_PARTS && !part.is_empty() {
                return Err(self.too_large());
            }
        }
        while let Some(done) = self.tasks.join_next().await {
            self.sent(done)?;
        }
        self.parts.sort_by_key(CompletedPart::part_number);
        let uploaded = self.complete(put).await?;
        self.pending.done();
        Ok(uploaded)
    }

    /// A part that the store has is not sent again.
    async fn take(&mut self, number: u32, part: Bytes, room: &Arc<Semaphore>) -> Result<(), StepError> {
        let with_crc = self.pending.bucket.0.compatibility.has_checksums();
        let known = self.sent.get(&number);
        match known.and_then(|sent| sent.completed(number, &part, with_crc)) {
            Some(known) => {
                self.parts.push(known);
                self.spare.extend(part.try_into_mut().ok());
                Ok(())
            }
            None => self.send(number, part, room).await,
        }
    }

    /// Starts to send a part as soon as there is room, and learns meanwhile of those that failed.
    async fn send(&mut self, number: u32, part: Bytes, room: &Arc<Semaphore>) -> Result<(), StepError> {
        let tokens = u32::try_from(tokens(part.len() as u64)).unwrap_or(u32::MAX);
        let permit = loop {
            tokio::select! {
                biased;
                Some(done) = self.tasks.join_next() => self.sent(done)?,
                permit = room.clone().acquire_many_owned(tokens) => break permit,
            }
        };
        let pending = &self.pending;
        let (bucket, key, id) = (pending.bucket.clone(), pending.key.clone(), pending.id().to_owned());
        self.tasks.spawn(async move {
            let sent = send_part(&bucket, &key, &id, number, part.clone()).await;
            drop(permit);
            sent.map(|sent| (sent, part.try_into_mut().ok()))
        });
        Ok(())
    }

    fn sent(&mut self, done: Result<Result<Sent, StepError>, JoinError>) -> Result<(), StepError> {
        let (part, memory) = joined(done)?;
        self.parts.push(part);
        self.spare.extend(memory);
        Ok(())
    }

    async fn complete(&self, put: &Put) -> Result<Uploaded, StepError> {
        let crc = self.crc.value();
        let (bucket, key) = (&self.pending.bucket, &self.pending.key);
        let with_crc = bucket.0.compatibility.has_checksums();
        let shared = &bucket.0;
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(self.parts.clone()))
            .build();
        let call = || {
            let call = shared.client.complete_multipart_upload().bucket(&shared.bucket);
            call.key(bucket.full(key))
                .upload_id(self.pending.id())
                .multipart_upload(parts.clone())
                .set_checksum_crc64_nvme(with_crc.then(|| crc.clone()))
                .set_checksum_type(with_crc.then_some(ChecksumType::FullObject))
                .set_if_none_match(bucket.if_none_match(put))
                .customize()
                .config_override(patient())
                .send()
        };
        match insist(call).await {
            Ok(output) => Ok(self.uploaded(&output, &crc)),
            Err(error) => {
                let doing = bucket.on_object("write", key, "s3:PutObject");
                let lost = error.as_service_error().and_then(ProvideErrorMetadata::code) == Some("NoSuchUpload");
                let failed = doing.failed(&error);
                // A second try of a request that was taken finds no upload, or its own object in the way.
                if lost || failed.kind().is_transient() || failed.kind() == StepErrorKind::Conflict {
                    self.taken_after_all(&crc).await.ok_or(failed)
                } else {
                    Err(failed)
                }
            }
        }
    }

    /// The answer to the last request was lost: is the object there all the same?
    async fn taken_after_all(&self, crc: &str) -> Option<Uploaded> {
        let info: ObjectInfo = self.pending.bucket.head(&self.pending.key, None).await.ok()??;
        let same = info.bytes == self.bytes
            && match &info.checksum {
                Some(checksum) => checksum.value == crc,
                // A store that keeps none makes an ETag of those of the parts.
                None => info.etag.is_some() && info.etag == etag_of(&self.parts),
            };
        same.then(|| Uploaded {
            bytes: self.bytes,
            etag: info.etag,
            version_id: info.version_id,
            checksum: Checksum::new("crc64nvme", crc),
            parts: self.count(),
        })
    }

    fn uploaded(&self, output: &CompleteMultipartUploadOutput, crc: &str) -> Uploaded {
        Uploaded {
            bytes: self.bytes,
            etag: output.e_tag().map(str::to_owned),
            version_id: output.version_id().map(str::to_owned),
            checksum: Checksum::new("crc64nvme", crc),
            parts: self.count(),
        }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.parts.len()).unwrap_or(u32::MAX)
    }

    fn too_large(&self) -> StepError {
        StepError::failed(format!(
            "`{}` is too large: {MOST_PARTS} parts are full after {} bytes",
            self.pending.bucket.url(&self.pending.key),
            self.bytes
        ))
        .hint("say how large it will be, or split it")
    }

    pub(crate) async fn abort(&mut self) {
        self.tasks.shutdown().await;
        self.pending.abort().await;
    }
}

async fn abort(bucket: &S3Bucket, key: &str, id: &str) {
    // What led here is the error that counts; the next run, or a lifecycle rule, removes what is left.
    drop(bucket.end_upload(key, id).await);
}

async fn send_part(
    bucket: &S3Bucket,
    key: &str,
    id: &str,
    number: u32,
    part: Bytes,
) -> Result<CompletedPart, StepError> {
    let doing = bucket.on_object("write", key, "s3:PutObject");
    let number = i32::try_from(number).unwrap_or(i32::MAX);
    let (crc, md5) = bucket.sums(&checksum::crc64(&part), &part);
    let shared = &bucket.0;
    let call = || {
        let call = shared.client.upload_part().bucket(&shared.bucket).key(bucket.full(key));
        call.upload_id(id)
            .part_number(number)
            .set_checksum_crc64_nvme(crc.clone())
            .set_content_md5(md5.clone())
            .body(ByteStream::from(part.clone()))
            .customize()
            .config_override(patient())
            .send()
    };
    let output = insist(call).await.map_err(|error| doing.failed(&error))?;
    Ok(CompletedPart::builder()
        .part_number(number)
        .set_e_tag(output.e_tag().map(str::to_owned))
        .set_checksum_crc64_nvme(crc)
        .build())
}

/// The ETag of an object of these parts, where theirs are MD5s.
pub(crate) fn etag_of(parts: &[CompletedPart]) -> Option<String> {
    let sums = parts
        .iter()
        .map(|part| hex::decode(part.e_tag()?.trim_matches('"')).ok());
    let sums: Vec<u8> = sums.collect::<Option<Vec<_>>>()?.concat();
    (sums.len() == parts.len() * 16).then(|| format!("\"{}-{}\"", checksum::etag(&sums), parts.len()))
}

fn joined<T>(done: Result<Result<T, StepError>, JoinError>) -> Result<T, StepError> {
    done.map_err(|error| StepError::failed("sending a part was ended").source(error))?
}

/// One token for each MiB, and no more than there are.
fn tokens(bytes: u64) -> usize {
    usize::try_from(bytes.min(IN_FLIGHT).div_ceil(1024 * 1024)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_etags_of_parts_make_that_of_the_object() {
        let part = |etag: &str| CompletedPart::builder().e_tag(etag).build();
        let of = |content: &[u8]| part(&format!("\"{}\"", checksum::etag(content)));
        let mut hasher = Checksum::of_parts("", 4).hasher().expect("known");
        hasher.update(b"abcdef");
        let expected = format!("\"{}\"", hasher.value());
        assert_eq!(etag_of(&[of(b"abcd"), of(b"ef")]), Some(expected));
        assert_eq!(etag_of(&[of(b"abcd"), part("\"other\"")]), None);
    }
}
