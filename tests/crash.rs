//! The crash sweeps: the real binary is killed, or its connection cut, at every place where it matters, and resumed. Each
//! cut proves that it cut, and each recovery has to end as one that nobody disturbed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use jm_sandbox::journeyman::{DATABASE, Fingerprint, REPLICAS, is_marked};
use serde_json::Value;

use crate::environment::{World, journal, of_kind, said};

mod aborts;
mod effects;
pub(crate) mod journal_cuts;

/// What befalls an old database that serves still: it has lost rows since the backup.
const DAMAGE: &str = "TRUNCATE players";
/// While it serves, a recovery has to be told how much of it may be lost.
const ACCEPT: [&str; 2] = ["--accept-data-loss", "1d"];

/// A world that is lost again and again, and brought back each time.
struct Scene {
    world: World,
    ending: Ending,
}

impl Scene {
    /// With an old database that still serves, or with none.
    fn set(world: World, serving: bool) -> Result<Self> {
        world.back_up()?;
        let ending = Ending::of(&world, usize::from(serving))?;
        Ok(Self { world, ending })
    }

    /// No database but the one that serves.
    fn clear(&self) -> Result<()> {
        for name in self.world.databases()? {
            if name != DATABASE {
                self.world
                    .query("postgres", &format!("DROP DATABASE \"{name}\" WITH (FORCE)"))?;
            }
        }
        Ok(())
    }

    /// As before the recovery: the database is damaged or gone, and no other is there.
    fn reset(&self) -> Result<()> {
        self.clear()?;
        if self.ending.kept == 0 {
            return self.world.lose_database();
        }
        self.world.query(DATABASE, DAMAGE).map(drop)
    }
}

/// How a recovery has to end, whatever befell it.
struct Ending {
    data: Fingerprint,
    belongings: Vec<String>,
    workloads: Vec<Value>,
    /// How many old databases are kept aside: one where the database still served.
    kept: usize,
}

impl Ending {
    /// As it is now.
    fn of(world: &World, kept: usize) -> Result<Self> {
        let workloads = world.workloads()?;
        ensure!(!workloads.is_empty() && !is_marked(&workloads), "{workloads:?}");
        Ok(Self {
            data: world.fingerprint()?,
            belongings: world.belongings()?,
            workloads,
            kept,
        })
    }

    /// Compares the end of the newest run. Gives how many deliveries repeated an earlier one.
    fn check(&self, world: &World) -> Result<usize> {
        self.is_as_before(world)?;
        let databases = world.databases()?;
        let (served, others): (Vec<_>, Vec<_>) = databases.iter().partition(|name| *name == DATABASE);
        ensure!(
            served.len() == 1 && others.len() == self.kept && others.iter().all(|name| name.contains("_old_")),
            "databases {databases:?}"
        );
        let records = journal(&world.state())?;
        switched_once(world, &records)?;
        backed_up_once(Path::new(world.systems.variable("BACKUP_DIR")))?;
        deliveries(world, &records)
    }

    /// Data and all that is around it, what belongs to the name, and the application as it was declared, without a mark
    /// of jm.
    fn is_as_before(&self, world: &World) -> Result<()> {
        let data = world.fingerprint()?;
        let other = |(aspect, digest): &(&String, _)| self.data.get(*aspect) != Some(*digest);
        let others: Vec<_> = data.iter().filter(other).collect();
        ensure!(
            others.is_empty() && data.len() == self.data.len(),
            "other data: {others:?}"
        );
        let belongings = world.belongings()?;
        ensure!(
            belongings == self.belongings,
            "{belongings:?}, was {:?}",
            self.belongings
        );
        let workloads = world.workloads()?;
        ensure!(workloads == self.workloads, "{workloads:?}, was {:?}", self.workloads);
        ensure!(world.ready_replicas()? == REPLICAS, "other replicas");
        Ok(())
    }
}

