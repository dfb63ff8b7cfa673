//! Counts that are not what is written. What an autoscaler has scaled meanwhile is not scaled back, which it would undo at once;
//! and where nothing is written, a workload goes on with as many replicas as it has.

use jm_client_kubernetes::{Reader, ResourceKind, WorkloadRef, has_applied};
use jm_step::{StepError, StepErrorKind};
use serde_json::Value;

use super::object::Object;

/// The object as it is applied to one that is there, where its count is not the one that is written; `None` where it is applied
/// as it is. A workload that is at zero is not autoscaled, so it is brought to the count that is written.
pub(super) async fn as_it_runs(
    reader: &Reader,
    kind: &ResourceKind,
    object: &Object,
    before: &Value,
) -> Result<Option<Value>, StepError> {
    let (Some(live), wanted) = (count(before), count(&object.value)) else {
        return Ok(None);
    };
    let is_ours = has_applied(before, "/spec/replicas");
    if wanted.is_none() {
        // Without the field an apply would take away what jm set, and the workload would fall to one replica. Of what jm has
        // not set there is nothing to take away.
        return Ok((is_ours && is_scaled(kind)).then(|| with_count(object, live)));
    }
    if live == 0 || wanted == Some(live) || !is_autoscaled(reader, kind, object).await? {
        return Ok(None);
    }
    if is_ours {
        return Ok(Some(with_count(object, live)));
    }
    let mut left = object.value.clone();
    if let Some(spec) = left.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("replicas");
    }
    Ok(Some(left))
}

/// The object as it is made anew in the place of another one: with the count of this one, where an autoscaler keeps it or none
/// is written.
pub(super) async fn as_it_ran(
    reader: &Reader,
    kind: &ResourceKind,
    object: &Object,
    before: &Value,
) -> Result<Option<Value>, StepError> {
    let Some(live) = count(before).filter(|_| is_scaled(kind)) else {
        return Ok(None);
    };
    if count(&object.value).is_none() || live > 0 && is_autoscaled(reader, kind, object).await? {
        return Ok(Some(with_count(object, live)));
    }
    Ok(None)
}

/// The count that a workload keeps since none is written, where it is not the one that it would have by default.
pub(super) fn kept(object: &Value, as_it_runs: &Value) -> Option<u64> {
    let none_is_written = count(object).is_none();
    count(as_it_runs).filter(|live| none_is_written && *live != 1)
}

pub(super) fn count(object: &Value) -> Option<u64> {
    object.pointer("/spec/replicas").and_then(Value::as_u64)
}

/// The object with this count.
pub(super) fn with_count(object: &Object, count: u64) -> Value {
    let mut counted = object.value.clone();
    counted["spec"]["replicas"] = count.into();
    counted
}

fn is_scaled(kind: &ResourceKind) -> bool {
    kind.group == "apps" && ["Deployment", "StatefulSet"].contains(&kind.kind.as_str())
}

async fn is_autoscaled(reader: &Reader, kind: &ResourceKind, object: &Object) -> Result<bool, StepError> {
    let name = format!("{}/{}", kind.kind, object.key.name);
    let (true, Some(namespace), Ok(workload)) = (is_scaled(kind), &object.key.namespace, name.parse::<WorkloadRef>())
    else {
        return Ok(false);
    };
    match reader.in_namespace(namespace).autoscaler(&workload).await {
        Ok(found) => Ok(found.is_some()),
        // Who may not see autoscalers applies what is written.
        Err(error) if error.kind() == StepErrorKind::Denied => Ok(false),
        Err(error) => Err(error),
    }
}
