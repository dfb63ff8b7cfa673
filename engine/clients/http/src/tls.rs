//! TLS: rustls with ring, and the system's roots.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use jm_step::{Environment, StepError};

/// The configuration of every connection. `SSL_CERT_FILE` names other roots, as with OpenSSL.
pub(crate) fn config(environment: &Environment) -> Result<ClientConfig, StepError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StepError::failed("TLS cannot be set up").source(error))?;
    Ok(builder
        .with_root_certificates(roots(environment)?)
        .with_no_client_auth())
}

fn roots(environment: &Environment) -> Result<RootCertStore, StepError> {
    let mut roots = RootCertStore::empty();
    let certificates = match environment.get("SSL_CERT_FILE").filter(|path| !path.is_empty()) {
        Some(path) => named(path)?,
        // A machine without roots can still speak plain HTTP to itself; over TLS it is told that it trusts nobody.
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(certificates);
    Ok(roots)
}

fn named(path: &str) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, StepError> {
    use rustls::pki_types::pem::PemObject;
    let unreadable = |error: rustls::pki_types::pem::Error| {
        StepError::not_found(format!("the certificates in `{path}` cannot be read"))
            .hint("SSL_CERT_FILE names that file: correct it or unset it")
            .source(error)
    };
    rustls::pki_types::CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)
}
