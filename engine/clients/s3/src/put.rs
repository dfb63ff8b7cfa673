//! Writing an object from a stream whose length nobody knows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::operation::put_object::PutObjectOutput;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use jm_step::{StepError, StepErrorKind};

use crate::error::unwrap_step_error;
use crate::pace::insist;
use crate::transport::patient;
use crate::{Checksum, Encryption, ObjectInfo, OtherHeaders, Pace, S3Bucket, checksum};

const MIB: u64 = 1024 * 1024;
/// What fits into this goes in one request; everything larger in parts of at least this size.
pub(crate) const FIRST_PART: u64 = 8 * MIB;
/// As many parts as S3 allows.
pub(crate) const MOST_PARTS: u32 = 10_000;

/// How an object is written.
#[derive(Debug, Clone, Default)]
pub struct Put {
    /// Such as `application/pgp-encrypted`.
    pub content_type: Option<String>,
    /// Such as `public, max-age=31536000, immutable`.
    pub cache_control: Option<String>,
    /// What else readers are told.
    pub headers: OtherHeaders,
    /// Its tags, as a query: `name=value&…`, percent-encoded.
    pub tags: Option<String>,
    /// Written beside it; keys in lower case.
    pub metadata: BTreeMap<String, String>,
    /// Only where no object has this key; otherwise a conflict. A store that lacks conditional writes is asked first.
    pub if_absent: bool,
    /// The size as far as it is known: parts are then as large as they have to be from the first on. A stream that
    /// turns out shorter or longer is written as it is.
    pub bytes: Option<u64>,
}

/// An object that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Its size.
    pub bytes: u64,
    /// Changes whenever the content does. Not a checksum of anything.
    pub etag: Option<String>,
    /// Its version, where the bucket keeps versions.
    pub version_id: Option<String>,
    /// CRC-64/NVME over the whole object; the store has checked the same, unless its `compatibility` lacks them.
    pub checksum: Checksum,
    /// How many parts it was sent in; 1 for a single request.
    pub parts: u32,
}

impl S3Bucket {
    /// Writes an object from a stream to its end. Nothing is there before the end: a stream that fails, or a future
    /// that is dropped, leaves no object, and an upload in parts is ended. Holds a few parts at a time, of 8 MiB below
    /// 40 GiB.
    ///
    /// # Errors
    /// Those of the store; and an error of the stream itself as the step error inside it, else as `Failed`.
    pub async fn put(
        &self,
        key: &str,
        mut body: impl AsyncRead + Send + Unpin,
        put: Put,
    ) -> Result<Uploaded, StepError> {
        self.refuse_taken(key, &put).await?;
        let size = part_size(1, put.bytes);
        let first = read_part(&mut body, size, BytesMut::new()).await?;
        // A full part may be followed by nothing, which costs two more requests; what was said of the size may be wrong.
        if (first.len() as u64) < size {
            return Box::pin(self.put_whole(key, first, &put)).await;
        }
        Box::pin(self.put_parts(key, first, body, &put)).await
    }

    /// Writes a small object that is in memory anyway.
    pub async fn put_bytes(&self, key: &str, content: impl Into<Bytes>, put: Put) -> Result<Uploaded, StepError> {
        let content: Bytes = content.into();
        self.put(key, &content[..], put).await
    }

    /// Writes one of many small objects, in one request, when it is its turn. What is too large for that is refused.
    pub async fn put_small(&self, pace: &Pace, key: &str, content: Bytes, put: &Put) -> Result<Uploaded, StepError> {
        let doing = self.on_object("write", key, "s3:PutObject");
        if content.len() as u64 > FIRST_PART {
            return Err(StepError::failed(format!("{doing}: it is not small")));
        }
        self.refuse_taken(key, put).await?;
        let crc = checksum::crc64(&content);
        let tries = Tries::default();
        let call = || {
            let call = self.whole(self.0.once.put_object(), key, &content, &crc, put);
            call.customize().interceptor(tries.clone()).send()
        };
        match pace.send(&doing, call).await {
            Ok(output) => Ok(uploaded_whole(&output, content.len(), &crc)),
            Err(error) => Box::pin(self.taken_before(key, &content, &crc, &tries, error)).await,
        }
    }

