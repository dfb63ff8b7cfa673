//! Listings of objects and versions.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as TOKENS;
use s3s::dto::{
    ChecksumAlgorithm, CommonPrefix, DeleteMarkerEntry, ListObjectVersionsInput, ListObjectVersionsOutput,
    ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object, ObjectVersion, StorageClass,
};
use s3s::{S3ErrorCode, S3Response, S3Result};

use super::super::store::{After, Filter, History, Item, Listed, Object as Stored, list_objects, list_versions};
use super::Service;
use super::convert::{Encoder, count, etag, filled, listed, owner, page_size, size, timestamp};
use super::errors::refused;
use super::order::Order;

/// Keys and common prefixes of a page, apart.
pub(super) fn apart<T>(items: Vec<Item<T>>, encoder: &Encoder) -> (Vec<T>, Vec<CommonPrefix>) {
    let (mut ones, mut prefixes) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Item::One(one) => ones.push(one),
            Item::CommonPrefix(prefix) => prefixes.push(CommonPrefix {
                prefix: Some(encoder.text(&prefix)),
            }),
        }
    }
    (ones, prefixes)
}

/// The filter of a request.
pub(super) fn filter(prefix: Option<&String>, delimiter: Option<&String>) -> Filter {
    Filter {
        prefix: prefix.cloned().unwrap_or_default(),
        delimiter: filled(delimiter.cloned()),
    }
}

impl Service {
    pub(super) async fn objects(&self, input: ListObjectsInput) -> S3Result<ListObjectsOutput> {
        let encoder = Encoder::new(input.encoding_type)?;
        let max = page_size(input.max_keys, "max-keys")?;
        let filter = filter(input.prefix.as_ref(), input.delimiter.as_ref());
        let after = filled(input.marker.clone()).map_or(After::Start, |key| After::marker(&filter, key));
        let asked = filter.clone();
        let page = self.with_bucket(&input.bucket, move |bucket| {
            Ok(bucket.with_index(|index| list_objects(index, &asked, &after, max)))
        });
        let page = page.await?;
        // S3 tells the next marker only where a common prefix may be it; else it is the last key.
        let next = page
            .next
            .as_ref()
            .filter(|_| filter.delimiter.is_some())
            .and_then(place);
        let (objects, prefixes) = apart(page.items, &encoder);
        Ok(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(encoder.text(&filter.prefix)),
            marker: Some(encoder.text(input.marker.as_deref().unwrap_or_default())),
            max_keys: Some(count(max)),
            is_truncated: Some(page.next.is_some()),
            contents: listed(
                objects
                    .iter()
                    .filter_map(|one| described(one, &encoder, true))
                    .collect(),
            ),
            common_prefixes: listed(prefixes),
            delimiter: encoder.some(input.delimiter.as_deref()),
            next_marker: encoder.some(next),
            encoding_type: encoder.kind(),
            request_charged: None,
        })
    }

    pub(super) async fn objects_v2(&self, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
        let encoder = Encoder::new(input.encoding_type)?;
        let max = page_size(input.max_keys, "max-keys")?;
        let filter = filter(input.prefix.as_ref(), input.delimiter.as_ref());
        let after = match (&input.continuation_token, filled(input.start_after.clone())) {
            (Some(token), _) => after_token(token)?,
            (None, Some(key)) => After::marker(&filter, key),
            (None, None) => After::Start,
        };
        let asked = filter.clone();
        let page = self.with_bucket(&input.bucket, move |bucket| {
            Ok(bucket.with_index(|index| list_objects(index, &asked, &after, max)))
        });
        let page = page.await?;
        let found = page.items.len();
        let (objects, prefixes) = apart(page.items, &encoder);
        let owner = input.fetch_owner.unwrap_or_default();
        Ok(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(encoder.text(&filter.prefix)),
            max_keys: Some(count(max)),
            key_count: Some(count(found)),
            continuation_token: input.continuation_token,
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.as_ref().map(token),
            contents: listed(
                objects
                    .iter()
                    .filter_map(|one| described(one, &encoder, owner))
                    .collect(),
            ),
            common_prefixes: listed(prefixes),
            delimiter: encoder.some(input.delimiter.as_deref()),
            encoding_type: encoder.kind(),
            start_after: encoder.some(input.start_after.as_deref()),
            request_charged: None,
        })
    }

    pub(super) async fn versions(
        &self,
        input: ListObjectVersionsInput,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let encoder = Encoder::new(input.encoding_type)?;
        let max = page_size(input.max_keys, "max-keys")?;
        let filter = filter(input.prefix.as_ref(), input.delimiter.as_ref());
        let after = after_version(
            &filter,
            filled(input.key_marker.clone()),
            filled(input.version_id_marker.clone()),
        )?;
        let asked = filter.clone();
        let page = self.with_bucket(&input.bucket, move |bucket| {
            Ok(bucket.with_index(|index| list_versions(index, &asked, &after, max)))
        });
        let page = page.await?;
        let next_version = page.next.as_ref().and_then(place_id);
        let next_key = page.next.as_ref().and_then(place).map(|key| encoder.text(key));
        let (found, prefixes) = apart(page.items, &encoder);
        let order = Order::of(&found);
        let (versions, markers): (Vec<_>, Vec<_>) = found.into_iter().partition(|one| one.version.object.is_some());
        let mut answer = S3Response::new(ListObjectVersionsOutput {
            common_prefixes: listed(prefixes),
            delete_markers: listed(markers.iter().map(|one| described_marker(one, &encoder)).collect()),
            delimiter: encoder.some(input.delimiter.as_deref()),
            encoding_type: encoder.kind(),
            is_truncated: Some(next_key.is_some()),
            key_marker: Some(encoder.text(input.key_marker.as_deref().unwrap_or_default())),
            max_keys: Some(count(max)),
            name: Some(input.bucket),
            next_key_marker: next_key,
            next_version_id_marker: next_version,
            prefix: Some(encoder.text(&filter.prefix)),
            request_charged: None,
            version_id_marker: input.version_id_marker,
            versions: listed(
                versions
                    .iter()
                    .filter_map(|one| described_version(one, &encoder))
                    .collect(),
            ),
        });
        answer.extensions.insert(order);
        Ok(answer)
    }
}

