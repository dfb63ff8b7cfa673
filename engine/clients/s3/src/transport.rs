//! The SDK's client for a bucket.

use std::time::Duration;

use aws_config::Region;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::{HttpRequest, HttpResponse};
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{
    ConfigBag, Intercept, RequestChecksumCalculation, ResponseChecksumValidation, RuntimeComponents,
    retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_sdk_s3::error::BoxError;
use jm_client_aws::{Access, SignAgain, given};
use jm_step::{OpenContext, StepError};

use crate::checksum;
use crate::config::{Compatibility, Config};

/// How long the store may take to start its answer where a part lies before it in the buffers of a slow line, or is put
/// together with ten thousand others.
const PATIENT: Duration = Duration::from_mins(4);
/// A sign of life does not take longer than this, with all its tries.
const PING: Duration = Duration::from_secs(15);
/// Nor does a look that nothing depends on.
const GLANCE: Duration = Duration::from_secs(5);

/// What every call of the SDK fails with.
pub(crate) type Failure<E> = aws_sdk_s3::error::SdkError<E, HttpResponse>;

/// The client for a bucket. Reads files and the environment as the SDK does, and reaches nothing yet.
pub(crate) async fn client(config: &Config, cx: &OpenContext) -> Result<Client, StepError> {
    let shared = access(config).load(cx).await?;
    let own = shared.endpoint_url().is_some();
    let mut builder = aws_sdk_s3::config::Builder::from(&shared)
        .force_path_style(config.path_style.unwrap_or(own))
        .retry_classifier(SignAgain)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(owner) = given(config.owner.as_ref()) {
        builder = builder.interceptor(OwnedBy::new(owner)?);
    }
    if shared.region().is_none() && own {
        // A store of one's own has no regions, and the signature needs one.
        builder = builder.region(Region::new("us-east-1"));
    }
    Ok(Client::from_conf(builder.build()))
}

/// Says with every request whose bucket it has to be.
#[derive(Debug)]
struct OwnedBy(String);

impl OwnedBy {
    fn new(owner: &str) -> Result<Self, StepError> {
        if owner.len() == 12 && owner.bytes().all(|digit| digit.is_ascii_digit()) {
            return Ok(Self(owner.to_owned()));
        }
        Err(
            StepError::invalid_input(format!("`{}` is no account of AWS", owner.escape_debug()))
                .hint("`aws sts get-caller-identity` tells yours: twelve digits, in quotes in the targets file"),
        )
    }
}

impl Intercept for OwnedBy {
    fn name(&self) -> &'static str {
        "expected owner"
    }

    fn modify_before_signing(
        &self,
        request: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = request.request_mut().headers_mut();
        headers.insert("x-amz-expected-bucket-owner", self.0.clone());
        Ok(())
    }
}

/// How the store is reached.
pub(crate) fn access(config: &Config) -> Access<'_> {
    Access {
        service: "S3",
        region: config.region.as_ref(),
        endpoint: config.endpoint.as_ref(),
        profile: config.profile.as_ref(),
        access_key_id: config.access_key_id.as_ref(),
        secret_access_key: config.secret_access_key.as_ref(),
        session_token: config.session_token.as_ref(),
        floor: config.line,
    }
}

/// Where the store is, for people and for comparing.
pub(crate) fn store(config: &Config, cx: &OpenContext) -> String {
    let endpoint = access(config).endpoint(&cx.environment);
    endpoint.unwrap_or_else(|| "AWS".to_owned())
}

/// The same client over the same connections, that sends every request once.
pub(crate) fn without_tries(client: &Client) -> Client {
    let once = client.config().to_builder().retry_config(RetryConfig::disabled());
    Client::from_conf(once.build())
}

/// What is done to requests that have to carry a sum over their body: for a store that lacks newer ones, the sum that
/// every store checks takes the place of the one that the SDK sends.
pub(crate) fn summed(compatibility: Compatibility) -> impl Fn(&mut HttpRequest) + Send + Sync + 'static {
    move |request| {
        if !compatibility.has_checksums() {
            with_md5(request);
        }
    }
}

fn with_md5(request: &mut HttpRequest) {
    let Some(sum) = request.body().bytes().map(checksum::md5) else {
        return;
    };
    let newer: Vec<String> = request
        .headers()
        .iter()
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.starts_with("x-amz-checksum-") || name == "x-amz-sdk-checksum-algorithm")
        .collect();
    for name in newer {
        request.headers_mut().remove(name);
    }
    request.headers_mut().insert("content-md5", sum);
}

/// For calls that send much.
pub(crate) fn patient() -> aws_sdk_s3::config::Builder {
    let timeouts = TimeoutConfig::builder().read_timeout(PATIENT).build();
    aws_sdk_s3::config::Builder::new().timeout_config(timeouts)
}

/// For a look that nothing depends on.
pub(crate) fn glance() -> aws_sdk_s3::config::Builder {
    let timeouts = TimeoutConfig::builder().operation_timeout(GLANCE).build();
    aws_sdk_s3::config::Builder::new().timeout_config(timeouts)
}

/// For calls that only see whether the store is there.
pub(crate) fn brief() -> aws_sdk_s3::config::Builder {
    let timeouts = TimeoutConfig::builder().operation_timeout(PING).build();
    aws_sdk_s3::config::Builder::new().timeout_config(timeouts)
}
