//! Locks of one machine: two runs that write to one system exclude each other, whatever their targets files are called.

use anyhow::{Result, ensure};

use super::{Place, Running, json, says};

/// Waits for a file, then would touch the database. Nothing ever listens there, and the plan does not mind.
const PLAN: &str = r#"
apiVersion: jm/v1
name: held
repairs: [database]
inputs:
  flag: { type: string }
steps:
  - id: wait
    uses: command.run
    with: { shell: 'until test -e "$FLAG"; do sleep 0.05; done', env: { FLAG: "${{ inputs.flag }}" }, effect: read-only }
  - id: analyze
    uses: postgres.analyze
    needs: [wait]
    retry: { attempts: 1 }
    with: { database: app }
"#;

fn targets(name: &str, url: &str) -> String {
    format!(
        "apiVersion: jm/v1\nkind: Targets\nname: {name}\ntargets:\n  database: {{ provider: postgres, url: '{url}' }}\n"
    )
}

struct Locks {
    place: Place,
    plan: String,
    flag: String,
}

impl Locks {
    fn new() -> Result<Self> {
        let place = Place::new()?;
        Ok(Self {
            plan: place.write("held.yaml", PLAN)?,
            flag: format!("flag={}", place.path("flag").display()),
            place,
        })
    }

    fn words<'w>(&'w self, targets: &'w str) -> Vec<&'w str> {
        vec![
            "plan",
            "run",
            &self.plan,
            "--yes",
            "-i",
            &self.flag,
            "--targets",
            targets,
        ]
    }

    /// A run that holds what a targets file names, and waits.
    fn hold(&self, targets: &str) -> Result<Running> {
        let before = self.place.journal()?;
        let mut running = self.place.start(&self.words(targets))?;
        running.until_begun(&self.place.state(), "wait", &before)?;
        Ok(running)
    }
}

/// Port 1 of this machine: nobody listens there.
const LOST: &str = "postgresql://jm@127.0.0.1:1/app";

#[test]
fn two_targets_files_that_name_one_database_exclude_each_other() -> Result<()> {
    let locks = Locks::new()?;
    let production = locks.place.write("production.yaml", &targets("production", LOST))?;
    let same = "host=127.0.0.1 port=1 dbname=app user=somebody";
    let other_name = locks.place.write("other.yaml", &targets("other", same))?;
    let running = locks.hold(&production)?;
    for targets in [&other_name, &production] {
        let refused = locks.place.jm(&locks.words(targets), 8)?;
        says(
            &refused,
            &[
                "is held by run",
                "ada@",
                "since 20",
                "under targets `production`",
                "jm run watch",
                "jm lock release production",
            ],
        )?;
    }
    // A dry run takes no lock, and another database is not held.
    let dry: Vec<&str> = locks
        .words(&other_name)
        .into_iter()
        .chain(["--dry-run", "--offline"])
        .collect();
    locks.place.jm(&dry, 0)?;
    let elsewhere = targets("elsewhere", "postgresql://jm@127.0.0.1:1/other");
    let elsewhere = locks.place.write("elsewhere.yaml", &elsewhere)?;
    let until: Vec<&str> = locks.words(&elsewhere).into_iter().chain(["--until", "wait"]).collect();
    locks.place.jm(&until, 5)?;
    locks.place.write("flag", "")?;
    // Nothing answers where the database should be.
    running.ends(4)?;
    locks.place.jm(&locks.words(&other_name), 4)?;
    says(&locks.place.jm(&["lock", "show"], 0)?, &["no targets are locked"])?;
    Ok(())
}

#[test]
fn a_lock_whose_holder_died_is_free_and_one_whose_holder_lives_is_not() -> Result<()> {
    let locks = Locks::new()?;
    let production = locks.place.write("production.yaml", &targets("production", LOST))?;
    let running = locks.hold(&production)?;
    let shown = json(&locks.place.jm(&["lock", "show", "--format", "json"], 0)?)?;
    let lease = &shown["locks"][0]["lease"];
    ensure!(
        shown["locks"][0]["held"] == true && lease["targets"] == "production" && lease["target"] == "database",
        "{shown:#}"
    );
    let refused = locks.place.jm(&["lock", "release", "production"], 8)?;
    says(&refused, &["is held by run", "ada@"])?;
    running.kill()?;
    says(
        &locks.place.jm(&["lock", "show"], 0)?,
        &["production", "database", "no, its owner is gone"],
    )?;
    says(&locks.place.jm(&["lock", "release", "production"], 0)?, &["are free"])?;
    let again = locks.place.jm(&["lock", "release", "production"], 2)?;
    says(&again, &["nobody holds targets `production`", "jm lock show"])?;
    // Without a release too: the next run, and a resume of the killed one, take it at once.
    locks.hold(&production)?.kill()?;
    locks.place.write("flag", "")?;
    let resumed = locks
        .place
        .jm(&["plan", "resume", "--yes", "--targets", &production], 4)?;
    says(&resumed, &["resuming run"])?;
    locks.place.jm(&locks.words(&production), 4)?;
    Ok(())
}

#[test]
fn a_run_that_is_robbed_of_its_lock_stops() -> Result<()> {
    let locks = Locks::new()?;
    let production = locks.place.write("production.yaml", &targets("production", LOST))?;
    let running = locks.hold(&production)?;
    locks.place.jm(&["lock", "release", "production", "--force"], 0)?;
    let output = running.ends(8)?;
    says(&output, &["taken away", "released by force", "jm lock show"])?;
    ensure!(locks.place.starts("analyze")? == 0);
    locks.place.write("flag", "")?;
    locks
        .place
        .jm(&["plan", "resume", "--yes", "--targets", &production], 4)?;
    Ok(())
}
