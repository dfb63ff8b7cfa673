//! The stores of the tests: versitygw, ministack and the sandbox's own, started for a test, ended with it.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a store of the tests keeps its objects in a directory"
)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jm_client_s3::{Config, S3, S3Bucket};
use jm_sandbox::s3::{Credentials, S3Server};
use jm_step::process::{Command, Process, Supervisor};
use jm_step::testing::Bench;
use jm_step::{Connection, Environment, OpenContext, RunId, Secrets};
use jm_testkit::line::{Answer, Refusal, answering, refusing};
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

pub(crate) async fn sandbox() -> Store {
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

/// Every store there is.
pub(crate) async fn all_stores() -> Vec<Store> {
    vec![sandbox().await, versitygw().await, ministack().await]
}

pub(crate) async fn versitygw() -> Store {
    let dir = tempfile::tempdir().expect("a folder");
    for folder in ["data", "versions"] {
        std::fs::create_dir(dir.path().join(folder)).expect("a folder");
    }
    let versions = dir.path().join("versions").display().to_string();
    gateway("versitygw", dir, &["--versioning-dir", &versions]).await
}

/// A store that cannot keep versions.
pub(crate) async fn without_versions() -> Store {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(dir.path().join("data")).expect("a folder");
    gateway("versitygw without versions", dir, &[]).await
}

async fn gateway(name: &'static str, dir: TempDir, arguments: &[&str]) -> Store {
    let address = free().await;
    let command = Command::new(program("JM_TEST_VERSITYGW", "versitygw-v1.7.0/versitygw"))
        .args(["--port", &address.to_string(), "posix"])
        .args(arguments.iter().copied())
        .arg(dir.path().join("data").display().to_string())
        .env("ROOT_ACCESS_KEY", ACCESS_KEY)
        .env("ROOT_SECRET_KEY", SECRET_KEY);
    started(name, dir, address, command).await
}

pub(crate) async fn ministack() -> Store {
    let dir = tempfile::tempdir().expect("a folder");
    let address = free().await;
    let port = address.port().to_string();
    let home = dir.path().display().to_string();
    let command = Command::new(program("JM_TEST_MINISTACK", "ministack-1.5.33/bin/ministack"))
        .env("BIND_HOST", "127.0.0.1")
        .env("MINISTACK_HOST", "127.0.0.1")
        .env("IOT_MTLS_ENABLED", "0")
        .env("MINISTACK_PORT", &port)
        .env("GATEWAY_PORT", &port)
        .env("HOME", &home)
        .env("TMPDIR", &home);
    started("ministack", dir, address, command).await
}

async fn started(name: &'static str, dir: TempDir, address: SocketAddr, command: Command) -> Store {
    let log = dir.path().join("log");
    let process = command
        .output_to(std::fs::File::create(&log).expect("a file"))
        .spawn(&Supervisor::none(), &Environment::default())
        .expect("the store starts");
    for _ in 0..400 {
        if TcpStream::connect(address).await.is_ok() {
            return Store {
                name,
                endpoint: format!("http://{address}"),
                _process: Some(process),
                _server: None,
                dir,
            };
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{name} does not answer: {:?}", std::fs::read_to_string(log));
}

impl Store {
    /// A folder for the test's own files.
    pub(crate) fn files(&self) -> PathBuf {
        let files = self.dir.path().join("files");
        std::fs::create_dir_all(&files).expect("a folder");
        files
    }

    /// The connection to a bucket that may not exist, as steps get it.
    pub(crate) async fn connection(&self, name: &str) -> S3 {
        opened(self.config(name, SECRET_KEY)).await
    }

    /// The same on a machine with a place for what it has begun.
    pub(crate) async fn noting(&self, name: &str) -> S3 {
        let state = self.files().join("state").display().to_string();
        let environment = Environment::new([("JM_STATE".to_owned(), state)]);
        opened_in(self.config(name, SECRET_KEY), environment).await
    }

    /// The same over a line on which every request is refused whose first line has all of these words.
    pub(crate) async fn refusing(&self, name: &str, words: &'static [&'static str]) -> S3 {
        self.denying(name, has_all(words)).await
    }

    /// The same for requests of which this holds.
    pub(crate) async fn denying(&self, name: &str, is_meant: impl Meant) -> S3 {
        let body = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
        let status = "403 Forbidden";
        self.over(name, Refusal { is_meant, status, body }).await
    }

    /// The same over a line that answers such requests itself.
    pub(crate) async fn answering(
        &self,
        name: &str,
        words: &'static [&'static str],
        status: &'static str,
        body: &'static str,
    ) -> S3 {
        let is_meant = has_all(words);
        self.over(name, Refusal { is_meant, status, body }).await
    }

    /// The same over a line that refuses some requests.
    pub(crate) async fn over(&self, name: &str, refusal: Refusal<impl Meant>) -> S3 {
        let mut config = self.config(name, SECRET_KEY);
        let store = self.endpoint.trim_start_matches("http://");
        let line = refusing(store.parse().expect("an address"), refusal).await;
        config["endpoint"] = json!(format!("http://{line}"));
        opened(config).await
    }

    /// The same over a line that says something itself to some requests.
    pub(crate) async fn answered<F>(&self, name: &str, answer: F) -> S3
    where
        F: Fn(&str) -> Option<Answer> + Clone + Send + Sync + 'static,
    {
        let mut config = self.config(name, SECRET_KEY);
        let store = self.endpoint.trim_start_matches("http://");
        let line = answering(store.parse().expect("an address"), answer).await;
        config["endpoint"] = json!(format!("http://{line}"));
        opened(config).await
    }

    /// The same whose objects are of this class.
    pub(crate) async fn of_class(&self, name: &str, class: &str) -> S3 {
        let mut config = self.config(name, SECRET_KEY);
        config["storage_class"] = json!(class);
        opened(config).await
    }

    /// Lets an object be that much older, where the store keeps objects as files: versitygw takes a file's time for that
    /// of the object.
    pub(crate) fn age(&self, bucket: &str, key: &str, by: Duration) {
        let path = self.dir.path().join("data").join(bucket).join(key);
        let file = std::fs::File::options()
            .write(true)
            .open(&path)
            .expect("the object's file");
        let modified = file
            .metadata()
            .and_then(|metadata| metadata.modified())
            .expect("its time");
        file.set_modified(modified - by).expect("set");
    }

    /// Flips a bit of an object behind the back of a store that keeps objects as files.
    pub(crate) fn damage(&self, bucket: &str, key: &str) {
        flip(&self.dir.path().join("data").join(bucket).join(key));
    }

    /// Flips a bit of an old version behind the back of versitygw, which keeps each in a file of its name.
    pub(crate) fn damage_version(&self, version_id: &str) {
        let mut folders = vec![self.dir.path().join("versions")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.ends_with(version_id) {
                    return flip(&path);
                }
            }
        }
        panic!("no file of version {version_id}");
    }

    /// The client of AWS, asked something about this store.
    pub(crate) async fn aws(&self, arguments: &[&str]) -> Value {
        let command = Command::new(program("JM_TEST_AWS", "awscli-1.46.3/bin/aws"))
            .args([
                "--endpoint-url",
                &self.endpoint,
                "--region",
                "us-east-1",
                "--output",
                "json",
            ])
            .args(arguments.iter().copied())
            // An object that it writes has no checksum, as those of older clients have none.
            .env("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        let said = self.files().join("aws.json");
        let mut process = command
            .output_to(std::fs::File::create(&said).expect("a file"))
            .spawn(&Supervisor::none(), &Environment::default())
            .expect("aws starts");
        process.wait().await.expect("aws ends");
        let said = std::fs::read(said).expect("its words");
        serde_json::from_slice(&said).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&said)))
    }

    /// An object as other clients write it in parts: with no sum over the whole of it.
    pub(crate) async fn put_in_parts(&self, bucket: &str, key: &str, parts: &[&[u8]]) {
        let (place, file) = (["--bucket", bucket, "--key", key], self.files().join("part"));
        let file = file.to_str().expect("text");
        let sums = ["--checksum-algorithm", "CRC32"];
        let begin = [&["s3api", "create-multipart-upload"], &place[..], &sums].concat();
        let begun = self.aws(&begin).await;
        let id = begun["UploadId"].as_str().expect("an upload");
        let mut sent = Vec::new();
        for (number, part) in (1..).zip(parts) {
            std::fs::write(file, part).expect("a file");
            let number = format!("{number}");
            let of = ["--upload-id", id, "--part-number", &number, "--body", file];
            let told = self
                .aws(&[&["s3api", "upload-part"], &place[..], &of, &sums].concat())
                .await;
            sent.push(json!({
                "PartNumber": sent.len() + 1, "ETag": told["ETag"], "ChecksumCRC32": told["ChecksumCRC32"],
            }));
        }
        let sent = json!({ "Parts": sent }).to_string();
        let of = ["--upload-id", id, "--multipart-upload", &sent];
        self.aws(&[&["s3api", "complete-multipart-upload"], &place[..], &of].concat())
            .await;
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
        // Ministack computes another CRC-64 over an upload in parts, and refuses the right one.
        let lacks = self.name == "ministack";
        json!({
            "bucket": bucket, "endpoint": self.endpoint, "region": "us-east-1",
            "access_key_id": ACCESS_KEY, "secret_access_key": secret,
            "compatibility": if lacks { "no-checksums" } else { "full" },
        })
    }
}

