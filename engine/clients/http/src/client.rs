//! The client, its requests and replies.

use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Method, NoProxy, Proxy, Response, redirect};
use url::Url;

use jm_step::{Environment, Secret, StepError};

use crate::{error, tls};

/// How long a host may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// So many redirects on one host are followed.
const REDIRECTS: usize = 5;

/// A client. Cheap to clone.
#[derive(Clone)]
pub struct Http(reqwest::Client);

/// What is asked.
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    url: Url,
    headers: Vec<(String, Secret)>,
    body: Vec<u8>,
    timeout: Duration,
    most_reply: usize,
    follow: bool,
    shown: String,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status, such as 200.
    pub status: u16,
    /// Where it came from, after redirects.
    pub url: Url,
    /// The body as far as the limit of the request.
    pub body: Vec<u8>,
    /// Whether there was more of it.
    pub cut: bool,
    /// How long all of it took.
    pub elapsed: Duration,
    headers: HeaderMap,
}

impl Request {
    /// A request with ten seconds for the whole exchange and at most 64 KiB of reply, which follows no redirect.
    pub fn new(method: &str, url: Url) -> Result<Self, StepError> {
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| StepError::invalid_input(format!("`{method}` is not a method of HTTP")))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(
                StepError::invalid_input(format!("`{}` is not an address of HTTP", shown(&url)))
                    .hint("write it as `https://host/path`"),
            );
        }
        Ok(Self {
            shown: shown(&url),
            method,
            url,
            headers: Vec::new(),
            body: Vec::new(),
            timeout: Duration::from_secs(10),
            most_reply: 64 * 1024,
            follow: false,
        })
    }

    /// Adds a header. Its value is not shown anywhere.
    pub fn header(mut self, name: impl Into<String>, value: Secret) -> Self {
        self.headers.push((name.into(), value));
        self
    }

    /// Sets the body.
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", Secret::new(content_type))
    }

    /// Sets the time for the whole exchange, from the name's resolution to the last byte of the reply.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Reads at most so many bytes of the reply.
    pub fn most_reply(mut self, bytes: usize) -> Self {
        self.most_reply = bytes;
        self
    }

    /// Follows redirects on the same host, without the body.
    pub fn follow(mut self) -> Self {
        self.follow = true;
        self
    }

    /// How errors call it, where the path of the address is a secret.
    pub fn shown_as(mut self, shown: impl Into<String>) -> Self {
        self.shown = shown.into();
        self
    }

    fn header_map(&self) -> Result<HeaderMap, StepError> {
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            let bad = || StepError::invalid_input(format!("the header `{name}` or its value is not one of HTTP"));
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| bad())?;
            value.set_sensitive(true);
            map.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?, value);
        }
        Ok(map)
    }
}

impl Reply {
    /// A header's value, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as text, with what is no text replaced.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

impl Http {
    /// A client for this environment: its proxies and, with `SSL_CERT_FILE`, its roots.
    pub fn new(environment: &Environment) -> Result<Self, StepError> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(environment)?)
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT)
            .user_agent(concat!("jm/", env!("CARGO_PKG_VERSION")))
            .referer(false)
            .no_proxy();
        for proxy in proxies(environment)? {
            builder = builder.proxy(proxy);
        }
        let client = builder.build();
        client
            .map(Self)
            .map_err(|error| StepError::failed("the HTTP client cannot be set up").source(error))
    }

    /// Sends a request and reads the reply. A status that says no is a reply like any other.
    ///
    /// # Errors
    /// `Unavailable` where the host cannot be reached, `TimedOut` where it takes too long, `Failed` where its
    /// certificate is not trusted.
    pub async fn send(&self, request: &Request) -> Result<Reply, StepError> {
        let started = Instant::now();
        match tokio::time::timeout(request.timeout, self.exchange(request, started)).await {
            Ok(reply) => reply,
            Err(_) => Err(error::too_slow(&request.shown, request.timeout)),
        }
    }

    async fn exchange(&self, request: &Request, started: Instant) -> Result<Reply, StepError> {
        let mut url = request.url.clone();
        let mut response = self.once(request, &url, request.body.clone()).await?;
        for _ in 0..REDIRECTS {
            match next_on_same_host(&response, &url).filter(|_| request.follow) {
                Some(next) => url = next,
                None => break,
            }
            response = self.once(request, &url, Vec::new()).await?;
        }
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let (body, cut) = read(response, request).await?;
        Ok(Reply {
            status,
            url,
            body,
            cut,
            elapsed: started.elapsed(),
            headers,
        })
    }

    async fn once(&self, request: &Request, url: &Url, body: Vec<u8>) -> Result<Response, StepError> {
        let call = self
            .0
            .request(request.method.clone(), url.clone())
            .headers(request.header_map()?);
        call.body(body)
            .send()
            .await
            .map_err(|error| error::failed(&request.shown, error, request.timeout))
    }
}

async fn read(mut response: Response, request: &Request) -> Result<(Vec<u8>, bool), StepError> {
    let mut body = Vec::new();
    let broken = |error| error::failed(&request.shown, error, request.timeout);
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        let room = request.most_reply - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok((body, true));
        }
    }
    Ok((body, false))
}

/// The place that a redirect points to, if that is the same host by the same or a safer road.
fn next_on_same_host(response: &Response, url: &Url) -> Option<Url> {
    if !response.status().is_redirection() {
        return None;
    }
    let next = url.join(response.headers().get(LOCATION)?.to_str().ok()?).ok()?;
    let same_host = next.host() == url.host();
    let same_road = next.scheme() == url.scheme() && next.port_or_known_default() == url.port_or_known_default();
    let safer_road = url.scheme() == "http" && next.scheme() == "https";
    (same_host && (same_road || safer_road)).then_some(next)
}

/// An address without what may be secret in it: credentials, query and fragment.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only on addresses that cannot have credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

fn proxies(environment: &Environment) -> Result<Vec<Proxy>, StepError> {
    let get = |name: &str| {
        let value = environment.get(name).or_else(|| environment.get(&name.to_lowercase()));
        value.filter(|value| !value.is_empty())
    };
    let exempt = get("NO_PROXY").and_then(NoProxy::from_string);
    let bad = |error: reqwest::Error| {
        StepError::invalid_input("the address of the proxy makes no sense")
            .hint("check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY")
            .source(error.without_url())
    };
    let mut proxies = Vec::new();
    // `HTTP_PROXY` in capitals can be set from outside in a CGI program; jm is none.
    if let Some(address) = get("HTTP_PROXY") {
        proxies.push(Proxy::http(address).map_err(bad)?);
    }
    if let Some(address) = get("HTTPS_PROXY") {
        proxies.push(Proxy::https(address).map_err(bad)?);
    }
    if let Some(address) = get("ALL_PROXY") {
        proxies.push(Proxy::all(address).map_err(bad)?);
    }
    Ok(proxies
        .into_iter()
        .map(|proxy| proxy.no_proxy(exempt.clone()))
        .collect())
}
