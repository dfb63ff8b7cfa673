//! Against a receiver that follows a script.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use jm_step::testing::Bench;
use jm_step::{AnyStepType, Grade, StepErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

type Heard = Arc<Mutex<Vec<String>>>;

/// Answers every request with the same bytes; `None` never answers. Gives its address and what it heard.
async fn receiver(reply: Option<&'static str>) -> (String, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let heard = Heard::default();
    let hearing = heard.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let request = request(&mut stream).await;
            hearing.lock().expect("no panic").push(request);
            match reply {
                Some(reply) => drop(stream.write_all(reply.as_bytes()).await),
                None => tokio::time::sleep(Duration::from_mins(1)).await,
            }
        }
    });
    (format!("http://{address}/hook/0123456789abcdef0123"), heard)
}

async fn request(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = stream.read(&mut chunk).await.expect("readable");
        heard.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&heard);
        let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            length.and_then(|length| length.parse().ok()) == Some(body.len())
        });
        if whole || read == 0 {
            return text.into_owned();
        }
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";

fn bench(config: Value) -> Bench {
    Bench::new().target::<Webhook>("webhook", config)
}

async fn run(bench: &Bench, input: Value) -> Result<Value, StepError> {
    let (cx, _listener) = bench.step();
    AnyStepType::run(&Send, &cx, input).await
}

fn started() -> Value {
    json!({ "status": "started", "message": "the database comes back" })
}

#[tokio::test]
async fn a_message_arrives_with_its_key_and_its_signature() {
    let (url, heard) = receiver(Some(OK)).await;
    let bench = bench(json!({ "url": url, "secret": "hunter22" }));
    let (cx, listener) = bench.step();
    let output = AnyStepType::run(&Send, &cx, started()).await.expect("told");
    let key = output["idempotency_key"].as_str().expect("a key");
    assert_eq!(key, cx.idempotency_key());
    let heard = heard.lock().expect("no panic").join("");
    let (head, body) = heard.split_once("\r\n\r\n").expect("a request");
    assert!(head.contains(&format!("idempotency-key: {key}")), "{head}");
    assert!(
        head.contains("x-jm-signature-256: sha256=") && head.contains("content-type: application/json"),
        "{head}"
    );
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(
        (&body["status"], &body["idempotency_key"], &body["plan"]),
        (&json!("started"), &json!(key), &json!("test"))
    );
    assert_eq!(listener.told(cx).await.changes.len(), 1);
}

#[tokio::test]
async fn a_receiver_that_hangs_is_given_up_in_time() {
    let (url, _) = receiver(None).await;
    let begun = Instant::now();
    let error = run(&bench(json!({ "url": url, "timeout": "300ms" })), started())
        .await
        .expect_err("hangs");
    assert_eq!(error.kind(), StepErrorKind::TimedOut);
    assert!(
        error.message().contains("webhook at 127.0.0.1") && error.hint_text().is_some(),
        "{error}"
    );
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn refusals_are_classed_and_never_show_the_address() {
    for (reply, kind) in [
        (
            "HTTP/1.1 500 Oops\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            StepErrorKind::Unavailable,
        ),
        (
            "HTTP/1.1 429 Slow\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            StepErrorKind::Unavailable,
        ),
        (
            "HTTP/1.1 403 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            StepErrorKind::Denied,
        ),
        (
            "HTTP/1.1 404 Gone\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            StepErrorKind::NotFound,
        ),
        (
            "HTTP/1.1 302 Go\r\nlocation: http://127.0.0.2:9/\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            StepErrorKind::Failed,
        ),
        (
            "HTTP/1.1 400 Bad\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            StepErrorKind::Failed,
        ),
    ] {
        let (url, heard) = receiver(Some(reply)).await;
        let error = run(&bench(json!({ "url": url })), started()).await.expect_err(reply);
        assert_eq!(error.kind(), kind, "{reply}");
        assert!(!format!("{error:?}").contains("0123456789abcdef0123"), "{error:?}");
        assert_eq!(heard.lock().expect("no panic").len(), 1, "no redirect is followed");
    }
}

#[tokio::test]
async fn secrets_do_not_leave_with_a_message() {
    let (url, heard) = receiver(Some(OK)).await;
    let bench = bench(json!({ "url": url }));
    bench.secrets().register("canary-7f3a");
    let input = json!({ "status": "failed", "message": "said canary-7f3a", "fields": { "x": "canary-7f3a" } });
    run(&bench, input).await.expect("told");
    let heard = heard.lock().expect("no panic").join("");
    assert!(!heard.contains("canary-7f3a") && heard.contains("[secret]"), "{heard}");
}

#[tokio::test]
async fn a_preview_tells_nobody() {
    let (url, heard) = receiver(Some(OK)).await;
    let preview = AnyStepType::preview(&Send, &bench(json!({ "url": url })).read(), started())
        .await
        .expect("a preview");
    assert_eq!(preview.grade, Grade::Declared);
    assert_eq!(preview.summary, "tells 127.0.0.1: started");
    assert!(heard.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn without_an_address_it_says_what_to_do() {
    let error = run(&bench(json!({ "url": "" })), started())
        .await
        .expect_err("no address");
    assert_eq!(error.kind(), StepErrorKind::InvalidInput);
    assert!(error.hint_text().expect("hint").contains("optional: true"));
}
