//! Which database a rebuild brings back, and which one it leaves alone.

use anyhow::{Context, Result, ensure};

use super::{Ground, REBUILD, STAND_IN, run, world, world_on};
use crate::cluster_loss::{identity, kubectl};
use crate::environment::{RESUME, World, has_words, journal, of_kind, said};

/// An image of the server that brings tables along, or a script of its first start: they are not the data.
#[test]
fn a_fresh_server_into_which_a_script_has_put_tables_gets_the_data_all_the_same() -> Result<()> {
    let (world, before) = world()?;
    world.lose_cluster()?;
    let output = world.jm().args(REBUILD).args(["--until", "look"]).output()?;
    ensure!(output.status.code() == Some(5), "{}", said(&output));
    seed(&world)?;
    run(&world, &RESUME)?;
    before.check(&world)
}

/// As the script of an image does it on the first start.
fn seed(world: &World) -> Result<()> {
    let url = world.systems.variable("DATABASE_URL").to_owned();
    let (server, database) = url.rsplit_once('/').context("a database")?;
    let server = format!("{server}/postgres");
    // Its pod has only just come up.
    for _ in 0..100 {
        if world.run("psql", &[&server, "--quiet", "--command", "SELECT"]).is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let create = format!("CREATE DATABASE {database}");
    world.run("psql", &[&server, "--quiet", "--command", &create])?;
    let script = "CREATE TABLE users (id int, seeded text); INSERT INTO users VALUES (1, 'by a script')";
    world.run("psql", &[&url, "--quiet", "--command", script]).map(drop)
}

/// In a cluster that a person has named, all that tells a new server from one that served before is that this run made it:
/// also where the attempt that made it came to no good end.
#[test]
fn a_server_that_was_made_before_its_step_failed_gets_the_data_all_the_same() -> Result<()> {
    let (world, before) = world()?;
    world.lose_cluster()?;
    let named = format!("cluster={}", identity(&world)?);
    let words = ["-i", "ready_seconds=5", "--accept-identity", &named];
    let output = world
        .jm()
        .args(REBUILD)
        .args(words)
        .args(["--until", "database-server"])
        .output()?;
    ensure!(output.status.code() == Some(5), "{}", said(&output));
    let nodes = kubectl(&world, &["get", "nodes", "-o", "name"])?;
    let nodes: Vec<&str> = nodes.split_whitespace().collect();
    kubectl(&world, &[&["cordon"], &nodes[..]].concat())?;
    let output = world.resume().output()?;
    ensure!(output.status.code() == Some(4), "{}", said(&output));
    ensure!(
        has_words(&said(&output), "failed `database-server`"),
        "{}",
        said(&output)
    );

    kubectl(&world, &[&["uncordon"], &nodes[..]].concat())?;
    seed(&world)?;
    run(&world, &RESUME)?;
    before.check(&world)
}

#[test]
fn what_is_to_run_the_database_and_is_not_in_the_export_is_told_before_anything_is_brought_up() -> Result<()> {
    let (world, _) = world()?;
    world.lose_cluster()?;
    let output = world
        .jm()
        .args(REBUILD)
        .args(["-i", r#"database_objects=["statefulset/other"]"#])
        .output()?;
    let text = said(&output);
    ensure!(output.status.code() == Some(4), "{text}");
    for words in ["the export does not hold statefulset/other", "StatefulSet/postgres"] {
        ensure!(has_words(&text, words), "no `{words}`: {text}");
    }
    let begun = journal(&world.state())?;
    let begun = of_kind(&begun, "step-started");
    ensure!(begun.iter().all(|record| record["step"] != "guard"), "{text}");
    Ok(())
}

/// The whole application is no server of the database, which serves elsewhere.
#[test]
fn a_database_that_lives_elsewhere_is_left_alone() -> Result<()> {
    let (world, before) = world_on(&Ground { up: &[], ..STAND_IN })?;
    // Said, or seen by its answer.
    for words in [&["-i", "database_objects=[]"][..], &[]] {
        world.lose_cluster()?;
        run(&world, &[&REBUILD[..], words].concat())?;
        let records = journal(&world.state())?;
        let begun = of_kind(&records, "step-started");
        let was_begun = |step: &str| begun.iter().any(|record| record["step"] == step);
        ensure!(
            was_begun("database-server") == words.is_empty() && !was_begun("restore"),
            "{words:?}"
        );
        ensure!(world.objects()? == before.objects, "other objects");
        ensure!(world.fingerprint()? == before.data, "other data");
    }
    Ok(())
}

/// What was written into a cluster that is rebuilt already is newer than any backup.
#[test]
fn a_second_rebuild_leaves_the_database_that_the_first_one_brought_back() -> Result<()> {
    let (world, before) = world()?;
    world.lose_cluster()?;
    run(&world, &REBUILD)?;
    let url = world.systems.variable("DATABASE_URL");
    let write = "CREATE TABLE since (id int); INSERT INTO since VALUES (1)";
    world.run("psql", &[url, "--quiet", "--command", write])?;
    let named = format!("cluster={}", identity(&world)?);
    run(&world, &[&REBUILD[..], &["--accept-identity", &named]].concat())?;
    let records = journal(&world.state())?;
    let begun = of_kind(&records, "step-started");
    ensure!(
        begun.iter().all(|record| record["step"] != "restore"),
        "an older backup was restored beside it"
    );
    world.run("psql", &[url, "--quiet", "--command", "DROP TABLE since"])?;
    ensure!(world.fingerprint()? == before.data, "other data");
    Ok(())
}
