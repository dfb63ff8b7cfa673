//! A small Kubernetes API server in process: HTTPS with tokens, and a control plane that makes pods come and go.
//!
//! It speaks the real protocol: `kubectl`, client-go and kube-rs work against it with the kubeconfig that it writes.
//! Objects are kept on disk under one folder, so that a process that was killed finds them again, with their UIDs
//! and with revisions that only grow. Every request is noted in `audit.jsonl`.
//!
//! # What is left out
//! - HTTP/2 and WebSockets; answers in protocol buffers; bodies in them beyond what `kubectl create` sends for the
//!   usual kinds (anything else is refused, not misread); `exec`, `attach`, `port-forward` and `proxy`; `eviction`, `binding`,
//!   `ephemeralcontainers`, `resize` and `finalize`; tokens on request; the old `/watch/` paths.
//! - Schemas: unknown fields are kept, not refused (`fieldValidation` is taken and does nothing), `kubectl explain`
//!   has nothing to show, and quantities are not compared by value. Validation covers names, labels, selectors,
//!   replicas, containers and the usual fields that may not change.
//! - Custom resources are kept as they come: nothing is checked, pruned or filled in by their schemas, versions differ in
//!   name alone (conversion webhooks are not called), lists in them are one value for server-side apply whatever
//!   `x-kubernetes-list-type` says, there is no `scale` of them, and `kubectl get` prints name and age. Two definitions
//!   may claim one kind.
//! - Webhook configurations and admission policies are stored; none is ever called or asked.
//! - API aggregation, encryption at rest, `componentstatuses`, `bindings`.
//! - `ReplicationControllers`, volume attachments and CSI objects are stored and do nothing. Token secrets of service
//!   accounts are filled, and their tokens let nobody in.
//! - Access rules: RBAC objects are stored and not enforced. There are two users: one who may do everything, and
//!   one (`kubeconfig-viewer`) who may look at everything but secrets.
//! - Quotas, limit ranges, priorities, pod disruption budgets and network policies are stored and do nothing.
//! - Autoscalers are stored and never scale. A Job ends as soon as its pods have started. A CronJob whose schedule
//!   cannot be read never runs. `ttlSecondsAfterFinished` and `activeDeadlineSeconds` are not kept.
//! - A page of a list (`limit`, `continue`) shows the present, not the revision at which the first page was read.
//!   Only the last 10,000 changes can be watched from; a watch from before them is answered with 410.
//! - ReplicaSets and pods without an owner are not adopted. A deployment that is scaled in the middle of a rollout
//!   is not scaled in proportion: it comes to the same end on another way.
//! - Containers do not run: probes, commands and mounts are not looked at, logs are one line (and one more for each second
//!   that they are followed), and pods are ready after a fixed time (see [`Settings`]). An image with `bad` in its name cannot be pulled, one with `crash` ends
//!   again and again, one with `slow` takes five seconds, one with `fail` makes a Job's pod fail.
//! - There is one node, always ready, without room that could run out; taints and affinities are not looked at.
//! - Claims are bound at once, without a PersistentVolume object behind them.

mod audit;
mod bootstrap;
mod controllers;
mod convert;
mod defaults;
mod definitions;
mod discovery;
mod handlers;
mod kinds;
mod object;
mod openapi;
mod patch;
pub(crate) mod pki;
mod protobuf;
mod reply;
mod request;
mod selectors;
mod server;
mod status;
mod store;
mod table;
mod validate;
mod watch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub use self::audit::{AuditRecord, read_audit};
use self::controllers::Cluster;
pub(crate) use self::object::canonical;
use self::pki::{Identity, User};
use self::server::Api;
use crate::SandboxError;

/// How the stand-in behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a pod takes from its node to being ready.
    pub pod_start: Duration,
    /// How long a pod takes to end, within its grace period.
    pub pod_stop: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pod_start: Duration::from_millis(200),
            pod_stop: Duration::from_millis(200),
        }
    }
}

/// A running API server with its controllers.
///
/// Dropping it ends it, too, without waiting for what is under way.
#[derive(Debug)]
pub struct KubernetesServer {
    address: SocketAddr,
    kubeconfig: PathBuf,
    viewer: PathBuf,
    audit: PathBuf,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl KubernetesServer {
    /// Starts the server on `listen` (port 0 for a free one) with its state under `root`.
    ///
    /// # Errors
    /// Where the folder cannot be used or is used by another server, holds damaged state, or the address is taken.
    pub async fn start(root: &Path, listen: SocketAddr) -> Result<Self, SandboxError> {
        Self::start_with(root, listen, Settings::default()).await
    }

    /// Starts the server with other delays than the usual ones.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with(root: &Path, listen: SocketAddr, settings: Settings) -> Result<Self, SandboxError> {
        std::fs::create_dir_all(root).map_err(SandboxError::file("make", root))?;
        let lock = lock(root)?;
        let identity = Identity::open(root)?;
        let store = Arc::new(store::Store::open(root)?);
        bootstrap::furnish(&store).map_err(|error| SandboxError::State {
            path: root.to_path_buf(),
            reason: format!("the first objects cannot be made: {error:?}"),
        })?;
        let listener = TcpListener::bind(listen).await.map_err(taken(listen))?;
        let address = listener.local_addr().map_err(taken(listen))?;
        let tls = TlsAcceptor::from(identity.tls()?);
        let kubeconfig = identity.write_kubeconfig(root, User::Admin, address)?;
        let viewer = identity.write_kubeconfig(root, User::Viewer, address)?;
        let cluster = Cluster::new(Arc::clone(&store), settings, identity.authority()?);
        let stop = CancellationToken::new();
        let audit = audit::Audit::open(root)?;
        let audit_path = audit.path().to_path_buf();
        let api = Arc::new(Api {
            store,
            identity,
            audit,
            _lock: lock,
            stop: stop.clone(),
        });
        let tasks = vec![
            tokio::spawn(controllers::run(cluster, stop.clone())),
            tokio::spawn(server::serve(api, listener, tls)),
        ];
        Ok(Self {
            address,
            kubeconfig,
            viewer,
            audit: audit_path,
            stop,
            tasks,
        })
    }

    /// The kubeconfig of the administrator, readable by the owner of the process alone.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The kubeconfig of a user who may look and change nothing.
    pub fn viewer_kubeconfig(&self) -> &Path {
        &self.viewer
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The address itself.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The audit trail: one [`AuditRecord`] a line, see [`read_audit`].
    pub fn audit_log(&self) -> &Path {
        &self.audit
    }

    /// Ends the server: watches end, requests under way are answered, controllers finish their look.
    pub async fn stop(mut self) {
        self.end().await;
    }

    /// Ends it as [`stop`](Self::stop) does, for whoever starts another one in its place.
    pub(crate) async fn end(&mut self) {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            drop(task.await);
        }
    }
}

impl Drop for KubernetesServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Keeps a second server out of the folder for as long as the file is open.
fn lock(root: &Path) -> Result<std::fs::File, SandboxError> {
    use rustix::fs::{FlockOperation, flock};
    let path = root.join("lock");
    let file = std::fs::File::create(&path).map_err(SandboxError::file("make", &path))?;
    let held = flock(&file, FlockOperation::NonBlockingLockExclusive);
    let why = "another server keeps its state there; end that one, or choose another folder";
    held.map_err(|_| std::io::Error::other(why))
        .map_err(SandboxError::file("lock", &path))?;
    Ok(file)
}

fn taken(address: SocketAddr) -> impl FnOnce(std::io::Error) -> SandboxError {
    move |source| SandboxError::Listen { address, source }
}

#[cfg(test)]
mod tests;
