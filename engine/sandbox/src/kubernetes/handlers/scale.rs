//! The `scale` subresource of Deployments, ReplicaSets and StatefulSets.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::patch::managed::Writer;
use super::super::patch::{self, Format};
use super::super::reply::Reply;
use super::super::request::{Call, Target};
use super::super::selectors::Labels;
use super::super::server::Api;
use super::super::status::{ApiError, Cause};
use super::super::{kinds, object};
use super::body;
use super::change::{self, Note, Part};

/// The object's `Scale`.
fn of(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {},
        "status": {
            "replicas": object::number(object, "/status/replicas"),
            "selector": Labels::of_object(&object["spec"]["selector"]).to_text(),
        },
    });
    // Like the real server, which does not write a nought here.
    let replicas = object::number(object, "/spec/replicas");
    if replicas != 0 {
        scale["spec"]["replicas"] = json!(replicas);
    }
    scale
}

fn found(api: &Api, target: &Target) -> Result<Arc<Value>, ApiError> {
    let name = target.name.as_deref().unwrap_or_default();
    api.store
        .get(&target.key())
        .ok_or_else(|| ApiError::not_found(target.kind, name))
}

pub(super) fn get(api: &Api, target: &Target) -> Result<Reply, ApiError> {
    Ok(Reply::json(200, &of(&*found(api, target)?)))
}

pub(super) fn put(api: &Api, call: &Call, target: &Target, body: &Bytes) -> Result<Reply, ApiError> {
    let scale = body::parse(call, body)?;
    write(api, call, target, |_| Ok(scale))
}

pub(super) fn patch(api: &Api, call: &Call, target: &Target, body: &Bytes) -> Result<Reply, ApiError> {
    let format = match Format::of(&call.content_type)? {
        // A Scale holds single values alone, so that an apply by its only writer is a merge.
        Format::Apply => Format::Merge,
        format => format,
    };
    write(api, call, target, |scale| {
        patch::patched(format, target.kind, scale, body)
    })
}

fn write(
    api: &Api,
    call: &Call,
    target: &Target,
    change: impl FnOnce(&Value) -> Result<Value, ApiError>,
) -> Result<Reply, ApiError> {
    let name = target.name.as_deref().unwrap_or_default();
    let writer = Writer {
        manager: call.manager(),
        subresource: "scale",
    };
    let made = api.store.write(|transaction| {
        transaction.only_try(call.is_dry_run());
        let old = transaction
            .get(&target.key())
            .ok_or_else(|| ApiError::not_found(target.kind, name))?;
        let new = scaled(&old, &change(&of(&old))?)?;
        change::replace(
            transaction,
            target.kind.stored(),
            &old,
            new,
            Part::Wanted,
            Note::Update(writer),
        )
    })?;
    Ok(Reply::json(200, &of(&made)))
}

/// The object with the replicas, and on the revision, that a `Scale` asks for.
fn scaled(old: &Value, scale: &Value) -> Result<Value, ApiError> {
    let name = object::name(old);
    let replicas = match scale.pointer("/spec/replicas") {
        None | Some(Value::Null) => 0,
        Some(count) => count.as_i64().filter(|count| *count >= 0).ok_or_else(|| {
            let cause = Cause::invalid("spec.replicas", count, "must be greater than or equal to 0");
            ApiError::invalid(&kinds::SCALE_KIND, name, &[cause])
        })?,
    };
    let mut new = old.clone();
    object::set(&mut new, &["spec", "replicas"], json!(replicas));
    for field in ["resourceVersion", "uid"] {
        if let Some(basis) = scale["metadata"].get(field) {
            object::set(&mut new, &["metadata", field], basis.clone());
        }
    }
    Ok(new)
}
