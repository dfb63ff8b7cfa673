//! What requests say of an object beside its bytes, and what the server must refuse because it cannot do it.

use std::collections::BTreeMap;

use s3s::dto::{Metadata, Timestamp};
use s3s::{S3ErrorCode, S3Result};

use super::super::store::{Algorithm, Checksums, Tag};
use super::errors::{http_date, refused};

/// User metadata may have this many bytes, names and values together.
const LARGEST_METADATA: usize = 2 * 1024;

/// The checksums that a request or a part of one carries, by algorithm.
macro_rules! sent_checksums {
    ($input:expr) => {
        [
            (Algorithm::Crc32, $input.checksum_crc32.clone()),
            (Algorithm::Crc32c, $input.checksum_crc32c.clone()),
            (Algorithm::Crc64nvme, $input.checksum_crc64nvme.clone()),
            (Algorithm::Sha1, $input.checksum_sha1.clone()),
            (Algorithm::Sha256, $input.checksum_sha256.clone()),
        ]
        .into_iter()
        .filter_map(|(algorithm, value)| Some((algorithm, value?)))
        .collect::<std::collections::BTreeMap<_, _>>()
    };
}
pub(super) use sent_checksums;

/// A reply of that type with its checksums filled in.
macro_rules! with_checksums {
    ($checksums:expr, $output:ident { $($rest:tt)* }) => {
        $output {
            checksum_crc32: $checksums.get(Algorithm::Crc32),
            checksum_crc32c: $checksums.get(Algorithm::Crc32c),
            checksum_crc64nvme: $checksums.get(Algorithm::Crc64nvme),
            checksum_sha1: $checksums.get(Algorithm::Sha1),
            checksum_sha256: $checksums.get(Algorithm::Sha256),
            $($rest)*
        }
    };
}
pub(super) use with_checksums;

/// The headers of a request that come back with the object.
macro_rules! sent_headers {
    ($input:expr) => {
        Headers {
            content_type: $input.content_type.clone(),
            cache_control: $input.cache_control.clone(),
            content_disposition: $input.content_disposition.clone(),
            content_encoding: details::content_encoding($input.content_encoding.as_deref()),
            content_language: $input.content_language.clone(),
            expires: details::expires($input.expires.as_ref()),
            website_redirect_location: $input.website_redirect_location.clone(),
            storage_class: $input.storage_class.as_ref().map(|class| class.as_str().to_owned()),
            encryption: $input
                .server_side_encryption
                .as_ref()
                .map(|kind| kind.as_str().to_owned()),
        }
    };
}
pub(super) use sent_headers;

/// Refuses what a request asks for and this server cannot do.
macro_rules! refuse_unsupported {
    ($input:expr) => {{
        let customer = $input.sse_customer_algorithm.is_some() || $input.sse_customer_key.is_some();
        let grants = $input.grant_full_control.is_some()
            || $input.grant_read.is_some()
            || $input.grant_read_acp.is_some()
            || $input.grant_write_acp.is_some();
        let lock = $input.object_lock_mode.is_some()
            || $input.object_lock_retain_until_date.is_some()
            || $input.object_lock_legal_hold_status.is_some();
        details::encryption(
            $input.server_side_encryption.as_ref().map(|kind| kind.as_str()),
            customer,
        )
        .and_then(|()| details::acl($input.acl.as_ref().map(|acl| acl.as_str()), grants))
        .and_then(|()| details::lock(lock))
    }};
}
pub(super) use refuse_unsupported;

/// Refuses encryption that the server would have to pretend.
pub(super) fn encryption(kind: Option<&str>, customer: bool) -> S3Result<()> {
    if customer || kind.is_some_and(|kind| kind != "AES256") {
        let message = "This server encrypts nothing: only AES256 is taken, without a key of the customer or KMS";
        return Err(refused(S3ErrorCode::NotImplemented, message));
    }
    Ok(())
}

/// Refuses ACLs as a bucket does whose owner owns everything in it.
pub(super) fn acl(acl: Option<&str>, grants: bool) -> S3Result<()> {
    let owners = acl.is_none_or(|acl| matches!(acl, "private" | "bucket-owner-full-control"));
    if grants || !owners {
        let message = "The bucket does not allow ACLs";
        return Err(refused(S3ErrorCode::AccessControlListNotSupported, message));
    }
    Ok(())
}

