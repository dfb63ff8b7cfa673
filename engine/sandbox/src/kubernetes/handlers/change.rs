//! The ways in which objects come to be and change, for callers and controllers alike.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::kinds::{self, Kind};
use super::super::object;
use super::super::patch::managed::{self, Writer};
use super::super::status::ApiError;
use super::super::store::{Key, Transaction};
use super::super::{defaults, definitions, validate};

/// The part of an object that a write is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Part {
    /// Everything but the status.
    Wanted,
    /// The status alone.
    Status,
}

/// How a write is noted in `managedFields`.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Note<'a> {
    /// The writer holds what it changed.
    Update(Writer<'a>),
    /// The object says already who holds what.
    Done,
}

/// Puts a new object in its place.
///
/// # Errors
/// Where there is one of that name, its namespace is missing or ending, or it is not valid.
pub(in super::super) fn insert(
    transaction: &mut Transaction<'_>,
    kind: &'static Kind,
    mut new: Value,
    note: Note<'_>,
) -> Result<Arc<Value>, ApiError> {
    name_it(transaction, kind, &mut new);
    let key = Key::of(kind.stored_as, &new);
    admit(transaction, kind, &key)?;
    if transaction.get(&key).is_some() {
        return Err(ApiError::already_exists(kind, &key.name));
    }
    prepare(kind, &mut new);
    tidy(kind, &mut new);
    defaults::fill(kind, &mut new);
    validate::check(kind, None, &new)?;
    if let Note::Update(writer) = note {
        object::remove(&mut new, &["metadata", "managedFields"]);
        managed::note_update(kind, writer, None, &mut new);
    }
    Ok(transaction.put(&key, new))
}

/// Takes away what the type of the object leaves out; of what a definition brings, the metadata has a type.
fn tidy(kind: &Kind, object: &mut Value) {
    if kind.custom {
        object::tidy_metadata(object);
    } else {
        object::tidy(object, kind.is_of_pods());
    }
}

/// Makes a name from `generateName` where none is given.
fn name_it(transaction: &Transaction<'_>, kind: &Kind, new: &mut Value) {
    let prefix = object::text(new, "/metadata/generateName").to_owned();
    if !object::name(new).is_empty() || prefix.is_empty() {
        return;
    }
    loop {
        object::set(
            new,
            &["metadata", "name"],
            json!(format!("{prefix}{}", object::name_suffix(5))),
        );
        if transaction.get(&Key::of(kind.stored_as, new)).is_none() {
            return;
        }
    }
}

/// May anything new be made in its namespace, and of its definition?
fn admit(transaction: &Transaction<'_>, kind: &Kind, key: &Key) -> Result<(), ApiError> {
    let definition = Key::new(definitions::RESOURCE, "", kind.stored_as);
    if transaction
        .get(&definition)
        .is_some_and(|definition| object::is_terminating(&definition))
    {
        let why = "create not allowed while custom resource definition is terminating";
        return Err(ApiError::forbidden(kind, &key.name, why));
    }
    if !kind.namespaced {
        return Ok(());
    }
    let namespaces = kinds::stored("namespaces");
    let Some(namespace) = transaction.get(&Key::new("namespaces", "", &key.namespace)) else {
        return Err(ApiError::not_found(namespaces, &key.namespace));
    };
    // Events tell of the end, too.
    if object::is_terminating(&namespace) && kind.stored_as != "events" {
        return Err(ApiError::namespace_ending(kind, &key.name, &key.namespace));
    }
    Ok(())
}

/// What the server alone says of a new object.
fn prepare(kind: &Kind, new: &mut Value) {
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "resourceVersion",
        "generation",
    ] {
        object::remove(new, &["metadata", field]);
    }
    object::set(new, &["metadata", "uid"], json!(object::new_uid()));
    object::set(new, &["metadata", "creationTimestamp"], json!(object::now()));
    if kind.counts_generations {
        object::set(new, &["metadata", "generation"], json!(1));
    }
    if kind.has("status") {
        object::set(new, &["status"], json!({}));
    }
}

