//! The values that an object has where its author said nothing.

use serde_json::{Value, json};

use super::definitions;
use super::kinds::Kind;
use super::object::{self, set_default};

/// Fills in what the built-in types default.
pub(super) fn fill(kind: &Kind, object: &mut Value) {
    match kind.stored_as {
        "pods" => pod(object),
        "deployments" => deployment(object),
        "replicasets" => {
            set_default(object, &["spec", "replicas"], json!(1));
            noughts(object, &["replicas"]);
            template(object, "Always");
        }
        "statefulsets" => stateful_set(object),
        "daemonsets" => daemon_set(object),
        "jobs" => job(object),
        "cronjobs" => cron_job(object),
        "services" => service(object),
        "secrets" => secret(object),
        "namespaces" => namespace(object),
        "nodes" => set_default(object, &["spec"], json!({})),
        "horizontalpodautoscalers" => autoscaler(object),
        "persistentvolumeclaims" => {
            set_default(object, &["spec", "volumeMode"], json!("Filesystem"));
            set_default(object, &["status", "phase"], json!("Pending"));
        }
        "ingresses" => set_default(object, &["status", "loadBalancer"], json!({})),
        "poddisruptionbudgets" => {
            noughts(
                object,
                &["currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"],
            );
        }
        "storageclasses" => {
            set_default(object, &["reclaimPolicy"], json!("Delete"));
            set_default(object, &["volumeBindingMode"], json!("Immediate"));
        }
        "mutatingwebhookconfigurations" | "validatingwebhookconfigurations" => webhooks(object),
        definitions::RESOURCE => definitions::fill(object),
        "networkpolicies" => set_default(object, &["spec", "policyTypes"], json!(["Ingress"])),
        _ => {}
    }
}

/// Counts that the real types write at nought, too.
fn noughts(object: &mut Value, counts: &[&str]) {
    for count in counts {
        set_default(object, &["status", count], json!(0));
    }
}

fn autoscaler(object: &mut Value) {
    set_default(object, &["spec", "minReplicas"], json!(1));
    let target = json!({"type": "Utilization", "averageUtilization": 80});
    let usual = json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
    set_default(object, &["spec", "metrics"], usual);
    noughts(object, &["desiredReplicas"]);
}

fn webhooks(object: &mut Value) {
    let mutating = object["kind"] == "MutatingWebhookConfiguration";
    for webhook in object
        .get_mut("webhooks")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        for (field, value) in [
            ("failurePolicy", json!("Fail")),
            ("matchPolicy", json!("Equivalent")),
            ("namespaceSelector", json!({})),
            ("objectSelector", json!({})),
            ("timeoutSeconds", json!(10)),
        ] {
            set_default(webhook, &[field], value);
        }
        if mutating {
            set_default(webhook, &["reinvocationPolicy"], json!("Never"));
        }
        if webhook.pointer("/clientConfig/service").is_some() {
            set_default(webhook, &["clientConfig", "service", "port"], json!(443));
        }
        for rule in webhook
            .get_mut("rules")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            set_default(rule, &["scope"], json!("*"));
        }
    }
}

fn deployment(object: &mut Value) {
    set_default(object, &["spec", "replicas"], json!(1));
    set_default(object, &["spec", "revisionHistoryLimit"], json!(10));
    set_default(object, &["spec", "progressDeadlineSeconds"], json!(600));
    set_default(object, &["spec", "strategy", "type"], json!("RollingUpdate"));
    if object::text(object, "/spec/strategy/type") == "RollingUpdate" {
        set_default(object, &["spec", "strategy", "rollingUpdate", "maxSurge"], json!("25%"));
        set_default(
            object,
            &["spec", "strategy", "rollingUpdate", "maxUnavailable"],
            json!("25%"),
        );
    }
    template(object, "Always");
}

fn stateful_set(object: &mut Value) {
    set_default(object, &["spec", "replicas"], json!(1));
    set_default(object, &["spec", "revisionHistoryLimit"], json!(10));
    noughts(object, &["replicas", "availableReplicas"]);
    set_default(object, &["spec", "podManagementPolicy"], json!("OrderedReady"));
    set_default(object, &["spec", "updateStrategy", "type"], json!("RollingUpdate"));
    if object::text(object, "/spec/updateStrategy/type") == "RollingUpdate" {
        set_default(
            object,
            &["spec", "updateStrategy", "rollingUpdate", "partition"],
            json!(0),
        );
    }
    set_default(
        object,
        &["spec", "persistentVolumeClaimRetentionPolicy"],
        json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
    );
    template(object, "Always");
}

fn daemon_set(object: &mut Value) {
    noughts(
        object,
        &[
            "currentNumberScheduled",
            "desiredNumberScheduled",
            "numberMisscheduled",
            "numberReady",
        ],
    );
    set_default(object, &["spec", "revisionHistoryLimit"], json!(10));
    set_default(object, &["spec", "updateStrategy", "type"], json!("RollingUpdate"));
    template(object, "Always");
}

