//! For tests: step types that do little and count it, contexts without servers, conformance checks for step types, and
//! a reporter that remembers.

pub mod bench;
pub use bench::{Ran, StepBench};
pub mod conformance;
mod plan;
pub use plan::{compile, info};
mod reporter;
pub use jm_run::journal::{MemoryFiles, MemoryJournal};
pub use reporter::Recording;
mod steps;
pub use steps::{effects_in, provider, registry};
