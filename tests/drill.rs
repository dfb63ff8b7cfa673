//! Drills: the whole rehearsal by one command, its end when somebody stops it at the start, and one against a real
//! Kubernetes control plane that the sandbox starts.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::REPLICAS;
use serde_json::Value;
use tempfile::TempDir;

use crate::environment::{JM, World, file, folder, jm, said};

/// The command lines of processes that were started with this folder in their arguments or environment.
fn at_work(folder: &Path) -> Result<Vec<String>> {
    let folder = folder.display().to_string();
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc")? {
        let process = process?.path();
        let read =
            |name: &str| String::from_utf8_lossy(&std::fs::read(process.join(name)).unwrap_or_default()).into_owned();
        let words = read("cmdline");
        // What has ended and was not waited for yet has no words.
        if !words.is_empty() && (words.contains(&folder) || read("environ").contains(&folder)) {
            found.push(words.replace('\0', " "));
        }
    }
    Ok(found)
}

/// Whether a program runs whose arguments name this folder.
fn runs(program: &str, folder: &Path) -> Result<bool> {
    let name = |words: &String| words.split(' ').next().is_some_and(|name| name.ends_with(program));
    Ok(at_work(folder)?.iter().any(name))
}

/// Nothing of a drill is left in its folder, or runs.
fn is_gone(folder: &Path) -> Result<()> {
    let left: Vec<_> = std::fs::read_dir(folder)?
        .filter_map(Result::ok)
        .map(|entry| entry.file_name())
        .collect();
    let sandboxes: Vec<_> = left
        .iter()
        .filter(|name| name.to_string_lossy().starts_with("jm-sandbox"))
        .collect();
    ensure!(sandboxes.is_empty(), "left behind: {sandboxes:?}");
    // A supervisor needs a moment to see that its owner is gone.
    let began = Instant::now();
    loop {
        let at_work = at_work(folder)?;
        if at_work.is_empty() {
            return Ok(());
        }
        ensure!(began.elapsed() < Duration::from_secs(10), "still at work: {at_work:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A command whose sandboxes are made in a folder.
fn within(folder: &TempDir, mut command: Command) -> Command {
    command.env("TMPDIR", folder.path());
    command
}

fn drill(folder: &TempDir) -> Command {
    let mut command = within(folder, jm(&folder.path().join("state")));
    command.args(["drill", "plans/complete-db-loss.yaml", "--sandbox"]);
    command
}

#[test]
fn the_first_drill_of_the_readme_ends_well() -> Result<()> {
    let folder = folder()?;
    let mut script = Command::new(file("examples/first-drill"));
    script.env_clear().env("JM", JM).env("HOME", folder.path());
    for name in ["PATH", "JM_TEST_RUN"] {
        script.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    let output = within(&folder, script).output()?;
    let text = said(&output);
    ensure!(output.status.code() == Some(0), "{text}");
    for expected in ["completed complete-db-loss (drill)", "RTO 30m", "RPO 24h", "as before"] {
        ensure!(text.contains(expected), "no `{expected}` in {text}");
    }
    ensure!(!text.contains("building") && !text.contains("DIFFERENT"), "{text}");
    is_gone(folder.path())
}

#[test]
fn a_drill_for_programs_is_one_document() -> Result<()> {
    let folder = folder()?;
    let mut command = drill(&folder);
    let words = [
        "--format",
        "json",
        "-v",
        "--confirm",
        "production",
        "--accept-identity",
        "database=another",
    ];
    let output = command.args(words).output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    let run: Value = serde_json::from_slice(&output.stdout).with_context(|| said(&output))?;
    ensure!(run["status"] == "completed" && run["run"]["drill"] == true, "{run:#}");
    ensure!(
        run["rto"]["met"] == true && run["data_loss"]["recovery_point"].is_string(),
        "{run:#}"
    );
    is_gone(folder.path())
}

#[test]
fn a_drill_that_confirms_other_targets_does_not_begin() -> Result<()> {
    let folder = folder()?;
    let output = drill(&folder).args(["--confirm", "staging"]).output()?;
    ensure!(output.status.code() == Some(10), "{}", said(&output));
    ensure!(!said(&output).contains("sandbox:"), "{}", said(&output));
    is_gone(folder.path())
}

/// Ctrl-C for a drill as soon as it has come so far: for all of its process group, as a terminal does it.
fn stopped_when(so_far: impl Fn(&Path, &str) -> bool) -> Result<()> {
    let folder = folder()?;
    let mut child = drill(&folder)
        .args(["--scale", "20"])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let (tell, told) = std::sync::mpsc::channel();
    let stderr = BufReader::new(child.stderr.take().context("standard error")?);
    let reader = std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            drop(tell.send(line));
        }
    });
    let (mut text, began) = (String::new(), Instant::now());
    while !so_far(folder.path(), &text) {
        ensure!(child.try_wait()?.is_none(), "it ended before it was stopped: {text}");
        ensure!(
            began.elapsed() < Duration::from_mins(1),
            "it did not come so far: {text}"
        );
        text.extend(told.recv_timeout(Duration::from_millis(5)));
    }
    let group = format!("-{}", child.id());
    ensure!(
        Command::new("kill").args(["-INT", "--", &group]).status()?.success(),
        "not stopped"
    );
    let status = child.wait()?;
    drop(reader.join());
    text.extend(told.try_iter());
    ensure!(
        status.code() == Some(5) && text.contains("stopped by SIGINT"),
        "{status:?}: {text}"
    );
    is_gone(folder.path())
}

#[test]
fn a_drill_that_is_stopped_while_its_sandbox_starts_leaves_nothing() -> Result<()> {
    stopped_when(|folder, _| {
        let mut entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        entries.any(|entry| entry.path().join("postgres").exists())
    })
}

#[test]
fn a_drill_that_is_stopped_while_its_sandbox_is_filled_leaves_nothing() -> Result<()> {
    stopped_when(|_, text| text.contains("sandbox: PostgreSQL, S3, CloudFront, Kubernetes"))
}

#[test]
fn a_sandbox_with_a_real_control_plane_recovers() -> Result<()> {
    let world = World::sandbox_with(&["--kubernetes", "real"], |_| Ok(()))?;
    let folder = world.folder().join("sandbox");
    for program in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        ensure!(
            runs(program, &folder)?,
            "{program} does not run in {}",
            folder.display()
        );
    }
    ensure!(world.ready_replicas()? == REPLICAS, "the application was not deployed");
    world.back_up()?;
    let data = world.fingerprint()?;
    world.lose_database()?;
    let output = world.recover().output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    ensure!(
        world.fingerprint()? == data && world.ready_replicas()? == REPLICAS,
        "not as before"
    );
    Ok(())
}

