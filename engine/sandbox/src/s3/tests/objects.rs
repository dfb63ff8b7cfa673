//! Objects, versions and listings over HTTP.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, Delete, EncodingType, MetadataDirective, ObjectIdentifier};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

#[tokio::test]
async fn a_deleted_object_says_so_and_comes_back() {
    let running = running().await;
    running.put("k", b"1").await;
    let deleted = running
        .client
        .delete_object()
        .bucket(BUCKET)
        .key("k")
        .send()
        .await
        .unwrap();
    assert_eq!(deleted.delete_marker, Some(true));
    let get = running.client.get_object().bucket(BUCKET).key("k");
    let error = get.clone().send().await.unwrap_err();
    let response = error.raw_response().unwrap();
    assert_eq!(response.headers().get("x-amz-delete-marker"), Some("true"));
    assert_eq!(response.headers().get("x-amz-version-id"), deleted.version_id());
    assert_eq!(refusal::<(), _>(Err(error)), (404, "NoSuchKey".into()));
    let marker = get.clone().set_version_id(deleted.version_id.clone()).send().await;
    assert_eq!(refusal(marker), (405, "MethodNotAllowed".into()));
    let never = get.clone().version_id("01ARZ3NDEKTSV4RRFFQ69G5FAV").send().await;
    assert_eq!(refusal(never), (404, "NoSuchVersion".into()));
    assert_eq!(
        refusal(get.version_id("nonsense").send().await),
        (400, "InvalidArgument".into())
    );
    let undelete = running.client.delete_object().bucket(BUCKET).key("k");
    undelete.set_version_id(deleted.version_id).send().await.unwrap();
    assert_eq!(running.get("k").await, b"1");
}

#[tokio::test]
async fn every_checksum_is_kept_and_a_wrong_one_refused() {
    let running = running().await;
    for algorithm in ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"].map(ChecksumAlgorithm::from) {
        let put = running
            .client
            .put_object()
            .bucket(BUCKET)
            .key("k")
            .body(b"123456789".to_vec().into());
        put.checksum_algorithm(algorithm.clone()).send().await.unwrap();
        let head = running
            .client
            .head_object()
            .bucket(BUCKET)
            .key("k")
            .checksum_mode(ChecksumMode::Enabled);
        let head = head.send().await.unwrap();
        let found = [
            head.checksum_crc32(),
            head.checksum_crc32_c(),
            head.checksum_crc64_nvme(),
            head.checksum_sha1(),
            head.checksum_sha256(),
        ];
        assert_eq!(found.iter().flatten().count(), 1, "{algorithm:?}: {found:?}");
    }
    let put = || {
        running
            .client
            .put_object()
            .bucket(BUCKET)
            .key("wrong")
            .body(b"body".to_vec().into())
    };
    let wrong = put().checksum_crc32("AAAAAA==").send().await;
    assert_eq!(refusal(wrong), (400, "BadDigest".into()));
    let nonsense = put().checksum_crc32("AAAA").send().await;
    assert_eq!(refusal(nonsense), (400, "InvalidRequest".into()));
    let wrong = put().content_md5("AAAAAAAAAAAAAAAAAAAAAA==").send().await;
    assert_eq!(refusal(wrong), (400, "BadDigest".into()));
    let head = running.client.head_object().bucket(BUCKET).key("wrong").send().await;
    assert_eq!(refusal(head).0, 404);
}

#[tokio::test]
async fn ranges_and_conditions_of_a_read() {
    let running = running().await;
    running.put("k", b"0123456789").await;
    let get = || running.client.get_object().bucket(BUCKET).key("k");
    for (range, expected) in [
        ("bytes=2-4", "234"),
        ("bytes=7-", "789"),
        ("bytes=-3", "789"),
        ("bytes=8-99", "89"),
    ] {
        let got = get().range(range).send().await.unwrap();
        assert!(got.content_range().unwrap().ends_with("/10"));
        assert_eq!(
            got.body.collect().await.unwrap().to_vec(),
            expected.as_bytes(),
            "{range}"
        );
    }
    assert_eq!(
        refusal(get().range("bytes=10-11").send().await),
        (416, "InvalidRange".into())
    );
    let etag = get().send().await.unwrap().e_tag.unwrap();
    assert_eq!(refusal(get().if_none_match(&etag).send().await).0, 304);
    assert_eq!(refusal(get().if_match("\"other\"").send().await).0, 412);
    get().if_match(&etag).send().await.unwrap();
}

