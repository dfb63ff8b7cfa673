//! Who else keeps an object as it is: a tool that will undo what is changed past it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::ApiResource;
use serde_json::{Value, json};

use crate::kind::group_of;
use crate::workload_ref::WorkloadRef;

/// As what Argo CD's controller writes, before and since it names itself.
const ARGO_CD: [&str; 2] = ["argocd-controller", "argocd-application-controller"];

/// A tool that manages an object, and by what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keeper {
    /// Argo CD, by this application.
    ArgoCd(String),
    /// Flux, by this kustomization or release.
    Flux(String),
    /// Helm, by this release.
    Helm(String),
}

impl Keeper {
    /// The keeper that an object's labels and annotations tell of.
    pub fn of(object: &Value) -> Option<Self> {
        let label = |name: &str| text(object, "labels", name);
        let annotation = |name: &str| text(object, "annotations", name);
        if let Some(application) = argo_cd(object) {
            return Some(Self::ArgoCd(application.to_owned()));
        }
        for group in ["kustomize.toolkit.fluxcd.io", "helm.toolkit.fluxcd.io"] {
            if let Some(name) = label(&format!("{group}/name")) {
                let namespace = label(&format!("{group}/namespace")).unwrap_or_default();
                return Some(Self::Flux(format!("{namespace}/{name}")));
            }
        }
        let by_helm = label("app.kubernetes.io/managed-by") == Some("Helm");
        let release = annotation("meta.helm.sh/release-name").filter(|_| by_helm)?;
        let namespace = annotation("meta.helm.sh/release-namespace").unwrap_or_default();
        Some(Self::Helm(format!("{namespace}/{release}")))
    }

    /// The keeper of a workload.
    pub(crate) fn of_workload(workload: &WorkloadRef, metadata: &ObjectMeta) -> Option<Self> {
        let ApiResource { api_version, kind, .. } = workload.kind.resource();
        Self::of(&json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata }))
    }

    /// Who will undo what, for people.
    pub fn warning(&self, objects: usize, example: &str) -> String {
        let what = match objects {
            1 => format!("{example} is"),
            _ => format!("{objects} objects ({example} and others) are"),
        };
        match self {
            Self::ArgoCd(name) => format!(
                "{what} managed by Argo CD (application `{name}`), which will set back what differs from its source at its next sync"
            ),
            Self::Flux(name) => format!(
                "{what} managed by Flux (`{name}`), which will set back what differs from its source at its next reconciliation"
            ),
            Self::Helm(name) => format!(
                "{what} managed by Helm (release `{name}`), whose next upgrade or rollback will set back what differs from its chart"
            ),
        }
    }
}

/// The application of Argo CD that an object belongs to: by the annotation, where it names this very object and was not
/// copied along with another one's; or by a label. The default one is a label that Helm and others set as well, so it counts
/// only where Argo CD has written the object.
fn argo_cd(object: &Value) -> Option<&str> {
    let tracked = text(object, "annotations", "argocd.argoproj.io/tracking-id").and_then(|id| id.split_once(':'));
    let by_annotation = tracked
        .filter(|(_, of)| is_of(object, of))
        .map(|(application, _)| application);
    let by_default = || text(object, "labels", "app.kubernetes.io/instance").filter(|_| is_written_by_argo_cd(object));
    by_annotation
        .or_else(|| text(object, "labels", "argocd.argoproj.io/instance"))
        .or_else(by_default)
}

/// Whether `GROUP/KIND:NAMESPACE/NAME` is this object. Of one without a namespace its application's stands there.
fn is_of(object: &Value, tracked: &str) -> bool {
    let field = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let group = group_of(field("/apiVersion"));
    let of = tracked
        .split_once(':')
        .and_then(|(kind, place)| Some((kind, place.split_once('/')?)));
    let Some((kind, (namespace, name))) = of else {
        return false;
    };
    let own = field("/metadata/namespace");
    kind == format!("{group}/{}", field("/kind"))
        && name == field("/metadata/name")
        && (own.is_empty() || own == namespace)
}

fn is_written_by_argo_cd(object: &Value) -> bool {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let mut managers = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["manager"].as_str());
    managers.any(|manager| ARGO_CD.contains(&manager))
}

fn text<'o>(object: &'o Value, map: &str, name: &str) -> Option<&'o str> {
    object.get("metadata")?.get(map)?.get(name)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(labels: Value, annotations: Value, managers: &[&str]) -> Option<Keeper> {
        let managed: Vec<Value> = managers.iter().map(|name| json!({ "manager": name })).collect();
        Keeper::of(&json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {
            "name": "web", "namespace": "app", "labels": labels, "annotations": annotations, "managedFields": managed } }))
    }

    #[test]
    fn keepers_are_told_by_their_marks() {
        let none = json!({});
        let flux = json!({ "kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system" });
        assert_eq!(
            of(flux, none.clone(), &[]),
            Some(Keeper::Flux("flux-system/apps".to_owned()))
        );
        let (by_helm, release) = (
            json!({ "app.kubernetes.io/managed-by": "Helm" }),
            json!({ "meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "app" }),
        );
        assert_eq!(
            of(by_helm.clone(), release.clone(), &[]),
            Some(Keeper::Helm("app/web".to_owned()))
        );
        assert_eq!(
            of(none.clone(), release, &[]),
            None,
            "left over after Helm let go of it"
        );
        assert_eq!(of(by_helm, none, &[]), None, "a label that people copy");
    }

    #[test]
    fn argo_cd_is_told_by_each_way_in_which_it_tracks() {
        let (none, shop) = (json!({}), Some(Keeper::ArgoCd("shop".to_owned())));
        let tracked = |of: &str| json!({ "argocd.argoproj.io/tracking-id": of });
        assert_eq!(of(none.clone(), tracked("shop:apps/Deployment:app/web"), &[]), shop);
        for copied in [
            "shop:apps/Deployment:app/api",
            "shop:apps/StatefulSet:app/web",
            "shop:apps/Deployment:b/web",
            "shop",
        ] {
            assert_eq!(
                of(none.clone(), tracked(copied), &[]),
                None,
                "{copied} is another object"
            );
        }
        let own_label = json!({ "argocd.argoproj.io/instance": "shop" });
        assert_eq!(of(own_label, none.clone(), &[]), shop);
        let default_label = json!({ "app.kubernetes.io/instance": "shop" });
        assert_eq!(
            of(default_label.clone(), none.clone(), &["kubectl"]),
            None,
            "Helm's charts set it"
        );
        for manager in ARGO_CD {
            assert_eq!(of(default_label.clone(), none.clone(), &["kubectl", manager]), shop);
        }
    }
}
