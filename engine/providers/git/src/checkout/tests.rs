//! On repositories that git itself made.

#![expect(clippy::disallowed_methods, reason = "tests make and read files of their own")]

use jm_step::{AnyStepType, Grade, StepErrorKind};
use serde_json::Value;

use super::*;
use crate::world::World;

fn input(world: &World, commit: &str) -> Value {
    json!({ "repository": world.clone_dir(), "commit": commit, "into": world.path("tree") })
}

#[tokio::test]
async fn a_commit_gets_a_tree_of_its_own_and_the_operators_stays_as_it_is() {
    let world = World::new().await;
    // Half-done work: a change, a staged one, a detached head.
    world.git(&["checkout", "--quiet", "--detach"]).await;
    std::fs::write(world.clone_dir().join("file"), "half done").expect("a file");
    std::fs::write(world.clone_dir().join("new"), "staged").expect("a file");
    world.git(&["add", "new"]).await;
    let before = world.sight().await;
    let first = world.hash("v1^{commit}").await;
    let seat = world.seat();
    let preview = seat.preview(&Checkout, &input(&world, "v1")).await.expect("a preview");
    assert_eq!(preview.grade, Grade::Computed);
    assert!(!world.path("tree").exists(), "a preview makes nothing");
    let (outcome, told) = seat.run(&Checkout, &input(&world, "v1")).await;
    assert_eq!(told.changes, preview.changes);
    let output = outcome.expect("it succeeds");
    assert_eq!(preview.predicted.as_ref(), Some(&output));
    assert_eq!((&output["commit"], &output["tag"]), (&json!(first), &json!("v1")));
    assert_eq!(
        std::fs::read_to_string(world.path("tree/file")).expect("a file"),
        "first"
    );
    assert_eq!(world.hash(&format!("refs/heads/recovery/{first}")).await, first);
    assert_eq!(world.sight().await, before, "the operator's tree is as it was");
    // Again, as after a crash: the same tree, the same branch.
    let verdict = seat.probe(&Checkout, &input(&world, "v1")).await;
    assert_eq!(verdict, Probe::Succeeded(output.clone()));
    assert_eq!(seat.output(&Checkout, &input(&world, "v1")).await, output);
}

