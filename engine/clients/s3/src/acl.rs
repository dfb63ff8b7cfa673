//! ACLs of objects: who else has rights to them, where that counts.

use aws_sdk_s3::types::{Grant, Owner, Permission};

use crate::{ObjectVersion, Ownership, Pace, S3Reader};

impl S3Reader {
    /// Whether ACLs of objects count in this bucket; `false` where nobody may say.
    pub async fn has_acls(&self) -> bool {
        matches!(self.ownership().await, Ok(ownership) if ownership != Some(Ownership::BucketOwnerEnforced))
    }

    /// Whether a version's ACL gives rights to others than its owner; `false` where nobody may say.
    pub async fn is_shared(&self, pace: &Pace, version: &ObjectVersion) -> bool {
        let doing = self.on_object("read the ACL of", &version.key, "s3:GetObjectVersionAcl");
        let key = self.full(&version.key);
        let ask = || {
            let call = self.0.once.get_object_acl().bucket(&self.0.bucket).key(&key);
            call.version_id(&version.version_id).send()
        };
        let told = pace.send(&doing, ask).await;
        told.is_ok_and(|acl| acl.grants().iter().any(|grant| !is_of(acl.owner(), grant)))
    }
}

/// Whether a grant is what an owner has without a word.
fn is_of(owner: Option<&Owner>, grant: &Grant) -> bool {
    let id = grant.grantee().and_then(|grantee| grantee.id());
    grant.permission() == Some(&Permission::FullControl) && id.is_some() && id == owner.and_then(Owner::id)
}
