//! Registries of images (OCI distribution): which digest a tag names now. It only asks.
//!
//! One question needs little of the protocol, and what it does need (bounded replies, the system's roots and proxies, no
//! credential over an open line) is what [`jm_client_http`] has: a whole client of registries would bring an HTTP client
//! with rules of its own.

mod image;
pub use image::{ImageRef, reported_digest};
mod login;
pub use login::Login;
mod place;
mod proof;
mod registry;
pub use registry::Registry;

#[cfg(test)]
mod tests;
