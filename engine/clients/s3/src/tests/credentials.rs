//! Credentials that expire while they are used, and a clock that is wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use jm_step::process::{Command, Supervisor};
use jm_step::{Environment, clock};
use jm_testkit::line::{Refusal, refusing};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::faults::request;
use super::*;
use crate::Pace;

/// So many seconds the credentials are good for.
const LIFE: i64 = 12;
/// So many seconds longer the store takes them: a busy machine may send late what it signed in time.
const GRACE: i64 = 6;
/// So long it takes until another piece of the stream comes.
const PAUSE: Duration = Duration::from_secs(7);

/// Gives credentials with a short life, as a container's agent does; the token tells when it ends.
async fn agent(asked: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            request(&mut stream).await;
            asked.fetch_add(1, Ordering::SeqCst);
            let end = clock::now() + SignedDuration::from_secs(LIFE);
            let (id, secret) = (stores::ACCESS_KEY, stores::SECRET_KEY);
            let token = end.as_second();
            let body = format!(
                r#"{{"AccessKeyId":"{id}","SecretAccessKey":"{secret}","Token":"good-until-{token}","Expiration":"{end:.0}"}}"#
            );
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
            let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            drop(stream.write_all(answer.as_bytes()).await);
        }
    });
    format!("http://{address}/credentials")
}

/// Whether a request comes with a token whose time is over, or with none.
fn is_late(head: &str) -> bool {
    let head = head.to_lowercase();
    let token = head
        .lines()
        .find_map(|line| line.strip_prefix("x-amz-security-token: good-until-"));
    let end = token.and_then(|end| end.trim().parse::<i64>().ok());
    end.is_none_or(|end| end + GRACE <= clock::now().as_second())
}

#[tokio::test]
async fn credentials_that_expire_in_the_middle_of_an_upload_are_renewed() {
    let stores = stores().await;
    futures::future::join_all(stores.iter().map(are_renewed)).await;
}

async fn are_renewed(store: &Store) {
    store.bucket("renewed").await;
    let asked = Arc::new(AtomicUsize::new(0));
    let refusal = Refusal {
        is_meant: is_late,
        status: "400 Bad Request",
        body: "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>",
    };
    let strict = refusing(store.address(), refusal).await;
    // The SDK reads the environment of its process, and tests share one.
    let this = std::env::current_exe().expect("a path");
    let mut child = Command::new(this)
        .args([
            "--exact",
            "--ignored",
            "--nocapture",
            "tests::credentials::uploads_for_longer_than_they_live",
        ])
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent(asked.clone()).await)
        .env("JM_TEST_STORE", strict.to_string())
        .spawn(&Supervisor::none(), &Environment::default())
        .expect("it starts");
    let status = child.wait().await.expect("it ends");
    assert!(status.success(), "{}", store.name);
    assert!(asked.load(Ordering::SeqCst) > 1, "they were renewed");
    let bucket = store.open("renewed", |_| {}).await;
    assert!(read(&bucket, "k", Get::default()).await == noise(20 * MIB));
}

#[tokio::test]
#[ignore = "runs in a process with an environment of its own"]
async fn uploads_for_longer_than_they_live() {
    let address = std::env::var("JM_TEST_STORE")
        .expect("a store")
        .parse()
        .expect("an address");
    let bucket = Store::at("strict", address)
        .open("renewed", |config| {
            (config.access_key_id, config.secret_access_key) = (None, None);
        })
        .await;
    let (mut feed, body) = tokio::io::duplex(64 * 1024);
    let feeding = tokio::spawn(async move {
        for part in noise(20 * MIB).chunks(5 * MIB) {
            feed.write_all(part).await.expect("taken");
            tokio::time::sleep(PAUSE).await;
        }
    });
    let began = clock::now();
    let uploaded = bucket.put("k", body, Put::default()).await.expect("written");
    feeding.await.expect("all of it");
    assert_eq!((uploaded.bytes, uploaded.parts), (20 * MIB as u64, 3));
    // Those of the first request, which goes with the second piece, are over at the last one.
    let since_first = clock::now().duration_since(began) - SignedDuration::try_from(PAUSE).expect("fits");
    assert!(since_first.as_secs() > LIFE + GRACE);
}

/// A store whose clock is so many minutes ahead: it refuses what was signed at another time, and takes everything else.
async fn ahead(minutes: i64, believes: bool) -> Store {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut heard = vec![0; 16 * 1024];
            let read = stream.read(&mut heard).await.unwrap_or(0);
            let now = clock::now() + SignedDuration::from_mins(minutes);
            let answer = answer(&String::from_utf8_lossy(&heard[..read]), now, believes);
            drop(stream.write_all(answer.as_bytes()).await);
        }
    });
    Store::at("ahead", address)
}

fn answer(heard: &str, now: jiff::Timestamp, believes: bool) -> String {
    let date = now.strftime("date: %a, %d %b %Y %H:%M:%S GMT\r\nconnection: close");
    let signed = heard.lines().find_map(|line| line.strip_prefix("x-amz-date: "));
    let signed = signed.and_then(|at| {
        jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ", at.trim())
            .ok()?
            .to_datetime()
            .ok()
    });
    let signed = signed.and_then(|at| Some(at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()));
    let fits = believes && signed.is_some_and(|at| now.duration_since(at).abs().as_mins() < 15);
    if fits {
        return format!("HTTP/1.1 200 OK\r\n{date}\r\netag: \"e\"\r\ncontent-length: 0\r\n\r\n");
    }
    let body = "<Error><Code>RequestTimeTooSkewed</Code><Message>too far</Message></Error>";
    let body = if heard.starts_with("HEAD") { "" } else { body };
    format!(
        "HTTP/1.1 403 Forbidden\r\n{date}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn a_clock_that_is_wrong_by_twenty_minutes_is_made_up_for() {
    for minutes in [20, -20] {
        let store = ahead(minutes, true).await;
        // Each with a client of its own, which does not know of it yet.
        store.open("b", |_| {}).await.ping().await.expect("HEAD");
        let bucket = store.open("b", |_| {}).await;
        bucket.put_bytes("k", "x", Put::default()).await.expect("PUT");
        let bucket = store.open("b", |_| {}).await;
        let small = bucket
            .put_small(&Pace::new(1, 1), "k", "x".into(), &Put::default())
            .await;
        small.expect("PUT in its turn");
    }
}

#[tokio::test]
async fn a_clock_that_cannot_be_made_up_for_is_told() {
    for (minutes, words) in [(20, "20 minutes behind"), (-20, "20 minutes ahead of")] {
        let bucket = ahead(minutes, false).await.open("b", |_| {}).await;
        for error in [
            bucket.ping().await.expect_err("HEAD is refused"),
            bucket
                .put_bytes("k", "x", Put::default())
                .await
                .expect_err("PUT is refused"),
        ] {
            assert_eq!(error.kind(), StepErrorKind::Denied, "{error}");
            assert!(error.message().contains(words), "{error}");
            assert!(
                error.hint_text().is_some_and(|hint| hint.contains("chrony")),
                "{error:?}"
            );
        }
    }
}
