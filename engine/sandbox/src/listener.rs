//! A server of HTTP/1 on loopback: takes connections until it is stopped.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::SandboxError;

/// How long requests under way may take to end when the server is stopped.
const GRACE: Duration = Duration::from_secs(5);

/// A running server. It ends when it is stopped or dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    address: SocketAddr,
    tasks: TaskTracker,
    /// No new connections and requests.
    closing: CancellationToken,
    /// No connections at all.
    ended: CancellationToken,
    _ends_with_it: [DropGuard; 2],
}

impl Listener {
    /// Listens on an address (port 0 chooses a free one) and lets `answer` answer. An error of `answer` cuts the
    /// connection without a word, as a lost reply does.
    pub(crate) async fn start<A, F, B, E>(
        name: &'static str,
        listen: SocketAddr,
        answer: A,
    ) -> Result<Self, SandboxError>
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response<B>, E>> + Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
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
            closing: closing.clone(),
            ended: ended.clone(),
        };
        let tasks = server.tasks.clone();
        server.tasks.spawn(async move {
            while let Some(accepted) = closing.run_until_cancelled(listener.accept()).await {
                match accepted {
                    Ok((stream, _)) => {
                        let connection = connection(name, stream, answer.clone(), closing.clone());
                        let ended = ended.clone();
                        tasks.spawn(async move { ended.run_until_cancelled(connection).await });
                    }
                    // Out of file descriptors, most likely: give connections time to end.
                    Err(error) => {
                        tracing::warn!(%error, "the {name} stand-in could not take a connection");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        });
        Ok(server)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets requests under way end for a few seconds, then cuts them off.
    pub(crate) async fn stop(self) {
        self.closing.cancel();
        self.tasks.close();
        if tokio::time::timeout(GRACE, self.tasks.wait()).await.is_err() {
            self.ended.cancel();
            self.tasks.wait().await;
        }
    }
}

async fn connection<A, F, B, E>(name: &'static str, stream: TcpStream, answer: A, closing: CancellationToken)
where
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Result<Response<B>, E>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection to the {name} stand-in ended early");
    }
}
