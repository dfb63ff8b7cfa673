//! What is done for each verb.

pub(super) mod access;
mod body;
pub(super) mod change;
mod create;
pub(super) mod delete;
mod logs;
pub(super) mod read;
mod scale;
mod update;

use std::sync::Arc;

use bytes::Bytes;

use super::reply::Reply;
use super::request::{Call, Target};
use super::server::Api;
use super::status::ApiError;
use super::watch;

/// Answers a request for a resource.
///
/// # Errors
/// Whatever keeps it from being done.
pub(super) fn handle(api: &Arc<Api>, call: &Call, target: &Target, body: &Bytes) -> Result<Reply, ApiError> {
    match (target.subresource.as_str(), target.verb(call)) {
        ("log", "get") => logs::get(api, call, target),
        ("scale", "get") => scale::get(api, target),
        ("scale", "update") => scale::put(api, call, target, body),
        ("scale", "patch") => scale::patch(api, call, target, body),
        ("" | "status", "get") => read::get(api, call, target),
        ("" | "status", "update") => update::put(api, call, target, body),
        ("" | "status", "patch") => update::patch(api, call, target, body),
        ("", "list") => read::list(api, call, target),
        ("", "watch") => watch::start(api, call, target),
        ("", "create") => create::create(api, call, target, body),
        ("", "delete") => delete::one(api, call, target, body),
        ("", "deletecollection") => delete::many(api, call, target, body),
        _ => Err(ApiError::method_not_allowed()),
    }
}
