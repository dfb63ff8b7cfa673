//! An earlier version made the newest again, by a copy inside the store.

use aws_sdk_s3::operation::copy_object::CopyObjectOutput;
use aws_sdk_s3::operation::copy_object::builders::CopyObjectFluentBuilder;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, ServerSideEncryption, StorageClass, Tag};
use futures::{StreamExt, TryStreamExt, stream};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use jm_step::StepError;

use crate::multipart::{Pending, etag_of};
use crate::object::http_date;
use crate::put::MOST_PARTS;
use crate::transport::patient;
use crate::{ObjectSummary, ObjectVersion, Pace, S3Bucket, S3Reader};

const GIB: u64 = 1024 * 1024 * 1024;
/// The largest object that one request copies.
const LARGEST_COPY: u64 = 5 * GIB;
/// The size of a part where the object itself was not written in parts of one size.
const PART: u64 = GIB / 2;
/// So many parts of one object are copied at once.
const PARTS_AT_ONCE: usize = 8;
/// What stands as it is in the header that names the source.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A version that was made the newest again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The new version's id, where the bucket keeps versions.
    pub version_id: Option<String>,
    /// The new version's ETag.
    pub etag: Option<String>,
}

/// How a copy is encrypted.
#[derive(Debug, Clone)]
struct Keys {
    algorithm: Option<ServerSideEncryption>,
    kms_key: Option<String>,
    bucket_key: Option<bool>,
}

/// Whether a version may be copied in parts, and so by an upload that a kill may leave unfinished.
pub fn may_be_copied_in_parts(version: &ObjectVersion) -> bool {
    version.bytes > LARGEST_COPY || version.etag.as_ref().is_some_and(|etag| etag.contains('-'))
}

impl Copied {
    fn of(output: &CopyObjectOutput) -> Self {
        let etag = output.copy_object_result().and_then(|result| result.e_tag());
        Self {
            version_id: output.version_id().map(str::to_owned),
            etag: etag.map(str::to_owned),
        }
    }
}

impl S3Reader {
    /// An object's tags, as [`crate::Put`] takes them; `None` where it has none.
    pub async fn tags(&self, key: &str) -> Result<Option<String>, StepError> {
        let doing = self.on_object("read the tags of", key, "s3:GetObjectTagging");
        let call = self.0.client.get_object_tagging().bucket(&self.0.bucket);
        let output = call.key(self.full(key)).send().await;
        let output = output.map_err(|error| doing.failed(&error))?;
        Ok(as_query(output.tag_set()))
    }

    /// The tags of one of many versions, when it is its turn.
    pub async fn tags_of(&self, pace: &Pace, version: &ObjectVersion) -> Result<Option<String>, StepError> {
        let doing = self.on_object("read the tags of", &version.key, "s3:GetObjectVersionTagging");
        let key = self.full(&version.key);
        let output = pace
            .send(&doing, || {
                let call = self.0.once.get_object_tagging().bucket(&self.0.bucket).key(&key);
                call.version_id(&version.version_id).send()
            })
            .await?;
        Ok(as_query(output.tag_set()))
    }
}

impl S3Bucket {
    /// Copies a version over its own key inside the store, with its metadata, tags and storage class: the content
    /// becomes the newest version, and every other version stays. A version that was brought back from an archive
    /// becomes an ordinary object. What was written in parts of one size is copied in such parts, so that its ETag stays the
    /// same and tells whoever comes again; so is what is too large for one request. Where it is encrypted with a KMS key, so is the copy, unless the
    /// target names another one. Neither that nor a redirect of a website stands in a listing, and no store copies it by
    /// itself: where the bucket may have some (`look`), each version is looked at first. Its ACL is not copied.
    pub async fn copy_version(&self, pace: &Pace, version: &ObjectVersion, look: bool) -> Result<Copied, StepError> {
        let (id, etag) = (Some(version.version_id.as_str()), version.etag.as_deref());
        let written_in = self.size_of_parts(pace, &version.key, id, etag, version.bytes).await?;
        let too_large = || version.bytes.div_ceil(u64::from(MOST_PARTS)).max(PART);
        match written_in.or_else(|| (version.bytes > LARGEST_COPY).then(too_large)) {
            Some(size) => Box::pin(self.copy_parts(pace, version, size)).await,
            None => self.copy_whole(pace, version, look).await,
        }
    }

