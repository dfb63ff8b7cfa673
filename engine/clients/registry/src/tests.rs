//! Against small registries that behave badly. How real ones behave is tested where digests are deployed.

use std::sync::{Arc, Mutex};

use jm_step::{Environment, Secret, StepErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::{ImageRef, Login, Registry};

/// What was asked: the first line and the header `Authorization` of each request.
type Heard = Arc<Mutex<Vec<(String, String)>>>;

/// A server on this machine that answers each request with what the function makes of its first line.
async fn server(answer: impl Fn(&str, &str) -> String + Send + Sync + 'static) -> (String, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    let (heard, answer, own) = (Heard::default(), Arc::new(answer), host.clone());
    let hearing = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = vec![0; 16 * 1024];
            let count = stream.read(&mut bytes).await.unwrap_or(0);
            let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
            let first = text.lines().next().unwrap_or_default().to_owned();
            let proof = text
                .lines()
                .find_map(|line| line.strip_prefix("authorization: ").map(str::to_owned));
            hearing
                .lock()
                .expect("a list")
                .push((first.clone(), proof.unwrap_or_default()));
            drop(stream.write_all(answer(&first, &own).as_bytes()).await);
        }
    });
    (host, heard)
}

fn reply(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

async fn digest(host: &str, login: Option<&Login>) -> Result<String, jm_step::StepError> {
    let text = format!("{host}/team/web:1");
    let registry = Registry::new(&Environment::default()).expect("a client");
    registry
        .digest(&ImageRef::parse(&text).expect("a reference"), login)
        .await
}

fn login() -> Login {
    Login {
        user: "robot".to_owned(),
        password: Secret::new("hunter22"),
    }
}

fn zeros() -> String {
    format!("sha256:{}", "0".repeat(64))
}

#[tokio::test]
async fn what_a_registry_says_no_to_is_told_apart() {
    for (status, kind, part) in [
        (401, StepErrorKind::Denied, "somebody without a login"),
        (403, StepErrorKind::Denied, "does not let"),
        (404, StepErrorKind::NotFound, "has no image"),
        (429, StepErrorKind::Unavailable, "too many"),
        (500, StepErrorKind::Unavailable, "answers 500"),
        (503, StepErrorKind::Unavailable, "answers 503"),
        (400, StepErrorKind::Failed, "answers 400"),
    ] {
        let (host, _) = server(move |_, _| reply(status, "", "")).await;
        let error = digest(&host, None).await.expect_err("it said no");
        assert_eq!(error.kind(), kind, "{status}: {error}");
        assert!(
            error.message().contains(part) && error.message().contains(&host),
            "{error}"
        );
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let error = digest(&host, None).await.expect_err("nobody is there");
    assert_eq!(error.kind(), StepErrorKind::Unavailable);
}

#[tokio::test]
async fn a_digest_that_is_not_told_is_computed_and_one_that_is_wrong_refused() {
    let manifest = r#"{"schemaVersion":2}"#;
    // The digest of those bytes, as `sha256sum` gives it.
    let computed = "sha256:bafebd36189ad3688b7b3915ea55d461e0bfcfbdde11e54b0a123999fb6be50f";
    let (host, heard) = server(move |_, _| reply(200, "", manifest)).await;
    assert_eq!(digest(&host, None).await.expect("computed"), computed);
    let methods: Vec<_> = heard
        .lock()
        .expect("a list")
        .iter()
        .map(|(first, _)| first[..4].to_owned())
        .collect();
    assert_eq!(methods, ["HEAD", "GET "]);

    // A registry that takes no HEAD.
    let (host, _) = server(move |first, _| {
        if first.starts_with("HEAD") {
            return reply(405, "", "");
        }
        reply(200, &format!("docker-content-digest: {}\r\n", zeros()), manifest)
    })
    .await;
    let error = digest(&host, None).await.expect_err("the header lies");
    assert!(error.message().contains("its manifest has"), "{error}");

    let (host, _) = server(|_, _| reply(200, "docker-content-digest: sha512:00\r\n", "")).await;
    let error = digest(&host, None).await.expect_err("no digest of SHA-256");
    assert_eq!(error.kind(), StepErrorKind::Failed, "{error}");
}

#[tokio::test]
async fn a_token_is_fetched_for_the_one_image_and_shown_to_the_registry() {
    let (host, heard) = server(|first, own| {
        if first.contains("/token?") {
            return reply(200, "", r#"{"access_token":"t0ken"}"#);
        }
        let asks = format!("www-authenticate: Bearer realm=\"http://{own}/token\",service=\"the \\\"service\\\"\"\r\n");
        reply(401, &asks, "")
    })
    .await;
    // It refuses the token, too: that is no reason to go round in circles.
    let error = digest(&host, Some(&login())).await.expect_err("refused");
    assert_eq!(error.kind(), StepErrorKind::Denied);
    assert!(error.message().contains("user `robot`"), "{error}");
    let heard = heard.lock().expect("a list").clone();
    assert_eq!(heard.len(), 3, "{heard:?}");
    let (asked, by) = &heard[1];
    assert!(
        asked.contains("service=the+%22service%22&scope=repository%3Ateam%2Fweb%3Apull"),
        "{asked}"
    );
    assert_eq!(by, "Basic cm9ib3Q6aHVudGVyMjI=");
    assert_eq!((heard[0].1.as_str(), heard[2].1.as_str()), ("", "Bearer t0ken"));
}

#[tokio::test]
async fn no_password_goes_over_an_open_line_or_to_who_did_not_ask() {
    let (host, heard) =
        server(|_, _| reply(401, "www-authenticate: Bearer realm=\"http://tokens.example/\"\r\n", "")).await;
    let error = digest(&host, Some(&login())).await.expect_err("refused");
    assert!(error.message().contains("everybody can read"), "{error}");
    assert_eq!(heard.lock().expect("a list").len(), 1);

    let (host, heard) = server(|_, _| reply(401, "www-authenticate: Basic realm=\"x\"\r\n", "")).await;
    digest(&host, None).await.expect_err("nobody's login");
    assert_eq!(heard.lock().expect("a list").len(), 1);
    digest(&host, Some(&login())).await.expect_err("refused all the same");
    let shown: Vec<_> = heard
        .lock()
        .expect("a list")
        .iter()
        .map(|(_, proof)| proof.clone())
        .collect();
    assert_eq!(shown, ["", "", "Basic cm9ib3Q6aHVudGVyMjI="]);
}

#[tokio::test]
async fn what_gives_tokens_may_be_down_or_say_nothing() {
    for (status, body, kind) in [
        (500, "", StepErrorKind::Unavailable),
        (401, "", StepErrorKind::Denied),
        (404, "", StepErrorKind::Failed),
        (200, "{}", StepErrorKind::Failed),
        (200, "no json", StepErrorKind::Failed),
    ] {
        let (host, _) = server(move |first, own| {
            if first.contains("/token?") {
                return reply(status, "", body);
            }
            reply(
                401,
                &format!("www-authenticate: Bearer realm=\"http://{own}/token\"\r\n"),
                "",
            )
        })
        .await;
        let error = digest(&host, None).await.expect_err("no token");
        assert_eq!(error.kind(), kind, "{status} {body}: {error}");
        assert!(!format!("{error:?}").contains("hunter22"));
    }
}
