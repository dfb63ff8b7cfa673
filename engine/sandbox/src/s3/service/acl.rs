//! Access control lists, as a bucket has them whose owner owns everything in it.

use s3s::S3Result;
use s3s::dto::{
    GetBucketAclInput, GetBucketAclOutput, GetObjectAclInput, GetObjectAclOutput, Grant, Grantee, Permission, Type,
};

use super::Service;
use super::convert::owner;

impl Service {
    pub(super) fn bucket_acl(&self, input: &GetBucketAclInput) -> S3Result<GetBucketAclOutput> {
        self.bucket(&input.bucket)?;
        Ok(GetBucketAclOutput {
            grants: Some(vec![everything()]),
            owner: Some(owner()),
        })
    }

    pub(super) async fn object_acl(&self, input: GetObjectAclInput) -> S3Result<GetObjectAclOutput> {
        self.find(&input.bucket, input.key, input.version_id.as_deref()).await?;
        Ok(GetObjectAclOutput {
            grants: Some(vec![everything()]),
            owner: Some(owner()),
            request_charged: None,
        })
    }
}

/// The one grant there is: everything, to the owner.
fn everything() -> Grant {
    let grantee = Grantee {
        display_name: None,
        email_address: None,
        id: owner().id,
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    Grant {
        grantee: Some(grantee),
        permission: Some(Permission::from_static(Permission::FULL_CONTROL)),
    }
}
