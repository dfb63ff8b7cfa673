//! Multipart uploads over HTTP, and bodies that break off.

use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const PART: usize = 5 << 20;

/// Uploads an object in two parts; answers what completes it.
async fn two_parts(running: &Running, key: &str, algorithm: ChecksumAlgorithm) -> (String, CompletedMultipartUpload) {
    let create = running.client.create_multipart_upload().bucket(BUCKET).key(key);
    let id = create
        .checksum_algorithm(algorithm.clone())
        .send()
        .await
        .unwrap()
        .upload_id
        .unwrap();
    let mut completed = CompletedMultipartUpload::builder();
    for (number, body) in [(1, vec![1; PART]), (2, vec![2; 10])] {
        let upload = running
            .client
            .upload_part()
            .bucket(BUCKET)
            .key(key)
            .upload_id(&id)
            .part_number(number);
        let part = upload
            .checksum_algorithm(algorithm.clone())
            .body(body.into())
            .send()
            .await
            .unwrap();
        let part = CompletedPart::builder()
            .part_number(number)
            .set_e_tag(part.e_tag)
            .set_checksum_sha256(part.checksum_sha256)
            .set_checksum_crc64_nvme(part.checksum_crc64_nvme);
        completed = completed.parts(part.build());
    }
    (id, completed.build())
}

#[tokio::test]
async fn parts_become_an_object_that_ranges_cut_across() {
    let running = running().await;
    let (id, parts) = two_parts(&running, "k", ChecksumAlgorithm::Sha256).await;
    let listed = running
        .client
        .list_parts()
        .bucket(BUCKET)
        .key("k")
        .upload_id(&id)
        .send()
        .await
        .unwrap();
    assert_eq!(listed.parts().len(), 2);
    let uploads = running
        .client
        .list_multipart_uploads()
        .bucket(BUCKET)
        .send()
        .await
        .unwrap();
    assert_eq!(uploads.uploads()[0].upload_id(), Some(id.as_str()));
    let complete = running
        .client
        .complete_multipart_upload()
        .bucket(BUCKET)
        .key("k")
        .upload_id(&id);
    let complete = complete.multipart_upload(parts);
    let done = complete.clone().send().await.unwrap();
    assert!(done.e_tag().unwrap().ends_with("-2\"") && done.checksum_sha256().unwrap().ends_with("-2"));
    assert_eq!(
        complete.send().await.unwrap().version_id,
        done.version_id,
        "a repeated request"
    );
    let across = format!("bytes={}-{}", PART - 2, PART + 1);
    let got = running
        .client
        .get_object()
        .bucket(BUCKET)
        .key("k")
        .range(across)
        .send()
        .await
        .unwrap();
    assert_eq!(got.body.collect().await.unwrap().to_vec(), [1, 1, 2, 2]);
    let second = running
        .client
        .get_object()
        .bucket(BUCKET)
        .key("k")
        .part_number(2)
        .send()
        .await
        .unwrap();
    assert_eq!((second.parts_count(), second.content_length()), (Some(2), Some(10)));
    let uploads = running
        .client
        .list_multipart_uploads()
        .bucket(BUCKET)
        .send()
        .await
        .unwrap();
    assert!(uploads.uploads().is_empty());
}

#[tokio::test]
async fn full_object_checksums_are_those_of_one_put() {
    let running = running().await;
    let (id, parts) = two_parts(&running, "k", ChecksumAlgorithm::Crc64Nvme).await;
    let complete = running
        .client
        .complete_multipart_upload()
        .bucket(BUCKET)
        .key("k")
        .upload_id(&id);
    let done = complete.multipart_upload(parts).send().await.unwrap();
    let put = running.client.put_object().bucket(BUCKET).key("whole");
    let put = put.body([vec![1; PART], vec![2; 10]].concat().into());
    let put = put
        .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
        .send()
        .await
        .unwrap();
    assert_eq!(done.checksum_type, Some(ChecksumType::FullObject));
    assert_eq!(done.checksum_crc64_nvme, put.checksum_crc64_nvme);
    // A copy of many parts has the digests of its bytes, not those of the parts.
    let copy = running
        .client
        .copy_object()
        .bucket(BUCKET)
        .key("copy")
        .copy_source(format!("{BUCKET}/k"));
    let copy = copy.send().await.unwrap().copy_object_result.unwrap();
    assert_eq!(
        (copy.e_tag, copy.checksum_crc64_nvme),
        (put.e_tag, put.checksum_crc64_nvme)
    );
}

