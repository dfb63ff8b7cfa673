//! Whether a name has the same content on both sides: by checksums, never by time.

#![expect(clippy::disallowed_types, reason = "one side of a sync is a directory")]

use std::path::Path;

use jm_client_s3::{Checksum, Get, Hasher, ObjectInfo, ObjectSummary, Pace, S3Reader, is_etag_of_parts};
use jm_step::StepError;
use md5::Md5;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::directory::FileFound;
use super::hash::Forms;
use super::known::KnownSums;
use super::pattern::{HeaderRule, headers_of, rule};
use super::side::{Found, Objects, Side};
use crate::file::{self, Sums};

/// The sums over a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FileSums {
    pub(super) md5: String,
    pub(super) sha256: String,
    /// Of the kind that the store keeps, where that was asked for.
    pub(super) store: Option<Checksum>,
}

/// Reads a file once for all sums; the store's by its algorithm.
pub(super) fn read(path: &Path, mut store: Option<(Hasher, String)>) -> Result<FileSums, StepError> {
    use std::io::Read;
    let failed = |error| file::failed("read", path, error);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let (mut md5, mut sha256) = (Md5::new(), Sha256::new());
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = file.read(&mut buffer).map_err(failed)?;
        if count == 0 {
            break;
        }
        md5.update(&buffer[..count]);
        sha256.update(&buffer[..count]);
        if let Some((hasher, _)) = &mut store {
            hasher.update(&buffer[..count]);
        }
    }
    Ok(FileSums {
        md5: hex::encode(md5.finalize()),
        sha256: hex::encode(sha256.finalize()),
        store: store.map(|(hasher, algorithm)| Checksum {
            value: hasher.value(),
            algorithm,
        }),
    })
}

/// What is other, where the sizes are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    OtherContent,
    /// The same content, and other headers than the rules say.
    OtherHeaders,
}

/// Compares what is found under one name.
pub(super) struct Comparer<'s> {
    pub(super) from: &'s Side,
    pub(super) to: &'s Side,
    pub(super) rules: &'s [HeaderRule],
    pub(super) forms: &'s Forms,
    pub(super) known: &'s KnownSums,
}

impl Comparer<'_> {
    pub(super) async fn compare(&self, name: &str, from: &Found, to: &Found) -> Result<Verdict, StepError> {
        if from.bytes() != to.bytes() {
            return Ok(Verdict::OtherContent);
        }
        let same = match (from, to) {
            (Found::File(file), Found::Object(object)) => {
                return self.upload(name, file, object).await;
            }
            (Found::Object(object), Found::File(file)) => match self.from {
                Side::Bucket(objects) => file_is_object(file, object, &objects.bucket, self.known).await?,
                Side::Directory(_) => false,
            },
            (Found::Object(one), Found::Object(other)) => match (self.from, self.to) {
                (Side::Bucket(from), Side::Bucket(to)) => objects_are_same(from, one, to, other).await?,
                _ => false,
            },
            (Found::File(_), Found::File(_)) => false,
        };
        Ok(if same { Verdict::Same } else { Verdict::OtherContent })
    }

    async fn upload(&self, name: &str, file: &FileFound, object: &ObjectSummary) -> Result<Verdict, StepError> {
        let Side::Bucket(objects) = self.to else {
            return Ok(Verdict::OtherContent);
        };
        if !file_is_object(file, object, &objects.bucket, self.known).await? {
            return Ok(Verdict::OtherContent);
        }
        // Where no rule is about it, its headers are nobody's business, and nothing is asked.
        if rule(self.rules, self.forms, name).is_none() {
            return Ok(Verdict::Same);
        }
        let Some(info) = objects.bucket.head(&object.key, None).await? else {
            return Ok(Verdict::OtherContent);
        };
        let wanted = headers_of(self.rules, self.forms, name);
        let type_fits = wanted.content_type.is_none() || wanted.content_type == info.content_type;
        let cache_fits = wanted.cache_control.is_none() || wanted.cache_control == info.cache_control;
        Ok(if type_fits && cache_fits {
            Verdict::Same
        } else {
            Verdict::OtherHeaders
        })
    }
}

/// The MD5 of the content, where the ETag is one. It may look like one and be none, where KMS encrypts.
fn md5_of(etag: Option<&str>) -> Option<String> {
    let etag = etag?.trim_matches('"');
    let is_md5 = etag.len() == 32 && hex::decode(etag).is_ok();
    is_md5.then(|| etag.to_ascii_lowercase())
}

