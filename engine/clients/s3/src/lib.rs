//! S3 and what speaks its protocol: one bucket, or the part of it under a prefix.
//!
//! [`S3Reader`] looks, [`S3Bucket`] also writes, and [`S3`] is the connection that targets files name. No object is
//! ever held whole: bodies go out in parts of bounded size and come in as streams that survive a broken connection.

mod config;
pub use config::{Compatibility, Config, Encryption};
mod error;
pub use jm_client_aws::{Floor, given};
mod transport;
pub use error::{lacks_right, meets_every_object, unwrap_step_error};
mod checksum;
pub use checksum::{Checksum, Hasher};
mod object;
pub use object::{Encrypted, ObjectInfo, ObjectSummary, OtherHeaders};
mod reader;
pub use reader::{BucketIdentity, S3Reader, Versioning, VersioningStatus};
mod get;
pub use get::{Get, ObjectStream};
mod acl;
mod archive;
mod copy;
mod pace;
mod parts;
mod remove;
mod versions;
pub use archive::{ArchiveTier, is_archive};
pub use copy::{Copied, may_be_copied_in_parts};
pub use pace::Pace;
pub use parts::is_etag_of_parts;
pub use remove::{NotRemoved, VersionOf};
pub use versions::{NULL_VERSION, ObjectVersion, VersionMark, VersionsPage};
mod bucket;
mod lifecycle;
mod list;
pub use list::Newest;
mod lock;
pub use lock::{LockMode, ObjectLock};
mod policy;
mod rights;
mod settings;
pub use bucket::S3Bucket;
pub use lifecycle::{LifecycleRule, MoveTo};
pub use settings::{DefaultEncryption, Lifecycle, Ownership, PublicAccessBlock};
mod begun;
mod put;
pub use begun::BegunUpload;
pub use put::{Put, Uploaded, is_written_in_parts};
mod connection;
mod multipart;
mod own;
mod uploads;
pub use connection::S3;
pub use uploads::UnfinishedUpload;
#[cfg(test)]
mod tests;
