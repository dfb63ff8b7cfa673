//! The status of pods in each of their fates.

use serde_json::{Value, json};

use super::super::super::object::{self, items, text};

/// What becomes of a pod's containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// They run and are ready.
    Serve,
    /// They run and are never ready.
    Unready,
    /// Their image cannot be pulled.
    NoImage,
    /// They end again and again.
    Crash,
    Succeed,
    Fail,
}

/// Notes that the pod has a node, or why it has none.
pub(super) fn scheduled(pod: &mut Value, why_not: Option<&str>) {
    let mut condition = json!({
        "type": "PodScheduled", "status": if why_not.is_none() { "True" } else { "False" }, "lastProbeTime": null,
        "lastTransitionTime": object::now(),
    });
    if let Some(why) = why_not {
        condition["reason"] = json!("Unschedulable");
        condition["message"] = json!(why);
    }
    let before = super::super::workload::condition(pod, "PodScheduled");
    if before.is_some_and(|before| before["status"] == condition["status"] && before["message"] == condition["message"])
    {
        return;
    }
    object::set(pod, &["status", "conditions"], json!([condition]));
}

/// The status with which a pod begins, and in which it stays.
pub(super) fn begin(pod: &mut Value, fate: Fate) {
    let statuses: Vec<_> = items(pod, "/spec/containers")
        .iter()
        .map(|one| container(one, fate))
        .collect();
    let phase = match fate {
        Fate::NoImage => "Pending",
        Fate::Serve | Fate::Unready | Fate::Crash => "Running",
        Fate::Succeed => "Succeeded",
        Fate::Fail => "Failed",
    };
    let address = address(pod);
    let conditions = json!(conditions(pod, fate));
    for (field, value) in [
        ("phase", json!(phase)),
        ("conditions", conditions),
        ("hostIP", json!("10.0.0.1")),
        ("hostIPs", json!([{"ip": "10.0.0.1"}])),
        ("podIP", json!(address)),
        ("podIPs", json!([{"ip": address}])),
        ("startTime", json!(object::now())),
        ("containerStatuses", json!(statuses)),
    ] {
        object::set(pod, &["status", field], value);
    }
}

/// An address that stays the same for the same pod.
fn address(pod: &Value) -> String {
    let part = |at: usize| u8::from_str_radix(object::uid(pod).get(at..at + 2).unwrap_or("1"), 16).unwrap_or(1);
    format!("10.244.{}.{}", part(0), part(2).clamp(2, 254))
}

fn conditions(pod: &Value, fate: Fate) -> Vec<Value> {
    let now = object::now();
    let ready = fate == Fate::Serve;
    let over = matches!(fate, Fate::Succeed | Fate::Fail);
    let since = super::super::workload::condition(pod, "PodScheduled")
        .map_or(json!(now), |one| one["lastTransitionTime"].clone());
    let names: Vec<_> = items(pod, "/spec/containers")
        .iter()
        .map(|one| text(one, "/name"))
        .collect();
    [
        ("PodReadyToStartContainers", !over, json!(now)),
        ("Initialized", true, json!(now)),
        ("Ready", ready, json!(now)),
        ("ContainersReady", ready, json!(now)),
        ("PodScheduled", true, since),
    ]
    .into_iter()
    .map(|(kind, holds, since)| {
        let mut condition = json!({
            "type": kind, "status": if holds { "True" } else { "False" }, "lastProbeTime": null, "lastTransitionTime": since,
        });
        if !holds && over {
            condition["reason"] = json!(if fate == Fate::Succeed { "PodCompleted" } else { "PodFailed" });
        } else if !holds {
            condition["reason"] = json!("ContainersNotReady");
            condition["message"] = json!(format!("containers with unready status: [{}]", names.join(" ")));
        }
        condition
    })
    .collect()
}

fn container(container: &Value, fate: Fate) -> Value {
    let now = object::now();
    let image = text(container, "/image");
    let ended =
        |code: i32, reason: &str| json!({"exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now});
    let (state, last) = match fate {
        Fate::Serve | Fate::Unready => (json!({"running": {"startedAt": now}}), json!({})),
        Fate::NoImage => {
            let message = format!("failed to pull image \"{image}\": not found");
            (
                json!({"waiting": {"reason": "ErrImagePull", "message": message}}),
                json!({}),
            )
        }
        Fate::Crash => {
            let waiting = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}});
            (waiting, json!({"terminated": ended(1, "Error")}))
        }
        Fate::Succeed => (json!({"terminated": ended(0, "Completed")}), json!({})),
        Fate::Fail => (json!({"terminated": ended(1, "Error")}), json!({})),
    };
    let image_id = if fate == Fate::NoImage {
        String::new()
    } else {
        pulled(image)
    };
    json!({
        "name": container["name"], "state": state, "lastState": last, "ready": fate == Fate::Serve,
        "restartCount": i32::from(fate == Fate::Crash), "image": image, "imageID": image_id, "started": matches!(fate, Fate::Serve | Fate::Unready),
    })
}

/// What was pulled for an image, by its digest: the one that the image names, or one that stays the same for it.
fn pulled(image: &str) -> String {
    use sha2::{Digest, Sha256};
    if image.contains("@sha256:") {
        return image.to_owned();
    }
    // A colon before the last slash is that of the registry's port.
    let repository = match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => image,
    };
    format!("{repository}@sha256:{}", hex::encode(Sha256::digest(image)))
}

#[cfg(test)]
mod tests {
    use super::pulled;

    #[test]
    fn what_is_pulled_has_a_digest() {
        let named = "host:5000/web@sha256:00";
        assert_eq!(pulled(named), named);
        for (image, repository) in [("web", "web"), ("web:1", "web"), ("host:5000/web", "host:5000/web")] {
            let found = pulled(image);
            assert_eq!(found.split_once("@sha256:").unwrap().0, repository);
            assert_eq!(found, pulled(image));
        }
        assert_ne!(pulled("web:1"), pulled("web:2"));
    }
}
