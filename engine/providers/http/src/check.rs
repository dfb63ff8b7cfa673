//! `http.check`: asks an address until it answers as expected.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use jm_client_http::{Http, Period, Reply, Request, Url};
use jm_step::{
    Effect, InputIssue, Preview, Probe, ReadContext, Repeat, Role, Secret, StepContext, StepError, StepErrorKind,
    StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Of a body whose hash is compared, so much is read.
const WHOLE: usize = 64 * 1024 * 1024;
/// The status where no answer came.
const UNANSWERED: u16 = 0;
/// Where caches say whether they had it, the nearest first.
const CACHE_HEADERS: [&str; 3] = ["x-cache", "x-cache-status", "cf-cache-status"];

/// Asks an address until it answers as expected.
pub(crate) struct Check;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The address, such as `https://example.com/health`. Redirects are followed on the same host only.
    url: String,
    /// How it is asked.
    #[serde(default)]
    method: Method,
    /// The statuses that are good: numbers such as 200, and ranges such as `200-299`.
    #[serde(default = "any_success")]
    status: Vec<Statuses>,
    /// A text that the first MiB of the reply has to contain.
    #[serde(default)]
    body_contains: Option<String>,
    /// What the reply's JSON has to hold, by JSON pointer, such as `/status: ok`.
    #[serde(default)]
    json: BTreeMap<String, Value>,
    /// The SHA-256 of the whole body in hex, such as that of a file that was just uploaded; empty for any.
    #[serde(default)]
    #[schemars(pattern(r"^([0-9a-fA-F]{64})?$"))]
    body_sha256: String,
    /// Headers that the reply has to have, with their values.
    #[serde(default)]
    expect_headers: BTreeMap<String, String>,
    /// Headers to send, such as `authorization`. Their values may be secrets.
    #[serde(default)]
    headers: BTreeMap<String, Secret>,
    /// How long it may take until the answer is good; it is asked again and again. Once, where not given.
    #[serde(default, rename = "for")]
    wait: Option<Period>,
    /// How many good answers in a row it takes: behind one name there are often several servers, or edges.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    times: u32,
    /// How long to wait between two tries.
    #[serde(default = "two_seconds")]
    interval: Period,
    /// How long one try may take.
    #[serde(default = "ten_seconds")]
    request_timeout: Period,
}

/// A method that changes nothing.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Method {
    #[default]
    Get,
    Head,
    Options,
}

/// One status, or a range of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Statuses {
    One(#[schemars(range(min = 100, max = 599))] u16),
    Range(#[schemars(pattern(r"^[1-5]\d\d-[1-5]\d\d$"))] String),
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The status of the good answer; where the step failed, of the last kind of answer that was not good, or 0 where no
    /// answer came.
    status: u16,
    /// How long the last try took, in milliseconds.
    elapsed_ms: u64,
    /// How many tries it took.
    attempts: u32,
    /// The SHA-256 of that answer's body, as far as it was read, in lower-case hex.
    body_sha256: String,
    /// What the caches on the way say of it (`x-cache` and the like), such as `Hit from cloudfront`; empty where none
    /// says anything.
    cache: String,
}

impl StepType for Check {
    const NAME: &'static str = "http.check";
    const SUMMARY: &'static str = "asks an address until it answers as expected";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const GATE: bool = true;
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let mut issues = Vec::new();
        if let Err(error) = request(input) {
            issues.push(InputIssue::at("/url", error.to_string()).help("write it as `https://host/path`"));
        }
        for (index, statuses) in input.status.iter().enumerate() {
            if statuses.bounds().is_none() {
                let issue = InputIssue::at(format!("/status/{index}"), format!("`{statuses}` is not a status"));
                issues.push(issue.help("write a number such as 200, or a range such as `200-299`"));
            }
        }
        for pointer in input
            .json
            .keys()
            .filter(|pointer| !pointer.is_empty() && !pointer.starts_with('/'))
        {
            let issue = InputIssue::at("/json", format!("`{pointer}` is not a JSON pointer"));
            issues.push(issue.help(format!("write `/{}`", pointer.replace('.', "/"))));
        }
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }

    /// What it will find cannot be known: the steps before it may be what makes it answer.
    async fn preview(&self, _: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        request(input)?;
        let wait = input
            .wait
            .map(|wait| format!(", for at most {wait}"))
            .unwrap_or_default();
        Ok(Preview::declared(format!(
            "asks {} for {}{wait}",
            shown(input),
            expected(&input.status)
        )))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let http = Http::new(cx.environment())?;
        let request = request(&input)?;
        let started = Instant::now();
        let (mut good, mut told) = (0, BTreeSet::new());
        for attempts in 1.. {
            let reply = tokio::select! {
                () = cx.cancelled() => return Err(stopped(&input)),
                reply = http.send(&request) => reply,
            };
            let error = match reply.map(|reply| (not_good(&reply, &input), reply)) {
                Ok((None, reply)) => {
                    good += 1;
                    if good >= input.times {
                        return Ok(output(&reply, attempts));
                    }
                    pause(cx, &input).await?;
                    continue;
                }
                // Who answers, and not well, is there.
                Ok((Some(error), reply)) => {
                    if told.insert(reply.status) {
                        cx.save_output(output(&reply, attempts)).await?;
                    }
                    error
                }
                // What an earlier attempt was answered may be long ago.
                Err(error) => {
                    if told.is_empty() && cx.saved_output::<Output>()?.is_some() {
                        told.insert(UNANSWERED);
                        cx.save_output(unanswered(attempts)).await?;
                    }
                    error
                }
            };
            good = 0;
            cx.log(format!("try {attempts}: {error}")).await;
            match input.wait {
                None => return Err(error),
                Some(_) if !may_pass(&error) => return Err(error),
                Some(wait) if started.elapsed() + input.interval.0 >= wait.0 => {
                    return Err(never(&input, wait, attempts, &error));
                }
                Some(_) => pause(cx, &input).await?,
            }
        }
        unreachable!("the tries end by returning")
    }

    /// It only looks, so nothing of it can have stayed.
    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

impl Method {
    fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
        }
    }
}

