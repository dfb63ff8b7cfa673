//! What a targets file says of a distribution.

use jm_client_aws::{Access, Floor};
use jm_step::Secret;
use schemars::JsonSchema;
use serde::Deserialize;

/// One distribution. What is left out follows the AWS SDK's own chain: environment, profile, web identity, container
/// and instance credentials.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The distribution's id, such as `E2QWRUHAPOMQZL`. Where it is empty, `cloudfront.list` still tells which there are.
    pub distribution: String,
    /// The service's address where it is not AWS.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// A profile of `~/.aws/config`.
    #[serde(default)]
    pub profile: Option<String>,
    /// The access key, where it does not come from the SDK's chain.
    #[serde(default)]
    pub access_key_id: Option<String>,
    /// The secret that belongs to `access_key_id`.
    #[serde(default)]
    pub secret_access_key: Option<Secret>,
    /// The session token that belongs to `access_key_id`, where the credentials are temporary.
    #[serde(default)]
    pub session_token: Option<Secret>,
}

impl Config {
    pub(crate) fn access(&self) -> Access<'_> {
        Access {
            service: "CLOUDFRONT",
            // The service is a global one.
            region: None,
            endpoint: self.endpoint.as_ref(),
            profile: self.profile.as_ref(),
            access_key_id: self.access_key_id.as_ref(),
            secret_access_key: self.secret_access_key.as_ref(),
            session_token: self.session_token.as_ref(),
            floor: Floor::default(),
        }
    }
}