#[tokio::test]
async fn parts_are_copied_and_uploads_given_up() {
    let running = running().await;
    let version = running.put("source", &[7; 100]).await.unwrap();
    running.put("source", b"newer").await;
    let create = running
        .client
        .create_multipart_upload()
        .bucket(BUCKET)
        .key("k")
        .send()
        .await
        .unwrap();
    let id = create.upload_id.unwrap();
    let copy = || {
        let copy = running
            .client
            .upload_part_copy()
            .bucket(BUCKET)
            .key("k")
            .upload_id(&id)
            .part_number(1);
        copy.copy_source(format!("{BUCKET}/source?versionId={version}"))
    };
    let beyond = copy().copy_source_range("bytes=90-100").send().await;
    assert_eq!(refusal(beyond), (400, "InvalidArgument".into()));
    let part = copy()
        .copy_source_range("bytes=10-19")
        .send()
        .await
        .unwrap()
        .copy_part_result
        .unwrap();
    let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build();
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    let complete = running
        .client
        .complete_multipart_upload()
        .bucket(BUCKET)
        .key("k")
        .upload_id(&id);
    complete.multipart_upload(parts).send().await.unwrap();
    assert_eq!(running.get("k").await, [7; 10]);
    let (id, parts) = two_parts(&running, "gone", ChecksumAlgorithm::Sha256).await;
    let abort = running
        .client
        .abort_multipart_upload()
        .bucket(BUCKET)
        .key("gone")
        .upload_id(&id);
    abort.send().await.unwrap();
    let complete = running
        .client
        .complete_multipart_upload()
        .bucket(BUCKET)
        .key("gone")
        .upload_id(&id);
    let refused = complete.multipart_upload(parts).send().await;
    assert_eq!(refusal(refused), (404, "NoSuchUpload".into()));
    let data = crate::s3::store::files_of(running.folder.path(), BUCKET);
    assert_eq!(data, 3, "bytes of parts stay behind");
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing() {
    let running = running().await;
    let put = running
        .client
        .put_object()
        .bucket(BUCKET)
        .key("k")
        .body(vec![1; 1000].into());
    let presigned =
        put.presigned(aws_sdk_s3::presigning::PresigningConfig::expires_in(std::time::Duration::from_mins(1)).unwrap());
    let presigned = presigned.await.unwrap();
    let host = running.server.endpoint().replace("http://", "");
    let path = presigned.uri().split_once(&host).unwrap().1.to_owned();
    let mut stream = tokio::net::TcpStream::connect(&host).await.unwrap();
    let mut head = format!("PUT {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 1000\r\n");
    for (name, value) in presigned
        .headers()
        .filter(|(name, _)| *name != "content-length" && *name != "host")
    {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[1; 500]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.unwrap();
    let reply = String::from_utf8_lossy(&reply);
    assert!(!reply.starts_with("HTTP/1.1 200"), "{reply}");
    let head = running
        .client
        .head_object()
        .bucket(BUCKET)
        .key("k")
        .checksum_mode(ChecksumMode::Enabled);
    assert_eq!(refusal(head.send().await).0, 404);
    let running = running.restarted().await;
    assert_eq!(crate::s3::store::files_of(running.folder.path(), BUCKET), 0);
}

#[tokio::test]
async fn bodies_pass_through_without_being_held() {
    let running = running().await;
    // Larger than all pieces that may wait on the way, so that it only arrives if it flows.
    let body: Vec<u8> = (0..20_000_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    running.put("large", &body).await;
    assert!(running.get("large").await == body);
}