impl Statuses {
    fn bounds(&self) -> Option<(u16, u16)> {
        let (low, high) = match self {
            Self::One(status) => (*status, *status),
            Self::Range(range) => {
                let (low, high) = range.split_once('-')?;
                (low.parse().ok()?, high.parse().ok()?)
            }
        };
        (100 <= low && low <= high && high <= 599).then_some((low, high))
    }

    fn holds(&self, status: u16) -> bool {
        self.bounds().is_some_and(|(low, high)| (low..=high).contains(&status))
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(status) => write!(f, "{status}"),
            Self::Range(range) => f.write_str(range),
        }
    }
}

fn any_success() -> Vec<Statuses> {
    vec![Statuses::Range("200-299".to_owned())]
}

fn one() -> u32 {
    1
}

fn two_seconds() -> Period {
    Period(Duration::from_secs(2))
}

fn ten_seconds() -> Period {
    Period(Duration::from_secs(10))
}

fn request(input: &Input) -> Result<Request, StepError> {
    let url: Url = input
        .url
        .parse()
        .map_err(|error| StepError::invalid_input(format!("the address makes no sense: {error}")))?;
    let mut request = Request::new(input.method.as_str(), url)?
        .timeout(input.request_timeout.0)
        .most_reply(if input.body_sha256.is_empty() {
            1024 * 1024
        } else {
            WHOLE
        })
        .follow();
    for (name, value) in &input.headers {
        request = request.header(name, value.clone());
    }
    Ok(request)
}

/// What a reply that is not good fails the step with.
fn not_good(reply: &Reply, input: &Input) -> Option<StepError> {
    let fault = fault(reply, input)?;
    let error = StepError::new(kind(reply.status, input), format!("{} {fault}", shown(input)))
        .hint("see the logs of the service behind it")
        .evidence(json!({ "status": reply.status, "reply": start_of(reply) }));
    Some(error)
}

/// What is wrong with the reply, if anything.
fn fault(reply: &Reply, input: &Input) -> Option<String> {
    if !input.status.iter().any(|statuses| statuses.holds(reply.status)) {
        return Some(format!("answered {} and not {}", reply.status, expected(&input.status)));
    }
    for (name, value) in &input.expect_headers {
        if reply.header(name) != Some(value) {
            return Some(format!("answered without the header `{name}: {value}`"));
        }
    }
    if input
        .body_contains
        .as_ref()
        .is_some_and(|text| !reply.text().contains(text.as_str()))
    {
        return Some("answered without the text that is expected".to_owned());
    }
    hash_fault(reply, input).or_else(|| json_fault(reply, input))
}

