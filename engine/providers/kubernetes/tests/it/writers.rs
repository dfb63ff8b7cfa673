//! Writers that are not Deployments, and autoscalers: what stops, what comes back, what is refused.

use std::time::Duration;

use jm_client_kubernetes::SUSPEND_MARK;
use jm_provider_kubernetes::{Quiesce, Resume, Scale, Stopped};
use jm_step::{Grade, StepErrorKind};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::place::{Place, create};
use crate::server::Server;

const NIGHTLY: &str = "cronjob/nightly";

/// A CronJob that starts nothing by itself while a test runs, and a Job of its own with an image.
async fn nightly(place: &Place<'_>, job: Option<&str>) {
    let template = |image: &str| json!({ "spec": { "restartPolicy": "Never", "containers": [{ "name": "main", "image": image }] } });
    let spec = json!({ "schedule": "0 3 1 1 *", "jobTemplate": { "spec": { "template": template("registry.example/job:1") } } });
    create(
        &place.api::<CronJob>(),
        json!({ "metadata": { "name": "nightly" }, "spec": spec }),
    )
    .await;
    let Some(image) = job else { return };
    let uid = place.api::<CronJob>().get("nightly").await.expect("there").metadata.uid;
    let owners =
        json!([{ "apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": uid, "controller": true }]);
    let spec = json!({ "backoffLimit": 0, "template": template(image) });
    let job = json!({ "metadata": { "name": "nightly-1", "ownerReferences": owners }, "spec": spec });
    create(&place.api::<Job>(), job).await;
}

/// Whether it is suspended, and its mark.
async fn suspended(place: &Place<'_>) -> (bool, Option<String>) {
    let found = place.api::<CronJob>().get("nightly").await.expect("there");
    let marks = found.metadata.annotations;
    let mark = marks.and_then(|marks| marks.get(SUSPEND_MARK).cloned());
    (found.spec.suspend.unwrap_or(false), mark)
}

async fn suspend(place: &Place<'_>) {
    let patch = json!({ "spec": { "suspend": true } });
    let api = place.api::<CronJob>();
    let patched = api
        .patch("nightly", &PatchParams::default(), &Patch::Merge(patch))
        .await;
    patched.expect("patched");
}

pub(crate) async fn a_cron_job_is_suspended_and_comes_back(server: &Server) {
    let place = Place::with_web(server, 1).await;
    nightly(&place, None).await;
    let input = json!({ "workloads": ["deployment/web", NIGHTLY] });
    let announced = place
        .bench()
        .await
        .preview(&Quiesce, input.clone())
        .await
        .expect("a preview");
    let ran = place.bench().await.run(&Quiesce, input.clone()).await;
    assert_eq!((ran.changes.clone(), ran.changes.len()), (announced.changes, 2));
    let quiesced = ran.output();
    assert_eq!(
        quiesced["workloads"][1],
        json!({ "workload": NIGHTLY, "suspended": false })
    );
    assert_eq!(suspended(&place).await, (true, Some("false".to_owned())));

    // Another run, which has no memory of the first: the marks tell.
    let again = place.bench().await.run(&Quiesce, input).await;
    assert!(again.changes.is_empty());
    assert_eq!(again.output(), quiesced);

    let input = json!({ "quiesced": quiesced });
    let announced = place
        .bench()
        .await
        .preview(&Resume, input.clone())
        .await
        .expect("a preview");
    let ran = place.bench().await.run(&Resume, input.clone()).await;
    assert_eq!(ran.changes, announced.changes);
    let output = ran.output();
    assert_eq!(
        output["workloads"][1],
        json!({ "workload": NIGHTLY, "suspended": false })
    );
    assert_eq!(announced.predicted, Some(output));
    assert_eq!(suspended(&place).await, (false, None));
    let twice = place.bench().await.run(&Resume, input).await;
    assert!(twice.changes.is_empty(), "it is back");
}

pub(crate) async fn a_cron_job_that_rested_before_stays_so(server: &Server) {
    let place = Place::new(server).await;
    nightly(&place, None).await;
    suspend(&place).await;
    let writes = place.writes();
    let quiesced = place
        .bench()
        .await
        .run(&Quiesce, json!({ "workloads": [NIGHTLY] }))
        .await
        .output();
    assert_eq!(quiesced["workloads"][0]["suspended"], true);
    place
        .bench()
        .await
        .run(&Resume, json!({ "quiesced": quiesced }))
        .await
        .output();
    assert_eq!(suspended(&place).await, (true, None));
    assert_eq!(place.writes(), writes, "nothing was to be changed");
}

