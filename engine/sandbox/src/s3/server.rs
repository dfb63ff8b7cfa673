//! The listener: takes connections until it is stopped.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError, HttpResponse};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use ulid::Ulid;

use super::access::{Credentials, Guard, OneOwner};
use super::service::Service;
use super::store::Store;
use crate::SandboxError;

/// How long requests under way may take to end when the server is stopped.
const GRACE: Duration = Duration::from_secs(5);

/// A running S3 server. It ends when it is stopped or dropped; its state stays on disk.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    tasks: TaskTracker,
    /// No new connections and requests.
    closing: CancellationToken,
    /// No connections at all.
    ended: CancellationToken,
    _ends_with_it: [DropGuard; 2],
}

impl S3Server {
    /// Starts a server on `listen` (port 0 chooses a free one) with its state under `root`, which is made where
    /// it is missing. Only requests signed with `credentials` are answered.
    ///
    /// # Errors
    /// When the folder cannot be used, holds what this program did not write, or belongs to a server that runs
    /// already; when the address cannot be listened on.
    pub async fn start(root: &Path, listen: SocketAddr, credentials: Credentials) -> Result<Self, SandboxError> {
        let store = opened(root).await?;
        let failed = |source| SandboxError::Listen {
            address: listen,
            source,
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (closing, ended) = (CancellationToken::new(), CancellationToken::new());
        let server = Self {
            address,
            tasks: TaskTracker::new(),
            _ends_with_it: [closing.clone().drop_guard(), ended.clone().drop_guard()],
            closing,
            ended,
        };
        let accepting = Accepting {
            listener,
            service: service(store, credentials),
            tasks: server.tasks.clone(),
            closing: server.closing.clone(),
            ended: server.ended.clone(),
        };
        server.tasks.spawn(accepting.run());
        Ok(server)
    }

    /// The address for clients, such as `http://127.0.0.1:40123`. Buckets are addressed by path.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops the server: lets requests under way end for a few seconds, then cuts them off. The folder is free
    /// for another server afterwards.
    pub async fn stop(self) {
        self.closing.cancel();
        self.tasks.close();
        if tokio::time::timeout(GRACE, self.tasks.wait()).await.is_err() {
            self.ended.cancel();
            self.tasks.wait().await;
        }
    }
}

/// Opens the store, which reads its whole index, off the runtime's threads.
async fn opened(root: &Path) -> Result<Store, SandboxError> {
    let folder = root.to_path_buf();
    let opened = tokio::task::spawn_blocking(move || Store::open(&folder)).await;
    opened.unwrap_or_else(|error| {
        Err(SandboxError::State {
            path: root.to_path_buf(),
            reason: error.to_string(),
        })
    })
}

fn service(store: Store, credentials: Credentials) -> S3Service {
    let mut builder = S3ServiceBuilder::new(Service::new(Arc::new(store)));
    builder.set_auth(Guard(credentials));
    builder.set_access(OneOwner);
    builder.build()
}

/// What the accepting task holds. The store closes when it and all connections are gone.
struct Accepting {
    listener: TcpListener,
    service: S3Service,
    tasks: TaskTracker,
    closing: CancellationToken,
    ended: CancellationToken,
}

impl Accepting {
    async fn run(self) {
        let closing = self.closing.clone();
        while let Some(accepted) = closing.run_until_cancelled(self.listener.accept()).await {
            match accepted {
                Ok((stream, _)) => self.serve(stream),
                // Out of file descriptors, most likely: give connections time to end.
                Err(error) => {
                    tracing::warn!(%error, "the S3 stand-in could not take a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn serve(&self, stream: TcpStream) {
        let (closing, ended) = (self.closing.clone(), self.ended.clone());
        let connection = connection(stream, self.service.clone(), closing);
        self.tasks
            .spawn(async move { ended.run_until_cancelled(connection).await });
    }
}

async fn connection(stream: TcpStream, service: S3Service, closing: CancellationToken) {
    let serve = service_fn(move |request| answer(service.clone(), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), serve);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection to the S3 stand-in ended early");
    }
}

async fn answer(service: S3Service, request: Request<Incoming>) -> Result<HttpResponse, HttpError> {
    let mut response = service.call(request.map(Body::from)).await?;
    if let Ok(id) = HeaderValue::from_str(&Ulid::new().to_string()) {
        response.headers_mut().insert("x-amz-request-id", id);
    }
    Ok(response)
}
