//! What lives in the sandbox: a database like Journeyman's, its bucket, its application; and what befalls them.

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{Description, SandboxError};

mod fingerprint;
pub use fingerprint::{Fingerprint, belongings, fingerprint, is_marked, workloads};

/// The application's database.
pub const DATABASE: &str = "journeyman_prod";
/// The bucket of its backups.
pub const BUCKET: &str = "journeyman-backups";
/// The bucket of its static assets.
pub const ASSETS: &str = "journeyman-assets";
/// The host name under which its assets are served.
pub const HOST: &str = "www.journeyman.example";
/// Its namespace.
pub const NAMESPACE: &str = "roster-recall";
/// Its back end.
pub const DEPLOYMENT: &str = "backend-deployment";
/// How many replicas that has: not ten, which is what a plan would guess.
pub const REPLICAS: i32 = 3;
/// What the database is made of.
const SQL: &str = include_str!("journeyman.sql");

/// Makes the buckets of the backups and of the assets, with versions, where they are not there.
pub async fn create_buckets(sandbox: &Description) -> Result<(), SandboxError> {
    let s3 = s3(sandbox);
    for bucket in [BUCKET, ASSETS] {
        create_bucket(&s3, bucket).await?;
    }
    Ok(())
}

/// A client of the sandbox's S3.
pub(crate) fn s3(sandbox: &Description) -> aws_sdk_s3::Client {
    let keys = Credentials::new(
        sandbox.variable("AWS_ACCESS_KEY_ID"),
        sandbox.variable("AWS_SECRET_ACCESS_KEY"),
        None,
        None,
        "sandbox",
    );
    let http = aws_smithy_http_client::Builder::new().build_http();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(sandbox.variable("AWS_ENDPOINT_URL"))
        .credentials_provider(keys)
        .force_path_style(true)
        .http_client(http)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

async fn create_bucket(s3: &aws_sdk_s3::Client, bucket: &str) -> Result<(), SandboxError> {
    let failed = |error: String| SandboxError::Furnish {
        action: "create a bucket",
        reason: error,
    };
    if s3.head_bucket().bucket(bucket).send().await.is_ok() {
        return Ok(());
    }
    s3.create_bucket()
        .bucket(bucket)
        .send()
        .await
        .map_err(|error| failed(format!("{error:?}")))?;
    let versions = VersioningConfiguration::builder()
        .status(BucketVersioningStatus::Enabled)
        .build();
    let enabled = s3
        .put_bucket_versioning()
        .bucket(bucket)
        .versioning_configuration(versions)
        .send()
        .await;
    enabled.map(drop).map_err(|error| failed(format!("{error:?}")))
}

/// Makes the database, and fills it, where it is not there.
pub async fn create_database(sandbox: &Description, scale: u32) -> Result<(), SandboxError> {
    let server = Session::open(&maintenance_url(sandbox)).await?;
    let found = server
        .client
        .query("SELECT 1 FROM pg_database WHERE datname = $1", &[&DATABASE])
        .await;
    if !found
        .map_err(SandboxError::furnish("look for the database"))?
        .is_empty()
    {
        return Ok(());
    }
    server
        .run(
            "create the database",
            &format!("CREATE DATABASE {DATABASE} TEMPLATE template0"),
        )
        .await?;
    let database = Session::open(sandbox.variable("DATABASE_URL")).await?;
    let statements = SQL.replace(":scale", &scale.max(1).to_string());
    database
        .run("fill the database", &format!("BEGIN;\n{statements}\nCOMMIT;"))
        .await?;
    server
        .run(
            "set up the database",
            &format!("ALTER DATABASE {DATABASE} SET statement_timeout = '5min'"),
        )
        .await
}

/// The database is gone: dropped, with whoever was connected to it.
pub async fn lose_database(sandbox: &Description) -> Result<(), SandboxError> {
    let server = Session::open(&maintenance_url(sandbox)).await?;
    server
        .run("drop the database", &format!("DROP DATABASE {DATABASE} WITH (FORCE)"))
        .await
}

/// Deploys the application where it is not there, and waits until it serves.
pub async fn deploy(sandbox: &Description) -> Result<(), SandboxError> {
    let client = kubernetes(sandbox).await?;
    create(
        &Api::<Namespace>::all(client.clone()),
        json!({ "metadata": { "name": NAMESPACE } }),
    )
    .await?;
    let deployments: Api<Deployment> = namespaced(client);
    create(&deployments, application()).await?;
    for _ in 0..600 {
        if ready(&deployments).await? == REPLICAS {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    Err(SandboxError::Furnish {
        action: "deploy the application",
        reason: "its pods did not become ready within a minute".to_owned(),
    })
}

/// How many pods of the application are ready.
pub async fn ready_replicas(sandbox: &Description) -> Result<i32, SandboxError> {
    ready(&namespaced(kubernetes(sandbox).await?)).await
}

async fn ready(deployments: &Api<Deployment>) -> Result<i32, SandboxError> {
    let found = deployments
        .get(DEPLOYMENT)
        .await
        .map_err(SandboxError::furnish("look at the application"))?;
    Ok(found.status.and_then(|status| status.ready_replicas).unwrap_or(0))
}

fn namespaced<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(client: Client) -> Api<K> {
    Api::namespaced(client, NAMESPACE)
}

async fn create<K>(api: &Api<K>, object: Value) -> Result<(), SandboxError>
where
    K: Clone + std::fmt::Debug + DeserializeOwned + serde::Serialize,
{
    let object: K = serde_json::from_value(object).map_err(SandboxError::furnish("describe the application"))?;
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(SandboxError::furnish("deploy the application")(error)),
    }
}

fn application() -> Value {
    let labels = json!({ "app": "journeyman", "component": "backend" });
    json!({
        "metadata": { "name": DEPLOYMENT, "labels": labels },
        "spec": {
            "replicas": REPLICAS,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{
                    "name": "backend",
                    "image": "ghcr.io/your-org/journeyman-backend:1.0.0",
                    "ports": [{ "containerPort": 8080 }],
                }] },
            },
        },
    })
}

async fn kubernetes(sandbox: &Description) -> Result<Client, SandboxError> {
    let failed = "reach Kubernetes";
    let kubeconfig = Kubeconfig::read_from(sandbox.variable("KUBECONFIG")).map_err(SandboxError::furnish(failed))?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.map_err(SandboxError::furnish(failed))?).map_err(SandboxError::furnish(failed))
}

fn maintenance_url(sandbox: &Description) -> String {
    sandbox
        .variable("DATABASE_URL")
        .replace(&format!("/{DATABASE}"), "/postgres")
}

struct Session {
    client: tokio_postgres::Client,
}

impl Session {
    async fn open(url: &str) -> Result<Self, SandboxError> {
        let opened = tokio_postgres::connect(url, tokio_postgres::NoTls).await;
        let (client, connection) = opened.map_err(|error| postgres("reach PostgreSQL", &error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a session of the sandbox ended");
            }
        });
        Ok(Self { client })
    }

    async fn run(&self, action: &'static str, statements: &str) -> Result<(), SandboxError> {
        self.client
            .batch_execute(statements)
            .await
            .map_err(|error| postgres(action, &error))
    }
}

/// What PostgreSQL said: its own words where it has some, which the driver's error leaves out.
fn postgres(action: &'static str, error: &tokio_postgres::Error) -> SandboxError {
    let reason = error
        .as_db_error()
        .map_or_else(|| error.to_string(), |said| said.message().to_owned());
    SandboxError::Furnish { action, reason }
}