/// The command between backticks after these words.
fn command_in<'t>(text: &'t str, words: &str) -> Result<Vec<&'t str>> {
    let found = text.split('`').find(|part| part.starts_with(words));
    Ok(found
        .with_context(|| format!("no `{words}` in {text}"))?
        .split(' ')
        .collect())
}

#[test]
fn a_drill_that_is_killed_is_gone_on_with_and_taken_down_by_what_it_said() -> Result<()> {
    let folder = folder()?;
    let mut child = drill(&folder)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut text = String::new();
    for line in BufReader::new(child.stderr.take().context("standard error")?).lines() {
        let line = line?;
        text.push_str(&line);
        text.push('\n');
        if line.starts_with("started  restore") {
            break;
        }
    }
    ensure!(text.contains("started  restore"), "it did not come so far: {text}");
    let group = format!("-{}", child.id());
    ensure!(
        Command::new("kill").args(["-KILL", "--", &group]).status()?.success(),
        "not killed"
    );
    child.wait()?;

    let jm = |words: &[&str]| -> Result<std::process::Output> {
        let mut command = within(&folder, jm(&folder.path().join("state")));
        let bin = Path::new(JM).parent().context("a folder")?;
        let path = format!("{}:{}", bin.display(), std::env::var("PATH")?);
        Ok(command.env("PATH", path).args(words).output()?)
    };
    let goes_on = command_in(&text, "jm sandbox run --directory")?;
    let ends = command_in(&text, "jm sandbox down --directory")?;
    let place = ends.last().context("a place")?;
    let listed = said(&jm(&["sandbox", "list"])?);
    ensure!(listed.contains(place) && listed.contains("up"), "{listed}");
    for lost in [jm(&["plan", "resume"])?, jm(&["sandbox", "down"])?] {
        ensure!(said(&lost).contains(place), "{}", said(&lost));
    }
    let resumed = jm(&goes_on[1..])?;
    ensure!(
        resumed.status.code() == Some(0) && said(&resumed).contains("completed complete-db-loss (drill)"),
        "{}",
        said(&resumed)
    );
    let down = jm(&ends[1..])?;
    ensure!(down.status.success(), "{}", said(&down));
    ensure!(
        said(&jm(&["sandbox", "list"])?).contains("there are no sandboxes"),
        "one is left"
    );
    is_gone(folder.path())
}

