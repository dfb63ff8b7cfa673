//! What the credentials may do: asked of both stores, and of users of versitygw whom a bucket's policy lets in.

use jm_step::{Right, Secret, Standing};
use serde_json::json;

use super::{Store, stores};
use crate::{Pace, S3Bucket, S3Reader};

/// What a backup needs of its bucket.
const BACKUP: [&str; 4] = [
    "s3:AbortMultipartUpload",
    "s3:GetObject",
    "s3:ListBucket",
    "s3:PutObject",
];

async fn rights(bucket: &S3Reader, needed: &[&'static str]) -> Vec<Right> {
    let needed = needed.iter().copied().collect();
    bucket.rights(&needed).await.expect("told")
}

fn those(rights: &[Right], standing: Standing) -> Vec<&str> {
    let of = rights.iter().filter(|right| right.standing == standing);
    of.map(|right| right.right.as_str()).collect()
}

#[tokio::test]
async fn questions_leave_nothing_behind() {
    for store in stores().await {
        for (name, versions) in [("plain", false), ("versioned", true)] {
            store.bucket(name).await;
            let bucket = store.open(name, |config| config.prefix = "folder/".to_owned()).await;
            if versions {
                bucket.set_versioning(true).await.expect("set");
            }
            let told = rights(bucket.reader(), &BACKUP).await;
            assert_eq!(those(&told, Standing::Held), BACKUP, "{}", store.name);
            let excess = those(&told, Standing::Excess);
            for right in [
                "s3:DeleteObjectVersion",
                "s3:ListMultipartUploadParts",
                "s3:PutObject outside of `folder/`",
            ] {
                assert!(excess.contains(&right), "{}: {excess:?}", store.name);
            }
            let whole = store.open(name, |_| {}).await;
            let left = whole
                .versions_page(&Pace::alone(), "", None, 10)
                .await
                .map(|page| page.entries.len());
            assert_eq!(left.expect("a page"), 0, "{}: {name}", store.name);
            assert_eq!(
                whole.unfinished_uploads("").await.expect("a list"),
                [],
                "{}: {name}",
                store.name
            );
        }
    }
}

/// Lets a user in by the policy that jm prints, as far as this store knows such policies: it has no conditions.
async fn let_in(bucket: &S3Bucket, user: &str, needed: &[&'static str]) {
    let needed = needed.iter().copied().collect();
    let mut policy: serde_json::Value = serde_json::from_str(&bucket.policy_for(&needed).text).expect("JSON");
    for statement in policy["Statement"].as_array_mut().expect("statements") {
        statement["Principal"] = json!({ "AWS": [user] });
        statement.as_object_mut().expect("a statement").remove("Condition");
    }
    bucket.set_policy(&policy).await.expect("a policy");
}

#[tokio::test]
async fn who_has_the_printed_policy_has_what_is_needed_and_no_more() {
    let store = Store::versitygw().await;
    let user = store.user("backup").await;
    store.bucket("backups").await;
    let within = |config: &mut crate::Config| config.prefix = "folder/".to_owned();
    let owner = store.open("backups", within).await;
    owner.set_versioning(true).await.expect("set");
    let bucket = store
        .open("backups", |config| {
            within(config);
            config.access_key_id = Some("backup".to_owned());
            config.secret_access_key = Some(Secret::new(user));
        })
        .await;

    let told = rights(bucket.reader(), &BACKUP).await;
    assert_eq!(
        those(&told, Standing::Missing),
        ["s3:AbortMultipartUpload", "s3:ListBucket", "s3:PutObject"]
    );
    assert_eq!(
        those(&told, Standing::NotAsked),
        ["s3:GetObject"],
        "it cannot be told without a listing"
    );

    let_in(&owner, "backup", &BACKUP).await;
    let told = rights(bucket.reader(), &BACKUP).await;
    assert_eq!(those(&told, Standing::Held), BACKUP, "{told:?}");
    assert_eq!(those(&told, Standing::Excess).len(), 0, "{told:?}");

    for more in ["s3:DeleteObjectVersion", "s3:ListMultipartUploadParts"] {
        let_in(&owner, "backup", &[&BACKUP[..], &[more]].concat()).await;
        let told = rights(bucket.reader(), &BACKUP).await;
        assert_eq!(those(&told, Standing::Excess), [more], "{told:?}");
    }
}
