//! For tests: step types that do little and count it, contexts without servers, conformance checks for step types, a
//! reporter that remembers, a line that refuses, and content that cannot be compressed.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "what fake steps have done is counted in files, which outlive a kill"
)]

pub mod bench;
pub use bench::{Ran, StepBench};
pub mod conformance;
pub mod line;
mod noise;
pub use noise::noise;
mod plan;
pub use plan::{compile, info};
mod reporter;
pub use jm_run::journal::{MemoryFiles, MemoryJournal};
pub use reporter::Recording;
mod steps;
pub use steps::{effects_in, provider, registry};
