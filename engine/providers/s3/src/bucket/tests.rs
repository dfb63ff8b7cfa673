//! Against the stores.

use jm_step::{Grade, StepErrorKind};
use jm_testkit::{StepBench, conformance};
use serde_json::{Value, json};

use super::*;
use crate::store::{Store, all_stores, ministack, sandbox, versitygw, without_versions};

/// Everything that the sandbox and ministack know.
fn whole() -> Value {
    json!({
        "versioning": "enabled",
        "encryption": "s3",
        "public_access": "blocked",
        "ownership": "bucket-owner-enforced",
        "lifecycle": [
            { "id": "uploads", "abort_uploads_after_days": 7 },
            { "id": "old", "prefix": "logs/", "expire_old_versions_after_days": 90, "move_to": [{ "storage_class": "STANDARD_IA", "after_days": 30 }] },
        ],
        "tags": { "purpose": "backups", "owner": "on-call" },
    })
}

async fn bench(store: &Store, bucket: &str) -> StepBench {
    StepBench::new().with("bucket", store.connection(bucket).await)
}

/// The stores that know all settings.
async fn knowing() -> Vec<Store> {
    vec![sandbox().await, ministack().await]
}

#[tokio::test]
async fn a_missing_bucket_is_made_as_the_preview_said_and_once() {
    for store in knowing().await {
        let bench = bench(&store, "missing").await;
        let preview = bench.preview(&Bucket, whole()).await.expect("a preview");
        assert_eq!(preview.grade, Grade::Computed, "{}", store.name);
        let connection = store.connection("missing").await;
        assert!(
            !connection.exists().await.expect("an answer"),
            "a preview makes nothing"
        );

        let ran = bench.run(&Bucket, whole()).await;
        assert_eq!(ran.changes, preview.changes, "{}", store.name);
        let output = ran.output();
        assert_eq!(Some(&output), preview.predicted.as_ref(), "{}", store.name);
        assert_eq!(
            (&output["created"], &output["versioning_before"], &output["versioning"]),
            (&json!(true), &Value::Null, &json!("enabled"))
        );

        let again = bench.preview(&Bucket, whole()).await.expect("a preview");
        assert_eq!(
            (again.grade, again.changes.len()),
            (Grade::Verified, 0),
            "{}: {}",
            store.name,
            again.summary
        );
        let ran = bench.run(&Bucket, whole()).await;
        assert_eq!((ran.changes.len(), ran.saves()), (0, 0));
        assert_eq!(ran.output()["created"], json!(false));
    }
}

