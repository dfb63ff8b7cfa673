//! The edge in front of the S3 stand-in; what a client sees of the API is tested with the step types.

use std::net::SocketAddr;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use tempfile::TempDir;

use super::state::Invalidation;
use super::*;
use crate::s3::{Credentials as Keys, S3Server};

struct Site {
    dir: TempDir,
    store: Store,
    s3: S3Server,
}

impl Site {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let keys = Keys::new("jm", "jm-test-secret");
        let s3 = S3Server::start(&dir.path().join("s3"), loopback(), keys)
            .await
            .expect("S3 starts");
        let store = Store {
            endpoint: s3.endpoint(),
            access_key: "jm".to_owned(),
            secret_key: "jm-test-secret".to_owned(),
        };
        store
            .client()
            .create_bucket()
            .bucket("assets")
            .send()
            .await
            .expect("a bucket");
        Self { dir, store, s3 }
    }

    async fn put(&self, key: &str, body: &'static str, cache: Option<&str>) {
        let call = self.store.client().put_object().bucket("assets").key(key);
        let call = call
            .body(ByteStream::from_static(body.as_bytes()))
            .content_type("text/html");
        call.set_cache_control(cache.map(str::to_owned))
            .send()
            .await
            .expect("put");
    }

    async fn cdn(&self) -> (CloudFrontServer, String) {
        let folder = self.dir.path().join("cdn");
        let cdn = CloudFrontServer::start(&folder, loopback(), &self.store, Pace::default()).await;
        let cdn = cdn.expect("CloudFront starts");
        let id = cdn.distribute("assets", "www.example.com").expect("a distribution");
        (cdn, id)
    }
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

/// Status, `x-cache` and body.
async fn viewer(cdn: &CloudFrontServer, path: &str) -> (u16, String, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = cdn.edge().trim_start_matches("http://").to_owned();
    let mut stream = tokio::net::TcpStream::connect(&address).await.expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.expect("a reply");
    let (head, body) = reply.split_once("\r\n\r\n").expect("a head");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|text| text.parse().ok())
        .expect("a status");
    let cache = head
        .lines()
        .find_map(|line| line.strip_prefix("x-cache: "))
        .unwrap_or_default();
    (status, cache.to_owned(), body.to_owned())
}

#[tokio::test]
async fn the_edge_serves_what_is_stale_until_it_is_dropped() {
    let site = Site::new().await;
    site.put("index.html", "old", None).await;
    site.put("fresh.html", "old", Some("public, max-age=0, must-revalidate"))
        .await;
    let (cdn, id) = site.cdn().await;
    assert_eq!(
        viewer(&cdn, "/").await,
        (200, "Miss from cloudfront".to_owned(), "old".to_owned())
    );
    viewer(&cdn, "/fresh.html").await;
    site.put("index.html", "new", None).await;
    site.put("fresh.html", "new", None).await;
    assert_eq!(
        viewer(&cdn, "/").await,
        (200, "Hit from cloudfront".to_owned(), "old".to_owned())
    );
    assert_eq!(
        viewer(&cdn, "/fresh.html").await.2,
        "new",
        "an object may ask not to be kept"
    );
    assert_eq!(viewer(&cdn, "/none").await.0, 403);
    // It outlives its process.
    cdn.stop().await;
    let (cdn, again) = site.cdn().await;
    assert_eq!(id, again);
    assert_eq!(viewer(&cdn, "/index.html").await.2, "old");
    let now = jm_step::clock::now();
    let pace = Pace {
        completes_after: Duration::from_secs(1),
        ..Pace::default()
    };
    let dropping = Invalidation::new("I".to_owned(), "r".to_owned(), vec!["/index*".to_owned()], now, &pace);
    let begin = |dropping| {
        let mut state = cdn.inner.state();
        let found = state.distributions.get_mut(&id).expect("there");
        found.invalidations.push(dropping);
    };
    begin(dropping);
    assert_eq!(viewer(&cdn, "/").await.2, "old", "it is in progress");
    let fresh = async {
        loop {
            let seen = viewer(&cdn, "/").await;
            if seen.2 != "old" {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let fresh = tokio::time::timeout(Duration::from_secs(20), fresh).await;
    assert_eq!(
        fresh.expect("it completes"),
        (200, "Miss from cloudfront".to_owned(), "new".to_owned())
    );
    site.s3.stop().await;
}
