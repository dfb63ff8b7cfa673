//! A client that does nothing but send: what the server can do at most.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures::stream::{BoxStream, try_unfold};
use futures::{StreamExt, TryStreamExt, stream};
use jm_testkit::noise;

/// Keys under this were deleted, keys under the other overwritten.
pub(crate) const DELETED: &str = "deleted/";
pub(crate) const OVERWRITTEN: &str = "overwritten/";
/// Requests under way at once while keys are written.
const WRITING: usize = 64;

/// The client, with a bucket.
#[derive(Clone)]
pub(crate) struct Bare {
    pub(crate) client: Client,
    pub(crate) bucket: String,
}

/// The key of this number, in the folder of its last digit, so that each tenth of the keys has a prefix.
pub(crate) fn key(prefix: &str, index: usize) -> String {
    format!("{prefix}{}/{index:06}", index % 10)
}

/// One request that brings something back.
enum Request {
    Remove(Vec<ObjectIdentifier>),
    Copy { key: String, version: String },
}

impl Bare {
    /// Writes so many keys: half of them are deleted after it, half of them are written again with other content.
    pub(crate) async fn fill(&self, keys: usize) -> Result<()> {
        let half = keys / 2;
        let first = (0..half).flat_map(|index| [key(DELETED, index), key(OVERWRITTEN, index)]);
        self.at_once(first.map(|key| self.put(key, 1))).await?;
        self.at_once((0..half).map(|index| self.put(key(OVERWRITTEN, index), 2)))
            .await?;
        let deleted: Vec<String> = (0..half).map(|index| key(DELETED, index)).collect();
        self.at_once(deleted.chunks(1000).map(|keys| async move {
            let objects = keys.iter().map(|key| ObjectIdentifier::builder().key(key).build());
            let objects = objects.collect::<Result<_, _>>()?;
            self.send(Request::Remove(objects)).await.map(drop)
        }))
        .await
    }

    async fn at_once<F: Future<Output = Result<()>>>(&self, work: impl Iterator<Item = F>) -> Result<()> {
        stream::iter(work)
            .buffer_unordered(WRITING)
            .try_collect::<Vec<()>>()
            .await
            .map(drop)
    }

    async fn put(&self, key: String, round: u64) -> Result<()> {
        let content = ByteStream::from(noise(round, 100));
        let call = self.client.put_object().bucket(&self.bucket).key(key);
        call.body(content).send().await.map(drop).map_err(Into::into)
    }

    /// Brings back what is under these prefixes with so many requests at once; says for how many keys, and how long it took.
    pub(crate) async fn bring_back(&self, prefixes: &[String], at_once: usize) -> Result<(usize, Duration)> {
        let began = Instant::now();
        let pages = stream::iter(prefixes.to_vec()).flat_map(|prefix| self.pages(prefix));
        let requests = pages
            .map_ok(|page| stream::iter(requests(&page)).map(anyhow::Ok))
            .try_flatten();
        let done = requests
            .map_ok(|request| self.send(request))
            .try_buffer_unordered(at_once);
        let keys = done.try_fold(0, async |all, keys| Ok(all + keys)).await?;
        Ok((keys, began.elapsed()))
    }

    fn pages(&self, prefix: String) -> BoxStream<'_, Result<ListObjectVersionsOutput>> {
        let start = Some((String::new(), String::new()));
        try_unfold(start, move |after| {
            let prefix = prefix.clone();
            async move {
                let Some((key, version)) = after else { return Ok(None) };
                let given = |text: String| Some(text).filter(|text| !text.is_empty());
                let call = self.client.list_object_versions().bucket(&self.bucket).prefix(prefix);
                let call = call.set_key_marker(given(key)).set_version_id_marker(given(version));
                let page = call.send().await?;
                let marker = |text: Option<&str>| text.unwrap_or_default().to_owned();
                let next = (page.is_truncated() == Some(true))
                    .then(|| (marker(page.next_key_marker()), marker(page.next_version_id_marker())));
                Ok(Some((page, next)))
            }
        })
        .boxed()
    }

    /// Sends a request, and says for how many keys it was.
    async fn send(&self, request: Request) -> Result<usize> {
        match request {
            Request::Remove(objects) => {
                let count = objects.len();
                let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build()?;
                let output = self
                    .client
                    .delete_objects()
                    .bucket(&self.bucket)
                    .delete(delete)
                    .send()
                    .await?;
                ensure!(output.errors().is_empty(), "{:?}", output.errors());
                Ok(count)
            }
            Request::Copy { key, version } => {
                let source = format!("{}/{key}?versionId={version}", self.bucket);
                let call = self.client.copy_object().bucket(&self.bucket).key(key);
                call.copy_source(source).send().await.context("a copy")?;
                Ok(1)
            }
        }
    }
}

/// What a page asks for.
fn requests(page: &ListObjectVersionsOutput) -> Vec<Request> {
    let markers = page
        .delete_markers()
        .iter()
        .filter(|marker| marker.is_latest() == Some(true));
    let markers = markers.filter_map(|marker| {
        let object = ObjectIdentifier::builder().key(marker.key()?);
        object.version_id(marker.version_id()?).build().ok()
    });
    let markers: Vec<_> = markers.collect();
    let older = page
        .versions()
        .iter()
        .filter(|version| version.is_latest() != Some(true));
    let older = older.filter(|version| version.key().is_some_and(|key| key.starts_with(OVERWRITTEN)));
    let copies = older.filter_map(|version| {
        let (key, version) = (version.key()?.to_owned(), version.version_id()?.to_owned());
        Some(Request::Copy { key, version })
    });
    let removals = (!markers.is_empty()).then_some(Request::Remove(markers));
    removals.into_iter().chain(copies).collect()
}
