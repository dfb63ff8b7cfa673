//! `create`.

use bytes::Bytes;
use serde_json::Value;

use super::super::patch::managed::Writer;
use super::super::reply::Reply;
use super::super::request::{Call, Target};
use super::super::server::Api;
use super::super::status::ApiError;
use super::super::{convert, object};
use super::change::{self, Note};
use super::{body, read};

pub(super) fn create(api: &Api, call: &Call, target: &Target, body: &Bytes) -> Result<Reply, ApiError> {
    if target.name.is_some() || (target.kind.namespaced && target.namespace.is_none()) {
        return Err(ApiError::method_not_allowed());
    }
    let new = body::parse_object(call, target, body)?;
    if !object::text(&new, "/metadata/resourceVersion").is_empty() {
        return Err(ApiError::has_revision());
    }
    let made = insert(api, call, target, convert::stored(target.kind, new))?;
    read::reply_with(201, call, target, &made)
}

fn insert(api: &Api, call: &Call, target: &Target, new: Value) -> Result<std::sync::Arc<Value>, ApiError> {
    let kind = target.kind.stored();
    let writer = Writer {
        manager: call.manager(),
        subresource: "",
    };
    api.store.write(|transaction| {
        transaction.only_try(call.is_dry_run());
        change::insert(transaction, kind, new, Note::Update(writer))
    })
}
