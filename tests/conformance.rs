//! What every step type owes, asked of all that are built in, on separately started servers. A step type without a case
//! here or with its provider's own tests is an error, and so is a promise that is left out without saying why.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jm_testkit::conformance::{
    World as _, cancels_promptly, preview_writes_nothing, resumes_after_each_checkpoint, runs_once,
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

/// Step types whose provider asks this of them itself, on a control plane and at an edge: the file that does, and the
/// name that they have in it.
const ELSEWHERE: [(&str, &str, &str); 20] = [
    ("kubernetes.apply", OBJECTS, "runs_once(&Apply,"),
    ("kubernetes.describe", KUBERNETES, "&Describe,"),
    ("kubernetes.export", OBJECTS, "runs_once(&Export,"),
    ("kubernetes.import", OBJECTS, "runs_once(&Import,"),
    ("kubernetes.logs", KUBERNETES, "runs_once(&Logs,"),
    ("kubernetes.pods", KUBERNETES, "&Pods,"),
    ("kubernetes.quiesce", KUBERNETES, "&Quiesce,"),
    ("kubernetes.ready", KUBERNETES, "&Ready,"),
    ("kubernetes.restart", KUBERNETES, "&Restart,"),
    ("kubernetes.restore", OBJECTS, "runs_once(&Restore,"),
    ("kubernetes.resume", KUBERNETES, "&Resume,"),
    ("kubernetes.rollout_history", KUBERNETES, "&RolloutHistory,"),
    ("kubernetes.rollout_status", KUBERNETES, "&RolloutStatus,"),
    ("kubernetes.rollout_undo", KUBERNETES, "&RolloutUndo,"),
    ("kubernetes.scale", KUBERNETES, "&Scale,"),
    ("kubernetes.set_image", KUBERNETES, "&SetImage,"),
    (
        "cloudfront.distribution",
        "engine/providers/cloudfront/src/distribution/tests.rs",
        "conformance::",
    ),
    (
        "cloudfront.invalidate",
        "engine/providers/cloudfront/src/invalidate/tests.rs",
        "conformance::",
    ),
    (
        "cloudfront.set_origin",
        "engine/providers/cloudfront/src/set_origin/tests.rs",
        "conformance::",
    ),
    ("s3.bucket", "engine/providers/s3/src/bucket/tests.rs", "conformance::"),
];
const KUBERNETES: &str = "engine/providers/kubernetes/tests/it/conformance.rs";
const OBJECTS: &str = "engine/providers/kubernetes/tests/it/objects/promises.rs";

/// Step types of which it is not asked yet: their providers' tests say something of each, and not all of this.
const NOT_YET: [&str; 6] = [
    "cloudfront.list",
    "git.checkout",
    "git.verify",
    "s3.copy",
    "s3.restore_versions",
    "s3.sync",
];

#[test]
fn every_built_in_step_type_is_asked_what_it_owes() -> Result<()> {
    let registry = jm_cli::registry();
    let known: BTreeSet<&str> = registry.step_types().map(|step| step.name()).collect();
    let here = cases::all();
    let here = here.iter().map(|case| case.step);
    let elsewhere = ELSEWHERE.iter().map(|(step, ..)| *step);
    let mut asked = Vec::new();
    asked.extend(here.chain(elsewhere).chain(NOT_YET));
    let distinct: BTreeSet<&str> = asked.iter().copied().collect();
    ensure!(
        distinct == known,
        "without a case: {:?}; not there: {:?}",
        known.difference(&distinct),
        distinct.difference(&known)
    );
    ensure!(
        NOT_YET
            .iter()
            .all(|step| asked.iter().filter(|one| *one == step).count() == 1),
        "asked already, and said not to be"
    );
    for (step, path, words) in ELSEWHERE {
        let text = std::fs::read_to_string(file(path)).with_context(|| path.to_owned())?;
        ensure!(text.contains(words), "{path} says nothing of `{step}`");
    }
    Ok(())
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
        let saves = make().bench().run(&*step, input()).await.saves();
        assert_eq!(saves, 0, "`{}` saves something: it can be cut there", case.step);
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
    ask(&["command.", "http.", "notify.", "manual.", "check."])
}
