//! Where the sandbox's notifications go: a receiver that answers, and keeps what it was told as JSON Lines.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::SandboxError;

/// A notification that came in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Received {
    /// When.
    pub at: Timestamp,
    /// Its `Idempotency-Key`, where it had one: repeats of one delivery have the same.
    pub key: Option<String>,
    /// What it said.
    pub body: Value,
}

/// A running receiver. It ends when it is dropped.
pub struct WebhookServer {
    address: SocketAddr,
    _ends_with_it: DropGuard,
}

struct Receiver {
    file: PathBuf,
    writing: Mutex<()>,
}

impl WebhookServer {
    /// Starts a receiver on `listen` that appends to `file`.
    pub async fn start(file: &Path, listen: SocketAddr) -> Result<Self, SandboxError> {
        let failed = |source| SandboxError::Listen {
            address: listen,
            source,
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let receiver = Arc::new(Receiver {
            file: file.to_path_buf(),
            writing: Mutex::new(()),
        });
        let router = Router::new().route("/", post(receive)).with_state(receiver);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            let serving = axum::serve(listener, router).with_graceful_shutdown(stopped.cancelled_owned());
            if let Err(error) = serving.await {
                tracing::warn!(%error, "the webhook stand-in ended early");
            }
        });
        Ok(Self {
            address,
            _ends_with_it: stop.drop_guard(),
        })
    }

    /// Where notifications are sent to.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: String) -> StatusCode {
    let key = headers
        .get("idempotency-key")
        .and_then(|key| key.to_str().ok())
        .map(str::to_owned);
    let Ok(body) = serde_json::from_str(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    let received = Received {
        at: jm_step::clock::now(),
        key,
        body,
    };
    match receiver.keep(&received).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(error) => {
            tracing::warn!(%error, "a notification could not be kept");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

impl Receiver {
    async fn keep(&self, received: &Received) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(received)?;
        line.push(b'\n');
        let writing = self.writing.lock().await;
        let mut file = tokio::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.file)
            .await?;
        file.write_all(&line).await?;
        file.flush().await?;
        drop(writing);
        Ok(())
    }
}

/// What a receiver kept, oldest first.
pub fn received(file: &Path) -> Result<Vec<Received>, SandboxError> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(SandboxError::file("read", file)(error)),
    };
    let damaged = |error: serde_json::Error| SandboxError::State {
        path: file.to_path_buf(),
        reason: error.to_string(),
    };
    text.lines()
        .map(|line| serde_json::from_str(line).map_err(damaged))
        .collect()
}
