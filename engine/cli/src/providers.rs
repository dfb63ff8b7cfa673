//! Every provider there is: one explicit list, read from top to bottom.

use jm_step::Registry;

/// The registry of all step types and connections.
pub fn registry() -> Registry {
    Registry::new()
        .with(jm_provider_backup::provider())
        .with(jm_provider_check::provider())
        .with(jm_provider_cloudfront::provider())
        .with(jm_provider_command::provider())
        .with(jm_provider_git::provider())
        .with(jm_provider_http::provider())
        .with(jm_provider_kubernetes::provider())
        .with(jm_provider_manual::provider())
        .with(jm_provider_notify::provider())
        .with(jm_provider_postgres::provider())
        .with(jm_provider_s3::provider())
}
