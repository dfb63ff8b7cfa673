//! The tests of the whole: the real binary, against real servers and against the sandbox's.
//!
//! One binary for all of them, so that it is linked once. `tests/run` starts it, with the servers that it needs
//! installed; a server that is missing is an error.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests start the binary, read where its servers are, and keep files of their own"
)]

mod after;
mod answers;
mod backup_kubernetes;
mod backups;
mod cdn;
mod clients;
mod cluster_failure;
mod cluster_loss;
mod configuration;
mod conformance;
mod crash;
mod data_center;
mod doctor;
mod drill;
mod dry_run;
mod editor;
mod environment;
mod faults;
mod kept;
mod operators;
mod plans;
mod printed;
mod provision;
mod pull_request;
mod resume;
mod run;
mod s3_loss;
mod schemas;
mod secrets;
mod signals;
mod statements;
mod terminal;
mod wire;
mod workloads;
