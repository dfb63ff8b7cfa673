//! Listing, page by page.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::EncodingType;
use futures::stream::{BoxStream, try_unfold};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use jm_step::StepError;

use crate::error::Doing;
use crate::pace::insist;
use crate::versions::decoded;
use crate::{ObjectSummary, S3Reader};

impl S3Reader {
    /// All objects whose keys start with this, in the order of their keys. Holds one page of a thousand at a time.
    pub fn list(&self, starts_with: &str) -> BoxStream<'static, Result<ObjectSummary, StepError>> {
        let pages = Pages {
            bucket: self.clone(),
            starts_with: starts_with.to_owned(),
            token: None,
            last: None,
            done: false,
        };
        try_unfold(pages, |mut pages| async move {
            let page = pages.next().await?;
            Ok::<_, StepError>(page.map(|page| (stream::iter(page).map(Ok), pages)))
        })
        .try_flatten()
        .boxed()
    }

    /// Counts the objects whose keys start with this, and gives the newest of them. Holds no more than it gives, and one
    /// page. `seen` is told after each object how many there are so far.
    pub async fn newest(
        &self,
        starts_with: &str,
        limit: usize,
        mut seen: impl FnMut(u64),
    ) -> Result<Newest, StepError> {
        let (mut count, mut bytes) = (0, 0);
        let mut newest = BinaryHeap::new();
        let mut objects = self.list(starts_with);
        while let Some(object) = objects.try_next().await? {
            count += 1;
            bytes += object.bytes;
            seen(count);
            newest.push(Reverse(ByTime(object)));
            if newest.len() > limit {
                newest.pop();
            }
        }
        let newest = newest.into_sorted_vec().into_iter();
        Ok(Newest {
            count,
            bytes,
            newest: newest.map(|Reverse(ByTime(object))| object).collect(),
        })
    }
}

/// All objects in numbers, and the newest of them.
#[derive(Debug, Clone, Default)]
pub struct Newest {
    /// How many there are.
    pub count: u64,
    /// The bytes of all of them.
    pub bytes: u64,
    /// The newest, newest first.
    pub newest: Vec<ObjectSummary>,
}

struct Pages {
    bucket: S3Reader,
    starts_with: String,
    token: Option<String>,
    last: Option<String>,
    done: bool,
}

impl Pages {
    async fn next(&mut self) -> Result<Option<Vec<ObjectSummary>>, StepError> {
        if self.done {
            return Ok(None);
        }
        let output = self.ask().await?;
        self.token = output.next_continuation_token().map(str::to_owned);
        self.done = output.is_truncated() != Some(true);
        if !self.done && self.token.is_none() {
            return Err(self.doing().half_listed());
        }
        let folder = &self.bucket.0.folder;
        let mut page = Vec::new();
        for object in output.contents() {
            let key = decoded(object.key().unwrap_or_default(), output.encoding_type());
            let Some(key) = key.strip_prefix(folder.as_str()) else {
                continue;
            };
            // Some stores repeat the last entry of a page on the next one.
            if self.last.as_deref() != Some(key) {
                page.push(ObjectSummary::of(object, key.to_owned()));
                self.last = Some(key.to_owned());
            }
        }
        Ok(Some(page))
    }

    fn doing(&self) -> Doing {
        self.bucket.on_object("list", &self.starts_with, "s3:ListBucket")
    }

    async fn ask(&self) -> Result<ListObjectsV2Output, StepError> {
        let doing = self.doing();
        let shared = &self.bucket.0;
        let call = || {
            let call = shared.client.list_objects_v2().bucket(&shared.bucket);
            call.prefix(self.bucket.full(&self.starts_with))
                .encoding_type(EncodingType::Url)
                .set_continuation_token(self.token.clone())
                .send()
        };
        insist(call).await.map_err(|error| doing.failed(&error))
    }
}

/// Ordered by time, then by key, so that equal times still have one order.
struct ByTime(ObjectSummary);

impl ByTime {
    fn order(&self) -> (Option<Timestamp>, &str) {
        (self.0.last_modified, &self.0.key)
    }
}

impl PartialEq for ByTime {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}
impl Eq for ByTime {}
impl PartialOrd for ByTime {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for ByTime {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}
