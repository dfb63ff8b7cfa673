//! `kubernetes.set_image` by a tag: the digest that a real registry tells is what is deployed, whoever has to be asked how.

use jm_provider_kubernetes::SetImage;
use jm_step::{Grade, Probe, Secrets, StepErrorKind};
use jm_testkit::StepBench;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::place::{Place, create};
use crate::registry::{Entry, PASSWORD, Registry};
use crate::server::Server;

fn input(registry: &Registry, tag: &str) -> Value {
    json!({ "workload": "deployment/web", "container": "main", "image": format!("{}:{tag}", registry.name()) })
}

async fn image(place: &Place<'_>) -> String {
    let web = place.api::<Deployment>().get("web").await.expect("it is there");
    let value = serde_json::to_value(web).expect("JSON");
    let image = value.pointer("/spec/template/spec/containers/0/image");
    image.and_then(Value::as_str).expect("an image").to_owned()
}

pub(crate) async fn a_tag_is_deployed_by_the_digest_that_it_names(server: &Server) {
    let place = Place::with_web(server, 1).await;
    let registry = Registry::start(Entry::Open).await;
    let pinned = |digest: &str| format!("{}@{digest}", registry.name());
    let first = registry.push("1.0", "first").await;
    let input = input(&registry, "1.0");

    let writes = place.writes();
    let bench = place.bench().await;
    let announced = bench.preview(&SetImage, input.clone()).await.expect("a preview");
    assert_eq!(announced.grade, Grade::Computed);
    assert!(announced.summary.contains(&pinned(&first)), "{}", announced.summary);
    assert_eq!(place.writes(), writes, "a preview is not to write");

    // It dies when the digest is on disk and nothing is changed yet; then somebody moves the tag.
    let cut = bench.run_until(&SetImage, input.clone(), 1).await;
    let saved = cut.outputs[0].clone();
    assert_eq!(
        (&saved["image"], &saved["digest"]),
        (&json!(pinned(&first)), &json!(first))
    );
    let second = registry.push("1.0", "second").await;
    assert_ne!(first, second);
    let resumed = || async { place.bench().await.saved_output(saved.clone()) };
    let verdict = resumed()
        .await
        .probe(&SetImage, input.clone())
        .await
        .expect("an answer");
    assert_eq!(verdict, Probe::NotStarted);
    let ran = resumed().await.run(&SetImage, input.clone()).await;
    assert_eq!(
        ran.changes, announced.changes,
        "what was announced, whatever the tag names by now"
    );
    assert_eq!(ran.output()["digest"], first);
    assert_eq!(image(&place).await, pinned(&first));
    // A resume needs no registry to know what became of it.
    registry.stop().await;
    let verdict = resumed()
        .await
        .probe(&SetImage, input.clone())
        .await
        .expect("an answer");
    assert!(matches!(verdict, Probe::Succeeded(output) if output["digest"] == first.as_str()));
}

/// The flag lets `latest` pass, and not what it names when a node pulls it.
pub(crate) async fn the_latest_is_deployed_by_its_digest_where_it_is_allowed(server: &Server) {
    let place = Place::with_web(server, 1).await;
    let registry = Registry::start(Entry::Open).await;
    let digest = registry.push("latest", "the newest").await;
    let mut input = input(&registry, "latest");
    input["allow_tag"] = json!(true);
    deployed(&place, place.bench().await, input, &digest).await;
}

pub(crate) async fn another_run_takes_what_the_tag_names_by_then(server: &Server) {
    let place = Place::with_web(server, 1).await;
    let registry = Registry::start(Entry::Open).await;
    for what in ["first", "second"] {
        let digest = registry.push("1.0", what).await;
        let output = place
            .bench()
            .await
            .run(&SetImage, input(&registry, "1.0"))
            .await
            .output();
        assert_eq!(output["digest"], digest.as_str());
        assert_eq!(image(&place).await, format!("{}@{digest}", registry.name()));
        let again = place.bench().await.run(&SetImage, input(&registry, "1.0")).await;
        assert!(again.changes.is_empty(), "it is there already");
    }
}

/// Puts a login of the registry into the namespace, as `kubectl create secret docker-registry` does.
async fn pull_secret(place: &Place<'_>, name: &str, registry: &Registry) {
    let auths = json!({ "auths": { registry.host.as_str(): { "username": "robot", "password": PASSWORD } } });
    let secret = json!({ "metadata": { "name": name }, "type": "kubernetes.io/dockerconfigjson",
        "stringData": { ".dockerconfigjson": auths.to_string() } });
    create(&place.api::<Secret>(), secret).await;
}

async fn deployed(place: &Place<'_>, bench: StepBench, input: Value, digest: &str) {
    let ran = bench.run(&SetImage, input).await;
    assert!(ran.log.iter().all(|line| !line.contains(PASSWORD)), "{:?}", ran.log);
    assert_eq!(ran.output()["digest"], digest);
    assert!(image(place).await.ends_with(digest));
}

