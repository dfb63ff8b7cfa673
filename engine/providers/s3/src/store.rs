//! The stores of the tests: versitygw and the sandbox's own, started for a test, ended with it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jm_client_s3::{Config, S3, S3Bucket};
use jm_sandbox::s3::{Credentials, S3Server};
use jm_step::process::{Command, Process, Supervisor};
use jm_step::testing::Bench;
use jm_step::{Environment, OpenContext, RunId, Secrets};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

const ACCESS_KEY: &str = "jm-test";
const SECRET_KEY: &str = "jm-test-secret";

pub(crate) struct Store {
    pub(crate) name: &'static str,
    endpoint: String,
    // Ended before their folder is removed.
    _process: Option<Process>,
    _server: Option<S3Server>,
    dir: TempDir,
}

pub(crate) async fn stores() -> Vec<Store> {
    vec![sandbox().await, versitygw().await]
}

async fn sandbox() -> Store {
    let dir = tempfile::tempdir().expect("a folder");
    let listen = "127.0.0.1:0".parse().expect("an address");
    let credentials = Credentials::new(ACCESS_KEY, SECRET_KEY);
    let server = S3Server::start(&dir.path().join("store"), listen, credentials)
        .await
        .expect("the sandbox's store starts");
    Store {
        name: "sandbox",
        endpoint: server.endpoint(),
        _process: None,
        _server: Some(server),
        dir,
    }
}

async fn versitygw() -> Store {
    let dir = tempfile::tempdir().expect("a folder");
    for folder in ["data", "versions"] {
        std::fs::create_dir(dir.path().join(folder)).expect("a folder");
    }
    let address = free().await;
    let process = Command::new(versitygw_program())
        .args(["--port", &address.to_string(), "posix", "--versioning-dir"])
        .arg(dir.path().join("versions").display().to_string())
        .arg(dir.path().join("data").display().to_string())
        .env("ROOT_ACCESS_KEY", ACCESS_KEY)
        .env("ROOT_SECRET_KEY", SECRET_KEY)
        .output_to(std::fs::File::create(dir.path().join("log")).expect("a file"))
        .spawn(&Supervisor::none(), &Environment::default())
        .expect("versitygw starts");
    for _ in 0..200 {
        if TcpStream::connect(address).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Store {
        name: "versitygw",
        endpoint: format!("http://{address}"),
        _process: Some(process),
        _server: None,
        dir,
    }
}

impl Store {
    /// A folder for the test's own files.
    pub(crate) fn files(&self) -> PathBuf {
        let files = self.dir.path().join("files");
        std::fs::create_dir_all(&files).expect("a folder");
        files
    }

    /// A new bucket.
    pub(crate) async fn bucket(&self, name: &str) -> S3Bucket {
        let cx = OpenContext {
            secrets: Secrets::new(),
            environment: Environment::default(),
            run: RunId::generate(),
        };
        let config: Config = serde_json::from_value(self.config(name, SECRET_KEY)).expect("a configuration");
        let bucket = S3Bucket::open(&config, &cx).await.expect("a client");
        bucket.create_bucket().await.expect("a bucket");
        bucket
    }

    /// A bench with the bucket as its target.
    pub(crate) fn bench(&self, bucket: &str) -> Bench {
        self.bench_with_secret(bucket, SECRET_KEY)
    }

    pub(crate) fn bench_with_secret(&self, bucket: &str, secret: &str) -> Bench {
        Bench::new().target::<S3>("bucket", self.config(bucket, secret))
    }

    fn config(&self, bucket: &str, secret: &str) -> Value {
        json!({
            "bucket": bucket, "endpoint": self.endpoint, "region": "us-east-1",
            "access_key_id": ACCESS_KEY, "secret_access_key": secret,
        })
    }
}

async fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address")
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests find their servers through the environment"
)]
fn versitygw_program() -> PathBuf {
    if let Ok(program) = std::env::var("JM_TEST_VERSITYGW") {
        return program.into();
    }
    let cache = std::env::var("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|_| Path::new(&std::env::var("HOME").unwrap_or_default()).join(".cache"));
    let program = cache.join("jm/tools/versitygw-v1.7.0/versitygw");
    assert!(
        program.exists(),
        "versitygw is missing: run `tests/services/install s3`"
    );
    program
}