/// What the client of AWS says of a bucket.
#[tokio::test]
async fn the_client_of_aws_sees_the_same_settings() {
    for store in knowing().await {
        bench(&store, "seen").await.run(&Bucket, whole()).await.output();
        let asked = async |what: &str| store.aws(&["s3api", what, "--bucket", "seen"]).await;
        assert_eq!(asked("get-bucket-versioning").await["Status"], "Enabled");
        let encryption = asked("get-bucket-encryption").await;
        let rule = &encryption["ServerSideEncryptionConfiguration"]["Rules"][0];
        assert_eq!(rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"], "AES256");
        let block = asked("get-public-access-block").await;
        let block = block["PublicAccessBlockConfiguration"]
            .as_object()
            .expect("four")
            .clone();
        assert_eq!(
            block.values().filter(|blocks| **blocks == json!(true)).count(),
            4,
            "{block:?}"
        );
        let controls = asked("get-bucket-ownership-controls").await;
        assert_eq!(
            controls["OwnershipControls"]["Rules"][0]["ObjectOwnership"],
            "BucketOwnerEnforced"
        );
        let lifecycle = asked("get-bucket-lifecycle-configuration").await;
        let rules = lifecycle["Rules"].as_array().expect("rules").clone();
        assert_eq!(rules.len(), 2, "{}", store.name);
        let old = rules.iter().find(|rule| rule["ID"] == "old").expect("a rule");
        assert_eq!(
            (&old["Filter"]["Prefix"], &old["Status"]),
            (&json!("logs/"), &json!("Enabled"))
        );
        assert_eq!(old["NoncurrentVersionExpiration"]["NoncurrentDays"], 90);
        assert_eq!(
            old["Transitions"][0],
            json!({ "Days": 30, "StorageClass": "STANDARD_IA" })
        );
        let tags = asked("get-bucket-tagging").await;
        assert_eq!(tags["TagSet"].as_array().map(Vec::len), Some(2));
    }
}

#[tokio::test]
async fn drift_is_mended_field_by_field_and_what_is_not_named_stays() {
    for store in knowing().await {
        let bench = bench(&store, "drift").await;
        bench.run(&Bucket, whole()).await.output();
        let bucket = store.connection("drift").await;
        bucket.set_versioning(false).await.expect("set");
        bucket
            .set_public_access_block(jm_client_s3::PublicAccessBlock::default())
            .await
            .expect("set");
        let other = [
            ("other".to_owned(), "kept".to_owned()),
            ("owner".to_owned(), "nobody".to_owned()),
        ];
        bucket.set_bucket_tags(&other.into()).await.expect("set");
        let rules = json!([
            { "id": "theirs", "abort_uploads_after_days": 3 },
            { "id": "uploads", "abort_uploads_after_days": 30 },
        ]);
        let rules: Vec<LifecycleRule> = serde_json::from_value(rules).expect("rules");
        let drifted = jm_client_s3::Lifecycle::default().with(&rules).expect("rules");
        bucket.set_lifecycle(drifted).await.expect("set");

        let preview = bench.preview(&Bucket, whole()).await.expect("a preview");
        let objects: Vec<&str> = preview.changes.iter().map(|change| change.object.as_str()).collect();
        assert_eq!(
            objects,
            [
                "public_access of bucket `drift`",
                "versioning of bucket `drift`",
                "lifecycle of bucket `drift`",
                "tags of bucket `drift`"
            ],
            "{}",
            store.name
        );
        let tags = &preview.changes[3];
        assert_eq!(tags.before, Some(json!({ "owner": "nobody", "purpose": null })));
        assert_eq!(preview.changes[1].before, Some(json!("suspended")));

        let ran = bench.run(&Bucket, whole()).await;
        assert_eq!(ran.changes, preview.changes, "{}", store.name);
        let output = ran.output();
        assert_eq!(Some(&output), preview.predicted.as_ref());
        assert_eq!(
            (&output["created"], &output["versioning_before"]),
            (&json!(false), &json!("suspended"))
        );
        assert_eq!(
            bucket
                .bucket_tags()
                .await
                .expect("tags")
                .get("other")
                .map(String::as_str),
            Some("kept")
        );
        let lifecycle = bucket.lifecycle().await.expect("rules");
        assert_eq!(
            lifecycle.rule("theirs").flatten().as_ref(),
            Some(&rules[0]),
            "{}",
            store.name
        );
        let again = bench.preview(&Bucket, whole()).await.expect("a preview");
        assert_eq!(again.grade, Grade::Verified, "{}: {}", store.name, again.summary);
    }
}

#[tokio::test]
async fn cut_off_wherever_it_saves_it_comes_to_the_same_end() {
    for store in knowing().await {
        for (name, exists) in [("cut-new", false), ("cut-drift", true)] {
            if exists {
                store.bucket(name).await;
            }
            let bench = bench(&store, name).await;
            let first = bench.run_until(&Bucket, whole(), 1).await;
            assert!(first.result.is_none(), "it saves before it acts");
            let saved = first.outputs.last().expect("saved").clone();
            assert_eq!(saved["created"], json!(!exists));
            let again = bench.clone().attempt(2).saved_output(saved.clone());
            let probe = again.probe(&Bucket, whole()).await.expect("an answer");
            assert!(!matches!(probe, Probe::Succeeded(_)), "{}: {probe:?}", store.name);
            assert_eq!(
                again.run(&Bucket, whole()).await.output(),
                saved,
                "{} {name}",
                store.name
            );
            let probe = again.probe(&Bucket, whole()).await.expect("an answer");
            assert_eq!(probe, Probe::Succeeded(saved), "{} {name}", store.name);
        }
        // The bucket is there, the journal does not know it yet, and nothing else is set.
        let name = "cut-between";
        let bench = bench(&store, name).await;
        let saved = bench.run_until(&Bucket, whole(), 1).await.outputs.remove(0);
        store.bucket(name).await;
        let again = bench.clone().attempt(2).saved_output(saved.clone());
        let probe = again.probe(&Bucket, whole()).await.expect("an answer");
        assert!(matches!(probe, Probe::Partial { .. }), "{}: {probe:?}", store.name);
        assert_eq!(again.run(&Bucket, whole()).await.output(), saved, "{}", store.name);
    }
}

#[tokio::test]
async fn a_preview_writes_nothing_and_is_what_the_run_does() {
    for store in knowing().await {
        for (number, exists) in [(1, false), (2, true)] {
            let name = format!("preview-{number}");
            if exists {
                store.bucket(&name).await;
            }
            let connection = std::sync::Arc::new(store.connection(&name).await);
            let bench = StepBench::new().with_shared("bucket", connection.clone());
            let before = bench.preview(&Bucket, whole()).await.expect("a preview");
            conformance::preview_writes_nothing(&Bucket, || (bench.clone(), || 0), whole()).await;
            assert_ne!(before.grade, Grade::Verified);
        }
    }
}

#[tokio::test]
async fn a_bucket_that_may_not_be_made_is_told() {
    for store in all_stores().await {
        let error = bench(&store, "absent")
            .await
            .run(&Bucket, json!({ "create": false }))
            .await
            .error();
        assert_eq!(error.kind(), StepErrorKind::NotFound, "{}", store.name);
        assert!(error.hint_text().is_some());
        let error = bench(&store, "absent")
            .await
            .preview(&Bucket, json!({ "create": false }))
            .await;
        assert_eq!(error.expect_err("missing").kind(), StepErrorKind::NotFound);
    }
}

#[tokio::test]
async fn what_a_store_does_not_know_is_named() {
    let store = versitygw().await;
    let bench = bench(&store, "plain").await;
    let output = bench.run(&Bucket, json!({ "versioning": "enabled" })).await.output();
    assert_eq!(
        (&output["created"], &output["versioning"]),
        (&json!(true), &json!("enabled"))
    );
    for (field, value) in [("encryption", json!("s3")), ("lifecycle", whole()["lifecycle"].clone())] {
        let mut input = json!({});
        input[field] = value;
        let error = bench.run(&Bucket, input).await.error();
        assert_eq!(error.kind(), StepErrorKind::Failed, "{field}: {error}");
        assert!(
            error
                .hint_text()
                .expect("a hint")
                .contains(&format!("leave `{field}` out")),
            "{error:?}"
        );
    }
    let policy = json!({ "policy": { "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::plain/*" }] } });
    let preview = bench.preview(&Bucket, policy.clone()).await.expect("a preview");
    let ran = bench.run(&Bucket, policy.clone()).await;
    assert_eq!(ran.changes, preview.changes);
    ran.output();
    assert_eq!(
        bench.preview(&Bucket, policy).await.expect("a preview").grade,
        Grade::Verified
    );
}

