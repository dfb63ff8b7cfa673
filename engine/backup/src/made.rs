//! What a deed has made that was cut off before anybody heard of it, and what it lacks.

use jm_step::{Probe, StepContext, StepError, StepErrorKind};

use crate::backups::BackupsReader;
use crate::catalogue::{BackupRef, Entry};
use crate::manifest::Manifest;

/// The output of a step whose backup is there, and what is to be told of that backup.
#[derive(Debug)]
pub struct Made<O> {
    /// The output.
    pub output: O,
    /// What it is degraded by, in words. The attempt that made it may have been cut off before it told.
    pub lacks: Vec<String>,
}

impl<O> Made<O> {
    /// Tells what is lacking, and gives the output.
    pub async fn adopt(self, cx: &StepContext) -> Result<O, StepError> {
        for reason in self.lacks {
            cx.degraded(reason).await?;
        }
        Ok(self.output)
    }

    /// What is found out of an attempt whose end nobody recorded. What has no manifest does not count, and is swept by the next
    /// backup. What lacks something runs again, to tell it.
    pub fn probe(found: Option<Self>) -> Probe<O> {
        match found {
            None => Probe::NotStarted,
            Some(made) if made.lacks.is_empty() => Probe::Succeeded(made.output),
            Some(made) => Probe::partial(made.lacks.join("; ")),
        }
    }
}

impl BackupsReader {
    /// What a deed has made, as its step tells it; `None` where it made nothing that counts.
    pub async fn made<O>(
        &self,
        idempotency_key: &str,
        output: impl FnOnce(&Manifest, BackupRef) -> O,
    ) -> Result<Option<Made<O>>, StepError> {
        let Some(entry) = self.made_by(idempotency_key).await? else {
            return Ok(None);
        };
        let Some(manifest) = entry.manifest() else {
            return Ok(None);
        };
        Ok(Some(Made {
            output: output(manifest, self.reference(&entry)),
            lacks: self.absences(&entry).await,
        }))
    }

    /// What a backup of this moment is degraded by, in words: the locations in which it is not whole, its file with the
    /// manifest that makes it count; and those that do not say.
    pub(crate) async fn absences(&self, entry: &Entry) -> Vec<String> {
        let mut absences = Vec::new();
        for location in self.locations() {
            let (name, at) = (&entry.name, location.name());
            let has_file = entry.copies.iter().any(|copy| copy.location == at);
            match location.small(&name.manifest()).await {
                Ok(_) if has_file => {}
                Err(error) if error.kind() != StepErrorKind::NotFound => {
                    absences.push(format!(
                        "whether backup `{name}` is in {at} cannot be asked now: {error}"
                    ));
                }
                _ => absences.push(format!(
                    "backup `{name}` is not whole in {at}: what made it was cut off before it was"
                )),
            }
        }
        absences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lacks_something_is_not_taken_for_whole() {
        let made = |lacks: &[&str]| {
            let lacks = lacks.iter().map(|&reason| reason.to_owned()).collect();
            Some(Made { output: 1, lacks })
        };
        assert_eq!(Made::<u8>::probe(None), Probe::NotStarted);
        assert_eq!(Made::probe(made(&[])), Probe::Succeeded(1));
        assert_eq!(Made::probe(made(&["a", "b"])), Probe::partial("a; b"));
    }
}