#[test]
fn a_drill_that_fails_says_how_it_goes_on_in_its_sandbox() -> Result<()> {
    let folder = folder()?;
    let mut command = within(&folder, jm(&folder.path().join("state")));
    command.args(["drill", "plans/rollback-deployment.yaml", "--sandbox"]);
    let output = command.output()?;
    ensure!(output.status.code() == Some(4), "{}", said(&output));
    let summary = String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let next = command_in(&summary, "jm sandbox run --directory")?;
    ensure!(summary.contains("-- jm plan resume"), "{summary}");
    let mut down = within(&folder, jm(&folder.path().join("state")));
    ensure!(
        down.args(["sandbox", "down", "--directory", next[4]])
            .status()?
            .success(),
        "not down"
    );
    is_gone(folder.path())
}

#[test]
fn what_a_drill_was_not_given_is_missed_before_anything_starts() -> Result<()> {
    let folder = folder()?;
    let plan = folder.path().join("asks.yaml");
    let text = "apiVersion: jm/v1\nname: asks\ninputs: { what: { type: string } }\nsteps:\n  - id: a\n    uses: command.run\n    with: { argv: [echo, \"${{ inputs.what }}\"], effect: read-only }\n";
    std::fs::write(&plan, text)?;
    let mut command = within(&folder, jm(&folder.path().join("state")));
    let output = command.arg("drill").arg(&plan).arg("--sandbox").output()?;
    let text = said(&output);
    ensure!(output.status.code() == Some(3), "{text}");
    ensure!(text.contains("add `-i what=VALUE`"), "{text}");
    ensure!(
        !text.contains("sandbox") && !text.contains("jm plan validate"),
        "{text}"
    );
    is_gone(folder.path())
}

#[test]
fn a_sandbox_in_a_place_of_its_own_is_listed_until_it_is_gone() -> Result<()> {
    let folder = folder()?;
    let place = folder.path().join("places/box");
    let named = place.display().to_string();
    // Whoever works in a sandbox has the state and the home of that one.
    let jm = |words: &[&str], state: &str| -> Result<String> {
        let mut command = within(&folder, jm(&folder.path().join(state)));
        Ok(said(&command.args(words).output()?))
    };
    let none = |state: &str| -> Result<()> {
        let listed = jm(&["sandbox", "list"], state)?;
        ensure!(listed.contains("there are no sandboxes"), "{listed}");
        Ok(())
    };
    none("one")?;
    let up = jm(&["sandbox", "up", "--directory", &named], "one")?;
    ensure!(up.contains("is up in"), "{up}");
    // Twice is once.
    jm(&["sandbox", "up", "--directory", &named], "one")?;
    let listed = jm(&["sandbox", "list"], "another")?;
    ensure!(
        listed.matches(&named).count() == 1 && listed.contains("up "),
        "{listed}"
    );
    for words in [&["plan", "resume"][..], &["sandbox", "down"]] {
        let lost = jm(words, "another")?;
        ensure!(lost.contains(&named), "{words:?}: {lost}");
    }
    let down = jm(&["sandbox", "down", "--directory", &named], "another")?;
    ensure!(down.contains("is gone"), "{down}");
    none("one")?;
    is_gone(folder.path())?;

    // One that somebody removed by hand is not listed, and its entry is dropped.
    jm(&["sandbox", "up", "--directory", &named], "one")?;
    let link = |entry: &std::fs::DirEntry| entry.path().is_symlink();
    let links = || -> Result<usize> { Ok(std::fs::read_dir(folder.path())?.flatten().filter(link).count()) };
    ensure!(links()? == 1, "it is kept in mind {} times", links()?);
    let aside = folder.path().join("aside");
    std::fs::rename(&place, &aside)?;
    none("one")?;
    ensure!(links()? == 0, "it is kept in mind");
    std::fs::rename(&aside, &place)?;
    let down = jm(&["sandbox", "down", "--directory", &named], "one")?;
    ensure!(down.contains("is gone"), "{down}");
    Ok(())
}
