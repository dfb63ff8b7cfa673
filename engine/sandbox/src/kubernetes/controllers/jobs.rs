//! Jobs: pods until enough of them succeeded, or too many failed.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::object::{self, number, text};
use super::workload::{self, set_count};
use super::{Cluster, MANAGER, Options, events};

pub(super) fn pass(cluster: &Cluster) {
    for job in cluster.store.all("jobs") {
        if !object::is_terminating(&job) && !is_done(&job) {
            work(cluster, &job);
        }
    }
}

pub(super) fn is_done(job: &Value) -> bool {
    let holds = |kind: &str| workload::condition(job, kind).is_some_and(|one| one["status"] == "True");
    holds("Complete") || holds("Failed")
}

/// How the pods of a job fared.
struct Tally {
    active: Vec<Arc<Value>>,
    succeeded: i64,
    failed: i64,
}

impl Tally {
    fn of(cluster: &Cluster, job: &Value) -> Self {
        let pods = cluster.controlled("pods", job);
        let count = |phase: &str| {
            i64::try_from(pods.iter().filter(|pod| text(pod, "/status/phase") == phase).count()).unwrap_or(0)
        };
        let (succeeded, failed) = (count("Succeeded"), count("Failed"));
        Self {
            active: pods.into_iter().filter(|pod| workload::is_active(pod)).collect(),
            succeeded,
            failed,
        }
    }

    fn under_way(&self) -> i64 {
        i64::try_from(self.active.len()).unwrap_or(i64::MAX)
    }
}

fn work(cluster: &Cluster, job: &Value) {
    let mut tally = Tally::of(cluster, job);
    let completions = job.pointer("/spec/completions").and_then(Value::as_i64);
    let enough = match completions {
        Some(wanted) => tally.succeeded >= wanted,
        None => tally.succeeded > 0 && tally.active.is_empty(),
    };
    let too_many = tally.failed > number(job, "/spec/backoffLimit");
    let suspended = job["spec"]["suspend"] == json!(true);
    if enough || too_many || suspended {
        for pod in &tally.active {
            cluster.delete("pods", pod, &Options::quietly());
        }
    } else {
        let missing = completions.map_or(i64::from(tally.succeeded == 0), |wanted| wanted - tally.succeeded);
        for _ in tally.under_way()..number(job, "/spec/parallelism").min(missing) {
            make(cluster, job);
        }
        tally = Tally::of(cluster, job);
    }
    report(cluster, job, &tally, enough, too_many, suspended);
}

fn make(cluster: &Cluster, job: &Value) {
    if let Some(pod) = cluster.make("pods", workload::unnamed_pod(job)) {
        events::tell(
            cluster,
            job,
            "SuccessfulCreate",
            &format!("Created pod: {}", object::name(&pod)),
        );
    }
}

fn report(cluster: &Cluster, job: &Value, tally: &Tally, enough: bool, too_many: bool, suspended: bool) {
    cluster.report("jobs", job, MANAGER, |job| {
        if !suspended {
            object::set_default(job, &["status", "startTime"], json!(object::now()));
        }
        let status = &mut job["status"];
        let active = if enough || too_many { 0 } else { tally.under_way() };
        let ready = tally.active.iter().filter(|pod| workload::is_ready(pod)).count();
        for (field, count) in [
            ("active", active),
            ("succeeded", tally.succeeded),
            ("failed", tally.failed),
        ] {
            set_count(status, field, count);
        }
        object::set(status, &["ready"], json!(ready));
        if enough {
            object::set(status, &["completionTime"], json!(object::now()));
            workload::set_condition(
                job,
                "Complete",
                true,
                "CompletionsReached",
                "Reached expected number of succeeded pods",
            );
        } else if too_many {
            let message = "Job has reached the specified backoff limit";
            workload::set_condition(job, "Failed", true, "BackoffLimitExceeded", message);
        } else if suspended {
            workload::set_condition(job, "Suspended", true, "JobSuspended", "Job suspended");
        }
    });
}
