//! `s3.versions`: counts the versions and markers under a prefix, and lists them.

use jiff::Timestamp;
use jm_client_s3::{NULL_VERSION, ObjectVersion, Pace, S3, S3Reader, VersionMark};
use jm_step::{
    ArtefactRef, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError,
    StepType, Unit,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Counts and lists versions.
pub(crate) struct Versions;

/// So many versions stand in one file of the whole list, so that no more than these are in memory.
const FILE: usize = 100_000;
/// As many versions as a page can have.
const PAGE: u16 = 1000;
/// So many keys of which nothing is left are named.
const SHOWN: usize = 100;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Only keys that start with this, relative to the target's prefix.
    #[serde(default)]
    prefix: String,
    /// So many versions stand in the output.
    #[serde(default = "sample")]
    #[schemars(range(max = 100))]
    sample: usize,
    /// Keeps the whole list in the run's directory, as files of 100,000 lines of JSON.
    #[serde(default)]
    list: bool,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// Where, such as `s3://bucket/prefix`.
    place: String,
    /// How many keys there are, deleted ones too.
    keys: u64,
    /// Keys that count as deleted now.
    deleted_keys: u64,
    /// Keys of which nothing but markers is left.
    nothing_left: u64,
    /// Those of them that were deleted last.
    #[serde(default)]
    gone: Vec<Gone>,
    /// Keys with more than one content.
    overwritten_keys: u64,
    /// Versions with content.
    versions: u64,
    /// The bytes of all of them.
    bytes: u64,
    /// Markers that say that an object was deleted.
    markers: u64,
    /// Versions with the id `null`, written while the bucket kept none.
    null_versions: u64,
    /// Versions in an archive class.
    archived: u64,
    /// When the newest of all was written.
    #[schemars(with = "Option<String>")]
    newest: Option<Timestamp>,
    /// The first versions, in the order of the store.
    sample: Vec<Listed>,
    /// The whole list, where it was asked for.
    files: Vec<ArtefactRef>,
}

/// A key of which nothing but markers is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct Gone {
    /// The key, relative to the target's prefix.
    key: String,
    /// When it was deleted.
    #[schemars(with = "Option<String>")]
    deleted_at: Option<Timestamp>,
}

/// One version or marker.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Listed {
    /// The key, relative to the target's prefix.
    key: String,
    /// The version's id.
    version_id: String,
    /// Whether it marks the object as deleted.
    marker: bool,
    /// Whether it is the newest of its key.
    latest: bool,
    /// When it was written.
    #[schemars(with = "Option<String>")]
    last_modified: Option<Timestamp>,
    /// Its size.
    bytes: u64,
    /// Changes whenever the content does.
    etag: Option<String>,
    /// Such as `STANDARD_IA`.
    storage_class: Option<String>,
}

impl StepType for Versions {
    const NAME: &'static str = "s3.versions";
    const SUMMARY: &'static str = "counts and lists the versions and markers under a prefix";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: std::time::Duration = std::time::Duration::from_hours(1);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        if input.sample > 100 {
            return Err(vec![
                InputIssue::at("/sample", "an output has room for 100 versions")
                    .help("set `list: true` to keep them all in the run's directory"),
            ]);
        }
        Ok(())
    }

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<S3>("bucket")]
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of(
            "bucket",
            &["s3:ListBucket", "s3:ListBucketVersions", "s3:GetBucketVersioning"],
        )]
    }

    /// Counting may take minutes, so a preview only sees that it can be done.
    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let bucket = cx.read::<S3>().await?;
        bucket.versions_page(&Pace::alone(), &input.prefix, None, 1).await?;
        Ok(Preview::declared(format!(
            "counts the versions under `{}`",
            bucket.url(&input.prefix)
        )))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let bucket = cx.read::<S3>().await?;
        let mut count = Count::new(bucket.url(&input.prefix), input.sample);
        let (pace, mut after) = (Pace::alone(), None);
        loop {
            let page = tokio::select! {
                page = page(&bucket, &pace, &input, after.as_ref()) => page?,
                () = cx.cancelled() => return Err(StepError::cancelled("told to stop while listing versions")),
            };
            for entry in page.0 {
                count.take(entry, input.list)?;
            }
            cx.progress(count.output.versions + count.output.markers, None, Unit::Items)
                .await;
            after = page.1;
            if count.waiting >= FILE || (after.is_none() && count.waiting > 0) {
                count.keep(cx).await?;
            }
            if after.is_none() {
                return Ok(count.end());
            }
        }
    }

    /// It only looks, so nothing of it can have stayed.
    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

fn sample() -> usize {
    20
}

async fn page(
    bucket: &S3Reader,
    pace: &Pace,
    input: &Input,
    after: Option<&VersionMark>,
) -> Result<(Vec<ObjectVersion>, Option<VersionMark>), StepError> {
    let page = bucket.versions_page(pace, &input.prefix, after, PAGE).await?;
    Ok((page.entries, page.next))
}

/// A count under way.
struct Count {
    output: Output,
    sample: usize,
    /// The last entry, to know one that is repeated at the edge of a page.
    last: Option<(String, String)>,
    /// How many versions with content the last key has so far.
    contents: u64,
    /// That key, where it has had nothing but markers so far.
    only_markers: Option<Gone>,
    lines: Vec<u8>,
    waiting: usize,
}

impl Count {
    fn new(place: String, sample: usize) -> Self {
        Self {
            output: Output {
                place,
                ..Output::default()
            },
            sample,
            last: None,
            contents: 0,
            only_markers: None,
            lines: Vec::new(),
            waiting: 0,
        }
    }

