//! A real Kubernetes control plane for the sandbox: the production programs on loopback, with their data in a folder of
//! the sandbox, so that a sandbox that is started again finds its objects.
//!
//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler are Kubernetes' own; only the kubelet is played, by
//! kwok, to the same rules as in the tests (`tests/services/kwok.yaml`): a pod that is bound becomes ready at once, and
//! the image's name can ask for another fate. Nobody but this machine can reach it; etcd asks nobody who he is.

mod programs;

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::FutureExt;
use futures::future::select_all;
use jm_step::Environment;
use jm_step::process::{Command, Process, Supervisor};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;
use tokio::time::Instant;

use self::programs::Programs;
use crate::SandboxError;
use crate::kubernetes::pki::{Identity, User};

/// What kwok does to nodes and pods.
const KWOK_STAGES: &str = include_str!("../../../tests/services/kwok.yaml");
/// How long the whole may take to be ready. On an idle machine it takes five seconds.
const START_LIMIT: Duration = Duration::from_mins(2);
/// Between two looks whether it is ready.
const PAUSE: Duration = Duration::from_millis(100);
/// The only node.
const NODE: &str = "sandbox-node";

/// A running control plane. It ends when it is dropped; its data stays.
#[derive(Debug)]
pub struct RealKubernetes {
    root: PathBuf,
    kubeconfig: PathBuf,
    address: SocketAddr,
    servers: Vec<(&'static str, Process)>,
}

/// What starting its servers takes.
struct Start<'s> {
    kubeconfig: PathBuf,
    programs: Programs,
    identity: Identity,
    supervisor: &'s Supervisor,
    environment: &'s Environment,
    etcd: SocketAddr,
    peer: SocketAddr,
    api: SocketAddr,
}

impl RealKubernetes {
    /// Starts a control plane on the data in `root`, which is made where it is missing, and waits until it takes work.
    ///
    /// # Errors
    /// Where a program of it is not on this machine, one ends, or it is not ready within two minutes.
    pub async fn start(root: &Path, supervisor: &Supervisor, environment: &Environment) -> Result<Self, SandboxError> {
        Self::start_at(root, None, supervisor, environment).await
    }

    /// The same at a given address, which another one had before.
    pub(crate) async fn start_at(
        root: &Path,
        address: Option<SocketAddr>,
        supervisor: &Supervisor,
        environment: &Environment,
    ) -> Result<Self, SandboxError> {
        let programs = Programs::find(environment)?;
        std::fs::create_dir_all(root).map_err(SandboxError::file("make", root))?;
        let [etcd, peer, free] = free_addresses()?;
        let api = address.unwrap_or(free);
        let identity = Identity::open(root)?;
        identity.write_control_plane_files()?;
        let start = Start {
            kubeconfig: identity.write_kubeconfig(root, User::Admin, api)?,
            programs,
            identity,
            supervisor,
            environment,
            etcd,
            peer,
            api,
        };
        let mut plane = Self {
            root: root.to_owned(),
            kubeconfig: start.kubeconfig.clone(),
            address: api,
            servers: Vec::new(),
        };
        plane.launch(&start).await?;
        Ok(plane)
    }

    /// The kubeconfig of its administrator, readable by the owner of the process alone.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Where its API server is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the end of any of its servers, which is a failure as long as nobody asked for it.
    pub async fn ended(&mut self) -> SandboxError {
        let waits = self.servers.iter_mut().map(|(name, process)| {
            let name = *name;
            async move { (name, process.wait().await) }.boxed()
        });
        let ((name, end), ..) = select_all(waits).await;
        let how = end.map_or_else(|error| error.message().to_owned(), |status| status.to_string());
        failed(format!("lost {name} ({how}): {}", self.last_words(name)))
    }

    /// Ends all of its servers and waits until they are gone.
    pub async fn stop(mut self) {
        self.end().await;
    }

