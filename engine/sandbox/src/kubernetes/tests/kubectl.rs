//! The commands that people type.

use serde_json::Value;

use super::*;

const NS: &[&str] = &["-n", "roster-recall"];

fn with<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, NS].concat()
}

async fn deployed() -> Fixture {
    let fixture = Fixture::start().await;
    fixture.kubectl(&["create", "namespace", "roster-recall"], "").await;
    fixture
        .kubectl(
            &with(&["apply", "-f", "-"]),
            &deployment("backend-deployment", "backend:1", 2),
        )
        .await;
    fixture
        .kubectl(
            &with(&["rollout", "status", "deployment/backend-deployment", "--timeout=30s"]),
            "",
        )
        .await;
    fixture
}

async fn json(fixture: &Fixture, arguments: &[&str]) -> Value {
    let text = fixture.kubectl(&with(&[arguments, &["-o", "json"]].concat()), "").await;
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_from_apply_to_nothing() {
    let fixture = deployed().await;
    let wide = fixture
        .kubectl(&with(&["get", "deployments,replicasets,pods", "-o", "wide"]), "")
        .await;
    for word in [
        "UP-TO-DATE",
        "2/2",
        "NOMINATED NODE",
        "Running",
        "backend:1",
        "app=backend-deployment",
    ] {
        assert!(wide.contains(word), "{word} in\n{wide}");
    }
    let described = fixture
        .kubectl(&with(&["describe", "deployment", "backend-deployment"]), "")
        .await;
    for word in [
        "2 desired | 2 updated | 2 total | 2 available",
        "ScalingReplicaSet",
        "MinimumReplicasAvailable",
    ] {
        assert!(described.contains(word), "{word} in\n{described}");
    }
    let pod = fixture
        .kubectl(&with(&["describe", "pods", "--show-events=true"]), "")
        .await;
    assert!(pod.contains("Started container backend"), "{pod}");

    fixture
        .kubectl(&with(&["scale", "deployment/backend-deployment", "--replicas=0"]), "")
        .await;
    fixture
        .kubectl(
            &with(&[
                "wait",
                "--for=delete",
                "pod",
                "-l",
                "app=backend-deployment",
                "--timeout=20s",
            ]),
            "",
        )
        .await;
    fixture
        .kubectl(
            &with(&["rollout", "status", "deployment/backend-deployment", "--timeout=20s"]),
            "",
        )
        .await;
    let object = json(&fixture, &["get", "deployment", "backend-deployment"]).await;
    assert_eq!(object["spec"]["replicas"], 0);
    assert_eq!(object["status"]["observedGeneration"], object["metadata"]["generation"]);
    assert_eq!(object["status"].get("replicas"), None);
    assert_eq!(json(&fixture, &["get", "pods"]).await["items"], serde_json::json!([]));

    fixture
        .kubectl(
            &with(&["delete", "deployment", "backend-deployment", "--timeout=20s"]),
            "",
        )
        .await;
    fixture
        .kubectl(
            &with(&["wait", "--for=delete", "replicaset", "--all", "--timeout=20s"]),
            "",
        )
        .await;
    fixture
        .kubectl(&["delete", "namespace", "roster-recall", "--timeout=20s"], "")
        .await;
    assert!(
        fixture
            .kubectl_fails(&["get", "namespace", "roster-recall"], "")
            .await
            .contains("NotFound")
    );
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollouts_have_a_history_and_can_be_undone() {
    let fixture = deployed().await;
    for image in ["backend:2", "backend:3"] {
        fixture
            .kubectl(
                &with(&[
                    "set",
                    "image",
                    "deployment/backend-deployment",
                    &format!("backend={image}"),
                ]),
                "",
            )
            .await;
        fixture
            .kubectl(
                &with(&["rollout", "status", "deployment/backend-deployment", "--timeout=30s"]),
                "",
            )
            .await;
    }
    let history = fixture
        .kubectl(&with(&["rollout", "history", "deployment/backend-deployment"]), "")
        .await;
    let revisions: Vec<_> = history
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse::<u32>().ok())
        .collect();
    assert_eq!(revisions, [1, 2, 3]);
    fixture
        .kubectl(
            &with(&["rollout", "undo", "deployment/backend-deployment", "--to-revision=1"]),
            "",
        )
        .await;
    fixture
        .kubectl(
            &with(&["rollout", "status", "deployment/backend-deployment", "--timeout=30s"]),
            "",
        )
        .await;
    let object = json(&fixture, &["get", "deployment", "backend-deployment"]).await;
    assert_eq!(
        object["spec"]["template"]["spec"]["containers"][0]["image"],
        "backend:1"
    );
    assert_eq!(
        object["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "4"
    );
    let history = fixture
        .kubectl(&with(&["rollout", "history", "deployment/backend-deployment"]), "")
        .await;
    assert!(!history.contains("\n1 "), "{history}");
    fixture
        .kubectl(&with(&["rollout", "restart", "deployment/backend-deployment"]), "")
        .await;
    fixture
        .kubectl(
            &with(&["rollout", "status", "deployment/backend-deployment", "--timeout=30s"]),
            "",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_image_never_becomes_ready() {
    let fixture = deployed().await;
    fixture
        .kubectl(
            &with(&["set", "image", "deployment/backend-deployment", "backend=bad:1"]),
            "",
        )
        .await;
    let late = fixture
        .kubectl_fails(
            &with(&["rollout", "status", "deployment/backend-deployment", "--timeout=2s"]),
            "",
        )
        .await;
    assert!(late.contains("timed out"), "{late}");
    let pods = fixture.kubectl(&with(&["get", "pods"]), "").await;
    assert!(pods.contains("ErrImagePull"), "{pods}");
    let object = json(&fixture, &["get", "deployment", "backend-deployment"]).await;
    // One of two may be missing at most a quarter, rounded down: the old ones go on serving.
    assert_eq!(object["status"]["availableReplicas"], 2);
    assert_eq!(object["status"]["unavailableReplicas"], 1);
    fixture
        .kubectl(
            &with(&["set", "image", "deployment/backend-deployment", "backend=crash:1"]),
            "",
        )
        .await;
    let mut seen = String::new();
    for _ in 0..50 {
        seen = fixture.kubectl(&with(&["get", "pods"]), "").await;
        if seen.contains("CrashLoopBackOff") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no CrashLoopBackOff in\n{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_apply_changes_nothing_and_a_dry_run_neither() {
    let fixture = deployed().await;
    let before = json(&fixture, &["get", "deployments,replicasets,pods,configmaps"]).await;
    let writes = fixture.effective_writes();
    let again = deployment("backend-deployment", "backend:1", 2);
    let said = fixture.kubectl(&with(&["apply", "-f", "-"]), &again).await;
    assert!(said.contains("unchanged"), "{said}");
    let changed = deployment("backend-deployment", "backend:2", 5);
    for arguments in [
        vec!["apply", "--dry-run=server", "-f", "-"],
        vec![
            "apply",
            "--server-side",
            "--force-conflicts",
            "--dry-run=server",
            "-f",
            "-",
        ],
        vec!["delete", "--dry-run=server", "-f", "-"],
        vec!["create", "configmap", "new", "--dry-run=server"],
        vec![
            "scale",
            "deployment/backend-deployment",
            "--replicas=7",
            "--dry-run=server",
        ],
    ] {
        fixture.kubectl(&with(&arguments), &changed).await;
    }
    assert_eq!(
        json(&fixture, &["get", "deployments,replicasets,pods,configmaps"]).await,
        before
    );
    assert_eq!(fixture.effective_writes(), writes);
    assert!(
        fixture
            .audit()
            .iter()
            .any(|record| record.dry_run && record.verb == "delete" && record.code == 200)
    );
    let diff = fixture.kubectl_fails(&with(&["diff", "-f", "-"]), &changed).await;
    assert_eq!(diff, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_side_apply_names_who_holds_a_field() {
    let fixture = deployed().await;
    let changed = deployment("backend-deployment", "backend:1", 3);
    let refused = fixture
        .kubectl_fails(
            &with(&["apply", "--server-side", "--field-manager=jm", "-f", "-"]),
            &changed,
        )
        .await;
    assert!(
        refused.contains("kubectl-client-side-apply") && refused.contains(".spec.replicas"),
        "{refused}"
    );
    let taken = fixture
        .kubectl(
            &with(&[
                "apply",
                "--server-side",
                "--field-manager=jm",
                "--force-conflicts",
                "-f",
                "-",
            ]),
            &changed,
        )
        .await;
    assert!(taken.contains("serverside-applied"), "{taken}");
    assert_eq!(
        json(&fixture, &["get", "deployment", "backend-deployment"]).await["spec"]["replicas"],
        3
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn says_what_it_serves_and_refuses_strangers() {
    let fixture = Fixture::start().await;
    let resources = fixture.kubectl(&["api-resources"], "").await;
    for word in ["deployments", "deploy", "horizontalpodautoscalers", "storageclasses"] {
        assert!(resources.contains(word), "{word} in\n{resources}");
    }
    assert!(fixture.kubectl(&["version"], "").await.contains("Server Version"));
    assert_eq!(fixture.kubectl(&["get", "--raw", "/readyz"], "").await, "ok");
    assert!(fixture.kubectl(&["get", "nodes"], "").await.contains("Ready"));
    assert!(
        fixture
            .kubectl(&["get", "storageclass"], "")
            .await
            .contains("(default)")
    );
    let uid = fixture
        .kubectl(
            &["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"],
            "",
        )
        .await;
    assert_eq!(uid.len(), 36);
    let stranger = fixture.kubectl_fails(&["get", "pods", "--token=guess"], "").await;
    assert!(
        stranger.contains("Unauthorized") || stranger.contains("logged in"),
        "{stranger}"
    );
    let viewer = run_kubectl(
        fixture.server.viewer_kubeconfig(),
        fixture.root.path(),
        &["create", "namespace", "x"],
        "",
    )
    .await;
    let complaint = String::from_utf8_lossy(&viewer.stderr);
    assert!(
        complaint.contains("Forbidden") && complaint.contains("\"viewer\" cannot create"),
        "{complaint}"
    );
    let may = run_kubectl(
        fixture.server.viewer_kubeconfig(),
        fixture.root.path(),
        &["auth", "can-i", "delete", "pods"],
        "",
    )
    .await;
    assert_eq!(String::from_utf8_lossy(&may.stdout).trim(), "no");
}

const MANY: &str = r#"
apiVersion: v1
kind: List
items:
  - { apiVersion: v1, kind: ConfigMap, metadata: { name: settings }, data: { a: "1" } }
  - { apiVersion: v1, kind: Secret, metadata: { name: keys }, stringData: { key: value } }
  - { apiVersion: v1, kind: Service, metadata: { name: web }, spec: { selector: { app: web }, ports: [{ port: 80, targetPort: http }] } }
  - { apiVersion: v1, kind: ServiceAccount, metadata: { name: robot } }
  - { apiVersion: v1, kind: PersistentVolumeClaim, metadata: { name: data }, spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } } }
  - { apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: { name: web }, spec: { minReplicas: 2, maxReplicas: 10, scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: web }, metrics: [{ type: Resource, resource: { name: cpu, target: { type: Utilization, averageUtilization: 70 } } }] } }
  - { apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: { name: web }, spec: { rules: [{ host: example.org }] } }
  - { apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: { name: deny }, spec: { podSelector: {} } }
  - { apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: { name: web }, spec: { minAvailable: 1, selector: { matchLabels: { app: web } } } }
  - { apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: { name: reader }, rules: [{ apiGroups: [""], resources: [pods], verbs: [get] }] }
  - { apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: { name: reader }, roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader }, subjects: [{ kind: ServiceAccount, name: robot }] }
  - { apiVersion: batch/v1, kind: Job, metadata: { name: once }, spec: { template: { spec: { restartPolicy: Never, containers: [{ name: a, image: task:1 }] } } } }
  - { apiVersion: batch/v1, kind: CronJob, metadata: { name: nightly }, spec: { schedule: "0 2 * * *", jobTemplate: { spec: { template: { spec: { restartPolicy: Never, containers: [{ name: a, image: task:1 }] } } } } } }
  - { apiVersion: apps/v1, kind: StatefulSet, metadata: { name: store }, spec: { serviceName: store, replicas: 2, selector: { matchLabels: { app: store } }, template: { metadata: { labels: { app: store } }, spec: { containers: [{ name: a, image: store:1 }] } }, volumeClaimTemplates: [{ metadata: { name: disk }, spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } } }] } }
  - { apiVersion: apps/v1, kind: DaemonSet, metadata: { name: agent }, spec: { selector: { matchLabels: { app: agent } }, template: { metadata: { labels: { app: agent } }, spec: { containers: [{ name: a, image: agent:1 }] } } } }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_usual_kind_is_applied_listed_described_and_deleted() {
    let fixture = deployed().await;
    fixture
        .kubectl(
            &with(&["apply", "-f", "-"]),
            &(deployment("web", "web:1", 1) + "---\n" + MANY),
        )
        .await;
    fixture
        .kubectl(
            &with(&["wait", "--for=condition=complete", "job/once", "--timeout=20s"]),
            "",
        )
        .await;
    for workload in ["statefulset/store", "daemonset/agent", "deployment/web"] {
        fixture
            .kubectl(&with(&["rollout", "status", workload, "--timeout=20s"]), "")
            .await;
    }
    let kinds = "configmaps,secrets,services,endpoints,serviceaccounts,pvc,hpa,ingresses,networkpolicies,pdb,roles,rolebindings,\
        jobs,cronjobs,statefulsets,daemonsets,events,leases,controllerrevisions";
    let listed = fixture.kubectl(&with(&["get", kinds, "-o", "wide"]), "").await;
    for word in [
        "disk-store-1",
        "Complete",
        "0 2 * * *",
        "example.org",
        "Bound",
        "Deployment/web",
        "70%",
        ":8080",
    ] {
        assert!(listed.contains(word), "{word} in\n{listed}");
    }
    let described = fixture.kubectl(&with(&["describe", kinds]), "").await;
    assert!(described.contains("app=web"), "{described}");
    assert!(
        fixture
            .kubectl(&with(&["get", "all"]), "")
            .await
            .contains("pod/store-1")
    );
    let logs = fixture.kubectl(&with(&["logs", "store-0"]), "").await;
    assert!(logs.contains("a started at"), "{logs}");
    let said = fixture.kubectl(&with(&["apply", "-f", "-"]), MANY).await;
    // kubectl always sends the selector of a budget again, and the plain text of a secret.
    let resent = |line: &str| line.contains("secret/keys") || line.contains("poddisruptionbudget");
    let changed: Vec<_> = said
        .lines()
        .filter(|line| !line.contains("unchanged") && !resent(line))
        .collect();
    assert_eq!(changed, Vec::<&str>::new());
    fixture
        .kubectl(&["delete", "namespace", "roster-recall", "--timeout=30s"], "")
        .await;
}
