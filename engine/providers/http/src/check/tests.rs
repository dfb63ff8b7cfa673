//! Against a server that follows a script.

use jm_step::testing::Bench;
use jm_step::{AnyStepType, Grade};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers each connection with the next reply, the last one for ever.
async fn server(replies: Vec<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut next = replies
            .iter()
            .chain(std::iter::repeat(replies.last().expect("a reply")));
        while let Ok((mut stream, _)) = listener.accept().await {
            drop(stream.read(&mut [0; 4096]).await);
            drop(stream.write_all(next.next().expect("endless").as_bytes()).await);
        }
    });
    format!("http://{address}/health")
}

const GOOD: &str = "HTTP/1.1 200 OK\r\nx-app: jm\r\nconnection: close\r\ncontent-length: 15\r\n\r\n{\"status\":\"ok\"}";
const DOWN: &str = "HTTP/1.1 503 Down\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const GATEWAY: &str = "HTTP/1.1 502 Gateway\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const BROKEN: &str = "HTTP/1.1 500 Oops\r\nconnection: close\r\ncontent-length: 4\r\n\r\noops";

async fn run(input: Value) -> Result<Value, StepError> {
    let (cx, _listener) = Bench::new().step();
    AnyStepType::run(&Check, &cx, input).await
}

#[tokio::test]
async fn a_good_answer_is_good_in_all_that_is_asked_of_it() {
    let url = server(vec![GOOD]).await;
    let output = run(json!({
        "url": url, "status": [200], "body_contains": "ok", "json": { "/status": "ok" },
        "expect_headers": { "X-App": "jm" },
    }))
    .await
    .expect("good");
    assert_eq!((&output["status"], &output["attempts"]), (&json!(200), &json!(1)));
}

#[tokio::test]
async fn each_expectation_can_fail() {
    let url = server(vec![GOOD]).await;
    for (more, said) in [
        (
            json!({ "status": [204, "300-399"] }),
            "answered 200 and not 204 or 300-399",
        ),
        (
            json!({ "body_contains": "canary" }),
            "without the text that is expected",
        ),
        (
            json!({ "json": { "/status": "down" } }),
            "answered `\"ok\"` at `/status`, and not `\"down\"`",
        ),
        (json!({ "json": { "/other": 1 } }), "answered without `/other`"),
        (
            json!({ "expect_headers": { "x-app": "other" } }),
            "without the header `x-app: other`",
        ),
    ] {
        let mut input = json!({ "url": url });
        input
            .as_object_mut()
            .expect("a map")
            .extend(more.as_object().expect("a map").clone());
        let error = run(input).await.expect_err(said);
        assert_eq!(error.kind(), StepErrorKind::Failed);
        assert!(error.message().contains(said), "{error}");
    }
}

#[tokio::test]
async fn it_waits_until_the_service_is_well() {
    let url = server(vec![DOWN, BROKEN, GOOD]).await;
    let output = run(json!({ "url": url, "for": "20s", "interval": "10ms" }))
        .await
        .expect("well in the end");
    assert_eq!(output["attempts"], 3);
}

const OLD: &str =
    "HTTP/1.1 200 OK\r\nx-cache: Hit from cloudfront\r\nconnection: close\r\ncontent-length: 3\r\n\r\nold";
const NEW: &str =
    "HTTP/1.1 200 OK\r\nx-cache: Miss from cloudfront\r\nconnection: close\r\ncontent-length: 3\r\n\r\nnew";

#[tokio::test]
async fn an_edge_that_is_stale_is_asked_again_and_then_given_up() {
    let wanted = hex::encode(Sha256::digest("new"));
    // Two edges behind one name: one of them is slower.
    let url = server(vec![OLD, NEW, OLD, NEW]).await;
    let input = json!({ "url": url, "body_sha256": wanted, "times": 2, "for": "20s", "interval": "10ms" });
    let output = run(input).await.expect("fresh in the end");
    assert_eq!(
        (&output["attempts"], &output["cache"]),
        (&json!(5), &json!("Miss from cloudfront"))
    );
    assert_eq!(output["body_sha256"], wanted);
    let url = server(vec![OLD]).await;
    let input = json!({ "url": url, "body_sha256": wanted, "for": "200ms", "interval": "50ms" });
    let error = run(input).await.expect_err("never fresh");
    assert_eq!(error.kind(), StepErrorKind::Failed);
    assert!(
        error.message().contains("another content (`Hit from cloudfront`)"),
        "{error}"
    );
}

