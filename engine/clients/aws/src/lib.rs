//! What the clients of AWS share: where credentials, region and endpoint come from, how bytes travel, and what it means
//! when a call fails.

mod access;
pub use access::{Access, given};
mod line;
pub use line::{Floor, Stalled};
mod skew;
pub use skew::{SignAgain, skew, skewed};
mod told;
pub use told::{Failure, NOT_ALLOWED, Told, later, refused, stalled, step_error, told, too_much};
mod transport;
