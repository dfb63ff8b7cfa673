//! Uploads in parts that outlast the process that began them: whoever goes on sends what is missing.

use std::collections::BTreeMap;

use aws_sdk_s3::operation::list_parts::ListPartsError;
use aws_sdk_s3::types::{CompletedPart, Part};
use tokio::io::AsyncRead;

use bytes::BytesMut;
use jm_step::StepError;

use crate::multipart::{Pending, Upload};
use crate::own::Note;
use crate::pace::insist;
use crate::put::{part_size, read_part};
use crate::{Put, S3Bucket, S3Reader, Uploaded, checksum};

/// An upload in parts that was begun and is no object yet.
#[derive(Debug)]
pub struct BegunUpload {
    id: String,
    note: Option<Note>,
    /// The parts that the store has, by number.
    sent: BTreeMap<u32, SentPart>,
}

/// A part that the store has.
#[derive(Debug, Clone)]
pub(crate) struct SentPart {
    bytes: u64,
    etag: Option<String>,
    crc: Option<String>,
}

impl BegunUpload {
    /// By which the store knows it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How many bytes of it the store has.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sent.values().map(|part| part.bytes).sum()
    }
}

impl SentPart {
    fn of(part: &Part) -> Option<(u32, Self)> {
        let number = u32::try_from(part.part_number()?).ok()?;
        let sent = Self {
            bytes: part.size().and_then(|bytes| u64::try_from(bytes).ok())?,
            etag: part.e_tag().map(str::to_owned),
            crc: part.checksum_crc64_nvme().map(str::to_owned),
        };
        Some((number, sent))
    }

    /// What completes the upload, where this is the part with this content: by the store's checksum of it, or by its ETag
    /// where that is an MD5.
    pub(crate) fn completed(&self, number: u32, content: &[u8], with_crc: bool) -> Option<CompletedPart> {
        if self.bytes != content.len() as u64 {
            return None;
        }
        let crc = (with_crc || self.crc.is_some()).then(|| checksum::crc64(content));
        let is_same = match &self.crc {
            Some(_) => self.crc == crc,
            None => self
                .etag
                .as_deref()
                .is_some_and(|etag| etag.trim_matches('"') == checksum::etag(content)),
        };
        let part = CompletedPart::builder().part_number(i32::try_from(number).ok()?);
        let part = part.set_e_tag(self.etag.clone());
        is_same.then(|| part.set_checksum_crc64_nvme(crc.filter(|_| with_crc)).build())
    }
}

impl S3Reader {
    /// The upload of this id to a key, and what the store has of it; `None` where it became an object or was ended.
    pub async fn begun_upload(&self, key: &str, id: &str) -> Result<Option<BegunUpload>, StepError> {
        let doing = self.on_object("list the parts sent to", key, "s3:ListMultipartUploadParts");
        let mut sent = BTreeMap::new();
        let mut marker = None;
        loop {
            let call = || {
                let call = self.0.client.list_parts().bucket(&self.0.bucket).key(self.full(key));
                call.upload_id(id).set_part_number_marker(marker.clone()).send()
            };
            let output = match insist(call).await {
                Err(error)
                    if error.as_service_error().is_some_and(|error: &ListPartsError| {
                        aws_sdk_s3::error::ProvideErrorMetadata::code(error) == Some("NoSuchUpload")
                    }) =>
                {
                    return Ok(None);
                }
                outcome => outcome.map_err(|error| doing.failed(&error))?,
            };
            sent.extend(output.parts().iter().filter_map(SentPart::of));
            let next = output.next_part_number_marker().map(str::to_owned);
            if output.is_truncated() != Some(true) || next.is_none() || next == marker {
                let id = id.to_owned();
                let note = self.note(key, &id);
                return Ok(Some(BegunUpload { id, note, sent }));
            }
            marker = next;
        }
    }
}

impl S3Bucket {
    /// Begins an upload in parts for [`Self::finish_upload`]. Nothing is there before the end.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn begin_upload(&self, key: &str, put: &Put) -> Result<BegunUpload, StepError> {
        self.refuse_taken(key, put).await?;
        let id = self.create_upload(key, put).await?;
        Ok(BegunUpload {
            note: self.note(key, &id),
            id,
            sent: BTreeMap::new(),
        })
    }

    /// Sends what the store lacks of a stream, and makes an object of it. Dropped, killed with its process, or left without an
    /// answer, the upload stays for whoever goes on with it; where it fails otherwise, it is ended.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub async fn finish_upload(
        &self,
        key: &str,
        mut body: impl AsyncRead + Send + Unpin,
        put: &Put,
        begun: BegunUpload,
    ) -> Result<Uploaded, StepError> {
        let pending = Pending::begun(self, key, &begun.id, begun.note);
        let mut upload = Upload::new(pending, begun.sent);
        let finished = match read_part(&mut body, part_size(1, put.bytes), BytesMut::new()).await {
            Ok(first) => Box::pin(upload.finish(first, body, put)).await,
            Err(error) => Err(error),
        };
        if finished.as_ref().is_err_and(|error| !error.kind().is_transient()) {
            upload.abort().await;
        }
        finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_known_by_its_checksum_or_by_an_etag_that_is_one() {
        let sent = |bytes, etag: &str, crc: Option<&str>| SentPart {
            bytes,
            etag: Some(format!("\"{etag}\"")),
            crc: crc.map(str::to_owned),
        };
        let (etag, crc) = (checksum::etag(b"abc"), checksum::crc64(b"abc"));
        for (part, expected) in [
            (sent(3, &etag, None), true),
            (sent(3, "of KMS", Some(&crc)), true),
            (sent(3, "of KMS", None), false),
            (sent(3, &etag, Some("another")), false),
            (sent(2, &etag, None), false),
        ] {
            let known = part.completed(7, b"abc", true);
            assert_eq!(known.is_some(), expected, "{part:?}");
            let told = known.map(|known| (known.part_number(), known.checksum_crc64_nvme().map(str::to_owned)));
            assert!(told.is_none_or(|told| told == (Some(7), Some(crc.clone()))));
        }
    }
}