async fn file_is_object(
    file: &FileFound,
    object: &ObjectSummary,
    bucket: &S3Reader,
    known: &KnownSums,
) -> Result<bool, StepError> {
    if let Some(md5) = md5_of(object.etag.as_deref()) {
        let sums = known.sums_of(&file.path, None).await?;
        if sums.md5 == md5 {
            return Ok(true);
        }
    }
    let Some(info) = bucket.head(&object.key, None).await? else {
        return Ok(false);
    };
    let told_by_writer = info.metadata.get("sha256");
    let by_etag = match (&info.checksum, told_by_writer) {
        (None, None) => bucket.sum_of_parts(&Pace::alone(), &info).await?,
        _ => None,
    };
    let kept = info.checksum.as_ref().or(by_etag.as_ref());
    if told_by_writer.is_none() && kept.is_none() {
        return Ok(false);
    }
    let sums = known.sums_of(&file.path, kept).await?;
    let by_store = match (kept, &sums.store) {
        (Some(checksum), Some(ours)) => Some(checksum == ours),
        _ => None,
    };
    // The store's own word stands above that of whoever wrote it, who may have written something else later.
    let by_etag = info.etag_sum().map(|md5| md5.value == sums.md5);
    let by_writer = told_by_writer.map(|sha256| sha256.eq_ignore_ascii_case(&sums.sha256));
    Ok(by_store.or(by_etag).or(by_writer).unwrap_or(false))
}

async fn objects_are_same(
    from: &Objects,
    one: &ObjectSummary,
    to: &Objects,
    other: &ObjectSummary,
) -> Result<bool, StepError> {
    if one.etag.is_some() && one.etag == other.etag {
        return Ok(true);
    }
    let Some(one) = from.bucket.head(&one.key, None).await? else {
        return Ok(false);
    };
    let Some(other) = to.bucket.head(&other.key, None).await? else {
        return Ok(false);
    };
    if let Some(same) = by_sums(&one, &other) {
        return Ok(same);
    }
    if let Some(sum) = sum_of(&from.bucket, &one).await? {
        return has_sum(&to.bucket, &other, &sum).await;
    }
    match sum_of(&to.bucket, &other).await? {
        Some(sum) => has_sum(&from.bucket, &one, &sum).await,
        // Nothing but their writers' word tells: both are read.
        None if told_alike(&one, &other) => Ok(sha256(&from.bucket, &one).await? == sha256(&to.bucket, &other).await?),
        None => Ok(false),
    }
}

/// A sum over the content of an object that can be computed over another one.
async fn sum_of(bucket: &S3Reader, info: &ObjectInfo) -> Result<Option<Checksum>, StepError> {
    match &info.checksum {
        Some(kept) => Ok(Some(kept.clone())),
        None => bucket.sum_of_parts(&Pace::alone(), info).await,
    }
}

/// Reads an object to see whether it has this sum.
async fn has_sum(bucket: &S3Reader, info: &ObjectInfo, sum: &Checksum) -> Result<bool, StepError> {
    let sums = read_whole(bucket, info, Sums::new(Some(sum))).await?;
    Ok(sums.agrees().unwrap_or(false))
}

async fn sha256(bucket: &S3Reader, info: &ObjectInfo) -> Result<String, StepError> {
    Ok(read_whole(bucket, info, Sums::new(None)).await?.sha256())
}

/// What is damaged is other content, and no reason to compare nothing else.
async fn read_whole(bucket: &S3Reader, info: &ObjectInfo, sums: Sums) -> Result<Sums, StepError> {
    let get = Get {
        etag: info.etag.clone(),
        unchecked: true,
        ..Get::default()
    };
    file::read_object(bucket.get(&info.key, get).await?, sums).await
}

/// Whether the writers tell the same of both.
fn told_alike(one: &ObjectInfo, other: &ObjectInfo) -> bool {
    let told = (one.metadata.get("sha256"), other.metadata.get("sha256"));
    matches!(told, (Some(one), Some(other)) if one.eq_ignore_ascii_case(other))
}

/// Whether two objects are the same by what is told of them. The word of writers goes along with a copy that is damaged; of what
/// is in parts no MD5 stands against it, and only their sum, or reading, tells.
fn by_sums(one: &ObjectInfo, other: &ObjectInfo) -> Option<bool> {
    let by_store = match (&one.checksum, &other.checksum) {
        (Some(one), Some(other)) if one.algorithm == other.algorithm => Some(one.value == other.value),
        _ => None,
    };
    let by_etag = || Some(one.etag_sum()? == other.etag_sum()?);
    let is_in_parts = |info: &ObjectInfo| info.etag.as_deref().is_some_and(is_etag_of_parts);
    by_store.or_else(by_etag).or_else(|| {
        let (one_told, other_told) = (one.metadata.get("sha256")?, other.metadata.get("sha256")?);
        let same = one_told.eq_ignore_ascii_case(other_told);
        (!same || !is_in_parts(one) && !is_in_parts(other)).then_some(same)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_etag_of_parts_is_no_md5() {
        let md5 = "D41D8CD98F00B204E9800998ECF8427E";
        assert_eq!(md5_of(Some(&format!("\"{md5}\""))), Some(md5.to_lowercase()));
        assert_eq!(md5_of(Some(&format!("{md5}-2"))), None);
        assert_eq!(md5_of(Some("xyz")), None);
        assert_eq!(md5_of(None), None);
    }
}