    async fn put_whole(&self, key: &str, content: Bytes, put: &Put) -> Result<Uploaded, StepError> {
        let doing = self.on_object("write", key, "s3:PutObject");
        let crc = checksum::crc64(&content);
        let tries = Tries::default();
        let call = || {
            let call = self.whole(self.0.client.put_object(), key, &content, &crc, put);
            let call = call.customize().config_override(patient());
            call.interceptor(tries.clone()).send()
        };
        match insist(call).await {
            Ok(output) => Ok(uploaded_whole(&output, content.len(), &crc)),
            Err(error) => {
                let failed = doing.failed(&error);
                self.taken_before(key, &content, &crc, &tries, failed).await
            }
        }
    }

    /// Where the answer to an earlier try was lost, what is in the way of a later one may be our own.
    async fn taken_before(
        &self,
        key: &str,
        content: &[u8],
        crc: &str,
        tries: &Tries,
        error: StepError,
    ) -> Result<Uploaded, StepError> {
        if error.kind() != StepErrorKind::Conflict || tries.count() < 2 {
            return Err(error);
        }
        match self.head(key, None).await {
            Ok(Some(info)) if is_of(&info, content, crc) => Ok(Uploaded {
                bytes: info.bytes,
                etag: info.etag,
                version_id: info.version_id,
                checksum: Checksum::new("crc64nvme", crc),
                parts: 1,
            }),
            _ => Err(error),
        }
    }

    fn whole(
        &self,
        call: PutObjectFluentBuilder,
        key: &str,
        content: &Bytes,
        crc: &str,
        put: &Put,
    ) -> PutObjectFluentBuilder {
        let (sent_crc, md5) = self.sums(crc, content);
        let (encryption, kms_key) = self.encryption();
        let (lock, until) = self.lock();
        call.bucket(&self.0.bucket)
            .key(self.full(key))
            .set_checksum_crc64_nvme(sent_crc)
            .set_content_md5(md5)
            .set_content_type(put.content_type.clone())
            .set_cache_control(put.cache_control.clone())
            .set_content_encoding(put.headers.content_encoding.clone())
            .set_content_disposition(put.headers.content_disposition.clone())
            .set_content_language(put.headers.content_language.clone())
            .set_expires(put.headers.expires())
            .set_tagging(put.tags.clone())
            .set_metadata(Some(put.metadata.clone().into_iter().collect()))
            .set_storage_class(self.storage_class())
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(kms_key)
            .set_object_lock_mode(lock)
            .set_object_lock_retain_until_date(until)
            .set_if_none_match(self.if_none_match(put))
            .body(ByteStream::from(content.clone()))
    }

    /// The checksum headers of a request: CRC-64 for stores that know it, MD5 for the others.
    pub(crate) fn sums(&self, crc: &str, content: &[u8]) -> (Option<String>, Option<String>) {
        if self.0.compatibility.has_checksums() {
            (Some(crc.to_owned()), None)
        } else {
            (None, Some(checksum::md5(content)))
        }
    }

    pub(crate) fn storage_class(&self) -> Option<StorageClass> {
        self.0.storage_class.as_deref().map(StorageClass::from)
    }

    pub(crate) fn encryption(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match &self.0.encryption {
            None => (None, None),
            Some(Encryption::S3) => (Some(ServerSideEncryption::Aes256), None),
            Some(Encryption::KmsKey(key)) => (Some(ServerSideEncryption::AwsKms), Some(key.clone())),
        }
    }

    pub(crate) fn if_none_match(&self, put: &Put) -> Option<String> {
        (put.if_absent && self.0.compatibility.has_conditional_writes()).then(|| "*".to_owned())
    }

    /// Where an existing object is not to be overwritten, and the store itself does not see to that.
    pub(crate) async fn refuse_taken(&self, key: &str, put: &Put) -> Result<(), StepError> {
        if !put.if_absent || self.0.compatibility.has_conditional_writes() {
            return Ok(());
        }
        match Box::pin(self.head(key, None)).await? {
            None => Ok(()),
            Some(_) => {
                Err(StepError::conflict(format!("`{}` is there already", self.url(key)))
                    .hint("look at what is there now"))
            }
        }
    }
}

