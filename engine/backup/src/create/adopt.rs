//! A copy whose maker died between giving it its name and giving its manifest the name: it is whole, if both say so.

#![expect(
    clippy::disallowed_types,
    reason = "a copy that is adopted is read from where it lies"
)]

use std::fs::File;
use std::io::Read;

use sha2::{Digest, Sha256};

use crate::key::KeyRing;
use crate::manifest::{self, Reading};
use crate::name::BackupName;

/// Whether manifest and content are authentic and belong together.
pub(super) fn belongs(name: &BackupName, text: &[u8], content: &mut File, keys: &KeyRing) -> bool {
    let Ok(Reading::Authentic(manifest, _)) = manifest::read(name, text, keys) else {
        return false;
    };
    digest(content).is_some_and(|(bytes, sha256)| bytes == manifest.bytes.encrypted && sha256 == manifest.sha256)
}

fn digest(content: &mut File) -> Option<(u64, String)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        let count = content.read(&mut buffer).ok()?;
        if count == 0 {
            return Some((bytes, hex::encode(hasher.finalize())));
        }
        hasher.update(&buffer[..count]);
        bytes += count as u64;
    }
}
