//! A proxy in front of an API server: it answers with what a test wants, cuts connections, and lets in by tokens that run
//! out. All else it passes on.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use http::{Request, Response, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use serde_json::json;
use tokio::net::TcpListener;

use crate::server::Server;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is answered with this status, and not passed on.
    Status(u16),
    /// The connection is cut before an answer, and it is not passed on.
    Cut,
    /// It is passed on, and the connection is cut before the answer.
    CutAfter,
}

/// Which requests are meant, by their numbers, methods and addresses.
type Fits = Box<dyn Fn(usize, &str) -> bool + Send>;

/// What has to happen to which requests.
struct Rule {
    fits: Fits,
    fault: Fault,
    left: usize,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    /// Method and address of each request that was let in.
    seen: Vec<String>,
    token: String,
}

/// A proxy, with a kubeconfig that leads through it.
pub(crate) struct Proxy {
    pub(crate) kubeconfig: PathBuf,
    address: String,
    state: Arc<Mutex<State>>,
    folder: tempfile::TempDir,
}

impl Proxy {
    pub(crate) async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let folder = tempfile::tempdir().expect("a folder");
        let state = Arc::new(Mutex::new(State::default()));
        tokio::spawn(accept(listener, server.client().await, Arc::clone(&state)));
        let proxy = Self {
            kubeconfig: folder.path().join("kubeconfig"),
            address,
            state,
            folder,
        };
        proxy.let_in("first-token");
        proxy.write(&proxy.address, &json!({ "token": "first-token" }));
        proxy
    }

    /// From now on whoever has another token is not known.
    pub(crate) fn let_in(&self, token: &str) {
        token.clone_into(&mut self.state.lock().expect("its state").token);
    }

    /// Writes the kubeconfig anew: as this user, to this proxy or to another server.
    pub(crate) fn write_user(&self, user: &serde_json::Value, elsewhere: Option<&str>) {
        self.write(elsewhere.unwrap_or(&self.address), user);
    }

    /// A file beside the kubeconfig.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, server: &str, user: &serde_json::Value) {
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{ "name": "proxy", "cluster": { "server": server } }],
            "users": [{ "name": "proxy", "user": user }],
            "contexts": [{ "name": "proxy", "context": { "cluster": "proxy", "user": "proxy" } }],
        });
        std::fs::write(&self.kubeconfig, kubeconfig.to_string()).expect("written");
    }

    /// Lets something happen to the next requests that fit, which are told by their number since [`Self::forget`], and by
    /// method and address.
    pub(crate) fn fail(&self, times: usize, fault: Fault, fits: impl Fn(usize, &str) -> bool + Send + 'static) {
        let rule = Rule {
            fits: Box::new(fits),
            fault,
            left: times,
        };
        self.state.lock().expect("its state").rules.push(rule);
    }

    /// What was asked, and forgets it, with what was still to fail.
    pub(crate) fn forget(&self) -> Vec<String> {
        let mut state = self.state.lock().expect("its state");
        state.rules.clear();
        std::mem::take(&mut state.seen)
    }
}

async fn accept(listener: TcpListener, client: kube::Client, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (client, state) = (client.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, client.clone(), Arc::clone(&state)));
            let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            drop(serving.await);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    client: kube::Client,
    state: Arc<Mutex<State>>,
) -> Result<Response<Body>, io::Error> {
    let fault = match state.lock().expect("its state").judge(&request) {
        Verdict::Unknown => return Ok(status(401, "Unauthorized")),
        Verdict::Known(fault) => fault,
    };
    match fault {
        Some(Fault::Status(code)) => Ok(status(code, "on purpose")),
        Some(Fault::Cut) => Err(io::Error::other("cut")),
        Some(Fault::CutAfter) => {
            pass_on(request, &client).await?;
            Err(io::Error::other("cut"))
        }
        None => pass_on(request, &client).await,
    }
}

enum Verdict {
    Unknown,
    Known(Option<Fault>),
}

impl State {
    fn judge(&mut self, request: &Request<Incoming>) -> Verdict {
        let wanted = format!("Bearer {}", self.token);
        if request
            .headers()
            .get(header::AUTHORIZATION)
            .is_none_or(|shown| shown != wanted.as_str())
        {
            return Verdict::Unknown;
        }
        let (number, asked) = (self.seen.len(), format!("{} {}", request.method(), request.uri()));
        let rule = self
            .rules
            .iter_mut()
            .find(|rule| rule.left > 0 && (rule.fits)(number, &asked));
        self.seen.push(asked);
        Verdict::Known(rule.map(|rule| {
            rule.left -= 1;
            rule.fault
        }))
    }
}

async fn pass_on(request: Request<Incoming>, client: &kube::Client) -> Result<Response<Body>, io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let mut passed = Request::new(Body::from(body));
    *passed.method_mut() = parts.method;
    *passed.uri_mut() = parts.uri;
    for name in [header::ACCEPT, header::CONTENT_TYPE] {
        if let Some(value) = parts.headers.get(&name) {
            passed.headers_mut().insert(name, value.clone());
        }
    }
    let mut answer = client.send(passed).await.map_err(io::Error::other)?;
    // Of this connection, and not of the next one.
    answer.headers_mut().remove(header::TRANSFER_ENCODING);
    Ok(answer)
}

/// What an API server says with such a status.
fn status(code: u16, message: &str) -> Response<Body> {
    let reason = match code {
        401 => "Unauthorized",
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        504 => "Timeout",
        _ => "InternalError",
    };
    let body = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code });
    let mut response = Response::new(Body::from(body.to_string().into_bytes()));
    *response.status_mut() = http::StatusCode::from_u16(code).expect("a status");
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
