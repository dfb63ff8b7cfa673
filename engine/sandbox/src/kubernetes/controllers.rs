//! What a control plane does behind its API: workloads bring forth pods, pods run, what is deleted goes away.
//!
//! One task looks at everything again after every change (level-triggered), so that a restart needs no memory.

mod cron_jobs;
mod daemon_set;
mod definitions;
mod deployment;
mod endpoints;
mod events;
mod garbage;
mod jobs;
mod namespaces;
mod pods;
mod quotas;
mod replica_set;
mod revisions;
mod stateful_set;
mod tokens;
mod volumes;
mod workload;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::handlers::change::{self, Note, Part};
use super::handlers::delete::{self, Options};
use super::kinds::{self, Kind};
use super::patch::managed::Writer;
use super::store::{Key, Store};
use super::{Settings, object};

/// How long changes are let come together before they are looked at.
const TOGETHER: Duration = Duration::from_millis(5);
/// How often time alone is a reason to look.
const TICK: Duration = Duration::from_millis(500);
/// How many writes are made before others are let have the store.
const IN_A_ROW: usize = 8;

/// The cluster as controllers see it.
pub(super) struct Cluster {
    pub(super) store: Arc<Store>,
    pub(super) settings: Settings,
    /// The authority's certificate, which every namespace is given.
    pub(super) authority: String,
    writes: AtomicUsize,
}

/// Runs all controllers until told to stop.
pub(super) async fn run(cluster: Arc<Cluster>, stop: CancellationToken) {
    let mut revisions = cluster.store.subscribe();
    let mut pods = pods::Pods::default();
    while !stop.is_cancelled() {
        revisions.borrow_and_update();
        // A look at thousands of objects takes a while, in which requests want to be answered.
        let looking = Arc::clone(&cluster);
        let look = tokio::task::spawn_blocking(move || (pass(&looking, &mut pods), pods));
        let (wake, remembered) = match look.await {
            Ok(seen) => seen,
            Err(error) => {
                tracing::error!(%error, "the controllers of the Kubernetes stand-in ended");
                return;
            }
        };
        pods = remembered;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep_until(wake) => {}
            changed = revisions.changed() => {
                if changed.is_err() {
                    return;
                }
                tokio::time::sleep(TOGETHER).await;
            }
        }
    }
}

/// Looks at everything once, and says when time alone asks for another look.
fn pass(cluster: &Cluster, pods: &mut pods::Pods) -> Instant {
    namespaces::pass(cluster);
    definitions::pass(cluster);
    tokens::pass(cluster);
    deployment::pass(cluster);
    replica_set::pass(cluster);
    stateful_set::pass(cluster);
    daemon_set::pass(cluster);
    cron_jobs::pass(cluster);
    jobs::pass(cluster);
    volumes::pass(cluster);
    quotas::pass(cluster);
    let next = pods.pass(cluster);
    endpoints::pass(cluster);
    garbage::pass(cluster);
    events::forget_old(cluster);
    next.min(Instant::now() + TICK)
}

/// The name under which most controllers write.
const MANAGER: &str = "kube-controller-manager";

impl Cluster {
    pub(super) fn new(store: Arc<Store>, settings: Settings, authority: String) -> Arc<Self> {
        let writes = AtomicUsize::new(0);
        Arc::new(Self {
            store,
            settings,
            authority,
            writes,
        })
    }

    /// Lets others have the store, for whoever writes one thing after the other would keep it.
    fn give_way(&self) {
        if self.writes.fetch_add(1, Ordering::Relaxed).is_multiple_of(IN_A_ROW) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Makes an object. One that is there already, or a namespace that is ending, is no reason to complain.
    fn make(&self, resource: &str, new: Value) -> Option<Arc<Value>> {
        let writer = Writer {
            manager: MANAGER,
            subresource: "",
        };
        // Nobody asks who holds which field of an event, and there are many of them.
        let note = if resource == "events" {
            Note::Done
        } else {
            Note::Update(writer)
        };
        let made = self
            .store
            .write(|transaction| change::insert(transaction, kinds::stored(resource), new, note));
        self.give_way();
        made.inspect_err(|error| tracing::debug!(?error, resource, "a controller could not make an object"))
            .ok()
    }

    /// Changes the wanted part of an object, as it is now, where it is still the same one.
    fn change(&self, resource: &str, known: &Value, edit: impl FnOnce(&mut Value)) {
        self.write(
            resource,
            known,
            Part::Wanted,
            Writer {
                manager: MANAGER,
                subresource: "",
            },
            edit,
        );
    }

    /// Changes the status of an object.
    fn report(&self, resource: &str, known: &Value, manager: &str, edit: impl FnOnce(&mut Value)) {
        self.write(
            resource,
            known,
            Part::Status,
            Writer {
                manager,
                subresource: "status",
            },
            edit,
        );
    }

    /// The kind that is stored under a name, where it is still served.
    fn kind(&self, resource: &str) -> Option<&'static Kind> {
        kinds::built_in(resource).or_else(|| super::definitions::stored(&self.store, resource))
    }

    fn write(&self, resource: &str, known: &Value, part: Part, writer: Writer<'_>, edit: impl FnOnce(&mut Value)) {
        let Some(kind) = self.kind(resource) else { return };
        let outcome = self.store.write(|transaction| {
            let Some(now) = transaction.get(&Key::of(resource, known)) else {
                return Ok(());
            };
            if object::uid(&now) != object::uid(known) {
                return Ok(());
            }
            let mut new = (*now).clone();
            edit(&mut new);
            if new == *now {
                return Ok(());
            }
            change::replace(transaction, kind, &now, new, part, Note::Update(writer)).map(drop)
        });
        self.give_way();
        if let Err(error) = outcome {
            tracing::debug!(?error, resource, "a controller could not change an object");
        }
    }

    /// Deletes an object, where it is still the same one and not on its way already.
    fn delete(&self, resource: &str, known: &Value, options: &Options) {
        let Some(kind) = self.kind(resource) else { return };
        let outcome = self
            .store
            .write(|transaction| match transaction.get(&Key::of(resource, known)) {
                Some(now) if object::uid(&now) == object::uid(known) => {
                    delete::delete(transaction, kind, &now, options).map(drop)
                }
                _ => Ok(()),
            });
        self.give_way();
        if let Err(error) = outcome {
            tracing::debug!(?error, resource, "a controller could not delete an object");
        }
    }

    /// The objects of a resource in a namespace that a controller manages.
    fn controlled(&self, resource: &str, owner: &Value) -> Vec<Arc<Value>> {
        let (_, mut all) = self.store.list(resource, Some(object::namespace(owner)));
        all.retain(|one| object::is_controlled_by(one, object::uid(owner)));
        all
    }
}