/// Puts a changed object in the place of the one that was there.
///
/// # Errors
/// `Conflict` where the new one is based on another revision, `Invalid` where it may not be so.
pub(in super::super) fn replace(
    transaction: &mut Transaction<'_>,
    kind: &'static Kind,
    old: &Arc<Value>,
    new: Value,
    part: Part,
    note: Note<'_>,
) -> Result<Arc<Value>, ApiError> {
    check_basis(kind, old, &new)?;
    let mut new = match part {
        Part::Wanted => keep_system_fields(kind, old, new),
        Part::Status => with_status(old, new),
    };
    tidy(kind, &mut new);
    if part == Part::Wanted {
        defaults::fill(kind, &mut new);
        count_generation(kind, old, &mut new);
        validate::check(kind, Some(old), &new)?;
    }
    if let Note::Update(writer) = note {
        let held = old["metadata"]["managedFields"].clone();
        object::set(&mut new, &["metadata", "managedFields"], held);
        managed::note_update(kind, writer, Some(old), &mut new);
    }
    let key = Key::of(kind.stored_as, old);
    if is_finished(kind, &new) {
        transaction.delete(&key);
        return Ok(Arc::new(new));
    }
    Ok(transaction.put(&key, new))
}

/// Is the new object a change of this very old one?
fn check_basis(kind: &Kind, old: &Value, new: &Value) -> Result<(), ApiError> {
    let name = object::name(old);
    let (was, based_on) = (
        object::text(old, "/metadata/resourceVersion"),
        object::text(new, "/metadata/resourceVersion"),
    );
    if !based_on.is_empty() && was != based_on {
        return Err(ApiError::stale(kind, name));
    }
    let (was, wanted) = (object::uid(old), object::uid(new));
    if !wanted.is_empty() && was != wanted {
        let why = format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {was}");
        return Err(ApiError::conflict(kind, name, &why));
    }
    Ok(())
}

/// Fields of the metadata that only the server sets.
const SYSTEM: [&str; 6] = [
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generateName",
];

fn keep_system_fields(kind: &Kind, old: &Value, mut new: Value) -> Value {
    for field in SYSTEM {
        restore(old, &mut new, &["metadata", field]);
    }
    if kind.has("status") {
        restore(old, &mut new, &["status"]);
    }
    new
}

fn restore(old: &Value, new: &mut Value, path: &[&str]) {
    match path.iter().try_fold(old, |at, field| at.get(*field)) {
        Some(value) => object::set(new, path, value.clone()),
        None => drop(object::remove(new, path)),
    }
}

fn with_status(old: &Value, mut new: Value) -> Value {
    let mut object = old.clone();
    match object::remove(&mut new, &["status"]) {
        Some(status) => object["status"] = status,
        None => drop(object::remove(&mut object, &["status"])),
    }
    if let Some(held) = new.pointer("/metadata/managedFields") {
        object::set(&mut object, &["metadata", "managedFields"], held.clone());
    }
    object
}

fn count_generation(kind: &Kind, old: &Value, new: &mut Value) {
    if !kind.counts_generations {
        return;
    }
    let wanted = |object: &Value| {
        let mut object = object.clone();
        object::remove(&mut object, &["metadata"]);
        if !kind.custom || kind.has("status") {
            object::remove(&mut object, &["status"]);
        }
        object
    };
    if wanted(old) != wanted(new) {
        let generation = object::number(old, "/metadata/generation") + 1;
        object::set(new, &["metadata", "generation"], json!(generation));
    }
}

/// Was only a finalizer or the grace of a pod left between the object and its end?
fn is_finished(kind: &Kind, object: &Value) -> bool {
    object::is_terminating(object)
        && object::items(object, "/metadata/finalizers").is_empty()
        && kind.stored_as != "namespaces"
        && object::number(object, "/metadata/deletionGracePeriodSeconds") == 0
}
