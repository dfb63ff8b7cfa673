//! What clients rely on, as functions over a client: for the stand-in, and for a real control plane.

mod definitions;
mod deleting;
mod kinds;
mod objects;
mod workloads;

use kube::config::{KubeConfigOptions, Kubeconfig};

use super::*;

/// Runs each function against a stand-in of its own, and all of them, one after the other, against a real server.
macro_rules! on_both {
    ($($module:ident::$name:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let fixture = Fixture::start().await;
                let client = client(fixture.server.kubeconfig()).await;
                let place = namespace(&client, stringify!($name)).await;
                $module::$name(client, &place).await;
                fixture.server.stop().await;
            }
        )*

        #[tokio::test(flavor = "multi_thread")]
        async fn a_real_control_plane_does_the_same() {
            let plane = ControlPlane::start().await;
            let client = client(&plane.kubeconfig()).await;
            $(
                let place = namespace(&client, stringify!($name)).await;
                $module::$name(client.clone(), &place).await;
            )*
        }
    };
}

on_both![
    objects::writes_are_guarded,
    objects::every_kind_of_patch,
    objects::fields_have_holders,
    objects::lists_come_in_pages_and_by_selectors,
    objects::a_watch_sees_what_happens,
    objects::refusals_name_what_is_wrong,
    objects::what_is_served_can_be_found_out,
    workloads::a_rollout_and_the_way_back,
    workloads::scaling_by_the_subresource,
    workloads::an_autoscaler_in_both_versions,
    workloads::a_suspended_cron_job_starts_nothing,
    workloads::a_quota_is_counted,
    definitions::a_definition_brings_its_kind,
    definitions::a_definition_goes_with_what_it_brought,
    definitions::versions_show_the_same_object,
    kinds::every_kind_is_applied_read_and_deleted,
    kinds::webhooks_are_told_apart_by_name,
    kinds::tokens_come_and_go_with_their_account,
    deleting::in_three_ways,
    deleting::a_finalizer_is_waited_for,
    deleting::a_namespace_goes_with_what_is_in_it,
];

pub(super) async fn client(kubeconfig: &Path) -> kube::Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    kube::Client::try_from(config).unwrap()
}

/// A namespace for one function.
async fn namespace(client: &kube::Client, name: &str) -> String {
    use k8s_openapi::api::core::v1::Namespace;
    let name = name.replace('_', "-");
    let object: Namespace = serde_json::from_value(serde_json::json!({"metadata": {"name": name}})).unwrap();
    let api: kube::Api<Namespace> = kube::Api::all(client.clone());
    api.create(&kube::api::PostParams::default(), &object).await.unwrap();
    name
}

/// The code and reason of a refusal.
fn refusal<T: std::fmt::Debug>(result: kube::Result<T>) -> (u16, String) {
    let status = refused(result);
    (status.code, status.reason)
}

fn refused<T: std::fmt::Debug>(result: kube::Result<T>) -> kube::core::Status {
    match result {
        Err(kube::Error::Api(status)) => *status,
        other => panic!("no refusal: {other:?}"),
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

/// Kubernetes' own programs, for as long as the value lives.
struct ControlPlane {
    folder: tempfile::TempDir,
}

impl ControlPlane {
    async fn start() -> Self {
        let plane = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let output = plane
            .script("start")
            .arg("--owner")
            .arg(std::process::id().to_string())
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success(),
            "no control plane: {said}\nrun `tests/services/install` first"
        );
        plane
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "tests find their servers through the environment, and end them"
    )]
    fn script(&self, verb: &str) -> tokio::process::Command {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/services");
        let services = std::env::var_os("JM_TEST_SERVICES").map_or(beside, PathBuf::from);
        let mut command = tokio::process::Command::new(services.join("control-plane"));
        command.arg(verb).arg(self.folder.path());
        command
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let ended = self.script("stop").as_std_mut().status();
        drop(ended.inspect_err(|error| tracing::warn!(%error, "the control plane was not stopped")));
    }
}
