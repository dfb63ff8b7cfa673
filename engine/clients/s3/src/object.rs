//! What the store says of an object.

use std::collections::BTreeMap;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_sdk_s3::types::{ArchiveStatus, ChecksumType, Object, StorageClass};
use jiff::Timestamp;

use crate::{Checksum, is_archive};

/// An object as HEAD and GET tell it.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectInfo {
    /// Its key, relative to the prefix of the target.
    pub key: String,
    /// The size of the whole object, also where only a part of it is read.
    pub bytes: u64,
    /// Changes whenever the content does. Not a checksum of anything.
    pub etag: Option<String>,
    /// Its version, where the bucket keeps versions.
    pub version_id: Option<String>,
    /// When it was written.
    pub last_modified: Option<Timestamp>,
    /// The store's checksum over the whole object, where there is one that jm can compute.
    pub checksum: Option<Checksum>,
    /// How many tags it has, as far as the credentials may know.
    pub tags: u32,
    /// What the writer wrote beside it.
    pub metadata: BTreeMap<String, String>,
    /// Such as `application/pgp-encrypted`.
    pub content_type: Option<String>,
    /// Such as `public, max-age=31536000, immutable`.
    pub cache_control: Option<String>,
    /// What else its readers are told.
    pub headers: OtherHeaders,
    /// Such as `STANDARD_IA`; `None` where the store does not say.
    pub storage_class: Option<String>,
    /// How it is encrypted, where the store says so.
    pub encryption: Option<Encrypted>,
    /// Until when nobody can delete it, where it is locked and the credentials may know.
    pub locked_until: Option<Timestamp>,
    /// Whether it has to be brought back from an archive before it can be read.
    pub archived: bool,
    /// Whether it was asked for, and is on its way out of the archive.
    pub on_its_way: bool,
}

/// How a store encrypts an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encrypted {
    /// Such as `AES256` or `aws:kms`.
    pub algorithm: String,
    /// The KMS key, where it is one.
    pub kms_key: Option<String>,
    /// Whether KMS gives a key to the bucket and not to each object.
    pub bucket_key: bool,
}

/// What readers of an object are told beside its type and how long it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OtherHeaders {
    /// Such as `gzip`.
    pub content_encoding: Option<String>,
    /// Such as `attachment; filename="a.pdf"`.
    pub content_disposition: Option<String>,
    /// Such as `de`.
    pub content_language: Option<String>,
    /// Until when caches may keep it, where it says so by a moment that can be read.
    pub expires: Option<Timestamp>,
}

impl OtherHeaders {
    /// [`Self::expires`] as requests take it.
    pub(crate) fn expires(&self) -> Option<DateTime> {
        self.expires.map(|at| DateTime::from_secs(at.as_second()))
    }
}

/// A moment as HTTP writes it.
pub(crate) fn http_date(text: Option<&str>) -> Option<DateTime> {
    DateTime::from_str(text?, DateTimeFormat::HttpDate).ok()
}

/// An object as a listing tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectSummary {
    /// Its key, relative to the prefix of the target.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// Changes whenever the content does.
    pub etag: Option<String>,
    /// When it was written.
    pub last_modified: Option<Timestamp>,
    /// Such as `STANDARD_IA`.
    pub storage_class: Option<String>,
}

// Both outputs have the same accessors and no trait in common.
macro_rules! info {
    ($output:expr, $key:expr, $bytes:expr, $tier:expr) => {{
        let output = $output;
        let class = output.storage_class();
        ObjectInfo {
            key: $key,
            bytes: $bytes,
            etag: output.e_tag().map(str::to_owned),
            version_id: output.version_id().filter(|id| *id != "null").map(str::to_owned),
            last_modified: output.last_modified().and_then(timestamp),
            checksum: checksum(
                output.checksum_type(),
                [
                    ("crc64nvme", output.checksum_crc64_nvme()),
                    ("crc32c", output.checksum_crc32_c()),
                    ("crc32", output.checksum_crc32()),
                ],
            ),
            tags: output
                .tag_count()
                .and_then(|tags| u32::try_from(tags).ok())
                .unwrap_or_default(),
            metadata: output
                .metadata()
                .into_iter()
                .flatten()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            content_type: output.content_type().map(str::to_owned),
            cache_control: output.cache_control().map(str::to_owned),
            headers: OtherHeaders {
                content_encoding: output.content_encoding().map(str::to_owned),
                content_disposition: output.content_disposition().map(str::to_owned),
                content_language: output.content_language().map(str::to_owned),
                expires: http_date(output.expires_string()).as_ref().and_then(timestamp),
            },
            storage_class: class.map(|class| class.as_str().to_owned()),
            encryption: output.server_side_encryption().map(|algorithm| Encrypted {
                algorithm: algorithm.as_str().to_owned(),
                kms_key: output.ssekms_key_id().map(str::to_owned),
                bucket_key: output.bucket_key_enabled() == Some(true),
            }),
            locked_until: output.object_lock_retain_until_date().and_then(timestamp),
            archived: is_archived(class, $tier, output.restore()),
            on_its_way: output.restore().is_some_and(|restore| says_ongoing(restore, true)),
        }
    }};
}

impl ObjectInfo {
    /// What its content is compared with: the checksum that the store keeps; where there is none, and its writer told no
    /// SHA-256 beside it, [its ETag](Self::etag_sum).
    pub fn sum(&self) -> Option<Checksum> {
        let by_etag = || self.etag_sum().filter(|_| !self.metadata.contains_key("sha256"));
        self.checksum.clone().or_else(by_etag)
    }

