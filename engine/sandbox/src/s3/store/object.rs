//! What is kept of an object: where its bytes lie and what its headers say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::checksum::Checksums;
use super::stamp::Stamp;

/// One file of an object's bytes. An object put whole has one; an upload has one for each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Segment {
    /// The name of the file in the bucket's data folder.
    pub(crate) file: Stamp,
    /// How many bytes it has.
    pub(crate) size: u64,
}

/// The headers that come back with an object as they were sent. None was not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Headers {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_control: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_language: Option<String>,
    /// As HTTP writes a date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) website_redirect_location: Option<String>,
    /// `STANDARD` where it was not sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) storage_class: Option<String>,
    /// `AES256` where the client asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encryption: Option<String>,
}

/// A tag: key and value.
pub(crate) type Tag = (String, String);

/// What a client says of an object beside its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Details {
    pub(crate) headers: Headers,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<Tag>,
}

/// An object: one version's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Object {
    /// MD5 in hex; for an upload the MD5 of the parts' MD5s, `-` and their number. Without quotes.
    pub(crate) etag: String,
    /// Bytes of all segments together.
    pub(crate) size: u64,
    pub(crate) segments: Vec<Segment>,
    #[serde(default)]
    pub(crate) checksums: Checksums,
    #[serde(default)]
    pub(crate) details: Details,
    /// The multipart upload that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upload: Option<Stamp>,
}

/// The bytes `start..end` of an object, as places in its segments: the segment, the first byte, how many.
pub(crate) fn places(segments: &[Segment], start: u64, end: u64) -> Vec<(Segment, u64, u64)> {
    let mut begin = 0;
    let mut found = Vec::new();
    for segment in segments {
        let (from, to) = (start.max(begin), end.min(begin + segment.size));
        if from < to {
            found.push((*segment, from - begin, to - from));
        }
        begin += segment.size;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::stamp::Stamps;
    use super::*;

    #[test]
    fn every_range_is_cut_out_of_the_segments() {
        let stamps = Stamps::default();
        let segments: Vec<_> = [3, 0, 4, 1]
            .map(|size| Segment {
                file: stamps.next(),
                size,
            })
            .into();
        let bytes: Vec<_> = segments
            .iter()
            .flat_map(|s| (0..s.size).map(|at| (s.file, at)))
            .collect();
        for start in 0..=8_u64 {
            for end in start..=8 {
                let cut = places(&segments, start, end);
                let cut: Vec<_> = cut
                    .iter()
                    .flat_map(|(s, at, n)| (*at..at + n).map(|at| (s.file, at)))
                    .collect();
                let (from, to) = (usize::try_from(start).unwrap(), usize::try_from(end).unwrap());
                assert_eq!(cut, bytes[from..to], "{start}..{end}");
            }
        }
    }
}
