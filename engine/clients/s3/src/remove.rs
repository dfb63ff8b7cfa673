//! Versions removed for good, a thousand at a time.

use std::collections::HashMap;

use aws_sdk_s3::config::http::HttpRequest;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use jm_step::StepError;

use crate::error::asks_to_come_back;
use crate::transport::with_crc;
use crate::{NULL_VERSION, Pace, S3Bucket, checksum};

/// As many as one request takes.
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

impl S3Bucket {
    /// Removes markers, by their version ids, so that what lies under them is the newest again. One that is gone already
    /// is as good as removed. A `null` marker is looked at once more just before: what was written meanwhile has the
    /// same id, and stays.
    pub async fn remove_markers(&self, pace: &Pace, markers: Vec<VersionOf>) -> Result<NotRemoved, StepError> {
        let mut not_removed = Vec::new();
        let mut batch = Vec::with_capacity(markers.len());
        for marker in markers {
            let written =
                marker.version_id == NULL_VERSION && self.head(&marker.key, Some(NULL_VERSION)).await?.is_some();
            if written {
                let url = self.url(&marker.key);
                let written = StepError::conflict(format!("`{url}` was written while it was to be brought back"))
                    .hint("nothing of it was lost; look at what is there now, then try again");
                not_removed.push((marker, written));
            } else {
                batch.push(marker);
            }
        }
        let (single, many): (Vec<_>, Vec<_>) = batch.into_iter().partition(|marker| !fits_xml(&marker.key));
        for marker in single {
            if let Err(error) = self.delete(&marker.key, Some(&marker.version_id)).await {
                not_removed.push((marker, error));
            }
        }
        for batch in many.chunks(BATCH) {
            not_removed.extend(self.remove_batch(pace, batch.to_vec()).await?);
        }
        Ok(not_removed)
    }

    async fn remove_batch(&self, pace: &Pace, mut batch: Vec<VersionOf>) -> Result<NotRemoved, StepError> {
        let mut not_removed = Vec::new();
        for round in 1..=ROUNDS {
            let refused = self.send_batch(pace, &batch).await?;
            if refused.is_empty() {
                break;
            }
            let mut again = Vec::new();
            for (version, code, message) in refused {
                if code == "NoSuchVersion" || code == "NoSuchKey" {
                    continue;
                }
                if jm_client_aws::too_much(&code) {
                    pace.slow_down();
                }
                if asks_to_come_back(&code) && round < ROUNDS {
                    again.push(version);
                } else {
                    let doing = self.on_object("remove the marker of", &version.key, "s3:DeleteObjectVersion");
                    not_removed.push((version, doing.refused(&code, &message)));
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
        batch: &[VersionOf],
    ) -> Result<Vec<(VersionOf, String, String)>, StepError> {
        let doing = self.on_bucket("remove markers from", "s3:DeleteObjectVersion");
        let failed = |error| StepError::failed(format!("{doing}: the request could not be made")).source(error);
        let objects: Vec<_> = batch
            .iter()
            .map(|version| {
                let object = ObjectIdentifier::builder().key(self.full(&version.key));
                object.version_id(&version.version_id).build()
            })
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        let delete = Delete::builder()
            .set_objects(Some(objects))
            .quiet(true)
            .build()
            .map_err(failed)?;
        let md5 = !with_crc(self.0.checksums);
        let output = pace
            .send(&doing, || {
                let call = self.0.once.delete_objects().bucket(&self.0.bucket);
                call.delete(delete.clone())
                    .customize()
                    .mutate_request(move |request| {
                        if md5 {
                            with_md5(request);
                        }
                    })
                    .send()
            })
            .await?;
        if output.errors().is_empty() {
            return Ok(Vec::new());
        }
        let asked: HashMap<(String, &str), &VersionOf> = batch
            .iter()
            .map(|version| ((self.full(&version.key), version.version_id.as_str()), version))
            .collect();
        Ok(output
            .errors()
            .iter()
            .filter_map(|error| {
                let key = error.key().unwrap_or_default().to_owned();
                let version = asked.get(&(key, error.version_id().unwrap_or(NULL_VERSION)))?;
                let said = |text: Option<&str>| text.unwrap_or_default().to_owned();
                Some(((*version).clone(), said(error.code()), said(error.message())))
            })
            .collect())
    }
}

/// The sum that every store checks, in the place of the one that the SDK sends.
fn with_md5(request: &mut HttpRequest) {
    let Some(sum) = request.body().bytes().map(checksum::md5) else {
        return;
    };
    let newer: Vec<String> = request
        .headers()
        .iter()
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.starts_with("x-amz-checksum-") || name == "x-amz-sdk-checksum-algorithm")
        .collect();
    for name in newer {
        request.headers_mut().remove(name);
    }
    request.headers_mut().insert("content-md5", sum);
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
