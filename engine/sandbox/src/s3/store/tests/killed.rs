//! A process that is killed while it writes: what it had said is done is there, whole, and nothing else is left.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};

use super::*;

/// What the killed process said: versions that it put and versions that it removed.
#[derive(Default)]
struct Said {
    put: HashMap<(String, VersionId), String>,
    removing: HashSet<(String, VersionId)>,
    removed: HashSet<(String, VersionId)>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        // A line that the kill cut off says nothing, and so does the noise of the test runner.
        let (["put" | "removing" | "removed", key, id, ..], true) = (&words[..], line.ends_with(" .")) else {
            return;
        };
        let version = ((*key).to_owned(), id.parse().unwrap());
        match words[0] {
            "put" => drop(self.put.insert(version, words[3].to_owned())),
            "removing" => drop(self.removing.insert(version)),
            _ => drop(self.removed.insert(version)),
        }
    }

    fn check(&self, folder: &TempDir) {
        let store = Store::open(folder.path()).unwrap();
        let bucket = store.bucket("bucket").unwrap();
        for ((key, id), etag) in &self.put {
            match bucket.read(key, Some(*id)) {
                Ok(reading) => {
                    assert!(!self.removed.contains(&(key.clone(), *id)), "{key} {id} came back");
                    assert_eq!(reading.object().etag, *etag);
                    assert_eq!(bytes(&reading).len() as u64, reading.object().size);
                }
                Err(error) => assert!(
                    self.removing.contains(&(key.clone(), *id)),
                    "{key} {id} is lost: {error}"
                ),
            }
        }
        let kept = bucket.with_index(|index| {
            let versions = index.values().flat_map(|history| &history.versions);
            versions
                .filter_map(|version| version.object.as_ref())
                .map(|object| object.segments.len())
                .sum::<usize>()
        });
        let parts: usize = bucket.uploads().iter().map(|upload| upload.parts().len()).sum();
        assert_eq!(data_files(folder), kept + parts);
    }
}

/// Starts this test program anew, as a process that writes to the folder until it is killed.
fn writer(folder: &TempDir) -> Child {
    let program = std::env::current_exe().unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "the test has to kill a process of its own without a chance to end"
    )]
    let mut command = std::process::Command::new(program);
    command.args([
        "--exact",
        "s3::store::tests::killed::writes_until_it_is_killed",
        "--ignored",
        "--nocapture",
    ]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{}", folder.path().display()).unwrap();
    child
}

#[test]
fn what_was_acknowledged_survives_kills() {
    let (folder, store, bucket) = fresh(Some(Versioning::Enabled));
    drop((store, bucket));
    let mut said = Said::default();
    for lines in [1, 2, 5, 17, 60, 150] {
        let mut child = writer(&folder);
        let mut told = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        told.by_ref()
            .filter(|line| line.ends_with(" ."))
            .take(lines)
            .for_each(|line| said.hear(&line));
        child.kill().unwrap();
        child.wait().unwrap();
        told.for_each(|line| said.hear(&line));
        said.check(&folder);
    }
    assert!(said.put.len() > 50, "the writers wrote next to nothing");
}

/// Not a test of its own: `what_was_acknowledged_survives_kills` runs it in a process that it kills.
#[test]
#[ignore = "runs in a process that another test starts and kills"]
fn writes_until_it_is_killed() {
    let mut folder = String::new();
    io::stdin().read_line(&mut folder).unwrap();
    if folder.trim().is_empty() {
        return;
    }
    let store = Store::open(Path::new(folder.trim())).unwrap();
    let bucket = store.bucket("bucket").unwrap();
    let said = |line: String| io::stdout().write_all(format!("{line} .\n").as_bytes()).unwrap();
    for turn in 0_usize.. {
        let key = format!("k{}", turn % 3);
        let written = if turn % 4 == 3 {
            uploaded(&bucket, &key, turn)
        } else {
            put(&bucket, &key, &vec![1; turn * 99])
        };
        let id = written.version.unwrap();
        said(format!("put {key} {id} {}", written.object.etag));
        if turn % 3 == 2 {
            said(format!("removing {key} {id}"));
            bucket.delete_version(&key, id, &Condition::default()).unwrap();
            said(format!("removed {key} {id}"));
        }
    }
}

fn uploaded(bucket: &Bucket, key: &str, turn: usize) -> Written {
    let plan = bucket.begin_upload(key, Details::default(), None, None).unwrap();
    for number in [1, 2] {
        bucket
            .put_part(key, plan.id, number, blob(bucket, &vec![2; turn]))
            .unwrap();
    }
    let completion = Completion {
        parts: vec![Wanted {
            number: 2,
            ..Wanted::default()
        }],
        ..Completion::default()
    };
    bucket.complete_upload(key, plan.id, &completion).unwrap()
}
