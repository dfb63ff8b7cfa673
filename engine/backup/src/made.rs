//! What a deed has made that was cut off before anybody heard of it, and what it lacks.

use jm_step::{Probe, StepContext, StepError};

use crate::backups::BackupsReader;
use crate::catalogue::Entry;
use crate::location::Location;

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
    /// What a backup of this moment is degraded by: the locations that are to have a copy of it and do not, in words.
    pub fn absences(&self, entry: &Entry) -> Vec<String> {
        let is_there = |location| entry.copies.iter().any(|copy| copy.location == location);
        let absent = self.locations().iter().map(Location::name);
        let absent = absent.filter(|location| !is_there(*location));
        absent
            .map(|location| {
                format!(
                    "backup `{}` is not in {location}: what made it was cut off, or it was not there",
                    entry.name
                )
            })
            .collect()
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
