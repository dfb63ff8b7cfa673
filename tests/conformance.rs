//! What every step type owes, asked of all that are built in, on separately started servers. A step type without a case
//! here or with its provider's own tests is an error, and so is a promise that is left out without saying why.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jm_testkit::conformance::{
    cancels_promptly, preview_writes_nothing, resumes_after_each_checkpoint, runs_once, saves_nothing,
};
use serde_json::Value;

use crate::environment::{World, file};

mod beds;
mod cases;

use beds::{Beds, Fresh};

/// A step type with an input, and the world that it acts in.
struct Case {
    step: &'static str,
    input: Box<dyn Fn(&Beds<'_>) -> Value>,
    make: Box<dyn for<'w> Fn(&Beds<'w>) -> Fresh<'w>>,
    /// Whether it saves anything that it can be gone on from. Where it does not, that is asked, too.
    saves: bool,
}

/// Step types whose provider asks this of them itself, on a control plane, at an edge and on a store: the file that does,
/// and what stands for the step type in its calls.
const ELSEWHERE: [(&str, &str, Asked); 30] = [
    ("kubernetes.apply", OBJECTS, Asked::By("&Apply")),
    ("kubernetes.describe", KUBERNETES, Asked::InTable("&Describe")),
    ("kubernetes.export", OBJECTS, Asked::By("&Export")),
    ("kubernetes.import", OBJECTS, Asked::By("&Import")),
    ("kubernetes.logs", KUBERNETES, Asked::By("&Logs")),
    (
        "kubernetes.manifests",
        "engine/providers/kubernetes/tests/it/manifests.rs",
        Asked::By("&Manifests"),
    ),
    ("kubernetes.pods", KUBERNETES, Asked::InTable("&Pods")),
    ("kubernetes.quiesce", KUBERNETES, Asked::InTable("&Quiesce")),
    ("kubernetes.ready", KUBERNETES, Asked::InTable("&Ready")),
    ("kubernetes.restart", KUBERNETES, Asked::InTable("&Restart")),
    ("kubernetes.restore", OBJECTS, Asked::By("&Restore")),
    ("kubernetes.resume", KUBERNETES, Asked::InTable("&Resume")),
    (
        "kubernetes.rollout_history",
        KUBERNETES,
        Asked::InTable("&RolloutHistory"),
    ),
    (
        "kubernetes.rollout_status",
        KUBERNETES,
        Asked::InTable("&RolloutStatus"),
    ),
    ("kubernetes.rollout_undo", KUBERNETES, Asked::InTable("&RolloutUndo")),
    ("kubernetes.scale", KUBERNETES, Asked::InTable("&Scale")),
    ("kubernetes.set_image", KUBERNETES, Asked::InTable("&SetImage")),
    ("kubernetes.stopped", KUBERNETES, Asked::InTable("&Stopped")),
    ("cloudfront.distribution", EDGE_LOOKS, Asked::InTable("&Look")),
    (
        "cloudfront.invalidate",
        "engine/providers/cloudfront/src/invalidate/tests.rs",
        Asked::By("&Invalidate"),
    ),
    ("cloudfront.list", EDGE_LOOKS, Asked::InTable("&List")),
    (
        "cloudfront.set_origin",
        "engine/providers/cloudfront/src/set_origin/tests.rs",
        Asked::By("&SetOrigin"),
    ),
    ("s3.bucket", STORES, Asked::InTable("&Bucket")),
    ("s3.copy", STORES, Asked::InTable("&Copy")),
    (
        "s3.lacking",
        "engine/providers/s3/src/sync/tests/copies.rs",
        Asked::By("&Lacking"),
    ),
    ("s3.record_release", STORES, Asked::InTable("&RecordRelease")),
    (
        "s3.remove_old_assets",
        "engine/providers/s3/src/remove_old_assets/tests.rs",
        Asked::By("&RemoveOldAssets"),
    ),
    ("s3.restore_versions", STORES, Asked::InTable("&RestoreVersions")),
    ("s3.sync", STORES, Asked::InTable("&SyncStep")),
    (
        "s3.verify_release",
        "engine/providers/s3/src/verify_release/tests.rs",
        Asked::By("&VerifyRelease"),
    ),
];
const KUBERNETES: &str = "engine/providers/kubernetes/tests/it/conformance.rs";
const OBJECTS: &str = "engine/providers/kubernetes/tests/it/objects/promises.rs";
const EDGE_LOOKS: &str = "engine/providers/cloudfront/src/distribution/tests.rs";
const STORES: &str = "engine/providers/s3/src/promises.rs";

/// What a step type owes. One of the last two: which, these functions find out themselves.
const PROMISES: [&[&str]; 4] = [
    &["preview_writes_nothing"],
    &["runs_once"],
    &["cancels_promptly"],
    &["resumes_after_each_checkpoint", "saves_nothing"],
];

