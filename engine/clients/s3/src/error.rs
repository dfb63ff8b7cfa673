//! What the SDK's errors mean, and what to do about them.

use std::error::Error;
use std::fmt;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::ProvideErrorMetadata;
use jm_client_aws::{NOT_ALLOWED, Told};
use serde_json::json;

use jm_step::{StepError, StepErrorKind};

use crate::transport::Failure;

/// What was being done, to what, and the permission that it needs.
#[derive(Debug, Clone)]
pub(crate) struct Doing {
    /// Such as `read`.
    pub(crate) verb: &'static str,
    /// Such as `s3://bucket/key`.
    pub(crate) what: String,
    /// Such as `s3:GetObject`.
    pub(crate) permission: &'static str,
    /// Whether the bucket has to belong to an account, which a denial may be about.
    pub(crate) owned: bool,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} `{}`", self.verb, self.what)
    }
}

impl Doing {
    /// The step error for a failed call.
    pub(crate) fn failed<E>(&self, error: &Failure<E>) -> StepError
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let told = stalled(error)
            .unwrap_or_else(|| jm_client_aws::told("the store", error, |told, raw| self.told_by_store(told, raw)));
        jm_client_aws::step_error(self, self.or_another_owner(told), error)
    }

    /// The step error for one of many that the store refused by itself.
    pub(crate) fn refused(&self, code: &str, message: &str) -> StepError {
        let told = by_words(code, message)
            .or_else(|| by_code(code, self.permission))
            .unwrap_or_else(|| Told::new(StepErrorKind::Failed, format!("the store refused ({code}): {message}")));
        told.about(self).evidence(json!({ "code": code, "message": message }))
    }

    /// A store tells a bucket that is somebody else's in the words of an ordinary denial.
    fn or_another_owner(&self, told: Told) -> Told {
        if !self.owned || told.kind != StepErrorKind::Denied {
            return told;
        }
        let hint = told.hint.clone().unwrap_or_default();
        told.hint(format!(
            "{hint}; or the bucket belongs to another account than the target's `owner`: then find out who has it"
        ))
    }

    /// The step error for a body that broke off.
    pub(crate) fn cut(&self, error: &(dyn Error + 'static)) -> StepError {
        stalled(error)
            .unwrap_or_else(|| {
                Told::new(StepErrorKind::Unavailable, "the connection broke off again and again")
                    .hint("see whether the store and the line to it are well, then try again")
            })
            .step_error(self, error)
    }

    /// The step error for a listing of which nobody can tell how it goes on: half of it must not count as all.
    pub(crate) fn half_listed(&self) -> StepError {
        StepError::failed(format!(
            "{self}: the store says that there is more, and not where it goes on"
        ))
        .hint("see with `aws s3api list-objects-v2` what the store says, or reach it without what lies between")
    }

    /// The step error for content that is not what the store's checksum says.
    pub(crate) fn damaged(&self, expected: &str, found: &str) -> StepError {
        StepError::failed(format!(
            "{self}: its content does not match the checksum that the store keeps"
        ))
        .hint("the object is damaged: take another version of it, or another copy")
        .evidence(json!({ "expected": expected, "found": found }))
    }

    fn told_by_store(&self, error: &impl ProvideErrorMetadata, raw: &HttpResponse) -> Told {
        let status = raw.status().as_u16();
        let code = error.code().unwrap_or_default();
        if raw.headers().get("x-amz-delete-marker") == Some("true") {
            return Told::new(
                StepErrorKind::NotFound,
                "it was deleted, and the bucket keeps its versions",
            )
            .hint("name the version to read: `aws s3api list-object-versions` lists them");
        }
        let region = raw.headers().get("x-amz-bucket-region");
        if tells_other_region(code) {
            return other_region(region);
        }
        if let Some(ahead) = jm_client_aws::skew(code, raw) {
            return jm_client_aws::skewed("the store", Some(ahead));
        }
        by_words(code, error.message().unwrap_or_default())
            .or_else(|| by_code(code, self.permission))
            .or_else(|| by_status(status, region, self.permission))
            .unwrap_or_else(|| {
                let said = error.message().unwrap_or("without a word of explanation");
                Told::new(
                    StepErrorKind::Failed,
                    format!("the store refused ({status} {code}): {said}"),
                )
            })
    }
}

