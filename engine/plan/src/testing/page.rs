//! The plan of the language page, and step types with the inputs and outputs that it needs.

use std::collections::BTreeMap;

use jm_step::{Effect, Known, Provider, Registry, Secret};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `complete-db-loss` as the language page has it.
pub(crate) const PLAN: &str = include_str!("page/complete-db-loss.yaml");
/// The targets file of the language page.
pub(crate) const TARGETS: &str = include_str!("page/targets.yaml");

macro_rules! input {
    ($name:ident { $($(#[$doc:meta])* $field:ident: $type:ty),* $(,)? }) => {
        #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct $name { $($(#[$doc])* $field: $type),* }
    };
}
macro_rules! output {
    ($name:ident { $($(#[$doc:meta])* $field:ident: $type:ty),* $(,)? }) => {
        #[derive(Debug, Serialize, Deserialize, JsonSchema)]
        pub(crate) struct $name { $($(#[$doc])* $field: $type),* }
    };
}

input!(Webhook { /// How it stands.
    status: String, message: Option<String> });
input!(None_ {});
output!(Inspected {
    reachable: bool,
    exists: bool,
    serving: bool
});
input!(Select { which: Option<String>, from: Option<From_> });
/// Where a backup comes from.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum From_ {
    /// Wherever it is.
    #[default]
    Any,
    /// The directory.
    Local,
    /// The bucket.
    S3,
}
output!(Selected {
    backup: String,
    #[schemars(extend("x-jm-recovery-point" = true))]
    taken_at: String
});
input!(Quiesce { workloads: Vec<String> });
output!(Quiesced { workloads: BTreeMap<String, u32> });
input!(Create { label: Option<String>, pin: Option<String> });
input!(Restore { backup: String, into: Option<Into_> });
/// Where a backup is restored to.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Into_ {
    /// A database of its own.
    #[default]
    Aside,
    /// Over what is there.
    Place,
}
output!(Restored { database: String });
input!(VerifyInput { database: Option<String>, tables: Vec<String>, compare_to: Option<String> });
input!(AnalyzeInput { database: Option<String>, vacuum: bool });
input!(SwitchInput { from: String });
input!(ResumeInput { quiesced: Option<QuiescedInput>, fallback_replicas: Option<u32> });
input!(QuiescedInput { workloads: BTreeMap<String, u32> });
input!(HttpInput { url: String });

crate::fake_step!(WebhookStep, "notify.webhook", Reversible, Safe, gate: false, roles: ["webhook": "notify"], Webhook => None_);
crate::fake_step!(Inspect, "postgres.inspect", ReadOnly, Safe, gate: false, roles: ["database": "postgres"], None_ => Inspected);
crate::fake_step!(SelectStep, "backup.select", ReadOnly, Safe, gate: false, roles: ["backups": "backup", "database": "postgres"], Select => Selected);
crate::fake_step!(QuiesceStep, "kubernetes.quiesce", Reversible, Safe, gate: false, roles: ["cluster": "kubernetes"], Quiesce => Quiesced);
crate::fake_step!(CreateStep, "backup.create", Reversible, Probe, gate: false, roles: ["backups": "backup", "database": "postgres"], Create => Selected);
crate::fake_step!(RestoreStep, "backup.restore", Irreversible, Probe, gate: false, roles: ["backups": "backup", "database": "postgres"], Restore => Restored, {
    fn effect(&self, input: &Known) -> Effect {
        if input.text("into") == Some("aside") { Effect::Reversible } else { Effect::Irreversible }
    }
});
crate::fake_step!(VerifyStep, "postgres.verify", ReadOnly, Safe, gate: true, roles: ["database": "postgres"], VerifyInput => None_);
crate::fake_step!(Analyze, "postgres.analyze", Reversible, Safe, gate: false, roles: ["database": "postgres"], AnalyzeInput => None_);
crate::fake_step!(Switch, "postgres.switch", Irreversible, Probe, gate: false, roles: ["database": "postgres"], SwitchInput => None_);
crate::fake_step!(Unquiesce, "postgres.unquiesce", Reversible, Safe, gate: false, roles: ["database": "postgres"], None_ => None_);
crate::fake_step!(Resume, "kubernetes.resume", Reversible, Safe, gate: false, roles: ["cluster": "kubernetes"], ResumeInput => None_);
crate::fake_step!(Check, "http.check", ReadOnly, Safe, gate: false, roles: [], HttpInput => None_);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read by its schema only")]
pub(crate) struct UrlConfig {
    /// Where it is.
    url: Secret,
}
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read by its schema only")]
pub(crate) struct ClusterConfig {
    /// Which context of the kubeconfig; the current one where it is empty.
    #[serde(default)]
    context: String,
    /// Which namespace.
    namespace: String,
}
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read by its schema only")]
pub(crate) struct BackupConfig {
    /// Where backups lie.
    directory: String,
    /// Where they lie besides.
    #[serde(default)]
    s3: Option<BucketConfig>,
    /// What encrypts them.
    key: Secret,
    /// How long they are kept.
    retention_days: u32,
}
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read by its schema only")]
pub(crate) struct BucketConfig {
    /// Whether it is used.
    enabled: bool,
    /// Its name.
    bucket: String,
}
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read by its schema only")]
pub(crate) struct CdnConfig {
    /// Its id.
    distribution: String,
}

crate::fake_connection!(Postgres, "postgres", UrlConfig);
crate::fake_connection!(Notify, "notify", UrlConfig);
crate::fake_connection!(Kubernetes, "kubernetes", ClusterConfig);
crate::fake_connection!(Backups, "backup", BackupConfig);
crate::fake_connection!(Cdn, "cloudfront", CdnConfig);

/// The step types of the page.
pub(crate) fn registry() -> Registry {
    let postgres = Provider::of::<Postgres>()
        .step(Inspect)
        .step(VerifyStep)
        .step(Analyze)
        .step(Switch)
        .step(Unquiesce);
    Registry::new()
        .with(postgres)
        .with(Provider::of::<Notify>().step(WebhookStep))
        .with(Provider::of::<Kubernetes>().step(QuiesceStep).step(Resume))
        .with(
            Provider::of::<Backups>()
                .step(SelectStep)
                .step(CreateStep)
                .step(RestoreStep),
        )
        .with(Provider::of::<Cdn>())
        .with(Provider::new("http").step(Check))
}
