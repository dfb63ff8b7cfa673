//! Objects with a list that names a key twice, such as two variables of one name. The server takes them from everybody but
//! server-side apply; they are made as `kubectl create` makes them.

use http::Method;
use jm_step::{StepError, StepErrorKind};
use serde_json::Value;

use super::{Applied, ApplyError, Ask, Unapplied, dry_run, request, send};
use crate::kind::{ObjectKey, ResourceKind};
use crate::reader::Reader;

/// Whether it is for such a list that server-side apply refused an object. The server does not say so by a code.
pub(super) fn is_refused(error: &StepError) -> bool {
    error.message().contains("duplicate entries for key")
}

/// Makes the object. One that is there has to be as it is written already, or is made so where all is taken over: without
/// server-side apply the server does not tell who else keeps a field.
pub(super) async fn write(
    reader: &Reader,
    kind: &ResourceKind,
    key: &ObjectKey,
    body: &[u8],
    ask: Ask,
) -> Result<Applied, Unapplied> {
    let path = kind.path(key.namespace.as_deref());
    let create = request(Method::POST, &path, dry_run(ask.dry_run), "application/json");
    match send(reader, key, create, body).await {
        Err(Unapplied::Refused(ApplyError::Failed(error))) if error.kind() == StepErrorKind::Conflict => {}
        made => return made,
    }
    let query = dry_run(ask.dry_run || !ask.force);
    let merge = request(Method::PATCH, &kind.path_of(key), query, "application/merge-patch+json");
    let merged = send(reader, key, merge, body).await?;
    let failed = |error| Unapplied::Refused(ApplyError::Failed(error));
    if ask.force || reader.object(kind, key).await.map_err(failed)?.map(said) == Some(said(merged.object.clone())) {
        return Ok(merged);
    }
    let wrong = StepError::invalid_input(format!(
        "a list of {key} names a key twice, so that it cannot be changed by server-side apply"
    ));
    Err(failed(wrong.hint(
        "leave one of the two out, or take all of the object over with `on_conflict: force`",
    )))
}

/// The object without what the server counts and reports.
fn said(mut object: Value) -> Value {
    for field in ["managedFields", "resourceVersion", "generation"] {
        object["metadata"][field].take();
    }
    object["status"].take();
    object
}
