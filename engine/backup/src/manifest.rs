//! What is known of a backup, written when all of it is true: one file beside each copy, never changed, authenticated.
//!
//! The file is JSON whose first entry is `mac`: HMAC-SHA256, under a key derived from the passphrase, over the whole file
//! with zeros where the tag stands. So it covers the very bytes, and no canonical form is needed to check it.

use jiff::Timestamp;
use jm_step::StepError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::content::Content;
use crate::key::{KeyId, KeyRing};
use crate::name::{BackupName, Format};

const FORMAT: u32 = 1;
const OPENING: &str = "{\n  \"mac\": \"";
const TAG: usize = 64;

/// How far a backup was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// L1: every byte is there and has its checksum.
    Checksum,
    /// L2: it decrypts and unpacks to its end.
    Decrypt,
    /// L3: its content is a whole dump, of which every block was read; or whole objects, of which every one was.
    Archive,
    /// L4: it was restored.
    Restored,
}

impl Level {
    /// The short name, such as `L3`.
    pub fn short(self) -> &'static str {
        match self {
            Self::Checksum => "L1",
            Self::Decrypt => "L2",
            Self::Archive => "L3",
            Self::Restored => "L4",
        }
    }
}

/// Sizes in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sizes {
    /// What `pg_dump` wrote, or the objects as text.
    pub raw: u64,
    /// The same, compressed.
    pub compressed: u64,
    /// The file.
    pub encrypted: u64,
}

/// How long the parts took, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Seconds {
    /// Dumping, compressing, encrypting and writing, which go on together.
    pub dump: u64,
    /// Reading back.
    pub verify: u64,
}

/// The backup made before this one: a catalogue from which one was taken away, or put back, shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Previous {
    /// Its name.
    pub name: BackupName,
    /// Of what it is: a database, or namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// SHA-256 of its manifest.
    pub manifest: String,
}

/// The release of the application that ran when a backup was made: the code that fits its data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Release {
    /// The commit, by its full hash; empty where it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub commit: String,
    /// The tag by which it was named, where one was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tag: String,
    /// The image, by its digest; empty where it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
}

/// All that is known of a backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// Of this file: 1.
    pub format: u32,
    /// The backup's name, as its file is called.
    pub name: BackupName,
    /// The moment of the data: when the snapshot was taken.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// The label, where it was made with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Until when retention leaves it alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub pin_until: Option<Timestamp>,
    /// What is inside.
    pub dump: Format,
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// SHA-256 of what is inside, hex.
    pub raw_sha256: String,
    /// Sizes.
    pub bytes: Sizes,
    /// Which key opens it.
    pub key: KeyId,
    /// How far it was proven before this was written.
    pub level: Level,
    /// What it is of. Its fields stand here beside the others, where those of a database have always stood.
    #[serde(flatten)]
    pub content: Content,
    /// How long it took.
    pub seconds: Seconds,
    /// The backup before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// The release that ran, where that was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// The run that made it.
    pub run: String,
    /// The deed that made it, so that an interrupted step finds its work.
    pub idempotency_key: String,
    /// The jm that made it.
    pub jm: String,
}

/// What a manifest file turned out to be.
#[derive(Debug, Clone)]
pub(crate) enum Reading {
    /// With the SHA-256 of its file.
    Authentic(Box<Manifest>, String),
    /// Made with another key, of which this is the id.
    OtherKey(KeyId),
    /// Not what was written, or not by us.
    Refused(String),
}

#[derive(Serialize)]
struct Written<'m> {
    mac: String,
    #[serde(flatten)]
    manifest: &'m Manifest,
}

impl Manifest {
    pub(crate) fn format() -> u32 {
        FORMAT
    }

    /// The file's text.
    pub(crate) fn seal(&self, keys: &KeyRing) -> Result<Vec<u8>, StepError> {
        let written = Written {
            mac: "0".repeat(TAG),
            manifest: self,
        };
        let mut text = serde_json::to_vec_pretty(&written)
            .map_err(|error| StepError::failed("a manifest cannot be written as JSON").source(error))?;
        text.push(b'\n');
        let tag = keys.mac(&self.key.salt, &text)?;
        text[OPENING.len()..OPENING.len() + TAG].copy_from_slice(tag.as_bytes());
        Ok(text)
    }
}

/// Reads a manifest file, and believes it only if it is ours and of this backup.
pub(crate) fn read(name: &BackupName, text: &[u8], keys: &KeyRing) -> Result<Reading, StepError> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
        key: KeyId,
    }
    let refused = |why: &str| Ok(Reading::Refused(why.to_owned()));
    let Some((tag, zeroed)) = take_tag(text) else {
        return refused("it is not a manifest");
    };
    let Ok(head) = serde_json::from_slice::<Head>(text) else {
        return refused("it is not a manifest");
    };
    if head.format > FORMAT {
        return refused("it was written by a newer jm");
    }
    if !keys.is_ours(&head.key)? {
        return Ok(Reading::OtherKey(head.key));
    }
    if !keys.verify(&head.key.salt, &zeroed, &tag)? {
        return refused("its authentication does not fit: it was changed, or put together by somebody without the key");
    }
    match serde_json::from_slice::<Manifest>(text) {
        Ok(manifest) if manifest.name == *name => Ok(Reading::Authentic(Box::new(manifest), sha256(text))),
        Ok(manifest) => refused(&format!("it is the manifest of `{}`", manifest.name)),
        Err(error) => refused(&format!("it does not fit this jm: {error}")),
    }
}

