//! What is configured for a bucket beside its versioning: kept as the documents that were put, and given back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What can be configured, one document for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Aspect {
    Encryption,
    Lifecycle,
    Ownership,
    Policy,
    PublicAccess,
    Tags,
}

/// The documents of a bucket. What has none is not configured.
pub(crate) type Configuration = BTreeMap<Aspect, String>;

/// What S3 gives every new bucket: its own encryption, no public access, and no ACLs.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/create-bucket-faq.html>
pub(crate) fn of_new_buckets() -> Configuration {
    let documents = [
        (
            Aspect::Encryption,
            "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256\
             </SSEAlgorithm></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled></Rule>\
             </ServerSideEncryptionConfiguration>",
        ),
        (
            Aspect::Ownership,
            "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>",
        ),
        (
            Aspect::PublicAccess,
            "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true\
             </IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy><RestrictPublicBuckets>true\
             </RestrictPublicBuckets></PublicAccessBlockConfiguration>",
        ),
    ];
    documents.map(|(aspect, document)| (aspect, document.to_owned())).into()
}
