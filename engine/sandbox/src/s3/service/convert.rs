//! Small translations between the store's words and S3's.

use jiff::Unit;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{ETag, EncodingType, Owner, Timestamp};
use s3s::{S3ErrorCode, S3Result};

use super::super::access::ACCOUNT;
use super::super::store::{Stamp, StoreError, VersionId};
use super::errors::refused;

/// The largest object that can be put or copied in one go: 5 GiB.
pub(super) const LARGEST_PUT: u64 = 5 << 30;

/// Pages have at most this many entries.
const LARGEST_PAGE: usize = 1000;

/// A moment as S3 tells it: in whole seconds.
pub(super) fn timestamp(time: jiff::Timestamp) -> Timestamp {
    let whole = jiff::TimestampRound::new()
        .smallest(Unit::Second)
        .mode(jiff::RoundMode::Trunc);
    let time = time.round(whole).unwrap_or(time);
    Timestamp::from(std::time::SystemTime::from(time))
}

/// An ETag for a reply.
pub(super) fn etag(value: &str) -> ETag {
    ETag::Strong(value.to_owned())
}

/// The version that a request names, if it names one.
pub(super) fn version(id: Option<&str>) -> Result<Option<VersionId>, StoreError> {
    id.map(str::parse).transpose()
}

/// The upload that a request names. What is no id is the id of no upload.
pub(super) fn upload(id: &str) -> Result<Stamp, StoreError> {
    id.parse().map_err(|_| StoreError::NoSuchUpload)
}

/// The owner of everything.
pub(super) fn owner() -> Owner {
    Owner {
        display_name: None,
        id: Some(ACCOUNT.to_owned()),
    }
}

/// How many entries a page may have.
pub(super) fn page_size(asked: Option<i32>, name: &str) -> S3Result<usize> {
    let asked = asked.map_or(Ok(LARGEST_PAGE), usize::try_from);
    let message = format!("Argument {name} must be an integer between 0 and 2147483647");
    let asked = asked.map_err(|_| refused(S3ErrorCode::InvalidArgument, message))?;
    Ok(asked.min(LARGEST_PAGE))
}

/// A count for a reply.
pub(super) fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A size for a reply.
pub(super) fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A text that says something; an empty one is none.
pub(super) fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// A list for a reply; an empty one is left out.
pub(super) fn listed<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');

/// Writes keys as the request asked: as they are, or URL-encoded because XML cannot hold every character.
#[derive(Clone)]
pub(super) struct Encoder(Option<EncodingType>);

impl Encoder {
    /// For a request with that encoding type; only `url` is one.
    pub(super) fn new(asked: Option<EncodingType>) -> S3Result<Self> {
        match asked.as_ref().map(EncodingType::as_str) {
            None | Some(EncodingType::URL) => Ok(Self(asked)),
            Some(_) => {
                let message = "Invalid Encoding Method specified in Request";
                Err(refused(S3ErrorCode::InvalidArgument, message))
            }
        }
    }

    /// What the reply says of the encoding.
    pub(super) fn kind(&self) -> Option<EncodingType> {
        self.0.clone()
    }

    /// A key or a part of one.
    pub(super) fn text(&self, key: &str) -> String {
        match self.0 {
            None => key.to_owned(),
            Some(_) => utf8_percent_encode(key, ENCODED).to_string(),
        }
    }

    /// The same for what may not be there.
    pub(super) fn some(&self, key: Option<&str>) -> Option<String> {
        key.map(|key| self.text(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_keys_have_no_plus_and_keep_their_slashes() {
        let encoder = Encoder::new(Some(EncodingType::from_static(EncodingType::URL))).unwrap();
        assert_eq!(encoder.text("a b+c/é%20"), "a%20b%2Bc/%C3%A9%2520");
        assert_eq!(Encoder::new(None).unwrap().text("a b+c"), "a b+c");
        assert!(Encoder::new(Some(EncodingType::from_static("xml"))).is_err());
    }

    #[test]
    fn moments_lose_their_fraction_and_are_never_later() {
        let time: jiff::Timestamp = "2024-05-06T07:08:09.999Z".parse().unwrap();
        let whole: jiff::Timestamp = "2024-05-06T07:08:09Z".parse().unwrap();
        assert_eq!(timestamp(time), timestamp(whole));
    }

    #[test]
    fn pages_are_bounded() {
        assert_eq!(page_size(None, "max-keys").unwrap(), 1000);
        assert_eq!(page_size(Some(5000), "max-keys").unwrap(), 1000);
        assert_eq!(page_size(Some(0), "max-keys").unwrap(), 0);
        assert!(page_size(Some(-1), "max-keys").is_err());
    }
}
