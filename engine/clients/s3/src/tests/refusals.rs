//! What is damaged on its way, and what is refused: each with words of its own, and nothing half done.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::TryStreamExt;
use jm_step::{StepError, StepErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::copies::{error, scripted};
use super::{Store, noise, read, stores};
use crate::{Get, Pace, Put};

/// A line on which the bodies of the first so many uploads arrive with a flipped bit; its address, and how often it did.
async fn noisy(to: SocketAddr, uploads: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let flipped = Arc::new(AtomicUsize::new(0));
    let counted = flipped.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(to).await else {
                return;
            };
            tokio::spawn(flip(client, server, uploads, counted.clone()));
        }
    });
    (address, flipped)
}

async fn flip(mut client: TcpStream, mut server: TcpStream, uploads: usize, flipped: Arc<AtomicUsize>) {
    let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    // Where the head of an upload was seen, and none of its body yet.
    let mut awaited = false;
    loop {
        tokio::select! {
            count = client.read(&mut up) => {
                let Ok(count @ 1..) = count else { return };
                let said = &mut up[..count];
                let mut body = 0;
                if said.starts_with(b"PUT ") {
                    awaited = true;
                    body = said.windows(4).position(|window| window == b"\r\n\r\n").map_or(count, |end| end + 4);
                }
                if awaited && body < count {
                    awaited = false;
                    if flipped.fetch_add(1, Ordering::SeqCst) < uploads {
                        said[count - 1] ^= 1;
                    }
                }
                if server.write_all(said).await.is_err() { return }
            }
            count = server.read(&mut down) => {
                let Ok(count @ 1..) = count else { return };
                if client.write_all(&down[..count]).await.is_err() { return }
            }
        }
    }
}

#[tokio::test]
async fn what_is_damaged_on_its_way_is_sent_again_and_never_kept() {
    for store in stores().await {
        store.bucket("noisy").await;
        for bytes in [100, 20 * 1024 * 1024] {
            let content = noise(bytes);
            let (address, flipped) = noisy(store.address(), 1).await;
            let line = Store::at(store.name, address).open("noisy", |_| {}).await;
            line.put("k", &content[..], Put::default()).await.expect("sent again");
            assert!(
                flipped.load(Ordering::SeqCst) > 1,
                "{}: nothing was damaged",
                store.name
            );
            assert!(read(&line, "k", Get::default()).await == content, "{}", store.name);
        }
        let (address, _) = noisy(store.address(), usize::MAX).await;
        let line = Store::at(store.name, address).open("noisy", |_| {}).await;
        let error = line
            .put_bytes("never", noise(100), Put::default())
            .await
            .expect_err("damaged");
        assert_eq!(error.kind(), StepErrorKind::Unavailable, "{} {error}", store.name);
        assert!(error.message().contains("damaged on its way"), "{} {error}", store.name);
        assert!(
            line.head("never", None).await.expect("an answer").is_none(),
            "{}",
            store.name
        );
    }
}

#[tokio::test]
async fn each_refusal_names_what_is_to_be_allowed() {
    // One method is refused, and the others are answered well.
    let bucket = async |refused: &'static str| {
        let address = scripted(Arc::default(), move |line, _| {
            if line.starts_with(refused) {
                return ("403 Forbidden", error("AccessDenied", "Access Denied"));
            }
            let body = match line.split(' ').next() {
                Some("GET") => "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>",
                Some("POST") => "<DeleteResult></DeleteResult>",
                _ => "",
            };
            ("200 OK", body.to_owned())
        });
        Store::at(refused, address.await).open("b", |_| {}).await
    };
    for (refused, permission) in [
        ("GET", "s3:ListBucket"),
        ("PUT", "s3:PutObject"),
        ("DELETE", "s3:DeleteObject"),
        ("POST", "s3:DeleteObject"),
    ] {
        let bucket = bucket(refused).await;
        let outcomes = [
            ("GET", bucket.list("").try_collect::<Vec<_>>().await.map(drop)),
            ("PUT", bucket.put_bytes("k", "x", Put::default()).await.map(drop)),
            ("DELETE", bucket.delete("k", None).await),
            (
                "POST",
                bucket
                    .delete_many(&Pace::new(1, 1), vec!["k".to_owned()])
                    .await
                    .map(drop),
            ),
        ];
        for (method, outcome) in outcomes {
            if method != refused {
                outcome.unwrap_or_else(|error| panic!("{method} is allowed: {error}"));
                continue;
            }
            let error = outcome.expect_err("refused");
            assert_eq!(error.kind(), StepErrorKind::Denied, "{method}");
            let hint = error.hint_text().unwrap_or_default();
            assert!(hint.contains(&format!("`{permission}`")), "{method}: {hint}");
        }
    }
}

#[tokio::test]
async fn what_stands_between_here_and_the_bucket_is_told() {
    let refused = async |status: &'static str, code: &'static str| -> StepError {
        let address = scripted(Arc::default(), move |_, _| (status, error(code, "no"))).await;
        let bucket = Store::at(code, address).open("b", |_| {}).await;
        bucket.put_bytes("k", "x", Put::default()).await.expect_err("refused")
    };
    for (status, code, kind, words, hint) in [
        (
            "403 Forbidden",
            "RequestTimeTooSkewed",
            StepErrorKind::Denied,
            "clock",
            "set the clock",
        ),
        (
            "400 Bad Request",
            "ExpiredToken",
            StepErrorKind::Denied,
            "session token has expired",
            "renew",
        ),
        (
            "301 Moved Permanently\r\nx-amz-bucket-region: eu-central-1",
            "PermanentRedirect",
            StepErrorKind::InvalidInput,
            "another region",
            "region: eu-central-1",
        ),
        (
            "404 Not Found",
            "NoSuchBucket",
            StepErrorKind::NotFound,
            "the bucket does not exist",
            "name",
        ),
        (
            "403 Forbidden",
            "AllAccessDisabled",
            StepErrorKind::Denied,
            "do not allow",
            "s3:PutObject",
        ),
    ] {
        let error = refused(status, code).await;
        assert_eq!(error.kind(), kind, "{code}: {error}");
        assert!(error.message().contains(words), "{code}: {error}");
        let told = error.hint_text().unwrap_or_default();
        assert!(told.contains(hint), "{code}: {told}");
    }
}
