//! `jm plan`.

pub(super) mod graph;
pub(super) mod list;
pub(super) mod resume;
pub(super) mod run;
pub(super) mod show;
pub(super) mod validate;
