//! How bytes travel: rustls with ring, the system's roots, proxies from the environment, bounded waits.

#![expect(clippy::disallowed_methods, reason = "`AWS_CA_BUNDLE` names a file of certificates")]

use std::time::Duration;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::timeout::TimeoutConfig;

use crate::line::{Floor, watched};
use jm_step::{Environment, NamedBy, NamedFile, StepError};

/// How long a service may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a service may take to start its answer, once the request has gone.
const ANSWER: Duration = Duration::from_mins(1);

pub(crate) fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .read_timeout(ANSWER)
        .build()
}

/// Names certificates that are trusted besides the system's.
const BUNDLE: &str = "AWS_CA_BUNDLE";

/// The file of certificates that the environment names.
pub(crate) fn files(environment: &Environment) -> Vec<NamedFile> {
    let bundle = environment.get(BUNDLE).filter(|path| !path.is_empty());
    let bundle = bundle.map(|path| NamedFile::new("file of certificates", path, NamedBy::Variable(BUNDLE)));
    bundle.into_iter().collect()
}

pub(crate) fn http_client(environment: &Environment, floor: Floor) -> Result<SharedHttpClient, StepError> {
    let context = tls_context(environment.get(BUNDLE))?;
    let client = Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder();
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector
            .proxy_config(ProxyConfig::from_env())
            .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
            .tls_context(context.clone())
            .build()
    });
    Ok(watched(client, floor))
}

fn tls_context(bundle: Option<&str>) -> Result<TlsContext, StepError> {
    let mut store = TrustStore::default();
    if let Some(path) = bundle.filter(|path| !path.is_empty()) {
        let pem = std::fs::read(path).map_err(|error| {
            StepError::not_found(format!("the certificates in `{path}` cannot be read"))
                .hint("AWS_CA_BUNDLE names that file: correct it or unset it")
                .source(error)
        })?;
        store = store.with_pem_certificate(pem);
    }
    TlsContext::builder()
        .with_trust_store(store)
        .build()
        .map_err(|error| StepError::failed("TLS cannot be set up").source(error))
}
