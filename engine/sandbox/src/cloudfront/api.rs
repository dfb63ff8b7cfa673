//! The API: who asks, for what, and what is in the way.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use http::request::Parts;
use http::{Method, Request as HttpRequest, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use jiff::Timestamp;

use super::faults::{Fault, Request};
use super::reply::{Refusal, Reply, ok, refused, with_etag};
use super::state::{Distribution, State};
use super::xml::Element;
use super::{Inner, distributions, invalidations};
use crate::SandboxError;

const VERSION: &str = "2020-05-31";

/// What makes the connection end without a reply.
#[derive(Debug, thiserror::Error)]
#[error("the reply is lost")]
pub(super) struct Lost;

/// A request that was read.
pub(super) struct Asked {
    method: Method,
    /// Its path, piece by piece.
    way: Vec<String>,
    query: HashMap<String, String>,
    pub(super) if_match: Option<String>,
    pub(super) body: Option<Element>,
}

impl Asked {
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }
}

/// Answers a client of the API.
pub(super) async fn answer(inner: Arc<Inner>, request: HttpRequest<Incoming>) -> Result<Reply, Lost> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
    if let Err(refusal) = inner.key.check(&parts, &body) {
        return Ok(refused(refusal));
    }
    let asked = read(&parts, &body);
    let fault = kind(&asked).and_then(|kind| inner.faults.take(kind));
    let early = match fault {
        Some(Fault::Throttled) => Some(Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            "Throttling",
            "Rate exceeded",
        )),
        Some(Fault::Unavailable) => Some(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            "The service is not available.",
        )),
        Some(Fault::Denied) => Some(Refusal::new(
            StatusCode::FORBIDDEN,
            "AccessDenied",
            "the credentials may not do this",
        )),
        Some(Fault::ReplyLost) | None => None,
    };
    if let Some(refusal) = early {
        return Ok(refused(refusal));
    }
    let reply = perform(&inner, &asked).unwrap_or_else(refused);
    match fault {
        Some(Fault::ReplyLost) => Err(Lost),
        _ => Ok(reply),
    }
}

/// Answers a viewer at the edge: of the distribution whose host name it asks for, else of the first one.
pub(super) async fn serve(inner: Arc<Inner>, request: HttpRequest<Incoming>) -> Result<Reply, Infallible> {
    let now = jm_step::clock::now();
    let host = request.headers().get("host").and_then(|host| host.to_str().ok());
    let host = host.unwrap_or_default().to_owned();
    Ok(match meant(&inner, &host, now) {
        Ok(distribution) => {
            let (method, path) = (request.method(), request.uri().path());
            inner.edge.answer(&distribution, method, path, now).await
        }
        Err(refusal) => refused(refusal),
    })
}

fn meant(inner: &Inner, host: &str, now: Timestamp) -> Result<Distribution, Refusal> {
    let mut state = inner.state();
    settle(inner, &mut state, now)?;
    let all = &state.distributions;
    let named = all.values().find(|distribution| distribution.serves(host));
    let found = named.or_else(|| all.values().next());
    found.cloned().ok_or_else(|| Refusal::not_found("NoSuchDistribution"))
}

fn read(parts: &Parts, body: &[u8]) -> Asked {
    let query = parts.uri.query().unwrap_or_default();
    let query = query.split('&').filter_map(|pair| pair.split_once('='));
    let decoded = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    let query = query.map(|(name, value)| (decoded(name), decoded(value))).collect();
    let path = parts.uri.path().trim_matches('/');
    let if_match = parts.headers.get("if-match");
    let if_match = if_match.and_then(|value| value.to_str().ok()).map(str::to_owned);
    Asked {
        method: parts.method.clone(),
        way: path.split('/').map(str::to_owned).collect(),
        query,
        if_match,
        body: std::str::from_utf8(body).ok().and_then(Element::parse),
    }
}

fn kind(asked: &Asked) -> Option<Request> {
    let way: Vec<&str> = asked.way.iter().map(String::as_str).collect();
    match (&asked.method, way.as_slice()) {
        (&Method::GET, [_, "distribution"] | [_, "distribution", _] | [_, "distribution", _, "config"]) => {
            Some(Request::GetDistribution)
        }
        (&Method::PUT, _) => Some(Request::UpdateDistribution),
        (&Method::POST, [_, "distribution", _, "invalidation"]) => Some(Request::CreateInvalidation),
        (&Method::GET, [_, "distribution", _, "invalidation", ..]) => Some(Request::GetInvalidation),
        _ => None,
    }
}

fn perform(inner: &Inner, asked: &Asked) -> Result<Reply, Refusal> {
    let now = jm_step::clock::now();
    let mut state = inner.state();
    settle(inner, &mut state, now)?;
    let way: Vec<&str> = asked.way.iter().map(String::as_str).collect();
    match (&asked.method, way.as_slice()) {
        (_, [version, ..]) if *version != VERSION => Err(Refusal::not_found("NoSuchResource")),
        (&Method::GET, [_, "distribution"]) => Ok(distributions::list(&state, asked, now)),
        (&Method::POST, [_, "distribution"]) => distributions::create(inner, &mut state, asked, now),
        (&Method::GET, [_, "distribution", id]) => {
            let found = distributions::find(&state, id)?;
            Ok(distributions::told(found, now))
        }
        (&Method::GET, [_, "distribution", id, "config"]) => {
            let found = distributions::find(&state, id)?;
            Ok(with_etag(ok(&found.config().write()), &found.etag()))
        }
        (&Method::PUT, [_, "distribution", id, "config"]) => distributions::update(inner, &mut state, id, asked, now),
        (&Method::POST, [_, "distribution", id, "invalidation"]) => {
            invalidations::create(inner, &mut state, id, asked, now)
        }
        (&Method::GET, [_, "distribution", id, "invalidation"]) => invalidations::list(&state, id),
        (&Method::GET, [_, "distribution", id, "invalidation", invalidation]) => {
            invalidations::look(inner, &mut state, id, invalidation, now)
        }
        _ => Err(Refusal::new(
            StatusCode::NOT_IMPLEMENTED,
            "NotImplemented",
            "The stand-in does not do this.",
        )),
    }
}

/// Completes what has had its time, and empties the cache by it.
fn settle(inner: &Inner, state: &mut State, now: Timestamp) -> Result<(), SandboxError> {
    let mut any = false;
    for distribution in state.distributions.values_mut() {
        for invalidation in &mut distribution.invalidations {
            if invalidation.pass(now, false) {
                inner.edge.drop_paths(&distribution.id, &invalidation.paths)?;
                any = true;
            }
        }
    }
    if any { state.save() } else { Ok(()) }
}
