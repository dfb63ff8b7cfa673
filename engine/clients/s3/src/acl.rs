//! ACLs of objects: who else has rights to them, where that counts.

use aws_sdk_s3::operation::get_object_acl::GetObjectAclOutput;
use aws_sdk_s3::types::{AccessControlPolicy, Grant, Owner, Permission};
use jm_step::{StepError, StepErrorKind};

use crate::{ObjectVersion, Ownership, Pace, S3Bucket, S3Reader};

impl S3Reader {
    /// Whether ACLs of objects may count in this bucket: so they may where nobody may say.
    pub async fn has_acls(&self) -> bool {
        match self.ownership().await {
            Ok(ownership) => ownership != Some(Ownership::BucketOwnerEnforced),
            Err(error) => hides(&error),
        }
    }

    /// The ACL of an object or one of its versions.
    async fn acl(&self, pace: &Pace, key: &str, version_id: Option<&str>) -> Result<GetObjectAclOutput, StepError> {
        let doing = self.on_object("read the ACL of", key, "s3:GetObjectVersionAcl");
        let full = self.full(key);
        let ask = || {
            let call = self.0.once.get_object_acl().bucket(&self.0.bucket).key(&full);
            call.set_version_id(version_id.map(str::to_owned)).send()
        };
        pace.send(&doing, ask).await
    }
}

impl S3Bucket {
    /// Gives the copy of a version the rights that the version gives to others, beside those that the copy gives already: no
    /// copy takes an ACL over by itself. Whether some of them may stay behind, for the store takes none, or nobody may read or
    /// give them.
    pub async fn keep_acl(&self, pace: &Pace, version: &ObjectVersion, copy: Option<&str>) -> bool {
        let key = version.key.as_str();
        let old = match self.acl(pace, key, Some(&version.version_id)).await {
            Ok(old) => old,
            Err(error) => return hides(&error),
        };
        let others = old.grants().iter().filter(|grant| !is_of(old.owner(), grant));
        let others: Vec<Grant> = others.cloned().collect();
        if others.is_empty() {
            return false;
        }
        let Ok(new) = self.acl(pace, key, copy).await else {
            return true;
        };
        let missing = others.into_iter().filter(|grant| !new.grants().contains(grant));
        let grants: Vec<Grant> = new.grants().iter().cloned().chain(missing).collect();
        if grants.len() == new.grants().len() {
            return false;
        }
        let policy = AccessControlPolicy::builder().set_grants(Some(grants));
        let policy = policy.set_owner(new.owner().cloned()).build();
        let doing = self.on_object("set the ACL of", key, "s3:PutObjectVersionAcl");
        let full = self.full(key);
        let set = || {
            let call = self.0.once.put_object_acl().bucket(&self.0.bucket).key(&full);
            let call = call.set_version_id(copy.map(str::to_owned));
            call.access_control_policy(policy.clone()).send()
        };
        pace.send(&doing, set).await.is_err()
    }
}

/// Whether an error leaves open what is there: another tells that the store knows no such thing.
fn hides(error: &StepError) -> bool {
    error.kind() == StepErrorKind::Denied || error.kind().is_transient()
}

/// Whether a grant is what an owner has without a word.
fn is_of(owner: Option<&Owner>, grant: &Grant) -> bool {
    let id = grant.grantee().and_then(|grantee| grantee.id());
    grant.permission() == Some(&Permission::FullControl) && id.is_some() && id == owner.and_then(Owner::id)
}
