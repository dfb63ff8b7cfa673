//! Checksums of whole objects, as stores keep them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, Digest};
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

const MD5: &str = "md5";
/// What an algorithm is called that is the MD5 of the MD5s of parts, before the size of a part.
const OF_PARTS: &str = "md5-of-parts-of-";

/// A checksum over a whole object that the store has checked and kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// `crc64nvme`, `crc32` or `crc32c`; of an ETag that is a sum `md5`, or `md5-of-parts-of-` and the size of a part.
    pub algorithm: String,
    /// Its value as S3 writes it: the big-endian bytes in base64, or the ETag.
    pub value: String,
}

impl Checksum {
    pub(crate) fn new(algorithm: &str, value: &str) -> Self {
        Self {
            algorithm: algorithm.to_owned(),
            value: value.to_owned(),
        }
    }

    /// An ETag of an object that was written in parts of this size.
    pub(crate) fn of_parts(etag: &str, size: u64) -> Self {
        Self::new(&format!("{OF_PARTS}{size}"), etag.trim_matches('"'))
    }

    /// An ETag that is the MD5 of the content.
    pub(crate) fn of_etag(etag: &str) -> Option<Self> {
        let etag = etag.trim_matches('"');
        let is_md5 = etag.len() == 32 && etag.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_md5.then(|| Self::new(MD5, &etag.to_ascii_lowercase()))
    }

    /// Computes the same kind of checksum; `None` for a kind that jm does not know.
    pub fn hasher(&self) -> Option<Hasher> {
        match self.algorithm.as_str() {
            "crc64nvme" => Some(Hasher::crc64()),
            "crc32" => Some(Hasher::new(CrcAlgorithm::Crc32IsoHdlc, 4)),
            "crc32c" => Some(Hasher::new(CrcAlgorithm::Crc32Iscsi, 4)),
            MD5 => Some(Hasher(Kind::Md5(Md5::new()))),
            other => other.strip_prefix(OF_PARTS)?.parse().ok().map(Hasher::of_parts),
        }
    }
}

/// Computes a [`Checksum`] over bytes as they go by.
#[derive(Clone)]
pub struct Hasher(Kind);

#[derive(Clone)]
enum Kind {
    Crc { digest: Digest, width: usize },
    Md5(Md5),
    Parts(Parts),
}

impl Hasher {
    fn new(algorithm: CrcAlgorithm, width: usize) -> Self {
        let digest = Digest::new(algorithm);
        Self(Kind::Crc { digest, width })
    }

    fn of_parts(size: u64) -> Self {
        Self(Kind::Parts(Parts {
            size: size.max(1),
            done: Md5::new(),
            count: 0,
            part: Md5::new(),
            filled: 0,
        }))
    }

    /// CRC-64/NVME, which jm sends.
    pub fn crc64() -> Self {
        Self::new(CrcAlgorithm::Crc64Nvme, 8)
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Kind::Crc { digest, .. } => digest.update(bytes),
            Kind::Md5(md5) => md5.update(bytes),
            Kind::Parts(parts) => parts.update(bytes),
        }
    }

    /// The value over all bytes so far, as S3 writes it.
    pub fn value(&self) -> String {
        match &self.0 {
            Kind::Crc { digest, width } => {
                let value = digest.finalize().to_be_bytes();
                STANDARD.encode(&value[value.len() - width..])
            }
            Kind::Md5(md5) => format!("{:x}", md5.clone().finalize()),
            Kind::Parts(parts) => parts.clone().value(),
        }
    }
}

/// The MD5 of the MD5s of parts.
#[derive(Clone)]
struct Parts {
    size: u64,
    /// Over the sums of those that are full.
    done: Md5,
    count: u32,
    /// Over the bytes of the one under way.
    part: Md5,
    filled: u64,
}

impl Parts {
    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.filled == self.size {
                self.end_part();
            }
            let room = usize::try_from(self.size - self.filled).unwrap_or(usize::MAX);
            let (here, rest) = bytes.split_at(room.min(bytes.len()));
            self.part.update(here);
            self.filled += here.len() as u64;
            bytes = rest;
        }
    }

    fn end_part(&mut self) {
        self.done.update(self.part.finalize_reset());
        self.count += 1;
        self.filled = 0;
    }

    fn value(mut self) -> String {
        self.end_part();
        format!("{:x}-{}", self.done.finalize(), self.count)
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
    STANDARD.encode(Md5::digest(bytes))
}

/// The ETag of an object that was written in one request, where the store takes the MD5 for it.
pub(crate) fn etag(bytes: &[u8]) -> String {
    format!("{:x}", Md5::digest(bytes))
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

    #[test]
    fn an_etag_of_parts_is_the_sum_of_their_sums() {
        let of = |pieces: &[&[u8]]| {
            let mut hasher = Checksum::of_parts("\"x\"", 4).hasher().expect("known");
            for piece in pieces {
                hasher.update(piece);
            }
            hasher.value()
        };
        let sums = [Md5::digest(b"abcd"), Md5::digest(b"ef")].concat();
        let expected = format!("{:x}-2", Md5::digest(sums));
        assert_eq!(of(&[b"abcdef"]), expected);
        assert_eq!(of(&[b"a", b"bcde", b"", b"f"]), expected);
        let full = format!("{:x}-1", Md5::digest(Md5::digest(b"abcd")));
        assert_eq!(of(&[b"abcd"]), full, "no empty part after the last");
    }
}
