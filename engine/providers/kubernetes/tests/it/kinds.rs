//! Objects of all kinds, generated: what differs between two of one kind is drawn from a seed.

use serde_json::{Value, json};

/// Draws the parts of objects. The same seed draws the same.
pub(crate) struct Draw {
    state: u64,
    namespace: String,
}

impl Draw {
    pub(crate) fn new(seed: u64, namespace: &str) -> Self {
        Self {
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            namespace: namespace.to_owned(),
        }
    }

    /// A number below a limit (xorshift).
    fn below(&mut self, limit: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % limit
    }

    fn flip(&mut self) -> bool {
        self.below(2) == 0
    }

    fn text(&mut self) -> String {
        let all = [
            "plain",
            "with space",
            "zwölf",
            "line\nline",
            "\u{7f}\u{2028}",
            "{\"a\":1}",
            "yes",
            "0644",
            "",
        ];
        let index = self.below(all.len() as u64);
        all[usize::try_from(index).expect("small")].to_owned()
    }

    fn metadata(&mut self, name: &str, namespaced: bool) -> Value {
        let mut metadata = json!({ "name": name });
        if namespaced {
            metadata["namespace"] = self.namespace.clone().into();
        }
        if self.flip() {
            metadata["labels"] = json!({ "team": format!("t{}", self.below(9)) });
        }
        if self.flip() {
            metadata["annotations"] = json!({ "example.com/note": self.text() });
        }
        if self.below(4) == 0 {
            metadata["finalizers"] = json!(["example.com/hold"]);
        }
        metadata
    }

    fn pod_spec(&mut self, restart: Option<&str>) -> Value {
        let mut spec = json!({
            "containers": [{
                "name": "main", "image": format!("registry.example/web:{}", self.below(9)),
                "env": [{ "name": "A", "value": self.text() }],
                "ports": [{ "containerPort": 8000 + self.below(100), "name": "http" }],
                "resources": { "requests": { "cpu": "10m", "memory": "16Mi" } },
            }],
            "serviceAccountName": "web",
        });
        if self.flip() {
            // The server takes it, and server-side apply does not.
            spec["containers"][0]["env"] = json!([{ "name": "A", "value": "1" }, { "name": "A", "value": "2" }]);
        }
        if self.flip() {
            spec["initContainers"] = json!([{ "name": "init", "image": "registry.example/init:1" }]);
        }
        if self.flip() {
            spec["volumes"] = json!([{ "name": "config", "configMap": { "name": "config-0", "defaultMode": 0o444 } }]);
            spec["containers"][0]["volumeMounts"] = json!([{ "name": "config", "mountPath": "/config" }]);
        }
        if let Some(restart) = restart {
            spec["restartPolicy"] = restart.into();
        }
        spec
    }

    fn template(&mut self, app: &str, restart: Option<&str>) -> Value {
        json!({ "metadata": { "labels": { "app": app } }, "spec": self.pod_spec(restart) })
    }

    fn object(&mut self, version: &str, kind: &str, name: &str, namespaced: bool, rest: Value) -> Value {
        let mut object = json!({ "apiVersion": version, "kind": kind, "metadata": self.metadata(name, namespaced) });
        for (field, value) in rest.as_object().cloned().unwrap_or_default() {
            object[field.as_str()] = value;
        }
        object
    }

    fn workload(&mut self, version: &str, kind: &str, name: &str, mut spec: Value) -> Value {
        spec["selector"] = match kind {
            "ReplicationController" => json!({ "app": name }),
            _ => json!({ "matchLabels": { "app": name } }),
        };
        spec["template"] = self.template(name, None);
        self.object(version, kind, name, true, json!({ "spec": spec }))
    }

    /// Objects in the namespace: of every kind that can be listed, and kept, of the groups of Kubernetes itself.
    pub(crate) fn namespaced(&mut self) -> Vec<Value> {
        let mut all = vec![
            self.object(
                "v1",
                "ServiceAccount",
                "web",
                true,
                json!({ "automountServiceAccountToken": false }),
            ),
            self.object(
                "v1",
                "LimitRange",
                "limits",
                true,
                json!({ "spec": { "limits": [{ "type": "Container", "max": { "cpu": "2" } }] } }),
            ),
            self.object(
                "v1",
                "ResourceQuota",
                "quota",
                true,
                json!({ "spec": { "hard": { "pods": "50" } } }),
            ),
        ];
        for index in 0..=self.below(3) {
            let data = json!({ "key": self.text(), "other.conf": self.text() });
            let mut config = self.object(
                "v1",
                "ConfigMap",
                &format!("config-{index}"),
                true,
                json!({ "data": data }),
            );
            if self.flip() {
                config["binaryData"] = json!({ "bytes": "AP8=" });
            }
            if self.flip() {
                config["immutable"] = true.into();
            }
            all.push(config);
            let secret = json!({ "type": "Opaque", "data": { "password": "dmVyeS1zZWNyZXQtdmFsdWU=" } });
            all.push(self.object("v1", "Secret", &format!("secret-{index}"), true, secret));
        }
        all.extend(self.network());
        all.extend(self.workloads());
        all.extend(self.access());
        all
    }

