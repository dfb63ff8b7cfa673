//! Objects and versions removed, a thousand at a time.

use std::collections::HashMap;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use jm_step::StepError;

use crate::error::asks_to_come_back;
use crate::transport::summed;
use crate::{NULL_VERSION, Pace, S3Bucket};

/// As many keys or versions as one request removes.
const BATCH: usize = 1000;
/// So often are those asked for again that the store had no time for.
const ROUNDS: u32 = 5;

/// A version of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VersionOf {
    /// The key, relative to the prefix of the target.
    pub key: String,
    /// The version's id.
    pub version_id: String,
}

/// What could not be removed, and why.
pub type NotRemoved = Vec<(VersionOf, StepError)>;

/// What a request removes: one version for good, or, without one, the object as it is now.
#[derive(Debug, Clone)]
struct Removed {
    key: String,
    version_id: Option<String>,
}

/// How a removal is called where it fails, and what it needs.
struct Words {
    /// Of one key.
    one: &'static str,
    /// Of many.
    many: &'static str,
    permission: &'static str,
}

const MARKERS: Words = Words {
    one: "remove the marker of",
    many: "remove markers from",
    permission: "s3:DeleteObjectVersion",
};
const OBJECTS: Words = Words {
    one: "delete",
    many: "delete objects in",
    permission: "s3:DeleteObject",
};

impl S3Bucket {
    /// Removes markers, by their version ids, so that what lies under them is the newest again. One that is gone already
    /// is as good as removed. A `null` marker is looked at once more just before: what was written meanwhile has the
    /// same id, and stays.
    pub async fn remove_markers(&self, pace: &Pace, markers: Vec<VersionOf>) -> Result<NotRemoved, StepError> {
        let mut not_removed = Vec::new();
        let mut removed = Vec::with_capacity(markers.len());
        for marker in markers {
            let written =
                marker.version_id == NULL_VERSION && self.head(&marker.key, Some(NULL_VERSION)).await?.is_some();
            if written {
                let url = self.url(&marker.key);
                let written = StepError::conflict(format!("`{url}` was written while it was to be brought back"))
                    .hint("nothing of it was lost; look at what is there now, then try again");
                not_removed.push((marker, written));
            } else {
                removed.push(Removed {
                    key: marker.key,
                    version_id: Some(marker.version_id),
                });
            }
        }
        let refused = self.remove(pace, removed, &MARKERS).await?;
        not_removed.extend(refused.into_iter().map(|(removed, error)| {
            let version = VersionOf {
                key: removed.key,
                version_id: removed.version_id.unwrap_or_default(),
            };
            (version, error)
        }));
        Ok(not_removed)
    }

    /// Deletes many objects as [`Self::delete`] does without a version: a bucket that keeps versions marks them as
    /// deleted. Gives those that could not be, and why; one that is not there is as good as deleted.
    pub async fn delete_many(&self, pace: &Pace, keys: Vec<String>) -> Result<Vec<(String, StepError)>, StepError> {
        let removed = keys.into_iter().map(|key| Removed { key, version_id: None });
        let refused = self.remove(pace, removed.collect(), &OBJECTS).await?;
        Ok(refused
            .into_iter()
            .map(|(removed, error)| (removed.key, error))
            .collect())
    }

    async fn remove(
        &self,
        pace: &Pace,
        removed: Vec<Removed>,
        words: &Words,
    ) -> Result<Vec<(Removed, StepError)>, StepError> {
        let mut refused = Vec::new();
        let (many, single): (Vec<_>, Vec<_>) = removed.into_iter().partition(|one| fits_xml(&one.key));
        for one in single {
            if let Err(error) = self.remove_one(pace, &one, words).await {
                refused.push((one, error));
            }
        }
        for batch in many.chunks(BATCH) {
            refused.extend(self.remove_batch(pace, batch.to_vec(), words).await?);
        }
        Ok(refused)
    }

    async fn remove_one(&self, pace: &Pace, one: &Removed, words: &Words) -> Result<(), StepError> {
        let doing = self.on_object(words.one, &one.key, words.permission);
        let full = self.full(&one.key);
        let call = || {
            let call = self.0.once.delete_object().bucket(&self.0.bucket).key(&full);
            call.set_version_id(one.version_id.clone()).send()
        };
        pace.send(&doing, call).await.map(drop)
    }

    async fn remove_batch(
        &self,
        pace: &Pace,
        mut batch: Vec<Removed>,
        words: &Words,
    ) -> Result<Vec<(Removed, StepError)>, StepError> {
        let mut not_removed = Vec::new();
        for round in 1..=ROUNDS {
            let refused = self.send_batch(pace, &batch, words).await?;
            let mut again = Vec::new();
            for (one, code, message) in refused {
                if code == "NoSuchVersion" || code == "NoSuchKey" {
                    continue;
                }
                if jm_client_aws::too_much(&code) {
                    pace.slow_down();
                }
                if asks_to_come_back(&code) && round < ROUNDS {
                    again.push(one);
                } else {
                    let doing = self.on_object(words.one, &one.key, words.permission);
                    not_removed.push((one, doing.refused(&code, &message)));
                }
            }
            if again.is_empty() {
                break;
            }
            tokio::time::sleep(crate::pace::pause(round + 2)).await;
            batch = again;
        }
        Ok(not_removed)
    }

    /// Those that the store did not remove, with code and message.
    async fn send_batch(
        &self,
        pace: &Pace,
        batch: &[Removed],
        words: &Words,
    ) -> Result<Vec<(Removed, String, String)>, StepError> {
        let doing = self.on_bucket(words.many, words.permission);
        let failed = |error| StepError::failed(format!("{doing}: the request could not be made")).source(error);
        let objects: Vec<_> = batch
            .iter()
            .map(|one| {
                let object = ObjectIdentifier::builder().key(self.full(&one.key));
                object.set_version_id(one.version_id.clone()).build()
            })
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        let delete = Delete::builder()
            .set_objects(Some(objects))
            .quiet(true)
            .build()
            .map_err(failed)?;
        let output = pace
            .send(&doing, || {
                let call = self.0.once.delete_objects().bucket(&self.0.bucket);
                call.delete(delete.clone())
                    .customize()
                    .mutate_request(summed(self.0.compatibility))
                    .send()
            })
            .await?;
        if output.errors().is_empty() {
            return Ok(Vec::new());
        }
        let asked: HashMap<(String, &str), &Removed> = batch
            .iter()
            .map(|one| {
                let version = one.version_id.as_deref().unwrap_or(NULL_VERSION);
                ((self.full(&one.key), version), one)
            })
            .collect();
        Ok(output
            .errors()
            .iter()
            .filter_map(|error| {
                let key = error.key().unwrap_or_default().to_owned();
                // Of an object that is asked for without one, some stores say an empty version.
                let version = error.version_id().filter(|version| !version.is_empty());
                let one = asked.get(&(key, version.unwrap_or(NULL_VERSION)))?;
                let said = |text: Option<&str>| text.unwrap_or_default().to_owned();
                Some(((*one).clone(), said(error.code()), said(error.message())))
            })
            .collect())
    }
}

/// Whether XML 1.0 can say a key: a request with another one would be refused as a whole.
fn fits_xml(key: &str) -> bool {
    key.chars()
        .all(|c| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_xml_cannot_say_go_alone() {
        for key in ["a", "a b", "ä\n", "\t\r", "😀"] {
            assert!(fits_xml(key), "{key:?}");
        }
        for key in ["\u{1}", "a\u{0}", "\u{fffe}"] {
            assert!(!fits_xml(key), "{key:?}");
        }
    }
}