/// Whether an object has this content, by the checksum that the store keeps, or by its ETag where that is an MD5.
fn is_of(info: &ObjectInfo, content: &[u8], crc: &str) -> bool {
    let is_crc = |sum: &Checksum| (sum.algorithm.as_str(), sum.value.as_str()) == ("crc64nvme", crc);
    let is_md5 = |etag: &str| etag.trim_matches('"') == checksum::etag(content);
    info.bytes == content.len() as u64
        && (info.checksum.as_ref().is_some_and(is_crc) || info.etag.as_deref().is_some_and(is_md5))
}

/// Counts how often a request was sent.
#[derive(Debug, Clone, Default)]
struct Tries(Arc<AtomicU32>);

impl Tries {
    fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Intercept for Tries {
    fn name(&self) -> &'static str {
        "number of tries"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

fn uploaded_whole(output: &PutObjectOutput, bytes: usize, crc: &str) -> Uploaded {
    Uploaded {
        bytes: bytes as u64,
        etag: output.e_tag().map(str::to_owned),
        version_id: output.version_id().map(str::to_owned),
        checksum: Checksum::new("crc64nvme", crc),
        parts: 1,
    }
}

/// Whether an object of so many bytes is written in parts, and so by an upload that a kill may leave unfinished.
pub fn is_written_in_parts(bytes: u64) -> bool {
    bytes > part_size(1, Some(bytes))
}

/// The size of a part, from 1. Below 40 GiB every part has 8 MiB; from there on they grow, so that 10,000 of them hold
/// half a TiB. Where the whole size is known, parts are even and as small as they can be.
pub(crate) fn part_size(number: u32, bytes: Option<u64>) -> u64 {
    match bytes {
        Some(bytes) => bytes
            .div_ceil(u64::from(MOST_PARTS))
            .next_multiple_of(MIB)
            .max(FIRST_PART),
        None => FIRST_PART << (number.saturating_sub(4001) / 1000),
    }
}

/// Reads until a part is full or the stream ends, into the memory of an earlier part where there is some.
pub(crate) async fn read_part(
    body: &mut (impl AsyncRead + Unpin),
    size: u64,
    mut part: BytesMut,
) -> Result<Bytes, StepError> {
    let size_in_memory =
        usize::try_from(size).map_err(|_| StepError::failed("a part is too large for this machine"))?;
    part.clear();
    while part.len() < size_in_memory {
        // Grown as it fills: a small object does not cost a whole part.
        part.reserve((size_in_memory - part.len()).min(256 * 1024));
        let room = size_in_memory - part.len();
        let read = (&mut *body)
            .take(room as u64)
            .read_buf(&mut part)
            .await
            .map_err(unwrap_step_error)?;
        if read == 0 {
            break;
        }
    }
    Ok(part.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_late_and_hold_half_a_tebibyte() {
        assert_eq!(part_size(1, None), FIRST_PART);
        assert_eq!(part_size(5000, None), FIRST_PART);
        assert_eq!(part_size(5001, None), 2 * FIRST_PART);
        let all: u64 = (1..=MOST_PARTS).map(|number| part_size(number, None)).sum();
        assert!(all > 500 * 1024 * MIB, "{all}");
        assert!(part_size(MOST_PARTS, None) <= 256 * MIB);
    }

    #[test]
    fn a_known_size_makes_even_parts() {
        assert_eq!(part_size(1, Some(1)), FIRST_PART);
        let five_tib = 5 * 1024 * 1024 * MIB;
        let size = part_size(1, Some(five_tib));
        assert!(five_tib.div_ceil(size) <= u64::from(MOST_PARTS));
    }

    #[tokio::test]
    async fn a_part_ends_where_it_is_full_or_the_stream_is_over() {
        let mut body: &[u8] = b"0123456789";
        assert_eq!(read_part(&mut body, 4, BytesMut::new()).await.expect("part"), "0123");
        assert_eq!(
            read_part(&mut body, 400, BytesMut::new()).await.expect("part"),
            "456789"
        );
        assert_eq!(read_part(&mut body, 4, BytesMut::new()).await.expect("part"), "");
    }
}
