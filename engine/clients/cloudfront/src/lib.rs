//! CloudFront: one distribution, and the list of all that the credentials may see.
//!
//! [`Reader`] looks, [`CloudFront`] also writes, and is the connection that targets files name.

mod config;
pub use config::Config;
mod error;
mod view;
pub use view::{Distribution, Invalidation, Origin};
mod reader;
pub use reader::{Reader, Snapshot};
mod connection;
pub use connection::{Asked, CloudFront};
