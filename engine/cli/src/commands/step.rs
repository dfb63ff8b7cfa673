//! `jm step`.

pub(super) mod list;
pub(super) mod run;
pub(super) mod show;
