//! The life of a sandbox: a process of its own that starts the servers, says how to reach them, and holds them until it
//! is told to end. It outlives a jm that is killed, so that a resume finds the same systems again.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use jm_step::Environment;
use jm_step::process::Supervisor;

use crate::cloudfront::{CloudFrontServer, Pace, Store};
use crate::control::{Answer, Control, Request};
use crate::description::{DatabasePlace, Description, KubernetesKind, Options};
use crate::hosted::HostedDatabase;
use crate::kubernetes::KubernetesServer;
use crate::postgres::PostgresServer;
use crate::real_kubernetes::RealKubernetes;
use crate::s3::{Credentials, S3Server};
use crate::webhook::WebhookServer;
use crate::{SandboxError, journeyman, postgres};

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
    let given = environment.get("PATH");
    let environment = &postgres::programs::with_programs(directory, environment, supervisor).await?;
    tokio::pin!(stop);
    let control = Control::open(directory)?;
    // What has started by then ends with this process: the supervisor sees to it.
    let mut sandbox = tokio::select! {
        started = Servers::start(directory, &options, supervisor, environment) => started?,
        () = &mut stop => return Ok(()),
    };
    let mut variables = sandbox.environment(directory)?;
    // PostgreSQL's clients come from where its server does.
    if let Some(path) = environment.get("PATH").filter(|path| Some(*path) != given) {
        variables.insert("PATH".to_owned(), path.to_owned());
    }
    let description = Description {
        pid: std::process::id(),
        started_at: jm_step::clock::now(),
        environment: variables,
        database: options.database,
        control: Some(control.path().to_owned()),
    };
    journeyman::create_buckets(&description).await?;
    description.publish(directory)?;
    let ended = tokio::select! {
        error = sandbox.hold(&control) => Err(error),
        () = &mut stop => Ok(()),
    };
    Description::withdraw(directory);
    ended
}

struct Servers<'s> {
    database: Database<'s>,
    s3: S3Server,
    cloudfront: CloudFrontServer,
    distribution: String,
    kubernetes: Kubernetes<'s>,
    webhook: WebhookServer,
    credentials: (String, String),
    key: String,
}

impl<'s> Servers<'s> {
    async fn start(
        directory: &Path,
        options: &Options,
        supervisor: &'s Supervisor,
        environment: &'s Environment,
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
        let (s3, beside, kubernetes, webhook) = tokio::try_join!(
            S3Server::start(&s3, loopback, Credentials::new(&credentials.0, &credentials.1)),
            beside(options.database, &postgres, supervisor, environment),
            Kubernetes::start(options.kubernetes, &kubernetes, supervisor, environment),
            WebhookServer::start(&received, loopback),
        )?;
        let store = Store {
            endpoint: s3.endpoint(),
            access_key: credentials.0.clone(),
            secret_key: credentials.1.clone(),
        };
        let cloudfront = CloudFrontServer::start(&cloudfront, loopback, &store, Pace::default()).await?;
        let database = if let Some(server) = beside {
            Database::Beside(server)
        } else {
            let kubeconfig = kubernetes.kubeconfig();
            Database::InCluster(HostedDatabase::new(&postgres, kubeconfig, supervisor, environment)?)
        };
        Ok(Self {
            database,
            s3,
            distribution: cloudfront.distribute(journeyman::ASSETS, journeyman::HOST)?,
            cloudfront,
            kubernetes,
            webhook,
            credentials,
            key: token(directory, "encryption-key")?,
        })
    }

    fn environment(&self, directory: &Path) -> Result<BTreeMap<String, String>, SandboxError> {
        let below = |name: &str| directory.join(name).display().to_string();
        let variables = [
            ("DATABASE_URL", self.database.url(journeyman::DATABASE)?),
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
            // The SDKs read the one, AWS's own command line the other.
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
            ("KUBECONFIG", self.kubernetes.kubeconfig().display().to_string()),
            ("WEBHOOK_URL", self.webhook.url()),
            ("HOME", below("home")),
            ("JM_STATE", below("state")),
        ];
        Ok(variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect())
    }

    /// Does what it is asked for, until a server ends that nobody asked to.
    async fn hold(&mut self, control: &Control) -> SandboxError {
        loop {
            let (request, answer) = match self.asked(control).await {
                Ok(asked) => asked,
                Err(error) => return error,
            };
            let outcome = match request {
                Request::LoseCluster => self.lose_cluster().await,
            };
            answer.of(&outcome).await;
            // What is half lost is of no use to anybody.
            if let Err(error) = outcome {
                return error;
            }
        }
    }

    /// Waits until it is asked for something, and lets the database follow the cluster meanwhile.
    async fn asked(&mut self, control: &Control) -> Result<(Request, Answer), SandboxError> {
        let next = control.next();
        tokio::pin!(next);
        loop {
            // Not beside the others: a server that is given up half-way through its start still writes to its volume.
            self.database.follow().await?;
            tokio::select! {
                quiet = self.database.quiet() => quiet?,
                error = self.kubernetes.ended() => return Err(error),
                asked = &mut next => return Ok(asked),
            }
        }
    }

