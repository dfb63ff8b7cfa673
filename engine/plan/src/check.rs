//! What is checked of a plan, each part in its module. None stops at the first mistake.

mod guards;
pub(crate) mod inputs;
pub(crate) mod policy;
pub(crate) mod references;
pub(crate) mod secrets;
pub(crate) mod targets;
