//! Backups that are not what they should be, and the wrong key for them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::{Served, ends, recover, without_bucket};
use crate::environment::{World, journal, of_kind};

/// The newest backup's file.
fn file(world: &World) -> Result<PathBuf> {
    let folder = world.systems.variable("BACKUP_DIR");
    let mut files: Vec<PathBuf> = std::fs::read_dir(Path::new(folder))?
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "gpg"))
        .collect();
    files.sort();
    files.pop().context("a backup")
}

/// One bit of the middle is another.
fn flip(file: &Path) -> Result<()> {
    let mut bytes = std::fs::read(file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    Ok(std::fs::write(file, bytes)?)
}

/// The steps that began in the newest run.
fn began(world: &World) -> Result<Vec<String>> {
    let records = journal(&world.state())?;
    let started = of_kind(&records, "step-started").into_iter();
    Ok(started
        .filter_map(|record| record["step"].as_str().map(str::to_owned))
        .collect())
}

#[test]
fn a_wrong_key_is_said_before_anything_is_touched() -> Result<()> {
    let mut world = World::sandbox()?;
    world.back_up()?;
    let served = Served::by(&world)?;
    world.systems.environment.insert(
        "ENCRYPTION_KEY".to_owned(),
        "another-key-of-thirty-two-chars!".to_owned(),
    );
    let words = ["the key does not open", "set `ENCRYPTION_KEY` to the key"];
    ends(recover(&world).arg("--dry-run"), 4, &["WOULD FAIL", words[0], words[1]])?;
    ends(&mut recover(&world), 4, &words)?;
    let began = began(&world)?;
    ensure!(
        !began.iter().any(|step| step == "quiesce"),
        "the application was stopped for it: {began:?}"
    );
    served.still(&world)
}

#[test]
fn a_backup_that_is_not_there_is_said_before_anything_is_touched() -> Result<()> {
    let world = World::sandbox()?;
    let served = Served::by(&world)?;
    let words = ["there is no good backup", "no other backup is there"];
    ends(recover(&world).arg("--dry-run"), 4, &["WOULD FAIL", words[0], words[1]])?;
    ends(&mut recover(&world), 4, &words)?;
    world.back_up()?;
    let words = ["there is no good backup for `20200101`", "near it are"];
    let asked = ["-i", "backup=20200101"];
    ends(
        recover(&world).arg("--dry-run").args(asked),
        4,
        &["WOULD FAIL", words[0], words[1]],
    )?;
    ends(recover(&world).args(asked), 4, &words)?;
    served.still(&world)
}

#[test]
fn a_file_that_was_cut_is_not_restored() -> Result<()> {
    let world = without_bucket()?;
    world.back_up()?;
    let served = Served::by(&world)?;
    let file = file(&world)?;
    let whole = std::fs::metadata(&file)?.len();
    std::fs::OpenOptions::new()
        .write(true)
        .open(&file)?
        .set_len(whole / 2)?;
    let words = ["cannot be used: it has", "no other backup is there"];
    ends(recover(&world).arg("--dry-run"), 4, &["WOULD FAIL", words[0], words[1]])?;
    ends(&mut recover(&world), 4, &words)?;
    ensure!(
        !began(&world)?.iter().any(|step| step == "quiesce"),
        "the application was stopped"
    );
    served.still(&world)
}

#[test]
fn a_flipped_bit_is_found_while_it_is_restored_and_the_old_database_serves_on() -> Result<()> {
    let world = without_bucket()?;
    world.back_up()?;
    let served = Served::by(&world)?;
    flip(&file(&world)?)?;
    ends(
        &mut recover(&world),
        4,
        &["cannot be used", "use another copy or another backup"],
    )?;
    let began = began(&world)?;
    ensure!(
        began.iter().any(|step| step == "restore") && !began.iter().any(|step| step == "verify"),
        "{began:?}"
    );
    // Put back by the plan: the application runs again.
    served.still(&world)
}

#[test]
fn a_damaged_copy_is_given_up_for_the_one_in_the_other_location() -> Result<()> {
    let world = World::sandbox()?;
    world.back_up()?;
    let data = world.fingerprint()?;
    flip(&file(&world)?)?;
    world.lose_database()?;
    ends(&mut recover(&world), 9, &["the copy in local"])?;
    ensure!(world.fingerprint()? == data, "other data");
    Ok(())
}

#[test]
fn a_backup_that_lacks_a_table_is_not_switched_to() -> Result<()> {
    let world = without_bucket()?;
    world.query("journeyman_prod", "DROP TABLE game_data CASCADE")?;
    world.back_up()?;
    world.query(
        "journeyman_prod",
        "CREATE TABLE game_data (id bigint PRIMARY KEY, note text)",
    )?;
    world.query("journeyman_prod", "INSERT INTO game_data VALUES (1, 'made anew')")?;
    let served = Served::by(&world)?;
    let output = recover(&world).output()?;
    let text = crate::environment::said(&output);
    ensure!(output.status.code() == Some(4) && text.contains("game_data"), "{text}");
    let began = began(&world)?;
    ensure!(
        began.iter().any(|step| step == "verify") && !began.iter().any(|step| step == "switch"),
        "{began:?}"
    );
    // The restored copy is kept beside it: its cause may be mended, and the run resumed.
    let copies = world.databases()?;
    ensure!(copies.len() == 2 && copies[1].contains("_jmr_"), "{copies:?}");
    world.query("postgres", &format!("DROP DATABASE \"{}\"", copies[1]))?;
    served.still(&world)
}