pub(crate) async fn its_running_jobs_are_waited_for(server: &Server) {
    let place = Place::new(server).await;
    // With an image that cannot be pulled, its pod neither ends nor fails.
    nightly(&place, Some("registry.example/bad:1")).await;
    let input = json!({ "workloads": [NIGHTLY] });
    let bench = place.bench().await;
    let cancel = bench.cancellation();
    let stop = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        cancel.cancel();
    };
    let (ran, ()) = tokio::join!(bench.run(&Quiesce, input.clone()), stop);
    assert!(ran.log.iter().any(|line| line.contains("nightly-1")), "{:?}", ran.log);
    let saved = ran.outputs[0].clone();
    assert_eq!(ran.error().kind(), StepErrorKind::Cancelled, "it goes on waiting");
    let resumed = || async { place.bench().await.saved_output(saved.clone()) };
    let verdict = resumed().await.probe(&Quiesce, input.clone()).await.expect("an answer");
    assert!(matches!(verdict, jm_step::Probe::Partial { .. }), "{verdict:?}");

    let background = kube::api::DeleteParams::background();
    place
        .api::<Job>()
        .delete("nightly-1", &background)
        .await
        .expect("deleted");
    let output = resumed().await.run(&Quiesce, input).await.output();
    assert_eq!(output, saved);
    assert_eq!(suspended(&place).await, (true, Some("false".to_owned())));
}

pub(crate) async fn a_resume_by_itself_announces_what_it_does(server: &Server) {
    let place = Place::with_web(server, 2).await;
    let known = json!({ "workloads": [{ "workload": "deployment/web", "replicas": 5 }] });
    let input = json!({ "quiesced": known });
    // Nobody quiesced it, so a run leaves it alone, and the dry run says so.
    let announced = place
        .bench()
        .await
        .preview(&Resume, input.clone())
        .await
        .expect("a preview");
    assert_eq!((announced.grade, announced.changes.len()), (Grade::Verified, 0));
    let ran = place.bench().await.run(&Resume, input.clone()).await;
    assert!(ran.changes.is_empty());
    assert_eq!(announced.predicted, Some(ran.output()));

    // In the dry run of a plan that quiesces first, it tells what happens after that.
    let quiesce = json!({ "workloads": ["deployment/web"] });
    let before = place.bench().await.preview(&Quiesce, quiesce).await.expect("a preview");
    let bench = place.bench().await.announced(&before.changes);
    let input = json!({ "quiesced": before.predicted });
    let announced = bench.preview(&Resume, input).await.expect("a preview");
    assert_eq!(announced.grade, Grade::Computed);
    assert_eq!(announced.changes[0].before, Some(json!({ "replicas": 0 })));
    assert_eq!(announced.changes[0].after, Some(json!({ "replicas": 2 })));
}

pub(crate) async fn what_an_autoscaler_had_come_to_comes_back(server: &Server) {
    let place = Place::with_web(server, 17).await;
    place.autoscale("web", 4, 30).await;
    let quiesced = place.quiesce("web").await;
    assert_eq!(
        quiesced["workloads"][0]["autoscaler"],
        json!({ "name": "web", "min": 4, "max": 30 })
    );
    assert_eq!(
        place.bounds("web").await,
        Some(json!({ "name": "web", "min": 4, "max": 30 }))
    );
    let output = place
        .bench()
        .await
        .run(&Resume, json!({ "quiesced": quiesced, "fallback_replicas": 10 }))
        .await
        .output();
    assert_eq!(output["workloads"][0]["replicas"], 17);
    assert_eq!(place.count("web").await, (17, None));
    assert_eq!(place.bounds("web").await, None, "the mark is off");
    let hpa = place.api::<HorizontalPodAutoscaler>().get("web").await.expect("there");
    assert_eq!((hpa.spec.min_replicas, hpa.spec.max_replicas), (Some(4), 30));
}

/// The autoscaler is gone, and so is the journal: what is marked on the workload still tells.
pub(crate) async fn bounds_are_marked_for_who_has_no_journal(server: &Server) {
    let place = Place::with_web(server, 2).await;
    place.autoscale("web", 3, 9).await;
    place.quiesce("web").await;
    let api = place.api::<HorizontalPodAutoscaler>();
    api.delete("web", &kube::api::DeleteParams::default())
        .await
        .expect("deleted");
    let again = place.quiesce("web").await;
    let bounds = json!({ "name": "web", "min": 3, "max": 9 });
    assert_eq!(again["workloads"][0]["autoscaler"], bounds);
    let nobody_knows = json!({ "workloads": [{ "workload": "deployment/web" }] });
    let output = place
        .bench()
        .await
        .run(&Resume, json!({ "quiesced": nobody_knows }))
        .await
        .output();
    assert_eq!(
        output["workloads"][0]["replicas"], 3,
        "not below what the autoscaler kept"
    );
    assert_eq!(place.bounds("web").await, None);
}

