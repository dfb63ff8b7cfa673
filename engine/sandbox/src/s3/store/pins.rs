//! Objects being read: their bytes stay until the last reader is done, also when the version is deleted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::disk::{self, BucketFolder};
use super::locked;
use super::object::{Object, Segment};
use super::stamp::Stamp;

/// The objects under reading, by their first segment: the segments of an object stay together.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    held: Mutex<HashMap<Stamp, Held>>,
}

#[derive(Debug, Default)]
struct Held {
    readers: usize,
    /// Segments to remove when the last reader is done.
    doomed: Vec<Segment>,
}

/// Keeps an object's bytes on disk while it lives.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Arc<Pins>,
    folder: BucketFolder,
    pub(crate) object: Arc<Object>,
}

impl Pins {
    /// Pins an object. The caller holds the lock of its key, so that the object is still there.
    pub(crate) fn pin(self: &Arc<Self>, folder: &BucketFolder, object: &Arc<Object>) -> Pin {
        if let Some(first) = object.segments.first() {
            locked(&self.held).entry(first.file).or_default().readers += 1;
        }
        Pin {
            pins: Arc::clone(self),
            folder: folder.clone(),
            object: Arc::clone(object),
        }
    }

    /// Removes the bytes of an object, now or when its last reader is done.
    pub(crate) fn remove(&self, folder: &BucketFolder, object: &Object) {
        let Some(first) = object.segments.first() else { return };
        match locked(&self.held).get_mut(&first.file) {
            Some(held) => held.doomed.clone_from(&object.segments),
            None => remove_files(folder, &object.segments),
        }
    }

    fn release(&self, first: Stamp) -> Vec<Segment> {
        let mut held = locked(&self.held);
        let Some(entry) = held.get_mut(&first) else {
            return Vec::new();
        };
        entry.readers -= 1;
        if entry.readers > 0 {
            return Vec::new();
        }
        held.remove(&first).map(|entry| entry.doomed).unwrap_or_default()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let Some(first) = self.object.segments.first() else {
            return;
        };
        remove_files(&self.folder, &self.pins.release(first.file));
    }
}

/// Removes data files. What cannot be removed stays until the next start: nothing names it any more.
pub(crate) fn remove_files(folder: &BucketFolder, segments: &[Segment]) {
    for segment in segments {
        if let Err(error) = disk::remove(&folder.segment(segment.file)) {
            tracing::warn!(%error, "a data file that nothing names stays until the next start");
        }
    }
}
