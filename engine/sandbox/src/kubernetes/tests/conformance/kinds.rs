//! Every kind that a rebuild of a cluster brings back: applied, held, read, deleted.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{GroupVersionKind, TypeMeta};
use serde_json::{Value, json};

use super::*;

/// An object of each listable kind: API version, resource, whether it is in a namespace, and the object's own part.
fn objects(namespace: &str) -> Vec<(&'static str, &'static str, &'static str, bool, Value)> {
    let pod = json!({"containers": [{"name": "a", "image": "a:1"}]});
    let template = json!({"metadata": {"labels": {"app": "kinds"}}, "spec": pod});
    let task = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a:1"}]}});
    let selector = json!({"matchLabels": {"app": "kinds"}});
    let storage = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    let role = |kind: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "kinds"});
    let subjects = json!([{"kind": "ServiceAccount", "name": "kinds", "namespace": namespace}]);
    let webhooks = json!([{"name": "hook.jm.test", "clientConfig": {"url": "https://127.0.0.1:1/"}, "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "failurePolicy": "Fail", "rules": [
        {"apiGroups": ["none.jm.test"], "apiVersions": ["v1"], "resources": ["things"], "operations": ["CREATE"]}]}]);
    let matched = json!({"resourceRules": [{"apiGroups": ["none.jm.test"], "apiVersions": ["v1"], "resources": ["things"],
        "operations": ["CREATE"]}]});
    vec![
        ("v1", "ConfigMap", "configmaps", true, json!({"data": {"a": "1"}})),
        ("v1", "Endpoints", "endpoints", true, json!({})),
        (
            "v1",
            "Event",
            "events",
            true,
            json!({"involvedObject": {"kind": "Pod", "name": "a", "namespace": namespace}, "reason": "A"}),
        ),
        (
            "v1",
            "LimitRange",
            "limitranges",
            true,
            json!({"spec": {"limits": [{"type": "PersistentVolumeClaim", "max": {"storage": "100Gi"}}]}}),
        ),
        ("v1", "Namespace", "namespaces", false, json!({})),
        ("v1", "Node", "nodes", false, json!({"spec": {"unschedulable": true}})),
        (
            "v1",
            "PersistentVolumeClaim",
            "persistentvolumeclaims",
            true,
            json!({"spec": storage}),
        ),
        (
            "v1",
            "PersistentVolume",
            "persistentvolumes",
            false,
            json!({"spec": {"accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/kinds"}, "persistentVolumeReclaimPolicy": "Retain"}}),
        ),
        ("v1", "PodTemplate", "podtemplates", true, json!({"template": template})),
        (
            "v1",
            "ReplicationController",
            "replicationcontrollers",
            true,
            json!({"spec": {"replicas": 0, "selector": {"app": "kinds"}, "template": template}}),
        ),
        (
            "v1",
            "ResourceQuota",
            "resourcequotas",
            true,
            json!({"spec": {"hard": {"services.nodeports": "5"}}}),
        ),
        ("v1", "Secret", "secrets", true, json!({"data": {"a": "MQ=="}})),
        ("v1", "ServiceAccount", "serviceaccounts", true, json!({})),
        (
            "v1",
            "Service",
            "services",
            true,
            json!({"spec": {"ports": [{"port": 80}], "selector": {"app": "kinds"}}}),
        ),
        (
            "apps/v1",
            "ControllerRevision",
            "controllerrevisions",
            true,
            json!({"revision": 1, "data": {"a": 1}}),
        ),
        (
            "apps/v1",
            "DaemonSet",
            "daemonsets",
            true,
            json!({"spec": {"selector": selector, "template": template}}),
        ),
        (
            "apps/v1",
            "Deployment",
            "deployments",
            true,
            json!({"spec": {"replicas": 0, "selector": selector, "template": template}}),
        ),
        (
            "apps/v1",
            "ReplicaSet",
            "replicasets",
            true,
            json!({"spec": {"replicas": 0, "selector": selector, "template": template}}),
        ),
        (
            "apps/v1",
            "StatefulSet",
            "statefulsets",
            true,
            json!({"spec": {"replicas": 0, "serviceName": "kinds", "selector": selector, "template": template,
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": storage}]}}),
        ),
        (
            "batch/v1",
            "CronJob",
            "cronjobs",
            true,
            json!({"spec": {"schedule": "0 2 1 1 *", "suspend": true, "jobTemplate": {"spec": {"template": task}}}}),
        ),
        (
            "batch/v1",
            "Job",
            "jobs",
            true,
            json!({"spec": {"suspend": true, "template": task}}),
        ),
        (
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            "horizontalpodautoscalers",
            true,
            json!({"spec": {"minReplicas": 1, "maxReplicas": 2,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "kinds"}}}),
        ),
        (
            "networking.k8s.io/v1",
            "IngressClass",
            "ingressclasses",
            false,
            json!({"spec": {"controller": "jm.test/none"}}),
        ),
        (
            "networking.k8s.io/v1",
            "Ingress",
            "ingresses",
            true,
            json!({"spec": {"defaultBackend": {"service": {"name": "kinds", "port": {"number": 80}}}}}),
        ),
        (
            "networking.k8s.io/v1",
            "NetworkPolicy",
            "networkpolicies",
            true,
            json!({"spec": {"podSelector": selector, "policyTypes": ["Ingress"]}}),
        ),
        (
            "networking.k8s.io/v1",
            "IPAddress",
            "ipaddresses",
            false,
            json!({"spec": {"parentRef": {"resource": "services", "namespace": namespace, "name": "kinds"}}}),
        ),
        (
            "networking.k8s.io/v1",
            "ServiceCIDR",
            "servicecidrs",
            false,
            json!({"spec": {"cidrs": ["10.77.0.0/24"]}}),
        ),
        (
            "policy/v1",
            "PodDisruptionBudget",
            "poddisruptionbudgets",
            true,
            json!({"spec": {"minAvailable": 1, "selector": selector}}),
        ),
        (
            "rbac.authorization.k8s.io/v1",
            "Role",
            "roles",
            true,
            json!({"rules": rules}),
        ),
        (
            "rbac.authorization.k8s.io/v1",
            "ClusterRole",
            "clusterroles",
            false,
            json!({"rules": rules}),
        ),
        (
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            "rolebindings",
            true,
            json!({"roleRef": role("Role"), "subjects": subjects}),
        ),
        (
            "rbac.authorization.k8s.io/v1",
            "ClusterRoleBinding",
            "clusterrolebindings",
            false,
            json!({"roleRef": role("ClusterRole"), "subjects": subjects}),
        ),
        (
            "storage.k8s.io/v1",
            "StorageClass",
            "storageclasses",
            false,
            json!({"provisioner": "jm.test/none"}),
        ),
        (
            "storage.k8s.io/v1",
            "CSIDriver",
            "csidrivers",
            false,
            json!({"spec": {"attachRequired": false}}),
        ),
        (
            "storage.k8s.io/v1",
            "CSINode",
            "csinodes",
            false,
            json!({"spec": {"drivers": []}}),
        ),
        (
            "storage.k8s.io/v1",
            "CSIStorageCapacity",
            "csistoragecapacities",
            true,
            json!({"storageClassName": "kinds", "capacity": "1Gi"}),
        ),
        (
            "storage.k8s.io/v1",
            "VolumeAttachment",
            "volumeattachments",
            false,
            json!({"spec": {"attacher": "none.jm.test", "nodeName": "kinds",
            "source": {"persistentVolumeName": "kinds"}}}),
        ),
        (
            "admissionregistration.k8s.io/v1",
            "ValidatingWebhookConfiguration",
            "validatingwebhookconfigurations",
            false,
            json!({"webhooks": webhooks}),
        ),
        (
            "admissionregistration.k8s.io/v1",
            "MutatingWebhookConfiguration",
            "mutatingwebhookconfigurations",
            false,
            json!({"webhooks": webhooks}),
        ),
        (
            "admissionregistration.k8s.io/v1",
            "ValidatingAdmissionPolicy",
            "validatingadmissionpolicies",
            false,
            json!({"spec": {"matchConstraints": matched,
            "validations": [{"expression": "true"}]}}),
        ),
        (
            "admissionregistration.k8s.io/v1",
            "ValidatingAdmissionPolicyBinding",
            "validatingadmissionpolicybindings",
            false,
            json!({"spec": {"policyName": "kinds",
            "validationActions": ["Deny"]}}),
        ),
        (
            "scheduling.k8s.io/v1",
            "PriorityClass",
            "priorityclasses",
            false,
            json!({"value": 7}),
        ),
        (
            "coordination.k8s.io/v1",
            "Lease",
            "leases",
            true,
            json!({"spec": {"holderIdentity": "kinds"}}),
        ),
        (
            "discovery.k8s.io/v1",
            "EndpointSlice",
            "endpointslices",
            true,
            json!({"addressType": "IPv4"}),
        ),
        ("v1", "Pod", "pods", true, json!({"spec": pod})),
    ]
}

