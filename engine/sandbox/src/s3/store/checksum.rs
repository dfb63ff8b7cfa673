//! Digests of a body: MD5 for the ETag and the checksums that a client sent or asked for.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::CrcAlgorithm;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use serde::{Deserialize, Serialize};

/// The checksum algorithms of S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    /// Every algorithm, in the order of the S3 reference.
    pub(crate) const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64nvme, Self::Sha1, Self::Sha256];

    /// The name as S3 writes it, such as `CRC32C`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The algorithm of that name, in any case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name().eq_ignore_ascii_case(name))
    }

    /// How many bytes a checksum has.
    pub(crate) fn width(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// The kind that a multipart upload gets when it does not say.
    pub(crate) fn default_kind(self) -> Kind {
        if self == Self::Crc64nvme {
            Kind::Full
        } else {
            Kind::Composite
        }
    }

    fn digest(self, data: &[u8]) -> String {
        match self {
            Self::Crc32 => BASE64.encode(Crc32::checksum(data)),
            Self::Crc32c => BASE64.encode(Crc32c::checksum(data)),
            Self::Crc64nvme => BASE64.encode(Crc64Nvme::checksum(data)),
            Self::Sha1 => BASE64.encode(Sha1::checksum(data)),
            Self::Sha256 => BASE64.encode(Sha256::checksum(data)),
        }
    }

    /// The CRC that can be joined from those of the parts; none for the SHA family.
    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }
}

/// What a checksum covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Kind {
    /// The object's bytes.
    #[default]
    #[serde(rename = "FULL_OBJECT")]
    Full,
    /// The checksums of its parts; such a value ends in `-` and the number of parts.
    Composite,
}

/// Checksums in base64, by algorithm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checksums {
    pub(crate) kind: Kind,
    pub(crate) values: BTreeMap<Algorithm, String>,
}

impl Checksums {
    /// The value of one algorithm, where it is there.
    pub(crate) fn get(&self, algorithm: Algorithm) -> Option<String> {
        self.values.get(&algorithm).cloned()
    }

    /// The first algorithm whose value differs from the one expected.
    pub(crate) fn mismatch(&self, expected: &BTreeMap<Algorithm, String>) -> Option<Algorithm> {
        let differs = |(algorithm, value): &(&Algorithm, &String)| self.values.get(algorithm) != Some(value);
        expected.iter().find(differs).map(|(algorithm, _)| *algorithm)
    }

    /// Keeps only the algorithms of the set.
    pub(crate) fn retain(&mut self, keep: &BTreeSet<Algorithm>) {
        self.values.retain(|algorithm, _| keep.contains(algorithm));
    }
}

/// Computes MD5 and the asked-for checksums in one pass.
pub(crate) struct Digests {
    md5: Md5,
    rest: ChecksumHasher,
}

impl Digests {
    /// Digests for the algorithms of the set; MD5 always.
    pub(crate) fn new(algorithms: &BTreeSet<Algorithm>) -> Self {
        let wanted = |algorithm| algorithms.contains(&algorithm);
        let rest = ChecksumHasher {
            crc32: wanted(Algorithm::Crc32).then(Crc32::new),
            crc32c: wanted(Algorithm::Crc32c).then(Crc32c::new),
            sha1: wanted(Algorithm::Sha1).then(Sha1::new),
            sha256: wanted(Algorithm::Sha256).then(Sha256::new),
            crc64nvme: wanted(Algorithm::Crc64nvme).then(Crc64Nvme::new),
        };
        Self { md5: Md5::new(), rest }
    }

    /// Takes the next bytes of the body.
    pub(crate) fn update(&mut self, data: &[u8]) {
        self.md5.update(data);
        self.rest.update(data);
    }

    /// The MD5 and the checksums of all bytes taken.
    pub(crate) fn finish(self) -> ([u8; 16], Checksums) {
        let sums = self.rest.finalize();
        let found = [
            (Algorithm::Crc32, sums.checksum_crc32),
            (Algorithm::Crc32c, sums.checksum_crc32c),
            (Algorithm::Crc64nvme, sums.checksum_crc64nvme),
            (Algorithm::Sha1, sums.checksum_sha1),
            (Algorithm::Sha256, sums.checksum_sha256),
        ];
        let values = found.into_iter().filter_map(|(a, v)| Some((a, v?))).collect();
        (
            self.md5.finalize(),
            Checksums {
                kind: Kind::Full,
                values,
            },
        )
    }
}