pub(crate) async fn bounds_that_were_raised_meanwhile_count(server: &Server) {
    let place = Place::with_web(server, 2).await;
    place.autoscale("web", 1, 9).await;
    let quiesced = place.quiesce("web").await;
    let patch = json!({ "spec": { "minReplicas": 3 } });
    let api = place.api::<HorizontalPodAutoscaler>();
    api.patch("web", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .expect("patched");
    let output = place
        .bench()
        .await
        .run(&Resume, json!({ "quiesced": quiesced }))
        .await
        .output();
    assert_eq!(output["workloads"][0]["replicas"], 3);
}

/// On a control plane alone, where the real controller of autoscalers says whether it is at work.
pub(crate) async fn its_autoscaler_is_active_again(server: &Server) {
    let place = Place::with_web(server, 2).await;
    place.autoscale("web", 1, 9).await;
    let quiesced = place.quiesce("web").await;
    until(&place, "it rests at zero", |reason| reason == "ScalingDisabled").await;
    place
        .bench()
        .await
        .run(&Resume, json!({ "quiesced": quiesced }))
        .await
        .output();
    until(&place, "it is at work again", |reason| {
        !reason.is_empty() && reason != "ScalingDisabled"
    })
    .await;
}

/// Waits for what the autoscaler says of itself. Its controller looks every 15 s.
async fn until(place: &Place<'_>, what: &str, is_so: impl Fn(&str) -> bool) {
    let mut last = String::new();
    for _ in 0..120 {
        let found = place.api::<HorizontalPodAutoscaler>().get("web").await.expect("there");
        let value: Value = serde_json::to_value(found.status).expect("a status");
        let conditions = value["conditions"].as_array().cloned().unwrap_or_default();
        let active = conditions.iter().find(|one| one["type"] == "ScalingActive");
        last = active
            .and_then(|one| one["reason"].as_str())
            .unwrap_or_default()
            .to_owned();
        if is_so(&last) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("{what}: its reason is still `{last}`");
}

/// Whoever looks from another machine has no journal: the marks alone tell.
pub(crate) async fn what_stays_stopped_is_told(server: &Server) {
    let place = Place::with_web(server, 2).await;
    nightly(&place, None).await;
    place.deploy("resting", "registry.example/resting:1", 1).await;
    let look = |input: Value| {
        let place = &place;
        async move { place.bench().await.run(&Stopped, input).await }
    };
    let nothing = json!({ "looked_at": 3, "stopped": [] });
    assert_eq!(look(json!({ "for_seconds": 0 })).await.output(), nothing);

    let workloads = json!({ "workloads": ["deployment/web", NIGHTLY] });
    let quiesced = place.bench().await.run(&Quiesce, workloads).await.output();
    let to_rest = json!({ "workload": "deployment/resting", "replicas": 0 });
    place.bench().await.run(&Scale, to_rest).await.output();
    let writes = place.writes();
    let found = look(json!({ "except": ["deployment/resting"] })).await.output();
    let stopped = found["stopped"].as_array().expect("a list");
    let named: Vec<_> = stopped.iter().map(|one| (&one["workload"], &one["replicas"])).collect();
    assert_eq!(
        named,
        [(&json!(NIGHTLY), &Value::Null), (&json!("deployment/web"), &json!(2))]
    );
    assert!(stopped.iter().all(|one| one["since"].is_string()), "{found}");

    // The API server's clock has whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let overdue = json!({ "for_seconds": 0 });
    let announced = place.bench().await.preview(&Stopped, overdue.clone()).await;
    let announced = announced.expect_err("the dry run finds out");
    let error = look(overdue.clone()).await.error();
    for error in [announced, error] {
        let message = error.message();
        for part in [
            NIGHTLY,
            "deployment/web, which had 2 replicas, since ",
            "deployment/resting",
        ] {
            assert!(message.contains(part), "no `{part}` in {message}");
        }
    }
    assert_eq!(place.writes(), writes, "it only looks");

    let input = json!({ "quiesced": quiesced });
    place.bench().await.run(&Resume, input).await.output();
    let error = look(overdue).await.error();
    assert!(
        error.message().contains("deployment/resting") && !error.message().contains("deployment/web"),
        "{error}"
    );

    let empty = Place::new(server).await;
    let error = empty.bench().await.run(&Stopped, json!({})).await.error();
    assert_eq!(error.kind(), StepErrorKind::NotFound, "{error}");
}
