//! The two servers: one stand-in for each test, one control plane for all of them.

use std::path::{Path, PathBuf};

use jm_sandbox::kubernetes::{KubernetesServer, read_audit};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// A Kubernetes API server to test against.
pub(crate) struct Server {
    pub(crate) kubeconfig: PathBuf,
    /// The kubeconfig of somebody who may look and not touch.
    pub(crate) viewer: PathBuf,
    audit: PathBuf,
    kind: Kind,
}

enum Kind {
    StandIn {
        _server: Box<KubernetesServer>,
        _folder: tempfile::TempDir,
    },
    ControlPlane,
}

/// The control plane of this test binary: a folder. It ends with the process that asked for it.
static CONTROL_PLANE: OnceCell<PathBuf> = OnceCell::const_new();
/// Another one, which serves what Kubernetes was three minor versions before.
static OLDER_CONTROL_PLANE: OnceCell<PathBuf> = OnceCell::const_new();
/// One that takes few requests at once.
static BUSY_CONTROL_PLANE: OnceCell<PathBuf> = OnceCell::const_new();
const FEW: [&str; 4] = [
    "--api-flag",
    "--enable-priority-and-fairness=false",
    "--api-flag",
    "--max-mutating-requests-inflight=2",
];
/// That version.
const OLDER: &str = "1.33";

impl Server {
    pub(crate) async fn stand_in() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listen = "127.0.0.1:0".parse().expect("an address");
        let server = KubernetesServer::start(folder.path(), listen).await.expect("it starts");
        Self {
            kubeconfig: server.kubeconfig().to_owned(),
            viewer: server.viewer_kubeconfig().to_owned(),
            audit: server.audit_log().to_owned(),
            kind: Kind::StandIn {
                _server: Box::new(server),
                _folder: folder,
            },
        }
    }

    pub(crate) async fn control_plane() -> Self {
        Self::of_control_plane(CONTROL_PLANE.get_or_init(|| start_control_plane(&[])).await)
    }

    pub(crate) async fn older_control_plane() -> Self {
        let start = || start_control_plane(&["--emulate", OLDER]);
        Self::of_control_plane(OLDER_CONTROL_PLANE.get_or_init(start).await)
    }

    pub(crate) async fn busy_control_plane() -> Self {
        Self::of_control_plane(BUSY_CONTROL_PLANE.get_or_init(|| start_control_plane(&FEW)).await)
    }

    fn of_control_plane(folder: &Path) -> Self {
        Self {
            kubeconfig: folder.join("kubeconfig"),
            viewer: folder.join("kubeconfig-default-viewer"),
            audit: folder.join("audit.log"),
            kind: Kind::ControlPlane,
        }
    }

    pub(crate) async fn client(&self) -> kube::Client {
        client(&self.kubeconfig).await
    }

    /// kubectl of the control plane's version.
    #[expect(
        clippy::disallowed_methods,
        reason = "tests find their servers through the environment"
    )]
    pub(crate) fn kubectl_path() -> PathBuf {
        let assets = std::env::var("KUBEBUILDER_ASSETS")
            .expect("KUBEBUILDER_ASSETS is not set: run these tests with `tests/run -p jm-provider-kubernetes`");
        Path::new(&assets).join("kubectl")
    }

    /// What kubectl says.
    #[expect(clippy::disallowed_methods, reason = "tests look with what people look with")]
    pub(crate) async fn kubectl(&self, words: &[&str]) -> String {
        let cache = tempfile::tempdir().expect("a folder");
        let asked = tokio::process::Command::new(Self::kubectl_path())
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--cache-dir")
            .arg(cache.path())
            .args(words)
            .output()
            .await
            .expect("kubectl can be run");
        let said = String::from_utf8_lossy(&asked.stderr);
        assert!(asked.status.success(), "kubectl {words:?}: {said}");
        String::from_utf8(asked.stdout).expect("text")
    }

    /// The kubeconfig of somebody who may do what an application's owner may.
    pub(crate) async fn editor(&self) -> PathBuf {
        self.account("editor", "admin").await
    }

    /// The kubeconfig of a new account that has such a role.
    pub(crate) async fn account(&self, name: &str, role: &str) -> PathBuf {
        let folder = self.kubeconfig.parent().expect("a folder");
        make_account(folder, name, role).await
    }

    /// The kubeconfig of an account that is there.
    pub(crate) async fn kubeconfig_of(&self, namespace: &str, name: &str) -> PathBuf {
        kubeconfig_of(self.kubeconfig.parent().expect("a folder"), namespace, name).await
    }

    /// How many requests of a namespace were turned away because there were too many.
    pub(crate) fn turned_away(&self, namespace: &str) -> usize {
        let trail = std::fs::read_to_string(&self.audit).expect("a trail");
        let entries = trail
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let of_it = entries.filter(|entry| entry.pointer("/objectRef/namespace") == Some(&namespace.into()));
        of_it
            .filter(|entry| entry.pointer("/responseStatus/code") == Some(&429.into()))
            .count()
    }

    /// How many writes to a namespace took effect, those of its controllers left out.
    pub(crate) fn writes(&self, namespace: &str) -> usize {
        match &self.kind {
            Kind::StandIn { .. } => {
                let trail = read_audit(&self.audit).expect("a trail");
                let own = trail.iter().filter(|entry| entry.namespace == namespace);
                own.filter(|entry| entry.is_effective_write()).count()
            }
            Kind::ControlPlane => {
                let trail = std::fs::read_to_string(&self.audit).expect("a trail");
                let entries = trail
                    .lines()
                    .filter_map(|line| serde_json::from_str::<Value>(line).ok());
                entries.filter(|entry| is_effective_write(entry, namespace)).count()
            }
        }
    }
}

