//! `update` and `patch`, of an object or its status.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::super::kinds::Kind;
use super::super::patch::managed::Writer;
use super::super::patch::{self, Format};
use super::super::reply::Reply;
use super::super::request::{Call, Target};
use super::super::server::Api;
use super::super::status::ApiError;
use super::super::store::Transaction;
use super::super::{convert, object};
use super::change::{self, Note, Part};
use super::{body, read};

fn part(target: &Target) -> Part {
    if target.subresource == "status" {
        Part::Status
    } else {
        Part::Wanted
    }
}

fn writer<'a>(call: &'a Call, target: &'a Target) -> Writer<'a> {
    Writer {
        manager: call.manager(),
        subresource: &target.subresource,
    }
}

fn name(target: &Target) -> &str {
    target.name.as_deref().unwrap_or_default()
}

pub(super) fn put(api: &Api, call: &Call, target: &Target, body: &Bytes) -> Result<Reply, ApiError> {
    let new = convert::stored(target.kind, body::parse_object(call, target, body)?);
    let kind = target.kind.stored();
    let made = api.store.write(|transaction| {
        transaction.only_try(call.is_dry_run());
        let old = transaction
            .get(&target.key())
            .ok_or_else(|| ApiError::not_found(target.kind, name(target)))?;
        change::replace(
            transaction,
            kind,
            &old,
            new,
            part(target),
            Note::Update(writer(call, target)),
        )
    })?;
    read::reply_with(200, call, target, &made)
}

pub(super) fn patch(api: &Api, call: &Call, target: &Target, body: &Bytes) -> Result<Reply, ApiError> {
    let format = Format::of(&call.content_type)?;
    let (code, made) = api.store.write(|transaction| {
        transaction.only_try(call.is_dry_run());
        match (format, transaction.get(&target.key())) {
            (Format::Apply, old) => apply(transaction, call, target, old, body),
            (_, None) => Err(ApiError::not_found(target.kind, name(target))),
            (_, Some(old)) => patch_with(format, transaction, call, target, &old, body),
        }
    })?;
    read::reply_with(code, call, target, &made)
}

type Made = (u16, Arc<Value>);

fn patch_with(
    format: Format,
    transaction: &mut Transaction<'_>,
    call: &Call,
    target: &Target,
    old: &Arc<Value>,
    body: &Bytes,
) -> Result<Made, ApiError> {
    let shown = convert::shown(target.kind, old);
    let mut new = patch::patched(format, target.kind, &shown, body)?;
    body::fit(target.kind, target, &mut new)?;
    let new = convert::stored(target.kind, new);
    let kind = target.kind.stored();
    let note = Note::Update(writer(call, target));
    Ok((200, change::replace(transaction, kind, old, new, part(target), note)?))
}

fn apply(
    transaction: &mut Transaction<'_>,
    call: &Call,
    target: &Target,
    old: Option<Arc<Value>>,
    body: &Bytes,
) -> Result<Made, ApiError> {
    if call.query.get("fieldManager").unwrap_or_default().is_empty() {
        let message =
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
        return Err(ApiError::unprocessable(message));
    }
    body::insist_on_kind(&body::parse(call, body)?)?;
    let wanted = body::parse_object(call, target, body)?;
    if wanted
        .pointer("/metadata/managedFields")
        .is_some_and(|held| !held.is_null())
    {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let wanted = convert::stored(target.kind, wanted);
    let kind = target.kind.stored();
    let force = call.query.flag("force");
    let new = patch::apply::applied(kind, writer(call, target), old.as_deref(), &wanted, force)?;
    match old {
        Some(old) => Ok((
            200,
            change::replace(transaction, kind, &old, new, part(target), Note::Done)?,
        )),
        None if target.subresource.is_empty() => Ok((201, insert(transaction, kind, target, new)?)),
        None => Err(ApiError::not_found(target.kind, name(target))),
    }
}

fn insert(
    transaction: &mut Transaction<'_>,
    kind: &'static Kind,
    target: &Target,
    new: Value,
) -> Result<Arc<Value>, ApiError> {
    // An applied object with a revision or a UID is meant for one that was there.
    for field in ["resourceVersion", "uid"] {
        if !object::text(&new, &format!("/metadata/{field}")).is_empty() {
            return Err(ApiError::not_found(target.kind, name(target)));
        }
    }
    change::insert(transaction, kind, new, Note::Done)
}
