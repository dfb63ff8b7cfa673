//! Which images ran: by container of each workload, from what its pods say.

use std::collections::{BTreeMap, BTreeSet};

use jm_backup::RecordedImage;
use jm_client_kubernetes::{Maker, awake};
use serde_json::Value;

/// What is seen of workloads and pods while the objects go by.
#[derive(Default)]
pub(crate) struct Images {
    /// The owner of each object that may own pods, by UID: what it is, and the UID of its own owner.
    owners: BTreeMap<String, (Place, Option<String>)>,
    /// The images that workloads name: which one, container, image.
    named: BTreeSet<(Place, String, String)>,
    /// The digests that pods ran: owner's UID, container, image as the pod names it.
    ran: BTreeMap<(String, String, String), BTreeSet<String>>,
    /// The images of all pods, whatever they told, by the UID of the pod's owner.
    pods: BTreeMap<String, BTreeSet<String>>,
    /// Namespaces whose pods are known.
    known: BTreeSet<String>,
    /// Workloads that only rest: jm has quiesced them.
    quiesced: BTreeSet<Place>,
}

/// Namespace, and `Kind/name`.
pub(crate) type Place = (String, String);

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
        let (kind, uid) = (text("/kind"), text("/metadata/uid"));
        let place = (
            text("/metadata/namespace"),
            format!("{kind}/{}", text("/metadata/name")),
        );
        self.owners.insert(uid.clone(), (place.clone(), owner(object)));
        if is_quiesced(object) {
            self.quiesced.insert(place.clone());
        }
        for container in containers(spec) {
            let (Some(name), Some(image)) = (container["name"].as_str(), container["image"].as_str()) else {
                continue;
            };
            self.named.insert((place.clone(), name.to_owned(), image.to_owned()));
            if kind != "Pod" {
                continue;
            }
            let owner = owner(object).unwrap_or_else(|| uid.clone());
            self.pods.entry(owner.clone()).or_default().insert(image.to_owned());
            if let Some(digest) = digest(object, name) {
                let ran = (owner, name.to_owned(), image.to_owned());
                self.ran.entry(ran).or_default().insert(digest);
            }
        }
    }

    /// All pods of a namespace were seen.
    pub(crate) fn pods_are_known(&mut self, namespace: &str) {
        self.known.insert(namespace.to_owned());
    }

    /// What the workloads that are kept ran.
    pub(crate) fn finish(self, is_kept: impl Fn(&Place) -> bool) -> Vec<RecordedImage> {
        let mut digests: BTreeMap<(&Place, &str, &str), BTreeSet<&str>> = BTreeMap::new();
        // What never ran itself, such as a job that is not due yet, gets what the same image was elsewhere.
        let mut elsewhere: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for ((owner, container, image), found) in &self.ran {
            let Some(workload) = self.workload(owner) else { continue };
            let found = found.iter().map(String::as_str);
            elsewhere.entry(image).or_default().extend(found.clone());
            digests.entry((workload, container, image)).or_default().extend(found);
        }
        let running = Running::of(&self);
        let kept = self.named.iter().filter(|(workload, ..)| is_kept(workload));
        kept.map(|(workload, container, image)| {
            let own = digests.get(&(workload, container, image));
            let found = own.or_else(|| elsewhere.get(image.as_str()));
            // Pods that ran different ones under one name do not tell which of them was right.
            let digest = found
                .filter(|found| found.len() == 1)
                .and_then(|found| found.first().copied().map(str::to_owned));
            RecordedImage {
                namespace: workload.0.clone(),
                workload: workload.1.clone(),
                container: container.clone(),
                image: image.clone(),
                idle: digest.is_none() && self.is_idle(&running, workload, image),
                digest,
            }
        })
        .collect()
    }

    /// From the owner of a pod up to the workload that people know, or to the last one that could be read.
    fn workload(&self, owner: &str) -> Option<&Place> {
        let (mut place, mut above) = self.owners.get(owner).map(|(place, above)| (place, above))?;
        while let Some((next, further)) = above.as_ref().and_then(|uid| self.owners.get(uid)) {
            (place, above) = (next, further);
        }
        Some(place)
    }

    /// Whether a workload has no pods, and none that jm has taken from it: nothing of it ran, and its cluster, too, would take
    /// the image as it is written.
    fn is_idle(&self, running: &Running<'_>, workload: &Place, image: &str) -> bool {
        self.known.contains(&workload.0)
            && !self.quiesced.contains(workload)
            && !running.workloads.contains(workload)
            && !running.strays.contains(image)
    }
}

