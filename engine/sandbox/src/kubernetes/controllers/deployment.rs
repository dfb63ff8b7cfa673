//! Deployments: one ReplicaSet for each template, rolled over from the old to the new.

mod rollout;
mod status;

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::handlers::change::Part;
use super::super::handlers::delete::Options;
use super::super::object::{self, number, text};
use super::super::patch::managed::Writer;
use super::{Cluster, MANAGER, events};

const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MOST: &str = "deployment.kubernetes.io/max-replicas";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const HASH: &str = "pod-template-hash";

pub(super) fn pass(cluster: &Cluster) {
    for deployment in cluster.store.all("deployments") {
        if !object::is_terminating(&deployment) {
            settle(cluster, &deployment);
        }
    }
}

/// The ReplicaSets of a deployment.
struct Sets {
    /// The one of the template as it is now.
    new: Option<Arc<Value>>,
    old: Vec<Arc<Value>>,
}

impl Sets {
    fn of(cluster: &Cluster, deployment: &Value) -> Self {
        let mut old = cluster.controlled("replicasets", deployment);
        old.retain(|set| !object::is_terminating(set));
        old.sort_by_key(|set| (revision(set), object::name(set).to_owned()));
        let wanted = &deployment["spec"]["template"];
        let at = old
            .iter()
            .position(|set| without_hash(&set["spec"]["template"]) == without_hash(wanted));
        Self {
            new: at.map(|at| old.remove(at)),
            old,
        }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Value>> {
        self.old.iter().chain(&self.new)
    }

    /// The sum of a count over all sets.
    fn sum(&self, pointer: &str) -> i64 {
        self.all().map(|set| number(set, pointer)).sum()
    }
}

fn settle(cluster: &Cluster, deployment: &Value) {
    let mut sets = Sets::of(cluster, deployment);
    if deployment["spec"]["paused"] == json!(true) {
        rollout::scale_paused(cluster, deployment, &sets);
    } else {
        renew(cluster, deployment, &mut sets);
        rollout::roll(cluster, deployment, &sets);
        forget_old(cluster, deployment, &sets);
    }
    status::report(cluster, deployment, &Sets::of(cluster, deployment));
}

fn annotation<'v>(object: &'v Value, name: &str) -> &'v str {
    object["metadata"]["annotations"][name].as_str().unwrap_or_default()
}

fn revision(set: &Value) -> i64 {
    annotation(set, REVISION).parse().unwrap_or_default()
}

fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    object::remove(&mut template, &["metadata", "labels", HASH]);
    template
}

/// Sees to it that the template has its set, and that this set has the highest revision.
fn renew(cluster: &Cluster, deployment: &Value, sets: &mut Sets) {
    let next = sets.old.iter().map(|set| revision(set)).max().unwrap_or_default() + 1;
    let Some(set) = &sets.new else {
        let Some(set) = cluster.make("replicasets", replica_set(deployment, sets, next)) else {
            return;
        };
        tell_scaled(cluster, deployment, &set, 0, number(&set, "/spec/replicas"));
        status::progress(
            cluster,
            deployment,
            "NewReplicaSetCreated",
            &format!("Created new replica set {:?}", object::name(&set)),
        );
        mark_revision(cluster, deployment, next);
        sets.new = Some(set);
        return;
    };
    if revision(set) < next && next > 1 {
        cluster.change("replicasets", set, |set| raise_revision(set, next));
        status::progress(
            cluster,
            deployment,
            "FoundNewReplicaSet",
            &format!("Found new replica set {:?}", object::name(set)),
        );
    }
    mark_revision(cluster, deployment, next.max(revision(set)));
}

fn mark_revision(cluster: &Cluster, deployment: &Value, revision: i64) {
    // The real controller writes this together with the status, and holds it so.
    let writer = Writer {
        manager: MANAGER,
        subresource: "status",
    };
    cluster.write("deployments", deployment, Part::Wanted, writer, |deployment| {
        object::set(
            deployment,
            &["metadata", "annotations", REVISION],
            json!(revision.to_string()),
        );
    });
}

/// A set that is taken up again becomes the newest one, and remembers when it was before.
fn raise_revision(set: &mut Value, next: i64) {
    let before = annotation(set, REVISION).to_owned();
    let history = annotation(set, HISTORY);
    let history = if history.is_empty() {
        before
    } else {
        format!("{history},{before}")
    };
    object::set(set, &["metadata", "annotations", HISTORY], json!(history));
    object::set(set, &["metadata", "annotations", REVISION], json!(next.to_string()));
}

fn replica_set(deployment: &Value, sets: &Sets, revision: i64) -> Value {
    let hash = object::digest_name(&deployment["spec"]["template"]);
    let mut template = deployment["spec"]["template"].clone();
    let mut selector = deployment["spec"]["selector"].clone();
    object::set(&mut template, &["metadata", "labels", HASH], json!(hash));
    object::set(&mut selector, &["matchLabels", HASH], json!(hash));
    let bounds = rollout::Bounds::of(deployment);
    let mut set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": format!("{}-{hash}", object::name(deployment)), "namespace": object::namespace(deployment),
            "labels": template["metadata"]["labels"], "annotations": carried_annotations(deployment),
            "ownerReferences": [object::controller_reference(deployment)],
        },
        "spec": {"replicas": bounds.first_size(sets), "selector": selector, "template": template},
    });
    let least = number(deployment, "/spec/minReadySeconds");
    if least > 0 {
        set["spec"]["minReadySeconds"] = json!(least);
    }
    set["metadata"]["annotations"][REVISION] = json!(revision.to_string());
    bounds.note_on(&mut set);
    set
}

/// The deployment's annotations, without those that belong to it alone.
fn carried_annotations(deployment: &Value) -> Value {
    let mut annotations = deployment["metadata"]["annotations"].clone();
    if !annotations.is_object() {
        annotations = json!({});
    }
    for own in [REVISION, HISTORY, DESIRED, MOST, LAST_APPLIED] {
        object::remove(&mut annotations, &[own]);
    }
    annotations
}

fn tell_scaled(cluster: &Cluster, deployment: &Value, set: &Value, from: i64, to: i64) {
    if from != to {
        let way = if to > from { "up" } else { "down" };
        let message = format!("Scaled {way} replica set {} from {from} to {to}", object::name(set));
        events::tell(cluster, deployment, "ScalingReplicaSet", &message);
    }
}

/// Deletes the oldest empty sets beyond the history that is wanted.
fn forget_old(cluster: &Cluster, deployment: &Value, sets: &Sets) {
    let kept = usize::try_from(number(deployment, "/spec/revisionHistoryLimit")).unwrap_or(10);
    let empty = |set: &&Arc<Value>| {
        number(set, "/spec/replicas") == 0
            && number(set, "/status/replicas") == 0
            && number(set, "/status/observedGeneration") == number(set, "/metadata/generation")
            && !text(set, "/metadata/creationTimestamp").is_empty()
    };
    let idle: Vec<_> = sets.old.iter().filter(empty).collect();
    for set in &idle[..idle.len().saturating_sub(kept)] {
        cluster.delete("replicasets", set, &Options::quietly());
    }
}
