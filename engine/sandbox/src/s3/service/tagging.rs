//! Tags of objects.

use s3s::S3Result;
use s3s::dto::{
    DeleteObjectTaggingInput, DeleteObjectTaggingOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
    PutObjectTaggingInput, PutObjectTaggingOutput, Tag,
};

use super::super::store::Tag as Stored;
use super::Service;
use super::convert::version;
use super::details;

impl Service {
    pub(super) async fn tags(&self, input: GetObjectTaggingInput) -> S3Result<GetObjectTaggingOutput> {
        let reading = self.find(&input.bucket, input.key, input.version_id.as_deref()).await?;
        let tags = reading.object().details.tags.iter().cloned();
        let tag = |(key, value)| Tag {
            key: Some(key),
            value: Some(value),
        };
        Ok(GetObjectTaggingOutput {
            tag_set: tags.map(tag).collect(),
            version_id: reading.version.map(|id| id.to_string()),
        })
    }

    pub(super) async fn set_tags(&self, input: PutObjectTaggingInput) -> S3Result<PutObjectTaggingOutput> {
        let tag = |tag: Tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
        let tags = details::checked_tags(input.tagging.tag_set.into_iter().map(tag).collect())?;
        let version_id = self
            .replace_tags(&input.bucket, input.key, input.version_id.as_deref(), tags)
            .await?;
        Ok(PutObjectTaggingOutput { version_id })
    }

    pub(super) async fn remove_tags(&self, input: DeleteObjectTaggingInput) -> S3Result<DeleteObjectTaggingOutput> {
        let id = input.version_id.as_deref();
        let version_id = self.replace_tags(&input.bucket, input.key, id, Vec::new()).await?;
        Ok(DeleteObjectTaggingOutput { version_id })
    }

    async fn replace_tags(
        &self,
        bucket: &str,
        key: String,
        id: Option<&str>,
        tags: Vec<Stored>,
    ) -> S3Result<Option<String>> {
        let id = version(id)?;
        let replaced = self.with_bucket(bucket, move |bucket| bucket.set_tags(&key, id, tags));
        Ok(replaced.await?.map(|id| id.to_string()))
    }
}
