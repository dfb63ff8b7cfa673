//! Multipart uploads: parts that lie on disk until they become an object or are given up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use jm_step::clock;
use s3s::crypto::{Checksum as _, Md5};
use serde::{Deserialize, Serialize};

use super::blob::Blob;
use super::bucket::{Bucket, Held};
use super::checksum::{self, Algorithm, Checksums, Kind};
use super::disk;
use super::error::StoreError;
use super::history::History;
use super::object::{Details, Object, Segment};
use super::objects::{Condition, Written};
use super::pins::remove_files;
use super::stamp::Stamp;
use super::{locked, read, write};
use crate::SandboxError;

/// Every part but the last has at least this many bytes.
pub(crate) const SMALLEST_PART: u64 = 5 << 20;

/// The uploads under way, by key and in the order in which they began.
pub(crate) type Uploads = BTreeMap<(String, Stamp), Arc<Upload>>;

/// What was said when an upload began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) key: String,
    pub(crate) id: Stamp,
    pub(crate) initiated: Timestamp,
    pub(crate) details: Details,
    /// The checksum that the object will have.
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) kind: Option<Kind>,
}

impl Plan {
    /// The checksum that the object will have: S3's default where the client named none.
    pub(crate) fn checksum(&self) -> (Algorithm, Kind) {
        let algorithm = self.algorithm.unwrap_or(Algorithm::Crc64nvme);
        (algorithm, self.kind.unwrap_or(algorithm.default_kind()))
    }
}

/// A part that was uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// 1 to 10,000.
    pub(crate) number: u16,
    /// MD5 in hex, without quotes.
    pub(crate) etag: String,
    pub(crate) segment: Segment,
    pub(crate) checksums: Checksums,
    pub(crate) modified: Timestamp,
}

/// An upload under way.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) plan: Plan,
    parts: Mutex<BTreeMap<u16, Arc<Part>>>,
}

impl Upload {
    /// The parts uploaded so far, in order.
    pub(crate) fn parts(&self) -> Vec<Arc<Part>> {
        locked(&self.parts).values().cloned().collect()
    }

    /// Reads an upload's folder; none where the upload was never begun whole.
    pub(super) fn load(folder: &Path) -> Result<Option<Self>, SandboxError> {
        let record = folder.join("upload.json");
        if !record.exists() {
            return Ok(None);
        }
        let mut parts = BTreeMap::new();
        for path in disk::entries(folder)?.into_iter().filter(|path| *path != record) {
            let part: Part = disk::load(&path)?;
            parts.insert(part.number, Arc::new(part));
        }
        Ok(Some(Self {
            plan: disk::load(&record)?,
            parts: Mutex::new(parts),
        }))
    }
}

/// A part as the request that completes an upload names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) number: u16,
    /// Without quotes.
    pub(crate) etag: Option<String>,
    pub(crate) checksums: BTreeMap<Algorithm, String>,
}

/// The request that completes an upload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Completion {
    pub(crate) parts: Vec<Wanted>,
    /// What the whole object's checksums must be.
    pub(crate) checksums: BTreeMap<Algorithm, String>,
    /// How many bytes the object must have.
    pub(crate) size: Option<u64>,
    pub(crate) condition: Condition,
}

impl Bucket {
    /// Begins an upload.
    pub(crate) fn begin_upload(
        &self,
        key: &str,
        details: Details,
        algorithm: Option<Algorithm>,
        kind: Option<Kind>,
    ) -> Result<Plan, StoreError> {
        let _held = self.hold(key)?;
        let plan = Plan {
            key: key.to_owned(),
            id: self.shared.stamps.next(),
            initiated: clock::now(),
            details,
            algorithm,
            kind,
        };
        self.folder
            .save(&self.folder.upload(plan.id).join("upload.json"), &plan)?;
        let upload = Upload {
            plan: plan.clone(),
            parts: Mutex::default(),
        };
        write(&self.uploads).insert((plan.key.clone(), plan.id), Arc::new(upload));
        Ok(plan)
    }

    /// The upload of that key and id.
    pub(crate) fn upload(&self, key: &str, id: Stamp) -> Result<Arc<Upload>, StoreError> {
        let found = read(&self.uploads).get(&(key.to_owned(), id)).cloned();
        found.ok_or(StoreError::NoSuchUpload)
    }

    /// All uploads under way, by key and then in the order in which they began.
    pub(crate) fn uploads(&self) -> Vec<Arc<Upload>> {
        read(&self.uploads).values().cloned().collect()
    }

    /// Puts a part, in the place of one with the same number.
    pub(crate) fn put_part(&self, key: &str, id: Stamp, number: u16, blob: Blob) -> Result<Arc<Part>, StoreError> {
        let _held = self.hold(key)?;
        let upload = self.upload(key, id)?;
        let part = Arc::new(Part {
            number,
            etag: blob.etag(),
            segment: blob.segment,
            checksums: blob.checksums.clone(),
            modified: clock::now(),
        });
        self.folder.save(&self.folder.part(id, number), &*part)?;
        blob.keep();
        let replaced = locked(&upload.parts).insert(number, Arc::clone(&part));
        if let Some(old) = replaced {
            remove_files(&self.folder, &[old.segment]);
        }
        Ok(part)
    }

