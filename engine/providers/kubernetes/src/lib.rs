//! Step types on Kubernetes.

mod chosen;
mod contents;
mod evidence;
mod few;
mod follow;
mod image;
mod kept;
mod kinds;
mod needs;
mod recorded;
mod redact;
mod trouble;
mod wait;
mod writer;

mod ready;
pub use ready::Ready;
mod quiesce;
pub use quiesce::{Quiesce, Quiesced, QuiescedWorkload};
mod resume;
pub use resume::{Resume, Resumed};
mod stopped;
pub use stopped::Stopped;
mod scale;
pub use scale::Scale;
mod rollout_status;
pub use rollout_status::RolloutStatus;
mod set_image;
pub use set_image::SetImage;
mod rollout_history;
pub use rollout_history::RolloutHistory;
mod rollout_undo;
pub use rollout_undo::RolloutUndo;
mod restart;
pub use restart::Restart;
mod pods;
pub use pods::Pods;
mod logs;
pub use logs::Logs;
mod described;
pub use described::Describe;
mod deploy;
pub use deploy::Counts;
mod export;
pub use export::Export;
mod apply;
pub use apply::Apply;
mod manifests;
pub use manifests::Manifests;
mod restore;
pub use restore::Restore;
mod import;
pub use import::Import;

use jm_backup::Backups;
use jm_client_kubernetes::Kubernetes;
use jm_step::{Provider, Role};

/// The role that every step type of this provider has.
const CLUSTER: Role = Role::of::<Kubernetes>("cluster");

/// The role of those that file and read exports.
const BACKUPS: Role = Role::of::<Backups>("backups");

/// The provider `kubernetes`.
pub fn provider() -> Provider {
    Provider::of::<Kubernetes>()
        .step(Ready)
        .step(Quiesce)
        .step(Resume)
        .step(Stopped)
        .step(Scale)
        .step(RolloutStatus)
        .step(SetImage)
        .step(RolloutHistory)
        .step(RolloutUndo)
        .step(Restart)
        .step(Pods)
        .step(Logs)
        .step(Describe)
        .step(Export)
        .step(Apply)
        .step(Manifests)
        .step(Restore)
        .step(Import)
}
