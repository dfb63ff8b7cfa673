//! Who else keeps an object as it is: a tool that will undo what is changed past it.

use serde_json::Value;

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
        if let Some(tracking) = annotation("argocd.argoproj.io/tracking-id") {
            let application = tracking.split(':').next().unwrap_or(tracking);
            return Some(Self::ArgoCd(application.to_owned()));
        }
        if let Some(application) = label("argocd.argoproj.io/instance") {
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

fn text<'o>(object: &'o Value, map: &str, name: &str) -> Option<&'o str> {
    object.get("metadata")?.get(map)?.get(name)?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keepers_are_told_by_their_marks() {
        let of = |labels: Value, annotations: Value| {
            Keeper::of(&json!({ "metadata": { "labels": labels, "annotations": annotations } }))
        };
        let none = json!({});
        let argo = of(
            none.clone(),
            json!({ "argocd.argoproj.io/tracking-id": "shop:apps/Deployment:app/web" }),
        );
        assert_eq!(argo, Some(Keeper::ArgoCd("shop".to_owned())));
        let flux = json!({ "kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system" });
        assert_eq!(
            of(flux, none.clone()),
            Some(Keeper::Flux("flux-system/apps".to_owned()))
        );
        let (by_helm, release) = (
            json!({ "app.kubernetes.io/managed-by": "Helm" }),
            json!({ "meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "app" }),
        );
        assert_eq!(
            of(by_helm.clone(), release.clone()),
            Some(Keeper::Helm("app/web".to_owned()))
        );
        assert_eq!(of(none.clone(), release), None, "left over after Helm let go of it");
        assert_eq!(of(by_helm, none), None, "a label that people copy");
    }
}
