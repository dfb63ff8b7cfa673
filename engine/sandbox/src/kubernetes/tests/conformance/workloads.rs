//! Workloads: rollouts, scaling, autoscalers.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::autoscaling::{v1, v2};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::*;

async fn deployed(client: &kube::Client, namespace: &str, replicas: u32) -> Api<Deployment> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let object: Deployment = serde_saphyr::from_str(&deployment("web", "web:1", replicas)).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
    until("the deployment is rolled out", async || is_rolled_out(&api).await).await;
    api
}

/// What `kubectl rollout status` looks at.
async fn is_rolled_out(api: &Api<Deployment>) -> bool {
    let object = api.get("web").await.unwrap();
    let status = object.status.unwrap_or_default();
    let wanted = object.spec.replicas;
    status.observed_generation == object.metadata.generation
        && [status.updated_replicas, status.replicas, status.available_replicas]
            .iter()
            .all(|count| count.unwrap_or(0) == wanted.unwrap())
}

fn reasons(status: &DeploymentStatus) -> Vec<String> {
    let conditions = serde_json::to_value(&status.conditions).unwrap();
    let word = |one: &serde_json::Value, field: &str| one[field].as_str().unwrap_or_default().to_owned();
    let described =
        |one: &serde_json::Value| format!("{}={} {}", word(one, "type"), word(one, "status"), word(one, "reason"));
    let mut found: Vec<_> = conditions.as_array().into_iter().flatten().map(described).collect();
    found.sort();
    found
}

fn revision(object: &impl kube::ResourceExt) -> String {
    object.annotations()["deployment.kubernetes.io/revision"].clone()
}

pub(super) async fn a_quota_is_counted(client: kube::Client, namespace: &str) {
    deployed(&client, namespace, 1).await;
    let hard = json!({"count/deployments.apps": "5", "configmaps": "9", "services.nodeports": "4"});
    let quotas: Api<ResourceQuota> = Api::namespaced(client, namespace);
    let quota = json!({"metadata": {"name": "quota"}, "spec": {"hard": hard}});
    let quota = serde_json::from_value(quota).unwrap();
    quotas.create(&PostParams::default(), &quota).await.unwrap();
    let used = json!({"count/deployments.apps": "1", "configmaps": "1", "services.nodeports": "0"});
    until("the quota is counted", async || {
        let status = quotas.get("quota").await.unwrap().status.unwrap_or_default();
        json!(status.hard) == hard && json!(status.used) == used
    })
    .await;
}

pub(super) async fn a_rollout_and_the_way_back(client: kube::Client, namespace: &str) {
    let api = deployed(&client, namespace, 2).await;
    until("the rollout is called done", async || {
        let status = api.get("web").await.unwrap().status.unwrap();
        reasons(&status)
            == [
                "Available=True MinimumReplicasAvailable",
                "Progressing=True NewReplicaSetAvailable",
            ]
    })
    .await;
    for (image, expected) in [("web:2", "2"), ("web:1", "3")] {
        let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "backend", "image": image}]}}}});
        api.patch("web", &PatchParams::default(), &Patch::Strategic(patch))
            .await
            .unwrap();
        until("the new image is rolled out", async || is_rolled_out(&api).await).await;
        assert_eq!(revision(&api.get("web").await.unwrap()), expected);
    }
    let sets: Api<ReplicaSet> = Api::namespaced(client, namespace);
    let sets = sets.list(&ListParams::default()).await.unwrap();
    let mut revisions: Vec<_> = sets.items.iter().map(revision).collect();
    revisions.sort();
    // The first set was taken up again as the third.
    assert_eq!(revisions, ["2", "3"]);
    assert!(
        sets.items
            .iter()
            .all(|set| set.metadata.labels.as_ref().unwrap().contains_key("pod-template-hash"))
    );
}

