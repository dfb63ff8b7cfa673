//! How many pods the old and the new ReplicaSets have on the way from one to the other.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::super::object::{self, number, text};
use super::super::{Cluster, workload};
use super::{DESIRED, MOST, Sets, tell_scaled};

/// What a rollout may do at most.
pub(super) struct Bounds {
    desired: i64,
    surge: i64,
    unavailable: i64,
    recreate: bool,
}

impl Bounds {
    pub(super) fn of(deployment: &Value) -> Self {
        let desired = number(deployment, "/spec/replicas");
        let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
        let surge = workload::share(&rolling["maxSurge"], desired, true);
        let mut unavailable = workload::share(&rolling["maxUnavailable"], desired, false);
        // With neither, a rollout could never begin.
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        let recreate = text(deployment, "/spec/strategy/type") == "Recreate";
        Self {
            desired,
            surge: if recreate { 0 } else { surge },
            unavailable: unavailable.min(desired),
            recreate,
        }
    }

    /// How many pods may be missing without the deployment being unavailable.
    pub(super) fn may_miss(&self) -> i64 {
        if self.recreate { 0 } else { self.unavailable }
    }

    /// How many pods a new set begins with.
    pub(super) fn first_size(&self, sets: &Sets) -> i64 {
        if self.recreate {
            return if sets.sum("/status/replicas") == 0 && sets.sum("/spec/replicas") == 0 {
                self.desired
            } else {
                0
            };
        }
        (self.desired + self.surge - sets.sum("/spec/replicas")).clamp(0, self.desired)
    }

    pub(super) fn note_on(&self, set: &mut Value) {
        let most = self.desired + self.surge;
        object::set(
            set,
            &["metadata", "annotations", DESIRED],
            json!(self.desired.to_string()),
        );
        object::set(set, &["metadata", "annotations", MOST], json!(most.to_string()));
    }
}

/// Takes the next step from the old sets to the new one.
pub(super) fn roll(cluster: &Cluster, deployment: &Value, sets: &Sets) {
    let bounds = Bounds::of(deployment);
    let Some(new) = &sets.new else { return };
    if bounds.recreate {
        recreate(cluster, deployment, sets, new, &bounds);
        return;
    }
    scale(cluster, deployment, new, new_size(sets, new, &bounds));
    for (set, size) in old_sizes(sets, new, &bounds) {
        scale(cluster, deployment, set, size);
    }
}

/// While a deployment rests, only its size is followed, by the newest set that has pods.
pub(super) fn scale_paused(cluster: &Cluster, deployment: &Value, sets: &Sets) {
    let bounds = Bounds::of(deployment);
    let active: Vec<_> = sets.all().filter(|set| number(set, "/spec/replicas") > 0).collect();
    let only = match active.as_slice() {
        [only] => Some(*only),
        [] => sets.new.as_ref().or(sets.old.last()),
        _ => None,
    };
    if let Some(set) = only {
        scale(cluster, deployment, set, bounds.desired);
    }
}

fn recreate(cluster: &Cluster, deployment: &Value, sets: &Sets, new: &Arc<Value>, bounds: &Bounds) {
    for old in &sets.old {
        scale(cluster, deployment, old, 0);
    }
    // The old pods must be gone, not only unwanted, before the first new one comes.
    let remaining = sets
        .old
        .iter()
        .any(|set| !cluster.controlled("pods", set).iter().all(|pod| workload::is_over(pod)));
    if !remaining {
        scale(cluster, deployment, new, bounds.desired);
    }
}

fn new_size(sets: &Sets, new: &Value, bounds: &Bounds) -> i64 {
    let now = number(new, "/spec/replicas");
    if now >= bounds.desired {
        return bounds.desired;
    }
    let room = bounds.desired + bounds.surge - sets.sum("/spec/replicas");
    now + room.clamp(0, bounds.desired - now)
}

/// The sizes of the old sets after as many pods were given up as may be: broken ones first, then those that serve.
fn old_sizes<'s>(sets: &'s Sets, new: &Value, bounds: &Bounds) -> Vec<(&'s Arc<Value>, i64)> {
    let least = bounds.desired - bounds.unavailable;
    let new_missing = number(new, "/spec/replicas") - available(new);
    let mut removable = sets.sum("/spec/replicas") - least - new_missing;
    let mut sizes: Vec<_> = sets
        .old
        .iter()
        .map(|set| (set, number(set, "/spec/replicas")))
        .collect();
    for (set, size) in &mut sizes {
        let broken = (*size - available(set)).clamp(0, removable.max(0));
        *size -= broken;
        removable -= broken;
    }
    let serving: i64 = sets.all().map(|set| available(set)).sum();
    let mut removable = (serving - least).max(0);
    for (_, size) in &mut sizes {
        let gone = (*size).min(removable);
        *size -= gone;
        removable -= gone;
    }
    sizes
}

/// The pods of a set that serve, of those it is to keep.
fn available(set: &Value) -> i64 {
    number(set, "/status/availableReplicas").min(number(set, "/spec/replicas"))
}

fn scale(cluster: &Cluster, deployment: &Value, set: &Arc<Value>, size: i64) {
    let before = number(set, "/spec/replicas");
    cluster.change("replicasets", set, |set| {
        object::set(set, &["spec", "replicas"], json!(size));
        Bounds::of(deployment).note_on(set);
    });
    tell_scaled(cluster, deployment, set, before, size);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(wanted: i64, available: i64) -> Arc<Value> {
        Arc::new(json!({"spec": {"replicas": wanted}, "status": {"replicas": wanted, "availableReplicas": available}}))
    }

    proptest! {
        /// However the pods fare, a rollout never has more than it may, never gives up more than may be missing,
        /// and comes to its end once its pods are available.
        #[test]
        fn a_rollout_keeps_its_bounds_and_ends(
            desired in 0..12_i64, surge in 0..4_i64, missing in 0..4_i64, fates in prop::collection::vec(any::<bool>(), 1..30),
        ) {
            let deployment = json!({"spec": {"replicas": desired, "strategy": {
                "type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": missing}}}});
            let bounds = Bounds::of(&deployment);
            let (mut old, mut new, mut new_ready) = (desired, 0, 0);
            for fate in fates.into_iter().chain(std::iter::repeat_n(true, 40)) {
                let sets = Sets { new: Some(set(new, new_ready)), old: vec![set(old, old)] };
                new = new_size(&sets, sets.new.as_ref().unwrap(), &bounds);
                let sets = Sets { new: Some(set(new, new_ready)), old: vec![set(old, old)] };
                old = old_sizes(&sets, sets.new.as_ref().unwrap(), &bounds)[0].1;
                prop_assert!(old + new <= desired + bounds.surge.max(0));
                prop_assert!(old + new_ready.min(new) >= desired - bounds.unavailable);
                if fate {
                    new_ready = (new_ready + 1).min(new);
                }
            }
            prop_assert_eq!((old, new), (0, desired));
        }
    }

    #[test]
    fn a_set_that_is_not_of_the_template_begins_with_what_there_is_room_for() {
        let deployment = json!({"spec": {"replicas": 10, "strategy": {
            "type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}}});
        let sets = Sets {
            new: None,
            old: vec![set(10, 10)],
        };
        assert_eq!(Bounds::of(&deployment).first_size(&sets), 3);
        let recreate = json!({"spec": {"replicas": 10, "strategy": {"type": "Recreate"}}});
        assert_eq!(Bounds::of(&recreate).first_size(&sets), 0);
    }
}