#[tokio::test]
async fn what_was_said_of_an_object_comes_back() {
    let running = running().await;
    let put = running
        .client
        .put_object()
        .bucket(BUCKET)
        .key("k")
        .body(b"{}".to_vec().into());
    let put = put
        .content_type("application/json")
        .cache_control("max-age=5")
        .metadata("who", "me");
    put.content_encoding("identity")
        .tagging("a=b&c=d")
        .send()
        .await
        .unwrap();
    let got = running
        .client
        .get_object()
        .bucket(BUCKET)
        .key("k")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (got.content_type(), got.cache_control()),
        (Some("application/json"), Some("max-age=5"))
    );
    assert_eq!((got.content_encoding(), got.tag_count()), (Some("identity"), Some(2)));
    assert_eq!(got.metadata().unwrap()["who"], "me");
    let copy = || {
        running
            .client
            .copy_object()
            .bucket(BUCKET)
            .copy_source(format!("{BUCKET}/k"))
    };
    assert_eq!(refusal(copy().key("k").send().await), (400, "InvalidRequest".into()));
    copy().key("same").send().await.unwrap();
    let replaced = copy().key("other").metadata_directive(MetadataDirective::Replace);
    replaced.content_type("text/plain").send().await.unwrap();
    let head = |key: &str| running.client.head_object().bucket(BUCKET).key(key).send();
    let (same, other) = (head("same").await.unwrap(), head("other").await.unwrap());
    assert_eq!(
        (same.content_type(), same.metadata().unwrap().len(), same.tag_count()),
        (Some("application/json"), 1, Some(2))
    );
    assert_eq!(
        (other.content_type(), other.metadata().unwrap().len()),
        (Some("text/plain"), 0)
    );
    assert_eq!(
        (same.e_tag(), running.get("other").await),
        (got.e_tag(), b"{}".to_vec())
    );
    let tagging = running
        .client
        .get_object_tagging()
        .bucket(BUCKET)
        .key("same")
        .send()
        .await
        .unwrap();
    assert_eq!(tagging.tag_set().len(), 2);
}

#[tokio::test]
async fn listings_encode_keys_when_asked_and_page_to_the_end() {
    let running = running().await;
    let keys = ["a b", "a+b", "a//b", "a%20b", "a\u{1}b", "é", "q?x=1&y", "<\"'>"];
    for key in keys {
        running.put(key, key.as_bytes()).await;
        assert_eq!(running.get(key).await, key.as_bytes());
    }
    let list = running
        .client
        .list_objects_v2()
        .bucket(BUCKET)
        .encoding_type(EncodingType::Url)
        .max_keys(3);
    let mut pages = list.into_paginator().send();
    let mut found = BTreeSet::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        assert!(page.key_count().unwrap() <= 3);
        for object in page.contents() {
            let key = percent_encoding::percent_decode_str(object.key().unwrap())
                .decode_utf8()
                .unwrap();
            assert!(found.insert(key.into_owned()), "listed twice");
        }
    }
    assert_eq!(found, keys.map(String::from).into());
    let grouped = running
        .client
        .list_objects()
        .bucket(BUCKET)
        .delimiter("/")
        .prefix("a/")
        .marker("a/");
    assert_eq!(grouped.send().await.unwrap().common_prefixes()[0].prefix(), Some("a//"));
    let wrong = running
        .client
        .list_objects_v2()
        .bucket(BUCKET)
        .continuation_token("?")
        .send()
        .await;
    assert_eq!(refusal(wrong), (400, "InvalidArgument".into()));
}

#[tokio::test]
async fn many_are_deleted_at_once() {
    let running = running().await;
    let version = running.put("one", b"1").await;
    running.put("two", b"2").await;
    let identified = |key: &str, version: Option<String>| {
        ObjectIdentifier::builder()
            .key(key)
            .set_version_id(version)
            .build()
            .unwrap()
    };
    let delete = Delete::builder()
        .objects(identified("one", version.clone()))
        .objects(identified("two", None))
        .objects(identified("three", Some("nonsense".into())));
    let delete = running
        .client
        .delete_objects()
        .bucket(BUCKET)
        .delete(delete.build().unwrap());
    let done = delete.send().await.unwrap();
    assert_eq!((done.deleted().len(), done.errors().len()), (2, 1));
    assert_eq!(
        (done.deleted()[0].version_id(), done.deleted()[0].delete_marker()),
        (version.as_deref(), None)
    );
    assert!(done.deleted()[1].delete_marker_version_id().is_some());
    assert_eq!(done.errors()[0].key(), Some("three"));
}

#[tokio::test]
async fn what_the_server_cannot_do_it_refuses() {
    let running = running().await;
    let put = || {
        running
            .client
            .put_object()
            .bucket(BUCKET)
            .key("k")
            .body(b"1".to_vec().into())
    };
    let kms = put().server_side_encryption("aws:kms".into()).send().await;
    assert_eq!(refusal(kms), (501, "NotImplemented".into()));
    let public = put().acl("public-read".into()).send().await;
    assert_eq!(refusal(public), (400, "AccessControlListNotSupported".into()));
    let locked = put().object_lock_mode("COMPLIANCE".into()).send().await;
    assert_eq!(refusal(locked), (400, "InvalidRequest".into()));
    let cors = running.client.get_bucket_cors().bucket(BUCKET).send().await;
    assert_eq!(refusal(cors), (501, "NotImplemented".into()));
    put().server_side_encryption("AES256".into()).send().await.unwrap();
}

