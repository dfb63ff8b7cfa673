//! What CloudFront's refusals mean, and what to do about them.

use std::error::Error;
use std::fmt;

use aws_sdk_cloudfront::config::http::HttpResponse;
use aws_sdk_cloudfront::error::ProvideErrorMetadata;
use jm_client_aws::{Failure, Told};
use jm_step::{StepError, StepErrorKind};

const SPEAKER: &str = "CloudFront";

/// What was being done, to which distribution, and the permission that it needs.
#[derive(Debug, Clone)]
pub(crate) struct Doing<'a> {
    /// Such as `look at`.
    pub(crate) verb: &'static str,
    /// The distribution's id, or that of a part of it; empty for all of them.
    pub(crate) what: &'a str,
    /// Such as `cloudfront:GetDistribution`.
    pub(crate) permission: &'static str,
}

impl fmt::Display for Doing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.verb)?;
        if self.what.is_empty() {
            return Ok(());
        }
        write!(f, " `{}`", self.what)
    }
}

impl Doing<'_> {
    /// The step error for a failed call.
    pub(crate) fn failed<E>(&self, error: &Failure<E>) -> StepError
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let told = jm_client_aws::told(SPEAKER, error, |said, raw| self.by_service(said, raw));
        jm_client_aws::step_error(self, told, error)
    }

    fn by_service(&self, said: &impl ProvideErrorMetadata, raw: &HttpResponse) -> Told {
        let (status, code) = (raw.status().as_u16(), said.code().unwrap_or_default());
        jm_client_aws::refused(SPEAKER, code, self.permission)
            .or_else(|| jm_client_aws::later(SPEAKER, code))
            .or_else(|| by_code(code))
            .or_else(|| by_status(status, self.permission))
            .unwrap_or_else(|| {
                let words = said.message().unwrap_or("without a word of explanation");
                Told::new(
                    StepErrorKind::Failed,
                    format!("CloudFront refused ({status} {code}): {words}"),
                )
            })
    }
}

fn by_code(code: &str) -> Option<Told> {
    use StepErrorKind::{Conflict, Failed, InvalidInput, NotFound, Unavailable};
    let (kind, reason, hint) = match code {
        "NoSuchDistribution" => (
            NotFound,
            "there is no such distribution",
            "check CLOUDFRONT_DISTRIBUTION_ID and the account of the credentials; `jm step run cloudfront.list` tells which there are",
        ),
        "NoSuchInvalidation" => (NotFound, "there is no such invalidation", "list those that there are"),
        "NoSuchOrigin" => (
            NotFound,
            "the distribution has no such origin",
            "`jm step run cloudfront.distribution` lists them",
        ),
        "PreconditionFailed" | "InvalidIfMatchVersion" => (
            Conflict,
            "somebody else changed the distribution at this moment",
            "look at what it is now, then try again",
        ),
        "InvalidationBatchAlreadyExists" => (
            Conflict,
            "an invalidation of the same name dropped other paths",
            "retry the step with `jm run retry`, which makes it a new one",
        ),
        "BatchTooLarge" => (
            InvalidInput,
            "these are too many paths for one invalidation",
            "drop fewer, or `/*`",
        ),
        "TooManyInvalidationsInProgress" => (
            Unavailable,
            "as many paths are being dropped as CloudFront takes at a time",
            "wait for the others to complete",
        ),
        "InvalidOrigin" | "IllegalUpdate" | "InvalidArgument" => (
            Failed,
            "CloudFront does not take the change",
            "its own words are in the evidence",
        ),
        _ => return None,
    };
    Some(Told::new(kind, reason).hint(hint))
}

fn by_status(status: u16, permission: &str) -> Option<Told> {
    match status {
        401 | 403 => jm_client_aws::refused(SPEAKER, "AccessDenied", permission),
        412 => by_code("PreconditionFailed"),
        408 => jm_client_aws::later(SPEAKER, "RequestTimeout"),
        429 => jm_client_aws::later(SPEAKER, "Throttling"),
        500..=599 => jm_client_aws::later(SPEAKER, "InternalError"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_statuses_are_classed() {
        for (code, kind) in [
            ("NoSuchDistribution", StepErrorKind::NotFound),
            ("PreconditionFailed", StepErrorKind::Conflict),
            ("TooManyInvalidationsInProgress", StepErrorKind::Unavailable),
        ] {
            assert_eq!(by_code(code).expect(code).kind, kind, "{code}");
        }
        for (status, kind) in [
            (403, StepErrorKind::Denied),
            (429, StepErrorKind::Unavailable),
            (503, StepErrorKind::Unavailable),
        ] {
            assert_eq!(
                by_status(status, "cloudfront:X").expect("classed").kind,
                kind,
                "{status}"
            );
        }
        assert!(by_status(418, "cloudfront:X").is_none());
    }
}