    /// Makes an object of an upload's parts. Asked again after it was done, it answers the same.
    pub(crate) fn complete_upload(&self, key: &str, id: Stamp, completion: &Completion) -> Result<Written, StoreError> {
        let held = self.hold(key)?;
        let Ok(upload) = self.upload(key, id) else {
            return made_by(&held, id).ok_or(StoreError::NoSuchUpload);
        };
        let parts = chosen(&upload.parts(), &completion.parts)?;
        let object = assemble(&upload.plan, &parts, completion)?;
        completion.condition.check(&held.history())?;
        let written = held.push(object)?;
        let used = parts.iter().map(|part| part.segment.file).collect();
        self.forget(&upload, &used)?;
        Ok(written)
    }

    /// Gives an upload up: its parts go.
    pub(crate) fn abort_upload(&self, key: &str, id: Stamp) -> Result<(), StoreError> {
        let _held = self.hold(key)?;
        let upload = self.upload(key, id)?;
        self.forget(&upload, &BTreeSet::new())
    }

    /// Removes an upload and those of its parts' bytes that no object uses.
    fn forget(&self, upload: &Upload, used: &BTreeSet<Stamp>) -> Result<(), StoreError> {
        self.folder.discard(&self.folder.upload(upload.plan.id))?;
        write(&self.uploads).remove(&(upload.plan.key.clone(), upload.plan.id));
        let parts = upload.parts();
        let unused = parts
            .iter()
            .map(|part| part.segment)
            .filter(|s| !used.contains(&s.file));
        remove_files(&self.folder, &unused.collect::<Vec<_>>());
        Ok(())
    }
}

/// The version that an upload became.
fn made_by(held: &Held<'_>, id: Stamp) -> Option<Written> {
    let history: Arc<History> = held.history();
    let of_upload = |object: &&Arc<Object>| object.upload == Some(id);
    history.versions.iter().find_map(|version| {
        let object = version.object.as_ref().filter(of_upload)?;
        Some(Written {
            version: held.shown(version),
            modified: version.modified,
            object: Arc::clone(object),
        })
    })
}

/// The uploaded parts that the request names, after checking that they are what it says.
fn chosen(parts: &[Arc<Part>], wanted: &[Wanted]) -> Result<Vec<Arc<Part>>, StoreError> {
    if !wanted.is_sorted_by(|a, b| a.number < b.number) {
        return Err(StoreError::InvalidPartOrder);
    }
    let found: Vec<_> = wanted
        .iter()
        .map(|want| matching(parts, want))
        .collect::<Result<_, _>>()?;
    let small = found
        .iter()
        .rev()
        .skip(1)
        .find(|part| part.segment.size < SMALLEST_PART);
    match small {
        Some(part) => Err(StoreError::PartTooSmall {
            part: part.number,
            size: part.segment.size,
        }),
        None => Ok(found),
    }
}

fn matching(parts: &[Arc<Part>], want: &Wanted) -> Result<Arc<Part>, StoreError> {
    let refused = || StoreError::InvalidPart(want.number);
    let place = parts.binary_search_by_key(&want.number, |part| part.number);
    let part = &parts[place.map_err(|_| refused())?];
    let same = want.etag.as_ref().is_none_or(|etag| *etag == part.etag);
    if same && part.checksums.mismatch(&want.checksums).is_none() {
        Ok(Arc::clone(part))
    } else {
        Err(refused())
    }
}

/// The object of these parts, after checking that it is what the request says.
fn assemble(plan: &Plan, parts: &[Arc<Part>], completion: &Completion) -> Result<Object, StoreError> {
    let size = parts.iter().map(|part| part.segment.size).sum();
    if completion.size.is_some_and(|expected| expected != size) {
        return Err(StoreError::WrongSize { actual: size });
    }
    let (algorithm, kind) = plan.checksum();
    let sums: Vec<_> = parts.iter().map(|part| (&part.checksums, part.segment.size)).collect();
    let value = checksum::join(algorithm, kind, &sums).map(|value| (algorithm, value));
    let checksums = Checksums {
        kind,
        values: value.into_iter().collect(),
    };
    if let Some(algorithm) = checksums.mismatch(&completion.checksums) {
        return Err(StoreError::WrongChecksum(algorithm));
    }
    Ok(Object {
        etag: etag_of(parts),
        size,
        segments: parts.iter().map(|part| part.segment).collect(),
        checksums,
        details: plan.details.clone(),
        upload: Some(plan.id),
    })
}

/// The MD5 of the parts' MD5s, and how many they are.
fn etag_of(parts: &[Arc<Part>]) -> String {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(&hex::decode(&part.etag).unwrap_or_default());
    }
    format!("{}-{}", hex::encode(md5.finalize()), parts.len())
}
