//! Files that go to the bucket and come back.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use jm_testkit::noise;
use serde_json::json;

use crate::Amounts;
use crate::beside::{at_most, median, ratio};
use crate::server::{Server, peer};

/// How many times as long as the quickest peer jm may take.
const BESIDE_PEERS: f64 = 1.0;
/// The name of the large file.
const LARGE: &str = "file";
/// So many files lie in a folder.
const IN_A_FOLDER: usize = 500;

/// Small files to an empty bucket, and once more when there is nothing to do.
pub(crate) async fn small(server: &Server, amounts: Amounts) -> Result<bool> {
    let site = server.folder().join("site");
    let bytes = write_small(&site, amounts.files)?;
    println!(
        "{} files of 1 to 5 KB ({} MiB) to the bucket, medians of {}:",
        amounts.files,
        bytes >> 20,
        amounts.rounds
    );
    let (s5cmd, rclone) = (peer("JM_TEST_S5CMD", "s5cmd"), peer("JM_TEST_RCLONE", "rclone"));
    let mut took: [Vec<Duration>; 5] = Default::default();
    for round in 0..amounts.rounds {
        let bucket = format!("jm-{round}");
        server.bucket(&bucket, false).await?;
        let input = json!({ "directory": site });
        for (index, field) in [(0, "created"), (1, "unchanged")] {
            let (ran, output) = server.jm("s3.sync", &bucket, &input)?;
            ensure!(output[field] == amounts.files, "{output:#}");
            took[index].push(ran.took);
        }
        if let Some(s5cmd) = &s5cmd {
            let bucket = format!("s5cmd-{round}");
            server.bucket(&bucket, false).await?;
            for index in [2, 3] {
                let mut command = s5cmd_at(server, s5cmd);
                command
                    .arg("sync")
                    .arg(format!("{}/", site.display()))
                    .arg(format!("s3://{bucket}/"));
                took[index].push(server.run(&mut command)?.took);
            }
        }
        if let Some(rclone) = &rclone {
            let bucket = format!("rclone-{round}");
            server.bucket(&bucket, false).await?;
            let mut command = rclone_at(server, rclone);
            command
                .args(["--transfers", "32", "sync"])
                .arg(&site)
                .arg(format!(":s3:{bucket}"));
            took[4].push(server.run(&mut command)?.took);
        }
    }
    let [first, again, s5cmd_first, s5cmd_again, rclone_first] = took.map(median);
    println!(
        "  jm {first:.2?}, s5cmd {s5cmd_first:.2?}, rclone {rclone_first:.2?}; nothing to do: jm {again:.2?}, s5cmd {s5cmd_again:.2?}"
    );
    if s5cmd.is_none() || rclone.is_none() {
        return Ok(false);
    }
    let quickest = s5cmd_first.min(rclone_first);
    let met = at_most("jm beside the quicker of both", ratio(first, quickest), BESIDE_PEERS);
    Ok(at_most(
        "jm beside s5cmd, with nothing to do",
        ratio(again, s5cmd_again),
        BESIDE_PEERS,
    ) && met)
}

/// How the large file goes there and back.
#[derive(Clone, Copy)]
enum Way {
    ByItself,
    /// By a sync of the folder that it lies in.
    InAFolder,
}

impl Way {
    fn words(self) -> &'static str {
        match self {
            Self::ByItself => "by itself",
            Self::InAFolder => "in a folder",
        }
    }
}

/// One large file there and back.
pub(crate) async fn large(server: &Server, amounts: Amounts) -> Result<bool> {
    let folder = server.folder().join("large");
    std::fs::create_dir(&folder)?;
    write_large(&folder.join(LARGE), amounts.large)?;
    println!(
        "{} MiB to the bucket and back, medians of {}:",
        amounts.large >> 20,
        amounts.rounds
    );
    server.bucket("large", false).await?;
    let s5cmd = peer("JM_TEST_S5CMD", "s5cmd");
    let mut met = true;
    for way in [Way::ByItself, Way::InAFolder] {
        let mut took: [Vec<Duration>; 4] = Default::default();
        for _ in 0..amounts.rounds {
            let [up, down] = jm_both_ways(server, way, &folder).await?;
            took[0].push(up);
            took[1].push(down);
            if let Some(s5cmd) = &s5cmd {
                let [up, down] = s5cmd_both_ways(server, s5cmd, way, &folder).await?;
                took[2].push(up);
                took[3].push(down);
            }
        }
        let [up, down, s5cmd_up, s5cmd_down] = took.map(median);
        let how = way.words();
        println!("  {how}: there: jm {up:.2?}, s5cmd {s5cmd_up:.2?}; back: jm {down:.2?}, s5cmd {s5cmd_down:.2?}");
        if s5cmd.is_none() {
            return Ok(false);
        }
        for (direction, ours, theirs) in [("to", up, s5cmd_up), ("from", down, s5cmd_down)] {
            let what = format!("jm beside s5cmd, {how}, {direction} the bucket");
            met &= at_most(&what, ratio(ours, theirs), BESIDE_PEERS);
        }
    }
    Ok(met)
}

