//! The connection that targets files name `notify`: an address that takes messages.

use std::time::Duration;

use hmac::{Hmac, Mac};
use jm_client_http::{Http, Period, Reply, Request, Url, is_loopback};
use jm_step::{Connection, Environment, Identity, InputIssue, OpenContext, Secret, StepError, StepErrorKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::Sha256;

/// An answer says no more than this that matters.
const MOST_REPLY: usize = 64 * 1024;

/// A target of provider `notify`.
pub struct Webhook {
    http: Http,
    url: Url,
    secret: Option<Secret>,
    timeout: Duration,
    reader: WebhookReader,
}

/// What a targets file says of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The address that takes messages. All of it is secret: for many services whoever knows it may write.
    url: Secret,
    /// The form of the messages.
    #[serde(default)]
    kind: Kind,
    /// Signs each message with HMAC-SHA256, in the header `X-Jm-Signature-256: sha256=HEX` over the body.
    #[serde(default)]
    secret: Option<Secret>,
    /// How long one delivery may take.
    #[serde(default = "ten_seconds")]
    timeout: Period,
    /// Allows plain HTTP to another machine. Whoever listens on the way then reads and changes what is told.
    #[serde(default)]
    insecure: bool,
}

/// The form of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// JSON with `status`, `message`, `timestamp` and more.
    #[default]
    Generic,
    /// As an incoming webhook of Slack takes it.
    Slack,
    /// As a workflow of Microsoft Teams takes it.
    Teams,
}

/// What can be known of a webhook without writing to it.
pub struct WebhookReader {
    /// Its host, such as `hooks.example.com`.
    pub(crate) host: String,
    /// The form of its messages.
    pub(crate) kind: Kind,
}

impl Connection for Webhook {
    const PROVIDER: &'static str = "notify";
    type Config = Config;
    type Reader = WebhookReader;
    /// Everybody may be told something.
    const SHARED: bool = true;

    async fn open(config: Config, cx: &OpenContext) -> Result<Self, StepError> {
        let url = address(&config)?;
        cx.secrets.register(config.url.expose());
        register_parts(&url, cx);
        if let Some(secret) = &config.secret {
            cx.secrets.register(secret.expose());
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        Ok(Self {
            http: Http::new(&cx.environment)?,
            secret: config.secret.filter(|secret| !secret.expose().is_empty()),
            timeout: config.timeout.0,
            reader: WebhookReader {
                host,
                kind: config.kind,
            },
            url,
        })
    }

    fn check(config: &Config, _: &Environment) -> Vec<InputIssue> {
        let wrong = address(config).err();
        wrong.iter().map(|error| InputIssue::of("/url", error)).collect()
    }

    /// A webhook can only be told something, and a message nobody wrote would be noise.
    async fn ping(&self) -> Result<(), StepError> {
        Ok(())
    }

    /// It has none that matters: another address tells other people, and changes no system.
    async fn identity(&self) -> Result<Identity, StepError> {
        Ok(Identity::default())
    }

    fn reader(&self) -> &WebhookReader {
        &self.reader
    }
}

impl Webhook {
    /// The form of its messages.
    pub(crate) fn kind(&self) -> Kind {
        self.reader.kind
    }

    /// Delivers a message. The key tells a receiver that two deliveries are the same message.
    ///
    /// # Errors
    /// `TimedOut` and `Unavailable` where trying again may help; `Denied`, `NotFound` and `Failed` where the service
    /// does not take it.
    pub(crate) async fn deliver(&self, body: &str, key: &str) -> Result<Reply, StepError> {
        let mut request = Request::new("POST", self.url.clone())?
            .shown_as(format!("webhook at {}", self.reader.host))
            .timeout(self.timeout)
            .most_reply(MOST_REPLY)
            .header("idempotency-key", Secret::new(key))
            .body("application/json", body);
        if let Some(secret) = &self.secret {
            request = request.header("x-jm-signature-256", Secret::new(signature(secret, body)?));
        }
        let reply = self.http.send(&request).await?;
        match reply.status {
            200..=299 => Ok(reply),
            status => Err(self.refused(status, &reply)),
        }
    }

