//! The server that all are measured on, and the programs that use it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use serde_json::Value;

use crate::beside::{self, JM, Service};
use crate::measured::{Measured, measured};

/// A versitygw that ends with this process.
pub(crate) struct Server {
    // Stopped before its folder is removed.
    _service: Service,
    folder: tempfile::TempDir,
    environment: BTreeMap<String, String>,
}

impl Server {
    pub(crate) fn start() -> Result<Self> {
        let folder = beside::folder()?;
        let service = Service::start("s3", folder.path().join("s3"), &["versitygw"])?;
        let told = service.told()?;
        let environment = told.lines().filter_map(|line| line.split_once('='));
        Ok(Self {
            environment: environment
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            _service: service,
            folder,
        })
    }

    /// Where all files of the benchmark lie.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the server keeps old versions, as files.
    pub(crate) fn versions(&self) -> PathBuf {
        self.folder().join("s3/versions")
    }

    pub(crate) fn endpoint(&self) -> &str {
        self.environment.get("AWS_ENDPOINT_URL").map_or("", String::as_str)
    }

    /// A client that sends each request once.
    pub(crate) fn client(&self) -> aws_sdk_s3::Client {
        let value = |name: &str| self.environment.get(name).cloned().unwrap_or_default();
        let keys = Credentials::new(
            value("AWS_ACCESS_KEY_ID"),
            value("AWS_SECRET_ACCESS_KEY"),
            None,
            None,
            "bench",
        );
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(self.endpoint())
            .credentials_provider(keys)
            .force_path_style(true)
            .retry_config(RetryConfig::disabled())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// A new bucket.
    pub(crate) async fn bucket(&self, name: &str, versions: bool) -> Result<()> {
        let client = self.client();
        client.create_bucket().bucket(name).send().await?;
        if versions {
            let kept = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled);
            let call = client.put_bucket_versioning().bucket(name);
            call.versioning_configuration(kept.build()).send().await?;
        }
        Ok(())
    }

    /// A program that finds the server through its environment.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(&self.environment)
            .env("HOME", self.folder())
            .env("JM_STATE", self.folder().join("state"))
            .current_dir(self.folder());
        command
    }

    /// Runs a program, which has to end well.
    pub(crate) fn run(&self, command: &mut Command) -> Result<Measured> {
        measured(command, self.folder())
    }

    /// Runs a step of jm by itself, and gives what it gave out.
    pub(crate) fn jm(&self, step: &str, bucket: &str, input: &Value) -> Result<(Measured, Value)> {
        self.jm_at(None, step, bucket, input)
    }

    /// The same at another store, where one is named.
    pub(crate) fn jm_at(
        &self,
        endpoint: Option<&str>,
        step: &str,
        bucket: &str,
        input: &Value,
    ) -> Result<(Measured, Value)> {
        let targets = self.folder().join(format!("{bucket}.yaml"));
        let text = format!(
            "apiVersion: jm/v1\nkind: Targets\nname: bench\ntargets:\n  bucket: {{ provider: s3, bucket: {bucket} }}\n"
        );
        std::fs::write(&targets, text)?;
        let mut jm = self.program(JM);
        jm.envs(endpoint.map(|endpoint| ("AWS_ENDPOINT_URL", endpoint)));
        beside::step(jm, self.folder(), &targets, step, input)
    }
}

/// A peer by its variable; says so where it is not there.
pub(crate) fn peer(variable: &str, name: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|program| program.exists());
    if found.is_none() {
        println!(
            "  {name} IS NOT INSTALLED: what is measured beside it is not proven (`tests/services/install peers`)"
        );
    }
    found
}
