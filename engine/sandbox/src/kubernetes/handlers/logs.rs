//! `pods/log`: what a container that only pretends to run would say.

use super::super::object;
use super::super::reply::Reply;
use super::super::request::{Call, Target};
use super::super::server::Api;
use super::super::status::ApiError;

pub(super) fn get(api: &Api, call: &Call, target: &Target) -> Result<Reply, ApiError> {
    let name = target.name.as_deref().unwrap_or_default();
    let pod = api
        .store
        .get(&target.key())
        .ok_or_else(|| ApiError::not_found(target.kind, name))?;
    let wanted = call.query.get("container").unwrap_or_default();
    let container = container(&pod, name, wanted)?;
    let started = object::items(&pod, "/status/containerStatuses")
        .iter()
        .find(|status| status["name"].as_str() == Some(container))
        .and_then(|status| {
            status
                .pointer("/state/running/startedAt")
                .or(status.pointer("/state/terminated/startedAt"))
        });
    let Some(started) = started.and_then(serde_json::Value::as_str) else {
        let reason = object::text(&pod, "/status/containerStatuses/0/state/waiting/reason");
        let reason = if reason.is_empty() { "ContainerCreating" } else { reason };
        let message = format!("container \"{container}\" in pod \"{name}\" is waiting to start: {reason}");
        return Err(ApiError::bad_request(message));
    };
    let stamp = if call.query.flag("timestamps") {
        format!("{started} ")
    } else {
        String::new()
    };
    Ok(Reply::text(200, format!("{stamp}{container} started at {started}\n")))
}

fn container<'p>(pod: &'p serde_json::Value, name: &str, wanted: &str) -> Result<&'p str, ApiError> {
    let names: Vec<_> = object::items(pod, "/spec/containers")
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    match (wanted, names.as_slice()) {
        ("", [only]) => Ok(only),
        ("", several) => {
            let listed = several.join(" ");
            let message = format!("a container name must be specified for pod {name}, choose one of: [{listed}]");
            Err(ApiError::bad_request(message))
        }
        (wanted, names) => names
            .iter()
            .find(|known| **known == wanted)
            .copied()
            .ok_or_else(|| ApiError::bad_request(format!("container {wanted} is not valid for pod {name}"))),
    }
}