fn take_tag(text: &[u8]) -> Option<(String, Vec<u8>)> {
    let rest = text.strip_prefix(OPENING.as_bytes())?;
    let tag = std::str::from_utf8(rest.get(..TAG)?).ok()?.to_owned();
    let mut zeroed = text.to_vec();
    zeroed[OPENING.len()..OPENING.len() + TAG].fill(b'0');
    Some((tag, zeroed))
}

/// SHA-256, hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::content::DatabaseContent;
    use crate::key::Passphrase;
    use jm_step::Secret;
    use proptest::prelude::*;

    pub(crate) fn keys(text: &str) -> KeyRing {
        KeyRing::new(Passphrase::new(&Secret::new(text)).expect("key"))
    }

    pub(crate) fn manifest(name: &str, keys: &KeyRing) -> Manifest {
        let name: BackupName = name.parse().expect("name");
        let inventory = serde_json::json!({
            "taken_at": "2024-01-15T02:00:00Z", "database": "journeyman_prod", "server_version": "15.14",
            "server_version_num": 150_014, "encoding": "UTF8", "collation": "C.UTF-8", "extensions": {}, "tables": {},
            "sequences": {}, "materialized_views": {}, "invalid_indexes": [], "invalid_constraints": [],
            "size_bytes": 1_000_000,
        });
        Manifest {
            format: FORMAT,
            created_at: name.taken_at(),
            label: None,
            pin_until: None,
            dump: name.format(),
            sha256: sha256(b"file"),
            raw_sha256: sha256(b"dump"),
            bytes: Sizes {
                raw: 4,
                compressed: 4,
                encrypted: 4,
            },
            key: keys.identify(Some("00".repeat(16))).expect("id"),
            level: Level::Archive,
            content: Content::Database(Box::new(DatabaseContent {
                client_version: "15.14".to_owned(),
                parameters: vec!["--format=custom".to_owned()],
                roles: vec!["jm".to_owned()],
                owners: Vec::new(),
                inventory: serde_json::from_value(inventory).expect("inventory"),
                belongings: None,
                system_identifier: None,
                ctype: None,
            })),
            seconds: Seconds::default(),
            previous: None,
            release: None,
            run: "r".to_owned(),
            idempotency_key: "k".to_owned(),
            jm: "0".to_owned(),
            name,
        }
    }

    const NAME: &str = "journeyman_backup_20240115_020000.dump.gpg";

    #[test]
    fn what_was_sealed_is_believed_under_its_own_name_only() {
        let ours = keys("correct horse battery");
        let sealed = manifest(NAME, &ours).seal(&ours).expect("seal");
        assert!(
            serde_json::from_slice::<serde_json::Value>(&sealed).is_ok(),
            "plain JSON"
        );
        let name: BackupName = NAME.parse().expect("name");
        assert!(matches!(read(&name, &sealed, &ours).expect("read"), Reading::Authentic(m, _) if m.name == name));
        let newer: BackupName = "journeyman_backup_20240116_020000.dump.gpg".parse().expect("name");
        assert!(matches!(
            read(&newer, &sealed, &ours).expect("read"),
            Reading::Refused(_)
        ));
        let theirs = keys("another horse battery");
        assert!(matches!(
            read(&name, &sealed, &theirs).expect("read"),
            Reading::OtherKey(_)
        ));
    }

    /// As it was written before there was anything but databases.
    #[test]
    fn a_manifest_from_before_there_were_kinds_reads_and_seals_to_the_same_bytes() {
        let ours = keys("correct horse battery");
        let new = manifest(NAME, &ours);
        // The fields and their order then.
        let order = [
            "format",
            "name",
            "created_at",
            "dump",
            "sha256",
            "raw_sha256",
            "bytes",
            "key",
            "level",
            "client_version",
            "parameters",
            "roles",
            "inventory",
            "seconds",
            "run",
            "idempotency_key",
            "jm",
        ];
        let sealed = new.seal(&ours).expect("seal");
        let text = String::from_utf8(sealed.clone()).expect("text");
        let places: Vec<usize> = order
            .iter()
            .map(|field| text.find(&format!("\n  \"{field}\": ")).expect("field"))
            .collect();
        assert!(places.is_sorted(), "the old order: {text}");
        let all: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).expect("json");
        assert_eq!(all.len(), order.len() + 1, "and the tag, and no new field");
        let name: BackupName = NAME.parse().expect("name");
        let Reading::Authentic(read, file) = read(&name, &sealed, &ours).expect("read") else {
            panic!("not believed");
        };
        assert_eq!(read.seal(&ours).expect("seal"), sealed);
        assert_eq!(file, sha256(&sealed));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn any_changed_byte_is_refused(place in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let ours = keys("correct horse battery");
            let mut sealed = manifest(NAME, &ours).seal(&ours).expect("seal");
            let at = place.index(sealed.len());
            sealed[at] ^= 1 << bit;
            let name: BackupName = NAME.parse().expect("name");
            let believed = matches!(read(&name, &sealed, &ours), Ok(Reading::Authentic(..)));
            prop_assert!(!believed, "byte {at}, bit {bit}");
        }
    }
}
