//! Streams that break, a proxy that cuts, and a store that says 200 and means no.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use jm_step::StepErrorKind;
use jm_testkit::line::{Refusal, refusing};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::Store;
use super::noise;
use crate::{Compatibility, Get, Pace, Put, VersionOf};

/// A stream that fails.
pub(super) struct Breaks(pub(super) Option<io::Error>);

impl AsyncRead for Breaks {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.take().map_or(Ok(()), Err))
    }
}

/// A stream from which nothing comes.
pub(super) struct Never;

impl AsyncRead for Never {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// Cuts every connection after so many bytes of answer.
pub(super) struct Proxy {
    address: SocketAddr,
    cuts: Arc<AtomicUsize>,
}

impl Proxy {
    pub(super) async fn start(to: SocketAddr, after: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let cuts = Arc::new(AtomicUsize::new(0));
        let counted = cuts.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, to, after, counted.clone()));
            }
        });
        Self { address, cuts }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn cuts(&self) -> usize {
        self.cuts.load(Ordering::SeqCst)
    }
}

async fn pass(mut client: TcpStream, to: SocketAddr, after: usize, cuts: Arc<AtomicUsize>) {
    let Ok(mut server) = TcpStream::connect(to).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.split();
    let (from_server, mut to_server) = server.split();
    let mut limited = from_server.take(after as u64);
    let back = async {
        drop(tokio::io::copy(&mut limited, &mut to_client).await);
        if limited.limit() == 0 {
            cuts.fetch_add(1, Ordering::SeqCst);
        }
    };
    let there = async { drop(tokio::io::copy(&mut from_client, &mut to_server).await) };
    tokio::select! {
        () = back => {}
        () = there => {}
    }
}

/// An older store: refuses every request with a header that it does not know, as older stores do.
pub(super) async fn older(to: SocketAddr) -> SocketAddr {
    let refusal = Refusal {
        is_meant: is_new,
        status: "501 Not Implemented",
        body: "<Error><Code>NotImplemented</Code><Message>A header you provided implies functionality that is not implemented</Message></Error>",
    };
    refusing(to, refusal).await
}

/// Whether this is the head of a request that an older store does not understand.
fn is_new(head: &str) -> bool {
    let newer = [
        "x-amz-checksum-",
        "x-amz-sdk-checksum-algorithm",
        "x-amz-trailer",
        "if-none-match",
    ];
    // What a reader asks to be told is ignored by whoever does not know it.
    let newer =
        |line: &str| newer.iter().any(|name| line.starts_with(name)) && !line.starts_with("x-amz-checksum-mode");
    head.to_lowercase().lines().skip(1).any(newer)
}

/// Takes an upload in parts and says 200 at its end, with an error inside.
async fn two_faced(asked: Arc<Mutex<Vec<String>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let asked = asked.clone();
            tokio::spawn(async move {
                let line = request(&mut stream).await;
                let (status, body) = answer(&line);
                asked.lock().expect("no panic").push(line);
                let head = format!(
                    "HTTP/1.1 {status}\r\netag: \"e\"\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                drop(stream.write_all(format!("{head}{body}").as_bytes()).await);
            });
        }
    });
    address
}

fn answer(line: &str) -> (&'static str, &'static str) {
    match line.split(' ').next() {
        Some("POST") if line.contains("?uploads") => (
            "200 OK",
            "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>u</UploadId></InitiateMultipartUploadResult>",
        ),
        Some("POST") => (
            "200 OK",
            "<Error><Code>InternalError</Code><Message>try again</Message></Error>",
        ),
        Some("HEAD") if line.contains("/k") => ("404 Not Found", ""),
        Some("DELETE") => ("204 No Content", ""),
        _ => ("200 OK", ""),
    }
}

/// Reads a whole request and gives its first line.
pub(super) async fn request(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let read = stream.read(&mut chunk).await.unwrap_or(0);
        heard.extend_from_slice(&chunk[..read]);
        let Some(end) = heard.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&heard[..end]).to_lowercase();
        if head.contains("expect: 100-continue") && heard.len() == end + 4 {
            drop(stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await);
        }
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if read == 0 || heard.len() >= end + 4 + length.unwrap_or(0) {
            return String::from_utf8_lossy(&heard[..end])
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned();
        }
    }
}