#[tokio::test]
async fn a_store_without_versions_says_so_before_anything_is_set() {
    let store = without_versions().await;
    let bench = bench(&store, "unversioned").await;
    let output = bench.run(&Bucket, json!({})).await.output();
    assert_eq!(
        (&output["created"], &output["versioning"]),
        (&json!(true), &json!("unsupported"))
    );
    let wanted = json!({ "versioning": "enabled" });
    let error = bench.preview(&Bucket, wanted).await.expect_err("it cannot be");
    assert!(error.message().contains("knows none"), "{error}");
    let error = bench.run(&Bucket, json!({ "versioning": "enabled" })).await.error();
    assert!(
        error.hint_text().expect("a hint").contains("leave `versioning` out"),
        "{error:?}"
    );
}

#[tokio::test]
async fn keys_of_kms_are_set_and_seen() {
    let knows_none = versitygw().await;
    knows_none.bucket("plain").await;
    let plain = knows_none.connection("plain").await;
    assert!(!plain.may_encrypt_by_kms().await.expect("told"));
    let store = ministack().await;
    let bench = bench(&store, "kms").await;
    bench.run(&Bucket, json!({ "encryption": "s3" })).await.output();
    let bucket = store.connection("kms").await;
    let told = bucket.may_encrypt_by_kms().await;
    assert!(told.expect("told"), "whoever writes an object may name a key");
    let input = json!({ "encryption": { "kms-key": "alias/backups" }, "bucket_key": true });
    bench.run(&Bucket, input.clone()).await.output();
    assert!(bucket.may_encrypt_by_kms().await.expect("told"));
    let encryption = store.aws(&["s3api", "get-bucket-encryption", "--bucket", "kms"]).await;
    let rule = &encryption["ServerSideEncryptionConfiguration"]["Rules"][0];
    assert_eq!(
        rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"],
        "alias/backups"
    );
    assert_eq!(
        bench.preview(&Bucket, input).await.expect("a preview").grade,
        Grade::Verified
    );
    let other = bench
        .preview(&Bucket, json!({ "encryption": "s3" }))
        .await
        .expect("a preview");
    assert_eq!(
        other.changes[0].before.as_ref().expect("known")["keys"],
        json!({ "kms-key": "alias/backups" })
    );
}