pub(super) async fn scaling_by_the_subresource(client: kube::Client, namespace: &str) {
    let api = deployed(&client, namespace, 2).await;
    let scale = api.get_scale("web").await.unwrap();
    assert_eq!(scale.status.unwrap().selector.as_deref(), Some("app=web"));
    let before = api.get("web").await.unwrap().metadata.generation;
    let dry = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let nothing = Patch::Merge(json!({"spec": {"replicas": 0}}));
    api.patch_scale("web", &dry, &nothing).await.unwrap();
    assert_eq!(api.get("web").await.unwrap().metadata.generation, before);
    let scaled = api.patch_scale("web", &PatchParams::default(), &nothing).await.unwrap();
    // A nought is not written there.
    assert_eq!(scaled.spec.and_then(|spec| spec.replicas).unwrap_or_default(), 0);
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    until("the pods are gone", async || {
        pods.list(&ListParams::default()).await.unwrap().items.is_empty()
    })
    .await;
    until("the deployment knows", async || is_rolled_out(&api).await).await;
    let status = api.get("web").await.unwrap().status.unwrap();
    assert_eq!(
        (status.replicas.unwrap_or(0), status.ready_replicas.unwrap_or(0)),
        (0, 0)
    );
    let mut stale = api.get_scale("web").await.unwrap();
    stale.metadata.resource_version = Some("1".into());
    assert_eq!(
        refusal(api.replace_scale("web", &PostParams::default(), &stale).await),
        (409, "Conflict".into())
    );
}

pub(super) async fn an_autoscaler_in_both_versions(client: kube::Client, namespace: &str) {
    let new: Api<v2::HorizontalPodAutoscaler> = Api::namespaced(client.clone(), namespace);
    let object = serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": {
        "minReplicas": 2, "maxReplicas": 5, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}]}}))
    .unwrap();
    new.create(&PostParams::default(), &object).await.unwrap();
    let old: Api<v1::HorizontalPodAutoscaler> = Api::namespaced(client, namespace);
    assert_eq!(
        old.get("web").await.unwrap().spec.target_cpu_utilization_percentage,
        Some(70)
    );
    old.patch(
        "web",
        &PatchParams::default(),
        &Patch::Merge(json!({"spec": {"minReplicas": 1}})),
    )
    .await
    .unwrap();
    let spec = new.get("web").await.unwrap().spec;
    assert_eq!((spec.min_replicas, spec.metrics.unwrap().len()), (Some(1), 1));
}

pub(super) async fn a_suspended_cron_job_starts_nothing(client: kube::Client, namespace: &str) {
    let crons: Api<CronJob> = Api::namespaced(client.clone(), namespace);
    let jobs: Api<Job> = Api::namespaced(client, namespace);
    for (name, suspend) in [("asleep", true), ("awake", false)] {
        let task = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "task:1"}]}});
        let cron = json!({"metadata": {"name": name}, "spec": {
            "schedule": "@every 2s", "suspend": suspend, "jobTemplate": {"metadata": {"labels": {"of": name}}, "spec": {"template": task}}}});
        let cron = serde_json::from_value(cron).unwrap();
        crons.create(&PostParams::default(), &cron).await.unwrap();
    }
    let started = async |name: &str| {
        jobs.list(&ListParams::default().labels(&format!("of={name}")))
            .await
            .unwrap()
            .items
    };
    until("the one that is awake starts a job", async || {
        !started("awake").await.is_empty()
    })
    .await;
    assert!(started("asleep").await.is_empty());
    let job = started("awake").await.remove(0);
    assert_eq!(job.metadata.owner_references.unwrap()[0].name, "awake");
    let resume = Patch::Merge(json!({"spec": {"suspend": false}}));
    crons.patch("asleep", &PatchParams::default(), &resume).await.unwrap();
    until("the other one starts a job, too", async || {
        !started("asleep").await.is_empty()
    })
    .await;
    until("it says when", async || {
        let status = crons.get("asleep").await.unwrap().status.unwrap_or_default();
        status.last_schedule_time.is_some()
    })
    .await;
}
