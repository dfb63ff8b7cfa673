//! Credentials, region and endpoint: what a targets file says, then what the environment says, then the SDK's own chain.

use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::{ConfigLoader, Region, SdkConfig};
use aws_credential_types::Credentials;

use jm_step::{Environment, NamedFile, OpenContext, Secret, StepError};

use crate::{Floor, transport};

/// What a targets file says of the way to a service. What is left out follows the AWS SDK's own chain.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// The service as variables name it: `AWS_ENDPOINT_URL_S3` is that of `S3`.
    pub service: &'static str,
    /// Such as `eu-central-1`.
    pub region: Option<&'a String>,
    /// An address of one's own instead of AWS.
    pub endpoint: Option<&'a String>,
    /// A profile of `~/.aws/config`.
    pub profile: Option<&'a String>,
    /// The access key.
    pub access_key_id: Option<&'a String>,
    /// The secret that belongs to it.
    pub secret_access_key: Option<&'a Secret>,
    /// The token that belongs to it, where the credentials are temporary.
    pub session_token: Option<&'a Secret>,
    /// What is too slow.
    pub floor: Floor,
}

impl Access<'_> {
    /// What is wrong with the texts: an address that is none, or half a pair of keys.
    pub fn check(&self, environment: &Environment) -> Result<(), StepError> {
        self.given_keys()?;
        match self.endpoint(environment) {
            Some(address) if !is_address(&address) => Err(not_an_address(self.service)),
            _ => Ok(()),
        }
    }

    /// The files that the way to a service needs and that the environment names.
    pub fn files(environment: &Environment) -> Vec<NamedFile> {
        transport::files(environment)
    }

    /// The SDK's configuration. Reads files and the environment as the SDK does, and reaches nothing yet. Keys are
    /// registered with the masker.
    pub async fn load(&self, cx: &OpenContext) -> Result<SdkConfig, StepError> {
        let environment = &cx.environment;
        let mut loader = aws_config::defaults(aws_config::BehaviorVersion::latest())
            .http_client(transport::http_client(environment, self.floor)?)
            // The floor takes its place.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(transport::timeouts());
        if let Some(endpoint) = self.endpoint(environment) {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some(region) = self.region(environment) {
            loader = loader.region(Region::new(region));
        }
        if let Some(profile) = given(self.profile).or_else(|| environment.get("AWS_PROFILE")) {
            loader = loader.profile_name(profile);
        }
        Ok(self.credentials(loader, cx)?.load().await)
    }

    fn credentials(&self, loader: ConfigLoader, cx: &OpenContext) -> Result<ConfigLoader, StepError> {
        let keys = self.given_keys()?;
        let Some((id, secret, session)) = keys.or_else(|| self.environment_credentials(&cx.environment)) else {
            return Ok(loader);
        };
        cx.secrets.register(&secret);
        if let Some(session) = session.as_deref() {
            cx.secrets.register(session);
        }
        let session = session.filter(|token| !token.is_empty());
        Ok(loader.credentials_provider(Credentials::new(id, secret, session, None, "jm")))
    }

    /// The keys of the targets file, which stand there both or not at all.
    fn given_keys(&self) -> Result<Option<(String, String, Option<String>)>, StepError> {
        let session = self.session_token.map(|token| token.expose().to_owned());
        match (given(self.access_key_id), self.secret_access_key) {
            (Some(id), Some(secret)) => Ok(Some((id.to_owned(), secret.expose().to_owned(), session))),
            (None, None) => Ok(None),
            (None, Some(secret)) if secret.expose().is_empty() => Ok(None),
            _ => Err(
                StepError::invalid_input("`access_key_id` and `secret_access_key` belong together")
                    .hint("give both, or neither to follow the AWS SDK's own chain"),
            ),
        }
    }

    /// The keys of the environment that jm was given, which is not always the process's own. A profile that the targets
    /// file names stands above them.
    fn environment_credentials(&self, environment: &Environment) -> Option<(String, String, Option<String>)> {
        if given(self.profile).is_some() {
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

    /// Where the service is, where that is not AWS itself.
    pub fn endpoint(&self, environment: &Environment) -> Option<String> {
        let ignored = environment
            .get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
            .is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let variable = |name: &str| environment.get(name).filter(|value| !value.is_empty() && !ignored);
        given(self.endpoint)
            .or_else(|| variable(&format!("AWS_ENDPOINT_URL_{}", self.service)))
            .or_else(|| variable("AWS_ENDPOINT_URL"))
            .map(str::to_owned)
    }

    fn region(&self, environment: &Environment) -> Option<String> {
        let variable = |name| environment.get(name).filter(|value| !value.is_empty());
        given(self.region)
            .or_else(|| variable("AWS_REGION"))
            .or_else(|| variable("AWS_DEFAULT_REGION"))
            .map(str::to_owned)
    }
}

fn is_address(text: &str) -> bool {
    let host = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    host.is_some_and(|host| !host.is_empty() && !host.starts_with(['/', ':']) && !host.contains(char::is_whitespace))
}

fn not_an_address(service: &str) -> StepError {
    StepError::invalid_input("the service's address makes no sense").hint(format!(
        "write `https://host`, in `endpoint` of the target, AWS_ENDPOINT_URL_{service} or AWS_ENDPOINT_URL"
    ))
}

/// A text that was given and says something: targets files write `default('')` for what is not set.
pub fn given(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Access<'static> = Access {
        service: "S3",
        region: None,
        endpoint: None,
        profile: None,
        access_key_id: None,
        secret_access_key: None,
        session_token: None,
        floor: Floor {
            least_bytes_per_second: 1,
            stall_seconds: 1,
        },
    };

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
        assert_eq!(NOTHING.endpoint(&environment).as_deref(), Some("http://b"));
        assert_eq!(NOTHING.region(&environment).as_deref(), Some("eu-1"));
        assert!(NOTHING.environment_credentials(&environment).is_some());
        let said = ["http://a", "us-1", "p"].map(str::to_owned);
        let access = Access {
            endpoint: Some(&said[0]),
            region: Some(&said[1]),
            profile: Some(&said[2]),
            ..NOTHING
        };
        assert_eq!(access.endpoint(&environment).as_deref(), Some("http://a"));
        assert_eq!(access.region(&environment).as_deref(), Some("us-1"));
        assert!(access.environment_credentials(&environment).is_none());
    }

    #[test]
    fn the_more_special_endpoint_wins_and_can_be_ignored() {
        let mut variables = vec![("AWS_ENDPOINT_URL", "http://b"), ("AWS_ENDPOINT_URL_S3", "http://s3")];
        assert_eq!(NOTHING.endpoint(&environment(&variables)).as_deref(), Some("http://s3"));
        let other = Access {
            service: "CLOUDFRONT",
            ..NOTHING
        };
        assert_eq!(other.endpoint(&environment(&variables)).as_deref(), Some("http://b"));
        variables.push(("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"));
        assert_eq!(NOTHING.endpoint(&environment(&variables)), None);
    }

    #[test]
    fn empty_texts_are_not_given() {
        assert_eq!(given(Some(&" ".to_owned())), None);
        assert_eq!(given(Some(&"eu-1".to_owned())), Some("eu-1"));
    }
}
