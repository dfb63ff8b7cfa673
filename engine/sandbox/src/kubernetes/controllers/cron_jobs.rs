//! CronJobs: a Job at each time of their schedule, unless they are suspended.

mod schedule;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use self::schedule::Schedule;
use super::super::object::{self, number, text};
use super::{Cluster, MANAGER, Options, events, jobs};

pub(super) fn pass(cluster: &Cluster) {
    for cron in cluster.store.all("cronjobs") {
        if !object::is_terminating(&cron) {
            look_after(cluster, &cron);
        }
    }
}

fn look_after(cluster: &Cluster, cron: &Value) {
    let owned = cluster.controlled("jobs", cron);
    let (done, active): (Vec<_>, Vec<_>) = owned.into_iter().partition(|job| jobs::is_done(job));
    forget_old(cluster, cron, done);
    let due = due(cron, jm_step::clock::now());
    let started = due.and_then(|at| start(cluster, cron, at, &active));
    report(cluster, cron, active.iter().chain(&started), due);
}

/// The newest time since the last one that has come, and that is not too long ago to be kept.
fn due(cron: &Value, now: Timestamp) -> Option<Timestamp> {
    if cron["spec"]["suspend"] == json!(true) {
        return None;
    }
    let schedule = Schedule::parse(text(cron, "/spec/schedule"), text(cron, "/spec/timeZone"))?;
    let since = match text(cron, "/status/lastScheduleTime") {
        "" => text(cron, "/metadata/creationTimestamp"),
        last => last,
    };
    let last = schedule.last_between(since.parse().ok()?, now)?;
    let limit = cron.pointer("/spec/startingDeadlineSeconds").and_then(Value::as_i64);
    limit
        .is_none_or(|limit| now.as_second() - last.as_second() <= limit)
        .then_some(last)
}

/// Starts the Job of a time, where those that still run let it.
fn start(cluster: &Cluster, cron: &Value, at: Timestamp, active: &[Arc<Value>]) -> Option<Arc<Value>> {
    match text(cron, "/spec/concurrencyPolicy") {
        "Forbid" if !active.is_empty() => return None,
        "Replace" => {
            for job in active {
                cluster.delete("jobs", job, &Options::quietly());
            }
        }
        _ => {}
    }
    let job = cluster.make("jobs", job(cron, at))?;
    let message = format!("Created job {}", object::name(&job));
    events::tell(cluster, cron, "SuccessfulCreate", &message);
    Some(job)
}

/// The Job of a time; its name is that of the minute, so that a time has one Job alone.
fn job(cron: &Value, at: Timestamp) -> Value {
    let template = &cron["spec"]["jobTemplate"];
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": format!("{}-{}", object::name(cron), at.as_second() / 60), "namespace": object::namespace(cron),
            "ownerReferences": [object::controller_reference(cron)],
        },
        "spec": template["spec"],
    });
    for field in ["labels", "annotations"] {
        if let Some(given) = template["metadata"].get(field) {
            job["metadata"][field] = given.clone();
        }
    }
    let stamp = json!(object::seconds(at));
    object::set(
        &mut job,
        &[
            "metadata",
            "annotations",
            "batch.kubernetes.io/cronjob-scheduled-timestamp",
        ],
        stamp,
    );
    job
}

fn report<'j>(cluster: &Cluster, cron: &Value, active: impl Iterator<Item = &'j Arc<Value>>, due: Option<Timestamp>) {
    let active: Vec<_> = active.map(|job| reference(job)).collect();
    cluster.report("cronjobs", cron, MANAGER, |cron| {
        if active.is_empty() {
            object::remove(cron, &["status", "active"]);
        } else {
            object::set(cron, &["status", "active"], json!(active));
        }
        if let Some(at) = due {
            object::set(cron, &["status", "lastScheduleTime"], json!(object::seconds(at)));
        }
    });
}

fn reference(job: &Value) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "name": object::name(job), "namespace": object::namespace(job),
        "uid": object::uid(job),
    })
}

/// Takes the oldest of what is done away, as far as the limits of the history say.
fn forget_old(cluster: &Cluster, cron: &Value, done: Vec<Arc<Value>>) {
    let (failed, succeeded): (Vec<_>, Vec<_>) = done
        .into_iter()
        .partition(|job| number(job, "/status/succeeded") < number(job, "/spec/completions").max(1));
    for (mut jobs, limit) in [
        (succeeded, "/spec/successfulJobsHistoryLimit"),
        (failed, "/spec/failedJobsHistoryLimit"),
    ] {
        jobs.sort_by_key(|job| text(job, "/metadata/creationTimestamp").to_owned());
        let kept = usize::try_from(number(cron, limit)).unwrap_or_default();
        for job in jobs.iter().rev().skip(kept) {
            cluster.delete("jobs", job, &Options::quietly());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron(suspend: bool, deadline: Option<i64>) -> Value {
        json!({
            "metadata": {"name": "tidy", "namespace": "a", "creationTimestamp": "2026-01-01T00:10:00Z"},
            "spec": {"schedule": "0 * * * *", "suspend": suspend, "startingDeadlineSeconds": deadline, "jobTemplate": {"spec": {}}},
        })
    }

    #[test]
    fn the_newest_missed_time_is_due_unless_it_is_too_late_or_suspended() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-01-01T03:05:00Z");
        assert_eq!(due(&cron(false, None), now), Some(at("2026-01-01T03:00:00Z")));
        assert_eq!(due(&cron(false, Some(60)), now), None);
        assert_eq!(due(&cron(true, None), now), None);
        assert_eq!(due(&cron(false, None), at("2026-01-01T00:59:59Z")), None);
        let mut told = cron(false, None);
        told["status"] = json!({"lastScheduleTime": "2026-01-01T03:00:00Z"});
        assert_eq!(due(&told, now), None);
    }

    #[test]
    fn a_time_has_one_name() {
        let at = "2026-01-01T03:00:00Z".parse().unwrap();
        assert_eq!(job(&cron(false, None), at)["metadata"]["name"], "tidy-29453940");
    }
}