    /// Its ETag, as far as that is an MD5: not where KMS encrypts, nor in a directory bucket.
    pub fn etag_sum(&self) -> Option<Checksum> {
        let has_key = self.encryption.as_ref().is_some_and(|keys| keys.algorithm != "AES256");
        let is_other = has_key || self.storage_class.as_deref() == Some("EXPRESS_ONEZONE");
        Checksum::of_etag(self.etag.as_ref().filter(|_| !is_other)?)
    }

    pub(crate) fn of_head(output: &HeadObjectOutput, key: String) -> Self {
        info!(output, key, unsigned(output.content_length()), output.archive_status())
    }

    /// Where a range was asked for, the whole size stands in `Content-Range: bytes 5-9/1234`.
    pub(crate) fn of_get(output: &GetObjectOutput, key: String) -> Self {
        let whole = output
            .content_range()
            .and_then(|range| range.rsplit_once('/')?.1.parse().ok())
            .unwrap_or_else(|| unsigned(output.content_length()));
        // What lies in an archive is refused.
        info!(output, key, whole, None)
    }
}

impl ObjectSummary {
    pub(crate) fn of(object: &Object, key: String) -> Self {
        Self {
            key,
            bytes: unsigned(object.size()),
            etag: object.e_tag().map(str::to_owned),
            last_modified: object.last_modified().and_then(timestamp),
            storage_class: object.storage_class().map(|class| class.as_str().to_owned()),
        }
    }
}

pub(crate) fn unsigned(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default()
}

pub(crate) fn timestamp(time: &aws_smithy_types::DateTime) -> Option<Timestamp> {
    let nanos = i32::try_from(time.subsec_nanos()).ok()?;
    Timestamp::new(time.secs(), nanos).ok()
}

/// The first checksum that is over the whole object. One made of the parts' checksums says `-N` at its end.
fn checksum(of: Option<&ChecksumType>, values: [(&str, Option<&str>); 3]) -> Option<Checksum> {
    if of == Some(&ChecksumType::Composite) {
        return None;
    }
    values
        .into_iter()
        .filter_map(|(algorithm, value)| Some((algorithm, value?)))
        .find(|(_, value)| !value.contains('-'))
        .map(|(algorithm, value)| Checksum::new(algorithm, value))
}

/// `tier` is that of an object whose class lets it sink into an archive by itself.
fn is_archived(class: Option<&StorageClass>, tier: Option<&ArchiveStatus>, restore: Option<&str>) -> bool {
    let in_archive = tier.is_some() || class.is_some_and(|class| is_archive(class.as_str()));
    let brought_back = restore.is_some_and(|restore| says_ongoing(restore, false));
    in_archive && !brought_back
}

fn says_ongoing(restore: &str, ongoing: bool) -> bool {
    restore.contains(&format!("ongoing-request=\"{ongoing}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_of_parts_is_not_one_of_the_object() {
        let values = |value| [("crc64nvme", None), ("crc32c", None), ("crc32", Some(value))];
        assert_eq!(checksum(None, values("AAAAAA==-3")), None);
        assert_eq!(checksum(Some(&ChecksumType::Composite), values("AAAAAA==")), None);
        assert_eq!(
            checksum(None, values("AAAAAA==")),
            Some(Checksum::new("crc32", "AAAAAA=="))
        );
    }

    #[test]
    fn an_etag_that_is_an_md5_is_a_sum_where_nothing_else_tells() {
        let etag = "\"D41D8CD98F00B204E9800998ECF8427E\"";
        let told = |output: aws_sdk_s3::operation::head_object::builders::HeadObjectOutputBuilder| {
            ObjectInfo::of_head(&output.build(), "k".to_owned()).sum()
        };
        let head = || HeadObjectOutput::builder().e_tag(etag);
        let md5 = Checksum::new("md5", "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(told(head()), Some(md5.clone()));
        assert_eq!(md5.hasher().expect("known").value(), md5.value, "of no bytes");
        let kept = head().checksum_crc32("AAAAAA==");
        assert_eq!(told(kept).map(|sum| sum.algorithm).as_deref(), Some("crc32"));
        for other in [
            head().metadata("sha256", "0"),
            head().server_side_encryption(aws_sdk_s3::types::ServerSideEncryption::AwsKms),
            head().storage_class(StorageClass::ExpressOnezone),
            head().e_tag("d41d8cd98f00b204e9800998ecf8427e-1"),
        ] {
            assert_eq!(told(other), None);
        }
    }

    #[test]
    fn a_range_tells_the_whole_size() {
        let output = GetObjectOutput::builder()
            .content_range("bytes 5-9/1234")
            .content_length(5)
            .build();
        assert_eq!(ObjectInfo::of_get(&output, "k".to_owned()).bytes, 1234);
        let output = GetObjectOutput::builder().content_length(5).build();
        assert_eq!(ObjectInfo::of_get(&output, "k".to_owned()).bytes, 5);
    }

    #[test]
    fn an_archived_object_can_be_brought_back() {
        let glacier = Some(&StorageClass::Glacier);
        assert!(is_archived(glacier, None, None));
        assert!(is_archived(glacier, None, Some("ongoing-request=\"true\"")));
        let there = Some("ongoing-request=\"false\", expiry-date=\"x\"");
        assert!(!is_archived(glacier, None, there));
        assert!(!is_archived(Some(&StorageClass::StandardIa), None, None));
        let tiering = Some(&StorageClass::IntelligentTiering);
        assert!(!is_archived(tiering, None, None));
        assert!(is_archived(tiering, Some(&ArchiveStatus::DeepArchiveAccess), None));
    }
}
