//! A namespace of one test, and what lives there.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jm_client_kubernetes::{BOUNDS_MARK, Kubernetes, MARK};
use jm_provider_kubernetes::Quiesce;
use jm_step::{Connection, Environment, OpenContext, RunId, Secrets};
use jm_testkit::StepBench;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::server::Server;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A namespace.
pub(crate) struct Place<'s> {
    pub(crate) server: &'s Server,
    pub(crate) namespace: String,
    client: Client,
}

impl<'s> Place<'s> {
    /// A namespace that nothing is in.
    pub(crate) async fn new(server: &'s Server) -> Self {
        let namespace = format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let client = server.client().await;
        let all: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
        create(&all, json!({ "metadata": { "name": namespace } })).await;
        Self {
            server,
            namespace,
            client,
        }
    }

    /// A namespace with a deployment `web` of so many replicas, all ready.
    pub(crate) async fn with_web(server: &'s Server, replicas: u32) -> Self {
        let place = Self::new(server).await;
        place.deploy("web", "registry.example/web:1", replicas).await;
        place.until_ready("web", replicas).await;
        place
    }

    /// As [`Self::with_web`], and quiesced.
    pub(crate) async fn with_quiesced_web(server: &'s Server, replicas: u32) -> Self {
        let place = Self::with_web(server, replicas).await;
        place.quiesce("web").await;
        place
    }

    /// Quiesces a deployment, and says what came out.
    pub(crate) async fn quiesce(&self, name: &str) -> Value {
        let input = json!({ "workloads": [format!("deployment/{name}")] });
        self.bench().await.run(&Quiesce, input).await.output()
    }

    /// What a step gets that acts here as the administrator.
    pub(crate) async fn bench(&self) -> StepBench {
        bench(&self.server.kubeconfig, &self.namespace).await
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) async fn deploy(&self, name: &str, image: &str, replicas: u32) {
        create(&self.api::<Deployment>(), deployment(name, image, replicas)).await;
    }

    pub(crate) async fn autoscale(&self, name: &str, min: u32, max: u32) {
        let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": name });
        let spec = json!({ "scaleTargetRef": target, "minReplicas": min, "maxReplicas": max });
        let api = self.api::<k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler>();
        create(&api, json!({ "metadata": { "name": name }, "spec": spec })).await;
    }

    pub(crate) async fn patch(&self, name: &str, patch: Value) {
        let patched = self
            .api::<Deployment>()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        patched.expect("patched");
    }

    pub(crate) async fn image(&self, name: &str, image: &str) {
        let containers = json!([{ "name": "main", "image": image }]);
        self.patch(
            name,
            json!({ "spec": { "template": { "spec": { "containers": containers } } } }),
        )
        .await;
    }

    /// Wanted replicas, and the mark.
    pub(crate) async fn count(&self, name: &str) -> (i32, Option<String>) {
        let found = self.api::<Deployment>().get(name).await.expect("it is there");
        let mark = found.metadata.annotations.and_then(|marks| marks.get(MARK).cloned());
        (found.spec.replicas.unwrap_or(1), mark)
    }

    /// An annotation of a deployment.
    pub(crate) async fn annotation(&self, name: &str, annotation: &str) -> Option<String> {
        let found = self.api::<Deployment>().get(name).await.expect("it is there");
        found.metadata.annotations?.remove(annotation)
    }

    /// The bounds of its autoscaler that are marked on a deployment.
    pub(crate) async fn bounds(&self, name: &str) -> Option<Value> {
        let mark = self.annotation(name, BOUNDS_MARK).await?;
        Some(serde_json::from_str(&mark).expect("JSON"))
    }

    /// The pods of a deployment.
    pub(crate) async fn pods(&self, name: &str) -> Vec<String> {
        let pods = self.pods_of(name).await;
        pods.into_iter().filter_map(|pod| pod.metadata.name).collect()
    }

    /// The same without those that are on their way out.
    pub(crate) async fn staying_pods(&self, name: &str) -> Vec<String> {
        let pods = self.pods_of(name).await.into_iter().map(|pod| pod.metadata);
        let staying = pods.filter(|pod| pod.deletion_timestamp.is_none());
        staying.filter_map(|pod| pod.name).collect()
    }

    async fn pods_of(&self, name: &str) -> Vec<Pod> {
        let of_it = ListParams::default().labels(&format!("app={name}"));
        self.api::<Pod>().list(&of_it).await.expect("pods").items
    }

    /// Keeps the first pod of a deployment from going away, or lets it go.
    pub(crate) async fn hold(&self, pod: &str, held: bool) {
        let finalizers = held.then_some(json!(["jm.dev/held"]));
        let patch = json!({ "metadata": { "finalizers": finalizers } });
        let patched = self
            .api::<Pod>()
            .patch(pod, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        patched.expect("patched");
    }

    pub(crate) async fn until_ready(&self, name: &str, replicas: u32) {
        let wanted = i32::try_from(replicas).expect("a small number");
        for _ in 0..600 {
            let found = self.api::<Deployment>().get(name).await.expect("it is there");
            let ready = found.status.and_then(|status| status.ready_replicas).unwrap_or(0);
            if ready == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("`{name}` is not ready after a minute");
    }

    /// How many writes were made here by anybody but controllers.
    pub(crate) fn writes(&self) -> usize {
        self.server.writes(&self.namespace)
    }
}

/// What a step gets that acts with a kubeconfig on a namespace.
pub(crate) async fn bench(kubeconfig: &Path, namespace: &str) -> StepBench {
    StepBench::new().with("cluster", open(kubeconfig, namespace).await)
}

pub(crate) async fn open(kubeconfig: &Path, namespace: &str) -> Kubernetes {
    let config = json!({ "kubeconfig": kubeconfig, "namespace": namespace });
    let cx = OpenContext {
        secrets: Secrets::new(),
        environment: Environment::default(),
        run: RunId::generate(),
    };
    let config = serde_json::from_value(config).expect("a configuration");
    Kubernetes::open(config, &cx).await.expect("it opens")
}

pub(crate) async fn create<K>(api: &Api<K>, object: Value)
where
    K: Clone + std::fmt::Debug + DeserializeOwned + Serialize,
{
    let object: K = serde_json::from_value(object).expect("an object");
    // A new namespace on a control plane takes a moment until its service account is there.
    for _ in 0..100 {
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => return,
            Err(kube::Error::Api(status)) if status.code == 403 => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("not created: {error}"),
        }
    }
    panic!("not created within 5 s");
}

fn deployment(name: &str, image: &str, replicas: u32) -> Value {
    let labels = json!({ "app": name });
    json!({
        "metadata": { "name": name },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "main", "image": image }] } },
        },
    })
}
