//! The chain of manifests: each names the one that was the newest when it was made, with the checksum of its file. What was
//! taken out of the catalogue since, or put back in another form, shows by it, whoever may write to the locations.
//!
//! A backup that is older than backups are kept may be gone. The newest of all has nothing after it that could tell: that
//! it is gone shows by the age of what is left, and in the other location.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, ToSpan};
use jm_step::StepError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalogue::{Entry, Status};
use crate::manifest::{Manifest, Previous};
use crate::name::BackupName;

/// The SHA-256 of each authentic manifest's file, as it was read.
pub(crate) type Files = BTreeMap<BackupName, String>;

/// A backup that is not as a later one found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Broken {
    /// Its name.
    pub name: BackupName,
    /// The later one, which tells of it.
    pub told_by: BackupName,
    /// Of what it was, where the later one says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// What became of it.
    pub how: Breach,
}

/// What became of a backup that a later one tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Breach {
    /// Nothing is left of it, though backups are kept for longer.
    Gone,
    /// Its file is there and its manifest is not.
    Unproven,
    /// Its manifest is another one.
    Changed,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, told_by, how, .. } = self;
        match how {
            Breach::Gone => write!(
                f,
                "`{name}` is in no location, which was the newest backup when `{told_by}` was made, and is not as old as backups \
                 are kept: it was removed, or lies where this target does not look"
            ),
            Breach::Unproven => write!(
                f,
                "the manifest of `{name}` is gone, which was the newest backup when `{told_by}` was made"
            ),
            Breach::Changed => write!(
                f,
                "the manifest of `{name}` is not the one that it had when `{told_by}` was made"
            ),
        }
    }
}

/// The moment from which on backups are kept, in any case.
pub(crate) fn kept_since(now: Timestamp, retention_days: u32) -> Result<Timestamp, StepError> {
    now.checked_sub((i64::from(retention_days) * 24).hours())
        .map_err(|error| StepError::invalid_input("`retention_days` leads to no moment").source(error))
}

/// Every backup that is not as a later one found it, newest first as `entries` are. What is missing is told only where
/// `all_answer`: else it may lie where nobody could look.
pub(crate) fn broken(entries: &[Entry], files: &Files, all_answer: bool, kept_since: Timestamp) -> Vec<Broken> {
    let there: BTreeMap<&BackupName, &Status> = entries.iter().map(|entry| (&entry.name, &entry.status)).collect();
    let links = entries.iter().filter_map(Entry::manifest);
    let links = links.filter_map(|manifest| manifest.previous.as_ref().map(|previous| (manifest, previous)));
    let mut broken: Vec<Broken> = Vec::new();
    for (manifest, previous) in links {
        let Some(how) = breach(previous, there.get(&previous.name).copied(), files) else {
            continue;
        };
        let may_be_gone = !all_answer || previous.name.taken_at() < kept_since;
        if how == Breach::Changed || !may_be_gone {
            broken.push(of(manifest, previous, how));
        }
    }
    // Two that were made at a time tell of the same one.
    let mut told = BTreeSet::new();
    broken.retain(|one| told.insert(one.name.clone()));
    broken
}

fn breach(previous: &Previous, there: Option<&Status>, files: &Files) -> Option<Breach> {
    match there {
        None => Some(Breach::Gone),
        Some(Status::Known(_)) => (files.get(&previous.name) != Some(&previous.manifest)).then_some(Breach::Changed),
        Some(Status::Unverified) => Some(Breach::Unproven),
        // These are told as what they are.
        Some(Status::OtherKey(_) | Status::Refused(_) | Status::Unread(..)) => None,
    }
}

fn of(manifest: &Manifest, previous: &Previous, how: Breach) -> Broken {
    Broken {
        name: previous.name.clone(),
        told_by: manifest.name.clone(),
        of: previous.of.clone(),
        how,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::BackupCopy;
    use crate::location::LocationName;
    use crate::manifest::sha256;
    use crate::manifest::tests::{keys, manifest};
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("time")
    }

    fn name(day: usize) -> String {
        format!("journeyman_backup_202401{day:02}_020000.dump.gpg")
    }

    /// A chain of so many days, newest first.
    fn chain(days: usize) -> (Vec<Entry>, Files) {
        let keys = keys("correct horse battery");
        let (mut entries, mut files) = (Vec::new(), Files::new());
        let mut previous = None;
        for day in 1..=days {
            let mut made = manifest(&name(day), &keys);
            made.previous = previous.take();
            let sum = sha256(&made.seal(&keys).expect("sealed"));
            previous = Some(Previous {
                name: made.name.clone(),
                of: None,
                manifest: sum.clone(),
            });
            files.insert(made.name.clone(), sum);
            let copy = BackupCopy {
                location: LocationName::Local,
                bytes: 4,
            };
            entries.insert(
                0,
                Entry {
                    name: made.name.clone(),
                    copies: vec![copy],
                    status: Status::Known(Box::new(made)),
                },
            );
        }
        (entries, files)
    }

    fn found(entries: &[Entry], files: &Files, all_answer: bool) -> Vec<(String, Breach)> {
        let broken = broken(entries, files, all_answer, at("2024-01-05T00:00:00Z"));
        broken.into_iter().map(|one| (one.name.to_string(), one.how)).collect()
    }

    proptest! {
        /// Against the rule in words: what was taken away shows where the next one is there to tell, it is young enough to
        /// be kept, and every location was looked at.
        #[test]
        fn what_is_taken_away_shows(days in 2_usize..20, gone in prop::collection::btree_set(1_usize..20, 0..6), all_answer: bool) {
            let (mut entries, mut files) = chain(days);
            entries.retain(|entry| !gone.iter().any(|day| entry.name.as_str() == name(*day)));
            files.retain(|file, _| !gone.iter().any(|day| file.as_str() == name(*day)));
            let told = gone.iter().rev().filter(|day| **day < days && !gone.contains(&(**day + 1)) && **day >= 5);
            let told: Vec<_> = told.map(|day| (name(*day), Breach::Gone)).collect();
            prop_assert_eq!(found(&entries, &files, all_answer), if all_answer { told } else { Vec::new() });
        }
    }

    #[test]
    fn a_manifest_that_is_another_or_gone_shows() {
        let (mut entries, mut files) = chain(9);
        assert_eq!(found(&entries, &files, true), []);
        files.insert(entries[2].name.clone(), sha256(b"another"));
        entries[4].status = Status::Unverified;
        // An old one, of which a changed manifest shows all the same.
        files.insert(entries[6].name.clone(), sha256(b"another"));
        let told = [(7, Breach::Changed), (5, Breach::Unproven), (3, Breach::Changed)];
        assert_eq!(found(&entries, &files, true), told.map(|(day, how)| (name(day), how)));
    }
}
