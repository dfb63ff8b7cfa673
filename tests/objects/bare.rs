//! A client that does nothing but send: what the API server can do at most.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

/// Requests under way at once.
const UNDER_WAY: usize = 32;
const PAGE: u32 = 500;

fn hash(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(value);
    hasher.finish()
}

/// The client.
pub(crate) struct Bare {
    client: kube::Client,
}

impl Bare {
    pub(crate) async fn new(kubeconfig: &Path) -> Result<Self> {
        let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Self {
            client: kube::Client::try_from(config)?,
        })
    }

    pub(crate) async fn make_namespace(&self, name: &str) -> Result<()> {
        let object: Namespace = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
        let api: Api<Namespace> = Api::all(self.client.clone());
        api.create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// Applies objects of one kind and namespace, and says how long it took.
    pub(crate) async fn apply(&self, objects: &[Value]) -> Result<Duration> {
        let first = objects.first().context("no objects")?;
        let text = |pointer: &str| first.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let resource = ApiResource {
            group: String::new(),
            version: "v1".to_owned(),
            api_version: "v1".to_owned(),
            kind: text("/kind").to_owned(),
            plural: format!("{}s", text("/kind").to_lowercase()),
        };
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), text("/metadata/namespace"), &resource);
        let parameters = PatchParams::apply("bare");
        let began = Instant::now();
        let work = objects.iter().map(|object| {
            let (api, parameters) = (&api, &parameters);
            async move {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                api.patch(name, parameters, &Patch::Apply(object)).await.map(drop)
            }
        });
        let work: Vec<_> = work.collect();
        let results: Vec<_> = stream::iter(work).buffer_unordered(UNDER_WAY).collect().await;
        results.into_iter().collect::<Result<(), _>>()?;
        Ok(began.elapsed())
    }

    /// A hash of the value of each Secret, by name, and how long it took to read them.
    pub(crate) async fn secrets(&self, namespace: &str) -> Result<(BTreeMap<String, u64>, Duration)> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let mut found = BTreeMap::new();
        let mut page = ListParams::default().limit(PAGE);
        let began = Instant::now();
        loop {
            let list = api.list(&page).await?;
            for secret in list.items {
                let value = secret.data.unwrap_or_default().remove("value").unwrap_or_default();
                found.insert(secret.metadata.name.unwrap_or_default(), hash(&value.0));
            }
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page.continue_token = Some(token),
                None => return Ok((found, began.elapsed())),
            }
        }
    }

    /// Deletes all Secrets, some at a time: they come back in the answer.
    pub(crate) async fn wipe_secrets(&self, namespace: &str) -> Result<()> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let some = ListParams::default().limit(PAGE);
        while !api.list_metadata(&some.clone().limit(1)).await?.items.is_empty() {
            api.delete_collection(&DeleteParams::default(), &some).await?;
        }
        Ok(())
    }
}
