//! The objects of the application: made as a person would, and compared whatever cluster they are in.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Api, Client};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::NAMESPACE;
use crate::SandboxError;

/// Objects of the whole cluster are the application's where they say so.
const OURS: &str = "app.kubernetes.io/part-of=journeyman";
/// How long a kind may take to be served after its definition was made.
const SERVED: Duration = Duration::from_secs(30);
/// What comes and goes by itself.
const PASSING: [&str; 7] = [
    "Event",
    "Endpoints",
    "EndpointSlice",
    "Lease",
    "Pod",
    "ReplicaSet",
    "ControllerRevision",
];

/// Makes every object of a text of several YAML documents that is not there yet.
pub(super) async fn create_all(client: &Client, text: &str) -> Result<(), SandboxError> {
    let failed = "describe the application";
    for object in serde_saphyr::from_multiple::<DynamicObject>(text).map_err(SandboxError::furnish(failed))? {
        create(client, &object).await?;
    }
    Ok(())
}

async fn create(client: &Client, object: &DynamicObject) -> Result<(), SandboxError> {
    let types = object.types.clone().unwrap_or_default();
    let kind = types
        .try_into()
        .map_err(SandboxError::furnish("describe the application"))?;
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let limit = Instant::now() + SERVED;
    loop {
        match api.create(&PostParams::default(), object).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => return Ok(()),
            // Its definition was made a moment ago.
            Err(kube::Error::Api(status)) if status.code == 404 && Instant::now() < limit => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return Err(SandboxError::furnish("deploy the application")(error)),
        }
    }
}

/// A digest of what people said of each object, by kind and name: equal where nothing but the cluster's own part of it
/// is another.
pub(super) async fn digests(client: &Client) -> Result<BTreeMap<String, String>, SandboxError> {
    let failed = "look at the application's objects";
    let discovery = Discovery::new(client.clone()).run().await;
    let discovery = discovery.map_err(SandboxError::furnish(failed))?;
    let mut found = BTreeMap::new();
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            if !capabilities.supports_operation(verbs::LIST) || PASSING.contains(&resource.kind.as_str()) {
                continue;
            }
            let (api, which) = match capabilities.scope {
                Scope::Namespaced => (
                    Api::namespaced_with(client.clone(), NAMESPACE, &resource),
                    ListParams::default(),
                ),
                Scope::Cluster => (
                    Api::<DynamicObject>::all_with(client.clone(), &resource),
                    ListParams::default().labels(OURS),
                ),
            };
            let listed = match api.list(&which).await {
                Ok(listed) => listed,
                // A kind that can be listed in principle alone, such as one whose server is an add-on that is down.
                Err(kube::Error::Api(status)) if [404, 405].contains(&status.code) => continue,
                Err(error) => return Err(SandboxError::furnish(failed)(error)),
            };
            for object in listed.items.into_iter().filter(|object| !is_of_the_cluster(object)) {
                let name = object.metadata.name.clone().unwrap_or_default();
                let value = serde_json::to_value(object).map_err(SandboxError::furnish(failed))?;
                let text = crate::kubernetes::canonical(&said(value)).to_string();
                found.insert(format!("{} {name}", resource.kind), hex::encode(Sha256::digest(text)));
            }
        }
    }
    Ok(found)
}

/// Is it made by the cluster itself, in every namespace, or by the owner of something else?
fn is_of_the_cluster(object: &DynamicObject) -> bool {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let owners = object.metadata.owner_references.iter().flatten();
    owners.into_iter().any(|owner| owner.controller == Some(true)) || ["kube-root-ca.crt", "default"].contains(&name)
}

/// The object without what the cluster says of it. An image counts by its repository: a rebuild takes the digest in
/// the place of the tag.
fn said(mut object: Value) -> Value {
    let Some(fields) = object.as_object_mut() else {
        return object;
    };
    for field in ["status", "apiVersion", "kind"] {
        fields.remove(field);
    }
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| ["name", "namespace", "labels", "annotations"].contains(&field.as_str()));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|key, _| !key.contains("kubernetes.io/") && !key.contains("jm"));
        }
        metadata.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
    }
    if let Some(spec) = fields.get_mut("spec").and_then(Value::as_object_mut) {
        for field in ["clusterIP", "clusterIPs"] {
            if spec.get(field).is_some_and(|value| value != "None") {
                spec.remove(field);
            }
        }
        if let Some(claim) = spec.get_mut("claimRef").and_then(Value::as_object_mut) {
            claim.retain(|field, _| ["namespace", "name"].contains(&field.as_str()));
        }
        // One that is made for a claim is called after the claim's UID.
        if spec
            .get("volumeName")
            .and_then(Value::as_str)
            .is_some_and(|name| name.starts_with("pvc-"))
        {
            spec.remove("volumeName");
        }
    }
    by_repository(&mut object);
    object
}

fn by_repository(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(image)) = fields.get_mut("image") {
                *image = repository(image).to_owned();
            }
            fields.values_mut().for_each(by_repository);
        }
        Value::Array(items) => items.iter_mut().for_each(by_repository),
        _ => {}
    }
}

fn repository(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or_default();
    // A colon before the last slash is that of the registry's port.
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_cluster_says_makes_no_difference_and_what_people_say_does() {
        let object = |uid: &str, address: &str, port: u32| {
            said(json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "a", "uid": uid, "annotations": {"deployment.kubernetes.io/revision": uid}},
                "spec": {"clusterIP": address, "clusterIPs": [address], "ports": [{"port": port}]}, "status": {"a": uid},
            }))
        };
        assert_eq!(object("1", "10.0.0.1", 80), object("2", "10.0.0.2", 80));
        assert_ne!(object("1", "10.0.0.1", 80), object("1", "10.0.0.1", 81));
        assert_ne!(object("1", "None", 80), object("1", "10.0.0.1", 80));
    }

    #[test]
    fn a_volume_of_another_claim_is_another() {
        let volume = |claim: &str, uid: &str| {
            let claim = json!({"kind": "PersistentVolumeClaim", "namespace": "app", "name": claim, "uid": uid});
            said(json!({"kind": "PersistentVolume", "metadata": {"name": "a"}, "spec": {"claimRef": claim}}))
        };
        assert_eq!(volume("data", "1"), volume("data", "2"));
        assert_ne!(volume("data", "1"), volume("other", "1"));
        let claim = |volume: &str| said(json!({"metadata": {"name": "a"}, "spec": {"volumeName": volume}}));
        assert_eq!(claim("pvc-1"), claim("pvc-2"));
        assert_ne!(claim("one"), claim("two"));
    }

    #[test]
    fn images_count_by_repository() {
        for image in [
            "host:5000/web",
            "host:5000/web:1",
            "host:5000/web@sha256:00",
            "host:5000/web:1@sha256:00",
        ] {
            assert_eq!(repository(image), "host:5000/web", "{image}");
        }
        let spec = |image: &str| said(json!({"spec": {"containers": [{"image": image}]}}));
        assert_eq!(spec("web:1"), spec("web@sha256:00"));
        assert_ne!(spec("web:1"), spec("other:1"));
    }
}