/// An edge that still serves what was there before says so by its body.
fn hash_fault(reply: &Reply, input: &Input) -> Option<String> {
    if input.body_sha256.is_empty() {
        return None;
    }
    if reply.cut {
        return Some(format!(
            "answered with more than {WHOLE} bytes, whose hash is not known"
        ));
    }
    let found = sha256(reply);
    if found.eq_ignore_ascii_case(&input.body_sha256) {
        return None;
    }
    let cache = match cache(reply) {
        "" => String::new(),
        cache => format!(" (`{cache}`)"),
    };
    Some(format!("answered with another content{cache}: its SHA-256 is {found}"))
}

fn sha256(reply: &Reply) -> String {
    hex::encode(Sha256::digest(&reply.body))
}

fn cache(reply: &Reply) -> &str {
    CACHE_HEADERS
        .iter()
        .find_map(|name| reply.header(name))
        .unwrap_or_default()
}

fn json_fault(reply: &Reply, input: &Input) -> Option<String> {
    if input.json.is_empty() {
        return None;
    }
    let Ok(found) = serde_json::from_slice::<Value>(&reply.body) else {
        return Some("did not answer in JSON".to_owned());
    };
    input
        .json
        .iter()
        .find_map(|(pointer, expected)| match found.pointer(pointer) {
            Some(value) if value == expected => None,
            Some(value) => Some(format!("answered `{value}` at `{pointer}`, and not `{expected}`")),
            None => Some(format!("answered without `{pointer}`, which should be `{expected}`")),
        })
}

/// A service that is starting or overloaded says so by its status.
fn kind(status: u16, input: &Input) -> StepErrorKind {
    let expected = input.status.iter().any(|statuses| statuses.holds(status));
    match status {
        429 | 502 | 503 | 504 if !expected => StepErrorKind::Unavailable,
        _ => StepErrorKind::Failed,
    }
}

/// Whether asking again can help: a certificate that nobody trusts stays as it is, a reply may get better.
fn may_pass(error: &StepError) -> bool {
    error.kind().is_transient() || error.summary().evidence.is_some()
}

/// Not transient any more: the waiting was the retrying.
fn never(input: &Input, wait: Period, attempts: u32, last: &StepError) -> StepError {
    let summary = last.summary();
    StepError::failed(format!(
        "{} did not become well within {wait}: {}",
        shown(input),
        summary.message
    ))
    .hint(
        summary
            .hint
            .unwrap_or_else(|| "see the logs of the service behind it".to_owned()),
    )
    .evidence(json!({ "attempts": attempts, "last": summary.evidence, "causes": summary.causes }))
}

async fn pause(cx: &StepContext, input: &Input) -> Result<(), StepError> {
    tokio::select! {
        () = cx.cancelled() => Err(stopped(input)),
        () = tokio::time::sleep(input.interval.0) => Ok(()),
    }
}

fn stopped(input: &Input) -> StepError {
    StepError::cancelled(format!("told to stop while asking {}", shown(input)))
}

fn output(reply: &Reply, attempts: u32) -> Output {
    Output {
        status: reply.status,
        elapsed_ms: u64::try_from(reply.elapsed.as_millis()).unwrap_or(u64::MAX),
        attempts,
        body_sha256: sha256(reply),
        cache: cache(reply).to_owned(),
    }
}

fn unanswered(attempts: u32) -> Output {
    Output {
        status: UNANSWERED,
        elapsed_ms: 0,
        attempts,
        body_sha256: String::new(),
        cache: String::new(),
    }
}

fn expected(statuses: &[Statuses]) -> String {
    let texts: Vec<String> = statuses.iter().map(ToString::to_string).collect();
    texts.join(" or ")
}

/// The address without query and credentials, which may hold secrets.
fn shown(input: &Input) -> String {
    match input.url.parse::<Url>() {
        Ok(url) => format!("`{}{}`", url.origin().ascii_serialization(), url.path()),
        Err(_) => "the address".to_owned(),
    }
}

/// Enough of the reply to recognise it.
fn start_of(reply: &Reply) -> String {
    reply.text().chars().take(300).collect()
}

#[cfg(test)]
mod tests;