fn is_effective_write(entry: &Value, namespace: &str) -> bool {
    let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let code = entry
        .pointer("/responseStatus/code")
        .and_then(Value::as_u64)
        .unwrap_or(0);
    let controller = ["kube-", "kwok"]
        .iter()
        .any(|name| text("/userAgent").starts_with(name));
    let writes = ["create", "update", "patch", "delete", "deletecollection"];
    text("/objectRef/namespace") == namespace
        && writes.contains(&text("/verb"))
        && code < 300
        && !controller
        && text("/stage") == "ResponseComplete"
}

async fn client(kubeconfig: &Path) -> kube::Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    kube::Client::try_from(config.expect("a configuration")).expect("a client")
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests find their servers through the environment, and start them"
)]
async fn start_control_plane(flags: &[&str]) -> PathBuf {
    let services = std::env::var("JM_TEST_SERVICES")
        .expect("JM_TEST_SERVICES is not set: run these tests with `tests/run -p jm-provider-kubernetes`");
    // Only letters that an env file can hold.
    let name = flags
        .concat()
        .replace(|c: char| !c.is_ascii_alphanumeric() && !"-.".contains(c), "_");
    let folder = fresh_folder(&name);
    let owner = std::process::id().to_string();
    let started = tokio::process::Command::new(Path::new(&services).join("control-plane"))
        .arg("start")
        .arg(&folder)
        .args(["--owner", &owner])
        .args(flags)
        .output()
        .await
        .expect("tests/services/control-plane can be run");
    let said = String::from_utf8_lossy(&started.stderr);
    assert!(
        started.status.success(),
        "no control plane; `tests/run` installs what is missing\n{said}"
    );
    make_viewer(&folder).await;
    folder
}

/// A folder of this process in the target folder; those of processes that are gone are removed.
fn fresh_folder(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("control-planes");
    for entry in std::fs::read_dir(&root).into_iter().flatten().flatten() {
        let owner = entry.file_name();
        let owner = owner.to_string_lossy();
        let owner = owner.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(owner).exists() {
            // Another test binary may be removing it, too.
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
    let folder = root.join(format!("{}-{}", std::process::id(), name.trim_start_matches('-')));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// A service account that may look at everything but secrets, and its kubeconfig.
async fn make_viewer(folder: &Path) {
    make_account(folder, "viewer", "view").await;
}

/// A service account with a role in all namespaces, and its kubeconfig.
async fn make_account(folder: &Path, name: &str, role: &str) -> PathBuf {
    let client = client(&folder.join("kubeconfig")).await;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    let account = serde_json::from_value(json!({ "metadata": { "name": name } })).expect("an account");
    accounts.create(&PostParams::default(), &account).await.expect("made");
    bind(client.clone(), name, role).await;
    kubeconfig_of(folder, "default", name).await
}

/// The kubeconfig of an account that is there.
async fn kubeconfig_of(folder: &Path, namespace: &str, name: &str) -> PathBuf {
    let client = client(&folder.join("kubeconfig")).await;
    let request =
        json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": { "audiences": [] } });
    let request = http::Request::post(format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"))
        .header("content-type", "application/json")
        .body(request.to_string().into_bytes());
    let granted: Value = client.request(request.expect("a request")).await.expect("a token");
    let token = granted["status"]["token"].as_str().expect("a token");
    let text = std::fs::read_to_string(folder.join("kubeconfig")).expect("a kubeconfig");
    let (before, after) = text.split_once("token: \"").expect("a token");
    let (_, after) = after.split_once('"').expect("an end");
    let path = folder.join(format!("kubeconfig-{namespace}-{name}"));
    std::fs::write(&path, format!("{before}token: \"{token}\"{after}")).expect("written");
    path
}

async fn bind(client: kube::Client, name: &str, role: &str) {
    let binding = serde_json::from_value(json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": "default" }],
    }));
    let bindings: Api<k8s_openapi::api::rbac::v1::ClusterRoleBinding> = Api::all(client);
    let made = bindings
        .create(&PostParams::default(), &binding.expect("a binding"))
        .await;
    made.expect("bound");
}
