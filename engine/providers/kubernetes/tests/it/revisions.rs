//! `kubernetes.set_image`, `.rollout_history`, `.rollout_undo` and `.restart`, of all three kinds that have rollouts.

use jm_provider_kubernetes::{Restart, RolloutHistory, RolloutStatus, RolloutUndo, SetImage};
use jm_step::{AnyStepType, Grade, StepError, StepErrorKind};
use jm_testkit::Ran;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::place::{Place, create};
use crate::server::Server;

const ONE: &str = "registry.example/app@sha256:1111111111111111111111111111111111111111111111111111111111111111";
const TWO: &str = "registry.example/app@sha256:2222222222222222222222222222222222222222222222222222222222222222";

/// Runs a step; where a preview computes changes, they are those that the run makes.
async fn run(place: &Place<'_>, step: &dyn AnyStepType, input: Value) -> Ran {
    let announced = place.bench().await.preview(step, input.clone()).await;
    let ran = place.bench().await.run(step, input).await;
    if let (Ok(announced), Some(Ok(output))) = (announced, &ran.result) {
        assert_eq!(announced.changes, ran.changes);
        if let Some(predicted) = announced.predicted {
            assert_eq!(predicted, *output);
        }
    }
    ran
}

async fn fails(place: &Place<'_>, step: &dyn AnyStepType, input: Value) -> StepError {
    let announced = place
        .bench()
        .await
        .preview(step, input.clone())
        .await
        .expect_err("the dry run finds out");
    let error = run(place, step, input).await.error();
    assert_eq!((announced.kind(), announced.message()), (error.kind(), error.message()));
    error
}

async fn set_image(place: &Place<'_>, workload: &str, image: &str) -> Ran {
    run(
        place,
        &SetImage,
        json!({ "workload": workload, "container": "main", "image": image, "allow_tag": true }),
    )
    .await
}

async fn history(place: &Place<'_>, workload: &str) -> Value {
    run(place, &RolloutHistory, json!({ "workload": workload }))
        .await
        .output()
}

/// The images of the revisions, oldest first, and which is the current one.
fn images(history: &Value) -> (Vec<&str>, Option<usize>) {
    let all = history["revisions"].as_array().expect("revisions");
    let images = all
        .iter()
        .map(|one| one["images"][0].as_str().expect("an image"))
        .collect();
    (images, all.iter().position(|one| one["current"] == true))
}