    /// Ends them as [`stop`](Self::stop) does, for whoever starts others in their place.
    pub(crate) async fn end(&mut self) {
        // An API server without etcd does not care for a polite signal, and nothing here is lost by a rude one.
        for (_, process) in self.servers.iter_mut().rev() {
            process.kill().await;
        }
    }

    async fn launch(&mut self, start: &Start<'_>) -> Result<(), SandboxError> {
        self.spawn("etcd", start.etcd(&self.root), start)?;
        self.until("etcd listens", async || {
            tokio::net::TcpStream::connect(start.etcd).await.is_ok()
        })
        .await?;
        self.spawn("kube-apiserver", start.api_server(), start)?;
        let client = client(&self.kubeconfig).await?;
        self.until("the API server is ready", async || is_ready(&client).await)
            .await?;
        self.spawn(
            "kube-controller-manager",
            start.controller_manager(&self.kubeconfig),
            start,
        )?;
        self.spawn("kube-scheduler", start.scheduler(&self.kubeconfig), start)?;
        forget_kubelets(&client).await;
        self.spawn("kwok", start.kwok(&self.root, &self.kubeconfig)?, start)?;
        self.until("its node is made", async || make_node(&client).await.is_ok())
            .await?;
        self.until("its node is ready", async || takes_work(&client).await)
            .await
    }

    fn spawn(&mut self, name: &'static str, command: Command, start: &Start<'_>) -> Result<(), SandboxError> {
        let log = self.log(name);
        let log = File::create(&log).map_err(SandboxError::file("write", &log))?;
        let started = command.output_to(log).spawn(start.supervisor, start.environment);
        self.servers
            .push((name, started.map_err(|error| failed(error.message()))?));
        Ok(())
    }

    async fn until(&mut self, what: &str, reached: impl AsyncFn() -> bool) -> Result<(), SandboxError> {
        let limit = Instant::now() + START_LIMIT;
        while !reached().await {
            tokio::select! {
                ended = self.ended() => return Err(ended),
                () = tokio::time::sleep(PAUSE) => {}
            }
            if Instant::now() > limit {
                let newest = self.servers.last().map_or("etcd", |(name, _)| name);
                let words = self.last_words(newest);
                return Err(failed(format!(
                    "did not get to where {what} within {} s: {words}",
                    START_LIMIT.as_secs()
                )));
            }
        }
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}.log"))
    }

    /// The last line that a server wrote, and where the others are.
    fn last_words(&self, name: &str) -> String {
        let log = self.log(name);
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let last = text.lines().rfind(|line| !line.trim().is_empty());
        format!("{}; read `{}`", last.unwrap_or("it said nothing"), log.display())
    }
}

impl Start<'_> {
    fn etcd(&self, root: &Path) -> Command {
        let (client, peer) = (format!("http://{}", self.etcd), format!("http://{}", self.peer));
        Command::new(self.programs.etcd())
            .arg("--name=default")
            .arg(format!("--data-dir={}", root.join("etcd").display()))
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster=default={peer}"))
            .arg("--log-level=warn")
            // A sandbox has to outlive a kill, not a power cut.
            .arg("--unsafe-no-fsync=true")
    }

    fn api_server(&self) -> Command {
        let file = |name: &str| self.identity.file(name).display().to_string();
        Command::new(self.programs.api_server())
            .arg(format!("--etcd-servers=http://{}", self.etcd))
            .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
            .arg(format!("--secure-port={}", self.api.port()))
            .arg(format!("--tls-cert-file={}", file("server.crt")))
            .arg(format!("--tls-private-key-file={}", file("server.key")))
            .arg(format!("--client-ca-file={}", file("ca.crt")))
            .arg(format!("--cert-dir={}", file("")))
            .arg(format!("--token-auth-file={}", file("tokens.csv")))
            .arg("--authorization-mode=RBAC")
            .args(["--service-cluster-ip-range=10.0.0.0/24", "--allow-privileged=true"])
            .arg(format!("--service-account-issuer=https://{}", self.api))
            .arg(format!("--service-account-key-file={}", file("service-accounts.pub")))
            .arg(format!(
                "--service-account-signing-key-file={}",
                file("service-accounts.key")
            ))
            .arg("--endpoint-reconciler-type=none")
    }

    fn controller_manager(&self, kubeconfig: &Path) -> Command {
        let file = |name: &str| self.identity.file(name).display().to_string();
        controller(self.programs.controller_manager(), kubeconfig)
            .arg("--use-service-account-credentials=false")
            .arg(format!(
                "--service-account-private-key-file={}",
                file("service-accounts.key")
            ))
            .arg(format!("--root-ca-file={}", file("ca.crt")))
            .arg("--controllers=*")
    }

    fn scheduler(&self, kubeconfig: &Path) -> Command {
        controller(self.programs.scheduler(), kubeconfig)
    }

    fn kwok(&self, root: &Path, kubeconfig: &Path) -> Result<Command, SandboxError> {
        let stages = root.join("kwok.yaml");
        std::fs::write(&stages, KWOK_STAGES).map_err(SandboxError::file("write", &stages))?;
        Ok(Command::new(self.programs.kwok())
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--config={}", stages.display()))
            .args(["--manage-all-nodes=true", "--node-lease-duration-seconds=40"])
            .args(["--cidr=10.1.0.0/16", "--node-ip=127.0.0.1"]))
    }
}