/// The checksum of a whole object from those of its parts, given with their sizes in bytes.
///
/// None where a part lacks the checksum, or where the algorithm cannot be joined (SHA over the full object).
pub(crate) fn join(algorithm: Algorithm, kind: Kind, parts: &[(&Checksums, u64)]) -> Option<String> {
    let raw: Option<Vec<_>> = parts
        .iter()
        .map(|(sums, size)| Some((decode(algorithm, sums.values.get(&algorithm)?)?, *size)))
        .collect();
    match kind {
        Kind::Composite => Some(composite(algorithm, &raw?)),
        Kind::Full => joined_crc(algorithm, &raw?),
    }
}

/// The bytes of a checksum in base64; none where it is not one of this algorithm.
pub(crate) fn decode(algorithm: Algorithm, text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok().filter(|raw| raw.len() == algorithm.width())
}

fn composite(algorithm: Algorithm, parts: &[(Vec<u8>, u64)]) -> String {
    let all: Vec<u8> = parts.iter().flat_map(|(raw, _)| raw.iter().copied()).collect();
    format!("{}-{}", algorithm.digest(&all), parts.len())
}

fn joined_crc(algorithm: Algorithm, parts: &[(Vec<u8>, u64)]) -> Option<String> {
    let crc = algorithm.crc()?;
    let (first, rest) = parts.split_first()?;
    let whole = rest.iter().fold(number(&first.0), |sum, (raw, size)| {
        crc_fast::checksum_combine(crc, sum, number(raw), *size)
    });
    Some(BASE64.encode(&whole.to_be_bytes()[8 - algorithm.width()..]))
}

fn number(raw: &[u8]) -> u64 {
    raw.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(data: &[u8]) -> Checksums {
        let mut digests = Digests::new(&Algorithm::ALL.into());
        digests.update(data);
        digests.finish().1
    }

    #[test]
    fn known_values_of_the_check_string() {
        let found = sums(b"123456789");
        assert_eq!(
            found.get(Algorithm::Crc32).unwrap(),
            BASE64.encode(0xcbf4_3926_u32.to_be_bytes())
        );
        assert_eq!(
            found.get(Algorithm::Crc32c).unwrap(),
            BASE64.encode(0xe306_9283_u32.to_be_bytes())
        );
        let crc64 = BASE64.encode(0xae8b_1486_0a79_9888_u64.to_be_bytes());
        assert_eq!(found.get(Algorithm::Crc64nvme).unwrap(), crc64);
    }

    #[test]
    fn joined_crcs_are_those_of_the_whole() {
        let parts: [&[u8]; 4] = [b"the first part", b"", b"the second", b"3"];
        let whole = sums(&parts.concat());
        let each: Vec<_> = parts.iter().map(|p| (sums(p), p.len() as u64)).collect();
        let each: Vec<_> = each.iter().map(|(s, n)| (s, *n)).collect();
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64nvme] {
            assert_eq!(
                join(algorithm, Kind::Full, &each),
                whole.get(algorithm),
                "{algorithm:?}"
            );
        }
        assert_eq!(join(Algorithm::Sha256, Kind::Full, &each), None);
    }

    #[test]
    fn composite_is_the_digest_of_the_digests() {
        let (one, two) = (sums(b"one"), sums(b"two"));
        let raw = [&one, &two].map(|s| decode(Algorithm::Sha256, &s.get(Algorithm::Sha256).unwrap()).unwrap());
        let expected = format!("{}-2", Algorithm::Sha256.digest(&raw.concat()));
        let found = join(Algorithm::Sha256, Kind::Composite, &[(&one, 3), (&two, 3)]);
        assert_eq!(found, Some(expected));
    }

    #[test]
    fn names_round_trip_in_any_case() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::named(&algorithm.name().to_lowercase()), Some(algorithm));
        }
        assert_eq!(Algorithm::named("MD4"), None);
    }
}
