//! `pods/log`: what a container that only pretends to run would say.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::super::object;
use super::super::reply::Reply;
use super::super::request::{Call, Target};
use super::super::server::Api;
use super::super::status::ApiError;
use super::super::store::{Key, Store};

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
    let stamped = call.query.flag("timestamps");
    if !call.query.flag("follow") {
        let stamp = if stamped { format!("{started} ") } else { String::new() };
        return Ok(Reply::text(200, format!("{stamp}{container} started at {started}\n")));
    }
    let time = |text: &str| -> Result<Timestamp, ApiError> {
        text.parse()
            .map_err(|_| ApiError::bad_request(format!("{text:?} is no time")))
    };
    let started = time(started)?;
    let since = call.query.get("sinceTime").filter(|since| !since.is_empty());
    let since = since.map(time).transpose()?;
    let followed = Followed {
        store: Arc::clone(&api.store),
        stop: api.stop.clone(),
        key: target.key(),
        container: container.to_owned(),
        stamped,
        second: since.map_or(0, |since| seconds_until(started, since)),
        to_present: since.is_none(),
        started,
    };
    Ok(Reply::stream(followed.into_stream()))
}

/// Whole seconds from a time to another one, none of it left out; 0 where that is before.
fn seconds_until(from: Timestamp, to: Timestamp) -> i64 {
    let length = to.duration_since(from) + SignedDuration::from_nanos(999_999_999);
    length.as_secs().max(0)
}

/// The log of a container that is followed: that it started, and then a line for each second that it still runs.
struct Followed {
    store: Arc<Store>,
    stop: CancellationToken,
    key: Key,
    container: String,
    started: Timestamp,
    stamped: bool,
    /// Of which second since it started the next line is.
    second: i64,
    /// Whether what lies between its start and now is left out.
    to_present: bool,
}

impl Followed {
    fn into_stream(self) -> impl Stream<Item = Bytes> + Send {
        futures::stream::unfold(self, |mut followed| async move {
            let line = followed.next().await?;
            Some((line, followed))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        let at = self.started + SignedDuration::from_secs(self.second);
        let wait = Duration::try_from(at.duration_since(jm_step::clock::now())).unwrap_or_default();
        tokio::select! {
            () = self.stop.cancelled() => return None,
            () = tokio::time::sleep(wait) => {}
        }
        if !self.runs() {
            return None;
        }
        let says = match self.second {
            0 => format!("started at {}", self.started),
            second => format!("runs for {second} s"),
        };
        self.second += 1;
        if std::mem::take(&mut self.to_present) {
            self.second = seconds_until(self.started, jm_step::clock::now()).max(1);
        }
        let stamp = if self.stamped { format!("{at} ") } else { String::new() };
        Some(format!("{stamp}{} {says}\n", self.container).into())
    }

    /// Whether it is still the container that started then.
    fn runs(&self) -> bool {
        let Some(pod) = self.store.get(&self.key) else {
            return false;
        };
        let started = |status: &serde_json::Value| -> Option<Timestamp> {
            status.pointer("/state/running/startedAt")?.as_str()?.parse().ok()
        };
        object::items(&pod, "/status/containerStatuses")
            .iter()
            .filter(|status| status["name"].as_str() == Some(&self.container))
            .any(|status| started(status) == Some(self.started))
    }
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
