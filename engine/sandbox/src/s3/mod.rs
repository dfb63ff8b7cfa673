//! The S3 stand-in: a server in this process, over a versioned store on disk.
//!
//! [`s3s`] speaks the protocol and checks signatures (SigV4 in headers and in presigned URLs, whole and chunked
//! bodies, trailing checksums). What it serves is ours: `store` keeps buckets, histories and bytes, and
//! `service` says it in S3's words. State survives the process, however it ends; bodies stream to and from disk.
//!
//! # What it does
//! Buckets (create, head, delete, list, location, owner, versioning); objects (put, get, head, delete, delete many, copy)
//! with versions, delete markers and null versions, conditional reads and writes, ranges and part numbers,
//! Content-MD5 and all five checksum algorithms, tags and user metadata; listings of objects (both forms),
//! versions and uploads with prefix, delimiter, paging and URL encoding; multipart uploads with copied parts,
//! part checks and composite or full-object checksums. Encryption, public access block, ownership, lifecycle, policy and
//! tags of a bucket are kept and returned, a new bucket has those of S3, and nothing follows from them: nothing expires, and
//! no policy is asked.
//!
//! # What it leaves out
//! - Answers 501 `NotImplemented`: configuration of CORS, logging, notification, website, replication, inventory and
//!   analytics of a bucket; putting ACLs; GetObjectAttributes, SelectObjectContent, RestoreObject, torrents; access points; append
//!   (`x-amz-write-offset-bytes`); RenameObject; directory buckets.
//! - Refused, because to accept them would be to pretend: object lock and legal hold (a locked bucket 501, a
//!   locked object 400, as a bucket without a lock does), encryption with KMS or customer keys (501), ACLs other than `private` and
//!   `bucket-owner-full-control` (400, as a bucket does that enforces ownership). `AES256` is taken and repeated
//!   in replies, but nothing is encrypted.
//! - MFA delete; requester pays; storage classes are recorded and change nothing (nothing is ever archived).
//! - One account ([`ACCOUNT`]) with one key that may do everything; no anonymous requests.
//! - Path-style addresses only; plain HTTP.
//! - CompleteMultipartUpload of an upload that is done answers the same again for as long as the version is there
//!   (S3 forgets after a while). A page of versions that ended at a null version which is then deleted goes on
//!   with the key's newest version.

mod access;
mod server;
mod service;
mod store;
#[cfg(test)]
mod tests;

pub use access::{ACCOUNT, Credentials};
pub use server::S3Server;
