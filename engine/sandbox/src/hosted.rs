//! A database that lives in the cluster: PostgreSQL's own server, which is up for as long as its pod is ready.
//!
//! Nothing runs in the pods of this sandbox, so the server is played beside them: its password is that of the Secret in
//! the cluster, and its data belongs to the pod's claim, so that a new claim is an empty volume. A cluster that is lost
//! takes both along, and only one that is rebuilt in the right order brings them back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use jm_step::Environment;
use jm_step::process::Supervisor;
use serde_json::Value;

use crate::SandboxError;
use crate::journeyman::database::{CLAIM, CREDENTIALS, POD};
use crate::journeyman::{self, NAMESPACE};
use crate::postgres::{self, PostgresServer};

/// Between two looks at the cluster.
const PAUSE: Duration = Duration::from_millis(100);

/// The database of a cluster.
pub(crate) struct HostedDatabase<'s> {
    root: PathBuf,
    port: u16,
    kubeconfig: PathBuf,
    supervisor: &'s Supervisor,
    environment: &'s Environment,
    server: Option<Running>,
}

struct Running {
    server: PostgresServer,
    volume: String,
}

/// What the cluster says that there should be.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    volume: String,
    password: String,
}

impl<'s> HostedDatabase<'s> {
    /// The database whose volumes are under `root`, on a port of its own.
    pub(crate) fn new(
        root: &Path,
        kubeconfig: &Path,
        supervisor: &'s Supervisor,
        environment: &'s Environment,
    ) -> Result<Self, SandboxError> {
        std::fs::create_dir_all(root).map_err(SandboxError::file("make", root))?;
        Ok(Self {
            root: root.to_owned(),
            port: quiet_port()?,
            kubeconfig: kubeconfig.to_owned(),
            supervisor,
            environment,
            server: None,
        })
    }

    /// Where a database of it is, as soon as its pod is ready, with the password that whoever deploys it takes.
    pub(crate) fn url(&self, database: &str) -> Result<String, SandboxError> {
        Ok(postgres::url(&postgres::password(&self.root)?, self.port, database))
    }

    /// Waits until it is time to look at the cluster again. An error where the server ends by itself.
    pub(crate) async fn quiet(&mut self) -> Result<(), SandboxError> {
        let pause = tokio::time::sleep(PAUSE);
        let Some(running) = &mut self.server else {
            pause.await;
            return Ok(());
        };
        tokio::select! {
            error = running.server.ended() => Err(error),
            () = pause => Ok(()),
        }
    }

    /// The volumes are gone.
    pub(crate) async fn lose(&mut self) -> Result<(), SandboxError> {
        self.end().await;
        for entry in std::fs::read_dir(&self.root).map_err(SandboxError::file("read", &self.root))? {
            let path = entry.map_err(SandboxError::file("read", &self.root))?.path();
            if path.is_dir() {
                std::fs::remove_dir_all(&path).map_err(SandboxError::file("remove", &path))?;
            }
        }
        Ok(())
    }

    async fn end(&mut self) {
        if let Some(running) = self.server.take() {
            running.server.stop().await;
        }
    }

    /// Starts or ends the server as the cluster has it. A cluster that does not answer right now changes nothing.
    pub(crate) async fn follow(&mut self) -> Result<(), SandboxError> {
        let Ok(wanted) = wanted(&self.kubeconfig).await else {
            return Ok(());
        };
        let volume = self.server.as_ref().map(|running| running.volume.as_str());
        if volume == wanted.as_ref().map(|wanted| wanted.volume.as_str()) {
            return Ok(());
        }
        self.end().await;
        let Some(wanted) = wanted else { return Ok(()) };
        let root = self.root.join(&wanted.volume);
        let password = root.join("password");
        if !password.exists() {
            std::fs::create_dir_all(&root)
                .and_then(|()| std::fs::write(&password, &wanted.password))
                .map_err(SandboxError::file("write", &password))?;
        }
        let server = PostgresServer::start(&root, self.port, self.supervisor, self.environment).await?;
        self.server = Some(Running {
            server,
            volume: wanted.volume,
        });
        Ok(())
    }
}

/// The volume and the password, where the pod is ready and has both.
async fn wanted(kubeconfig: &Path) -> Result<Option<Wanted>, kube::Error> {
    let Ok(client) = journeyman::client(&kubeconfig.display().to_string()).await else {
        return Ok(None);
    };
    let find = async |plural: &str, name: &str| -> Result<Option<Value>, kube::Error> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/{plural}/{name}");
        let request = http::Request::get(path)
            .body(Vec::new())
            .map_err(kube::Error::HttpError)?;
        match client.request(request).await {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    };
    let pod = find("pods", POD).await?.filter(is_ready);
    let (Some(_), Some(claim), Some(secret)) = (
        pod,
        find("persistentvolumeclaims", CLAIM).await?,
        find("secrets", CREDENTIALS).await?,
    ) else {
        return Ok(None);
    };
    let word = |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let password = word(&secret, "/data/password")
        .and_then(|encoded| base64::engine::general_purpose::STANDARD.decode(encoded).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(word(&claim, "/metadata/uid")
        .zip(password)
        .map(|(volume, password)| Wanted { volume, password }))
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    pod["metadata"].get("deletionTimestamp").is_none()
        && conditions
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// A port for a server that starts much later: from below the range out of which the kernel gives ports to outgoing
/// connections, so that none of those takes it meanwhile.
fn quiet_port() -> Result<u16, SandboxError> {
    let mut last = None;
    for _ in 0..100 {
        let address = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, rand::random_range(15_000..32_000)));
        match std::net::TcpListener::bind(address) {
            Ok(_) => return Ok(address.port()),
            Err(source) => last = Some(SandboxError::Listen { address, source }),
        }
    }
    Err(last.unwrap_or_else(|| SandboxError::Furnish {
        action: "find a port",
        reason: "none was tried".to_owned(),
    }))
}
