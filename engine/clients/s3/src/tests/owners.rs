//! Whose bucket it has to be is said with every request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures::TryStreamExt;
use jm_step::StepErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::Store;
use crate::{Get, Pace, Put};

const OWNER: &str = "111122223333";

/// A store that refuses everything, and what was asked of it, each as the whole head.
async fn somebody_elses() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let heads = Arc::new(Mutex::new(Vec::new()));
    let heard = heads.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            let mut piece = [0; 4096];
            while !head.windows(4).any(|window| window == b"\r\n\r\n") {
                match stream.read(&mut piece).await {
                    Ok(count @ 1..) => head.extend_from_slice(&piece[..count]),
                    _ => break,
                }
            }
            heard
                .lock()
                .expect("no panic")
                .push(String::from_utf8_lossy(&head).into_owned());
            let body = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
            let length = body.len();
            let answer =
                format!("HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
            drop(stream.write_all(answer.as_bytes()).await);
        }
    });
    (address, heads)
}

#[tokio::test]
async fn a_bucket_that_is_somebody_elses_is_told() {
    let (address, heads) = somebody_elses().await;
    let owned = Store::at("owned", address)
        .open("b", |config| config.owner = Some(OWNER.to_owned()))
        .await;
    let errors = [
        owned
            .put_bytes("k", "x", Put::default())
            .await
            .map(drop)
            .expect_err("refused"),
        owned.get("k", Get::default()).await.map(drop).expect_err("refused"),
        owned
            .list("")
            .try_collect::<Vec<_>>()
            .await
            .map(drop)
            .expect_err("refused"),
        owned
            .versions_page(&Pace::alone(), "", None, 10)
            .await
            .map(drop)
            .expect_err("refused"),
        owned.delete("k", None).await.map(drop).expect_err("refused"),
    ];
    for error in errors {
        assert_eq!(error.kind(), StepErrorKind::Denied, "{error}");
        let hints = format!("{:?}", error.summary());
        assert!(hints.contains("belongs to another account"), "{hints}");
    }
    let heads = heads.lock().expect("no panic").clone();
    assert!(heads.len() >= 5, "{heads:?}");
    for head in heads {
        assert!(
            head.contains(&format!("x-amz-expected-bucket-owner: {OWNER}")),
            "{head}"
        );
        assert!(
            head.contains("SignedHeaders=") && head.contains("x-amz-expected-bucket-owner;"),
            "{head}"
        );
    }
    let anybodys = Store::at("anybodys", address).open("b", |_| {}).await;
    let error = anybodys.get("k", Get::default()).await.map(drop).expect_err("refused");
    assert!(!format!("{:?}", error.summary()).contains("another account"), "{error}");
}
