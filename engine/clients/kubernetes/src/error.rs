//! From the client's errors to the engine's: what can be retried, and what to do about the rest.

use std::error::Error as _;

use jm_step::StepError;
use kube::Error;

/// The step error for a failed call. `doing` says what was tried, such as ``cannot scale deployment `x` ``.
pub fn step_error(doing: &str, error: Error) -> StepError {
    match error {
        Error::Api(status) => api_error(doing, &status),
        Error::Auth(cause) => StepError::denied(format!("{doing}: no credentials for the API server: {cause}"))
            .hint("check the kubeconfig's user; run `kubectl get ns` to see the same error"),
        Error::SerdeError(cause) => {
            StepError::failed(format!("{doing}: the API server's reply cannot be read: {cause}"))
        }
        other => unreachable_server(doing, other),
    }
}

fn api_error(doing: &str, status: &kube::core::Status) -> StepError {
    let said = if status.message.is_empty() {
        status.reason.as_str()
    } else {
        status.message.as_str()
    };
    let message = format!("{doing}: {said}");
    match (status.code, status.reason.as_str()) {
        (401, _) => StepError::denied(message)
            .hint("the API server does not know the credentials; renew those in the kubeconfig"),
        (403, _) => StepError::denied(message)
            .hint("grant the user of the kubeconfig this verb by a Role, or check admission policies and quotas"),
        (404, _) => StepError::not_found(message).hint("check the name and the target's `namespace`"),
        (409, _) => StepError::conflict(message),
        (400 | 422, _) => StepError::invalid_input(message),
        (429 | 500..=599, _) | (_, "Timeout" | "ServerTimeout" | "TooManyRequests") => StepError::unavailable(message),
        _ => StepError::failed(message),
    }
}

fn unreachable_server(doing: &str, error: Error) -> StepError {
    let mut root = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        root = next.to_string();
        cause = next.source();
    }
    StepError::unavailable(format!("{doing}: the API server does not answer: {root}"))
        .hint("check that the cluster is up and that KUBECONFIG names it: `kubectl cluster-info`")
        .source(error)
}

#[cfg(test)]
mod tests {
    use jm_step::StepErrorKind;

    use super::*;

    fn status(code: u16, reason: &str) -> Error {
        let status = kube::core::Status {
            code,
            reason: reason.to_owned(),
            message: "said so".to_owned(),
            status: None,
            metadata: None,
            details: None,
        };
        Error::Api(Box::new(status))
    }

    #[test]
    fn only_what_may_pass_by_itself_is_transient() {
        for (code, reason, kind) in [
            (401, "Unauthorized", StepErrorKind::Denied),
            (403, "Forbidden", StepErrorKind::Denied),
            (404, "NotFound", StepErrorKind::NotFound),
            (409, "Conflict", StepErrorKind::Conflict),
            (422, "Invalid", StepErrorKind::InvalidInput),
            (429, "TooManyRequests", StepErrorKind::Unavailable),
            (500, "InternalError", StepErrorKind::Unavailable),
            (504, "Timeout", StepErrorKind::Unavailable),
        ] {
            let error = step_error("cannot look", status(code, reason));
            assert_eq!(error.kind(), kind, "{code}");
            assert_eq!(error.message(), "cannot look: said so");
        }
    }
}