async fn jm_both_ways(server: &Server, way: Way, folder: &Path) -> Result<[Duration; 2]> {
    let back = server.folder().join("back");
    std::fs::create_dir(&back)?;
    let key = format!("in/{LARGE}");
    let (up, down) = match way {
        Way::ByItself => (
            ("s3.put", json!({ "file": folder.join(LARGE), "key": key })),
            ("s3.get", json!({ "key": key, "file": back.join(LARGE) })),
        ),
        Way::InAFolder => (
            ("s3.sync", json!({ "directory": folder, "prefix": "in/" })),
            (
                "s3.sync",
                json!({ "directory": back, "prefix": "in/", "to": "directory" }),
            ),
        ),
    };
    let took = [up, down].map(|(step, input)| Ok(server.jm(step, "large", &input)?.0.took));
    let took = both(took)?;
    came_back(server, folder, &back).await?;
    Ok(took)
}

async fn s5cmd_both_ways(server: &Server, s5cmd: &Path, way: Way, folder: &Path) -> Result<[Duration; 2]> {
    let back = server.folder().join("back");
    std::fs::create_dir(&back)?;
    let here = |folder: &Path| format!("{}/", folder.display());
    let (up, down) = match way {
        Way::ByItself => {
            let object = format!("s3://large/in/{LARGE}");
            let file = |folder: &Path| folder.join(LARGE).display().to_string();
            (
                ["cp".to_owned(), file(folder), object.clone()],
                ["cp".to_owned(), object, file(&back)],
            )
        }
        Way::InAFolder => (
            ["sync".to_owned(), here(folder), "s3://large/in/".to_owned()],
            ["sync".to_owned(), "s3://large/in/*".to_owned(), here(&back)],
        ),
    };
    let took = [up, down].map(|words| Ok(server.run(s5cmd_at(server, s5cmd).args(words))?.took));
    let took = both(took)?;
    came_back(server, folder, &back).await?;
    Ok(took)
}

fn both([up, down]: [Result<Duration>; 2]) -> Result<[Duration; 2]> {
    Ok([up?, down?])
}

/// What came back is what went, and nothing of it stays, there or here.
async fn came_back(server: &Server, folder: &Path, back: &Path) -> Result<()> {
    let ended = Command::new("cmp")
        .arg("-s")
        .arg(folder.join(LARGE))
        .arg(back.join(LARGE))
        .status()?;
    ensure!(ended.success(), "`{}` came back otherwise", back.display());
    std::fs::remove_dir_all(back)?;
    let call = server.client().delete_object().bucket("large");
    call.key(format!("in/{LARGE}")).send().await?;
    Ok(())
}

fn s5cmd_at(server: &Server, program: &Path) -> Command {
    let mut command = server.program(program);
    command.args(["--endpoint-url", server.endpoint()]);
    command
}

fn rclone_at(server: &Server, program: &Path) -> Command {
    let mut command = server.program(program);
    command
        .args([
            "--config",
            "",
            "--s3-provider",
            "Other",
            "--s3-env-auth",
            "--s3-endpoint",
        ])
        .args([server.endpoint(), "--checkers", "32"]);
    command
}

/// Files of 1 to 5 KB in folders; says how many bytes they have together.
fn write_small(site: &Path, files: usize) -> Result<usize> {
    let mut all = 0;
    for index in 0..files {
        let folder = site.join(format!("folder-{:03}", index / IN_A_FOLDER));
        if index % IN_A_FOLDER == 0 {
            std::fs::create_dir_all(&folder)?;
        }
        let bytes = 1024 + index.wrapping_mul(7919) % 4096;
        std::fs::write(folder.join(format!("file-{index:06}")), noise(index as u64, bytes))?;
        all += bytes;
    }
    Ok(all)
}

fn write_large(path: &Path, bytes: u64) -> Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let mut left = usize::try_from(bytes)?;
    let mut seed = 0;
    while left > 0 {
        let piece = noise(seed, left.min(1 << 20));
        file.write_all(&piece)?;
        left -= piece.len();
        seed += 1;
    }
    Ok(file.flush()?)
}