    /// Copies an object of a bucket of the same store to this one, inside the store, with its metadata and tags, if it
    /// still has the ETag that was listed.
    ///
    /// # Errors
    /// Those of the store; `InvalidInput` for what is larger than one request copies ([`Self::copies_whole`]).
    pub async fn copy_from(
        &self,
        pace: &Pace,
        from: &S3Reader,
        object: &ObjectSummary,
        key: &str,
    ) -> Result<Copied, StepError> {
        let doing = self.on_object("copy to", key, "s3:GetObject` and `s3:PutObject");
        if !Self::copies_whole(object) {
            return Err(StepError::invalid_input(format!("{doing}: it is larger than 5 GiB")));
        }
        let source = from.full(&object.key);
        let source = format!("{}/{}", from.0.bucket, utf8_percent_encode(&source, PLAIN));
        let key = self.full(key);
        let output = pace
            .send(&doing, || {
                self.copying(&source, &key, self.own_keys())
                    .set_copy_source_if_match(object.etag.clone())
                    .set_storage_class(self.storage_class())
                    .customize()
                    .config_override(patient())
                    .send()
            })
            .await?;
        Ok(Copied::of(&output))
    }

    /// A request that copies to a key of this bucket.
    fn copying(&self, source: &str, key: &str, keys: Keys) -> CopyObjectFluentBuilder {
        let (lock, until) = self.lock();
        let call = self.0.once.copy_object().bucket(&self.0.bucket).key(key);
        call.copy_source(source)
            .set_server_side_encryption(keys.algorithm)
            .set_ssekms_key_id(keys.kms_key)
            .set_bucket_key_enabled(keys.bucket_key)
            .set_object_lock_mode(lock)
            .set_object_lock_retain_until_date(until)
    }

    /// Whether one request copies it.
    pub fn copies_whole(object: &ObjectSummary) -> bool {
        object.bytes <= LARGEST_COPY
    }

    async fn copy_whole(&self, pace: &Pace, version: &ObjectVersion, look: bool) -> Result<Copied, StepError> {
        let doing = self.on_object("bring back", &version.key, "s3:GetObjectVersion` and `s3:PutObject");
        let (mut redirect, mut keys) = (None, self.own_keys());
        if look {
            let info = self
                .head_part(pace, &version.key, Some(&version.version_id), None)
                .await?;
            redirect = info.website_redirect_location().map(str::to_owned);
            keys = self.keys_of(&info);
        }
        let (source, key) = (self.source(version), self.full(&version.key));
        let output = pace
            .send(&doing, || {
                // A store may answer only once gigabytes are copied.
                self.copying(&source, &key, keys.clone())
                    .set_storage_class(self.class_of(version))
                    .set_website_redirect_location(redirect.clone())
                    .customize()
                    .config_override(patient())
                    .send()
            })
            .await?;
        Ok(Copied::of(&output))
    }

    async fn copy_parts(&self, pace: &Pace, version: &ObjectVersion, size: u64) -> Result<Copied, StepError> {
        let info = self
            .head_part(pace, &version.key, Some(&version.version_id), None)
            .await?;
        let mut upload = self.begin_copy(pace, version, &info).await?;
        let outcome = self.copy_all_parts(pace, version, size, &upload).await;
        match outcome {
            Ok(copied) => {
                upload.done();
                Ok(copied)
            }
            Err(error) => {
                upload.abort().await;
                Err(error)
            }
        }
    }

