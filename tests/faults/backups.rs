//! Backups that are not what they should be, and the wrong key for them.

use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, Result, ensure};

use jm_sandbox::journeyman::{BUCKET, DATABASE};

use super::{ACCEPT, Served, ends, recover, without_bucket};
use crate::environment::{World, journal, of_kind, said};

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
fn a_wrong_key_at_a_resume_is_called_that() -> Result<()> {
    let world = World::sandbox()?;
    world.back_up()?;
    let data = world.fingerprint()?;
    world.lose_database()?;
    ends(world.recover().args(["--until", "restore"]), 5, &[])?;
    let words = ["the key does not open", "set `ENCRYPTION_KEY` to the key"];
    let another = ("ENCRYPTION_KEY", "another-key-of-thirty-two-chars!");
    let said = ends(world.resume().env(another.0, another.1), 4, &words)?;
    let text = crate::environment::said(&said);
    ensure!(!text.contains("its checksum is another"), "{text}");
    ends(&mut world.resume(), 0, &[])?;
    ensure!(world.fingerprint()? == data, "other data");
    Ok(())
}

#[test]
fn rows_that_are_older_than_they_may_be_are_found_out_before_the_switch() -> Result<()> {
    let world = World::sandbox()?;
    world.back_up()?;
    let data = world.fingerprint()?;
    world.lose_database()?;
    let within = |within: &str| format!(r#"freshness=[{{"table":"games","column":"created_at","within":"{within}"}}]"#);
    // The newest games of the sandbox are hours old.
    let stale = ["stale `public.games.created_at`", "at most 1m before"];
    ends(world.recover().args(["-i", &within("1m")]), 4, &stale)?;
    ends(world.recover().args(["-i", &within("3650d")]), 0, &[])?;
    ensure!(world.fingerprint()? == data, "other data");
    Ok(())
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
    let ended = ends(
        &mut recover(&world),
        4,
        &["cannot be used", "use another copy or another backup"],
    )?;
    // The unfinished copy was dropped.
    ensure!(!said(&ended).contains("drop_database"), "{}", said(&ended));
    let began = began(&world)?;
    ensure!(
        began.iter().any(|step| step == "restore") && !began.iter().any(|step| step == "verify"),
        "{began:?}"
    );
    // Put back by the plan: the application runs again.
    served.still(&world)
}

/// Two backups, of which the newer one is flipped in the directory and in the bucket: its name, and the older one's.
fn damaged_in_both_places(world: &World) -> Result<(String, String)> {
    world.back_up()?;
    let older = file(world)?;
    world.query(DATABASE, "UPDATE users SET display_name = 'changed since' WHERE id = 1")?;
    world.back_up()?;
    let newest = file(world)?;
    ensure!(newest != older, "there is one backup only");
    flip(&newest)?;
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let (older, name) = (name(&older).context("a name")?, name(&newest).context("a name")?);
    let listed = world.aws(&["s3", "ls", "--recursive", &format!("s3://{BUCKET}")])?;
    let keys = listed.lines().filter_map(|line| line.split_whitespace().last());
    let key = keys
        .into_iter()
        .find(|key| key.ends_with(&name))
        .context("a copy in the bucket")?;
    let object = format!("s3://{BUCKET}/{key}");
    world.aws(&["s3", "cp", "--quiet", &newest.display().to_string(), &object])?;
    Ok((name, older))
}

#[test]
fn a_newest_backup_that_is_damaged_everywhere_names_the_one_before_it() -> Result<()> {
    let world = World::sandbox()?;
    let (newest, older) = damaged_in_both_places(&world)?;
    let served = Served::by(&world)?;
    let line = format!("begin the plan anew with `-i backup={older}`");
    let output = ends(
        &mut recover(&world),
        4,
        &["cannot be used", &newest, &line, "data as of"],
    )?;
    ensure!(
        !said(&output).contains(&format!("backup={newest}")),
        "sent to the damaged one: {}",
        said(&output)
    );
    served.still(&world)?;
    // The line that it names brings the data back.
    world.lose_database()?;
    let mut command = world.recover();
    command.args(["-i", &format!("backup={older}")]);
    ends(&mut command, 0, &[])?;
    ensure!(first_user(&world)? != ["changed since"], "from the damaged backup");
    Ok(())
}

#[test]
fn a_newest_backup_that_has_to_be_whole_is_passed_over_before_anything_is_stopped() -> Result<()> {
    let world = World::sandbox()?;
    let (newest, older) = damaged_in_both_places(&world)?;
    let whole = ["-i", "prove=whole"];
    // The dry run says what it will cost, and does not pay it.
    let words = [newest.as_str(), "bytes in local to the end before it goes on"];
    let mut command = recover(&world);
    command.args(whole).arg("--dry-run");
    ends(&mut command, 0, &words)?;

    world.lose_database()?;
    let mut command = world.recover();
    command.args(whole);
    let passed_over = format!("`{newest}` is newer and cannot be used");
    let words = ["the copy of", "in local is not used", "in s3 is not used", &passed_over];
    ends(&mut command, 9, &words)?;
    ensure!(first_user(&world)? != ["changed since"], "from the damaged backup");
    let records = journal(&world.state())?;
    let of = |step: &str| {
        let ended = of_kind(&records, "step-succeeded").into_iter();
        ended.filter(|record| record["step"] == step).collect::<Vec<_>>()
    };
    let (find, restore) = (of("find"), of("restore"));
    ensure!(find.len() == 1 && restore.len() == 1, "{records:?}");
    let chosen = &find[0]["output"]["inline"];
    ensure!(
        chosen["backup"]["name"] == older && chosen["skipped"][0]["name"] == newest,
        "{chosen}"
    );
    // The moment of the data is that of the backup that is taken, and no restore was begun with the other one.
    ensure!(chosen["recovery_point"] == chosen["backup"]["created_at"], "{chosen}");
    let begun = of_kind(&records, "step-started").into_iter();
    let begun = begun.filter(|record| record["step"] == "restore").count();
    ensure!(begun == 1, "restore was begun {begun} times");
    Ok(())
}

#[test]
fn a_copy_that_has_to_be_whole_gives_way_to_the_one_in_the_other_location() -> Result<()> {
    let world = World::sandbox()?;
    world.back_up()?;
    let data = world.fingerprint()?;
    flip(&file(&world)?)?;
    world.lose_database()?;
    let mut command = world.recover();
    command.args(["-i", "prove=whole"]);
    ends(&mut command, 9, &["in local is not used"])?;
    ensure!(world.fingerprint()? == data, "other data");
    let records = journal(&world.state())?;
    let found = of_kind(&records, "step-succeeded").into_iter();
    let found: Vec<_> = found.filter(|record| record["step"] == "find").collect();
    let chosen = &found[0]["output"]["inline"]["backup"];
    ensure!(chosen["locations"] == serde_json::json!(["s3"]), "{chosen}");
    Ok(())
}

fn first_user(world: &World) -> Result<Vec<String>> {
    world.query(DATABASE, "SELECT display_name FROM users WHERE id = 1")
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
    ensure!(
        String::from_utf8_lossy(&output.stdout).contains("a resume goes on with it"),
        "{text}"
    );
    // Nobody mends it: the run is given up, and what it leaves is said with the command that removes it.
    ends(world.jm().args(["run", "abort", "--reason", "enough"]), 0, &[])?;
    let ended = ends(world.resume().args(ACCEPT), 4, &["ABORTED"])?;
    is_told_and_removed(&world, &ended, "restored copy", &copies[1])?;
    served.still(&world)
}

/// What a run leaves behind is named at its end, by `jm run show` and in its report, and what is said of its removal is so.
fn is_told_and_removed(world: &World, ended: &Output, what: &str, name: &str) -> Result<()> {
    let flat = |output: &Output| -> String {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let report = world.jm().args(["run", "report"]).output()?;
    let command = format!("jm step run postgres.drop_database -w database={name} --confirm production");
    for told in [
        flat(ended),
        flat(&world.jm().args(["run", "show"]).output()?),
        flat(&report),
    ] {
        for word in [&format!("{what} `{name}`"), &command] {
            ensure!(told.contains(word), "`{word}` is not said: {told}");
        }
    }
    let shown = world.jm().args(["run", "show", "--format", "json"]).output()?;
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout)?;
    ensure!(
        shown["left"].as_array().is_some_and(|left| left.len() == 1) && shown["left"][0]["name"] == *name,
        "{}",
        shown["left"]
    );
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    ends(world.jm().args(&words).arg("--yes"), 0, &[])?;
    let databases = world.databases()?;
    ensure!(!databases.iter().any(|one| one == name), "{databases:?}");
    // Whoever asks about the old run is not told that it is there.
    let run = shown["run"]["id"].as_str().context("a run")?;
    for words in [["run", "show"], ["run", "report"]] {
        let told = flat(&world.jm().args(words).arg(run).output()?);
        let past = ["when the run ended", "where it still is there:"];
        ensure!(past.iter().all(|words| told.contains(words)), "{told}");
    }
    Ok(())
}

#[test]
fn the_database_that_a_switch_keeps_aside_is_named_and_can_be_removed() -> Result<()> {
    let world = without_bucket()?;
    world.back_up()?;
    let ended = ends(&mut recover(&world), 0, &[])?;
    let databases = world.databases()?;
    let old = databases.iter().find(|name| name.contains("_old_"));
    let old = old.with_context(|| format!("nothing was kept aside: {databases:?}"))?;
    let size = String::from_utf8_lossy(&ended.stdout).contains("MiB, by `switch`");
    ensure!(size, "{}", said(&ended));
    is_told_and_removed(&world, &ended, "old database", old)
}

#[test]
fn a_location_that_is_not_enabled_is_not_one_without_copies() -> Result<()> {
    let world = without_bucket()?;
    world.back_up()?;
    let served = Served::by(&world)?;
    let from = ["-i", "from=s3"];
    let words = ["the target's `s3` is not enabled", "`AWS_ENABLED=true`"];
    let dry_run = ends(
        recover(&world).args(from).arg("--dry-run"),
        4,
        &["WOULD FAIL", words[0], words[1]],
    )?;
    let run = ends(recover(&world).args(from), 4, &words)?;
    for output in [dry_run, run] {
        ensure!(!said(&output).contains("no copy in s3"), "{}", said(&output));
    }
    let began = began(&world)?;
    ensure!(!began.iter().any(|step| step == "quiesce"), "{began:?}");
    served.still(&world)
}

#[test]
fn a_directory_that_is_not_named_is_not_one_without_copies() -> Result<()> {
    let mut world = World::sandbox()?;
    world.systems.environment.insert("BACKUP_DIR".to_owned(), String::new());
    world.back_up()?;
    let words = ["the target has no `directory`", "`BACKUP_DIR`"];
    ends(recover(&world).args(["-i", "from=local"]), 4, &words)?;
    ends(recover(&world).args(["-i", "from=s3"]), 0, &[])?;
    Ok(())
}