/// The key or common prefix that a place stands behind.
pub(super) fn place(after: &After) -> Option<&str> {
    match after {
        After::Start => None,
        After::Key(key) | After::Prefix(key) | After::Version(key, _) => Some(key),
    }
}

/// The version or upload that a place stands behind.
pub(super) fn place_id(after: &After) -> Option<String> {
    match after {
        After::Version(_, id) => Some(id.to_string()),
        After::Start | After::Key(_) | After::Prefix(_) => None,
    }
}

/// A place as a token. It says nothing to clients.
fn token(after: &After) -> String {
    let kind = if matches!(after, After::Prefix(_)) { 'p' } else { 'k' };
    TOKENS.encode(format!("{kind}{}", place(after).unwrap_or_default()))
}

fn after_token(token: &str) -> S3Result<After> {
    let decoded = TOKENS.decode(token).ok().and_then(|raw| String::from_utf8(raw).ok());
    let after = decoded.as_deref().and_then(|text| match text.split_at_checked(1)? {
        ("k", key) => Some(After::Key(key.to_owned())),
        ("p", prefix) => Some(After::Prefix(prefix.to_owned())),
        _ => None,
    });
    let message = "The continuation token provided is incorrect";
    after.ok_or_else(|| refused(S3ErrorCode::InvalidArgument, message))
}

fn after_version(filter: &Filter, key: Option<String>, version: Option<String>) -> S3Result<After> {
    match (key, version) {
        (None, None) => Ok(After::Start),
        (Some(key), None) => Ok(After::marker(filter, key)),
        (Some(key), Some(version)) => Ok(After::Version(key, version.parse()?)),
        (None, Some(_)) => {
            let message = "A version-id marker cannot be specified without a key marker.";
            Err(refused(S3ErrorCode::InvalidArgument, message))
        }
    }
}

/// An object as a listing shows it.
fn described(history: &Arc<History>, encoder: &Encoder, with_owner: bool) -> Option<Object> {
    let (version, object) = history.current()?;
    Some(Object {
        checksum_algorithm: algorithms(object),
        checksum_type: Some(super::reading::checksum_type(object)),
        e_tag: Some(etag(&object.etag)),
        key: Some(encoder.text(&history.key)),
        last_modified: Some(timestamp(version.modified)),
        owner: with_owner.then(owner),
        restore_status: None,
        size: Some(size(object.size)),
        storage_class: Some(storage_class(object).into()),
    })
}

fn described_version(one: &Listed, encoder: &Encoder) -> Option<ObjectVersion> {
    let object = one.version.object.as_ref()?;
    Some(ObjectVersion {
        checksum_algorithm: algorithms(object),
        checksum_type: Some(super::reading::checksum_type(object)),
        e_tag: Some(etag(&object.etag)),
        is_latest: Some(one.latest),
        key: Some(encoder.text(&one.history.key)),
        last_modified: Some(timestamp(one.version.modified)),
        owner: Some(owner()),
        restore_status: None,
        size: Some(size(object.size)),
        storage_class: Some(storage_class(object).into()),
        version_id: Some(one.version.id().to_string()),
    })
}

fn described_marker(one: &Listed, encoder: &Encoder) -> DeleteMarkerEntry {
    DeleteMarkerEntry {
        is_latest: Some(one.latest),
        key: Some(encoder.text(&one.history.key)),
        last_modified: Some(timestamp(one.version.modified)),
        owner: Some(owner()),
        version_id: Some(one.version.id().to_string()),
    }
}

fn algorithms(object: &Stored) -> Option<Vec<ChecksumAlgorithm>> {
    let names = object.checksums.values.keys().map(|algorithm| algorithm.name());
    listed(names.map(ChecksumAlgorithm::from_static).collect())
}

fn storage_class(object: &Stored) -> String {
    let class = object.details.headers.storage_class.clone();
    class.unwrap_or_else(|| StorageClass::STANDARD.to_owned())
}