async fn make(place: &Place<'_>, kind: &str) -> String {
    let labels = json!({ "app": "app" });
    let template =
        json!({ "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "main", "image": ONE }] } });
    let spec = json!({ "selector": { "matchLabels": labels }, "template": template });
    let metadata = json!({ "name": "app", "annotations": { "kubernetes.io/change-cause": "the first" } });
    let mut object = json!({ "metadata": metadata, "spec": spec });
    match kind {
        "deployment" => {
            object["spec"]["replicas"] = json!(2);
            create(&place.api::<Deployment>(), object).await;
        }
        "statefulset" => {
            object["spec"]["replicas"] = json!(2);
            object["spec"]["serviceName"] = json!("app");
            create(&place.api::<StatefulSet>(), object).await;
        }
        _ => create(&place.api::<DaemonSet>(), object).await,
    }
    let workload = format!("{kind}/app");
    run(place, &RolloutStatus, json!({ "workload": workload }))
        .await
        .output();
    workload
}

async fn there_and_back(server: &Server, kind: &str) {
    let place = Place::new(server).await;
    let workload = make(&place, kind).await;
    let only = history(&place, &workload).await;
    assert_eq!(images(&only), (vec![ONE], Some(0)));
    let digest = ONE.split_once('@').expect("a digest").1;
    assert_eq!(only["revisions"][0]["digests"], json!({ (ONE): digest }));
    assert_eq!(only["revisions"][0]["change_cause"], "the first");
    let error = fails(&place, &RolloutUndo, json!({ "workload": workload })).await;
    assert_eq!(error.kind(), StepErrorKind::Conflict);
    assert!(error.message().contains("one revision only"), "{error}");

    let set = set_image(&place, &workload, TWO).await.output();
    assert_eq!((&set["previous"], &set["image"]), (&json!(ONE), &json!(TWO)));
    assert_eq!(set["digest"], json!(TWO.split_once('@').expect("a digest").1));
    assert!(
        set_image(&place, &workload, TWO).await.changes.is_empty(),
        "it runs that already"
    );
    assert_eq!(images(&history(&place, &workload).await), (vec![ONE, TWO], Some(1)));

    let undone = run(&place, &RolloutUndo, json!({ "workload": workload })).await;
    let saved = undone.outputs[0].clone();
    let output = undone.output();
    assert_eq!(
        (&output["from_revision"], &output["to_revision"]),
        (&json!(2), &json!(1))
    );
    assert_eq!((&output["images"], &output["changed"]), (&json!([ONE]), &json!(true)));
    let now = history(&place, &workload).await;
    assert_eq!(images(&now), (vec![TWO, ONE], Some(1)), "it got a new number");
    assert_eq!(now["current"], 3);

    // Taken up again by a resume it does not go back and forth, and a probe knows it.
    let resumed = || async { place.bench().await.saved_output(saved.clone()) };
    let input = json!({ "workload": workload });
    let verdict = resumed()
        .await
        .probe(&RolloutUndo, input.clone())
        .await
        .expect("an answer");
    assert_eq!(verdict, jm_step::Probe::Succeeded(saved.clone()));
    let again = resumed().await.run(&RolloutUndo, input).await;
    assert!(again.changes.is_empty());
    assert_eq!(images(&history(&place, &workload).await), (vec![TWO, ONE], Some(1)));

    let error = fails(&place, &RolloutUndo, json!({ "workload": workload, "to_revision": 9 })).await;
    assert_eq!(error.kind(), StepErrorKind::NotFound);
    assert!(error.summary().hint.is_some_and(|hint| hint.contains("it has: 2, 3")));
    let same = run(&place, &RolloutUndo, json!({ "workload": workload, "to_revision": 3 })).await;
    assert!(same.changes.is_empty());
    assert_eq!(same.output()["changed"], false);
    run(&place, &RolloutUndo, json!({ "workload": workload, "to_revision": 2 }))
        .await
        .output();
    assert_eq!(images(&history(&place, &workload).await), (vec![ONE, TWO], Some(1)));
}

pub(crate) async fn a_deployment_goes_there_and_back(server: &Server) {
    there_and_back(server, "deployment").await;
}

pub(crate) async fn a_stateful_set_goes_there_and_back(server: &Server) {
    there_and_back(server, "statefulset").await;
}

pub(crate) async fn a_daemon_set_goes_there_and_back(server: &Server) {
    there_and_back(server, "daemonset").await;
}

pub(crate) async fn a_paused_rollout_is_not_undone(server: &Server) {
    let place = Place::new(server).await;
    let workload = make(&place, "deployment").await;
    set_image(&place, &workload, TWO).await.output();
    place.patch("app", json!({ "spec": { "paused": true } })).await;
    let error = fails(&place, &RolloutUndo, json!({ "workload": workload })).await;
    assert_eq!(error.kind(), StepErrorKind::Conflict);
    assert!(error.message().contains("paused"), "{error}");
    let error = fails(&place, &Restart, json!({ "workload": workload })).await;
    assert!(error.message().contains("paused"), "{error}");
}

pub(crate) async fn a_container_that_is_not_there_is_not_made(server: &Server) {
    let place = Place::new(server).await;
    let workload = make(&place, "deployment").await;
    let error = fails(
        &place,
        &SetImage,
        json!({ "workload": workload, "container": "other", "image": TWO }),
    )
    .await;
    assert_eq!(error.kind(), StepErrorKind::NotFound);
    assert!(error.summary().hint.is_some_and(|hint| hint.contains("it has: main")));
}

pub(crate) async fn a_bad_image_fails_fast_and_what_was_saved_leads_back(server: &Server) {
    let place = Place::new(server).await;
    let workload = make(&place, "deployment").await;
    let ran = set_image(&place, &workload, "registry.example/bad:2").await;
    let saved = ran.outputs[0].clone();
    let error = ran.error();
    assert!(error.message().contains("ImagePull"), "{error}");
    let seen = error.summary().evidence.expect("evidence");
    assert_eq!(seen["workload"], "deployment/app");
    let ill = seen["pods"].as_array().expect("pods").iter().any(|pod| {
        pod["status"]
            .as_str()
            .is_some_and(|status| status.contains("ImagePull"))
    });
    assert!(ill, "{seen}");
    assert_eq!(saved["previous"], ONE);
    run(&place, &RolloutUndo, json!({ "workload": workload }))
        .await
        .output();
    assert_eq!(
        history(&place, &workload).await["revisions"].as_array().map(Vec::len),
        Some(2)
    );
}

pub(crate) async fn a_restart_renews_every_pod_once(server: &Server) {
    let place = Place::new(server).await;
    let workload = make(&place, "deployment").await;
    let before = place.pods("app").await;
    let bench = place.bench().await;
    let input = json!({ "workload": workload });
    let announced = bench.preview(&Restart, input.clone()).await.expect("a preview");
    assert_eq!(announced.grade, Grade::Computed);
    let ran = bench.run(&Restart, input.clone()).await;
    assert_eq!(ran.changes, announced.changes);
    assert_eq!(announced.predicted, Some(ran.output()));
    // As kubectl has it, a rollout is done while the last old pod is still on its way out.
    let after = place.staying_pods("app").await;
    assert!(before.iter().all(|pod| !after.contains(pod)), "{before:?} {after:?}");
    // The same deed again, as a resume would do it.
    let again = bench.run(&Restart, input).await;
    assert!(again.changes.is_empty());
    assert_eq!(place.staying_pods("app").await, after);
}

/// A StatefulSet replaces no pod before all of them are ready, which one whose image cannot be pulled never is.
pub(crate) async fn a_stateful_set_comes_back_from_an_image_that_cannot_be_pulled(server: &Server) {
    let place = Place::new(server).await;
    let workload = make(&place, "statefulset").await;
    let set = |image: &str| json!({ "workload": workload, "container": "main", "image": image, "allow_tag": true });
    let fails = async |image: &str| {
        let error = place.bench().await.run(&SetImage, set(image)).await.error();
        assert_eq!(error.kind(), StepErrorKind::Failed, "{error}");
        assert!(error.message().contains("pod `app-1`: "), "{error}");
        error.hint_text().expect("a hint").to_owned()
    };
    assert!(fails("registry.example/bad:2").await.contains("check the image's name"));
    // Going on with a better image does not help, and is told so.
    assert!(
        fails("registry.example/good:3")
            .await
            .contains("kubectl delete pod app-1")
    );

    let input = json!({ "workload": workload, "to_revision": 1 });
    let ran = run(&place, &RolloutUndo, input).await;
    let changed: Vec<&str> = ran.changes.iter().map(|change| change.object.as_str()).collect();
    assert_eq!(changed, [workload.as_str(), "pod/app-1"]);
    ran.output();
    let now = history(&place, &workload).await;
    let bad_and_good = ["registry.example/bad:2", "registry.example/good:3"];
    assert_eq!(images(&now), ([&bad_and_good[..], &[ONE]].concat(), Some(2)));
    let again = run(&place, &RolloutUndo, json!({ "workload": workload, "to_revision": 4 })).await;
    assert!(again.changes.is_empty(), "nothing is in the way");
}

/// A restart makes a revision, too, which runs what has failed already.
pub(crate) async fn a_restart_is_no_revision_to_go_back_to(server: &Server) {
    let place = Place::new(server).await;
    let workload = make(&place, "deployment").await;
    let restart = || async {
        let restarted = run(&place, &Restart, json!({ "workload": workload })).await;
        restarted.output();
    };
    restart().await;
    let found = history(&place, &workload).await;
    assert_eq!(images(&found), (vec![ONE, ONE], Some(1)));
    assert_eq!(found.get("previous"), None);
    let error = fails(&place, &RolloutUndo, json!({ "workload": workload })).await;
    assert_eq!(error.kind(), StepErrorKind::Conflict);
    assert!(error.message().contains("restarts"), "{error}");

    set_image(&place, &workload, TWO).await.output();
    restart().await;
    let found = history(&place, &workload).await;
    assert_eq!(images(&found), (vec![ONE, ONE, TWO, TWO], Some(3)));
    assert_eq!(found["previous"], 2, "three is what runs now");
    let output = run(&place, &RolloutUndo, json!({ "workload": workload }))
        .await
        .output();
    assert_eq!((&output["to_revision"], &output["images"]), (&json!(2), &json!([ONE])));
}

pub(crate) async fn a_deadline_that_an_older_rollout_missed_is_not_held_against_the_next(server: &Server) {
    let place = Place::new(server).await;
    let workload = make(&place, "deployment").await;
    place
        .patch("app", json!({ "spec": { "progressDeadlineSeconds": 1 } }))
        .await;
    let mut template = json!({ "workload": workload, "container": "main", "image": "registry.example/bad:2", "allow_tag": true, "wait": false });
    run(&place, &SetImage, template.clone()).await.output();
    // Long enough for the controller to give it up.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    template["image"] = json!("registry.example/slow:3");
    run(&place, &SetImage, template).await.output();
    run(&place, &RolloutUndo, json!({ "workload": workload, "to_revision": 1 }))
        .await
        .output();
}

/// What a tag named is written down by what runs: another look at the tag may find another image. Where pods do not say
/// what they run, nothing is written down.
pub(crate) async fn a_tag_is_recorded_by_the_digest_that_its_pods_run(server: &Server) {
    let place = Place::with_web(server, 1).await;
    let image = "registry.example/web:2";
    let set = set_image(&place, "deployment/web", image).await.output();
    let pods = place
        .api::<Pod>()
        .list(&ListParams::default())
        .await
        .expect("pods")
        .items;
    let runs: Vec<String> = pods
        .into_iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .filter_map(|pod| pod.status?.container_statuses)
        .flatten()
        .filter(|container| container.image == image)
        .map(|container| container.image_id)
        .collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    let reported = runs[0]
        .rsplit_once("@sha256:")
        .map(|(_, digits)| format!("sha256:{digits}"));
    assert_eq!(set["digest"].as_str(), reported.as_deref(), "{runs:?}");
    assert_eq!(set["image"], image);
    let revisions = history(&place, "deployment/web").await["revisions"].clone();
    assert_eq!(
        revisions[0]["digests"],
        json!({}),
        "it has no pods any more, and a tag tells nothing"
    );
    // The kubelet of the control plane reports none.
    let Some(reported) = reported else {
        assert_eq!(revisions[1]["digests"], json!({}));
        return;
    };
    assert_eq!(revisions[1]["digests"], json!({ (image): reported }));
    for kind in ["statefulset", "daemonset"] {
        let place = Place::new(server).await;
        let workload = make(&place, kind).await;
        set_image(&place, &workload, image).await.output();
        let revisions = history(&place, &workload).await["revisions"].clone();
        let found = revisions[1]["digests"][image].as_str();
        assert!(
            found.is_some_and(|digest| digest.starts_with("sha256:")),
            "{kind}: {revisions:#}"
        );
    }
}