#[tokio::test]
async fn a_remote_is_cloned() {
    let world = World::new().await;
    let commit = world.hash("HEAD").await;
    let address = format!("file://{}", world.remote().display());
    let input = json!({ "repository": address, "commit": commit });
    let seat = world.seat();
    seat.preview(&Checkout, &input).await.expect("a preview");
    let output = seat.output(&Checkout, &input).await;
    let dir = PathBuf::from(output["dir"].as_str().expect("a folder"));
    assert!(dir.starts_with(world.path("")), "in the temporary folder");
    assert_eq!(std::fs::read_to_string(dir.join("file")).expect("a file"), "second");
    assert_eq!(world.git_in(&dir, &["rev-parse", "HEAD"]).await, commit);
    let nowhere = json!({ "repository": format!("{address}-not"), "commit": commit });
    let error = world.seat().error(&Checkout, &nowhere).await;
    assert_eq!(error.kind(), StepErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn a_short_hash_is_taken_where_one_commit_begins_with_it() {
    let world = World::new().await;
    let commit = world.hash("HEAD").await;
    let output = world.seat().output(&Checkout, &input(&world, &commit[..12])).await;
    assert_eq!(output["commit"], commit);
    let alike = world.alike().await;
    let error = world.seat().error(&Checkout, &input(&world, &alike)).await;
    assert_eq!(error.kind(), StepErrorKind::InvalidInput);
    assert!(error.message().contains("is ambiguous: 2 commits"), "{error}");
    let evidence = error.summary().evidence.expect("candidates");
    assert_eq!(evidence["candidates"].as_array().expect("a list").len(), 2);
}

#[tokio::test]
async fn branches_and_what_is_not_there_are_refused_with_what_to_write() {
    let world = World::new().await;
    let commit = world.hash("main").await;
    let error = world.seat().error(&Checkout, &input(&world, "main")).await;
    assert!(
        error.message().contains("is a branch") && error.hint_text().is_some_and(|hint| hint.contains(&commit)),
        "{error}"
    );
    let zeros = "0".repeat(40);
    for (name, said) in [("v9", "no tag `v9`"), (zeros.as_str(), "no commit `0000")] {
        let error = world.seat().error(&Checkout, &input(&world, name)).await;
        assert_eq!(error.kind(), StepErrorKind::NotFound);
        assert!(error.message().contains(said), "{error}");
    }
    let issues = AnyStepType::check(&Checkout, &json!({ "repository": "-x", "commit": "HEAD~1" })).expect_err("odd");
    assert_eq!(issues.len(), 2);
}

#[tokio::test]
async fn a_recovery_branch_is_reused_unless_somebody_works_on_it() {
    let world = World::new().await;
    let first = world.hash("v1^{commit}").await;
    let branch = format!("recovery/{first}");
    world.git(&["branch", &branch, &first]).await;
    world.seat().output(&Checkout, &input(&world, &first)).await;
    let other = world.hash("HEAD").await;
    world
        .git(&["update-ref", &format!("refs/heads/{branch}"), &other])
        .await;
    let elsewhere = json!({ "repository": world.clone_dir(), "commit": first, "into": world.path("other") });
    let error = world.seat().error(&Checkout, &elsewhere).await;
    assert_eq!(error.kind(), StepErrorKind::Conflict);
    assert!(error.message().contains(&other), "{error}");
    assert!(!world.path("other").exists(), "nothing was begun");
}

/// Git keeps branches as files in folders, or as if it did.
#[tokio::test]
async fn a_branch_that_is_in_the_way_is_found_before_anything_is_made() {
    let world = World::new().await;
    world.git(&["branch", "recovery"]).await;
    let seat = world.seat();
    let refused = seat
        .preview(&Checkout, &input(&world, "v1"))
        .await
        .expect_err("refused");
    let error = seat.error(&Checkout, &input(&world, "v1")).await;
    for error in [refused, error] {
        assert_eq!(error.kind(), StepErrorKind::Conflict);
        assert!(
            error
                .hint_text()
                .is_some_and(|hint| hint.contains("git branch -m recovery")),
            "{error}"
        );
    }
    assert!(!world.path("tree").exists(), "nothing was begun");
}

#[tokio::test]
async fn what_a_crash_left_is_made_anew_and_what_is_somebody_elses_stays() {
    let world = World::new().await;
    std::fs::create_dir(world.path("tree")).expect("a folder");
    std::fs::write(world.path("tree/theirs"), "theirs").expect("a file");
    let error = world.seat().error(&Checkout, &input(&world, "v1")).await;
    assert_eq!(error.kind(), StepErrorKind::Conflict);
    assert!(world.path("tree/theirs").exists());
    std::fs::remove_dir_all(world.path("tree")).expect("removed");
    // Cut off after it saved that it begins, with a tree that is half there.
    world
        .git(&[
            "worktree",
            "add",
            "--quiet",
            "--detach",
            &world.path("tree").display().to_string(),
            "v1",
        ])
        .await;
    std::fs::write(world.path("tree/file"), "fir").expect("a file");
    let again = world.seat().checkpoint(json!({ "dir": world.path("tree") }));
    let verdict = again.probe(&Checkout, &input(&world, "v1")).await;
    assert!(matches!(verdict, Probe::Partial { .. }), "{verdict:?}");
    again.output(&Checkout, &input(&world, "v1")).await;
    assert_eq!(
        std::fs::read_to_string(world.path("tree/file")).expect("a file"),
        "first"
    );
}

/// Git locks a tree while it makes it, and a stop kills git: what it leaves keeps nobody from making the tree.
#[tokio::test]
async fn a_stop_while_git_writes_the_files_is_made_good_by_the_next_attempt() {
    let world = World::new().await;
    let (begun, held) = (world.path("begun"), world.path("held"));
    let config = world.path(".gitconfig");
    let text = std::fs::read_to_string(&config).expect("settings");
    let slow = format!(
        "[filter \"slow\"]\n\tsmudge = \"touch '{}'; while [ -e '{}' ]; do sleep 0.02; done; cat\"\n",
        begun.display(),
        held.display()
    );
    std::fs::write(&config, text + &slow).expect("settings");
    std::fs::write(world.clone_dir().join(".gitattributes"), "file filter=slow\n").expect("a file");
    world.git(&["add", "."]).await;
    let commit = world.commit("filtered").await;

    std::fs::write(&held, "").expect("a file");
    let seat = world.seat();
    let input = input(&world, &commit);
    let stopped = async {
        while !begun.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        (outcome, _) = seat.run(&Checkout, &input) => panic!("it ended before it was stopped: {outcome:?}"),
        () = stopped => {}
    }
    std::fs::remove_file(&held).expect("removed");
    let trees = world.git(&["worktree", "list", "--porcelain"]).await;
    assert!(trees.contains("tree\n"), "it was not stopped in between: {trees}");
    assert!(
        !trees.contains("locked"),
        "`git worktree prune` passes over it: {trees}"
    );

    let again = seat.checkpoint(json!({ "dir": world.path("tree") }));
    let verdict = again.probe(&Checkout, &input).await;
    assert!(matches!(verdict, Probe::Partial { .. }), "{verdict:?}");
    let output = again.output(&Checkout, &input).await;
    assert_eq!(output["commit"], commit);
    assert_eq!(
        std::fs::read_to_string(world.path("tree/file")).expect("a file"),
        "filtered"
    );
}

/// A lock that git left is overridden, also by another run; one that somebody has put there is not.
#[tokio::test]
async fn a_lock_of_gits_own_is_overridden_and_somebodys_is_not() {
    let world = World::new().await;
    world.seat().output(&Checkout, &input(&world, "v1")).await;
    let lock = world.clone_dir().join(".git/worktrees/tree/locked");
    for (reason, is_left) in [("initializing", true), ("on a stick", false)] {
        std::fs::remove_dir_all(world.path("tree")).expect("removed");
        std::fs::write(&lock, reason).expect("a lock");
        let (outcome, _) = world.seat().run(&Checkout, &input(&world, "v1")).await;
        if is_left {
            outcome.expect("it is made anew");
            continue;
        }
        let error = outcome.expect_err("it is somebody's");
        assert_eq!(error.kind(), StepErrorKind::Conflict, "{error}");
        assert!(error.message().contains("a locked working tree"), "{error}");
        assert_eq!(std::fs::read_to_string(&lock).expect("the lock"), reason);
    }
}

#[tokio::test]
async fn hooks_of_the_repository_do_not_run() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new().await;
    let hook = world.clone_dir().join(".git/hooks/post-checkout");
    std::fs::create_dir_all(hook.parent().expect("a folder")).expect("a folder");
    std::fs::write(&hook, format!("#!/bin/sh\ntouch '{}'\n", world.path("ran").display())).expect("a file");
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).expect("executable");
    world.seat().output(&Checkout, &input(&world, "v1")).await;
    assert!(!world.path("ran").exists());
}

