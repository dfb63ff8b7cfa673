//! `delete` and `deletecollection`.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::kinds::Kind;
use super::super::reply::Reply;
use super::super::request::{Call, Target};
use super::super::server::Api;
use super::super::status::{self, ApiError};
use super::super::store::{Key, Transaction};
use super::super::{convert, definitions, object};
use super::{body, read};

/// What is to become of the objects that this one owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// How an object is to be deleted.
#[derive(Debug, Clone)]
pub(in super::super) struct Options {
    grace: Option<i64>,
    propagation: Propagation,
    uid: Option<String>,
    revision: Option<String>,
    dry: bool,
}

impl Options {
    /// As the garbage collector and the other controllers delete: at once where nothing speaks against it.
    pub(in super::super) fn quietly() -> Self {
        Self {
            grace: None,
            propagation: Propagation::Background,
            uid: None,
            revision: None,
            dry: false,
        }
    }

    /// The same, with seconds to end in.
    pub(in super::super) fn within(self, seconds: i64) -> Self {
        Self {
            grace: Some(seconds),
            ..self
        }
    }

    /// The same, with what is owned going first.
    pub(in super::super) fn after_what_is_owned(self) -> Self {
        Self {
            propagation: Propagation::Foreground,
            ..self
        }
    }

    fn parse(call: &Call, body: &Bytes) -> Result<Self, ApiError> {
        let given = if body.is_empty() {
            json!({})
        } else {
            body::parse(call, body)?
        };
        let word = |field: &str| {
            given[field]
                .as_str()
                .or_else(|| call.query.get(field))
                .map(str::to_owned)
        };
        let condition = |field: &str| given["preconditions"][field].as_str().map(str::to_owned);
        let propagation = match word("propagationPolicy").as_deref() {
            None | Some("Background" | "") if given["orphanDependents"] == json!(true) => Propagation::Orphan,
            None | Some("Background" | "") => Propagation::Background,
            Some("Foreground") => Propagation::Foreground,
            Some("Orphan") => Propagation::Orphan,
            Some(other) => return Err(ApiError::unprocessable(format!("invalid propagationPolicy: {other:?}"))),
        };
        let asked = call.query.get("gracePeriodSeconds").and_then(|text| text.parse().ok());
        Ok(Self {
            grace: given["gracePeriodSeconds"].as_i64().or(asked),
            propagation,
            uid: condition("uid"),
            revision: condition("resourceVersion"),
            dry: call.is_dry_run(),
        })
    }
}

/// What became of it.
#[derive(Debug)]
pub(in super::super) enum Outcome {
    /// It is gone.
    Gone(Arc<Value>),
    /// It is on its way out.
    Going(Arc<Value>),
}

/// Does the body of a deletion ask that nothing be changed?
pub(in super::super) fn asks_dry_run(call: &Call, body: &Bytes) -> bool {
    let deletes = call.method == http::Method::DELETE && !body.is_empty();
    deletes && body::parse(call, body).is_ok_and(|given| given["dryRun"] == json!(["All"]))
}

pub(super) fn one(api: &Api, call: &Call, target: &Target, body: &Bytes) -> Result<Reply, ApiError> {
    let options = Options::parse(call, body)?;
    let name = target.name.as_deref().unwrap_or_default();
    let outcome = api.store.write(|transaction| {
        transaction.only_try(options.dry);
        let old = transaction
            .get(&target.key())
            .ok_or_else(|| ApiError::not_found(target.kind, name))?;
        delete(transaction, target.kind.stored(), &old, &options)
    })?;
    match outcome {
        // The real server hands these back, and a `Status` for everything else.
        Outcome::Gone(object) if !["pods", "services", "serviceaccounts"].contains(&target.kind.stored_as) => Ok(
            Reply::json(200, &status::deleted(target.kind, name, object::uid(&object))),
        ),
        Outcome::Gone(object) | Outcome::Going(object) => read::reply_with(200, call, target, &object),
    }
}

pub(super) fn many(api: &Api, call: &Call, target: &Target, body: &Bytes) -> Result<Reply, ApiError> {
    let options = Options::parse(call, body)?;
    let selection = call.selection(target)?;
    let kind = target.kind.stored();
    let (revision, objects) = api.store.list(target.kind.stored_as, target.namespace.as_deref());
    let mut done = Vec::new();
    for old in objects
        .iter()
        .filter(|stored| selection.takes(&convert::shown(target.kind, stored)))
    {
        api.store.write(|transaction| {
            transaction.only_try(options.dry);
            match transaction.get(&Key::of(kind.stored_as, old)) {
                Some(now) => delete(transaction, kind, &now, &options).map(drop),
                None => Ok(()),
            }
        })?;
        done.push(convert::shown(target.kind, old));
    }
    Ok(Reply::json(
        200,
        &read::listed(target, &done, json!({"resourceVersion": revision.to_string()})),
    ))
}

