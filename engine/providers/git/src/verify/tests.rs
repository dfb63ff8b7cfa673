//! On a remote and a clone that git itself made.

#![expect(clippy::disallowed_methods, reason = "tests make and read files of their own")]

use jm_step::{Grade, StepErrorKind};
use serde_json::Value;

use super::*;
use crate::world::World;

fn input(world: &World, commit: &str) -> Value {
    json!({ "repository": world.clone_dir(), "commit": commit })
}

#[tokio::test]
async fn what_the_remote_has_is_found() {
    let world = World::new().await;
    let first = world.hash("v1^{commit}").await;
    let address = format!("file://{}", world.remote().display());
    for input in [
        input(&world, "v1"),
        input(&world, &first),
        json!({ "repository": address, "commit": "v1" }),
    ] {
        let preview = world.seat().preview(&Verify, &input).await.expect("a preview");
        let output = world.seat().output(&Verify, &input).await;
        assert_eq!(
            (preview.grade, preview.predicted.as_ref()),
            (Grade::Verified, Some(&output))
        );
        assert_eq!(output["commit"], first);
        assert_eq!(output["found_in"], json!(["main", "v1"]));
    }
}

#[tokio::test]
async fn what_was_never_pushed_and_what_was_pushed_over_is_missed() {
    let world = World::new().await;
    let own = world.commit("only here").await;
    let error = world.seat().error(&Verify, &input(&world, &own)).await;
    assert_eq!(error.kind(), StepErrorKind::Failed);
    assert!(error.message().contains("never pushed, or pushed over"), "{error}");
    // Somebody pushes another history over it.
    world.git(&["push", "--quiet", "origin", "main"]).await;
    world.seat().output(&Verify, &input(&world, &own)).await;
    world
        .git(&["push", "--quiet", "--force", "origin", "v1^{commit}:refs/heads/main"])
        .await;
    let error = world.seat().error(&Verify, &input(&world, &own)).await;
    assert!(error.message().contains("pushed over"), "{error}");
}

#[tokio::test]
async fn a_tag_that_was_moved_is_told_of() {
    let world = World::new().await;
    world
        .git(&["push", "--quiet", "--force", "origin", "main:refs/tags/v1"])
        .await;
    let error = world.seat().error(&Verify, &input(&world, "v1")).await;
    assert_eq!(error.kind(), StepErrorKind::Conflict);
    assert!(error.message().contains("one of them was moved"), "{error}");
}

#[tokio::test]
async fn a_signature_is_asked_for() {
    let world = World::new().await;
    let error = world
        .seat()
        .error(
            &Verify,
            &json!({ "repository": world.clone_dir(), "commit": "v1", "signed": true }),
        )
        .await;
    assert!(error.message().contains("no signature"), "{error}");
    // A key of the test's own, by SSH's means, which need no agent.
    let (key, signers) = (world.path("key"), world.path("signers"));
    let made = jm_step::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(key.display().to_string())
        .env("PATH", "/usr/bin:/bin")
        .spawn(&jm_step::process::Supervisor::none(), &jm_step::Environment::default())
        .expect("ssh-keygen starts")
        .wait()
        .await
        .expect("an end");
    assert!(made.success());
    let public = std::fs::read_to_string(world.path("key.pub")).expect("a key");
    std::fs::write(&signers, format!("test@example.com {public}")).expect("a file");
    for (name, value) in [
        ("gpg.format", "ssh".to_owned()),
        ("user.signingKey", key.display().to_string()),
        ("gpg.ssh.allowedSignersFile", signers.display().to_string()),
    ] {
        world.git(&["config", "--global", name, &value]).await;
    }
    world.git(&["tag", "-s", "-m", "signed", "v2"]).await;
    world.git(&["push", "--quiet", "origin", "main", "v2"]).await;
    let input = json!({ "repository": world.clone_dir(), "commit": "v2", "signed": true });
    let output = world.seat().output(&Verify, &input).await;
    assert!(
        output["signer"]
            .as_str()
            .expect("a signer")
            .contains("test@example.com"),
        "{output}"
    );
}
