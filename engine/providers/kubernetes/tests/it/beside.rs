//! A server beside the API server: what an `APIService` names, with gadgets in it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::server::Server;

/// It runs until its test ends.
pub(crate) struct Beside {
    group: String,
    port: u16,
    gadgets: Arc<Mutex<Gadgets>>,
}

/// By their paths; `None` while it answers nobody.
type Gadgets = Option<BTreeMap<String, Value>>;

impl Beside {
    /// With the key of the API server, for which nobody asks.
    pub(crate) async fn start(server: &Server, group: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
        let beside = Self {
            group: group.to_owned(),
            port: listener.local_addr().expect("an address").port(),
            gadgets: Arc::new(Mutex::new(None)),
        };
        let (tls, root) = (tls(server), format!("/apis/{group}/v1"));
        let gadgets = Arc::clone(&beside.gadgets);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, tls.clone(), root.clone(), Arc::clone(&gadgets)));
            }
        });
        beside
    }

    /// From now on it answers, or not any more. Its gadgets are gone.
    pub(crate) fn answers(&self, answers: bool) {
        *self.gadgets.lock().expect("held by nobody") = answers.then(BTreeMap::new);
    }

    /// What leads to it, in a namespace, and what says so.
    pub(crate) fn objects(&self, namespace: &str) -> [Value; 2] {
        let service = json!({ "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "beside", "namespace": namespace },
            "spec": { "type": "ExternalName", "externalName": "localhost" } });
        let named = json!({ "name": "beside", "namespace": namespace, "port": self.port });
        let api_service = json!({ "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": { "name": format!("v1.{}", self.group) },
            "spec": { "group": self.group, "version": "v1", "service": named, "insecureSkipTLSVerify": true,
                "groupPriorityMinimum": 1000, "versionPriority": 10 } });
        [service, api_service]
    }

    pub(crate) fn gadget(&self, namespace: &str, size: u32) -> Value {
        json!({ "apiVersion": format!("{}/v1", self.group), "kind": "Gadget",
            "metadata": { "name": "g", "namespace": namespace }, "spec": { "size": size } })
    }
}

fn tls(server: &Server) -> TlsAcceptor {
    let pki = server.kubeconfig.parent().expect("a folder").join("pki");
    let certificate = CertificateDer::from_pem_file(pki.join("apiserver.crt")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(pki.join("apiserver.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they belong together");
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, root: String, gadgets: Arc<Mutex<Gadgets>>) {
    let Ok(stream) = tls.accept(stream).await else { return };
    let service = service_fn(|request: Request<Incoming>| async {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes);
        let body = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
        let mut gadgets = gadgets.lock().expect("held by nobody");
        let (code, value) = answer(&root, &parts, body, &mut gadgets);
        let response = Response::builder()
            .status(code)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(value.to_string())));
        Ok::<_, Infallible>(response.expect("a response"))
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    drop(connection.await);
}

fn answer(root: &str, asked: &http::request::Parts, body: Value, gadgets: &mut Gadgets) -> (u16, Value) {
    let Some(gadgets) = gadgets else {
        return status(503, "ServiceUnavailable");
    };
    let Some(path) = asked.uri.path().strip_prefix(root) else {
        return status(404, "NotFound");
    };
    let version = root.trim_start_matches("/apis/");
    if path.is_empty() {
        return (200, resources(version));
    }
    let (place, name) = path.split_once("/gadgets").unwrap_or((path, ""));
    let is_tried = asked.uri.query().is_some_and(|query| query.contains("dryRun=All"));
    match asked.method {
        Method::GET if name.is_empty() => {
            let of_it = gadgets.iter().filter(|(path, _)| path.starts_with(place));
            let items: Vec<&Value> = of_it.map(|(_, gadget)| gadget).collect();
            let list = json!({ "apiVersion": version, "kind": "GadgetList", "metadata": { "resourceVersion": "1" }, "items": items });
            (200, list)
        }
        Method::GET => match gadgets.get(path) {
            Some(gadget) => (200, gadget.clone()),
            None => status(404, "NotFound"),
        },
        Method::POST | Method::PATCH => {
            let mut gadget = body;
            gadget["metadata"]["uid"] = "9c1d8a34-5b0e-4a5f-8d5e-0d3f0c1b2a39".into();
            gadget["metadata"]["resourceVersion"] = "1".into();
            if !is_tried {
                let name = gadget["metadata"]["name"].as_str().unwrap_or_default();
                gadgets.insert(format!("{place}/gadgets/{name}"), gadget.clone());
            }
            (200, gadget)
        }
        _ => status(405, "MethodNotAllowed"),
    }
}

fn resources(version: &str) -> Value {
    let gadgets = json!({ "name": "gadgets", "singularName": "gadget", "kind": "Gadget", "namespaced": true,
        "verbs": ["create", "get", "list", "patch"] });
    json!({ "apiVersion": "v1", "kind": "APIResourceList", "groupVersion": version, "resources": [gadgets] })
}

fn status(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({ "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason,
        "message": reason });
    (code, status)
}
