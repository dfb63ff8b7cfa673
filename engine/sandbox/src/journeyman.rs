//! What lives in the sandbox: a database like Journeyman's, its bucket, its application; and what befalls them.

mod bucket;
pub(crate) mod database;
mod fingerprint;
mod objects;
mod site;

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};

pub use self::bucket::{damage_objects, lose_bucket, stored};
pub use self::database::deploy_database;
pub use self::fingerprint::{Fingerprint, belongings, fingerprint, is_marked, workloads};
pub use self::site::{
    BUILDER, GOOD, GOOD_PAGE, View, break_application, break_site, viewed, wanted_image, write_repository,
};
use crate::control::{self, Request};
use crate::{Description, SandboxError};

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
/// What the application is made of.
const APPLICATION: &str = include_str!("journeyman/application.yaml");
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

/// How many bytes the database has by now, also while [`create_database`] fills it; none where it is not there yet.
pub async fn database_size(sandbox: &Description) -> Result<Option<u64>, SandboxError> {
    let server = Session::open(&maintenance_url(sandbox)).await?;
    let sql = "SELECT pg_database_size(oid) FROM pg_database WHERE datname = $1";
    let found = server.client.query_opt(sql, &[&DATABASE]).await;
    let found = found.map_err(|error| postgres("ask for the size of the database", &error))?;
    Ok(found.and_then(|row| u64::try_from(row.get::<_, i64>(0)).ok()))
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
    objects::create_all(&client, APPLICATION).await?;
    let deployments = Api::namespaced(client, NAMESPACE);
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

/// The cluster is gone with everything in it, also the database where it lives there; an empty one is at its address.
pub async fn lose_cluster(sandbox: &Description) -> Result<(), SandboxError> {
    let Some(socket) = &sandbox.control else {
        return Err(SandboxError::Furnish {
            action: "lose the cluster",
            reason: "nobody holds it who could be asked".to_owned(),
        });
    };
    control::ask(socket, Request::LoseCluster).await
}

/// A digest of each object of the application, by kind and name, without what the cluster itself says of it: equal
/// before and after, whatever cluster it is.
pub async fn objects(sandbox: &Description) -> Result<BTreeMap<String, String>, SandboxError> {
    objects::digests(&kubernetes(sandbox).await?).await
}

/// The images that the application runs, by digest, where the cluster knows it.
pub async fn images(sandbox: &Description) -> Result<BTreeSet<String>, SandboxError> {
    let pods: Api<Pod> = Api::namespaced(kubernetes(sandbox).await?, NAMESPACE);
    let backend = ListParams::default().labels("app=journeyman,component=backend");
    let pods = pods.list(&backend).await;
    let statuses = pods
        .map_err(SandboxError::furnish("look at the application"))?
        .items
        .into_iter()
        .filter_map(|pod| pod.status?.container_statuses);
    let images = statuses.flatten().map(|container| container.image_id);
    Ok(images.filter(|image| !image.is_empty()).collect())
}

/// How many pods of the application are ready.
pub async fn ready_replicas(sandbox: &Description) -> Result<i32, SandboxError> {
    ready(&Api::namespaced(kubernetes(sandbox).await?, NAMESPACE)).await
}

async fn ready(deployments: &Api<Deployment>) -> Result<i32, SandboxError> {
    let found = deployments
        .get(DEPLOYMENT)
        .await
        .map_err(SandboxError::furnish("look at the application"))?;
    Ok(found.status.and_then(|status| status.ready_replicas).unwrap_or(0))
}

async fn kubernetes(sandbox: &Description) -> Result<Client, SandboxError> {
    client(sandbox.variable("KUBECONFIG")).await
}

/// A client by a kubeconfig.
pub(crate) async fn client(kubeconfig: &str) -> Result<Client, SandboxError> {
    let failed = "reach Kubernetes";
    let kubeconfig = Kubeconfig::read_from(kubeconfig).map_err(SandboxError::furnish(failed))?;
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
