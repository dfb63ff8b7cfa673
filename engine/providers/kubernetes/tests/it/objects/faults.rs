//! What an API server may fail to do while objects are restored, deleted and made anew: each is lived through.

use futures::future::join_all;
use jm_provider_kubernetes::{Apply, Restore};
use jm_step::AnyStepType;
use jm_testkit::StepBench;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Scene;
use crate::place::bench;
use crate::proxy::{Fault, Proxy};
use crate::server::Server;
use crate::wire::{OF_READS, OF_WRITES, live_through};

/// What is done while something fails.
#[derive(Clone, Copy)]
enum Deed {
    /// A config map comes back, and takes the place of one that cannot be changed.
    Restore,
    /// One that is of the set and not written any more goes.
    Prune,
}

/// A deed that can be done now, through a proxy.
struct Begun<'s> {
    scene: Scene<'s>,
    proxy: Proxy,
    bench: StepBench,
    input: Value,
    _manifests: TempDir,
}

impl Scene<'_> {
    fn config(&self, name: &str, value: &str) -> Value {
        let mut config = self.object("v1", "ConfigMap", name);
        config["data"] = json!({ "k": value });
        config["immutable"] = true.into();
        config
    }
}

impl Deed {
    fn step(self) -> &'static dyn AnyStepType {
        match self {
            Self::Restore => &Restore,
            Self::Prune => &Apply,
        }
    }

    async fn begin(self, server: &Server) -> Begun<'_> {
        let scene = Scene::new(server).await;
        let manifests = tempfile::tempdir().expect("a folder");
        let input = match self {
            Self::Restore => {
                let (old, new) = (scene.config("c", "old"), scene.config("c", "new"));
                scene.put(&old).await;
                scene.export(json!({ "cluster_scope": "none" })).await;
                scene.delete(&old).await;
                scene.put(&new).await;
                json!({ "objects": ["configmap/c"], "recreate": ["ConfigMap"], "on_conflict": "force" })
            }
            Self::Prune => {
                let file = |name: &str| manifests.path().join(format!("{name}.json"));
                for name in ["c", "gone"] {
                    std::fs::write(file(name), scene.config(name, "old").to_string()).expect("written");
                }
                let input = json!({ "paths": [manifests.path()], "applyset": "app", "prune": true });
                scene.bench().await.run(&Apply, input.clone()).await.output();
                std::fs::remove_file(file("gone")).expect("removed");
                input
            }
        };
        let proxy = Proxy::to(server).await;
        let bench = bench(&proxy.kubeconfig, scene.namespace()).await;
        let bench = bench.with("backups", scene.backups().await);
        proxy.forget();
        Begun {
            scene,
            proxy,
            bench,
            input,
            _manifests: manifests,
        }
    }

    /// Its requests about the objects themselves, each by the number of its first time.
    async fn requests(self, server: &Server) -> Vec<(usize, String)> {
        let begun = self.begin(server).await;
        begun.bench.run(self.step(), begun.input.clone()).await.output();
        let about = format!("/namespaces/{}/configmaps", begun.scene.namespace());
        let mut all: Vec<(usize, String)> = Vec::new();
        for (number, asked) in begun.proxy.forget().into_iter().enumerate() {
            if asked.contains(&about) && all.iter().all(|(_, before)| *before != asked) {
                all.push((number, asked));
            }
        }
        all
    }

    /// The fault hits a request of this method (`GET`, …), the first from this place on: how often a server is asked on the way
    /// differs from run to run.
    async fn with(self, server: &Server, nth: usize, method: &str, fault: Fault) {
        let when = format!("{} with {fault:?} at request {nth}", self.step().name());
        let begun = self.begin(server).await;
        let of = format!("{method} ");
        begun
            .proxy
            .fail(1, fault, move |number, asked| number >= nth && asked.starts_with(&of));
        live_through(begun.bench, self.step(), &begun.input).await;
        assert!(begun.proxy.forget().len() > nth, "{when}: there was none");
        let scene = &begun.scene;
        let there = scene.get(&scene.config("c", "")).await.unwrap_or_default();
        assert_eq!(there["data"]["k"], "old", "{when}");
        assert_eq!(scene.get(&scene.config("gone", "")).await, None, "{when}");
    }
}

pub(crate) async fn whatever_fails_once_leaves_nothing_deleted_or_undone(server: &Server) {
    for deed in [Deed::Restore, Deed::Prune] {
        let requests = deed.requests(server).await;
        let is_there = |method: &str| requests.iter().any(|(_, asked)| asked.starts_with(method));
        assert!(is_there("DELETE") && is_there("PATCH"), "{requests:?}");
        let cases = requests.iter().flat_map(|(nth, asked)| {
            let reads = asked.starts_with("GET");
            let faults = if reads {
                OF_READS.as_slice()
            } else {
                OF_WRITES.as_slice()
            };
            let method = asked.split(' ').next().unwrap_or_default();
            faults.iter().map(move |fault| deed.with(server, *nth, method, *fault))
        });
        join_all(cases).await;
    }
}