pub(super) async fn every_kind_is_applied_read_and_deleted(client: kube::Client, namespace: &str) {
    for (version, kind, plural, namespaced, own) in objects(namespace) {
        let (group, number) = version.rsplit_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, number, kind), plural);
        let api: Api<DynamicObject> = if namespaced {
            Api::namespaced_with(client.clone(), namespace, &resource)
        } else {
            Api::all_with(client.clone(), &resource)
        };
        let name = if kind == "IPAddress" { "10.78.0.9" } else { "kinds" };
        let mut object: DynamicObject = serde_json::from_value(
            json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": {"jm.test/mark": "one"}}}),
        )
        .unwrap();
        object.data = own;
        one_kind(&api, name, &object).await;
    }
}

async fn one_kind(api: &Api<DynamicObject>, name: &str, object: &DynamicObject) {
    let kind = &object.types.as_ref().unwrap().kind;
    let one = PatchParams::apply("one");
    let dry = PatchParams {
        dry_run: true,
        ..one.clone()
    };
    let said = |what: &str| format!("{kind}: {what}");
    api.patch(name, &dry, &Patch::Apply(object))
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", said("dry run")));
    assert!(api.get_opt(name).await.unwrap().is_none(), "{kind}: a dry run made it");
    let made = api
        .patch(name, &one, &Patch::Apply(object))
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", said("applied")));
    let again = api
        .patch(name, &one, &Patch::Apply(object))
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", said("applied again")));
    let held = |object: &DynamicObject| {
        let entries = object.metadata.managed_fields.clone().unwrap();
        let mut mine = entries
            .into_iter()
            .filter(|entry| entry.manager.as_deref() == Some("one"));
        let mine = mine.next().unwrap_or_else(|| panic!("{}", said("nobody holds it")));
        (mine.operation, mine.fields_v1, mine.time)
    };
    assert_eq!(held(&made), held(&again), "{kind}: applied twice");
    assert_eq!(made.metadata.uid, again.metadata.uid);

    let mut other = DynamicObject {
        types: object.types.clone(),
        metadata: object.metadata.clone(),
        data: json!({}),
    };
    other.metadata.labels = Some([("jm.test/mark".to_owned(), "two".to_owned())].into());
    let taken = refused(
        api.patch(
            name,
            &PatchParams::apply("two"),
            &Patch::Apply(&changed(&other, object)),
        )
        .await,
    );
    assert_eq!(
        (taken.code, taken.reason.as_str()),
        (409, "Conflict"),
        "{kind}: {}",
        taken.message
    );
    let cause = &taken.details.unwrap().causes[0];
    assert_eq!(cause.field, ".metadata.labels.jm.test/mark", "{kind}");
    assert!(
        cause.message.contains("conflict with \"one\""),
        "{kind}: {}",
        cause.message
    );

    let listed = api
        .list(&ListParams::default().labels("jm.test/mark=one"))
        .await
        .unwrap();
    assert_eq!(listed.items.len(), 1, "{kind}: listed");
    let nothing = DeleteParams {
        dry_run: true,
        ..DeleteParams::default()
    };
    api.delete(name, &nothing)
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", said("dry deletion")));
    assert!(
        api.get(name).await.unwrap().metadata.deletion_timestamp.is_none(),
        "{kind}"
    );
    api.delete(name, &DeleteParams::default())
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", said("deleted")));
}