fn job(object: &mut Value) {
    for (field, value) in [
        ("parallelism", json!(1)),
        ("backoffLimit", json!(6)),
        ("completionMode", json!("NonIndexed")),
        ("suspend", json!(false)),
        ("manualSelector", json!(false)),
        ("podReplacementPolicy", json!("TerminatingOrFailed")),
    ] {
        set_default(object, &["spec", field], value);
    }
    if object.pointer("/spec/completions").is_none() && object::number(object, "/spec/parallelism") == 1 {
        set_default(object, &["spec", "completions"], json!(1));
    }
    if object.pointer("/spec/manualSelector") != Some(&json!(true)) && !object::uid(object).is_empty() {
        let labels = json!({
            "batch.kubernetes.io/controller-uid": object::uid(object), "batch.kubernetes.io/job-name": object::name(object),
            "controller-uid": object::uid(object), "job-name": object::name(object),
        });
        let selector = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": object::uid(object)}});
        set_default(object, &["spec", "selector"], selector);
        for (label, value) in labels.as_object().into_iter().flatten() {
            set_default(
                object,
                &["spec", "template", "metadata", "labels", label],
                value.clone(),
            );
        }
        let labels = object["spec"]["template"]["metadata"]["labels"].clone();
        set_default(object, &["metadata", "labels"], labels);
    }
    template(object, "Never");
}

fn cron_job(object: &mut Value) {
    for (field, value) in [
        ("concurrencyPolicy", json!("Allow")),
        ("suspend", json!(false)),
        ("successfulJobsHistoryLimit", json!(3)),
        ("failedJobsHistoryLimit", json!(1)),
    ] {
        set_default(object, &["spec", field], value);
    }
    set_default(object, &["spec", "jobTemplate", "metadata"], json!({}));
    set_default(
        object,
        &["spec", "jobTemplate", "spec", "template", "metadata"],
        json!({}),
    );
    if let Some(pod) = object.pointer_mut("/spec/jobTemplate/spec/template/spec") {
        pod_spec(pod, "Never");
    }
}

fn template(object: &mut Value, restart: &str) {
    if object.pointer("/spec/template").is_some() {
        set_default(object, &["spec", "template", "metadata"], json!({}));
    }
    if let Some(pod) = object.pointer_mut("/spec/template/spec") {
        pod_spec(pod, restart);
    }
}

fn pod(object: &mut Value) {
    if let Some(spec) = object.get_mut("spec") {
        pod_spec(spec, "Always");
        for (field, value) in [
            ("enableServiceLinks", json!(true)),
            ("serviceAccountName", json!("default")),
            ("serviceAccount", json!("default")),
            ("preemptionPolicy", json!("PreemptLowerPriority")),
            ("priority", json!(0)),
        ] {
            set_default(spec, &[field], value);
        }
        if object::items(spec, "/tolerations").is_empty() {
            let stay =
                |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
            let tolerations = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"].map(stay);
            object::set(spec, &["tolerations"], json!(tolerations));
        }
    }
    set_default(object, &["status", "phase"], json!("Pending"));
    set_default(object, &["status", "qosClass"], json!(quality(object)));
}

/// The quality-of-service class: by requests and limits of all containers.
fn quality(pod: &Value) -> &'static str {
    let containers = object::items(pod, "/spec/containers");
    let both = |container: &Value, field: &str| {
        ["cpu", "memory"]
            .iter()
            .all(|what| container["resources"][field].get(*what).is_some())
    };
    let exact = |container: &Value| {
        both(container, "limits")
            && container["resources"]
                .get("requests")
                .is_none_or(|requests| *requests == container["resources"]["limits"])
    };
    if containers.iter().all(exact) {
        "Guaranteed"
    } else if containers.iter().any(|container| {
        container["resources"]
            .as_object()
            .is_some_and(|given| !given.is_empty())
    }) {
        "Burstable"
    } else {
        "BestEffort"
    }
}

fn pod_spec(spec: &mut Value, restart: &str) {
    for (field, value) in [
        ("restartPolicy", json!(restart)),
        ("terminationGracePeriodSeconds", json!(30)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("securityContext", json!({})),
        ("schedulerName", json!("default-scheduler")),
    ] {
        set_default(spec, &[field], value);
    }
    if let Some(account) = spec.get("serviceAccountName").cloned() {
        set_default(spec, &["serviceAccount"], account);
    }
    for list in ["containers", "initContainers"] {
        for each in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            container(each);
        }
    }
    for volume in spec
        .get_mut("volumes")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        for source in ["configMap", "secret", "projected", "downwardAPI"] {
            if volume.get(source).is_some() {
                set_default(volume, &[source, "defaultMode"], json!(420));
            }
        }
    }
}

