//! Step types on S3.

use std::time::Duration;

use jm_client_s3::S3;
use jm_step::Provider;

mod alike;
mod begun;
mod bucket;
mod file;
mod get;
mod list;
mod object;
#[cfg(test)]
mod promises;
mod put;
mod receive;
mod record_release;
mod release;
mod remove_old_assets;
mod restore_versions;
mod same;
#[cfg(test)]
mod store;
mod straight;
mod sync;
mod unfinished;
mod verify_release;
mod versioning;
mod versions;
mod whole;

/// So long does a preview look, for nobody waits longer than two minutes for a step's answer to a dry run.
const PATIENCE: Duration = Duration::from_secs(90);

/// The connection [`S3`] and its step types.
pub fn provider() -> Provider {
    Provider::of::<S3>()
        .step(bucket::Bucket)
        .step(get::Download)
        .step(list::List)
        .step(object::Object)
        .step(put::Upload)
        .step(record_release::RecordRelease)
        .step(remove_old_assets::RemoveOldAssets)
        .step(restore_versions::RestoreVersions)
        .step(sync::Copy)
        .step(sync::Lacking)
        .step(sync::SyncStep)
        .step(verify_release::VerifyRelease)
        .step(versioning::Versioning)
        .step(versions::Versions)
}
