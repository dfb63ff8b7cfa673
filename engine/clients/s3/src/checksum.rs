//! Checksums of whole objects, as stores keep them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, Digest};
use serde::{Deserialize, Serialize};

/// A checksum over a whole object that the store has checked and kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// `crc64nvme`, `crc32` or `crc32c`.
    pub algorithm: String,
    /// Its value as S3 writes it: the big-endian bytes in base64.
    pub value: String,
}

impl Checksum {
    pub(crate) fn new(algorithm: &str, value: &str) -> Self {
        Self {
            algorithm: algorithm.to_owned(),
            value: value.to_owned(),
        }
    }

    /// Computes the same kind of checksum; `None` for a kind that jm does not know.
    pub fn hasher(&self) -> Option<Hasher> {
        match self.algorithm.as_str() {
            "crc64nvme" => Some(Hasher::crc64()),
            "crc32" => Some(Hasher::new(CrcAlgorithm::Crc32IsoHdlc, 4)),
            "crc32c" => Some(Hasher::new(CrcAlgorithm::Crc32Iscsi, 4)),
            _ => None,
        }
    }
}

/// Computes a [`Checksum`] over bytes as they go by.
#[derive(Clone)]
pub struct Hasher {
    digest: Digest,
    width: usize,
}

impl Hasher {
    fn new(algorithm: CrcAlgorithm, width: usize) -> Self {
        Self {
            digest: Digest::new(algorithm),
            width,
        }
    }

    /// CRC-64/NVME, which jm sends.
    pub fn crc64() -> Self {
        Self::new(CrcAlgorithm::Crc64Nvme, 8)
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
    }

    /// The value over all bytes so far, as S3 writes it.
    pub fn value(&self) -> String {
        let value = self.digest.finalize().to_be_bytes();
        STANDARD.encode(&value[value.len() - self.width..])
    }
}

/// CRC-64/NVME of these bytes, as S3 writes it.
pub(crate) fn crc64(bytes: &[u8]) -> String {
    let mut hasher = Hasher::crc64();
    hasher.update(bytes);
    hasher.value()
}

/// `Content-MD5` of these bytes.
pub(crate) fn md5(bytes: &[u8]) -> String {
    use md5::Digest as _;
    STANDARD.encode(md5::Md5::digest(bytes))
}

/// The ETag of an object that was written in one request, where the store takes the MD5 for it.
pub(crate) fn etag(bytes: &[u8]) -> String {
    use md5::Digest as _;
    format!("{:x}", md5::Md5::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_catalogues() {
        // The check values of the CRC catalogue, over `123456789`.
        for (algorithm, value) in [
            ("crc64nvme", &0xae8b_1486_0a79_9888_u64.to_be_bytes()[..]),
            ("crc32", &0xcbf4_3926_u32.to_be_bytes()[..]),
            ("crc32c", &0xe306_9283_u32.to_be_bytes()[..]),
        ] {
            let mut hasher = Checksum::new(algorithm, "").hasher().expect("known");
            hasher.update(b"12345");
            hasher.update(b"6789");
            assert_eq!(hasher.value(), STANDARD.encode(value), "{algorithm}");
        }
        assert_eq!(
            crc64(b"123456789"),
            STANDARD.encode(0xae8b_1486_0a79_9888_u64.to_be_bytes())
        );
        assert_eq!(md5(b""), "1B2M2Y8AsgTpgAmY7PhCfg==");
        assert!(Checksum::new("xxhash", "").hasher().is_none());
    }
}
