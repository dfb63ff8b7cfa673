//! As much OpenAPI as `kubectl apply` needs: that unknown fields may be asked to be refused. There are no schemas.

use serde_json::{Map, Value, json};

use super::discovery::VERSION;
use super::kinds::{Kind, Served};
use super::reply::Reply;
use super::request::Call;
use super::status::ApiError;

/// What is asked for has an `@`, which no media type may have; so the answer is called a little otherwise.
const PROTOBUF_V2: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Answers below `/openapi`.
pub(super) fn reply(served: &Served, call: &Call, path: &[&str]) -> Option<Result<Reply, ApiError>> {
    Some(Ok(match path {
        ["v2"] if call.accept.contains("protobuf") => Reply::bytes(200, PROTOBUF_V2, empty_v2()),
        ["v2"] => Reply::json(
            200,
            &json!({"swagger": "2.0", "info": info(), "paths": {}, "definitions": {}}),
        ),
        ["v3"] => Reply::json(200, &index(served)),
        ["v3", "api", version] => Reply::json(200, &document(served, "", version)?),
        ["v3", "apis", group, version] => Reply::json(200, &document(served, group, version)?),
        _ => return None,
    }))
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": VERSION})
}

/// `Document { swagger: "2.0", info: Info { title, version }, paths: {} }`, in protocol buffers.
fn empty_v2() -> Vec<u8> {
    fn text(field: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(bytes.len()).expect("the few words here are short");
        [&[field << 3 | 2, length], bytes].concat()
    }
    let info = [text(1, b"Kubernetes"), text(2, VERSION.as_bytes())].concat();
    [text(1, b"2.0"), text(2, &info), text(8, b"")].concat()
}

fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

fn index(served: &Served) -> Value {
    let mut paths = Map::new();
    for kind in served.kinds() {
        let path = path_of(kind.group, kind.version);
        let at = json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={VERSION}")});
        paths.insert(path, at);
    }
    json!({"paths": paths})
}

fn document(served: &Served, group: &str, version: &str) -> Option<Value> {
    let paths: Map<_, _> = served
        .of_version(group, version)
        .map(|kind| (item_path(kind), operations(kind)))
        .collect();
    (!paths.is_empty())
        .then(|| json!({"openapi": "3.0.0", "info": info(), "paths": paths, "components": {"schemas": {}}}))
}

fn item_path(kind: &Kind) -> String {
    let scope = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
    format!("/{}{scope}/{}/{{name}}", path_of(kind.group, kind.version), kind.plural)
}

fn operations(kind: &Kind) -> Value {
    let parameter =
        |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    let parameters = ["dryRun", "fieldManager", "fieldValidation", "force"].map(parameter);
    let mut operations = json!({});
    for method in ["patch", "put"] {
        operations[method] = json!({
            "x-kubernetes-action": method,
            "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
            "parameters": parameters,
            "responses": {"200": {"description": "OK"}},
        });
    }
    operations
}