/// Refuses object lock as a bucket without it does.
pub(super) fn lock(asked: bool) -> S3Result<()> {
    if asked {
        let message = "Bucket is missing Object Lock Configuration";
        return Err(refused(S3ErrorCode::InvalidRequest, message));
    }
    Ok(())
}

/// The content encoding without `aws-chunked`, which is the transfer's and not the object's.
pub(super) fn content_encoding(sent: Option<&str>) -> Option<String> {
    let codings = sent?.split(',').map(str::trim);
    let kept: Vec<_> = codings
        .filter(|coding| !coding.is_empty() && *coding != "aws-chunked")
        .collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

/// The `Expires` header as it is kept.
pub(super) fn expires(sent: Option<&Timestamp>) -> Option<String> {
    sent.map(http_date)
}

/// User metadata as it is kept.
pub(super) fn metadata(sent: Option<Metadata>) -> S3Result<BTreeMap<String, String>> {
    let metadata: BTreeMap<_, _> = sent.unwrap_or_default().into_iter().collect();
    let size: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > LARGEST_METADATA {
        let message = "Your metadata headers exceed the maximum allowed metadata size";
        return Err(refused(S3ErrorCode::MetadataTooLarge, message));
    }
    Ok(metadata)
}

/// The algorithm that a request names.
pub(super) fn algorithm(name: Option<&str>) -> S3Result<Option<Algorithm>> {
    let unknown = || {
        refused(
            S3ErrorCode::InvalidRequest,
            "Checksum algorithm provided is unsupported.",
        )
    };
    name.map(|name| Algorithm::named(name).ok_or_else(unknown)).transpose()
}

/// Tags, after checking that S3 would take them.
pub(super) fn checked_tags(tags: Vec<Tag>) -> S3Result<Vec<Tag>> {
    let problem = if tags.len() > 10 {
        Some("Object tags cannot be greater than 10")
    } else if tags.iter().any(|(key, _)| key.is_empty() || key.chars().count() > 128) {
        Some("The TagKey you have provided is invalid")
    } else if tags.iter().any(|(_, value)| value.chars().count() > 256) {
        Some("The TagValue you have provided is invalid")
    } else if tags
        .iter()
        .enumerate()
        .any(|(at, (key, _))| tags[..at].iter().any(|(other, _)| other == key))
    {
        Some("Cannot provide multiple Tags with the same key")
    } else {
        None
    };
    problem.map_or(Ok(tags), |message| Err(refused(S3ErrorCode::InvalidTag, message)))
}

/// The tags of the tagging header, which is written like a query: `a=b&c=d`.
pub(super) fn header_tags(header: Option<&str>) -> S3Result<Vec<Tag>> {
    let pairs = header.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let tags: Option<Vec<_>> = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| Some((decoded(key)?, decoded(value)?)))
        .collect();
    let invalid = || {
        refused(
            S3ErrorCode::InvalidArgument,
            "The header 'x-amz-tagging' shall be encoded as UTF-8",
        )
    };
    checked_tags(tags.ok_or_else(invalid)?)
}

fn decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    let text = percent_encoding::percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(text.into_owned())
}

/// Checksums as a reply has them: only where the client asked to see them.
pub(super) fn shown(checksums: &Checksums, asked: bool) -> Checksums {
    if asked { checksums.clone() } else { Checksums::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transfer_coding_is_not_the_objects() {
        assert_eq!(content_encoding(Some("aws-chunked")), None);
        assert_eq!(content_encoding(Some("gzip, aws-chunked")).as_deref(), Some("gzip"));
        assert_eq!(content_encoding(Some("zstd")).as_deref(), Some("zstd"));
    }

    #[test]
    fn tags_of_the_header_are_decoded_and_checked() {
        let tags = header_tags(Some("a=b%20c+d&e%26=&%C3%A9=1")).unwrap();
        let expected = [("a", "b c d"), ("e&", ""), ("é", "1")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(tags, expected);
        assert!(header_tags(Some("a=1&a=2")).is_err());
        assert!(header_tags(Some("%ff=1")).is_err());
        let eleven: Vec<_> = (0..11).map(|n| (n.to_string(), String::new())).collect();
        assert!(checked_tags(eleven).is_err());
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        assert!(encryption(Some("AES256"), false).is_ok());
        assert!(encryption(Some("aws:kms"), false).is_err() && encryption(None, true).is_err());
        assert!(acl(Some("private"), false).is_ok());
        assert!(acl(Some("public-read"), false).is_err() && acl(None, true).is_err());
    }
}