/// Deletes an object, or begins to where something has to be waited for.
///
/// # Errors
/// Where a precondition does not hold, or the object may not be deleted.
pub(in super::super) fn delete(
    transaction: &mut Transaction<'_>,
    kind: &'static Kind,
    old: &Arc<Value>,
    options: &Options,
) -> Result<Outcome, ApiError> {
    check_preconditions(kind, old, options)?;
    let key = Key::of(kind.stored_as, old);
    if kind.stored_as == "namespaces" {
        return delete_namespace(transaction, kind, &key, old);
    }
    let finalizers = finalizers(kind, old, options.propagation);
    let grace = grace(kind, old, options);
    if finalizers.is_empty() && grace == 0 {
        transaction.delete(&key);
        return Ok(Outcome::Gone(Arc::clone(old)));
    }
    let mut marked = (**old).clone();
    if !finalizers.is_empty() {
        object::set(&mut marked, &["metadata", "finalizers"], json!(finalizers));
    }
    mark(kind, &mut marked, grace);
    Ok(Outcome::Going(transaction.put(&key, marked)))
}

fn check_preconditions(kind: &Kind, old: &Value, options: &Options) -> Result<(), ApiError> {
    for (label, pointer, wanted, done) in [
        ("UID", "/metadata/uid", &options.uid, "deleted and then recreated"),
        (
            "ResourceVersion",
            "/metadata/resourceVersion",
            &options.revision,
            "modified",
        ),
    ] {
        let found = object::text(old, pointer);
        if let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != found) {
            let why = format!(
                "the {label} in the precondition ({wanted}) does not match the {label} in record ({found}). \
                 The object might have been {done}"
            );
            return Err(ApiError::precondition(kind, object::name(old), &why));
        }
    }
    Ok(())
}

fn finalizers(kind: &Kind, old: &Value, propagation: Propagation) -> Vec<Value> {
    let mut finalizers = object::items(old, "/metadata/finalizers").to_vec();
    let first = match propagation {
        Propagation::Background => None,
        Propagation::Foreground => Some("foregroundDeletion"),
        Propagation::Orphan => Some("orphan"),
    };
    // What a definition brought goes before it.
    let cleanup =
        (kind.stored_as == definitions::RESOURCE && !object::is_terminating(old)).then_some(definitions::CLEANUP);
    for added in first.into_iter().chain(cleanup).map(|name| json!(name)) {
        if !finalizers.contains(&added) {
            finalizers.push(added);
        }
    }
    finalizers
}

/// The seconds that a pod is given to end; everything else needs none.
fn grace(kind: &Kind, old: &Value, options: &Options) -> i64 {
    let over = ["Succeeded", "Failed"].contains(&object::text(old, "/status/phase"));
    if kind.stored_as != "pods" || over || object::text(old, "/spec/nodeName").is_empty() {
        return 0;
    }
    let own = object::number(old, "/spec/terminationGracePeriodSeconds");
    let wanted = options.grace.unwrap_or(own).max(0);
    if object::is_terminating(old) {
        wanted.min(object::number(old, "/metadata/deletionGracePeriodSeconds"))
    } else {
        wanted
    }
}

fn mark(kind: &Kind, object: &mut Value, grace: i64) {
    let shorter = grace < object::number(object, "/metadata/deletionGracePeriodSeconds");
    if object::is_terminating(object) && !shorter {
        return;
    }
    let end = jm_step::clock::now() + jiff::SignedDuration::from_secs(grace);
    object::set(object, &["metadata", "deletionTimestamp"], json!(object::seconds(end)));
    object::set(object, &["metadata", "deletionGracePeriodSeconds"], json!(grace));
    if kind.counts_generations {
        let generation = object::number(object, "/metadata/generation") + 1;
        object::set(object, &["metadata", "generation"], json!(generation));
    }
}

fn delete_namespace(
    transaction: &mut Transaction<'_>,
    kind: &'static Kind,
    key: &Key,
    old: &Arc<Value>,
) -> Result<Outcome, ApiError> {
    if ["default", "kube-system", "kube-public"].contains(&key.name.as_str()) {
        return Err(ApiError::forbidden(
            kind,
            &key.name,
            "this namespace may not be deleted",
        ));
    }
    if object::is_terminating(old) {
        return Ok(Outcome::Going(Arc::clone(old)));
    }
    let mut marked = (**old).clone();
    object::set(&mut marked, &["metadata", "deletionTimestamp"], json!(object::now()));
    object::set(&mut marked, &["status", "phase"], json!("Terminating"));
    Ok(Outcome::Going(transaction.put(key, marked)))
}
