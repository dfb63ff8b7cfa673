//! The columns of what runs pods.

use serde_json::{Value, json};

use super::super::object::{self, items, number};
use super::super::selectors::Labels;
use super::{Column, age, count, labels_text, name, of_containers, or_none, since, text, wide};

const POD: &str = "/spec/template/spec";

fn containers(object: &Value) -> Value {
    of_containers(object, POD, "name")
}

fn images(object: &Value) -> Value {
    of_containers(object, POD, "image")
}

fn selector(object: &Value) -> Value {
    or_none(&Labels::of_object(&object["spec"]["selector"]).to_text())
}

fn ready_of_wanted(object: &Value) -> Value {
    json!(format!(
        "{}/{}",
        number(object, "/status/readyReplicas"),
        number(object, "/spec/replicas")
    ))
}

pub(super) static DEPLOYMENTS: &[Column] = &[
    text("Name", name),
    text("Ready", ready_of_wanted),
    count("Up-to-date", |object| json!(number(object, "/status/updatedReplicas"))),
    count("Available", |object| json!(number(object, "/status/availableReplicas"))),
    text("Age", age),
    wide("Containers", containers),
    wide("Images", images),
    wide("Selector", selector),
];

pub(super) static REPLICA_SETS: &[Column] = &[
    text("Name", name),
    count("Desired", |object| json!(number(object, "/spec/replicas"))),
    count("Current", |object| json!(number(object, "/status/replicas"))),
    count("Ready", |object| json!(number(object, "/status/readyReplicas"))),
    text("Age", age),
    wide("Containers", containers),
    wide("Images", images),
    wide("Selector", selector),
];

pub(super) static STATEFUL_SETS: &[Column] = &[
    text("Name", name),
    text("Ready", ready_of_wanted),
    text("Age", age),
    wide("Containers", containers),
    wide("Images", images),
];

pub(super) static DAEMON_SETS: &[Column] = &[
    text("Name", name),
    count("Desired", |object| {
        json!(number(object, "/status/desiredNumberScheduled"))
    }),
    count("Current", |object| {
        json!(number(object, "/status/currentNumberScheduled"))
    }),
    count("Ready", |object| json!(number(object, "/status/numberReady"))),
    count("Up-to-date", |object| {
        json!(number(object, "/status/updatedNumberScheduled"))
    }),
    count("Available", |object| json!(number(object, "/status/numberAvailable"))),
    text("Node Selector", |object| {
        labels_text(&object["spec"]["template"]["spec"]["nodeSelector"])
    }),
    text("Age", age),
    wide("Containers", containers),
    wide("Images", images),
    wide("Selector", selector),
];

pub(super) static JOBS: &[Column] = &[
    text("Name", name),
    text("Status", |job| json!(job_status(job))),
    text("Completions", |job| {
        let wanted = job.pointer("/spec/completions").and_then(Value::as_i64).unwrap_or(1);
        json!(format!("{}/{wanted}", number(job, "/status/succeeded")))
    }),
    text("Duration", |job| json!(job_duration(job))),
    text("Age", age),
    wide("Containers", containers),
    wide("Images", images),
    wide("Selector", selector),
];

fn job_status(job: &Value) -> &'static str {
    let has = |wanted: &str| {
        items(job, "/status/conditions")
            .iter()
            .any(|one| one["type"] == wanted && one["status"] == "True")
    };
    match () {
        () if has("Complete") => "Complete",
        () if has("Failed") => "Failed",
        () if object::is_terminating(job) => "Terminating",
        () if has("Suspended") => "Suspended",
        () => "Running",
    }
}

fn job_duration(job: &Value) -> String {
    let moment = |pointer: &str| object::text(job, pointer).parse::<jiff::Timestamp>().ok();
    match (moment("/status/startTime"), moment("/status/completionTime")) {
        (None, _) => String::new(),
        (Some(_), None) => since(object::text(job, "/status/startTime")),
        (Some(start), Some(end)) => super::human(end.as_second() - start.as_second()),
    }
}

pub(super) static CRON_JOBS: &[Column] = &[
    text("Name", name),
    text("Schedule", |object| json!(object::text(object, "/spec/schedule"))),
    text("Timezone", |object| or_none(object::text(object, "/spec/timeZone"))),
    text("Suspend", |object| {
        json!(if object["spec"]["suspend"] == json!(true) {
            "True"
        } else {
            "False"
        })
    }),
    count("Active", |object| json!(items(object, "/status/active").len())),
    text("Last Schedule", |object| {
        match object::text(object, "/status/lastScheduleTime") {
            "" => json!("<none>"),
            time => json!(since(time)),
        }
    }),
    text("Age", age),
];

pub(super) static REVISIONS: &[Column] = &[
    text("Name", name),
    text("Controller", |object| json!(controller(object))),
    count("Revision", |object| json!(number(object, "/revision"))),
    text("Age", age),
];

fn controller(object: &Value) -> String {
    let Some(owner) = object::controller(object) else {
        return "<none>".to_owned();
    };
    let group = object::text(owner, "/apiVersion")
        .split_once('/')
        .map_or("", |(group, _)| group);
    format!(
        "{}.{group}/{}",
        object::text(owner, "/kind").to_lowercase(),
        object::text(owner, "/name")
    )
}

pub(super) static AUTOSCALERS: &[Column] = &[
    text("Name", name),
    text("Reference", |object| {
        let target = &object["spec"]["scaleTargetRef"];
        json!(format!(
            "{}/{}",
            object::text(target, "/kind"),
            object::text(target, "/name")
        ))
    }),
    text("Targets", |object| json!(autoscaler_targets(object))),
    text("MinPods", |object| {
        json!(number(object, "/spec/minReplicas").to_string())
    }),
    count("MaxPods", |object| json!(number(object, "/spec/maxReplicas"))),
    count("Replicas", |object| json!(number(object, "/status/currentReplicas"))),
    text("Age", age),
];

fn autoscaler_targets(object: &Value) -> String {
    let version_1 = object
        .pointer("/spec/targetCPUUtilizationPercentage")
        .map(|share| format!("cpu: <unknown>/{share}%"));
    let metrics = items(object, "/spec/metrics").iter().filter_map(|metric| {
        let share = metric.pointer("/resource/target/averageUtilization")?;
        Some(format!(
            "{}: <unknown>/{share}%",
            object::text(metric, "/resource/name")
        ))
    });
    let all: Vec<_> = version_1.into_iter().chain(metrics).collect();
    if all.is_empty() {
        "<none>".to_owned()
    } else {
        all.join(", ")
    }
}

pub(super) static DISRUPTION_BUDGETS: &[Column] = &[
    text("Name", name),
    text("Min Available", |object| bound(object, "/spec/minAvailable")),
    text("Max Unavailable", |object| bound(object, "/spec/maxUnavailable")),
    count("Allowed Disruptions", |object| {
        json!(number(object, "/status/disruptionsAllowed"))
    }),
    text("Age", age),
];

fn bound(object: &Value, pointer: &str) -> Value {
    match object.pointer(pointer) {
        Some(Value::String(text)) => json!(text),
        Some(Value::Number(number)) => json!(number.to_string()),
        _ => json!("N/A"),
    }
}
