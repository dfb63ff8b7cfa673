//! The stores: started for a test, ended with it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jm_sandbox::s3::{Credentials, S3Server};
use jm_step::process::{Command, Process, Supervisor};
use jm_step::{Connection, Environment, OpenContext, RunId, Secret, Secrets};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

use crate::{Compatibility, Config, S3, S3Bucket};

pub(super) const ACCESS_KEY: &str = "jm-test";
pub(super) const SECRET_KEY: &str = "jm-test-secret";

pub(super) struct Store {
    pub(super) name: &'static str,
    address: SocketAddr,
    // Ended before their folder is removed.
    _process: Option<Process>,
    _server: Option<S3Server>,
    dir: Option<TempDir>,
}

pub(super) async fn stores() -> Vec<Store> {
    vec![Store::sandbox().await, Store::versitygw().await]
}

impl Store {
    pub(super) fn at(name: &'static str, address: SocketAddr) -> Self {
        Self {
            name,
            address,
            _process: None,
            _server: None,
            dir: None,
        }
    }

    async fn sandbox() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let listen = "127.0.0.1:0".parse().expect("an address");
        let credentials = Credentials::new(ACCESS_KEY, SECRET_KEY);
        let server = S3Server::start(dir.path(), listen, credentials)
            .await
            .expect("the sandbox's store starts");
        let address = server
            .endpoint()
            .trim_start_matches("http://")
            .parse()
            .expect("an address");
        Self {
            _server: Some(server),
            dir: Some(dir),
            ..Self::at("sandbox", address)
        }
    }

    pub(super) async fn versitygw() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        for folder in ["data", "users", "versions"] {
            std::fs::create_dir(dir.path().join(folder)).expect("a folder");
        }
        let address = free().await;
        let process = Command::new(versitygw_program())
            .args(["--port", &address.to_string(), "--iam-dir"])
            .arg(dir.path().join("users").display().to_string())
            .args(["posix", "--versioning-dir"])
            .arg(dir.path().join("versions").display().to_string())
            .arg(dir.path().join("data").display().to_string())
            .env("ROOT_ACCESS_KEY", ACCESS_KEY)
            .env("ROOT_SECRET_KEY", SECRET_KEY)
            .output_to(std::fs::File::create(dir.path().join("log")).expect("a file"))
            .spawn(&Supervisor::none(), &Environment::default())
            .expect("versitygw starts");
        for _ in 0..200 {
            if TcpStream::connect(address).await.is_ok() {
                return Self {
                    _process: Some(process),
                    dir: Some(dir),
                    ..Self::at("versitygw", address)
                };
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!(
            "versitygw does not answer: {:?}",
            std::fs::read_to_string(dir.path().join("log"))
        );
    }

    /// Makes a user of versitygw who may nothing yet; gives the secret.
    pub(super) async fn user(&self, name: &str) -> String {
        let secret = format!("{name}-secret");
        let endpoint = format!("http://{}", self.address);
        let made = Command::new(versitygw_program())
            .args([
                "admin",
                "--access",
                ACCESS_KEY,
                "--secret",
                SECRET_KEY,
                "--endpoint-url",
                &endpoint,
            ])
            .args(["create-user", "--access", name, "--secret", &secret, "--role", "user"])
            .spawn(&Supervisor::none(), &Environment::default());
        let ended = made
            .expect("versitygw's own client starts")
            .wait()
            .await
            .expect("it ends");
        assert!(ended.success(), "no user `{name}`: {ended}");
        secret
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where versitygw keeps objects as files.
    pub(super) fn data(&self) -> PathBuf {
        self.dir.as_ref().expect("a store with a folder").path().join("data")
    }

    pub(super) fn config(&self, bucket: &str) -> Config {
        Config {
            endpoint: Some(format!("http://{}", self.address)),
            region: Some("us-east-1".to_owned()),
            access_key_id: Some(ACCESS_KEY.to_owned()),
            secret_access_key: Some(Secret::new(SECRET_KEY)),
            ..Config::new(bucket)
        }
    }

    /// A bucket of this name as another configuration sees it; it may not exist.
    pub(super) async fn open(&self, bucket: &str, change: impl FnOnce(&mut Config)) -> S3Bucket {
        let mut config = self.config(bucket);
        change(&mut config);
        let cx = OpenContext {
            secrets: Secrets::new(),
            environment: Environment::default(),
            run: RunId::generate(),
        };
        S3Bucket::open(&config, &cx).await.expect("a client")
    }

    /// What people are told of a connection to a bucket of a store that has so much of the protocol.
    pub(super) async fn notice(&self, bucket: &str, compatibility: Compatibility) -> Option<String> {
        let cx = OpenContext {
            secrets: Secrets::new(),
            environment: Environment::default(),
            run: RunId::generate(),
        };
        let config = Config {
            compatibility,
            ..self.config(bucket)
        };
        S3::open(config, &cx).await.expect("a client").notice()
    }

    /// A new bucket.
    pub(super) async fn bucket(&self, name: &str) -> S3Bucket {
        let bucket = self.open(name, |_| {}).await;
        bucket.create_bucket().await.expect("a bucket");
        bucket
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
