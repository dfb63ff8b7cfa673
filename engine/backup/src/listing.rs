//! The catalogue as `jm backup list` shows it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::backups::BackupsReader;
use crate::catalogue::{Catalogue, Entry, Status};
use crate::location::LocationName;
use crate::manifest::Manifest;
use crate::name::ContentKind;

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Row {
    /// The backup's name.
    pub name: String,
    /// Of which kind of system it is.
    pub kind: ContentKind,
    /// What it is of: the database, or the namespaces; none where it has no manifest.
    pub of: Option<String>,
    /// The moment of its data, RFC 3339.
    pub created_at: String,
    /// How old that is, in seconds.
    pub age_seconds: i64,
    /// The size of its file.
    pub bytes: u64,
    /// Its label.
    pub label: Option<String>,
    /// How far it was proven (`L1` to `L4`), or `unverified`, `other key`, `refused`.
    pub level: String,
    /// Why it is not to be believed, where it is not.
    pub problem: Option<String>,
    /// The key that opens it.
    pub key_id: Option<String>,
    /// The version of the server it was made from.
    pub server_version: Option<String>,
    /// Where its copies lie.
    pub locations: Vec<LocationName>,
    /// Until when retention leaves it alone, RFC 3339.
    pub pin_until: Option<String>,
}

impl BackupsReader {
    /// The lines of a listing, newest first.
    pub fn rows(&self, catalogue: &Catalogue, now: Timestamp) -> Vec<Row> {
        catalogue
            .entries
            .iter()
            .map(|entry| row(entry, self.prefix(), now))
            .collect()
    }
}

fn row(entry: &Entry, prefix: &str, now: Timestamp) -> Row {
    let manifest = entry.manifest();
    let (level, problem) = standing(entry);
    let key_id = match &entry.status {
        Status::OtherKey(key) => Some(key.id.clone()),
        _ => manifest.map(|manifest| manifest.key.id.clone()),
    };
    Row {
        name: entry.name.to_string(),
        kind: entry.kind(),
        of: manifest.map(Manifest::of),
        created_at: entry.created_at().to_string(),
        age_seconds: now.duration_since(entry.created_at()).as_secs(),
        bytes: entry.copies.iter().map(|copy| copy.bytes).max().unwrap_or(0),
        label: entry.label(prefix).map(str::to_owned),
        level,
        problem,
        key_id,
        server_version: manifest.map(|manifest| manifest.server_version().to_owned()),
        locations: entry.copies.iter().map(|copy| copy.location).collect(),
        pin_until: manifest
            .and_then(|manifest| manifest.pin_until)
            .map(|until| until.to_string()),
    }
}

fn standing(entry: &Entry) -> (String, Option<String>) {
    let odd = |copies: &str| Some(copies.to_owned()).filter(|_| entry.copies.is_empty());
    match &entry.status {
        Status::Known(manifest) => {
            let expected = manifest.bytes.encrypted;
            let short = entry.copies.iter().find(|copy| copy.bytes != expected);
            let short =
                short.map(|copy| format!("the copy in {} has {} bytes of {expected}", copy.location, copy.bytes));
            (
                manifest.level.short().to_owned(),
                short.or_else(|| odd("its file is gone")),
            )
        }
        Status::Unverified => ("unverified".to_owned(), None),
        Status::OtherKey(key) => ("other key".to_owned(), Some(format!("it needs key `{}`", key.id))),
        Status::Refused(why) => ("refused".to_owned(), Some(why.clone())),
        Status::Unread(_, why) => ("unread".to_owned(), Some(format!("its manifest cannot be read: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::BackupCopy;
    use crate::manifest::tests::{keys, manifest};

    #[test]
    fn a_row_says_how_far_a_backup_can_be_trusted() {
        let ours = keys("correct horse battery");
        let known = manifest("pre_migration_20240115_020000.dump.gpg", &ours);
        let mut entry = Entry {
            name: known.name.clone(),
            copies: vec![BackupCopy {
                location: LocationName::Local,
                bytes: 4,
            }],
            status: Status::Unverified,
        };
        let now = "2024-01-15T03:00:00Z".parse().expect("time");
        let unverified = row(&entry, "journeyman_backup", now);
        assert_eq!(
            (unverified.level.as_str(), unverified.age_seconds),
            ("unverified", 3600)
        );
        assert_eq!(unverified.label.as_deref(), Some("pre_migration"));
        entry.status = Status::Known(Box::new(known));
        assert_eq!(
            (row(&entry, "x", now).level.as_str(), row(&entry, "x", now).problem),
            ("L3", None)
        );
        entry.copies[0].bytes = 3;
        assert!(row(&entry, "x", now).problem.expect("short").contains("3 bytes of 4"));
    }
}