#[test]
fn odd_inputs_are_refused() {
    for (input, pointer) in [
        (json!({ "bucket_key": true }), "/bucket_key"),
        (
            json!({ "lifecycle": [{ "id": "" , "expire_after_days": 1 }] }),
            "/lifecycle/0/id",
        ),
        (json!({ "lifecycle": [{ "id": "a" }] }), "/lifecycle/0"),
        (
            json!({ "lifecycle": [{ "id": "a", "expire_after_days": 0 }] }),
            "/lifecycle/0/expire_after_days",
        ),
        (
            json!({ "lifecycle": [{ "id": "a", "abort_uploads_after_days": 1, "keep_old_versions": 2 }] }),
            "/lifecycle/0/keep_old_versions",
        ),
        (
            json!({ "lifecycle": [{ "id": "a", "expire_after_days": 1, "remove_lone_markers": true }] }),
            "/lifecycle/0/remove_lone_markers",
        ),
        (json!({ "tags": { "aws:x": "y" } }), "/tags"),
    ] {
        let input: Input = serde_json::from_value(input).expect("decodes");
        let issues = StepType::check(&Bucket, &input).expect_err("refused");
        assert_eq!(issues[0].pointer, pointer);
    }
}

#[test]
fn only_rules_that_delete_cannot_be_taken_back() {
    let effect = |input: Value| StepType::effect(&Bucket, &Known::new(input));
    assert_eq!(effect(whole()), Effect::Irreversible);
    assert_eq!(effect(json!({ "versioning": "enabled" })), Effect::Reversible);
    let uploads = json!({ "lifecycle": [{ "id": "uploads", "abort_uploads_after_days": 7 }] });
    assert_eq!(effect(uploads), Effect::Reversible);
}

/// A line copied from another plan, or a variable that was forgotten, must not change another bucket than the one that is meant.
#[tokio::test]
async fn another_bucket_than_the_one_that_is_meant_is_refused() {
    let store = versitygw().await;
    store.bucket("there").await;
    for name in ["there", "missing"] {
        let bench = bench(&store, name).await;
        let input = json!({ "name": "meant", "versioning": "enabled" });
        let foretold = bench.preview(&Bucket, input.clone()).await.expect_err("refused");
        let error = bench.run(&Bucket, input).await.error();
        assert_eq!(foretold.message(), error.message());
        assert_eq!(error.kind(), StepErrorKind::Refused, "{error}");
        assert!(error.message().contains(&format!("names `{name}`")), "{error}");
        let meant = bench.run(&Bucket, json!({ "name": name })).await.output();
        assert_eq!(meant["versioning"], json!("never"), "{meant}");
    }
}
