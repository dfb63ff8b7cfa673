//! What goes wrong on the way, in words that say what to do.

use std::error::Error;
use std::io;
use std::time::Duration;

use rustls::CertificateError as Bad;

use jm_step::StepError;

use crate::Period;

pub(crate) fn too_slow(shown: &str, timeout: Duration) -> StepError {
    StepError::timed_out(format!("`{shown}` did not answer within {}", Period(timeout)))
        .hint("see whether the service hangs, or allow it more time")
}

/// The step error for a request that got no whole reply.
pub(crate) fn failed(shown: &str, error: reqwest::Error, timeout: Duration) -> StepError {
    let error = error.without_url();
    if let Some(tls) = tls_error(&error) {
        return untrusted(shown, tls).source(chain(&error));
    }
    if error.is_timeout() {
        return too_slow(shown, timeout);
    }
    let step = if error.is_connect() {
        StepError::unavailable(format!("`{shown}` cannot be reached: {}", deepest(&error)))
            .hint("check the address, and whether the service runs and the network leads there")
    } else if error.is_builder() {
        StepError::invalid_input(format!("`{shown}` cannot be asked: {}", deepest(&error)))
    } else {
        StepError::unavailable(format!("`{shown}` broke off: {}", deepest(&error)))
            .hint("see the logs of the service, then try again")
    };
    step.source(chain(&error))
}

fn untrusted(shown: &str, error: &rustls::Error) -> StepError {
    let rustls::Error::InvalidCertificate(bad) = error else {
        return StepError::failed(format!("`{shown}` cannot be spoken to over TLS: {error}"))
            .hint("see whether that port speaks TLS 1.2 or 1.3 at all");
    };
    let (reason, hint) = match bad {
        Bad::Expired | Bad::ExpiredContext { .. } => ("has expired", "renew the certificate of the service"),
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => (
            "is not valid yet",
            "check the clock of this machine and the certificate",
        ),
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => (
            "is for another name",
            "use the name that the certificate is for, or issue one for this name",
        ),
        Bad::UnknownIssuer => (
            "is signed by nobody that this machine trusts",
            "add the issuer to the system's roots, or name a file with it in SSL_CERT_FILE",
        ),
        Bad::Revoked => ("was revoked", "issue a new certificate for the service"),
        _ => (
            "is not acceptable",
            "look at it with `openssl s_client -connect HOST:PORT -showcerts`",
        ),
    };
    StepError::failed(format!("the certificate of `{shown}` {reason}")).hint(hint)
}

fn tls_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    causes(error).find_map(inside)
}

/// An I/O error hides what it wraps from the chain of sources, also where it wraps another one.
fn inside<'e>(cause: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    if let Some(tls) = cause.downcast_ref() {
        return Some(tls);
    }
    inside(cause.downcast_ref::<io::Error>()?.get_ref()?)
}

fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn Error + 'static)| (*error).source())
}

fn deepest(error: &(dyn Error + 'static)) -> String {
    let last = causes(error).last().map(ToString::to_string);
    last.unwrap_or_default().to_lowercase()
}

fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
