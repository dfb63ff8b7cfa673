//! Uploads in parts that were begun and not finished: no listing of objects shows them, and their parts are paid for.

use aws_sdk_s3::operation::abort_multipart_upload::AbortMultipartUploadError;
use aws_sdk_s3::types::EncodingType;
use jiff::Timestamp;

use jm_step::StepError;

use crate::object::timestamp;
use crate::own::Note;
use crate::versions::decoded;
use crate::{S3Bucket, S3Reader};

/// An upload in parts that was begun and not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedUpload {
    /// The key of the object that it would become, relative to the prefix of the target.
    pub key: String,
    /// When it was begun.
    pub initiated: Option<Timestamp>,
    id: String,
    is_left: bool,
}

impl UnfinishedUpload {
    /// By which the store knows it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether this machine began it, and nobody is at it any more: who goes on with it has its id.
    #[must_use]
    pub fn is_left(&self) -> bool {
        self.is_left
    }
}

impl S3Reader {
    /// Where an upload to a key is, among all stores.
    fn place(&self, key: &str) -> String {
        format!("{} {}", self.0.store, self.url(key))
    }

    /// Writes an upload down as one of this machine that is under way.
    pub(crate) fn note(&self, key: &str, id: &str) -> Option<Note> {
        self.0.own.note(&self.place(key), id)
    }

    /// Those whose keys start with this, of whoever began them.
    pub async fn unfinished_uploads(&self, starts_with: &str) -> Result<Vec<UnfinishedUpload>, StepError> {
        let doing = self.on_object("list the uploads to", starts_with, "s3:ListBucketMultipartUploads");
        let mut unfinished = Vec::new();
        let (mut key_marker, mut id_marker) = (None, None);
        loop {
            let call = self.0.client.list_multipart_uploads().bucket(&self.0.bucket);
            let outcome = call
                .prefix(self.full(starts_with))
                .encoding_type(EncodingType::Url)
                .set_key_marker(key_marker.clone())
                .set_upload_id_marker(id_marker.clone())
                .send()
                .await;
            let output = outcome.map_err(|error| doing.failed(&error))?;
            for upload in output.uploads() {
                let key = decoded(upload.key().unwrap_or_default(), output.encoding_type());
                if let (Some(key), Some(id)) = (key.strip_prefix(self.0.folder.as_str()), upload.upload_id()) {
                    unfinished.push(UnfinishedUpload {
                        key: key.to_owned(),
                        initiated: upload.initiated().and_then(timestamp),
                        id: id.to_owned(),
                        is_left: self.0.own.is_left(&self.place(key), id),
                    });
                }
            }
            let next = output.next_key_marker().map(|key| decoded(key, output.encoding_type()));
            if output.is_truncated() != Some(true) {
                return Ok(unfinished);
            }
            if next.is_none() {
                return Err(doing.half_listed());
            }
            let next = (next, output.next_upload_id_marker().map(str::to_owned));
            if next == (key_marker, id_marker) {
                return Err(StepError::failed(format!(
                    "{doing}: the store gives the same page again"
                )));
            }
            (key_marker, id_marker) = next;
        }
    }
}

impl S3Bucket {
    /// Ends the upload of this id to a key: its parts are gone. One that is over already is no error.
    pub async fn end_upload(&self, key: &str, id: &str) -> Result<(), StepError> {
        let doing = self.on_object("end an upload to", key, "s3:AbortMultipartUpload");
        let call = self.0.client.abort_multipart_upload().bucket(&self.0.bucket);
        match call.key(self.full(key)).upload_id(id).send().await {
            Err(error)
                if !error
                    .as_service_error()
                    .is_some_and(AbortMultipartUploadError::is_no_such_upload) =>
            {
                Err(doing.failed(&error))
            }
            _ => {
                self.0.own.forget(&self.place(key), id);
                Ok(())
            }
        }
    }
}