    fn take(&mut self, entry: ObjectVersion, keep: bool) -> Result<(), StepError> {
        let id = (entry.key.clone(), entry.version_id.clone());
        if self.last.as_ref() == Some(&id) {
            return Ok(());
        }
        if self.last.as_ref().is_none_or(|(key, _)| *key != entry.key) {
            self.close_key();
            self.output.keys += 1;
            self.output.deleted_keys += u64::from(entry.marker);
            self.contents = 0;
            self.only_markers = entry.marker.then(|| Gone {
                key: entry.key.clone(),
                deleted_at: entry.last_modified,
            });
        }
        let output = &mut self.output;
        self.last = Some(id);
        if entry.marker {
            output.markers += 1;
        } else {
            output.versions += 1;
            output.bytes += entry.bytes;
            self.only_markers = None;
            self.contents += 1;
            output.overwritten_keys += u64::from(self.contents == 2);
            output.null_versions += u64::from(entry.version_id == NULL_VERSION);
            output.archived += u64::from(entry.in_archive());
        }
        output.newest = output.newest.max(entry.last_modified);
        if keep {
            serde_json::to_writer(&mut self.lines, &entry)
                .map_err(|error| StepError::failed("a version cannot be written as JSON").source(error))?;
            self.lines.push(b'\n');
            self.waiting += 1;
        }
        if output.sample.len() < self.sample {
            output.sample.push(Listed {
                key: entry.key,
                version_id: entry.version_id,
                marker: entry.marker,
                latest: entry.latest,
                last_modified: entry.last_modified,
                bytes: entry.bytes,
                etag: entry.etag,
                storage_class: entry.storage_class,
            });
        }
        Ok(())
    }

    async fn keep(&mut self, cx: &StepContext) -> Result<(), StepError> {
        let name = format!("versions-{}.jsonl", self.output.files.len() + 1);
        let file = cx.artefact(&name, std::mem::take(&mut self.lines)).await?;
        self.output.files.push(file);
        self.waiting = 0;
        Ok(())
    }

    fn close_key(&mut self) {
        let Some(gone) = self.only_markers.take() else { return };
        self.output.nothing_left += 1;
        self.output.gone.push(gone);
        if self.output.gone.len() >= 2 * SHOWN {
            self.keep_newest();
        }
    }

    fn keep_newest(&mut self) {
        let gone = &mut self.output.gone;
        gone.sort_by_key(|one| std::cmp::Reverse(one.deleted_at));
        gone.truncate(SHOWN);
    }

    fn end(mut self) -> Output {
        self.close_key();
        self.keep_newest();
        self.output
    }
}

#[cfg(test)]
mod tests {
    use jm_client_s3::Put;
    use jm_testkit::StepBench;
    use serde_json::json;

    use super::*;
    use crate::store::all_stores;

    #[tokio::test]
    async fn versions_and_markers_are_counted_once_over_many_pages() {
        for store in all_stores().await {
            let bucket = store.bucket("many").await;
            bucket.set_versioning(true).await.expect("set");
            for round in 0..350 {
                for key in ["a/1", "a/2", "a b"] {
                    bucket
                        .put_bytes(key, format!("{round}"), Put::default())
                        .await
                        .expect("written");
                }
            }
            bucket.put_bytes("b", "alone", Put::default()).await.expect("written");
            bucket.delete("a/2", None).await.expect("deleted");
            let bench = StepBench::new().with("bucket", store.connection("many").await);
            let input = json!({ "sample": 3, "list": true });
            let ran = bench.run(&Versions, input).await;
            let files = ran.artefacts.len();
            let output = ran.output();
            let numbers = ["keys", "deleted_keys", "overwritten_keys", "versions", "markers"];
            let counted = numbers.map(|name| output[name].as_u64().expect("a number"));
            assert_eq!(counted, [4, 1, 3, 1051, 1], "{}", store.name);
            assert_eq!((output["sample"].as_array().expect("a list").len(), files), (3, 1));
        }
    }

    #[test]
    fn those_that_were_deleted_last_are_named_whatever_their_order() {
        let marker = |key: &str, second: i64, marker: bool| ObjectVersion {
            key: key.to_owned(),
            version_id: format!("{second}-{marker}"),
            marker,
            latest: true,
            bytes: 0,
            etag: None,
            last_modified: Some(Timestamp::from_second(second).expect("a time")),
            storage_class: None,
        };
        let mut count = Count::new(String::new(), 0);
        for second in 0..500 {
            let key = format!("{second:03}");
            count
                .take(marker(&key, (second * 7) % 500, true), false)
                .expect("taken");
            count
                .take(marker(&key, (second * 7) % 500, true), false)
                .expect("repeated");
        }
        count.take(marker("has", 600, true), false).expect("taken");
        count.take(marker("has", 1, false), false).expect("taken");
        let output = count.end();
        assert_eq!(output.nothing_left, 500);
        let seconds: Vec<i64> = output
            .gone
            .iter()
            .map(|gone| gone.deleted_at.expect("a time").as_second())
            .collect();
        assert_eq!(seconds, (400..500).rev().collect::<Vec<_>>());
    }

    #[test]
    fn an_output_stays_small() {
        let input: Input = serde_json::from_value(json!({ "sample": 101 })).expect("decodes");
        assert_eq!(Versions.check(&input).expect_err("refused")[0].pointer, "/sample");
    }
}
