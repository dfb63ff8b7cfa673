//! The life of a sandbox: a process of its own that starts the servers, says how to reach them, and holds them until it
//! is told to end. It outlives a jm that is killed, so that a resume finds the same systems again.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use jm_step::Environment;
use jm_step::process::Supervisor;

use crate::cloudfront::{CloudFrontServer, Pace, Store};
use crate::description::{Description, KubernetesKind, Options};
use crate::kubernetes::KubernetesServer;
use crate::postgres::PostgresServer;
use crate::real_kubernetes::RealKubernetes;
use crate::s3::{Credentials, S3Server};
use crate::webhook::WebhookServer;
use crate::{SandboxError, journeyman};

/// Folders of the sandbox that belong to jm and its children, and to nobody else.
const PRIVATE: [&str; 5] = ["s3", "cloudfront", "kubernetes", "home", "state"];

/// Starts a sandbox in a folder and holds it until `stop` completes or a server of it ends.
pub async fn serve(
    directory: &Path,
    supervisor: &Supervisor,
    environment: &Environment,
    stop: impl Future<Output = ()>,
) -> Result<(), SandboxError> {
    let options = Options::load(directory)?;
    Description::withdraw(directory);
    tokio::pin!(stop);
    // What has started by then ends with this process: the supervisor sees to it.
    let mut sandbox = tokio::select! {
        started = Servers::start(directory, &options, supervisor, environment) => started?,
        () = &mut stop => return Ok(()),
    };
    let description = Description {
        pid: std::process::id(),
        started_at: jm_step::clock::now(),
        environment: sandbox.environment(directory),
    };
    journeyman::create_buckets(&description).await?;
    description.publish(directory)?;
    let ended = tokio::select! {
        error = sandbox.postgres.ended() => Err(error),
        error = sandbox.kubernetes.ended() => Err(error),
        () = &mut stop => Ok(()),
    };
    Description::withdraw(directory);
    ended
}

struct Servers {
    postgres: PostgresServer,
    s3: S3Server,
    cloudfront: CloudFrontServer,
    distribution: String,
    kubernetes: Kubernetes,
    webhook: WebhookServer,
    credentials: (String, String),
    key: String,
}

impl Servers {
    async fn start(
        directory: &Path,
        options: &Options,
        supervisor: &Supervisor,
        environment: &Environment,
    ) -> Result<Self, SandboxError> {
        for name in PRIVATE {
            make_private(&directory.join(name))?;
        }
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let credentials = (
            format!("JM{}", token(directory, "s3-access-key")?.to_uppercase()),
            token(directory, "s3-secret-key")?,
        );
        let [s3, cloudfront, postgres, kubernetes] =
            ["s3", "cloudfront", "postgres", "kubernetes"].map(|name| directory.join(name));
        let received = directory.join("webhook.jsonl");
        let (s3, postgres, kubernetes, webhook) = tokio::try_join!(
            S3Server::start(&s3, loopback, Credentials::new(&credentials.0, &credentials.1)),
            PostgresServer::start(&postgres, free_port()?, supervisor, environment),
            Kubernetes::start(options.kubernetes, &kubernetes, supervisor, environment),
            WebhookServer::start(&received, loopback),
        )?;
        let store = Store {
            endpoint: s3.endpoint(),
            access_key: credentials.0.clone(),
            secret_key: credentials.1.clone(),
        };
        let cloudfront = CloudFrontServer::start(&cloudfront, loopback, &store, Pace::default()).await?;
        Ok(Self {
            postgres,
            s3,
            distribution: cloudfront.distribute(journeyman::ASSETS, journeyman::HOST)?,
            cloudfront,
            kubernetes,
            webhook,
            credentials,
            key: token(directory, "encryption-key")?,
        })
    }

    fn environment(&self, directory: &Path) -> BTreeMap<String, String> {
        let below = |name: &str| directory.join(name).display().to_string();
        [
            ("DATABASE_URL", self.postgres.url(journeyman::DATABASE)),
            ("ENCRYPTION_KEY", self.key.clone()),
            ("BACKUP_DIR", below("backups")),
            ("RETENTION_DAYS", "30".to_owned()),
            ("AWS_ENABLED", "true".to_owned()),
            ("BACKUP_S3_BUCKET", journeyman::BUCKET.to_owned()),
            ("AWS_ENDPOINT_URL", self.s3.endpoint()),
            ("AWS_ENDPOINT_URL_CLOUDFRONT", self.cloudfront.endpoint()),
            ("CLOUDFRONT_DISTRIBUTION_ID", self.distribution.clone()),
            ("ASSETS_S3_BUCKET", journeyman::ASSETS.to_owned()),
            ("CDN_URL", format!("{}/", self.cloudfront.edge())),
            ("AWS_ACCESS_KEY_ID", self.credentials.0.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.credentials.1.clone()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("KUBECONFIG", self.kubernetes.kubeconfig().display().to_string()),
            ("WEBHOOK_URL", self.webhook.url()),
            ("HOME", below("home")),
            ("JM_STATE", below("state")),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }
}

/// The Kubernetes of a sandbox.
enum Kubernetes {
    Embedded(KubernetesServer),
    Real(RealKubernetes),
}

impl Kubernetes {
    async fn start(
        kind: KubernetesKind,
        root: &Path,
        supervisor: &Supervisor,
        environment: &Environment,
    ) -> Result<Self, SandboxError> {
        match kind {
            KubernetesKind::Embedded => {
                let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                KubernetesServer::start(root, loopback).await.map(Self::Embedded)
            }
            KubernetesKind::Real => RealKubernetes::start(root, supervisor, environment)
                .await
                .map(Self::Real),
        }
    }

    fn kubeconfig(&self) -> &Path {
        match self {
            Self::Embedded(server) => server.kubeconfig(),
            Self::Real(plane) => plane.kubeconfig(),
        }
    }

    /// Waits for its end: the one in this process ends with it.
    async fn ended(&mut self) -> SandboxError {
        match self {
            Self::Embedded(_) => std::future::pending().await,
            Self::Real(plane) => plane.ended().await,
        }
    }
}

/// Random text that a sandbox keeps: its keys are as long as it lives.
fn token(directory: &Path, name: &str) -> Result<String, SandboxError> {
    let path = directory.join("home").join(name);
    if let Ok(text) = std::fs::read_to_string(&path) {
        return Ok(text);
    }
    let text = hex::encode(rand::random::<[u8; 16]>());
    std::fs::write(&path, &text).map_err(SandboxError::file("write", path))?;
    Ok(text)
}

fn make_private(path: &Path) -> Result<(), SandboxError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(SandboxError::file("make", path))
}

/// A port that nobody listens on now. PostgreSQL cannot be given a listener, so another program may still be faster;
/// then it does not start, and says so.
fn free_port() -> Result<u16, SandboxError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let failed = |source| SandboxError::Listen { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    Ok(listener.local_addr().map_err(failed)?.port())
}
