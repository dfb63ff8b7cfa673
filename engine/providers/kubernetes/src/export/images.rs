//! Which images ran: by container of each workload, from what its pods say.

use std::collections::{BTreeMap, BTreeSet};

use jm_backup::RecordedImage;
use jm_client_kubernetes::Maker;
use serde_json::Value;

/// What is seen of workloads and pods while the objects go by.
#[derive(Default)]
pub(crate) struct Images {
    /// The owner of each object that may own pods, by UID: `Kind/name` and the UID of its own owner.
    owners: BTreeMap<String, (String, Option<String>)>,
    /// The images that workloads name: namespace, `Kind/name`, container, image.
    named: BTreeSet<(String, String, String, String)>,
    /// The digests that pods ran: owner's UID, container, image as the pod names it.
    ran: BTreeMap<(String, String, String), BTreeSet<String>>,
}

/// Where a workload of any kind has the template of its pods.
const TEMPLATES: [&str; 4] = [
    "/spec/template/spec",
    "/spec/jobTemplate/spec/template/spec",
    "/template/spec",
    "/spec",
];

/// The pod template's spec of an object, where it has one.
pub(super) fn pod_spec(object: &Value) -> Option<&Value> {
    TEMPLATES
        .iter()
        .filter_map(|pointer| object.pointer(pointer))
        .find(|spec| spec.get("containers").is_some_and(Value::is_array))
}

/// The containers of a pod's spec, those that run first included.
pub(super) fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["initContainers", "containers"].into_iter();
    lists.filter_map(|list| spec.get(list)?.as_array()).flatten()
}

impl Images {
    /// Looks at an object as the server gave it, kept or not.
    pub(crate) fn see(&mut self, object: &Value) {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let Some(spec) = pod_spec(object) else { return };
        let (kind, name, uid) = (text("/kind"), text("/metadata/name"), text("/metadata/uid"));
        let called = format!("{kind}/{name}");
        self.owners.insert(uid.clone(), (called.clone(), owner(object)));
        let namespace = text("/metadata/namespace");
        for container in containers(spec) {
            let (Some(name), Some(image)) = (container["name"].as_str(), container["image"].as_str()) else {
                continue;
            };
            self.named
                .insert((namespace.clone(), called.clone(), name.to_owned(), image.to_owned()));
            if kind == "Pod"
                && let Some(digest) = digest(object, name)
            {
                let owner = owner(object).unwrap_or_else(|| uid.clone());
                let place = (owner, name.to_owned(), image.to_owned());
                self.ran.entry(place).or_default().insert(digest);
            }
        }
    }

    /// What the workloads that are kept ran. `is_kept` is asked with namespace and `Kind/name`.
    pub(crate) fn finish(self, is_kept: impl Fn(&str, &str) -> bool) -> Vec<RecordedImage> {
        let mut digests: BTreeMap<(String, String, String), BTreeSet<String>> = BTreeMap::new();
        for ((owner, container, image), found) in self.ran {
            // From the pod's owner up to the workload that people know, or to the last one that could be read.
            let mut at = owner;
            while let Some((_, Some(above))) = self.owners.get(&at)
                && self.owners.contains_key(above)
            {
                at.clone_from(above);
            }
            let Some((called, _)) = self.owners.get(&at) else {
                continue;
            };
            digests
                .entry((called.clone(), container, image))
                .or_default()
                .extend(found);
        }
        // What never ran itself, such as a job that is not due yet, gets what the same image was elsewhere.
        let mut elsewhere: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for ((.., image), found) in &digests {
            elsewhere
                .entry(image.clone())
                .or_default()
                .extend(found.iter().cloned());
        }
        let kept = self
            .named
            .into_iter()
            .filter(|(namespace, workload, ..)| is_kept(namespace, workload));
        kept.map(|(namespace, workload, container, image)| {
            let own = digests.get(&(workload.clone(), container.clone(), image.clone()));
            let found = own.or_else(|| elsewhere.get(&image));
            // Pods that ran different ones under one name do not tell which of them was right.
            let digest = found
                .filter(|found| found.len() == 1)
                .and_then(|found| found.first().cloned());
            RecordedImage {
                namespace,
                workload,
                container,
                image,
                digest,
            }
        })
        .collect()
    }
}

