//! Step types on Kubernetes.

mod trouble;
mod wait;

mod ready;
pub use ready::Ready;
mod quiesce;
pub use quiesce::{Quiesce, Quiesced, QuiescedWorkload};
mod resume;
pub use resume::{Resume, Resumed};
mod scale;
pub use scale::Scale;
mod rollout_status;
pub use rollout_status::RolloutStatus;

use jm_client_kubernetes::Kubernetes;
use jm_step::{Provider, Role};

/// The role that every step type of this provider has.
const CLUSTER: Role = Role::of::<Kubernetes>("cluster");

/// The provider `kubernetes`.
pub fn provider() -> Provider {
    Provider::of::<Kubernetes>()
        .step(Ready)
        .step(Quiesce)
        .step(Resume)
        .step(Scale)
        .step(RolloutStatus)
}
