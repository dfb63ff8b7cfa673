//! The parts that an object was written in: whoever knows their size computes its ETag.

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use jm_step::StepError;

use crate::object::unsigned;
use crate::{Checksum, ObjectInfo, Pace, S3Reader};

impl S3Reader {
    /// The ETag of an object as a checksum over its content, where it was written in parts of one size: two looks at it more.
    /// `None` where it is another kind of ETag.
    pub async fn sum_of_parts(&self, pace: &Pace, info: &ObjectInfo) -> Result<Option<Checksum>, StepError> {
        let Some(etag) = &info.etag else { return Ok(None) };
        let version = info.version_id.as_deref();
        let size = self
            .size_of_parts(pace, &info.key, version, Some(etag), info.bytes)
            .await?;
        let Some(size) = size else { return Ok(None) };
        let is_sum = self.ends_evenly(pace, info, size).await?;
        Ok(is_sum.then(|| Checksum::of_parts(etag, size)))
    }

    /// Parts of several sizes may be as many as even ones would be, and then their last one is of another size: a sum over even ones
    /// would call an object damaged that is not.
    async fn ends_evenly(&self, pace: &Pace, info: &ObjectInfo, size: u64) -> Result<bool, StepError> {
        let count = info.bytes.div_ceil(size);
        let Ok(last) = i32::try_from(count) else {
            return Ok(false);
        };
        if last == 1 {
            return Ok(true);
        }
        match self
            .head_part(pace, &info.key, info.version_id.as_deref(), Some(last))
            .await
        {
            Err(error) if error.kind().is_transient() => Err(error),
            Err(_) => Ok(false),
            Ok(part) => Ok(unsigned(part.content_length()) == info.bytes - size * (count - 1)),
        }
    }

    /// The size of the parts that an object was written in, of which only the last one may be smaller. `None` where it was
    /// not, or where its ETag is no sum all the same, for KMS encrypts it.
    pub(crate) async fn size_of_parts(
        &self,
        pace: &Pace,
        key: &str,
        version_id: Option<&str>,
        etag: Option<&str>,
        bytes: u64,
    ) -> Result<Option<u64>, StepError> {
        let Some(count) = etag.and_then(count).filter(|_| bytes > 0) else {
            return Ok(None);
        };
        let first = match self.head_part(pace, key, version_id, Some(1)).await {
            Err(error) if error.kind().is_transient() => return Err(error),
            // A store that knows no parts does not say how large they are.
            Err(_) => return Ok(None),
            Ok(first) => first,
        };
        let size = match count {
            1 => bytes,
            _ => unsigned(first.content_length()),
        };
        let is_even = size > 0 && bytes.div_ceil(size) == count;
        Ok((is_even && first.ssekms_key_id().is_none()).then_some(size))
    }

    /// What the store says of a part of an object, or of all of it.
    pub(crate) async fn head_part(
        &self,
        pace: &Pace,
        key: &str,
        version_id: Option<&str>,
        part: Option<i32>,
    ) -> Result<HeadObjectOutput, StepError> {
        let doing = self.on_object("look at", key, "s3:GetObjectVersion");
        let key = self.full(key);
        let head = || {
            let call = self.0.once.head_object().bucket(&self.0.bucket).key(&key);
            let call = call.set_version_id(version_id.map(str::to_owned));
            call.set_part_number(part).send()
        };
        pace.send(&doing, head).await
    }
}

/// Whether an ETag is that of an object that was written in parts, and so no MD5 of its content.
#[must_use]
pub fn is_etag_of_parts(etag: &str) -> bool {
    count(etag).is_some()
}

/// How many parts an ETag says that there are.
fn count(etag: &str) -> Option<u64> {
    etag.trim_matches('"').rsplit_once('-')?.1.parse().ok()
}