fn owner(object: &Value) -> Option<String> {
    Maker::of(object).map(|maker| maker.uid)
}

/// The digest that a pod's container runs. What names no repository is the id of a configuration, which no registry
/// has.
fn digest(pod: &Value, container: &str) -> Option<String> {
    let lists = ["containerStatuses", "initContainerStatuses"].into_iter();
    let mut statuses = lists
        .filter_map(|list| pod.pointer(&format!("/status/{list}"))?.as_array())
        .flatten();
    let id = statuses.find(|status| status["name"] == container)?["imageID"].as_str()?;
    let (_, digest) = id.rsplit_once('@')?;
    digest.starts_with("sha256:").then(|| digest.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(kind: &str, name: &str, owner: Option<&str>, spec: Value, status: Value) -> Value {
        let owners: Vec<Value> = owner
            .map(|uid| json!({ "uid": uid, "controller": true }))
            .into_iter()
            .collect();
        json!({ "kind": kind, "metadata": { "name": name, "namespace": "app", "uid": name, "ownerReferences": owners },
            "spec": spec, "status": status })
    }

    fn pod(name: &str, image: &str, id: &str) -> Value {
        let status = json!({ "containerStatuses": [{ "name": "main", "imageID": id }] });
        let spec = json!({ "containers": [{ "name": "main", "image": image }] });
        object("Pod", name, Some("web-1"), spec, status)
    }

    fn seen(pods: &[Value]) -> Option<String> {
        let template = json!({ "template": { "spec": { "containers": [{ "name": "main", "image": "web:1" }] } } });
        let mut images = Images::default();
        for pod in pods {
            images.see(pod);
        }
        images.see(&object("ReplicaSet", "web-1", Some("web"), template.clone(), json!({})));
        images.see(&object("Deployment", "web", None, template, json!({})));
        let found = images.finish(|_, workload| workload == "Deployment/web");
        assert_eq!(found.len(), 1, "the workload, and not what it makes");
        found[0].digest.clone()
    }

    #[test]
    fn the_digest_is_what_the_pods_of_the_present_template_run() {
        let (one, two) = ("docker-pullable://x.io/web@sha256:aa", "x.io/web@sha256:bb");
        assert_eq!(seen(&[pod("a", "web:1", one)]).as_deref(), Some("sha256:aa"));
        assert_eq!(
            seen(&[pod("a", "web:1", one), pod("b", "web:0", two)]).as_deref(),
            Some("sha256:aa")
        );
        assert_eq!(
            seen(&[pod("a", "web:1", one), pod("b", "web:1", two)]),
            None,
            "it cannot be told"
        );
        assert_eq!(seen(&[pod("a", "web:1", "sha256:aa")]), None, "no registry has that");
        assert_eq!(seen(&[]), None);
    }

    #[test]
    fn what_never_ran_has_the_digest_that_its_image_had_elsewhere() {
        let containers = json!({ "containers": [{ "name": "main", "image": "web:1" }] });
        let template = json!({ "template": { "spec": containers } });
        let mut images = Images::default();
        images.see(&pod("a", "web:1", "x.io/web@sha256:aa"));
        images.see(&object("ReplicaSet", "web-1", None, template.clone(), json!({})));
        let job = json!({ "jobTemplate": { "spec": template } });
        images.see(&object("CronJob", "nightly", None, job, json!({})));
        let found = images.finish(|_, workload| workload == "CronJob/nightly");
        assert_eq!(found[0].digest.as_deref(), Some("sha256:aa"));
    }
}
