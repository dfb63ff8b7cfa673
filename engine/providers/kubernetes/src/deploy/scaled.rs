//! Counts that an autoscaler keeps. What it has scaled meanwhile is not scaled back, which it would undo at once.

use jm_client_kubernetes::{Reader, ResourceKind, WorkloadRef, has_applied};
use jm_step::{StepError, StepErrorKind};
use serde_json::Value;

use super::object::Object;

/// The object as it is applied to one that is there, where an autoscaler keeps its count; `None` where it is applied as it
/// is written. A workload that is at zero is not autoscaled, so it is brought to the count that is written.
pub(super) async fn left_to_autoscaler(
    reader: &Reader,
    kind: &ResourceKind,
    object: &Object,
    before: &Value,
) -> Result<Option<Value>, StepError> {
    let count = |of: &Value| of.pointer("/spec/replicas").and_then(Value::as_u64);
    let (Some(live), wanted) = (count(before).filter(|live| *live > 0), count(&object.value)) else {
        return Ok(None);
    };
    let is_ours = has_applied(before, "/spec/replicas");
    // Of what nobody names and jm has not set there is nothing to take away.
    if wanted == Some(live) || (wanted.is_none() && !is_ours) || !is_autoscaled(reader, kind, object).await? {
        return Ok(None);
    }
    let mut left = object.value.clone();
    let Some(spec) = left.get_mut("spec").and_then(Value::as_object_mut) else {
        return Ok(None);
    };
    // Without the field an apply would take away what jm set, and the workload would fall to one replica.
    if is_ours {
        spec.insert("replicas".to_owned(), live.into());
    } else {
        spec.remove("replicas");
    }
    Ok(Some(left))
}

/// The object as it is made anew in the place of one that an autoscaler has scaled, with the count that this one had.
pub(super) async fn as_scaled(
    reader: &Reader,
    kind: &ResourceKind,
    object: &Object,
    before: &Value,
) -> Result<Option<Value>, StepError> {
    let live = before.pointer("/spec/replicas").and_then(Value::as_u64);
    let Some(live) = live.filter(|live| *live > 0) else {
        return Ok(None);
    };
    if !is_autoscaled(reader, kind, object).await? {
        return Ok(None);
    }
    let mut scaled = object.value.clone();
    scaled["spec"]["replicas"] = live.into();
    Ok(Some(scaled))
}

async fn is_autoscaled(reader: &Reader, kind: &ResourceKind, object: &Object) -> Result<bool, StepError> {
    let is_scaled = kind.group == "apps" && ["Deployment", "StatefulSet"].contains(&kind.kind.as_str());
    let name = format!("{}/{}", kind.kind, object.key.name);
    let (true, Some(namespace), Ok(workload)) = (is_scaled, &object.key.namespace, name.parse::<WorkloadRef>()) else {
        return Ok(false);
    };
    match reader.in_namespace(namespace).autoscaler(&workload).await {
        Ok(found) => Ok(found.is_some()),
        // Who may not see autoscalers applies what is written.
        Err(error) if error.kind() == StepErrorKind::Denied => Ok(false),
        Err(error) => Err(error),
    }
}
