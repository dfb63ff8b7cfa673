//! Step types on CloudFront.

use jm_client_cloudfront::CloudFront;
use jm_step::Provider;

mod distribution;
mod invalidate;
mod list;
mod paths;
mod set_origin;
mod wait;
#[cfg(test)]
mod world;

/// The connection [`CloudFront`], and `cloudfront.list`, `cloudfront.distribution`, `cloudfront.invalidate` and
/// `cloudfront.set_origin`.
pub fn provider() -> Provider {
    Provider::of::<CloudFront>()
        .step(list::List)
        .step(distribution::Look)
        .step(invalidate::Invalidate)
        .step(set_origin::SetOrigin)
}