    async fn copy_all_parts(
        &self,
        pace: &Pace,
        version: &ObjectVersion,
        size: u64,
        upload: &Pending,
    ) -> Result<Copied, StepError> {
        let doing = self.on_object("bring back", &version.key, "s3:GetObjectVersion` and `s3:PutObject");
        let (source, key, id) = (self.source(version), self.full(&version.key), upload.id());
        let parts = stream::iter(ranges(version.bytes, size))
            .map(|(number, range)| {
                let (doing, source, key) = (&doing, &source, &key);
                async move {
                    let output = pace
                        .send(doing, || {
                            let call = self.0.once.upload_part_copy().bucket(&self.0.bucket).key(key);
                            call.upload_id(id)
                                .part_number(number)
                                .copy_source(source)
                                .copy_source_range(&range)
                                .customize()
                                .config_override(patient())
                                .send()
                        })
                        .await?;
                    let result = output.copy_part_result();
                    Ok::<_, StepError>(
                        CompletedPart::builder()
                            .part_number(number)
                            .set_e_tag(result.and_then(|result| result.e_tag()).map(str::to_owned))
                            .set_checksum_crc64_nvme(result.and_then(|r| r.checksum_crc64_nvme()).map(str::to_owned))
                            .build(),
                    )
                }
            })
            .buffered(PARTS_AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        let etag = etag_of(&parts);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let completed = pace
            .send(&doing, || {
                let call = self.0.once.complete_multipart_upload().bucket(&self.0.bucket).key(&key);
                call.upload_id(id)
                    .multipart_upload(parts.clone())
                    .customize()
                    .config_override(patient())
                    .send()
            })
            .await;
        match completed {
            Ok(output) => Ok(Copied {
                version_id: output.version_id().map(str::to_owned),
                etag: output.e_tag().map(str::to_owned),
            }),
            // A second try of a request that was taken finds no upload.
            Err(error) => self.copied_after_all(version, etag.as_deref()).await.ok_or(error),
        }
    }

    /// The answer to the last request was lost: is the copy there all the same? Another version of the same parts is as good.
    async fn copied_after_all(&self, version: &ObjectVersion, etag: Option<&str>) -> Option<Copied> {
        let info = self.head(&version.key, None).await.ok()??;
        let is_it = etag.is_some() && info.etag.as_deref() == etag && info.bytes == version.bytes;
        is_it.then_some(Copied {
            version_id: info.version_id,
            etag: info.etag,
        })
    }

    /// Everything that a copy in one request would take over by itself.
    async fn begin_copy(
        &self,
        pace: &Pace,
        version: &ObjectVersion,
        info: &HeadObjectOutput,
    ) -> Result<Pending, StepError> {
        let doing = self.on_object("bring back", &version.key, "s3:PutObject");
        let tags = self.tags_of(pace, version).await?;
        let key = self.full(&version.key);
        let output = pace
            .send(&doing, || {
                let keys = self.keys_of(info);
                let (lock, until) = self.lock();
                let call = self.0.once.create_multipart_upload().bucket(&self.0.bucket).key(&key);
                call.set_content_type(info.content_type().map(str::to_owned))
                    .set_cache_control(info.cache_control().map(str::to_owned))
                    .set_content_disposition(info.content_disposition().map(str::to_owned))
                    .set_content_encoding(info.content_encoding().map(str::to_owned))
                    .set_content_language(info.content_language().map(str::to_owned))
                    .set_expires(http_date(info.expires_string()))
                    .set_website_redirect_location(info.website_redirect_location().map(str::to_owned))
                    .set_metadata(info.metadata().cloned())
                    .set_tagging(tags.clone())
                    .set_storage_class(self.class_of(version))
                    .set_server_side_encryption(keys.algorithm)
                    .set_ssekms_key_id(keys.kms_key)
                    .set_bucket_key_enabled(keys.bucket_key)
                    .set_object_lock_mode(lock)
                    .set_object_lock_retain_until_date(until)
                    .send()
            })
            .await?;
        let id = output
            .upload_id()
            .ok_or_else(|| StepError::failed(format!("{doing}: the store named no upload")))?;
        Ok(Pending::new(self, &version.key, id))
    }

    /// The keys that the target names for its objects; none where the bucket decides.
    fn own_keys(&self) -> Keys {
        let (algorithm, kms_key) = self.encryption();
        Keys {
            algorithm,
            kms_key,
            bucket_key: None,
        }
    }

    /// Those for a copy of a version: the target's, else the version's own. Where it has none of its own the bucket decides:
    /// it may want a key now that it did not want then, and refuse what names another.
    fn keys_of(&self, info: &HeadObjectOutput) -> Keys {
        if self.chooses_keys() || info.ssekms_key_id().is_none() {
            return self.own_keys();
        }
        Keys {
            algorithm: info.server_side_encryption().cloned(),
            kms_key: info.ssekms_key_id().map(str::to_owned),
            bucket_key: info.bucket_key_enabled(),
        }
    }

    /// The header that names a version as the source of a copy.
    fn source(&self, version: &ObjectVersion) -> String {
        let key = self.full(&version.key);
        let id = utf8_percent_encode(&version.version_id, PLAIN);
        format!("{}/{}?versionId={id}", self.0.bucket, utf8_percent_encode(&key, PLAIN))
    }

    /// A copy does not take over the storage class by itself. What was brought back from an archive is wanted at hand.
    fn class_of(&self, version: &ObjectVersion) -> Option<StorageClass> {
        if version.in_archive() {
            return self.storage_class();
        }
        let class = version.storage_class.as_deref().filter(|class| *class != "STANDARD");
        class.map(StorageClass::from)
    }
}

/// Tags as a header says them.
fn as_query(tags: &[Tag]) -> Option<String> {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut pairs: Vec<String> = tags
        .iter()
        .map(|tag| format!("{}={}", encode(tag.key()), encode(tag.value())))
        .collect();
    // Some stores tell them in another order each time.
    pairs.sort();
    (!pairs.is_empty()).then(|| pairs.join("&"))
}

/// The parts of an object, from 1, and their bytes as a header says them.
fn ranges(bytes: u64, size: u64) -> impl Iterator<Item = (i32, String)> {
    let starts = (0..bytes.div_ceil(size)).map(move |part| part * size);
    (1..).zip(starts.map(move |start| format!("bytes={start}-{}", (start + size).min(bytes) - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_an_object_without_a_gap() {
        let parts: Vec<_> = ranges(25, 10).collect();
        let expected = [(1, "bytes=0-9"), (2, "bytes=10-19"), (3, "bytes=20-24")];
        assert_eq!(parts, expected.map(|(number, range)| (number, range.to_owned())));
        assert_eq!(ranges(20, 10).count(), 2);
    }
}
