//! Answers that are lost, and listings that say that there is more and not where.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::TryStreamExt;
use jm_step::{StepError, StepErrorKind};
use jm_testkit::line::{Refusal, refusing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::copies::{scripted, version};
use super::{Store, stores};
use crate::{ArchiveTier, Pace, Put, S3Bucket};

/// Whether a request is meant, by its beginning.
type Meant = fn(&[u8]) -> bool;

fn is_put(request: &[u8]) -> bool {
    request.starts_with(b"PUT ")
}

/// Passes everything on, and cuts the line instead of passing on the first answers to such requests.
pub(super) async fn losing(server: SocketAddr, answers: usize, is_meant: Meant) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let left = Arc::new(AtomicUsize::new(answers));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass(client, server, left.clone(), is_meant));
        }
    });
    address
}

async fn pass(mut client: TcpStream, server: SocketAddr, left: Arc<AtomicUsize>, is_meant: Meant) {
    let Ok(mut server) = TcpStream::connect(server).await else {
        return;
    };
    let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut was_meant = false;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                was_meant |= is_meant(&up[..count]);
                if server.write_all(&up[..count]).await.is_err() { return }
            }
            read = server.read(&mut down) => {
                let Ok(count @ 1..) = read else { return };
                let is_answer = was_meant && !down.starts_with(b"HTTP/1.1 100");
                let fewer = |left: usize| left.checked_sub(1);
                if is_answer && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_ok() { return }
                if client.write_all(&down[..count]).await.is_err() { return }
            }
        }
    }
}

#[tokio::test]
async fn an_object_of_our_own_is_not_in_the_way_when_the_answer_to_it_was_lost() {
    let put = Put {
        if_absent: true,
        ..Put::default()
    };
    for store in stores().await {
        let direct = store.bucket("answers").await;
        let pace = Pace::new(4, 4);
        for small in [false, true] {
            let line = Store::at(store.name, losing(store.address(), 1, is_put).await);
            let bucket = line.open("answers", |_| {}).await;
            let key = format!("small-{small}");
            let uploaded = if small {
                bucket.put_small(&pace, &key, "content".into(), &put).await
            } else {
                bucket.put_bytes(&key, "content", put.clone()).await
            };
            let uploaded = uploaded.unwrap_or_else(|error| panic!("{} {key}: {error}", store.name));
            let info = direct.head(&key, None).await.expect("an answer").expect("written");
            assert_eq!((uploaded.bytes, uploaded.etag), (7, info.etag), "{} {key}", store.name);

            // What was there before is in the way, whether it is the same or not.
            for content in ["content", "other"] {
                let refused = bucket.put_bytes(&key, content, put.clone()).await;
                let error = refused.expect_err("it is there");
                assert_eq!(error.kind(), StepErrorKind::Conflict, "{} {key}: {error}", store.name);
            }
            let line = Store::at(store.name, losing(store.address(), 1, is_put).await);
            let bucket = line.open("answers", |_| {}).await;
            let refused = bucket.put_bytes(&key, "other", put.clone()).await;
            let error = refused.expect_err("other content is there");
            assert_eq!(error.kind(), StepErrorKind::Conflict, "{} {key}: {error}", store.name);
        }
    }
}

/// A store that has made an object of the parts knows no such upload any more, when it is asked again.
#[tokio::test]
async fn a_copy_in_parts_is_done_when_the_answer_to_its_end_was_lost() {
    let is_end: Meant = |request| {
        let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
        line.starts_with(b"POST ") && String::from_utf8_lossy(line).contains("uploadId=")
    };
    for store in stores().await {
        let direct = store.bucket("ends").await;
        direct.set_versioning(true).await.expect("set");
        let content = vec![7; 20 << 20];
        direct.put("k", &content[..], Put::default()).await.expect("written");
        direct.put_bytes("k", "other", Put::default()).await.expect("written");
        let page = direct
            .versions_page(&Pace::alone(), "", None, 10)
            .await
            .expect("listed");
        let old = page
            .entries
            .into_iter()
            .find(|version| !version.latest)
            .expect("an old one");
        let line = Store::at(store.name, losing(store.address(), 1, is_end).await);
        let bucket = line.open("ends", |_| {}).await;
        let copied = bucket.copy_version(&Pace::new(4, 4), &old, false).await;
        let copied = copied.unwrap_or_else(|error| panic!("{}: {error}", store.name));
        let info = direct.head("k", None).await.expect("an answer").expect("there");
        assert_eq!(
            (info.bytes, info.etag),
            (content.len() as u64, copied.etag),
            "{}",
            store.name
        );
        // versitygw does not name the version that it makes of parts.
        assert!(
            copied.version_id.is_none() || copied.version_id == info.version_id,
            "{}",
            store.name
        );
    }
}

/// One that asks for a pause more often than the SDK tries by itself.
#[tokio::test]
async fn a_walk_outlasts_a_store_that_asks_for_a_pause_again_and_again() {
    const PAUSES: usize = 5;
    let store = || async {
        let number = AtomicUsize::new(0);
        let address = scripted(Arc::default(), move |line, _| {
            if number.fetch_add(1, Ordering::SeqCst) < PAUSES {
                return ("503 Slow Down", String::new());
            }
            let listed = "<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>";
            match line.split(' ').next() {
                Some("GET") => ("200 OK", listed.to_owned()),
                Some("POST") => ("202 Accepted", String::new()),
                _ => ("200 OK", String::new()),
            }
        });
        Store::at("busy", address.await).open("b", |_| {}).await
    };
    let pace = Pace::new(16, 16);
    let page = store().await.versions_page(&pace, "", None, 10).await;
    assert!(page.expect("listed").entries.is_empty());
    let info = store().await.look_at(&pace, "k", Some("v")).await;
    assert!(info.expect("looked at").is_some());
    let version = version(Some("GLACIER"));
    let asked = store()
        .await
        .ask_for_archived(&pace, &version, 7, ArchiveTier::Bulk)
        .await;
    asked.expect("asked for");
    assert!(pace.limit() < 16, "everybody is asked to slow down");
}

/// The bucket behind a store whose every listing is this one.
async fn listing(store: &Store, body: &'static str) -> S3Bucket {
    let half = Refusal {
        is_meant: |head: &str| head.starts_with("GET "),
        status: "200 OK",
        body,
    };
    let line = Store::at("half", refusing(store.address(), half).await);
    line.open("half", |_| {}).await
}

#[tokio::test]
async fn a_listing_that_does_not_say_where_it_goes_on_is_an_error() {
    let store = stores().await.remove(0);
    let objects = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
    let listed: Result<Vec<_>, StepError> = listing(&store, objects).await.list("").try_collect().await;
    let versions = "<ListVersionsResult><IsTruncated>true</IsTruncated></ListVersionsResult>";
    let versions = listing(&store, versions)
        .await
        .versions_page(&Pace::alone(), "", None, 10)
        .await;
    let uploads = "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated></ListMultipartUploadsResult>";
    let uploads = listing(&store, uploads).await.unfinished_uploads("").await;
    for error in [listed.err(), versions.err(), uploads.err()] {
        let error = error.expect("half of a listing is no listing");
        assert!(error.message().contains("not where it goes on"), "{error}");
    }
}