/// One copy was chosen for the place, however often the step began, and it is the one that is served.
fn switched_once(world: &World, records: &[Value]) -> Result<()> {
    let of_switch = |kind: &str| -> Vec<&Value> {
        let of_kind = of_kind(records, kind).into_iter();
        of_kind.filter(|record| record["step"] == "switch").collect()
    };
    let switched = of_switch("step-succeeded").len();
    ensure!(switched == 1, "switched {switched} times");
    let chosen: BTreeSet<String> = of_switch("output-saved")
        .iter()
        .map(|record| record["output"]["inline"]["oid"].to_string())
        .collect();
    let serves = world.query(
        "postgres",
        &format!("SELECT oid FROM pg_database WHERE datname = '{DATABASE}'"),
    )?;
    ensure!(
        chosen.iter().collect::<Vec<_>>() == serves.iter().collect::<Vec<_>>(),
        "chosen {chosen:?}, serves {serves:?}"
    );
    Ok(())
}

/// No deed has made two backups, however often its step began.
fn backed_up_once(directory: &Path) -> Result<()> {
    let mut deeds = BTreeSet::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".manifest.json") {
            let manifest: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
            let deed = manifest["idempotency_key"].as_str().context("a deed")?.to_owned();
            ensure!(deeds.insert(deed), "{} was made a second time", path.display());
        }
    }
    ensure!(!deeds.is_empty(), "no backup in {}", directory.display());
    Ok(())
}

/// Deliveries that repeat carry one key, and each key is one that the journal held before anybody was told.
fn deliveries(world: &World, records: &[Value]) -> Result<usize> {
    let run = &records.first().context("a run")?["run"]["id"];
    let mut started: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for record in of_kind(records, "step-started") {
        let keys = started.entry(record["step"].to_string()).or_default();
        keys.insert(record["key"].as_str().unwrap_or_default().to_owned());
    }
    let anew: Vec<String> = of_kind(records, "step-anew")
        .iter()
        .map(|record| record["step"].to_string())
        .collect();
    let told = world.told()?;
    let told: Vec<_> = told.iter().filter(|delivery| delivery.body["run"] == *run).collect();
    ensure!(told.len() >= 2, "{} deliveries: nobody was told", told.len());
    let mut keys: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for delivery in &told {
        let step = delivery.body["step"].to_string();
        let key = delivery.key.as_deref().context("a delivery without a key")?;
        ensure!(
            started.get(&step).is_some_and(|known| known.contains(key)),
            "{step} was told under a key that no record holds"
        );
        keys.entry(step).or_default().insert(key);
    }
    for (step, keys) in &keys {
        let deeds = 1 + anew.iter().filter(|again| *again == step).count();
        ensure!(
            keys.len() <= deeds,
            "{step} was told under {} keys in {deeds} deeds",
            keys.len()
        );
    }
    let distinct: usize = keys.values().map(BTreeSet::len).sum();
    Ok(told.len() - distinct)
}

/// Goes on with the newest run. Where nothing was written yet there is nothing to resume, and where the end was, neither;
/// it says so, and a run that never began is begun anew, by the words that began it.
pub(crate) fn go_on(world: &World, runs_before: usize, begin: &[&str], more: &[&str]) -> Result<()> {
    let records = if world.runs()? > runs_before {
        journal(&world.state())?
    } else {
        Vec::new()
    };
    let output = world.resume().args(more).output()?;
    let nothing = String::from_utf8_lossy(&output.stderr).contains("nothing to resume");
    // A run that failed is closed too, and can be resumed.
    let ended = records.last().is_some_and(|record| record["status"] == "completed");
    if records.is_empty() || ended {
        ensure!(
            output.status.code() == Some(2) && nothing,
            "there was nothing to resume: {}",
            said(&output)
        );
    } else {
        ensure!(output.status.code() == Some(0), "{}", said(&output));
    }
    if records.is_empty() {
        let anew = world.jm().args(begin).args(more).output()?;
        ensure!(anew.status.code() == Some(0), "{}", said(&anew));
    }
    Ok(())
}
