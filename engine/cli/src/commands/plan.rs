//! `jm plan`.

mod agree;
pub(super) mod diff;
mod drift;
pub(super) mod graph;
pub(super) mod list;
pub(super) mod resume;
pub(super) mod run;
pub(crate) mod saved;
pub(super) mod show;
pub(super) mod validate;
