//! `plans/cdn-recovery.yaml` of a folder, without a commit: what is published is what this run made, in the folder where it
//! was started.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use jm_sandbox::journeyman;

use super::recovery::{broken, recover, stored, viewed};
use crate::environment::{World, has_words, journal, of_kind, said};

const ASKED: &str = "public, max-age=0, must-revalidate";
const KEPT: &str = "public, max-age=31536000, immutable";
const INPUTS: [&str; 2] = [r#"install=["true"]"#, r#"build=["sh", "build.sh"]"#];
/// No build of a test's takes so long.
const PATIENCE: Duration = Duration::from_mins(1);

/// A folder with a script that builds its site.
fn site(world: &World, name: &str, build: &str) -> Result<PathBuf> {
    let folder = world.folder().join(name);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("build.sh"), build)?;
    Ok(folder)
}

fn recover_in(world: &World, folder: &Path) -> Command {
    let mut command = recover(world, &INPUTS);
    command.current_dir(folder);
    command
}

/// Whether the bucket keeps versions of what is overwritten.
fn versioning(world: &World, status: &str) -> Result<()> {
    let words = ["s3api", "put-bucket-versioning", "--bucket", journeyman::ASSETS];
    let status = format!("Status={status}");
    world
        .aws(&[&words[..], &["--versioning-configuration", &status]].concat())
        .map(drop)
}

/// What lies in a folder of what builds made.
fn built(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().is_dir() {
            let page = std::fs::read_to_string(entry.path().join("index.html"))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let (name, _) = name.split_once('-').unwrap_or((&name, ""));
            found.push(format!("{name}: {page}"));
        }
    }
    found.sort();
    Ok(found)
}

/// A build that ends well and makes nothing does not bring an earlier one's site up; names without a hash are asked for
/// each time, wherever they lie; and that the bucket keeps no versions of what it had is said.
#[test]
fn what_an_earlier_build_left_is_not_published() -> Result<()> {
    let (world, _) = broken()?;
    let folder = site(&world, "here", "true\n")?;
    std::fs::create_dir(folder.join("dist"))?;
    std::fs::write(folder.join("dist/index.html"), "earlier")?;
    versioning(&world, "Suspended")?;
    let before = stored(&world)?;
    let output = recover_in(&world, &folder).output()?;
    let text = said(&output);
    ensure!(output.status.code() == Some(4), "{text}");
    ensure!(has_words(&text, "the build made no index.html in dist"), "{text}");
    ensure!(has_words(&text, "what lay there before is in dist.before-"), "{text}");
    ensure!(stored(&world)? == before, "something was published");
    ensure!(built(&folder)? == ["dist: earlier"], "{:?}", built(&folder)?);

    let build = "mkdir -p dist/static dist/assets && cd dist
for file in index.html static/app.3f2a9c1b.js static/sw.js static/help.html assets/config.json main.js
do printf new >$file
done
";
    std::fs::write(folder.join("build.sh"), build)?;
    let output = world.resume().output()?;
    let text = said(&output);
    // Neither git nor the bucket has what was there before.
    ensure!(output.status.code() == Some(9), "{text}");
    ensure!(
        has_words(&text, "the bucket keeps no versions of what is overwritten"),
        "{text}"
    );
    ensure!(viewed(&world, "")?.body == "new", "{:?}", viewed(&world, "")?);
    ensure!(built(&folder)? == ["dist: new"], "{:?}", built(&folder)?);
    for (key, cache) in stored(&world)?.iter().filter(|(key, _)| !key.starts_with(".jm")) {
        let expected = if key == "static/app.3f2a9c1b.js" { KEPT } else { ASKED };
        ensure!(cache == expected, "{key}: {cache}");
    }

    versioning(&world, "Enabled")?;
    let output = recover_in(&world, &folder).output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    Ok(())
}

