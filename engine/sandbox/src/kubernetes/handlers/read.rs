//! `get` and `list`.

use std::sync::Arc;

use base64::Engine;
use serde_json::{Value, json};

use super::super::reply::Reply;
use super::super::request::{Call, Form, Target};
use super::super::server::Api;
use super::super::status::ApiError;
use super::super::{convert, object, table};

pub(super) fn get(api: &Api, call: &Call, target: &Target) -> Result<Reply, ApiError> {
    let name = target.name.as_deref().unwrap_or_default();
    let found = api
        .store
        .get(&target.key())
        .ok_or_else(|| ApiError::not_found(target.kind, name))?;
    reply_with(200, call, target, &found)
}

/// Shows one stored object in the form that was asked for.
pub(super) fn reply_with(code: u16, call: &Call, target: &Target, stored: &Arc<Value>) -> Result<Reply, ApiError> {
    let shown = convert::shown(target.kind, stored);
    let value = match call.form()? {
        Form::Whole => (*shown).clone(),
        Form::Metadata => metadata_alone(&shown),
        Form::Table => {
            let revision = object::text(&shown, "/metadata/resourceVersion").to_owned();
            table::of(
                target.kind,
                &[shown],
                include(call),
                json!({"resourceVersion": revision}),
            )
        }
    };
    Ok(Reply::json(code, &value))
}

/// What a row of a table carries along.
pub(in super::super) fn include(call: &Call) -> table::Include {
    match call.query.get("includeObject") {
        Some("Object") => table::Include::Object,
        Some("None") => table::Include::Nothing,
        _ => table::Include::Metadata,
    }
}

/// `PartialObjectMetadata` of an object.
pub(in super::super) fn metadata_alone(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

pub(super) fn list(api: &Api, call: &Call, target: &Target) -> Result<Reply, ApiError> {
    let selection = call.selection(target)?;
    let (revision, objects) = api.store.list(target.kind.stored_as, target.namespace.as_deref());
    if let Some(asked) = call.query.number("resourceVersion")?.filter(|asked| *asked > revision) {
        return Err(ApiError::not_yet(asked, revision));
    }
    let mut shown: Vec<_> = objects
        .iter()
        .map(|stored| convert::shown(target.kind, stored))
        .collect();
    shown.retain(|object| selection.takes(object));
    let (page, mut metadata) = paged(call, shown)?;
    metadata["resourceVersion"] = json!(revision.to_string());
    Ok(Reply::json(200, &list_of(call, target, &page, metadata)?))
}

fn list_of(call: &Call, target: &Target, page: &[Arc<Value>], metadata: Value) -> Result<Value, ApiError> {
    Ok(match call.form()? {
        Form::Whole => listed(target, page, metadata),
        Form::Metadata => json!({
            "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            "items": page.iter().map(|object| metadata_alone(object)).collect::<Vec<_>>(),
        }),
        Form::Table => table::of(target.kind, page, include(call), metadata),
    })
}

/// A list as the real server writes one: its items do not repeat their kind.
pub(super) fn listed(target: &Target, page: &[Arc<Value>], metadata: Value) -> Value {
    let items = page.iter().map(|object| {
        let mut item = (**object).clone();
        object::remove(&mut item, &["apiVersion"]);
        object::remove(&mut item, &["kind"]);
        item
    });
    json!({
        "kind": format!("{}List", target.kind.kind), "apiVersion": target.kind.api_version(), "metadata": metadata,
        "items": items.collect::<Vec<_>>(),
    })
}

/// Cuts the page that `limit` and `continue` ask for.
fn paged(call: &Call, mut objects: Vec<Arc<Value>>) -> Result<(Vec<Arc<Value>>, Value), ApiError> {
    let mut metadata = json!({});
    if let Some(token) = call.query.get("continue").filter(|token| !token.is_empty()) {
        let after = read_token(token)?;
        objects.retain(|object| place(object) > (after.0.as_str(), after.1.as_str()));
    }
    let limit = usize::try_from(call.query.number("limit")?.unwrap_or_default()).unwrap_or(usize::MAX);
    if limit > 0 && objects.len() > limit {
        metadata["remainingItemCount"] = json!(objects.len() - limit);
        objects.truncate(limit);
        if let Some(last) = objects.last() {
            metadata["continue"] = json!(write_token(place(last)));
        }
    }
    Ok((objects, metadata))
}

fn place(object: &Value) -> (&str, &str) {
    (object::namespace(object), object::name(object))
}

fn write_token(place: (&str, &str)) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json!([place.0, place.1]).to_string())
}

fn read_token(token: &str) -> Result<(String, String), ApiError> {
    let wrong = || ApiError::bad_request("continue key is not valid");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(token)
        .map_err(|_| wrong())?;
    serde_json::from_slice(&bytes).map_err(|_| wrong())
}
