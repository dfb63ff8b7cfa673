//! A registry of images: the reference implementation, open, with a password, or with tokens that this process gives out.

use std::path::{Path, PathBuf};

use jm_client_http::{Http, Reply, Request};
use jm_step::{Environment, Secret};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Of user `robot` with the password below, as the header has it.
const BASIC: &str = "Basic cm9ib3Q6cmVnaXN0cnktcGFzc3dvcmQ=";
/// The password that `tests/services/registry` knows.
pub(crate) const PASSWORD: &str = "registry-password";
/// The repository that its tokens are good for.
pub(crate) const REPOSITORY: &str = "team/web";

/// Who is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    Open,
    Password,
    Tokens,
}

/// A registry that runs until its test ends.
pub(crate) struct Registry {
    /// Its host and port.
    pub(crate) host: String,
    entry: Entry,
    folder: tempfile::TempDir,
}

impl Registry {
    pub(crate) async fn start(entry: Entry) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let words = match entry {
            Entry::Open => Vec::new(),
            Entry::Password => vec!["--password".to_owned()],
            Entry::Tokens => vec!["--tokens".to_owned(), give_tokens(folder.path().join("token")).await],
        };
        run("start", folder.path(), &words).await;
        let written = std::fs::read_to_string(folder.path().join("env")).expect("where it is");
        let host = written.lines().find_map(|line| line.strip_prefix("REGISTRY="));
        Self {
            host: host.expect("its address").to_owned(),
            entry,
            folder,
        }
    }

    /// Ends it before its test does.
    pub(crate) async fn stop(&self) {
        run("stop", self.folder.path(), &[]).await;
    }

    /// The name of its one repository.
    pub(crate) fn name(&self) -> String {
        format!("{}/{REPOSITORY}", self.host)
    }

    /// Puts an image in under a tag; its digest.
    pub(crate) async fn push(&self, tag: &str, what: &str) -> String {
        let config = json!({ "architecture": "amd64", "os": "linux", "comment": what }).to_string();
        let blob = self.upload(config.as_bytes()).await;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
            "config": { "mediaType": CONFIG, "size": config.len(), "digest": blob },
        });
        let manifest = manifest.to_string();
        let url = format!("http://{}/v2/{REPOSITORY}/manifests/{tag}", self.host);
        let put = self.send("PUT", &url, MANIFEST, manifest.as_bytes()).await;
        assert_eq!(put.status, 201, "{}", put.text());
        digest(manifest.as_bytes())
    }

    async fn upload(&self, bytes: &[u8]) -> String {
        let url = format!("http://{}/v2/{REPOSITORY}/blobs/uploads/", self.host);
        let begun = self.send("POST", &url, "application/octet-stream", b"").await;
        assert_eq!(begun.status, 202, "{}", begun.text());
        let place = begun.header("location").expect("where to");
        let place = begun.url.join(place).expect("an address");
        let digest = digest(bytes);
        let url = format!("{place}&digest={digest}");
        let put = self.send("PUT", &url, "application/octet-stream", bytes).await;
        assert_eq!(put.status, 201, "{}", put.text());
        digest
    }

    async fn send(&self, method: &str, url: &str, content_type: &str, body: &[u8]) -> Reply {
        let mut request = Request::new(method, url.parse().expect("an address"))
            .expect("a request")
            .body(content_type, body);
        let proof = match self.entry {
            Entry::Open => None,
            Entry::Password => Some(BASIC.to_owned()),
            Entry::Tokens => {
                let token = std::fs::read_to_string(self.folder.path().join("token")).expect("a token");
                Some(format!("Bearer {token}"))
            }
        };
        if let Some(proof) = proof {
            request = request.header("authorization", Secret::new(proof));
        }
        let http = Http::new(&Environment::default()).expect("a client");
        http.send(&request).await.expect("an answer")
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests find their servers through the environment, and start them"
)]
async fn run(what: &str, folder: &Path, words: &[String]) {
    let services = std::env::var("JM_TEST_SERVICES")
        .expect("JM_TEST_SERVICES is not set: run these tests with `tests/run -p jm-provider-kubernetes`");
    let mut command = tokio::process::Command::new(Path::new(&services).join("registry"));
    command.arg(what).arg(folder).args(words);
    if what == "start" {
        command.args(["--owner", &std::process::id().to_string()]);
    }
    let output = command.output().await.expect("tests/services/registry can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`tests/run` installs what is missing\n{said}");
}

/// Gives the token of a file to whoever has the password; its address.
async fn give_tokens(token: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/token", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = vec![0; 16 * 1024];
            let count = stream.read(&mut bytes).await.unwrap_or(0);
            let asked = String::from_utf8_lossy(&bytes[..count]).into_owned();
            let wanted = "service=jm-registry&scope=repository%3Ateam%2Fweb%3Apull";
            let may = asked.contains(wanted) && asked.contains(BASIC);
            let token = std::fs::read_to_string(&token).expect("a token");
            let (status, body) = if may {
                ("200 OK", json!({ "token": token, "expires_in": 3600 }))
            } else {
                (
                    "401 Unauthorized",
                    json!({ "details": "incorrect username or password" }),
                )
            };
            let body = body.to_string();
            let length = body.len();
            let reply = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
            drop(stream.write_all(reply.as_bytes()).await);
        }
    });
    url
}
