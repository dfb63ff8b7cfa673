//! Against small servers that behave badly.

#![expect(clippy::disallowed_methods, reason = "tests make and read files of their own")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use jm_step::{Environment, StepErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::{Http, Request, Url, is_loopback};

/// Serves every connection with the same bytes, then closes it; `None` holds it open without a word.
async fn server(reply: Option<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let reply = reply.clone();
            tokio::spawn(async move {
                let mut heard = [0; 4096];
                drop(stream.read(&mut heard).await);
                match reply {
                    Some(reply) => drop(stream.write_all(reply.as_bytes()).await),
                    None => tokio::time::sleep(Duration::from_mins(1)).await,
                }
            });
        }
    });
    format!("http://{address}")
}

fn http() -> Http {
    Http::new(&Environment::default()).expect("a client")
}

fn get(url: &str) -> Request {
    Request::new("GET", url.parse().expect("a url")).expect("a request")
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_in_time() {
    let url = server(None).await;
    let started = Instant::now();
    let error = http()
        .send(&get(&url).timeout(Duration::from_millis(300)))
        .await
        .expect_err("hangs");
    assert_eq!(error.kind(), StepErrorKind::TimedOut);
    assert!(error.message().contains("did not answer within 300ms"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_reply_that_drips_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        drop(stream.read(&mut [0; 4096]).await);
        drop(
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
                .await,
        );
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let error = http()
        .send(&get(&url).timeout(Duration::from_millis(300)))
        .await
        .expect_err("never ends");
    assert_eq!(error.kind(), StepErrorKind::TimedOut);
}

#[tokio::test]
async fn a_huge_reply_is_read_as_far_as_the_limit() {
    let body = "x".repeat(10 * 1024 * 1024);
    let url = server(Some(format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )))
    .await;
    let reply = http().send(&get(&url).most_reply(1000)).await.expect("a reply");
    assert_eq!((reply.status, reply.body.len(), reply.cut), (200, 1000, true));
}

#[tokio::test]
async fn a_redirect_to_another_host_is_not_followed() {
    let elsewhere = server(Some("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned())).await;
    let url = server(Some(format!(
        "HTTP/1.1 302 Found\r\nlocation: {elsewhere}/x\r\ncontent-length: 0\r\n\r\n"
    )))
    .await;
    let reply = http().send(&get(&url).follow()).await.expect("a reply");
    assert_eq!(reply.status, 302);
}

#[tokio::test]
async fn redirects_on_the_same_host_end() {
    let url = server(Some(
        "HTTP/1.1 302 Found\r\nlocation: /again\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_owned(),
    ))
    .await;
    let reply = http().send(&get(&url).follow()).await.expect("a reply");
    assert_eq!((reply.status, reply.url.path()), (302, "/again"));
}

#[tokio::test]
async fn nobody_at_home_is_unavailable_and_shows_no_secret() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let error = http()
        .send(&get(&format!("http://u:hunter22@{address}/x?token=canary")))
        .await
        .expect_err("nobody listens");
    assert_eq!(error.kind(), StepErrorKind::Unavailable);
    let all = format!("{error:?} {:?}", error.summary());
    assert!(!all.contains("hunter22") && !all.contains("canary"), "{all}");
    assert!(error.message().contains("connection refused"), "{error}");
}

#[tokio::test]
async fn a_reply_that_breaks_off_is_unavailable() {
    let url = server(Some("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort".to_owned())).await;
    let error = http().send(&get(&url)).await.expect_err("breaks off");
    assert_eq!(error.kind(), StepErrorKind::Unavailable, "{error}");
}

/// A server over TLS with a certificate for this name that nobody signed.
async fn tls_server(name: &str) -> (u16, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a certificate with its key");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                drop(stream.read(&mut [0; 4096]).await);
                drop(
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                        .await,
                );
                drop(stream.shutdown().await);
            }
        }
    });
    (port, made.cert.pem())
}

#[tokio::test]
async fn certificates_are_checked_and_explained() {
    let (port, _) = tls_server("localhost").await;
    let error = http()
        .send(&get(&format!("https://localhost:{port}/")))
        .await
        .expect_err("nobody signed it");
    assert_eq!(error.kind(), StepErrorKind::Failed);
    assert!(
        error.message().contains("is signed by nobody that this machine trusts"),
        "{error}"
    );
    assert!(error.hint_text().expect("hint").contains("SSL_CERT_FILE"));
}

#[tokio::test]
async fn roots_can_be_named_and_names_still_count() {
    let (port, pem) = tls_server("localhost").await;
    let file = std::env::temp_dir().join(format!("jm-http-{port}-{}.pem", std::process::id()));
    std::fs::write(&file, pem).expect("a file");
    let environment = Environment::new([("SSL_CERT_FILE".to_owned(), file.display().to_string())]);
    let http = Http::new(&environment).expect("a client");
    let reply = http
        .send(&get(&format!("https://localhost:{port}/")))
        .await
        .expect("trusted");
    assert_eq!(reply.text(), "ok");
    let error = http
        .send(&get(&format!("https://127.0.0.1:{port}/")))
        .await
        .expect_err("another name");
    assert!(error.message().contains("is for another name"), "{error}");
    std::fs::remove_file(&file).expect("removed");
}

#[tokio::test]
async fn proxies_of_the_environment_are_used_unless_exempt() {
    let proxy = server(Some("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nproxy".to_owned())).await;
    let through = |exempt: &str| {
        let variables = [
            ("HTTP_PROXY".to_owned(), proxy.clone()),
            ("NO_PROXY".to_owned(), exempt.to_owned()),
        ];
        Http::new(&Environment::new(variables)).expect("a client")
    };
    let direct = server(Some("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ndirect".to_owned())).await;
    assert_eq!(through("").send(&get(&direct)).await.expect("a reply").text(), "proxy");
    assert_eq!(
        through("127.0.0.1").send(&get(&direct)).await.expect("a reply").text(),
        "direct"
    );
}

#[test]
fn only_this_machine_is_loopback() {
    for (url, loopback) in [
        ("http://localhost/", true),
        ("http://127.0.0.1:80/", true),
        ("http://[::1]/", true),
        ("http://a.localhost/", true),
        ("http://example.com/", false),
        ("http://10.0.0.1/", false),
        ("http://localhost.example.com/", false),
    ] {
        assert_eq!(is_loopback(&url.parse::<Url>().expect("a url")), loopback, "{url}");
    }
}

#[test]
fn only_http_is_spoken() {
    for bad in ["ftp://example.com/", "file:///etc/passwd", "data:text/plain,x"] {
        Request::new("GET", bad.parse().expect("a url")).expect_err(bad);
    }
}
