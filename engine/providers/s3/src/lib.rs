//! Step types on S3.

use jm_client_s3::S3;
use jm_step::Provider;

mod file;
mod get;
mod put;
#[cfg(test)]
mod store;
mod versioning;

/// The connection [`S3`], and `s3.get`, `s3.put` and `s3.versioning`.
pub fn provider() -> Provider {
    Provider::of::<S3>()
        .step(get::Download)
        .step(put::Upload)
        .step(versioning::Versioning)
}
