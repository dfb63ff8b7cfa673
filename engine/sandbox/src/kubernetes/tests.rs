//! The server as its clients see it: kubectl, kube-rs, and the plain protocol.

mod conformance;
mod killed;
mod kubectl;
mod lasting;

use std::path::Path;
use std::process::Output;

use super::*;

/// A server with its folder, both gone with the test.
struct Fixture {
    root: tempfile::TempDir,
    server: KubernetesServer,
}

impl Fixture {
    async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let settings = Settings {
            pod_start: Duration::from_millis(50),
            pod_stop: Duration::from_millis(50),
        };
        let server = KubernetesServer::start_with(root.path(), "127.0.0.1:0".parse().unwrap(), settings)
            .await
            .unwrap();
        Self { root, server }
    }

    /// Runs kubectl as the administrator, and hands back what it printed.
    async fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        let output = run_kubectl(self.server.kubeconfig(), self.root.path(), arguments, input).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "kubectl {arguments:?}\n{text}\n{errors}");
        text
    }

    /// Runs kubectl where it is to fail, and hands back what it complained of.
    async fn kubectl_fails(&self, arguments: &[&str], input: &str) -> String {
        let output = run_kubectl(self.server.kubeconfig(), self.root.path(), arguments, input).await;
        assert!(!output.status.success(), "kubectl {arguments:?} should have failed");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn audit(&self) -> Vec<AuditRecord> {
        read_audit(self.server.audit_log()).unwrap()
    }

    fn effective_writes(&self) -> Vec<(String, String)> {
        let writes = self.audit().into_iter().filter(AuditRecord::is_effective_write);
        writes.map(|record| (record.verb, record.path)).collect()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test waits for its child, and kills it when it gives up"
)]
async fn run_kubectl(kubeconfig: &Path, home: &Path, arguments: &[&str], input: &str) -> Output {
    use tokio::io::AsyncWriteExt;
    let mut child = tokio::process::Command::new(kubectl())
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", home)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("kubectl is needed on PATH for these tests");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    tokio::time::timeout(Duration::from_mins(1), child.wait_with_output())
        .await
        .expect("kubectl hung")
        .unwrap()
}

/// The kubectl of the test servers, or the one on `PATH`.
#[expect(
    clippy::disallowed_methods,
    reason = "tests find their programs through the environment"
)]
fn kubectl() -> PathBuf {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(|folder| PathBuf::from(folder).join("kubectl"));
    assets
        .filter(|program| program.exists())
        .unwrap_or_else(|| "kubectl".into())
}

/// A deployment as people write one.
fn deployment(name: &str, image: &str, replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{ name: {name}, labels: {{ app: {name} }} }}
spec:
  replicas: {replicas}
  selector: {{ matchLabels: {{ app: {name} }} }}
  template:
    metadata: {{ labels: {{ app: {name} }} }}
    spec:
      containers:
        - name: backend
          image: {image}
          ports: [{{ containerPort: 8080, name: http }}]
          env: [{{ name: PORT, value: \"8080\" }}]
"
    )
}
