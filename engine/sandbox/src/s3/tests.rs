//! Tests over HTTP, with the AWS SDK as the client and by hand where the SDK is too polite.

mod objects;
mod uploads;

use std::net::{Ipv4Addr, SocketAddr};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials as Keys, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use tempfile::TempDir;

use super::{Credentials, S3Server};

const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const BUCKET: &str = "bucket";

/// A server with one bucket that keeps versions. It ends with the test, however that ends.
struct Running {
    folder: TempDir,
    server: S3Server,
    client: Client,
}

fn client(server: &S3Server, secret: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Keys::new("key", secret, None, None, "test"))
        .endpoint_url(server.endpoint())
        .force_path_style(true)
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    Client::from_conf(config.build())
}

async fn started(folder: TempDir) -> Running {
    let credentials = Credentials::new("key", "secret");
    let server = S3Server::start(folder.path(), ANYWHERE, credentials).await.unwrap();
    let client = client(&server, "secret");
    Running { folder, server, client }
}

async fn running() -> Running {
    let running = started(TempDir::new().unwrap()).await;
    running.client.create_bucket().bucket(BUCKET).send().await.unwrap();
    running.set_versioning(BucketVersioningStatus::Enabled).await;
    running
}

impl Running {
    async fn set_versioning(&self, status: BucketVersioningStatus) {
        let configuration = VersioningConfiguration::builder().status(status).build();
        let put = self.client.put_bucket_versioning().bucket(BUCKET);
        put.versioning_configuration(configuration).send().await.unwrap();
    }

    /// Stops the server and starts another one on the same state.
    async fn restarted(self) -> Self {
        self.server.stop().await;
        started(self.folder).await
    }

    async fn put(&self, key: &str, body: &[u8]) -> Option<String> {
        let put = self.client.put_object().bucket(BUCKET).key(key);
        let put = put.body(body.to_vec().into()).send().await.unwrap();
        put.version_id
    }

    async fn get(&self, key: &str) -> Vec<u8> {
        let got = self.client.get_object().bucket(BUCKET).key(key).send().await.unwrap();
        got.body.collect().await.unwrap().to_vec()
    }
}

/// Status and code of a refusal.
fn refusal<T, E: ProvideErrorMetadata>(result: Result<T, SdkError<E>>) -> (u16, String) {
    let Err(error) = result else {
        panic!("it was not refused")
    };
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    (status, error.code().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn another_secret_is_refused_and_so_is_another_owner() {
    let running = running().await;
    let stranger = client(&running.server, "other");
    let refused = refusal(stranger.list_buckets().send().await);
    assert_eq!(refused, (403, "SignatureDoesNotMatch".into()));
    let head = running.client.head_bucket().bucket(BUCKET);
    assert_eq!(
        refusal(head.clone().expected_bucket_owner("111122223333").send().await).0,
        403
    );
    head.expected_bucket_owner(super::ACCOUNT).send().await.unwrap();
    let acl = running.client.get_bucket_acl().bucket(BUCKET).send().await.unwrap();
    assert_eq!(acl.owner().unwrap().id(), Some(super::ACCOUNT));
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let running = running().await;
    let first = running.put("a//b c+é", b"1").await;
    running.put("a//b c+é", b"2").await;
    running
        .client
        .delete_object()
        .bucket(BUCKET)
        .key("a//b c+é")
        .send()
        .await
        .unwrap();
    let running = running.restarted().await;
    let listed = running
        .client
        .list_object_versions()
        .bucket(BUCKET)
        .send()
        .await
        .unwrap();
    assert_eq!((listed.versions().len(), listed.delete_markers().len()), (2, 1));
    let old = running
        .client
        .get_object()
        .bucket(BUCKET)
        .key("a//b c+é")
        .set_version_id(first);
    assert_eq!(old.send().await.unwrap().body.collect().await.unwrap().to_vec(), b"1");
    let buckets = running.client.list_buckets().send().await.unwrap();
    assert_eq!(buckets.buckets()[0].name(), Some(BUCKET));
    let versioning = running
        .client
        .get_bucket_versioning()
        .bucket(BUCKET)
        .send()
        .await
        .unwrap();
    assert_eq!(versioning.status, Some(BucketVersioningStatus::Enabled));
}

#[tokio::test]
async fn stopping_ends_the_server_and_frees_its_folder() {
    let running = running().await;
    let busy = S3Server::start(running.folder.path(), ANYWHERE, Credentials::new("k", "s")).await;
    assert!(busy.unwrap_err().to_string().contains("another server"));
    let (endpoint, client) = (running.server.endpoint(), running.client.clone());
    let Running { folder, .. } = running.restarted().await;
    assert!(client.list_buckets().send().await.is_err(), "{endpoint} still answers");
    drop(folder);
}

#[tokio::test]
async fn settings_of_a_bucket_are_those_of_s3_at_first_and_outlive_the_server() {
    let running = running().await;
    let block = running.client.get_public_access_block().bucket(BUCKET);
    let block = block.send().await.unwrap().public_access_block_configuration.unwrap();
    assert_eq!(
        (block.block_public_acls, block.restrict_public_buckets),
        (Some(true), Some(true))
    );
    let encryption = running
        .client
        .get_bucket_encryption()
        .bucket(BUCKET)
        .send()
        .await
        .unwrap();
    let rules = encryption.server_side_encryption_configuration.unwrap().rules;
    let default = rules[0].apply_server_side_encryption_by_default.as_ref().unwrap();
    assert_eq!(default.sse_algorithm.as_str(), "AES256");
    let none = running.client.get_bucket_policy().bucket(BUCKET).send().await;
    assert_eq!(refusal(none), (404, "NoSuchBucketPolicy".into()));

    let policy = r#"{"Version":"2012-10-17","Statement":[]}"#;
    let put = running.client.put_bucket_policy().bucket(BUCKET);
    put.clone().policy(policy).send().await.unwrap();
    assert_eq!(
        refusal(put.policy("rubbish").send().await),
        (400, "MalformedPolicy".into())
    );
    let removed = running.client.delete_public_access_block().bucket(BUCKET);
    removed.send().await.unwrap();
    let running = running.restarted().await;
    let found = running.client.get_bucket_policy().bucket(BUCKET).send().await.unwrap();
    assert_eq!(found.policy(), Some(policy));
    let none = running.client.get_public_access_block().bucket(BUCKET).send().await;
    assert_eq!(refusal(none), (404, "NoSuchPublicAccessBlockConfiguration".into()));
}