#[tokio::test]
async fn an_error_inside_a_200_is_an_error() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let bucket = Store::at("two-faced", two_faced(asked.clone()).await)
        .open("b", |_| {})
        .await;
    let error = bucket
        .put("k", &noise(9 * 1024 * 1024)[..], Put::default())
        .await
        .expect_err("it says InternalError");
    assert_eq!(error.kind(), StepErrorKind::Unavailable, "{error}");
    let asked = asked.lock().expect("no panic").join("\n");
    assert!(asked.contains("HEAD /b/k"), "whether it was taken after all: {asked}");
    assert!(asked.contains("DELETE /b/k"), "the upload is ended: {asked}");
}

#[tokio::test]
async fn an_older_store_is_used_as_what_it_is() {
    for store in super::stores().await {
        let old = Store::at(store.name, older(store.address()).await);
        let put = Put {
            if_absent: true,
            ..Put::default()
        };
        for compatibility in [
            Compatibility::Full,
            Compatibility::NoChecksums,
            Compatibility::NoConditionalWrites,
        ] {
            store.open("old", |_| {}).await.create_bucket().await.expect("a bucket");
            let bucket = old.open("old", |config| config.compatibility = compatibility).await;
            let error = bucket
                .put_bytes("a", "one", put.clone())
                .await
                .expect_err("it is too new");
            assert_eq!(error.kind(), StepErrorKind::Failed, "{}", store.name);
            assert!(
                error.hint_text().is_some_and(|hint| hint.contains("`basic`")),
                "{error}"
            );
        }
        let bucket = old
            .open("old", |config| config.compatibility = Compatibility::Basic)
            .await;
        // Whoever uses it so is told what that means.
        for (compatibility, is_told) in [
            (Compatibility::NoChecksums, false),
            (Compatibility::NoConditionalWrites, true),
            (Compatibility::Basic, true),
        ] {
            let notice = old.notice("old", compatibility).await;
            let told = notice.is_some_and(|notice| notice.contains("between that look and the write"));
            assert_eq!(told, is_told, "{} {compatibility:?}", store.name);
        }
        bucket.set_versioning(true).await.expect("set");
        bucket.put_bytes("a", "one", put.clone()).await.expect("written");
        let error = bucket
            .put_bytes("a", "two", put.clone())
            .await
            .expect_err("it is there");
        assert_eq!(error.kind(), StepErrorKind::Conflict, "{}", store.name);
        let large = noise(20 * 1024 * 1024);
        bucket.put("large", &large[..], put.clone()).await.expect("written");
        assert!(
            super::read(&bucket, "large", Get::default()).await == large,
            "{}",
            store.name
        );
        let pace = Pace::new(4, 4);
        let small = bucket
            .put_small(&pace, "small", "x".into(), &put)
            .await
            .expect("written");
        assert_eq!(small.parts, 1);
        let keys = ["a", "large", "small", "never"].map(str::to_owned).to_vec();
        let refused = bucket.delete_many(&pace, keys).await.expect("an answer");
        assert!(refused.is_empty(), "{} {refused:?}", store.name);
        assert!(bucket.head("a", None).await.expect("an answer").is_none());
        let markers = bucket
            .versions_page(&Pace::alone(), "", None, 100)
            .await
            .expect("a page")
            .entries;
        let markers = markers.into_iter().filter(|entry| entry.marker && entry.key == "a");
        let markers = markers
            .map(|entry| VersionOf {
                key: entry.key,
                version_id: entry.version_id,
            })
            .collect();
        assert!(
            bucket
                .remove_markers(&pace, markers, true)
                .await
                .expect("an answer")
                .is_empty()
        );
        assert_eq!(
            super::read(&bucket, "a", Get::default()).await,
            b"one",
            "{}",
            store.name
        );
    }
}