/// A line that is slower than the targets file lets it be.
fn stalled(error: &(dyn Error + 'static)) -> Option<Told> {
    let told = jm_client_aws::stalled(error)?;
    Some(told.hint(
        "see whether the store and the line to it are well, then try again; where the line is that slow, lower \
         `least_bytes_per_second` or raise `stall_seconds` under `line` in the targets file",
    ))
}

/// What is denied by a lock.
const LOCKED: &str = "it is locked against deletion (Object Lock)";

/// Whether this is the error of a deletion that a lock prevents.
pub(crate) fn is_locked(message: &str) -> bool {
    message.ends_with(LOCKED)
}

/// What is denied by a KMS key.
const KEY_DENIED: &str = "the credentials may not use the KMS key";
const KEY_GONE: &str = "the KMS key is disabled, gone or on its way to be deleted";

/// Whether an error is one that meets every object of a bucket: no answer, or credentials that are none. A lock, a key of KMS,
/// a right and what an object is by itself meet some: a policy may deny one folder and allow all others.
pub fn meets_every_object(error: &StepError) -> bool {
    let of_some = [LOCKED, KEY_DENIED, KEY_GONE];
    let is_of_some = lacks_right(error) || of_some.iter().any(|reason| error.message().ends_with(reason));
    error.kind().is_transient() || error.kind() == StepErrorKind::Denied && !is_of_some
}

/// Whether an error tells of a right that the credentials lack, at least for one object.
pub fn lacks_right(error: &StepError) -> bool {
    error.kind() == StepErrorKind::Denied && error.message().ends_with(NOT_ALLOWED)
}

/// A lock, or a key that may not be used, is told in the words of an ordinary denial.
fn by_words(code: &str, message: &str) -> Option<Told> {
    if code == "AccessDenied" && message.contains("object lock") {
        let told = Told::new(StepErrorKind::Denied, LOCKED);
        return Some(told.hint("`aws s3api get-object-retention` tells until when; leave it until then"));
    }
    if message.starts_with("Bucket is missing Object") {
        let told = Told::new(StepErrorKind::InvalidInput, "the bucket has no Object Lock");
        return Some(told.hint("let the bucket have it, or leave `object_lock` out of the targets file"));
    }
    let of_key = code == "AccessDenied" && (message.contains("kms:") || message.contains("KMS"));
    of_key.then(|| refused_key("KMS.AccessDeniedException")).flatten()
}

/// Whether the store says that it is asked too much.
pub(crate) fn asks_to_slow_down<E: ProvideErrorMetadata>(error: &Failure<E>) -> bool {
    let status = error.raw_response().map(|raw| raw.status().as_u16());
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    matches!(status, Some(429 | 503)) || code.is_some_and(jm_client_aws::too_much)
}

/// Whether the store refuses for the time at which a request was signed: it has told its own.
pub(crate) fn is_skewed<E: ProvideErrorMetadata>(error: &Failure<E>) -> bool {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    let raw = error.raw_response();
    raw.is_some_and(|raw| jm_client_aws::skew(code.unwrap_or_default(), raw).is_some())
}

/// Whether the store says that other bytes came than were sent.
pub(crate) fn is_damaged<E: ProvideErrorMetadata>(error: &Failure<E>) -> bool {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    code.and_then(damaged).is_some()
}

/// Whether the same request may do later.
pub(crate) fn asks_to_come_back(code: &str) -> bool {
    damaged(code)
        .or_else(|| jm_client_aws::later("the store", code))
        .is_some()
}

fn by_code(code: &str, permission: &str) -> Option<Told> {
    absent(code)
        .or_else(|| refused(code, permission))
        .or_else(|| damaged(code))
        .or_else(|| jm_client_aws::later("the store", code))
        .or_else(|| in_the_way(code))
}

fn absent(code: &str) -> Option<Told> {
    let (reason, hint) = match code {
        "NoSuchBucket" => (
            "the bucket does not exist",
            "check the bucket's name, the endpoint and the account of the credentials",
        ),
        "NoSuchKey" => ("there is no such object", "list what is there, and correct the key"),
        "NoSuchVersion" => (
            "the object has no such version",
            "list its versions, and correct the version id",
        ),
        _ => return None,
    };
    Some(Told::new(StepErrorKind::NotFound, reason).hint(hint))
}

fn refused(code: &str, permission: &str) -> Option<Told> {
    jm_client_aws::refused("the store", code, permission).or_else(|| refused_key(code))
}

fn refused_key(code: &str) -> Option<Told> {
    let denied = |reason: &str, hint: &str| Some(Told::new(StepErrorKind::Denied, reason).hint(hint));
    match code {
        "KMSAccessDeniedException" | "KMS.AccessDeniedException" => {
            denied(KEY_DENIED, "allow `kms:Decrypt` and `kms:GenerateDataKey` on the key")
        }
        "KMS.DisabledException" | "KMS.NotFoundException" | "KMS.KMSInvalidStateException" => {
            denied(KEY_GONE, "enable the key again, or cancel its deletion")
        }
        _ => None,
    }
}

fn damaged(code: &str) -> Option<Told> {
    let damaged = matches!(
        code,
        "BadDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch" | "IncompleteBody"
    );
    damaged.then(|| {
        Told::new(
            StepErrorKind::Unavailable,
            "the data was damaged on its way to the store",
        )
    })
}

fn in_the_way(code: &str) -> Option<Told> {
    use StepErrorKind::{Conflict, Failed};
    let (kind, reason, hint) = match code {
        "PreconditionFailed" => (
            Conflict,
            "the object is not as it was expected to be",
            "look at what is there now",
        ),
        "ConditionalRequestConflict" | "OperationAborted" => (
            Conflict,
            "somebody else writes to it at this moment",
            "let the other writer finish, then try again",
        ),
        "NoSuchUpload" => (
            Conflict,
            "the upload was ended by somebody else",
            "see whether a lifecycle rule or another program ends uploads, then try again",
        ),
        "InvalidObjectState" => (
            Failed,
            "the object is in an archive class and cannot be read directly",
            "ask for it with `aws s3api restore-object`, wait until it is there, which takes minutes to two days, then try again",
        ),
        "EntityTooLarge" => (
            Failed,
            "the object is larger than the store takes",
            "split it, or use another store",
        ),
        "QuotaExceeded" | "InsufficientStorage" | "InsufficientCapacity" => {
            (Failed, "the store is full", "make room in the store")
        }
        "NotImplemented" => (
            Failed,
            "the store does not understand the request",
            "say what the store lacks by `compatibility` in the targets file: `no-checksums`, `no-conditional-writes`, or `basic` for both",
        ),
        _ => return None,
    };
    Some(Told::new(kind, reason).hint(hint))
}

/// Answers to HEAD have no body and so no code.
fn by_status(status: u16, region: Option<&str>, permission: &str) -> Option<Told> {
    match status {
        301 | 307 | 400 if status != 400 || region.is_some() => Some(other_region(region)),
        401 | 403 => refused("AccessDenied", permission),
        404 => absent("NoSuchKey"),
        405 => Some(
            Told::new(
                StepErrorKind::NotFound,
                "this version marks the object as deleted and has no content",
            )
            .hint("name an earlier version"),
        ),
        408 => jm_client_aws::later("the store", "RequestTimeout"),
        409 => in_the_way("OperationAborted"),
        412 => in_the_way("PreconditionFailed"),
        429 => jm_client_aws::later("the store", "SlowDown"),
        501 => in_the_way("NotImplemented"),
        507 => in_the_way("InsufficientStorage"),
        500..=599 => jm_client_aws::later("the store", "InternalError"),
        _ => None,
    }
}

fn other_region(region: Option<&str>) -> Told {
    let told = Told::new(StepErrorKind::InvalidInput, "the bucket is in another region");
    match region {
        Some(region) => told.hint(format!("set `region: {region}` in the targets file, or AWS_REGION")),
        None => told.hint("find its region with `aws s3api get-bucket-location`, and set `region` in the targets file"),
    }
}

/// The region in which a store says that the bucket is: in a header, or in the words of its error.
pub(crate) fn region_named<E>(error: &Failure<E>) -> Option<String> {
    let raw = error.raw_response()?;
    if !matches!(raw.status().as_u16(), 301 | 307 | 400) {
        return None;
    }
    let in_body = || {
        let body = std::str::from_utf8(raw.body().bytes()?).ok()?;
        Some(body.split_once("<Region>")?.1.split_once("</Region>")?.0)
    };
    let named = raw.headers().get("x-amz-bucket-region").or_else(in_body)?;
    // It becomes a part of addresses.
    let is_region = !named.is_empty() && named.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_region.then(|| named.to_owned())
}

/// A code that tells of another region comes with several statuses.
fn tells_other_region(code: &str) -> bool {
    matches!(
        code,
        "PermanentRedirect"
            | "TemporaryRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException"
    )
}

/// The step error inside the I/O error of an [`crate::ObjectStream`]; another I/O error as one that failed.
pub fn unwrap_step_error(error: std::io::Error) -> StepError {
    match error.downcast::<StepError>() {
        Ok(step) => step,
        Err(other) => StepError::failed("reading or writing failed").source(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_classed() {
        for (code, kind) in [
            ("NoSuchBucket", StepErrorKind::NotFound),
            ("NoSuchKey", StepErrorKind::NotFound),
            ("AccessDenied", StepErrorKind::Denied),
            ("InvalidAccessKeyId", StepErrorKind::Denied),
            ("SignatureDoesNotMatch", StepErrorKind::Denied),
            ("RequestTimeTooSkewed", StepErrorKind::Denied),
            ("SlowDown", StepErrorKind::Unavailable),
            ("InternalError", StepErrorKind::Unavailable),
            ("PreconditionFailed", StepErrorKind::Conflict),
            ("InvalidObjectState", StepErrorKind::Failed),
        ] {
            assert_eq!(by_code(code, "s3:X").expect(code).kind, kind, "{code}");
        }
        assert!(by_code("Teapot", "s3:X").is_none());
    }

    #[test]
    fn answers_without_a_body_are_classed_by_status() {
        for (status, kind) in [
            (301, StepErrorKind::InvalidInput),
            (403, StepErrorKind::Denied),
            (404, StepErrorKind::NotFound),
            (405, StepErrorKind::NotFound),
            (412, StepErrorKind::Conflict),
            (429, StepErrorKind::Unavailable),
            (503, StepErrorKind::Unavailable),
        ] {
            assert_eq!(by_status(status, None, "s3:X").expect("classed").kind, kind, "{status}");
        }
        let told = by_status(301, Some("eu-1"), "s3:X").expect("classed");
        assert!(told.hint.expect("hint").contains("region: eu-1"));
        assert!(by_status(400, None, "s3:X").is_none());
    }

    #[test]
    fn a_denied_key_is_told_from_a_denied_object() {
        let said = "User x is not authorized to perform: kms:Decrypt on the resource";
        assert!(by_words("AccessDenied", said).expect("told").reason.contains("KMS key"));
        assert!(by_words("AccessDenied", "Access Denied").is_none());
    }

    #[test]
    fn a_denial_names_the_permission() {
        let told = by_code("AccessDenied", "s3:PutObject").expect("classed");
        assert!(told.hint.expect("hint").contains("`s3:PutObject`"));
    }
}
