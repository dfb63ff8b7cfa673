//! S3 and what speaks its protocol: connection and reader.