/// Its folder would be empty, and the build would fail or, worse, go without it.
#[tokio::test]
async fn what_a_commit_takes_from_other_repositories_comes_along() {
    let world = World::new().await;
    let config = world.path(".gitconfig");
    let text = std::fs::read_to_string(&config).expect("settings");
    // Git takes no submodule from a folder unless told to.
    std::fs::write(&config, format!("{text}[protocol \"file\"]\n\tallow = always\n")).expect("settings");
    let library = world.path("library").display().to_string();
    let clone = world.clone_dir().display().to_string();
    world.git(&["clone", "--quiet", &clone, &library]).await;
    world.git(&["submodule", "--quiet", "add", &library, "library"]).await;
    world.git(&["commit", "--quiet", "-m", "with a library"]).await;
    let input = json!({ "repository": world.clone_dir(), "commit": world.hash("HEAD").await });
    let output = world.seat().output(&Checkout, &input).await;
    let file = Path::new(output["dir"].as_str().expect("a folder")).join("library/file");
    assert_eq!(std::fs::read_to_string(file).expect("it came along"), "second");
    // To git's status, a submodule that was never fetched is no change.
    let tree = output["dir"].as_str().expect("a folder").to_owned();
    let seat = world.seat();
    let mut again = input.clone();
    again["into"] = json!(tree);
    assert!(matches!(
        seat.probe(&Checkout, &again).await,
        jm_step::Probe::Succeeded(_)
    ));
    world
        .git_in(
            Path::new(&tree),
            &["submodule", "--quiet", "deinit", "--force", "library"],
        )
        .await;
    assert!(matches!(
        seat.probe(&Checkout, &again).await,
        jm_step::Probe::Partial { .. }
    ));
}

/// Without git-lfs, git's status of a tree with pointers in it is clean.
#[tokio::test]
async fn a_pointer_is_not_the_file_that_was_committed() {
    let world = World::new().await;
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    std::fs::write(world.clone_dir().join(".gitattributes"), "*.bin filter=lfs -text\n").expect("a file");
    // A page about pointers is a page.
    std::fs::write(world.clone_dir().join("page"), pointer).expect("a file");
    std::fs::write(world.clone_dir().join("small.bin"), "whole").expect("a file");
    world.git(&["add", "."]).await;
    world.git(&["commit", "--quiet", "-m", "with git-lfs"]).await;
    let whole = world.hash("HEAD").await;
    world.seat().output(&Checkout, &input(&world, &whole)).await;

    std::fs::create_dir(world.clone_dir().join("below")).expect("a folder");
    std::fs::write(world.clone_dir().join("below/ä.bin"), pointer).expect("a file");
    world.git(&["add", "."]).await;
    world.git(&["commit", "--quiet", "-m", "a large file"]).await;
    let commit = world.hash("HEAD").await;
    let own = json!({ "repository": world.clone_dir(), "commit": commit });
    let seat = world.seat();
    let error = seat.error(&Checkout, &own).await;
    assert!(error.message().contains("below/ä.bin` is a pointer"), "{error}");
    assert!(
        error.hint_text().is_some_and(|hint| hint.contains("install git-lfs")),
        "{error}"
    );
    let verdict = seat.probe(&Checkout, &own).await;
    assert!(matches!(verdict, Probe::Partial { .. }), "{verdict:?}");
}