/// How a file asks a step type for its promises.
enum Asked {
    /// In calls that name it.
    By(&'static str),
    /// In calls for each `step` of a table that holds it.
    InTable(&'static str),
}

impl Asked {
    /// Which promises a file does not ask for.
    fn missing(&self, code: &str) -> Vec<&'static str> {
        // As it stands without the breaks of lines.
        let code: String = code.split_whitespace().collect();
        let (argument, is_there) = match self {
            Self::By(name) => (*name, true),
            Self::InTable(name) => ("step", code.contains(&format!("({name},"))),
        };
        let asks = |function: &&str| code.contains(&format!("{function}({argument},"));
        let missing = PROMISES.iter().filter(|any| !is_there || !any.iter().any(asks));
        missing.map(|any| any[0]).collect()
    }
}

/// The code of a file, without its comments.
fn code(path: &str) -> Result<String> {
    let text = std::fs::read_to_string(file(path)).with_context(|| path.to_owned())?;
    Ok(text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n"))
}

#[test]
fn every_built_in_step_type_is_asked_what_it_owes() -> Result<()> {
    let registry = jm_cli::registry();
    let known: BTreeSet<&str> = registry.step_types().map(|step| step.name()).collect();
    let here = cases::all();
    let here = here.iter().map(|case| case.step);
    let elsewhere = ELSEWHERE.iter().map(|(step, ..)| *step);
    let asked: Vec<&str> = here.chain(elsewhere).collect();
    let distinct: BTreeSet<&str> = asked.iter().copied().collect();
    ensure!(
        distinct == known,
        "without a case: {:?}; not there: {:?}",
        known.difference(&distinct),
        distinct.difference(&known)
    );
    ensure!(distinct.len() == asked.len(), "one is asked in two places: {asked:?}");
    for (step, path, asked) in ELSEWHERE {
        let missing = asked.missing(&code(path)?);
        ensure!(missing.is_empty(), "{path} does not ask `{step}`: {missing:?}");
    }
    Ok(())
}

#[test]
fn one_promise_of_four_is_not_enough() {
    let whole = "preview_writes_nothing(&Bucket, make); conformance::runs_once(\n &Bucket, make); \
        cancels_promptly(&Bucket, make); saves_nothing(&Bucket, make);";
    let by = Asked::By("&Bucket");
    assert!(by.missing(whole).is_empty());
    assert_eq!(
        by.missing("conformance::preview_writes_nothing(&Bucket, make);").len(),
        3
    );
    assert_eq!(Asked::By("&Copy").missing(whole).len(), 4);
    let table = "[(&Copy, 1)]; preview_writes_nothing(step, m); runs_once(step, m); cancels_promptly(step, m);";
    assert_eq!(
        Asked::InTable("&Copy").missing(table),
        ["resumes_after_each_checkpoint"]
    );
    assert_eq!(Asked::InTable("&Bucket").missing(table).len(), 4);
}

/// Asks something of each case of some providers, each in worlds made afresh.
fn ask(providers: &[&str]) -> Result<()> {
    let world = World::real()?;
    let beds = Beds::make(&world)?;
    let cases = cases::all();
    let mut asked = 0;
    for case in &cases {
        if providers.iter().any(|provider| case.step.starts_with(provider)) {
            world.block_on(owes(&beds, case));
            asked += 1;
        }
    }
    ensure!(asked > 0, "there is no case of {providers:?}");
    Ok(())
}

async fn owes(beds: &Beds<'_>, case: &Case) {
    /// A moment in which most steps are under way, and how long they may take to end after it.
    const MOMENT: (Duration, Duration) = (Duration::from_millis(30), Duration::from_secs(10));
    let step = beds.step(case.step);
    let make = || (case.make)(beds);
    let input = || (case.input)(beds);
    preview_writes_nothing(&*step, make, input()).await;
    runs_once(&*step, make, input()).await;
    cancels_promptly(&*step, make, input(), MOMENT.0, MOMENT.1).await;
    if case.saves {
        resumes_after_each_checkpoint(&*step, make, input()).await;
    } else {
        saves_nothing(&*step, make, input()).await;
    }
}

#[test]
fn steps_of_databases_keep_what_they_owe() -> Result<()> {
    ask(&["postgres."])
}

#[test]
fn steps_of_backups_and_stores_keep_what_they_owe() -> Result<()> {
    ask(&["backup.", "s3."])
}

#[test]
fn steps_of_programs_and_people_keep_what_they_owe() -> Result<()> {
    ask(&["command.", "http.", "notify.", "manual.", "check.", "git."])
}
