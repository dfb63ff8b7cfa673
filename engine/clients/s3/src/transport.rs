//! The SDK's client: rustls with ring, the system's roots, proxies from the environment, bounded waits.

use std::time::Duration;

use aws_config::{ConfigLoader, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::{
    Credentials, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient, timeout::TimeoutConfig,
};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};

use jm_step::{Environment, OpenContext, StepError};

use crate::config::{Checksums, Config, given};

/// How long the store may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the store may take to start its answer.
const ANSWER: Duration = Duration::from_mins(1);
/// The same where a part is sent first, or put together with ten thousand others: 8 MiB beside two others at 1 Mbit/s.
const PATIENT: Duration = Duration::from_mins(4);
/// A sign of life does not take longer than this, with all its tries.
const PING: Duration = Duration::from_secs(15);

/// What every call of the SDK fails with.
pub(crate) type Failure<E> = aws_sdk_s3::error::SdkError<E, HttpResponse>;

/// The client for a bucket. Reads files and the environment as the SDK does, and reaches nothing yet.
pub(crate) async fn client(config: &Config, cx: &OpenContext) -> Result<Client, StepError> {
    let environment = &cx.environment;
    let endpoint = endpoint(config, environment);
    let mut loader = aws_config::defaults(aws_config::BehaviorVersion::latest())
        .http_client(http_client(environment)?)
        .timeout_config(timeouts());
    if let Some(endpoint) = &endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some(region) = region(config, environment) {
        loader = loader.region(Region::new(region));
    }
    if let Some(profile) = given(config.profile.as_ref()).or_else(|| environment.get("AWS_PROFILE")) {
        loader = loader.profile_name(profile);
    }
    let shared = credentials(loader, config, cx)?.load().await;
    let mut builder = aws_sdk_s3::config::Builder::from(&shared)
        .force_path_style(
            config
                .path_style
                .unwrap_or(endpoint.is_some() || shared.endpoint_url().is_some()),
        )
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if shared.region().is_none() && (endpoint.is_some() || shared.endpoint_url().is_some()) {
        // A store of one's own has no regions, and the signature needs one.
        builder = builder.region(Region::new("us-east-1"));
    }
    Ok(Client::from_conf(builder.build()))
}

/// Whether parts and objects carry CRC-64/NVME.
pub(crate) fn with_crc(checksums: Checksums) -> bool {
    checksums == Checksums::WhenSupported
}

fn credentials(loader: ConfigLoader, config: &Config, cx: &OpenContext) -> Result<ConfigLoader, StepError> {
    let session = config.session_token.as_ref().map(|token| token.expose().to_owned());
    let keys = match (given(config.access_key_id.as_ref()), &config.secret_access_key) {
        (Some(id), Some(secret)) => Some((id.to_owned(), secret.expose().to_owned(), session)),
        (None, None) => environment_credentials(config, &cx.environment),
        (None, Some(secret)) if secret.expose().is_empty() => environment_credentials(config, &cx.environment),
        _ => {
            return Err(
                StepError::invalid_input("`access_key_id` and `secret_access_key` belong together")
                    .hint("give both, or neither to follow the AWS SDK's own chain"),
            );
        }
    };
    let Some((id, secret, session)) = keys else {
        return Ok(loader);
    };
    cx.secrets.register(&secret);
    if let Some(session) = session.as_deref() {
        cx.secrets.register(session);
    }
    let session = session.filter(|token| !token.is_empty());
    Ok(loader.credentials_provider(Credentials::new(id, secret, session, None, "jm")))
}

/// The keys of the environment that jm was given, which is not always the process's own. A profile that the targets
/// file names stands above them.
fn environment_credentials(config: &Config, environment: &Environment) -> Option<(String, String, Option<String>)> {
    if given(config.profile.as_ref()).is_some() {
        return None;
    }
    let get = |name| {
        environment
            .get(name)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    };
    Some((
        get("AWS_ACCESS_KEY_ID")?,
        get("AWS_SECRET_ACCESS_KEY")?,
        get("AWS_SESSION_TOKEN"),
    ))
}

pub(crate) fn endpoint(config: &Config, environment: &Environment) -> Option<String> {
    let ignored = environment
        .get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let variable = |name| environment.get(name).filter(|value| !value.is_empty() && !ignored);
    given(config.endpoint.as_ref())
        .or_else(|| variable("AWS_ENDPOINT_URL_S3"))
        .or_else(|| variable("AWS_ENDPOINT_URL"))
        .map(str::to_owned)
}

fn region(config: &Config, environment: &Environment) -> Option<String> {
    let variable = |name| environment.get(name).filter(|value| !value.is_empty());
    given(config.region.as_ref())
        .or_else(|| variable("AWS_REGION"))
        .or_else(|| variable("AWS_DEFAULT_REGION"))
        .map(str::to_owned)
}

/// For calls that send much.
pub(crate) fn patient() -> aws_sdk_s3::config::Builder {
    let timeouts = TimeoutConfig::builder().read_timeout(PATIENT).build();
    aws_sdk_s3::config::Builder::new().timeout_config(timeouts)
}

/// For calls that only see whether the store is there.
pub(crate) fn brief() -> aws_sdk_s3::config::Builder {
    let timeouts = TimeoutConfig::builder().operation_timeout(PING).build();
    aws_sdk_s3::config::Builder::new().timeout_config(timeouts)
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .read_timeout(ANSWER)
        .build()
}

fn http_client(environment: &Environment) -> Result<SharedHttpClient, StepError> {
    let context = tls_context(environment.get("AWS_CA_BUNDLE"))?;
    Ok(Builder::new().build_with_connector_fn(move |settings, components| {
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
    }))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::new(
            variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    #[test]
    fn the_targets_file_stands_above_the_environment() {
        let environment = environment(&[
            ("AWS_ENDPOINT_URL", "http://b"),
            ("AWS_REGION", "eu-1"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ]);
        let mut config = Config::new("b");
        assert_eq!(endpoint(&config, &environment).as_deref(), Some("http://b"));
        assert_eq!(region(&config, &environment).as_deref(), Some("eu-1"));
        assert!(environment_credentials(&config, &environment).is_some());
        config.endpoint = Some("http://a".to_owned());
        config.region = Some("us-1".to_owned());
        config.profile = Some("p".to_owned());
        assert_eq!(endpoint(&config, &environment).as_deref(), Some("http://a"));
        assert_eq!(region(&config, &environment).as_deref(), Some("us-1"));
        assert!(environment_credentials(&config, &environment).is_none());
    }

    #[test]
    fn the_more_special_endpoint_wins_and_can_be_ignored() {
        let config = Config::new("b");
        let mut variables = vec![("AWS_ENDPOINT_URL", "http://b"), ("AWS_ENDPOINT_URL_S3", "http://s3")];
        assert_eq!(
            endpoint(&config, &environment(&variables)).as_deref(),
            Some("http://s3")
        );
        variables.push(("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"));
        assert_eq!(endpoint(&config, &environment(&variables)), None);
    }
}