/// What has pods.
struct Running<'i> {
    workloads: BTreeSet<&'i Place>,
    /// The images of pods whose owners were not seen.
    strays: BTreeSet<&'i str>,
}

impl<'i> Running<'i> {
    fn of(images: &'i Images) -> Self {
        let (mut workloads, mut strays) = (BTreeSet::new(), BTreeSet::new());
        for (owner, named) in &images.pods {
            match images.workload(owner) {
                Some(workload) => _ = workloads.insert(workload),
                None => strays.extend(named.iter().map(String::as_str)),
            }
        }
        Self { workloads, strays }
    }
}

/// Whether an object is not as it is when nothing is quiesced.
fn is_quiesced(object: &Value) -> bool {
    let mut woken = object.clone();
    awake(&mut woken);
    woken["spec"] != object["spec"]
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
        let maker = if kind == "Pod" { "ReplicaSet" } else { "Deployment" };
        let owners: Vec<Value> = owner
            .map(|uid| json!({ "apiVersion": "apps/v1", "kind": maker, "uid": uid, "controller": true }))
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
        let found = images.finish(|(_, workload)| workload == "Deployment/web");
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
        let found = images.finish(|(_, workload)| workload == "CronJob/nightly");
        assert_eq!(found[0].digest.as_deref(), Some("sha256:aa"));
    }

    /// Whether `Deployment/web` is told to be idle, beside what is seen with it.
    fn is_idle(replicas: u32, annotations: Value, beside: &[Value], pods_are_known: bool) -> bool {
        let spec = json!({ "replicas": replicas,
            "template": { "spec": { "containers": [{ "name": "main", "image": "web:1" }] } } });
        let mut web = object("Deployment", "web", None, spec, json!({}));
        web["metadata"]["annotations"] = annotations;
        let mut images = Images::default();
        images.see(&web);
        for object in beside {
            images.see(object);
        }
        if pods_are_known {
            images.pods_are_known("app");
        }
        let found = images.finish(|(_, workload)| workload == "Deployment/web");
        assert_eq!(found[0].digest, None);
        found[0].idle
    }

    #[test]
    fn what_has_no_pods_is_taken_as_it_is_written() {
        assert!(is_idle(0, json!({}), &[], true));
        assert!(!is_idle(0, json!({}), &[], false), "nobody knows its pods");
        assert!(
            !is_idle(0, json!({ "jm.dev/replicas-before-quiesce": "3" }), &[], true),
            "it ran until jm stopped it"
        );
        let untold = pod("a", "web:1", "");
        assert!(
            !is_idle(1, json!({}), std::slice::from_ref(&untold), true),
            "it may be its own, whose owner was not seen"
        );
        let set = object("ReplicaSet", "web-1", Some("web"), json!({ "template": {} }), json!({}));
        let mut set = set;
        set["spec"]["template"] = json!({ "spec": { "containers": [] } });
        assert!(!is_idle(1, json!({}), &[set, untold], true), "it runs");
        let other = object(
            "Pod",
            "other",
            None,
            json!({ "containers": [{ "name": "main", "image": "web:2" }] }),
            json!({}),
        );
        assert!(is_idle(0, json!({}), &[other], true));
    }

    #[test]
    fn workloads_of_one_name_in_two_namespaces_are_two() {
        let spec = json!({ "containers": [{ "name": "main", "image": "web:1" }] });
        let mut images = Images::default();
        for (namespace, digest) in [("one", "sha256:aa"), ("two", "sha256:bb")] {
            let status = json!({ "containerStatuses": [{ "name": "main", "imageID": format!("x.io/web@{digest}") }] });
            let uid = format!("web-{namespace}");
            for mut object in [
                object("Pod", "a", Some(&uid), spec.clone(), status),
                object(
                    "StatefulSet",
                    "web",
                    None,
                    json!({ "template": { "spec": spec } }),
                    json!({}),
                ),
            ] {
                object["metadata"]["namespace"] = namespace.into();
                if object["kind"] == "StatefulSet" {
                    object["metadata"]["uid"] = uid.clone().into();
                }
                images.see(&object);
            }
        }
        let found = images.finish(|(_, workload)| workload == "StatefulSet/web");
        let digests: Vec<_> = found.iter().map(|image| image.digest.as_deref()).collect();
        assert_eq!(digests, [Some("sha256:aa"), Some("sha256:bb")]);
    }
}
