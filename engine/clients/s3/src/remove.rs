//! Objects and versions removed, a thousand at a time.

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures::{StreamExt, TryStreamExt, stream};
use jm_step::StepError;

use crate::error::{asks_to_come_back, lacks_right};
use crate::reader::is_absent;
use crate::transport::summed;
use crate::{NULL_VERSION, Pace, S3Bucket};

/// As many keys or versions as one request removes.
const BATCH: usize = 1000;
/// So many are removed one by one together, or looked at just before that.
const LOOKS: usize = 32;
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
#[derive(Debug, Clone, PartialEq)]
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
    /// is as good as removed. Unless the bucket `keeps` versions now, what is written has the id `null`, as a marker may have:
    /// such a marker is looked at just before, and what took its place stays.
    pub async fn remove_markers(
        &self,
        pace: &Pace,
        markers: Vec<VersionOf>,
        keeps: bool,
    ) -> Result<NotRemoved, StepError> {
        let replaceable = |marker: &VersionOf| !keeps && marker.version_id == NULL_VERSION;
        let (doubtful, sure): (Vec<_>, Vec<_>) = markers.into_iter().partition(replaceable);
        let mut not_removed = self.remove_versions(pace, sure).await?;
        for few in doubtful.chunks(LOOKS) {
            let looks = stream::iter(few.to_vec()).map(|marker| async move {
                let written = self.is_written(pace, &marker.key).await?;
                Ok::<_, StepError>((marker, written))
            });
            let looked: Vec<_> = looks.buffered(LOOKS).try_collect().await?;
            let mut removed = Vec::with_capacity(few.len());
            for (marker, written) in looked {
                if written {
                    let url = self.url(&marker.key);
                    let written = StepError::conflict(format!("`{url}` was written while it was to be brought back"))
                        .hint("nothing of it was lost; look at what is there now, then try again");
                    not_removed.push((marker, written));
                } else {
                    removed.push(marker);
                }
            }
            not_removed.extend(self.remove_versions(pace, removed).await?);
        }
        Ok(not_removed)
    }

    async fn remove_versions(&self, pace: &Pace, versions: Vec<VersionOf>) -> Result<NotRemoved, StepError> {
        let removed = versions.into_iter().map(|version| Removed {
            key: version.key,
            version_id: Some(version.version_id),
        });
        let refused = self.remove(pace, removed.collect(), &MARKERS).await?;
        let of = |removed: Removed| VersionOf {
            key: removed.key,
            version_id: removed.version_id.unwrap_or_default(),
        };
        Ok(refused
            .into_iter()
            .map(|(removed, error)| (of(removed), error))
            .collect())
    }

    /// Whether there is content under the id `null`.
    async fn is_written(&self, pace: &Pace, key: &str) -> Result<bool, StepError> {
        let doing = self.on_object("look at", key, "s3:GetObjectVersion");
        let full = self.full(key);
        let head = || {
            let call = self.0.once.head_object().bucket(&self.0.bucket).key(&full);
            let call = call.version_id(NULL_VERSION);
            async move {
                match call.send().await {
                    Err(error) if is_absent(&error) => Ok(false),
                    outcome => outcome.map(|_| true),
                }
            }
        };
        pace.send(&doing, head).await
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
        refused.extend(self.remove_singly(pace, single, words).await);
        for batch in many.chunks(BATCH) {
            refused.extend(self.remove_batch(pace, batch.to_vec(), words).await?);
        }
        Ok(refused)
    }

    async fn remove_singly(&self, pace: &Pace, all: Vec<Removed>, words: &Words) -> Vec<(Removed, StepError)> {
        let removals = stream::iter(all).map(|one| async move {
            let outcome = self.remove_one(pace, &one, words).await;
            outcome.err().map(|error| (one, error))
        });
        let refused = removals.buffered(LOOKS).filter_map(std::future::ready);
        refused.collect().await
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
            let refused = match self.send_batch(pace, &batch, words).await {
                // Some stores refuse a whole batch for one key of it.
                Err(error) if lacks_right(&error) && batch.len() > 1 => {
                    not_removed.extend(self.remove_singly(pace, batch, words).await);
                    break;
                }
                refused => refused?,
            };
            let mut again = Vec::new();
            for one in refused.unclear {
                if let Err(error) = self.remove_one(pace, &one, words).await
                    && self.is_there(pace, &one).await?
                {
                    not_removed.push((one, error));
                }
            }
            for (one, code, message) in refused.told {
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

    /// By a listing, for versitygw calls the id of a version that is gone an invalid argument.
    async fn is_there(&self, pace: &Pace, one: &Removed) -> Result<bool, StepError> {
        let Some(id) = &one.version_id else {
            return Ok(self.head(&one.key, None).await?.is_some());
        };
        let mut after = None;
        loop {
            let page = self.versions_page(pace, &one.key, after.as_ref(), 1000).await?;
            // The versions of the key itself come before those of longer ones.
            let of_key = page.entries.iter().filter(|version| version.key == one.key);
            if of_key.clone().any(|version| version.version_id == *id) {
                return Ok(true);
            }
            after = page.next.filter(|_| of_key.count() == page.entries.len());
            if after.is_none() {
                return Ok(false);
            }
        }
    }

    async fn send_batch(&self, pace: &Pace, batch: &[Removed], words: &Words) -> Result<Refused, StepError> {
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
        let keys = batch.iter().map(|one| self.full(&one.key)).collect::<Vec<_>>();
        let mut refused = Refused::default();
        for error in output.errors() {
            let said = |text: Option<&str>| text.unwrap_or_default().to_owned();
            let (code, message) = (said(error.code()), said(error.message()));
            match meant(batch, &keys, error.key().unwrap_or_default(), error.version_id()) {
                Meant::One(one) => refused.told.push((one.clone(), code, message)),
                Meant::Some(some) => refused.unclear.extend(some.into_iter().cloned()),
                // An answer that nobody can place is no answer: whatever it is about may still be there.
                Meant::Nothing => return Err(doing.refused(&code, &message)),
            }
        }
        Ok(refused)
    }
}

/// What the store did not remove of a batch.
#[derive(Default)]
struct Refused {
    /// With code and message.
    told: Vec<(Removed, String, String)>,
    /// It may be about these, of which each is to be asked for by itself.
    unclear: Vec<Removed>,
}

/// What an error of a batch is about.
#[derive(Debug, PartialEq)]
enum Meant<'a> {
    One(&'a Removed),
    /// It names their key, and no version that was asked for.
    Some(Vec<&'a Removed>),
    Nothing,
}

/// Which of a batch an error is about; `keys` are their full keys. Of an object that is asked for without a version, some
/// stores say an empty one; of a version that is gone, versitygw says none.
fn meant<'a>(batch: &'a [Removed], keys: &[String], key: &str, version: Option<&str>) -> Meant<'a> {
    let of_key = batch.iter().zip(keys).filter(|(_, full)| *full == key);
    let of_key: Vec<&Removed> = of_key.map(|(one, _)| one).collect();
    let version = version.filter(|version| !version.is_empty()).unwrap_or(NULL_VERSION);
    let asked = |one: &Removed| one.version_id.as_deref().unwrap_or(NULL_VERSION) == version;
    match of_key.iter().find(|one| asked(one)) {
        Some(one) => Meant::One(one),
        None if of_key.is_empty() => Meant::Nothing,
        None => Meant::Some(of_key),
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
    fn an_error_means_its_version_or_all_versions_of_its_key() {
        let of = |key: &str, version: Option<&str>| Removed {
            key: key.to_owned(),
            version_id: version.map(str::to_owned),
        };
        let batch = [
            of("a", Some("1")),
            of("a", Some("2")),
            of("b", None),
            of("c", Some("null")),
        ];
        let keys: Vec<String> = batch.iter().map(|one| format!("www/{}", one.key)).collect();
        let [a1, a2, b, c] = &batch;
        for (key, version, expected) in [
            ("www/a", Some("2"), Meant::One(a2)),
            ("www/a", Some("3"), Meant::Some(vec![a1, a2])),
            ("www/a", None, Meant::Some(vec![a1, a2])),
            ("www/b", None, Meant::One(b)),
            ("www/b", Some(""), Meant::One(b)),
            ("www/b", Some("1"), Meant::Some(vec![b])),
            ("www/c", Some("null"), Meant::One(c)),
            ("a", Some("1"), Meant::Nothing),
            ("", None, Meant::Nothing),
        ] {
            assert_eq!(meant(&batch, &keys, key, version), expected, "{key} {version:?}");
        }
    }

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
