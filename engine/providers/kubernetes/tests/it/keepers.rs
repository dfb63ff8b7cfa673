//! Workloads that another tool keeps: who will undo what is said by each step that changes one, before and when it does.

use jm_provider_kubernetes::{Quiesce, Restart, Resume, RolloutUndo, Scale, SetImage};
use jm_step::AnyStepType;
use serde_json::{Value, json};

use crate::place::Place;
use crate::server::Server;

const WEB: &str = "deployment/web";
const TWO: &str = "registry.example/web@sha256:2222222222222222222222222222222222222222222222222222222222222222";

/// Whether the step warns, the same in a preview and in a run.
async fn warns(place: &Place<'_>, step: &dyn AnyStepType, input: Value, of: &str) -> bool {
    let bench = place.bench().await;
    let preview = bench.preview(step, input.clone()).await.expect("a preview");
    let ran = bench.run(step, input).await;
    let is_warned = ran.log.iter().any(|line| line.contains(of));
    let log = ran.log.clone();
    ran.output();
    assert_eq!(
        preview.summary.contains(of),
        is_warned,
        "{}: {} {log:?}",
        step.name(),
        preview.summary
    );
    is_warned
}

pub(crate) async fn who_will_undo_a_change_is_told(server: &Server) {
    let place = Place::with_web(server, 1).await;
    let tracking = json!({ "argocd.argoproj.io/tracking-id": format!("shop:apps/Deployment:{}/web", place.namespace) });
    place
        .patch("web", json!({ "metadata": { "annotations": tracking } }))
        .await;
    let image = json!({ "workload": WEB, "container": "main", "image": TWO });
    let quiesced = json!({ "quiesced": { "workloads": [{ "workload": WEB, "replicas": 1 }] } });
    let steps: [(&dyn AnyStepType, Value); 6] = [
        (&SetImage, image),
        (&RolloutUndo, json!({ "workload": WEB })),
        (&Scale, json!({ "workload": WEB, "replicas": 2 })),
        (&Restart, json!({ "workload": WEB })),
        (&Quiesce, json!({ "workloads": [WEB] })),
        (&Resume, quiesced.clone()),
    ];
    for (step, input) in steps {
        let argo_cd = "Argo CD (application `shop`)";
        assert!(warns(&place, step, input, argo_cd).await, "{}", step.name());
    }
    // What nobody keeps is not warned of, nor what is as it was meant to be already.
    assert!(!warns(&place, &Resume, quiesced, "Argo CD").await);
    assert!(!warns(&place, &Scale, json!({ "workload": WEB, "replicas": 1 }), "Argo CD").await);
    place
        .patch(
            "web",
            json!({ "metadata": { "annotations": { "argocd.argoproj.io/tracking-id": null } } }),
        )
        .await;
    assert!(!warns(&place, &Scale, json!({ "workload": WEB, "replicas": 2 }), "managed by").await);
}