#[tokio::test]
async fn pages_of_one_go_on_behind_common_prefixes() {
    let running = running().await;
    let keys = ["a/1 +", "a/2", "b", "c/é", "d"];
    for key in keys {
        running.put(key, b"").await;
        running.put(key, b"").await;
        let begin = running.client.create_multipart_upload().bucket(BUCKET).key(key);
        begin.send().await.unwrap();
    }
    let expected = ["a/", "b", "c/", "d"];
    assert_eq!(objects_in_pages(&running).await, expected);
    assert_eq!(objects_v2_in_pages(&running).await, expected);
    assert_eq!(versions_in_pages(&running).await, ["a/", "b", "b", "c/", "d", "d"]);
    assert_eq!(uploads_in_pages(&running).await, expected);
}

#[tokio::test]
async fn versions_and_markers_are_told_in_one_row_with_the_newest_first() {
    let running = running().await;
    let list = || running.client.list_object_versions().bucket(BUCKET);
    let nothing = list().send().await.unwrap();
    assert!(nothing.versions().is_empty() && nothing.delete_markers().is_empty());
    let delete = || running.client.delete_object().bucket(BUCKET).key("k");
    running.put("k", b"1").await;
    delete().send().await.unwrap();
    running.put("k", b"2").await;
    delete().send().await.unwrap();
    delete().send().await.unwrap();
    running.put("l", b"3").await;
    let page = plain_get(list().presigned(soon()).await.unwrap().uri()).await;
    let mut told: Vec<(usize, &str)> = Vec::new();
    for kind in ["<DeleteMarker>", "<Version>"] {
        told.extend(page.match_indices(kind));
    }
    told.sort_unstable();
    let told: Vec<&str> = told.into_iter().map(|(_, kind)| kind).collect();
    let (marker, version) = ("<DeleteMarker>", "<Version>");
    assert_eq!(told, [marker, marker, version, marker, version, version], "{page}");
}

fn soon() -> PresigningConfig {
    PresigningConfig::expires_in(Duration::from_mins(1)).unwrap()
}

/// An answer as it is on the wire.
async fn plain_get(url: &str) -> String {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn objects_in_pages(running: &Running) -> Vec<String> {
    let (mut found, mut marker) = (Vec::new(), None);
    loop {
        let list = running.client.list_objects().bucket(BUCKET).delimiter("/").max_keys(1);
        let page = list.set_marker(marker).send().await.unwrap();
        found.extend(page.common_prefixes().iter().filter_map(|one| one.prefix.clone()));
        found.extend(page.contents().iter().filter_map(|one| one.key.clone()));
        assert_eq!(
            page.is_truncated(),
            page.next_marker.as_ref().map(|_| true).or(Some(false))
        );
        match page.next_marker {
            None => return found,
            next => marker = next,
        }
    }
}

async fn objects_v2_in_pages(running: &Running) -> Vec<String> {
    let list = running
        .client
        .list_objects_v2()
        .bucket(BUCKET)
        .delimiter("/")
        .max_keys(1);
    let (mut found, mut pages) = (Vec::new(), list.into_paginator().send());
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        found.extend(page.common_prefixes().iter().filter_map(|one| one.prefix.clone()));
        found.extend(page.contents().iter().filter_map(|one| one.key.clone()));
    }
    found
}

async fn versions_in_pages(running: &Running) -> Vec<String> {
    let (mut found, mut key, mut version) = (Vec::new(), None, None);
    loop {
        let list = running
            .client
            .list_object_versions()
            .bucket(BUCKET)
            .delimiter("/")
            .max_keys(1);
        let list = list.set_key_marker(key).set_version_id_marker(version);
        let page = list.send().await.unwrap();
        found.extend(page.common_prefixes().iter().filter_map(|one| one.prefix.clone()));
        found.extend(page.versions().iter().filter_map(|one| one.key.clone()));
        if page.is_truncated() != Some(true) {
            return found;
        }
        (key, version) = (page.next_key_marker, page.next_version_id_marker);
    }
}

async fn uploads_in_pages(running: &Running) -> Vec<String> {
    let (mut found, mut key, mut id) = (Vec::new(), None, None);
    loop {
        let list = running
            .client
            .list_multipart_uploads()
            .bucket(BUCKET)
            .delimiter("/")
            .max_uploads(1);
        let page = list.set_key_marker(key).set_upload_id_marker(id).send().await.unwrap();
        found.extend(page.common_prefixes().iter().filter_map(|one| one.prefix.clone()));
        found.extend(page.uploads().iter().filter_map(|one| one.key.clone()));
        if page.is_truncated() != Some(true) {
            return found;
        }
        (key, id) = (page.next_key_marker, page.next_upload_id_marker);
    }
}
