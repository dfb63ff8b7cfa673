//! Kubernetes: the connection that steps act through, its reader, and what they say of workloads and pods; and objects of
//! any kind: what there is ([`Discovery`]), page by page ([`Pages`]), without what the server put in ([`strip`]), in the
//! order in which they come back ([`Wave`]), and applied ([`Kubernetes::apply`]).
//!
//! Nothing here knows a step type. Addresses and credentials come from a kubeconfig, as `kubectl` finds it.

mod config;
pub use config::Config;
mod error;
pub use error::step_error;
mod workload_ref;
pub use workload_ref::{InvalidWorkload, Kind, WorkloadRef};
mod workload;
pub use workload::{MARK, SCALED_FROM, Workload};
mod cron_job;
pub use cron_job::{CronJob, SUSPEND_MARK};
mod stopped;
pub use stopped::{Found, Stopped};
mod autoscaler;
mod awake;
pub use autoscaler::{Autoscaler, BOUNDS_MARK};
pub use awake::awake;
mod owners;
mod pod;
pub use pod::{PodState, Trouble};
mod pod_line;
pub use pod_line::PodLine;
mod describe;
mod reader;
pub use reader::{
    ClusterInfo, ContainerImage, Containers, Following, Heard, LogRequest, PodInTheWay, Reader, Reported, Template,
};
mod revision;
pub use revision::Revision;
mod connection;
pub use connection::Kubernetes;
mod kind;
mod patience;
mod stateful;
pub use stateful::Turns;
mod steady;
pub use kind::{ObjectKey, ResourceKind};
mod discovery;
pub use discovery::Discovery;
mod objects;
mod rights;
pub use objects::{PAGE, Pages};
mod documents;
pub use documents::documents;
mod strip;
pub use strip::{KeptVolumes, strip, strip_bookkeeping};
mod keep;
pub use keep::{has_ended, is_built_in, is_never_kept, left_out};
mod maker;
pub use maker::{Maker, is_own_group};
mod selects;
pub use selects::selects;
mod keeper;
pub use keeper::Keeper;
mod wave;
pub use wave::{WAVE, Wave};
mod readiness;
pub use readiness::{Readiness, readiness};
mod apply;
pub use apply::{Applied, ApplyError, FieldConflict, HeldFor};
mod managed;
pub use managed::{has_applied, undoes_own};
