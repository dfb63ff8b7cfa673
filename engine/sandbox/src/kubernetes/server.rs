//! The listener: TLS, HTTP, who asks, and the way to the handlers.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::audit::Audit;
use super::kinds::Served;
use super::pki::{Identity, User};
use super::reply::{Body, Reply};
use super::request::{Call, Target};
use super::status::ApiError;
use super::store::Store;
use super::{definitions, discovery, handlers};

/// The largest body that is taken, as on the real server.
const LARGEST_BODY: usize = 3 * 1024 * 1024;
/// How long a client may take for the TLS handshake and for its headers.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long open requests may go on when the server ends.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What the handlers need.
pub(super) struct Api {
    pub(super) store: Arc<Store>,
    pub(super) identity: Identity,
    pub(super) audit: Audit,
    /// Held for as long as anything may be written under the folder.
    pub(super) _lock: std::fs::File,
    /// Ends the listener, its connections and its watches.
    pub(super) stop: CancellationToken,
}

/// Serves until it is told to stop.
pub(super) async fn serve(api: Arc<Api>, listener: TcpListener, tls: TlsAcceptor) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = api.stop.cancelled() => break,
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => drop(connections.spawn(serve_connection(Arc::clone(&api), stream, tls.clone()))),
            // Out of file descriptors, for one: wait for some to be given back.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_WORDS, ended).await.is_err() {
        connections.shutdown().await;
    }
}

async fn serve_connection(api: Arc<Api>, stream: TcpStream, tls: TlsAcceptor) {
    drop(stream.set_nodelay(true));
    let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, tls.accept(stream)).await else {
        return;
    };
    let answering = Arc::clone(&api);
    let service = service_fn(move |request| {
        let api = Arc::clone(&answering);
        async move { Ok::<_, Infallible>(answer(&api, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_mins(2))
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = api.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(LAST_WORDS, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn answer(api: &Arc<Api>, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let mut call = Call::new(&parts.method, &parts.uri, &parts.headers);
    call.user = bearer(&parts.headers).and_then(|token| api.identity.user(token));
    let target = Target::parse(&call.path, |group, version, plural| {
        definitions::find(&api.store, group, version, plural)
    });
    let reply = match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(body) => {
            let body = body.to_bytes();
            call.dry_body = handlers::delete::asks_dry_run(&call, &body);
            respond(api, &call, target.as_ref(), &body).unwrap_or_else(Reply::from)
        }
        Err(_) => ApiError::too_large().into(),
    };
    match api.audit.note(&call, target.as_ref(), reply.code) {
        Ok(()) => reply.into_response(),
        // What cannot be told in the trail must not look as if it had been.
        Err(error) => Reply::from(ApiError::internal(format!(
            "the audit trail cannot be written: {error}"
        )))
        .into_response(),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")
}

fn respond(api: &Arc<Api>, call: &Call, target: Option<&Target>, body: &Bytes) -> Result<Reply, ApiError> {
    if let Some(reply) = discovery::open_to_all(call) {
        return Ok(reply);
    }
    let user = call.user.ok_or_else(ApiError::unauthorized)?;
    let Some(target) = target else {
        let served = Served::of(&api.store);
        return handlers::access::review(call, user, body)
            .or_else(|| discovery::reply(&served, call))
            .unwrap_or_else(|| discovery::no_such_path(&served, call));
    };
    permit(user, call, target)?;
    handlers::handle(api, call, target, body)
}

/// The viewer may look, and nothing else; nor at secrets.
fn permit(user: User, call: &Call, target: &Target) -> Result<(), ApiError> {
    let verb = target.verb(call);
    if handlers::access::allows(user, verb, target.kind.plural) {
        return Ok(());
    }
    let scope = match &target.namespace {
        Some(namespace) => format!("in the namespace \"{namespace}\""),
        None => "at the cluster scope".to_owned(),
    };
    let slash = if target.subresource.is_empty() { "" } else { "/" };
    let why = format!(
        "User \"{}\" cannot {verb} resource \"{}{slash}{}\" in API group \"{}\" {scope}",
        user.name(),
        target.kind.plural,
        target.subresource,
        target.kind.group
    );
    Err(ApiError::forbidden(
        target.kind,
        target.name.as_deref().unwrap_or_default(),
        &why,
    ))
}