/// The object as another manager wants it: another label, and everything else as it is, for what may not be left out.
fn changed(other: &DynamicObject, object: &DynamicObject) -> DynamicObject {
    DynamicObject {
        data: object.data.clone(),
        ..other.clone()
    }
}

pub(super) async fn webhooks_are_told_apart_by_name(client: kube::Client, namespace: &str) {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client);
    let configuration = |webhook: &str, timeout: u32| {
        let types = TypeMeta::resource::<ValidatingWebhookConfiguration>();
        json!({"apiVersion": types.api_version, "kind": types.kind, "metadata": {"name": namespace}, "webhooks": [{
            "name": webhook, "clientConfig": {"service": {"name": "hook", "namespace": namespace}}, "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "timeoutSeconds": timeout}]})
    };
    for (manager, webhook) in [("one", "a.jm.test"), ("two", "b.jm.test")] {
        let wanted = configuration(webhook, 5);
        api.patch(namespace, &PatchParams::apply(manager), &Patch::Apply(&wanted))
            .await
            .unwrap();
    }
    let webhooks = api.get(namespace).await.unwrap().webhooks.unwrap();
    assert_eq!(webhooks.len(), 2);
    assert_eq!(webhooks[0].failure_policy.as_deref(), Some("Fail"));
    assert_eq!(webhooks[0].client_config.service.as_ref().unwrap().port, Some(443));
    let taken = configuration("a.jm.test", 6);
    let status = refused(
        api.patch(namespace, &PatchParams::apply("two"), &Patch::Apply(&taken))
            .await,
    );
    assert_eq!(
        status.details.unwrap().causes[0].field,
        ".webhooks[name=\"a.jm.test\"].timeoutSeconds"
    );
    api.delete(namespace, &DeleteParams::default()).await.unwrap();
}

pub(super) async fn tokens_come_and_go_with_their_account(client: kube::Client, namespace: &str) {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let secrets: Api<Secret> = Api::namespaced(client, namespace);
    let account = serde_json::from_value(json!({"metadata": {"name": "robot"}})).unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let annotations = json!({"kubernetes.io/service-account.name": "robot"});
    let secret = json!({"metadata": {"name": "robot", "annotations": annotations}, "type": "kubernetes.io/service-account-token"});
    let secret = serde_json::from_value(secret).unwrap();
    secrets.create(&PostParams::default(), &secret).await.unwrap();
    until("the token is there", async || {
        let data = secrets.get("robot").await.unwrap().data.unwrap_or_default();
        ["ca.crt", "namespace", "token"]
            .iter()
            .all(|key| data.contains_key(*key))
    })
    .await;
    accounts.delete("robot", &DeleteParams::default()).await.unwrap();
    until("the token went with its account", async || {
        secrets.get_opt("robot").await.unwrap().is_none()
    })
    .await;
}
