//! What the SDK's errors mean, as far as all services agree on it.

use std::error::Error;
use std::fmt::Display;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use serde_json::{Value, json};

use jm_step::{StepError, StepErrorKind};

use crate::Stalled;
use crate::skew::{is_skew, skewed};

/// What every call of the SDK fails with.
pub type Failure<E> = SdkError<E, HttpResponse>;

/// What an error means, in the words of this house.
#[derive(Debug)]
pub struct Told {
    /// Its class.
    pub kind: StepErrorKind,
    /// What happened.
    pub reason: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Told {
    /// An error of this class.
    pub fn new(kind: StepErrorKind, reason: impl Into<String>) -> Self {
        Self {
            kind,
            reason: reason.into(),
            hint: None,
        }
    }

    /// Adds what to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The step error: `doing` is what was tried, such as ``cannot read `s3://bucket/key` ``.
    pub fn step_error(self, doing: &dyn Display, cause: &(dyn Error + 'static)) -> StepError {
        self.about(doing).source(chain(cause))
    }

    /// The same where the service said no in a list of answers, and no call failed.
    pub fn about(self, doing: &dyn Display) -> StepError {
        let step = StepError::new(self.kind, format!("{doing}: {}", self.reason));
        match self.hint {
            Some(hint) => step.hint(hint),
            None => step,
        }
    }
}

/// What a failed call means. `speaker` is the service as people call it, such as `the store`; what it said itself is
/// for `by_service` to understand.
pub fn told<E>(speaker: &str, error: &Failure<E>, by_service: impl FnOnce(&E, &HttpResponse) -> Told) -> Told
where
    E: Error + Send + Sync + 'static,
{
    use StepErrorKind::{Denied, Failed, TimedOut, Unavailable};
    let no_answer = || {
        Told::new(TimedOut, format!("{speaker} did not answer in time")).hint(format!(
            "see whether {speaker} and the line to it are well, then try again"
        ))
    };
    if let Some(stalled) = stalled(error) {
        return stalled;
    }
    match error {
        SdkError::ServiceError(service) => by_service(service.err(), service.raw()),
        SdkError::TimeoutError(_) => no_answer(),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => no_answer(),
        SdkError::DispatchFailure(_) if !holds_credentials_error(error) => {
            Told::new(Unavailable, format!("{speaker} cannot be reached"))
                .hint("check the endpoint, the name server, the proxy and the certificates; the cause is below")
        }
        SdkError::ResponseError(_) => Told::new(Unavailable, "the answer was cut off or makes no sense"),
        _ if holds_credentials_error(error) => Told::new(
            Denied,
            format!("there are no credentials for {speaker}, or they cannot be read"),
        )
        .hint("set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role"),
        _ => Told::new(Failed, "the request could not be made")
            .hint("check the region and the endpoint; set `region` in the targets file or AWS_REGION"),
    }
}

/// What it means where a line that stalled is among the causes.
pub fn stalled(error: &(dyn Error + 'static)) -> Option<Told> {
    let stalled = causes(error).find_map(<dyn Error>::downcast_ref::<Stalled>)?;
    let told = Told::new(StepErrorKind::TimedOut, stalled.to_string());
    Some(told.hint("see whether the service and the line to it are well, then try again"))
}

/// What is denied for a right that the credentials lack.
pub const NOT_ALLOWED: &str = "the credentials do not allow it";

/// What codes mean that say no. `permission` is what the call needs, such as `s3:GetObject`.
pub fn refused(speaker: &str, code: &str, permission: &str) -> Option<Told> {
    let (reason, hint) = match code {
        "AccessDenied" | "AllAccessDisabled" | "Forbidden" => (
            NOT_ALLOWED.to_owned(),
            format!("allow `{permission}` for them, or use others"),
        ),
        // The last is the word of versitygw.
        "InvalidAccessKeyId" | "InvalidClientTokenId" | "UnrecognizedClientException" | "XAdminUserNotFound" => (
            format!("{speaker} does not know the access key"),
            format!("check AWS_ACCESS_KEY_ID or the profile, and that it belongs to {speaker}"),
        ),
        "SignatureDoesNotMatch" => (
            "the secret does not fit the access key".to_owned(),
            "check AWS_SECRET_ACCESS_KEY or the profile".to_owned(),
        ),
        "ExpiredToken" | "ExpiredTokenException" | "InvalidToken" | "TokenRefreshRequired" => (
            "the session token has expired or is not valid".to_owned(),
            "log in again, or renew the temporary credentials".to_owned(),
        ),
        code if is_skew(code) => return Some(skewed(speaker, None)),
        _ => return None,
    };
    Some(Told::new(StepErrorKind::Denied, reason).hint(hint))
}

/// Whether a code says that the service is asked too much.
pub fn too_much(code: &str) -> bool {
    matches!(
        code,
        "SlowDown" | "Throttling" | "ThrottlingException" | "TooManyRequests" | "RequestLimitExceeded"
    )
}

/// What codes mean that ask to come back later.
pub fn later(speaker: &str, code: &str) -> Option<Told> {
    let reason = match code {
        code if too_much(code) => format!("{speaker} asks to come back later"),
        "InternalError" | "ServiceUnavailable" | "ServerBusy" => format!("{speaker} has trouble of its own"),
        "RequestTimeout" => format!("{speaker} waited for data that did not come"),
        _ => return None,
    };
    Some(Told::new(StepErrorKind::Unavailable, reason))
}

/// The step error for a failed call, with what the service said.
pub fn step_error<E>(doing: &dyn Display, told: Told, error: &Failure<E>) -> StepError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let step = told.step_error(doing, error);
    match evidence(error) {
        Some(evidence) => step.evidence(evidence),
        None => step,
    }
}

/// What the service said, without what it echoes of the request.
fn evidence<E: ProvideErrorMetadata>(error: &Failure<E>) -> Option<Value> {
    let raw = error.raw_response()?;
    let meta = error.as_service_error().map(ProvideErrorMetadata::meta);
    let id = raw.headers().get("x-amz-request-id");
    Some(json!({
        "status": raw.status().as_u16(),
        "code": meta.and_then(|meta| meta.code()),
        "message": meta.and_then(|meta| meta.message()),
        "request_id": id.or(raw.headers().get("x-amzn-requestid")),
    }))
}

fn holds_credentials_error(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(<dyn Error>::is::<CredentialsError>)
}

/// The chain as text: the live error holds the raw response, which nobody needs to keep.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    for cause in causes(error) {
        let text = cause.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
    }
    texts.join(": ")
}

fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn Error + 'static)| (*error).source())
}