/// Who has the site built already builds nothing, and loses nothing.
#[test]
fn what_is_built_already_is_published_as_it_lies_there() -> Result<()> {
    let (world, _) = broken()?;
    let folder = site(&world, "here", "exit 1\n")?;
    let publish = || recover(&world, &["build=[]"]).current_dir(&folder).output();
    std::fs::create_dir(folder.join("dist"))?;
    let output = publish()?;
    let text = said(&output);
    ensure!(output.status.code() == Some(4), "{text}");
    ensure!(has_words(&text, "there is no index.html in dist"), "{text}");

    std::fs::write(folder.join("dist/index.html"), "built by hand")?;
    let output = publish()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    ensure!(viewed(&world, "")?.body == "built by hand", "{:?}", viewed(&world, "")?);
    ensure!(built(&folder)? == ["dist: built by hand"], "{:?}", built(&folder)?);
    Ok(())
}

/// Who names no pages, or no hashed files, means none, and not all.
#[test]
fn no_pages_and_no_hashed_files_are_none() -> Result<()> {
    const SCRIPT: &str = "static/app.3f2a9c1b.js";
    let (world, _) = broken()?;
    let build = "mkdir -p dist/static && cd dist
for file in index.html static/app.3f2a9c1b.js main.js; do printf \"$PWD\" >$file; done
";
    // (what is none, what becomes of the script, the steps that have nothing to do)
    for (none, kept, without) in [
        (&["pages=[]"][..], KEPT, &["pages"][..]),
        (&["hashed=[]"], ASKED, &["assets"]),
        (&["pages=[]", "hashed=[]"], ASKED, &["assets", "pages"]),
    ] {
        let folder = site(&world, &none.join(" and "), build)?;
        let inputs = [&INPUTS[..], none].concat();
        let output = recover(&world, &inputs).current_dir(&folder).output()?;
        ensure!(output.status.code() == Some(0), "{none:?}: {}", said(&output));
        for (key, cache) in stored(&world)? {
            let expected = if key == SCRIPT { kept } else { ASKED };
            let is_of_it = [SCRIPT, "index.html", "main.js"].contains(&key.as_str());
            ensure!(!is_of_it || cache == expected, "{none:?}: {key}: {cache}");
        }
        let body = viewed(&world, "main.js")?.body;
        ensure!(body == folder.join("dist").display().to_string(), "{none:?}: {body}");
        let records = journal(&world.state())?;
        let skipped = of_kind(&records, "step-skipped").into_iter();
        let mut skipped: Vec<&str> = skipped.filter_map(|record| record["step"].as_str()).collect();
        skipped.retain(|step| ["assets", "others", "pages"].contains(step));
        ensure!(skipped == without, "{none:?}: {skipped:?}");
    }
    Ok(())
}

/// A folder has no signature that could be looked at.
#[test]
fn a_signature_is_not_asked_of_a_folder() -> Result<()> {
    let (world, _) = broken()?;
    let folder = site(&world, "here", "mkdir -p dist; printf new >dist/index.html")?;
    let before = stored(&world)?;
    let inputs = [&INPUTS[..], &["signed=true"]].concat();
    let output = recover(&world, &inputs).current_dir(&folder).output()?;
    let text = said(&output);
    ensure!(output.status.code() == Some(4), "{text}");
    ensure!(has_words(&text, "what is built is no commit"), "{text}");
    ensure!(stored(&world)? == before, "something was published");
    Ok(())
}

#[test]
fn a_folder_is_the_one_where_the_run_was_started_wherever_it_is_resumed() -> Result<()> {
    let (world, _) = broken()?;
    let wait = "touch begun; while [ ! -e go ]; do sleep 0.05; done; mkdir -p dist; ";
    let here = site(&world, "here", &format!("{wait} printf here >dist/index.html"))?;
    let elsewhere = site(&world, "elsewhere", "mkdir -p dist; printf elsewhere >dist/index.html")?;
    let mut run = recover_in(&world, &here)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let since = Instant::now();
    while !here.join("begun").exists() {
        ensure!(run.try_wait()?.is_none(), "it ended before it built");
        ensure!(since.elapsed() < PATIENCE, "nothing is built");
        std::thread::sleep(Duration::from_millis(20));
    }
    run.kill()?;
    run.wait()?;
    std::fs::write(here.join("go"), "")?;
    let output = world.resume().current_dir(&elsewhere).output()?;
    ensure!(output.status.code() == Some(0), "{}", said(&output));
    ensure!(viewed(&world, "")?.body == "here", "{:?}", viewed(&world, "")?);
    ensure!(!elsewhere.join("dist").exists(), "another site was built");
    Ok(())
}
