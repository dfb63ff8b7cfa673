//! Step types on S3.