    fn refused(&self, status: u16, reply: &Reply) -> StepError {
        let (kind, reason, hint) = match status {
            300..=399 => (
                StepErrorKind::Failed,
                "points to another address, which is not followed",
                "write the address that it points to into the targets file",
            ),
            401 | 403 => (
                StepErrorKind::Denied,
                "does not let us in",
                "check the address and the `secret` of the target",
            ),
            404 | 410 => (
                StepErrorKind::NotFound,
                "is not there",
                "check the address; make the webhook anew where it was removed",
            ),
            408 | 429 | 500..=599 => (
                StepErrorKind::Unavailable,
                "cannot take the message now",
                "see whether the service is well, then try again",
            ),
            _ => (
                StepErrorKind::Failed,
                "does not take the message",
                "check `kind` of the target; the reply says more",
            ),
        };
        let said: String = reply.text().chars().take(300).collect();
        StepError::new(kind, format!("the webhook at {} {reason} ({status})", self.reader.host))
            .hint(hint)
            .evidence(json!({ "status": status, "reply": said }))
    }
}

fn ten_seconds() -> Period {
    Period(Duration::from_secs(10))
}

fn address(config: &Config) -> Result<Url, StepError> {
    if config.url.expose().trim().is_empty() {
        return Err(StepError::invalid_input("the webhook has no address")
            .hint("set WEBHOOK_URL, or mark the target `optional: true`"));
    }
    // The parser's own words may repeat what it was given.
    let url: Url = config.url.expose().trim().parse().map_err(|_| not_an_address())?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) || config.insecure => Ok(url),
        "http" => Err(StepError::invalid_input(
            "the webhook's address begins with `http:`, so anybody on the way reads along",
        )
        .hint("use `https:`, or set `insecure: true` for this target")),
        _ => Err(not_an_address()),
    }
}

fn not_an_address() -> StepError {
    StepError::invalid_input("the webhook's address makes no sense").hint("write it as `https://host/path`")
}

/// Services repeat parts of the address in their replies: the long ones are the secret ones.
fn register_parts(url: &Url, cx: &OpenContext) {
    let path = url.path_segments().into_iter().flatten().map(str::to_owned);
    let query = url.query_pairs().map(|(_, value)| value.into_owned());
    let password = url.password().map(str::to_owned);
    for part in path.chain(query).chain(password).filter(|part| part.len() >= 16) {
        cx.secrets.register(&part);
    }
}

fn signature(secret: &Secret, body: &str) -> Result<String, StepError> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
        .map_err(|_| StepError::invalid_input("the webhook's secret cannot sign"))?;
    mac.update(body.as_bytes());
    Ok(format!("sha256={}", hex::encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: serde_json::Value) -> Config {
        serde_json::from_value(json).expect("fits")
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for (url, insecure, good) in [
            ("https://example.com/x", false, true),
            ("http://127.0.0.1:1/x", false, true),
            ("http://example.com/x", false, false),
            ("http://example.com/x", true, true),
            ("ftp://example.com/x", true, false),
            ("nonsense", false, false),
            ("", false, false),
        ] {
            let config = config(json!({ "url": url, "insecure": insecure }));
            assert_eq!(address(&config).is_ok(), good, "{url} {insecure}");
        }
    }

    #[test]
    fn an_address_that_makes_no_sense_is_not_repeated() {
        let error = address(&config(json!({ "url": "https//canary-token" }))).expect_err("nonsense");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }

    #[test]
    fn the_signature_is_the_known_one() {
        // RFC 4231, test case 2.
        let signed = signature(&Secret::new("Jefe"), "what do ya want for nothing?").expect("signed");
        assert_eq!(
            signed,
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
