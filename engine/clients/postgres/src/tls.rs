//! TLS as `sslmode` asks for it: rustls with ring, 1.2 or newer.

#![expect(
    clippy::disallowed_methods,
    reason = "certificates and keys are files, as libpq has them"
)]

use std::path::Path;
use std::sync::Arc;

use jm_step::StepError;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How much of a server's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Nothing: the traffic is encrypted, to whomever.
    Nothing,
    /// That somebody we trust signed it.
    Signer,
    /// That, and that it is for this host.
    SignerAndHost,
}

/// The files of a TLS configuration.
#[derive(Debug, Clone)]
pub(crate) struct Files<'a> {
    /// Certificates to trust; the machine's own where there is none.
    pub(crate) roots: Option<&'a Path>,
    /// Our certificate and its key, where the server asks for one.
    pub(crate) client: Option<(&'a Path, &'a Path)>,
}

/// Makes a connector.
pub(crate) fn connector(check: Check, files: &Files<'_>) -> Result<MakeRustlsConnect, StepError> {
    let crypto = Arc::new(rustls::crypto::ring::default_provider());
    let roots = match check {
        Check::Nothing => Roots::none(),
        _ => Roots::load(files.roots)?,
    };
    let verifier = Arc::new(Verifier {
        check,
        roots,
        crypto: crypto.clone(),
    });
    let builder = ClientConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()
        .map_err(|error| StepError::failed("tls cannot be set up").source(error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match files.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
            .map_err(|error| unusable(certificate).source(error))?,
    };
    Ok(MakeRustlsConnect::new(config))
}

#[derive(Debug)]
struct Roots {
    store: RootCertStore,
    /// The same certificates as they stand in the file: a server may show one of them itself.
    given: Vec<CertificateDer<'static>>,
}

impl Roots {
    fn none() -> Self {
        Self {
            store: RootCertStore::empty(),
            given: Vec::new(),
        }
    }

    fn load(file: Option<&Path>) -> Result<Self, StepError> {
        let given = match file {
            Some(file) => certificates(file)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let mut store = RootCertStore::empty();
        let (added, _) = store.add_parsable_certificates(given.iter().cloned());
        if added == 0 {
            return Err(no_roots(file));
        }
        Ok(Self { store, given })
    }
}

fn no_roots(file: Option<&Path>) -> StepError {
    match file {
        Some(file) => unusable(file),
        None => StepError::invalid_input("this machine has no certificates to trust")
            .hint("name the file of your certificate authority: `ca_file` of the target, or `sslrootcert` in its URL"),
    }
}

fn unusable(file: &Path) -> StepError {
    StepError::invalid_input(format!("`{}` cannot be used for tls", file.display()))
        .hint("it has to be a readable PEM file that holds what it is named for")
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, StepError> {
    let pem = std::fs::read(file).map_err(|error| unusable(file).source(error))?;
    let read: Result<Vec<_>, _> = rustls_pemfile::certs(&mut pem.as_slice()).collect();
    read.map_err(|error| unusable(file).source(error))
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, StepError> {
    let pem = std::fs::read(file).map_err(|error| unusable(file).source(error))?;
    rustls_pemfile::private_key(&mut pem.as_slice())
        .map_err(|error| unusable(file).source(error))?
        .ok_or_else(|| unusable(file))
}

#[derive(Debug)]
struct Verifier {
    check: Check,
    roots: Roots,
    crypto: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.check == Check::Nothing {
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        self.verify_signer(&certificate, end_entity, intermediates, now)?;
        if self.check == Check::SignerAndHost {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.crypto.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.crypto.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.crypto.signature_verification_algorithms.supported_schemes()
    }
}

impl Verifier {
    fn verify_signer(
        &self,
        certificate: &ParsedCertificate<'_>,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let algorithms = self.crypto.signature_verification_algorithms.all;
        let signed =
            verify_server_cert_signed_by_trust_anchor(certificate, &self.roots.store, intermediates, now, algorithms);
        match signed {
            // A server that shows the very certificate that we were told to trust needs nobody to sign it.
            Err(error) if !is_out_of_date(&error) && self.roots.given.iter().any(|given| given == end_entity) => Ok(()),
            other => other,
        }
    }
}

fn is_out_of_date(error: &rustls::Error) -> bool {
    use CertificateError as Problem;
    let rustls::Error::InvalidCertificate(problem) = error else {
        return false;
    };
    matches!(
        problem,
        Problem::Expired
            | Problem::ExpiredContext { .. }
            | Problem::NotValidYet
            | Problem::NotValidYetContext { .. }
            | Problem::Revoked
    )
}