#[tokio::test]
async fn waiting_ends_and_says_what_it_saw_last() {
    let url = server(vec![DOWN]).await;
    let error = run(json!({ "url": url, "for": "200ms", "interval": "50ms" }))
        .await
        .expect_err("never well");
    assert_eq!(error.kind(), StepErrorKind::Failed, "waiting was the retrying");
    assert!(
        error.message().contains("did not become well within 200ms") && error.message().contains("503"),
        "{error}"
    );
}

#[tokio::test]
async fn without_waiting_the_kind_lets_the_engine_retry() {
    for (reply, kind) in [(DOWN, StepErrorKind::Unavailable), (BROKEN, StepErrorKind::Failed)] {
        let url = server(vec![reply]).await;
        assert_eq!(run(json!({ "url": url })).await.expect_err("not well").kind(), kind);
    }
}

/// Whoever fences a service that is not well has to know that something answers there.
#[tokio::test]
async fn what_is_not_good_is_told_of_each_kind_once() {
    let url = server(vec![DOWN, DOWN, GATEWAY, DOWN, GATEWAY, BROKEN]).await;
    let (cx, listener) = Bench::new().step();
    let input = json!({ "url": url, "for": "5s", "interval": "10ms" });
    AnyStepType::run(&Check, &cx, input).await.expect_err("not well");
    assert_eq!(statuses(&listener.told(cx).await.outputs), [503, 502, 500]);
}

/// By the time of a resume, who answered may be gone.
#[tokio::test]
async fn an_earlier_answer_does_not_outlive_an_attempt_that_nothing_answers() {
    let input = json!({ "url": "http://127.0.0.1:9/health", "for": "100ms", "interval": "10ms" });
    for (earlier, expected) in [(Some(503), vec![0]), (None, vec![])] {
        let bench = match earlier {
            Some(status) => Bench::new().saved_output(json!({
                "status": status, "elapsed_ms": 1, "attempts": 1, "body_sha256": "", "cache": "",
            })),
            None => Bench::new(),
        };
        let (cx, listener) = bench.step();
        AnyStepType::run(&Check, &cx, input.clone())
            .await
            .expect_err("nobody is there");
        assert_eq!(statuses(&listener.told(cx).await.outputs), expected, "{earlier:?}");
    }
}

fn statuses(outputs: &[Value]) -> Vec<u64> {
    outputs.iter().filter_map(|output| output["status"].as_u64()).collect()
}

#[tokio::test]
async fn it_stops_when_told() {
    let url = server(vec![DOWN]).await;
    let bench = Bench::new();
    let (cx, _listener) = bench.step();
    bench.cancel();
    let input = json!({ "url": url, "for": "10m", "interval": "5m" });
    let error = AnyStepType::run(&Check, &cx, input).await.expect_err("stopped");
    assert_eq!(error.kind(), StepErrorKind::Cancelled);
}

#[tokio::test]
async fn a_preview_asks_nobody() {
    let input = json!({ "url": "http://127.0.0.1:9/health?token=canary", "for": "2m" });
    let preview = AnyStepType::preview(&Check, &Bench::new().read(), input)
        .await
        .expect("a preview");
    assert_eq!(preview.grade, Grade::Declared);
    assert_eq!(
        preview.summary,
        "asks `http://127.0.0.1:9/health` for 200-299, for at most 2m"
    );
}

#[test]
fn nonsense_is_found_before_the_run() {
    let issues = AnyStepType::check(
        &Check,
        &json!({ "url": "health", "status": [200, "300-200"], "json": { "a.b": 1 } }),
    )
    .expect_err("nonsense");
    let pointers: Vec<&str> = issues.iter().map(|issue| issue.pointer.as_str()).collect();
    assert_eq!(pointers, ["/url", "/status/1", "/json"]);
    AnyStepType::check(&Check, &json!({ "url": "http://a/", "method": "POST" }))
        .expect_err("POST may change something");
    AnyStepType::check(&Check, &json!({ "url": "http://a/", "for": "2 minutes" })).expect_err("not a length of time");
}