fn container(container: &mut Value) {
    let image = object::text(container, "/image");
    let tag = image
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .split_once(':')
        .map(|(_, tag)| tag);
    let newest = !image.contains('@') && tag.is_none_or(|tag| tag == "latest");
    let policy = if newest { "Always" } else { "IfNotPresent" };
    set_default(container, &["imagePullPolicy"], json!(policy));
    set_default(container, &["terminationMessagePath"], json!("/dev/termination-log"));
    set_default(container, &["terminationMessagePolicy"], json!("File"));
    set_default(container, &["resources"], json!({}));
    for port in container
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        set_default(port, &["protocol"], json!("TCP"));
    }
    for probe in ["readinessProbe", "livenessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe) {
            probe_defaults(probe);
        }
    }
    for variable in container
        .get_mut("env")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if variable.pointer("/valueFrom/fieldRef").is_some() {
            set_default(variable, &["valueFrom", "fieldRef", "apiVersion"], json!("v1"));
        }
    }
}

fn probe_defaults(probe: &mut Value) {
    for (field, value) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        set_default(probe, &[field], json!(value));
    }
    if probe.get("httpGet").is_some() {
        set_default(probe, &["httpGet", "scheme"], json!("HTTP"));
    }
}

fn service(object: &mut Value) {
    set_default(object, &["spec", "type"], json!("ClusterIP"));
    set_default(object, &["spec", "sessionAffinity"], json!("None"));
    if object::text(object, "/spec/type") != "ExternalName" {
        cluster_address(object);
    }
    let node_ports = ["NodePort", "LoadBalancer"].contains(&object::text(object, "/spec/type"));
    for port in object
        .pointer_mut("/spec/ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        set_default(port, &["protocol"], json!("TCP"));
        let number = port["port"].clone();
        set_default(port, &["targetPort"], number);
        if node_ports {
            set_default(port, &["nodePort"], json!(rand::random_range(30_000..32_768)));
        }
    }
    set_default(object, &["status", "loadBalancer"], json!({}));
}

fn cluster_address(object: &mut Value) {
    let address = format!("10.96.{}.{}", rand::random::<u8>(), rand::random_range(1..255));
    set_default(object, &["spec", "clusterIP"], json!(address));
    let address = object["spec"]["clusterIP"].clone();
    set_default(object, &["spec", "clusterIPs"], json!([address]));
    set_default(object, &["spec", "ipFamilies"], json!(["IPv4"]));
    set_default(object, &["spec", "ipFamilyPolicy"], json!("SingleStack"));
    set_default(object, &["spec", "internalTrafficPolicy"], json!("Cluster"));
}

fn secret(object: &mut Value) {
    use base64::Engine;
    set_default(object, &["type"], json!("Opaque"));
    if let Some(Value::Object(plain)) = object::remove(object, &["stringData"]) {
        for (key, value) in plain {
            let encoded = base64::engine::general_purpose::STANDARD.encode(value.as_str().unwrap_or_default());
            object::set(object, &["data", &key], json!(encoded));
        }
    }
}

fn namespace(object: &mut Value) {
    let name = json!(object::name(object));
    object::set(object, &["metadata", "labels", "kubernetes.io/metadata.name"], name);
    set_default(object, &["spec", "finalizers"], json!(["kubernetes"]));
    set_default(object, &["status", "phase"], json!("Active"));
}

#[cfg(test)]
mod tests {
    use super::super::kinds::stored;
    use super::*;

    #[test]
    fn a_second_filling_changes_nothing() {
        for (resource, mut object) in [
            (
                "deployments",
                json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "a:1"}]}}}}),
            ),
            (
                "services",
                json!({"spec": {"ports": [{"port": 80}], "type": "NodePort"}}),
            ),
            ("secrets", json!({"stringData": {"a": "b"}})),
            (
                "jobs",
                json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {"spec": {"containers": []}}}}),
            ),
        ] {
            fill(stored(resource), &mut object);
            let once = object.clone();
            fill(stored(resource), &mut object);
            assert_eq!(object, once, "{resource}");
        }
    }

    #[test]
    fn images_without_a_fixed_tag_are_always_pulled() {
        for (image, policy) in [
            ("web", "Always"),
            ("host:5000/web", "Always"),
            ("web:latest", "Always"),
            ("web:1", "IfNotPresent"),
            ("web@sha256:00", "IfNotPresent"),
        ] {
            let mut one = json!({"name": "a", "image": image});
            container(&mut one);
            assert_eq!(one["imagePullPolicy"], policy, "{image}");
        }
    }

    #[test]
    fn quality_follows_requests_and_limits() {
        let pod = |resources: Value| json!({"spec": {"containers": [{"resources": resources}]}});
        assert_eq!(quality(&pod(json!({}))), "BestEffort");
        assert_eq!(quality(&pod(json!({"requests": {"cpu": "1"}}))), "Burstable");
        assert_eq!(
            quality(&pod(json!({"limits": {"cpu": "1", "memory": "1Gi"}}))),
            "Guaranteed"
        );
    }

    #[test]
    fn plain_text_of_secrets_is_encoded() {
        let mut object = json!({"stringData": {"key": "value"}});
        fill(stored("secrets"), &mut object);
        assert_eq!(object, json!({"type": "Opaque", "data": {"key": "dmFsdWU="}}));
    }
}
