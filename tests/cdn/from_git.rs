//! `plans/restore-from-git.yaml`: an application runs the image of a commit again, also where its remote is gone.

use anyhow::{Result, ensure};
use jm_sandbox::journeyman;

use super::recovery::broken;
use crate::environment::{RESUME, drilled, has_words, said};

#[test]
fn the_drill_of_a_bad_head_ends_well() -> Result<()> {
    let text = drilled("plans/restore-from-git.yaml")?;
    for expected in [
        "was given an image that cannot be had",
        "does not build, `v1.0.0` is the last good commit",
        "completed restore-from-git (drill)",
        "by digest, in every pod",
    ] {
        ensure!(text.contains(expected), "no `{expected}` in {text}");
    }
    Ok(())
}

/// What is deployed is what was built last, and no image that this machine or the registry has under the same tag from
/// before.
#[test]
fn an_image_is_built_and_pushed_anew_whatever_its_tag_named_before() -> Result<()> {
    const IMAGE: &str = "ghcr.io/your-org/journeyman-backend";
    let (world, repository) = broken()?;
    let builder = world.folder().join(journeyman::BUILDER).display().to_string();
    let commit = world.run("git", &["-C", &repository, "rev-parse", journeyman::GOOD])?;
    let tag = format!("{IMAGE}:recovery-{}", commit.trim());
    let restore = |build: &str| {
        let inputs = [
            format!("repository=file://{repository}"),
            format!("commit={}", journeyman::GOOD),
            "install=[\"true\"]".to_owned(),
            format!("build=[\"sh\", \"-c\", \"{build}\"]"),
            format!("builder={builder}"),
        ];
        let mut command = world.jm();
        command.args([
            "plan",
            "run",
            "plans/restore-from-git.yaml",
            "--yes",
            "--confirm",
            "production",
        ]);
        command.args(inputs.iter().flat_map(|input| ["-i", input]));
        let output = command.output()?;
        ensure!(output.status.code() == Some(0), "{}", said(&output));
        Ok::<_, anyhow::Error>(world.block_on(journeyman::wanted_image(&world.systems))?)
    };
    let wrong = restore("echo wrong > app.js")?;
    ensure!(wrong.starts_with(&format!("{IMAGE}@sha256:")), "{wrong}");
    let right = restore("sh build.sh")?;
    ensure!(right != wrong, "the image of the run before was deployed");
    world.run(&builder, &["manifest", "inspect", &right])?;

    // A machine that has the image from another repository, and has not pushed it to this one.
    std::fs::remove_dir_all(world.folder().join("images/digests"))?;
    world.run(&builder, &["tag", &tag, "mirror.example.com/journeyman:1"])?;
    world.run(&builder, &["push", "mirror.example.com/journeyman:1"])?;
    ensure!(
        restore("sh build.sh")? == right,
        "another repository's image was deployed"
    );

    // A machine that has nothing, where the registry has the tag.
    std::fs::remove_dir_all(world.folder().join("images"))?;
    let third = restore("echo third > app.js")?;
    ensure!(third != right && third != wrong, "{third}");
    world.run(&builder, &["manifest", "inspect", &third])?;
    Ok(())
}

/// The remote is gone and so is every clone: the backup of the code is built and deployed.
#[test]
fn the_backup_of_the_code_is_built_where_its_remote_is_gone() -> Result<()> {
    let (world, repository) = broken()?;
    let commit = format!("commit={}", journeyman::GOOD);
    let kept = world
        .jm()
        .args([
            "plan",
            "run",
            "plans/backup-code.yaml",
            "--yes",
            "--confirm",
            "production",
        ])
        .args(["-i", &commit, "-i", &format!("repository=file://{repository}")])
        .output()?;
    ensure!(kept.status.code() == Some(0), "{}", said(&kept));
    let clone = world.folder().join("clone").display().to_string();
    world.run("git", &["clone", "--quiet", &repository, &clone])?;
    std::fs::remove_dir_all(&repository)?;
    let builder = world.folder().join(journeyman::BUILDER).display().to_string();
    let restored = |source: &[String], code: i32| -> Result<String> {
        let built = [
            commit.clone(),
            "install=[\"true\"]".to_owned(),
            "build=[\"sh\", \"build.sh\"]".to_owned(),
            format!("builder={builder}"),
        ];
        let mut restore = world.jm();
        restore.args(["plan", "run", "plans/restore-from-git.yaml", "--yes"]);
        restore.args(["--confirm", "production"]);
        restore.args(source.iter().chain(&built).flat_map(|input| ["-i", input]));
        let output = restore.output()?;
        ensure!(output.status.code() == Some(code), "{}", said(&output));
        Ok(said(&output))
    };
    let is_deployed = || {
        let deployed = world.block_on(journeyman::wanted_image(&world.systems))?;
        world.run(&builder, &["manifest", "inspect", &deployed]).map(drop)
    };
    let kept_into = format!("kept_into={}", world.folder().join("kept").display());
    restored(&["kept=latest".to_owned(), kept_into], 0)?;
    is_deployed()?;

    // A clone has the commit, and nobody can ask the remote about it: the way on is told, and is one.
    world.block_on(journeyman::break_application(&world.systems))?;
    let text = restored(&[format!("repository={clone}")], 4)?;
    ensure!(has_words(&text, "jm run skip pushed"), "{text}");
    for words in [
        &["run", "skip", "pushed", "--reason", "the remote is gone"][..],
        &RESUME,
    ] {
        let output = world.jm().args(words).output()?;
        ensure!([Some(0), Some(9)].contains(&output.status.code()), "{}", said(&output));
    }
    is_deployed()
}

/// Who goes on without the remote, as the runbook says, does not go on without the signature.
#[test]
fn a_signature_is_asked_for_also_where_the_remote_is_gone() -> Result<()> {
    let (world, repository) = broken()?;
    let clone = world.folder().join("clone").display().to_string();
    world.run("git", &["clone", "--quiet", &repository, &clone])?;
    std::fs::remove_dir_all(&repository)?;
    let before = world.block_on(journeyman::wanted_image(&world.systems))?;
    let mut restore = world.jm();
    restore.args(["plan", "run", "plans/restore-from-git.yaml", "--yes"]);
    restore.args(["--confirm", "production"]);
    let inputs = [
        format!("repository={clone}"),
        format!("commit={}", journeyman::GOOD),
        "signed=true".to_owned(),
        "install=[\"true\"]".to_owned(),
        "build=[\"sh\", \"build.sh\"]".to_owned(),
    ];
    restore.args(inputs.iter().flat_map(|input| ["-i", input]));
    let output = restore.output()?;
    ensure!(output.status.code() == Some(4), "{}", said(&output));
    let skip = ["run", "skip", "pushed", "--reason", "the remote is gone"];
    let output = world.jm().args(skip).output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    let output = world.jm().args(RESUME).output()?;
    let text = said(&output);
    ensure!(output.status.code() == Some(4), "{text}");
    let unsigned = format!("`{}` has no signature that is good", journeyman::GOOD);
    ensure!(has_words(&text, &unsigned), "{text}");
    ensure!(
        world.block_on(journeyman::wanted_image(&world.systems))? == before,
        "what nobody signed was deployed"
    );
    Ok(())
}
