//! A remote that is kept, and cloned from what was kept, by git and by the steps.

#![expect(clippy::disallowed_methods, reason = "tests run what an operator would type")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use jm_step::{Grade, StepErrorKind};
use serde_json::{Value, json};

use super::Bundle;
use crate::checkout::Checkout;
use crate::verify::Verify;
use crate::world::{KEY, World};

const IMAGE: &str = "ghcr.io/shop/app@sha256:0000000000000000000000000000000000000000000000000000000000000000";

fn input(world: &World, commit: &str) -> Value {
    json!({ "repository": world.clone_dir(), "commit": commit, "image": IMAGE })
}

/// What is inside of a backup, as an operator without jm gets at it.
fn decrypted(world: &World, name: &str) -> PathBuf {
    let (home, bundle) = (world.path("gnupg"), world.path("code.bundle"));
    std::fs::create_dir_all(&home).expect("a folder");
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700)).expect("mode");
    let ended = Command::new("gpg")
        .args([
            "--batch",
            "--quiet",
            "--yes",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            KEY,
            "--homedir",
        ])
        .arg(&home)
        .arg("--output")
        .arg(&bundle)
        .arg("--decrypt")
        .arg(world.path("backups").join(name))
        .status();
    assert!(ended.expect("gpg").success());
    bundle
}

async fn clone(world: &World, bundle: &Path) -> PathBuf {
    let to = world.path("cloned");
    world
        .git(&[
            "clone",
            "--quiet",
            &bundle.display().to_string(),
            &to.display().to_string(),
        ])
        .await;
    to
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_comes_back_from_its_bundle() {
    let world = World::new().await;
    let head = world.hash("main").await;
    let output = world.seat().output(&Bundle, &input(&world, "v1")).await;
    assert_eq!(output["made"], true, "{output:#}");
    assert_eq!(output["refs"], 2);
    assert_eq!(output["release"]["commit"], world.hash("v1").await);
    assert_eq!(output["release"]["tag"], "v1");
    assert_eq!(output["release"]["image"], IMAGE);
    let bundle = decrypted(&world, output["name"].as_str().expect("a name"));
    let cloned = clone(&world, &bundle).await;
    assert_eq!(world.git_in(&cloned, &["rev-parse", "HEAD"]).await, head);
    assert_eq!(
        world.git_in(&cloned, &["rev-parse", "v1"]).await,
        world.hash("v1").await
    );

    // The steps take it where the remote is gone.
    let from = |commit: &str| json!({ "repository": bundle, "commit": commit });
    std::fs::remove_dir_all(world.remote()).expect("the remote is gone");
    let verified = world.seat().output(&Verify, &from("v1")).await;
    assert_eq!(verified["tag"], "v1");
    let tree = world.seat().output(&Checkout, &from(&head)).await;
    let file = Path::new(tree["dir"].as_str().expect("a folder")).join("file");
    assert_eq!(std::fs::read_to_string(file).expect("a file"), "second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_made_where_something_changed() {
    let world = World::new().await;
    let input_now = input(&world, "v1");
    let dry = world.seat().preview(&Bundle, &input_now).await.expect("a preview");
    assert_eq!((dry.grade, dry.changes.len()), (Grade::Computed, 1));
    let first = world.seat().output(&Bundle, &input_now).await;
    let again = world.seat().output(&Bundle, &input_now).await;
    assert_eq!((&again["made"], &again["name"]), (&json!(false), &first["name"]));
    let dry = world.seat().preview(&Bundle, &input_now).await.expect("a preview");
    assert!(
        dry.changes.is_empty() && dry.summary.contains("nothing changed"),
        "{}",
        dry.summary
    );
    // Another image of the same commit, then another commit.
    let mut other_image = input_now.clone();
    other_image["image"] = json!(IMAGE.replace('0', "1"));
    assert_eq!(world.seat().output(&Bundle, &other_image).await["made"], true);
    world.commit("third").await;
    world.git(&["push", "--quiet", "origin", "main"]).await;
    assert_eq!(world.seat().output(&Bundle, &other_image).await["made"], true);
}

/// A restore would find out.
#[tokio::test(flavor = "multi_thread")]
async fn what_lies_beside_a_repository_is_told() {
    let world = World::new().await;
    std::fs::create_dir(world.clone_dir().join("films")).expect("a folder");
    std::fs::write(
        world.clone_dir().join("films/.gitattributes"),
        "*.mp4 filter=lfs diff=lfs\n",
    )
    .expect("a file");
    std::fs::write(world.clone_dir().join(".gitmodules"), "").expect("a file");
    world.git(&["add", "."]).await;
    let commit = world.commit("with large files").await;
    world.git(&["push", "--quiet", "origin", "main"]).await;
    let (outcome, told) = world.seat().run(&Bundle, &input(&world, &commit)).await;
    outcome.expect("it is kept");
    let degraded = told.degraded.join("; ");
    assert!(
        degraded.contains("submodules") && degraded.contains("LFS"),
        "{degraded}"
    );
    let (_, told) = world.seat().run(&Bundle, &input(&world, "v1")).await;
    assert!(told.degraded.is_empty(), "{:?}", told.degraded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_was_not_pushed_is_refused() {
    let world = World::new().await;
    let commit = world.commit("mine alone").await;
    let error = world.seat().error(&Bundle, &input(&world, &commit)).await;
    assert_eq!(error.kind(), StepErrorKind::Failed);
    assert!(error.message().contains("was never pushed"), "{error}");
    assert!(
        !world.path("backups").join(".jm-location").exists(),
        "nothing was written"
    );
}

/// Killed after the backup was made and before that was written down: the same deed finds it.
#[tokio::test(flavor = "multi_thread")]
async fn a_deed_that_was_done_is_not_done_twice() {
    let world = World::new().await;
    let seat = world.seat();
    let mut always = input(&world, "v1");
    always["only_changed"] = json!(false);
    let first = seat.output(&Bundle, &always).await;
    match seat.probe(&Bundle, &always).await {
        jm_step::Probe::Succeeded(found) => assert_eq!(found["name"], first["name"]),
        other => panic!("{other:?}"),
    }
    assert_eq!(seat.output(&Bundle, &always).await["name"], first["name"]);
    assert_ne!(world.seat().output(&Bundle, &always).await["name"], first["name"]);
}