pub(crate) async fn a_registry_is_asked_with_the_login_that_its_nodes_have(server: &Server) {
    let registry = Registry::start(Entry::Password).await;
    let digest = registry.push("1.0", "behind a password").await;
    let input = input(&registry, "1.0");

    let place = Place::with_web(server, 1).await;
    let writes = place.writes();
    let bench = place.bench().await;
    let announced = bench
        .preview(&SetImage, input.clone())
        .await
        .expect_err("nobody's login");
    let ran = bench.run(&SetImage, input.clone()).await;
    assert!(ran.outputs.is_empty(), "nothing is known, so nothing is written down");
    for error in [announced, ran.error()] {
        assert_eq!(error.kind(), StepErrorKind::Denied, "{error}");
        assert!(
            error.message().contains("does not let somebody without a login look"),
            "{error}"
        );
        let hint = error.hint_text().expect("a hint");
        for part in ["`login`", "imagePullSecret", "`NAME@sha256:…`", "`allow_tag: true`"] {
            assert!(hint.contains(part), "{hint}");
        }
    }
    assert_eq!(place.writes(), writes);

    // Of its template.
    pull_secret(&place, "pull", &registry).await;
    let named =
        json!({ "spec": { "template": { "spec": { "imagePullSecrets": [{ "name": "gone" }, { "name": "pull" }] } } } });
    place.patch("web", named).await;
    let secrets = Secrets::new();
    let bench = place.bench().await.secrets(secrets.clone());
    deployed(&place, bench, input.clone(), &digest).await;
    assert!(secrets.occur_in(PASSWORD), "it is masked from here on");

    // Of its service account.
    let place = Place::with_web(server, 1).await;
    pull_secret(&place, "pull", &registry).await;
    let accounts = place.api::<ServiceAccount>();
    let named = json!({ "imagePullSecrets": [{ "name": "pull" }] });
    accounts
        .patch("default", &PatchParams::default(), &Patch::Merge(named))
        .await
        .expect("patched");
    deployed(&place, place.bench().await, input.clone(), &digest).await;

    // Of the input, which is asked with before all others.
    let with_login = |password: &str| {
        let mut input = input.clone();
        input["login"] = json!({ "user": "robot", "password": password });
        input
    };
    let error = place
        .bench()
        .await
        .run(&SetImage, with_login("wrong-password"))
        .await
        .error();
    assert!(error.message().contains("user `robot`") && !format!("{error:?}").contains("wrong-password"));
    let place = Place::with_web(server, 1).await;
    deployed(&place, place.bench().await, with_login(PASSWORD), &digest).await;
}

pub(crate) async fn a_token_is_fetched_where_the_registry_sends_for_one(server: &Server) {
    let place = Place::with_web(server, 1).await;
    let registry = Registry::start(Entry::Tokens).await;
    let digest = registry.push("1.0", "behind tokens").await;
    let mut input = input(&registry, "1.0");
    let error = place.bench().await.run(&SetImage, input.clone()).await.error();
    assert_eq!(error.kind(), StepErrorKind::Denied, "{error}");
    input["login"] = json!({ "user": "robot", "password": PASSWORD });
    deployed(&place, place.bench().await, input, &digest).await;
}

pub(crate) async fn a_registry_that_cannot_be_asked_leaves_a_way_open(server: &Server) {
    let place = Place::with_web(server, 1).await;
    let registry = Registry::start(Entry::Open).await;
    registry.push("1.0", "there").await;
    let writes = place.writes();
    let error = place
        .bench()
        .await
        .run(&SetImage, input(&registry, "2.0"))
        .await
        .error();
    assert_eq!(error.kind(), StepErrorKind::NotFound);
    assert!(error.message().contains(&format!("{}:2.0", registry.name())), "{error}");
    let mut mistyped = input(&registry, "2.0");
    mistyped["allow_tag"] = json!(true);
    let error = place.bench().await.run(&SetImage, mistyped).await.error();
    assert_eq!(
        error.kind(),
        StepErrorKind::NotFound,
        "nodes cannot pull it either: {error}"
    );

    registry.stop().await;
    let input = input(&registry, "1.0");
    let bench = place.bench().await;
    let announced = bench
        .preview(&SetImage, input.clone())
        .await
        .expect_err("the dry run finds out");
    let ran = bench.run(&SetImage, input.clone()).await;
    assert!(ran.outputs.is_empty());
    for error in [announced, ran.error()] {
        assert_eq!(error.kind(), StepErrorKind::Unavailable, "{error}");
        let hint = error.hint_text().expect("a hint");
        assert!(
            hint.contains("`NAME@sha256:…`") && hint.contains("`allow_tag: true`"),
            "{hint}"
        );
    }
    assert_eq!(place.writes(), writes);
    let mut as_written = input;
    as_written["allow_tag"] = json!(true);
    let waits = place.bench().await.tried_again();
    let error = waits.run(&SetImage, as_written.clone()).await.error();
    assert_eq!(
        error.kind(),
        StepErrorKind::Unavailable,
        "it is asked again first: {error}"
    );
    assert_eq!(place.writes(), writes);
    let bench = place.bench().await;
    let announced = bench.preview(&SetImage, as_written.clone()).await.expect("a preview");
    let tells = |line: &String| line.contains("by its tag") && line.contains(error.message());
    assert!(tells(&announced.summary), "{}", announced.summary);
    let ran = bench.run(&SetImage, as_written).await;
    assert!(ran.log.iter().any(tells), "{:?}", ran.log);
    assert_eq!(ran.output()["image"], format!("{}:1.0", registry.name()));
}
