//! The server that all are measured on, and the programs that use it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use serde_json::Value;

use crate::measured::{Measured, measured};

const JM: &str = env!("CARGO_BIN_EXE_jm");

/// A versitygw that ends with this process.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    script: PathBuf,
    environment: BTreeMap<String, String>,
}

impl Server {
    pub(crate) fn start() -> Result<Self> {
        let services = std::env::var("JM_TEST_SERVICES").context("run it by `tests/bench bucket`")?;
        let script = Path::new(&services).join("s3");
        let folder = match std::env::var("JM_BENCH_DIR") {
            Ok(disk) => tempfile::tempdir_in(disk),
            Err(_) => tempfile::tempdir(),
        }?;
        let place = folder.path().join("s3");
        let owner = std::process::id().to_string();
        let started = Command::new(&script)
            .arg("start")
            .arg(&place)
            .args(["versitygw", "--owner", &owner])
            .output()?;
        let said = String::from_utf8_lossy(&started.stderr);
        ensure!(started.status.success(), "no server: {said}");
        let told = std::fs::read_to_string(place.join("env"))?;
        let environment = told.lines().filter_map(|line| line.split_once('='));
        Ok(Self {
            environment: environment
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            script,
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
        let targets = self.folder().join(format!("{bucket}.yaml"));
        let text = format!(
            "apiVersion: jm/v1\nkind: Targets\nname: bench\ntargets:\n  bucket: {{ provider: s3, bucket: {bucket} }}\n"
        );
        std::fs::write(&targets, text)?;
        let mut command = self.program(JM);
        command
            .args(["step", "run", step, "--yes", "--format", "json", "--targets"])
            .arg(&targets);
        for (field, value) in input.as_object().into_iter().flatten() {
            command.arg("--with").arg(format!("{field}={value}"));
        }
        let ran = self.run(&mut command)?;
        let mut result: Value = serde_json::from_str(&ran.said).with_context(|| ran.said.clone())?;
        let output = result["outputs"]["output"].take();
        ensure!(output.is_object(), "{step} gave out nothing: {result:#}");
        Ok((ran, output))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What does not stop now ends with this process.
        drop(
            Command::new(&self.script)
                .arg("stop")
                .arg(self.folder().join("s3"))
                .output(),
        );
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