/// Which requests are meant, by their heads.
pub(crate) trait Meant: Fn(&str) -> bool + Clone + Send + Sync + 'static {}
impl<F: Fn(&str) -> bool + Clone + Send + Sync + 'static> Meant for F {}

fn has_all(words: &'static [&'static str]) -> impl Meant {
    move |head: &str| {
        let first = head.lines().next().unwrap_or_default();
        words.iter().all(|word| first.contains(word))
    }
}

fn flip(path: &Path) {
    let file = std::fs::File::options().write(true).open(path);
    let first = std::fs::read(path).expect("its content")[0];
    std::os::unix::fs::FileExt::write_all_at(&file.expect("the object's file"), &[first ^ 1], 0).expect("written");
}

async fn opened(config: Value) -> S3 {
    opened_in(config, Environment::default()).await
}

async fn opened_in(config: Value, environment: Environment) -> S3 {
    let cx = OpenContext {
        secrets: Secrets::new(),
        environment,
        run: RunId::generate(),
    };
    let config: Config = serde_json::from_value(config).expect("a configuration");
    S3::open(config, &cx).await.expect("a client")
}

async fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address")
}

/// A program of the tests, by its variable or where `tests/services/install` puts it.
#[expect(
    clippy::disallowed_methods,
    reason = "tests find their servers through the environment"
)]
pub(crate) fn program(variable: &str, place: &str) -> PathBuf {
    if let Ok(program) = std::env::var(variable) {
        return program.into();
    }
    let cache = std::env::var("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|_| Path::new(&std::env::var("HOME").unwrap_or_default()).join(".cache"));
    let program = cache.join("jm/tools").join(place);
    assert!(
        program.exists(),
        "{} is missing: run `tests/services/install s3`",
        program.display()
    );
    program
}