/// What the controller manager and the scheduler have in common.
fn controller(program: PathBuf, kubeconfig: &Path) -> Command {
    Command::new(program)
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .args(["--leader-elect=false", "--secure-port=0"])
}

async fn client(kubeconfig: &Path) -> Result<kube::Client, SandboxError> {
    let unusable = "reach the control plane";
    let kubeconfig = Kubeconfig::read_from(kubeconfig).map_err(SandboxError::furnish(unusable))?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    kube::Client::try_from(config.map_err(SandboxError::furnish(unusable))?).map_err(SandboxError::furnish(unusable))
}

async fn is_ready(client: &kube::Client) -> bool {
    let request = http::Request::get("/readyz").body(Vec::new());
    match request {
        Ok(request) => client.request_text(request).await.is_ok_and(|said| said == "ok"),
        Err(_) => false,
    }
}

/// A kubelet that ended without a word still holds its node for 40 s by these, and no other one cares for it.
async fn forget_kubelets(client: &kube::Client) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    // On a control plane that never ran there are none.
    drop(
        leases
            .delete_collection(&DeleteParams::default(), &ListParams::default())
            .await,
    );
}

async fn make_node(client: &kube::Client) -> kube::Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let labels = json!({ "kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64" });
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": NODE, "labels": labels } });
    let own = PatchParams::apply("jm-sandbox").force();
    nodes.patch(NODE, &own, &Patch::Apply(&node)).await?;
    // The taint of a new node would go by itself, when a controller has seen that it is ready.
    let open = json!({ "spec": { "taints": null } });
    nodes.patch(NODE, &PatchParams::default(), &Patch::Merge(&open)).await?;
    Ok(())
}

/// Whether the node is ready, and pods may be made.
async fn takes_work(client: &kube::Client) -> bool {
    let nodes: Api<Node> = Api::all(client.clone());
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    let is_ready = |node: Node| {
        let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
        conditions
            .iter()
            .any(|one| one.type_ == "Ready" && one.status == "True")
    };
    nodes.get(NODE).await.is_ok_and(is_ready) && accounts.get("default").await.is_ok()
}

/// Addresses that nobody listens on now, all different.
fn free_addresses<const N: usize>() -> Result<[SocketAddr; N], SandboxError> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let failed = |source| SandboxError::Listen { address: any, source };
    // All are held until the last one is found.
    let mut held = Vec::with_capacity(N);
    let mut found = [any; N];
    for address in &mut found {
        let listener = TcpListener::bind(any).map_err(failed)?;
        *address = listener.local_addr().map_err(failed)?;
        held.push(listener);
    }
    Ok(found)
}

fn failed(reason: impl Into<String>) -> SandboxError {
    SandboxError::Server {
        service: "Kubernetes",
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests;
