//! Kubernetes: the connection that steps act through, its reader, and what they say of workloads and pods.
//!
//! Nothing here knows a step type. Addresses and credentials come from a kubeconfig, as `kubectl` finds it.

mod config;
pub use config::Config;
mod error;
pub use error::step_error;
mod workload;
pub use workload::{Autoscaler, InvalidWorkload, Kind, MARK, Workload, WorkloadRef};
mod owners;
mod pod;
pub use pod::{PodState, Trouble};
mod reader;
pub use reader::{ClusterInfo, Reader};
mod connection;
pub use connection::Kubernetes;
