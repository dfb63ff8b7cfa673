//! Who may speak to the server: one key, for everything.

use std::fmt;

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

/// The account that owns every bucket: what `expected bucket owner` has to say.
pub const ACCOUNT: &str = "000000000000";

/// The access key that the server knows, with its secret.
#[derive(Clone)]
pub struct Credentials {
    access_key: String,
    secret_key: SecretKey,
}

impl Credentials {
    /// Credentials of the caller's choice.
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self {
            access_key: access_key.into(),
            secret_key: SecretKey::from(secret_key.into()),
        }
    }

    /// The public half.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = out.debug_struct("Credentials");
        shown.field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// Answers for the key; every other one is unknown.
pub(super) struct Guard(pub(super) Credentials);

#[async_trait::async_trait]
impl S3Auth for Guard {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.0.access_key {
            return Ok(self.0.secret_key.clone());
        }
        let text = "The AWS Access Key Id you provided does not exist in our records.";
        Err(S3Error::with_message(S3ErrorCode::InvalidAccessKeyId, text))
    }
}

/// Refuses anonymous requests and those that expect another owner.
pub(super) struct OneOwner;

#[async_trait::async_trait]
impl S3Access for OneOwner {
    async fn check(&self, request: &mut S3AccessContext<'_>) -> S3Result<()> {
        let expected = ["x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"];
        let other = expected
            .iter()
            .filter_map(|name| request.headers().get(*name))
            .any(|owner| owner != ACCOUNT);
        if other || request.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_does_not_show() {
        let shown = format!("{:?}", Credentials::new("key", "canary"));
        assert!(shown.contains("key") && !shown.contains("canary"), "{shown}");
    }
}
