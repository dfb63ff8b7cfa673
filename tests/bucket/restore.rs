//! Keys that were deleted or overwritten, brought back.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::Amounts;
use crate::bare::{Bare, DELETED, OVERWRITTEN, key};
use crate::beside::{at_least, in_memory, rate};
use crate::server::{Server, peer};

/// What share of a bare client's rate jm has to reach.
const BESIDE_BARE: f64 = 0.8;
/// How many times as many keys as a loop of `aws s3api` jm has to bring back in the same time.
const BESIDE_LOOP: f64 = 100.0;
/// The most memory that the binary may take, in bytes.
const MEMORY: u64 = 256 << 20;
/// So many requests at once does the bare client try.
const AT_ONCE: [usize; 5] = [8, 16, 32, 64, 128];
/// So many keys does the loop bring back, of which nobody would wait for more.
const LOOP: usize = 10;
/// What old versions are older than they are.
const AGE: Duration = Duration::from_hours(2);

pub(crate) async fn measure(server: &Server, amounts: Amounts) -> Result<bool> {
    let keys = amounts.keys / 2 * 2;
    for bucket in ["bare", "brought-back"] {
        server.bucket(bucket, true).await?;
        let bare = Bare {
            client: server.client(),
            bucket: bucket.to_owned(),
        };
        bare.fill(keys).await?;
    }
    // This server takes the moment at which a version was replaced for that at which it was written.
    make_older(&server.versions())?;
    let looped = aws_loop(server, "bare")?;
    let bare = bare_rate(server).await?;
    let at = jm_step::clock::now() - jiff::SignedDuration::from_hours(1);
    let (ran, output) = server.jm(
        "s3.restore_versions",
        "brought-back",
        &json!({ "as_of": at.to_string() }),
    )?;
    for field in ["undeleted", "copied_back"] {
        ensure!(output[field] == keys / 2, "{output:#}");
    }
    let rate = rate(keys, ran.took);
    println!(
        "{keys} keys, half deleted and half overwritten: jm {:.2?} ({rate:.0}/s), a bare client {bare:.0}/s, a loop of `aws s3api` {}",
        ran.took,
        looped.map_or("not measured".to_owned(), |looped| format!("{looped:.2}/s")),
    );
    let mut met = at_least("jm beside a bare client", rate / bare, BESIDE_BARE);
    met &= looped.is_some_and(|looped| at_least("jm beside the loop", rate / looped, BESIDE_LOOP));
    met &= in_memory("jm's memory", ran.peak, MEMORY);
    Ok(met)
}

/// The rate of the bare client: a tenth of the keys with each number of requests at once, then the rest with the best.
async fn bare_rate(server: &Server) -> Result<f64> {
    let bare = Bare {
        client: server.client(),
        bucket: "bare".to_owned(),
    };
    let tenths = |tenths: std::ops::Range<usize>| -> Vec<String> {
        let prefixes = tenths.flat_map(|digit| [format!("{DELETED}{digit}/"), format!("{OVERWRITTEN}{digit}/")]);
        prefixes.collect()
    };
    let mut best = (0.0, 0);
    for (digit, at_once) in AT_ONCE.into_iter().enumerate() {
        let (keys, took) = bare.bring_back(&tenths(digit..digit + 1), at_once).await?;
        if rate(keys, took) > best.0 {
            best = (rate(keys, took), at_once);
        }
    }
    let (keys, took) = bare.bring_back(&tenths(AT_ONCE.len()..10), best.1).await?;
    println!("a bare client does best with {} requests at once", best.1);
    Ok(rate(keys, took))
}

/// Lets all old versions be older, as files.
fn make_older(folder: &Path) -> Result<()> {
    let then = SystemTime::now() - AGE;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_older(&entry.path())?;
        } else {
            std::fs::File::open(entry.path())?.set_modified(then)?;
        }
    }
    Ok(())
}

/// How many keys a second a loop brings back that asks for the versions of each and removes the marker.
fn aws_loop(server: &Server, bucket: &str) -> Result<Option<f64>> {
    let Some(aws) = peer("JM_TEST_AWS", "aws") else {
        return Ok(None);
    };
    let began = Instant::now();
    for index in 0..LOOP {
        // Of the last tenth, which the bare client comes to at the end.
        let key = key(DELETED, index * 10 + 9);
        let ask = |words: &[&str]| {
            let mut command = server.program(&aws);
            server.run(command.arg("s3api").args(words).args(["--bucket", bucket]))
        };
        let listed = ask(&["list-object-versions", "--prefix", &key])?;
        let listed: Value = serde_json::from_str(&listed.said)?;
        let marker = listed["DeleteMarkers"][0]["VersionId"].as_str().context("a marker")?;
        ask(&["delete-object", "--key", &key, "--version-id", marker])?;
    }
    Ok(Some(rate(LOOP, began.elapsed())))
}