    /// The cluster is gone with everything in it, and an empty one is at its address.
    async fn lose_cluster(&mut self) -> Result<(), SandboxError> {
        self.kubernetes.lose().await?;
        match &mut self.database {
            Database::Beside(_) => Ok(()),
            Database::InCluster(database) => database.lose().await,
        }
    }
}

/// The database of a sandbox.
enum Database<'s> {
    Beside(PostgresServer),
    InCluster(HostedDatabase<'s>),
}

/// Starts the server beside the cluster, where that is where it lives.
async fn beside(
    place: DatabasePlace,
    root: &Path,
    supervisor: &Supervisor,
    environment: &Environment,
) -> Result<Option<PostgresServer>, SandboxError> {
    match place {
        DatabasePlace::Beside => {
            let start = |port| PostgresServer::start(root, port, supervisor, environment);
            on_a_free_port(free_port, start).await.map(Some)
        }
        DatabasePlace::InCluster => Ok(None),
    }
}

impl Database<'_> {
    fn url(&self, database: &str) -> Result<String, SandboxError> {
        match self {
            Self::Beside(server) => Ok(server.url(database)),
            Self::InCluster(server) => server.url(database),
        }
    }

    /// Starts or ends the server as the cluster has it, where it lives there.
    async fn follow(&mut self) -> Result<(), SandboxError> {
        match self {
            Self::Beside(_) => Ok(()),
            Self::InCluster(database) => database.follow().await,
        }
    }

    /// Waits until it is time to follow again. An error where the server ends that nobody asked to.
    async fn quiet(&mut self) -> Result<(), SandboxError> {
        match self {
            Self::Beside(server) => Err(server.ended().await),
            Self::InCluster(database) => database.quiet().await,
        }
    }
}

/// The Kubernetes of a sandbox.
struct Kubernetes<'s> {
    root: PathBuf,
    server: Server,
    supervisor: &'s Supervisor,
    environment: &'s Environment,
}

enum Server {
    Embedded(KubernetesServer),
    Real(RealKubernetes),
}

impl<'s> Kubernetes<'s> {
    async fn start(
        kind: KubernetesKind,
        root: &Path,
        supervisor: &'s Supervisor,
        environment: &'s Environment,
    ) -> Result<Self, SandboxError> {
        let server = match kind {
            KubernetesKind::Embedded => {
                let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                Server::Embedded(KubernetesServer::start(root, loopback).await?)
            }
            KubernetesKind::Real => Server::Real(RealKubernetes::start(root, supervisor, environment).await?),
        };
        Ok(Self {
            root: root.to_owned(),
            server,
            supervisor,
            environment,
        })
    }

    fn kubeconfig(&self) -> &Path {
        match &self.server {
            Server::Embedded(server) => server.kubeconfig(),
            Server::Real(plane) => plane.kubeconfig(),
        }
    }

    /// Puts an empty cluster in its place, at the same address and for the same users.
    async fn lose(&mut self) -> Result<(), SandboxError> {
        match &mut self.server {
            Server::Embedded(server) => {
                let address = server.address();
                server.end().await;
                forget(&self.root.join("objects.jsonl"))?;
                *server = KubernetesServer::start(&self.root, address).await?;
            }
            Server::Real(plane) => {
                let address = plane.address();
                plane.end().await;
                forget(&self.root.join("etcd"))?;
                *plane = RealKubernetes::start_at(&self.root, Some(address), self.supervisor, self.environment).await?;
            }
        }
        Ok(())
    }

    /// Waits for its end: the one in this process ends with it.
    async fn ended(&mut self) -> SandboxError {
        match &mut self.server {
            Server::Embedded(_) => std::future::pending().await,
            Server::Real(plane) => plane.ended().await,
        }
    }
}

/// Takes away what a server kept: a file, or a folder with everything in it.
fn forget(path: &Path) -> Result<(), SandboxError> {
    let gone = if path.is_dir() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
    gone.map_err(SandboxError::file("remove", path))
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

/// Starts a server on a port that is free. PostgreSQL cannot be given a listener, so another program may be faster between
/// the choice and the start: then another port is chosen.
async fn on_a_free_port<T, F: Future<Output = Result<T, SandboxError>>>(
    mut choose: impl FnMut() -> Result<u16, SandboxError>,
    start: impl Fn(u16) -> F,
) -> Result<T, SandboxError> {
    /// So often in a row, somebody else is faster on purpose.
    const TRIES: usize = 5;
    for _ in 1..TRIES {
        let port = choose()?;
        match start(port).await {
            Err(_) if listen(port).is_err() => {}
            started => return started,
        }
    }
    start(choose()?).await
}

/// A port that nobody listens on now.
fn free_port() -> Result<u16, SandboxError> {
    let listener = listen(0)?;
    let port = listener.local_addr().map(|address| address.port());
    port.map_err(|source| SandboxError::Listen {
        address: (Ipv4Addr::LOCALHOST, 0).into(),
        source,
    })
}

fn listen(port: u16) -> Result<std::net::TcpListener, SandboxError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    std::net::TcpListener::bind(address).map_err(|source| SandboxError::Listen { address, source })
}

#[cfg(test)]
mod tests;
