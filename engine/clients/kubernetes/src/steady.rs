//! The way to the API server: what passes by itself is asked again, and credentials that ran out are read anew.
//!
//! Each for a bounded time: a request that is turned away (429) for a minute, whatever it asks, since nothing was done of
//! it; one that only reads and met with a failure of the server's or a connection that broke (500, 502, 503, 504) for three
//! seconds. Whether a write that failed so took effect is for the step to find out. A server that cannot be reached at all
//! is told at once: how long to wait for that one is for the steps and the engine to say.

use std::error::Error as StdError;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, Uri, header};
use jm_step::{OpenContext, StepError};
use kube::Client;
use kube::client::Body;
use tower_service::Service;

use crate::config::{Config, program};
use crate::error::step_error;
use crate::patience::Patience;

type Failure = Box<dyn StdError + Send + Sync>;

/// A client whose requests go this way, and the program that tells its credentials, where one does.
pub(crate) async fn client(config: &Config, cx: &OpenContext) -> Result<(Client, Option<String>), StepError> {
    let settings = config.client_config(cx).await?;
    let program = program(&settings.auth_info);
    let (server, client) = connect(settings)?;
    let way = Way {
        config: config.clone(),
        cx: cx.clone(),
        server,
        current: Mutex::new((0, client)),
        renewing: tokio::sync::Mutex::new(()),
    };
    Ok((Client::new(Steady(Arc::new(way)), &config.namespace), program))
}

fn connect(settings: kube::Config) -> Result<(Uri, Client), StepError> {
    let server = settings.cluster_url.clone();
    let client = Client::try_from(settings);
    let client = client.map_err(|error| step_error("cannot make a client for the cluster", error))?;
    Ok((server, client))
}

struct Steady(Arc<Way>);

impl Service<Request<Body>> for Steady {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = BoxFuture<'static, Result<Response<Body>, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let way = Arc::clone(&self.0);
        async move { way.send(request).await.map_err(Failure::from) }.boxed()
    }
}

struct Way {
    config: Config,
    cx: OpenContext,
    server: Uri,
    /// The client, and how often its credentials were renewed.
    current: Mutex<(u64, Client)>,
    /// Held by the one request that renews them.
    renewing: tokio::sync::Mutex<()>,
}

impl Way {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        let only_reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let (mut patience, mut renewed) = (Patience::new(), false);
        loop {
            let (turn, client) = self.current();
            let Some(copy) = copy(&request) else {
                return client.send(request).await;
            };
            let answer = client.send(copy).await;
            let again = match &answer {
                Ok(reply) => match reply.status() {
                    StatusCode::UNAUTHORIZED if !renewed => {
                        renewed = true;
                        self.renew(turn).await
                    }
                    StatusCode::TOO_MANY_REQUESTS => patience.turned_away(retry_after(reply)).await,
                    status if only_reads && may_pass(status) => patience.once_more().await,
                    _ => false,
                },
                Err(error) => only_reads && broke_off(error) && patience.once_more().await,
            };
            if !again {
                return answer;
            }
        }
    }

    fn current(&self) -> (u64, Client) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the credentials anew, unless somebody else has since that turn. `false` where there are none for this server:
    /// a kubeconfig that leads to another one by now must not lead a run there.
    async fn renew(&self, turn: u64) -> bool {
        let _alone = self.renewing.lock().await;
        if self.current().0 != turn {
            return true;
        }
        match self.config.client_config(&self.cx).await.and_then(connect) {
            Ok((server, client)) if server == self.server => {
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = (turn + 1, client);
                true
            }
            Ok(_) => false,
            Err(error) => {
                tracing::debug!(%error, "the credentials cannot be read anew");
                false
            }
        }
    }
}

/// The request once more; `None` of one whose body can be sent only once.
fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    request.method().clone_into(copy.method_mut());
    request.uri().clone_into(copy.uri_mut());
    request.headers().clone_into(copy.headers_mut());
    request.extensions().clone_into(copy.extensions_mut());
    Some(copy)
}

fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502..=504)
}

fn retry_after<B>(reply: &Response<B>) -> Option<Duration> {
    let seconds = reply.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Whether there was a connection, and it broke. One on which nothing came for too long was waited for already.
fn broke_off(error: &kube::Error) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(one) = cause {
        let unreached = one
            .downcast_ref::<hyper_util::client::legacy::Error>()
            .is_some_and(hyper_util::client::legacy::Error::is_connect);
        let late = one
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::TimedOut);
        if unreached || late {
            return false;
        }
        cause = one.source();
    }
    matches!(error, kube::Error::Service(_) | kube::Error::HyperError(_))
}
