//! How a StatefulSet brings its pods to its newest template: they carry the revision that they are of, and take turns.

use k8s_openapi::api::core::v1::Pod;
use kube::core::DynamicObject;
use serde_json::Value;

/// The label by which pods tell the ControllerRevision that they are of: by its name, or, of a DaemonSet, by the end of it.
pub(crate) const REVISION_OF: &str = "controller-revision-hash";

/// What a StatefulSet does about pods of an older template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turns {
    /// The ControllerRevision of the newest template, as far as the controller has seen it.
    pub(crate) newest: Option<String>,
    /// The number of the first pod that is to be of it; `None` where pods are replaced only when somebody deletes them.
    from: Option<u64>,
    /// Whether the next pod has its turn only when all others are ready. Then one of an older template that never becomes
    /// ready is never replaced (kubernetes#67250).
    in_order: bool,
}

impl Turns {
    pub(crate) fn read(object: &DynamicObject) -> Self {
        let text = |pointer: &str| object.data.pointer(pointer).and_then(Value::as_str);
        let number = |pointer: &str| object.data.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        let first = number("/spec/ordinals/start") + number("/spec/updateStrategy/rollingUpdate/partition");
        Self {
            newest: text("/status/updateRevision").map(str::to_owned),
            from: (text("/spec/updateStrategy/type") != Some("OnDelete")).then_some(first),
            in_order: text("/spec/podManagementPolicy") != Some("Parallel"),
        }
    }

    /// Whether a pod is of the newest template, or is to stay as it is.
    pub(crate) fn is_through(&self, pod: &Pod) -> bool {
        self.newest.as_deref().is_none_or(|newest| !self.leaves(pod, newest))
    }

    /// Whether nothing goes on before somebody deletes a pod that is not through.
    pub(crate) fn waits_for_ready(&self) -> bool {
        self.in_order
    }

    /// Whether a pod is to give way to one of this revision.
    pub(crate) fn leaves(&self, pod: &Pod, revision: &str) -> bool {
        let labels = pod.metadata.labels.as_ref();
        let is_other = labels
            .and_then(|labels| labels.get(REVISION_OF))
            .is_some_and(|of| of != revision);
        is_other && self.from.is_some_and(|from| number(pod) >= Some(from))
    }
}

/// The number of a pod: `db-2` is the third.
fn number(pod: &Pod) -> Option<u64> {
    let (_, number) = pod.metadata.name.as_deref()?.rsplit_once('-')?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn turns(spec: &Value) -> Turns {
        let object = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "db" },
            "spec": spec, "status": { "updateRevision": "db-new" } });
        Turns::read(&serde_json::from_value(object).expect("a StatefulSet"))
    }

    fn pod(name: &str, revision: &str) -> Pod {
        let labels = json!({ (REVISION_OF): revision });
        serde_json::from_value(json!({ "metadata": { "name": name, "labels": labels } })).expect("a pod")
    }

    #[test]
    fn pods_of_an_older_revision_have_their_turn_before_them() {
        let through = |turns: &Turns| ["db-0", "db-1"].map(|name| turns.is_through(&pod(name, "db-old")));
        let all = turns(&json!({}));
        assert!(all.waits_for_ready() && all.is_through(&pod("db-0", "db-new")));
        assert_eq!(through(&all), [false, false]);
        let some =
            turns(&json!({ "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 1 } } }));
        assert_eq!(through(&some), [true, false], "what is kept back stays");
        let later = turns(&json!({ "ordinals": { "start": 1 }, "podManagementPolicy": "Parallel" }));
        assert!(!later.waits_for_ready());
        assert_eq!(through(&later), [true, false], "there is no pod zero");
        let none = turns(&json!({ "updateStrategy": { "type": "OnDelete" } }));
        assert_eq!(through(&none), [true, true], "somebody deletes them");
    }
}
