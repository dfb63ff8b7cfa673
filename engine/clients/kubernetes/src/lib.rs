//! Kubernetes: the connection that steps act through, its reader, and what they say of workloads and pods.
//!
//! Nothing here knows a step type. Addresses and credentials come from a kubeconfig, as `kubectl` finds it.

mod config;
pub use config::Config;
mod error;
pub use error::step_error;
mod workload_ref;
pub use workload_ref::{InvalidWorkload, Kind, WorkloadRef};
mod workload;
pub use workload::{MARK, Workload};
mod cron_job;
pub use cron_job::{CronJob, SUSPEND_MARK};
mod autoscaler;
pub use autoscaler::Autoscaler;
mod owners;
mod pod;
pub use pod::{PodState, Trouble};
mod pod_line;
pub use pod_line::PodLine;
mod describe;
mod reader;
pub use reader::{ClusterInfo, ContainerImage, LogRequest, Reader, Template};
mod revision;
pub use revision::Revision;
mod connection;
pub use connection::Kubernetes;