    fn network(&mut self) -> Vec<Value> {
        let kind = if self.flip() { "ClusterIP" } else { "NodePort" };
        let ports = json!([{ "name": "http", "port": 80, "targetPort": "http" }, { "name": "udp", "port": 80, "protocol": "UDP" }]);
        let backend = json!({ "service": { "name": "web", "port": { "number": 80 } } });
        let rules = json!([{ "host": "x.example", "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] } }]);
        let edge = self.cluster_name("edge");
        vec![
            self.object("v1", "Service", "web", true, json!({ "spec": { "type": kind, "selector": { "app": "web" }, "ports": ports } })),
            self.object("v1", "Service", "headless", true, json!({ "spec": { "clusterIP": "None", "selector": { "app": "set" }, "ports": [{ "port": 80 }] } })),
            self.object("v1", "Service", "outside", true, json!({ "spec": { "ports": [{ "port": 5432 }] } })),
            self.object("v1", "Endpoints", "outside", true, json!({ "subsets": [{ "addresses": [{ "ip": "192.0.2.1" }], "ports": [{ "port": 5432 }] }] })),
            self.object("discovery.k8s.io/v1", "EndpointSlice", "by-hand", true, json!({ "addressType": "IPv4", "endpoints": [{ "addresses": ["192.0.2.7"] }], "ports": [{ "port": 9, "name": "x", "protocol": "TCP" }] })),
            self.object("networking.k8s.io/v1", "Ingress", "web", true, json!({ "spec": { "ingressClassName": edge, "rules": rules } })),
            self.object("networking.k8s.io/v1", "NetworkPolicy", "deny", true, json!({ "spec": { "podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{ "from": [{ "podSelector": {} }] }] } })),
        ]
    }

    fn workloads(&mut self) -> Vec<Value> {
        let claim = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } }, "storageClassName": self.cluster_name("slow") });
        let replicas = self.below(3);
        let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" });
        let job = json!({ "backoffLimit": 1, "suspend": true, "template": self.template("job", Some("Never")) });
        let cron = json!({ "schedule": "0 3 * * *", "suspend": self.flip(), "jobTemplate": { "spec": { "template": self.template("cron", Some("Never")) } } });
        let mut deployment = self.workload("apps/v1", "Deployment", "web", json!({ "replicas": replicas }));
        deployment["spec"]["template"]["spec"]["priorityClassName"] = self.cluster_name("important").into();
        let (bare, old, revision) = (self.below(2), self.below(2), self.below(9));
        let (shape, alone) = (self.template("shape", None), self.pod_spec(Some("Never")));
        let scaling = json!({ "scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 2 + self.below(9),
            "metrics": [{ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 50 } } }] });
        let (kept, found, slow) = (self.by_hand("kept"), self.by_hand("found"), self.cluster_name("slow"));
        vec![
            self.object("v1", "PersistentVolumeClaim", "data", true, json!({ "spec": claim })),
            self.object("v1", "PersistentVolumeClaim", "kept", true, kept),
            self.object("v1", "PersistentVolumeClaim", "found", true, found),
            deployment,
            self.workload("apps/v1", "StatefulSet", "set", json!({ "replicas": 1, "serviceName": "headless", "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": claim }] })),
            self.workload("apps/v1", "DaemonSet", "each", json!({})),
            self.workload("apps/v1", "ReplicaSet", "bare", json!({ "replicas": bare })),
            self.workload("v1", "ReplicationController", "old", json!({ "replicas": old })),
            self.object("apps/v1", "ControllerRevision", "mine", true, json!({ "revision": revision, "data": { "a": 1 } })),
            self.object("v1", "PodTemplate", "shape", true, json!({ "template": shape })),
            self.object("v1", "Pod", "alone", true, json!({ "spec": alone })),
            self.object("batch/v1", "Job", "once", true, json!({ "spec": job })),
            self.object("batch/v1", "CronJob", "nightly", true, json!({ "spec": cron })),
            self.object("autoscaling/v2", "HorizontalPodAutoscaler", "web", true, json!({ "spec": scaling })),
            self.object("policy/v1", "PodDisruptionBudget", "web", true, json!({ "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "web" } } } })),
            self.object("storage.k8s.io/v1", "CSIStorageCapacity", "room", true, json!({ "storageClassName": slow, "capacity": "10Gi" })),
        ]
    }

    /// A claim of a volume that somebody made by hand: `kept` names its volume, which names it, and `found` takes what fits.
    fn by_hand(&self, name: &str) -> Value {
        let mut claim = json!({ "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } },
            "storageClassName": self.cluster_name(name) } });
        if name == "kept" {
            claim["spec"]["volumeName"] = self.cluster_name(name).into();
        }
        claim
    }

    /// The volumes of those claims. No class makes volumes of their classes.
    fn volumes(&mut self) -> Vec<Value> {
        let claim =
            json!({ "kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": self.namespace, "name": "kept" });
        let mut volume = |name: &str, claim: Value| {
            let name = self.cluster_name(name);
            let mut spec = json!({ "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "2Gi" }, "storageClassName": name,
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": { "path": "/srv/data" } });
            if !claim.is_null() {
                spec["claimRef"] = claim;
            }
            self.object("v1", "PersistentVolume", &name, false, json!({ "spec": spec }))
        };
        vec![volume("kept", claim), volume("found", Value::Null)]
    }

    /// A class of what volumes are like, and a claim that names it.
    pub(crate) fn attributes(&mut self) -> Vec<Value> {
        let class = self.cluster_name("quick");
        let driver = self.cluster_name("csi.example.com");
        let parameters = json!({ "driverName": driver, "parameters": { "iops": self.below(99).to_string() } });
        let claim = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } },
            "storageClassName": self.cluster_name("slow"), "volumeAttributesClassName": class });
        vec![
            self.object("storage.k8s.io/v1", "VolumeAttributesClass", &class, false, parameters),
            self.object("v1", "PersistentVolumeClaim", "quick", true, json!({ "spec": claim })),
        ]
    }

    fn access(&mut self) -> Vec<Value> {
        let rules = json!([{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"] }]);
        let subject = json!([{ "kind": "ServiceAccount", "name": "web", "namespace": self.namespace }]);
        let of =
            |kind: &str, name: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name });
        let group = "rbac.authorization.k8s.io/v1";
        let cluster_role = self.cluster_name("reader");
        vec![
            // Their names may hold whatever a part of a path may.
            self.object(group, "Role", "reader#EXT# of?", true, json!({ "rules": rules })),
            self.object(
                group,
                "RoleBinding",
                "reader#EXT# of?",
                true,
                json!({ "roleRef": of("Role", "reader#EXT# of?"), "subjects": subject }),
            ),
            self.object(
                group,
                "RoleBinding",
                "cluster",
                true,
                json!({ "roleRef": of("ClusterRole", &cluster_role), "subjects": subject }),
            ),
        ]
    }

    /// A name of an object without a namespace that tells whose it is.
    pub(crate) fn cluster_name(&self, name: &str) -> String {
        format!("{}-{name}", self.namespace)
    }

    /// Objects without a namespace that those in it need, those that are served from it, and a definition with a
    /// resource. Their names are of this namespace alone, so that they can be wiped.
    pub(crate) fn cluster(&mut self) -> Vec<Value> {
        let rbac = "rbac.authorization.k8s.io/v1";
        let rules = json!([{ "apiGroups": [""], "resources": ["pods"], "verbs": ["list"] }]);
        let subject = json!([{ "kind": "ServiceAccount", "name": "web", "namespace": self.namespace }]);
        let [reader, bound, hook, important, slow, driver, edge] = [
            "reader",
            "bound",
            "hook",
            "important",
            "slow",
            "csi.example.com",
            "edge",
        ]
        .map(|name| self.cluster_name(name));
        let service = json!({ "namespace": self.namespace, "name": "web", "path": "/check" });
        let here = json!({ "matchLabels": { "kubernetes.io/metadata.name": self.namespace } });
        let webhook = json!([{
            "name": "check.example.com", "clientConfig": { "service": service }, "admissionReviewVersions": ["v1"],
            "sideEffects": "None", "failurePolicy": "Fail", "namespaceSelector": here,
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps", "secrets"] }],
        }]);
        let mut all = vec![
            self.object(rbac, "ClusterRole", &reader, false, json!({ "rules": rules })),
            self.object(rbac, "ClusterRole", &bound, false, json!({ "rules": rules })),
            self.object(rbac, "ClusterRoleBinding", &bound, false, json!({ "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": bound }, "subjects": subject })),
            self.object("scheduling.k8s.io/v1", "PriorityClass", &important, false, json!({ "value": 1000 })),
            self.object("storage.k8s.io/v1", "StorageClass", &slow, false, json!({ "provisioner": driver, "volumeBindingMode": "WaitForFirstConsumer" })),
            self.object("storage.k8s.io/v1", "CSIDriver", &driver, false, json!({ "spec": { "attachRequired": false } })),
            self.object("networking.k8s.io/v1", "IngressClass", &edge, false, json!({ "spec": { "controller": "example.com/edge" } })),
            self.object("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", &hook, false, json!({ "webhooks": webhook })),
        ];
        all.extend(self.volumes());
        all
    }

    /// A definition; the kind is this namespace's own.
    pub(crate) fn definition(&self) -> Value {
        let group = format!("{}.example.com", self.namespace);
        let schema = json!({ "type": "object", "properties": { "spec": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
            "status": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } });
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("widgets.{group}") },
            "spec": {
                "group": group, "scope": "Namespaced",
                "names": { "kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList" },
                "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } }],
            },
        })
    }

    /// A resource of that definition. Its status is plain data, since the definition does not set it apart.
    pub(crate) fn resource(&mut self) -> Value {
        let version = format!("{}.example.com/v1", self.namespace);
        let spec = json!({ "size": self.below(99), "list": [{ "deep": { "er": self.text() } }, 1.5, true] });
        self.object(
            &version,
            "Widget",
            "mine",
            true,
            json!({ "spec": spec, "status": { "kept": true } }),
        )
    }
}
