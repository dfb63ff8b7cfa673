//! `kubernetes.apply`: makes a cluster be as manifests say: files, folders, a kustomization.

use std::collections::BTreeSet;
use std::time::Duration;

use jm_backup::{ChosenImage, RecordedImage};
use jm_client_kubernetes::{Kubernetes, Wave};
use jm_step::{
    ArtefactRef, Connection, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext,
    StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::chosen;
use crate::deploy::{ApplySet, Counts, Deploy, Done, Kept, NEVER_RECREATED, OnConflict, Policy, check_applyset};
use crate::kept::warned;
use crate::manifests::{Named, Objects};
use crate::needs;
use crate::recorded::{Images, Pinning, written};

/// The step type `kubernetes.apply`.
pub struct Apply;

/// What is applied, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Manifests: files and folders (`*.yaml`, `*.yml`, `*.json`). A folder with a `kustomization.yaml` is built.
    #[serde(default)]
    paths: Vec<String>,
    /// A folder with a `kustomization.yaml`, built by `kustomize` or `kubectl kustomize`, whichever is on `PATH`.
    #[serde(default)]
    kustomization: Option<String>,
    /// Whether folders in folders are read too, but those whose name begins with a dot.
    #[serde(default)]
    recursive: bool,
    /// Only these waves.
    #[serde(default)]
    waves: Vec<Wave>,
    /// Which images containers get. `written`: as the manifests have them; `recorded`: the digests that `ran`, and an error
    /// where one is not there; `recorded-or-written`: as written there.
    #[serde(default = "written")]
    images: Images,
    /// The images that ran when an export was made, as `backup.find` and `kubernetes.export` give them.
    #[serde(default)]
    ran: Vec<RecordedImage>,
    /// Images that containers get instead, such as where the one that ran cannot be pulled any more or is what broke.
    #[serde(default)]
    set_images: Vec<ChosenImage>,
    /// What becomes of a field that somebody else keeps at another value.
    #[serde(default)]
    on_conflict: OnConflict,
    /// Kinds of which an object that cannot be changed is deleted and made anew, such as `Job`. Never claims, volumes,
    /// namespaces or definitions.
    #[serde(default)]
    recreate: Vec<String>,
    /// Whether workloads are waited for before what comes after them.
    #[serde(default = "yes")]
    wait: bool,
    /// How many seconds each wave may take to be ready.
    #[serde(default = "five_minutes")]
    #[schemars(range(min = 1, max = 86400))]
    ready_seconds: u32,
    /// Whether the target's namespace is made where it is missing.
    #[serde(default = "yes")]
    create_namespace: bool,
    /// A name for the set of these objects, as kubectl's apply sets have one. Empty: none.
    #[serde(default)]
    applyset: String,
    /// Whether objects of the set that are not among the manifests any more are deleted.
    #[serde(default)]
    prune: bool,
    /// Kinds that are deleted too although they hold data: `Secret`, `PersistentVolumeClaim` and the like.
    #[serde(default)]
    prune_also: Vec<String>,
}

pub(crate) fn yes() -> bool {
    true
}

pub(crate) fn five_minutes() -> u32 {
    300
}

/// What was applied.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// How many objects, and what became of them.
    counts: Counts,
    /// Whether any of them was not there when the step came to it first: this run has made it, in this attempt or in one
    /// before that was cut off.
    #[serde(default)]
    made: bool,
    /// What became of each, one line of JSON for each.
    results: ArtefactRef,
}

impl StepType for Apply {
    const NAME: &'static str = "kubernetes.apply";
    const SUMMARY: &'static str = "makes a cluster be as manifests say, in waves, by server-side apply";
    const EFFECT: Effect = Effect::Irreversible;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_hours(1);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let mut issues = check_recreate(&input.recreate);
        issues.extend(named(input).check());
        issues.extend(chosen::issues(&input.set_images));
        if input.prune && input.applyset.is_empty() {
            issues.push(
                InputIssue::at("/prune", "what is to be pruned is found by the label of a set")
                    .help("name an `applyset`"),
            );
        }
        if !input.applyset.is_empty()
            && let Err(why) = check_applyset(&input.applyset)
        {
            issues.push(InputIssue::at("/applyset", why));
        }
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        vec![crate::CLUSTER]
    }

    fn needs(&self, input: &Known) -> Vec<Need> {
        needs::to_deploy(input)
    }

    /// What is applied can be applied another way again; what is deleted is gone.
    fn effect(&self, input: &Known) -> Effect {
        effect(input)
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let cluster = cx.read::<Kubernetes>().await?;
        if let Some(to_come) = named(input).to_come(cx) {
            return Ok(Preview::declared(to_come));
        }
        let manifests = Objects::read(cx, &named(input), cluster.namespace()).await?;
        let done = Deploy::preview(cx, &cluster, &policy(input, cluster.namespace()), &manifests).await?;
        Ok(preview(done, manifests.count()))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let cluster = cx.connect::<Kubernetes>().await?;
        let namespace = cluster.reader().namespace();
        let manifests = Objects::read(cx, &named(&input), namespace).await?;
        let policy = policy(&input, namespace);
        let Kept {
            counts, made, results, ..
        } = Deploy::run(cx, &cluster, &policy, &manifests).await?;
        Ok(Output { counts, made, results })
    }

    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        // Applying again makes of what was done nothing, and of the rest what is to be.
        Ok(Probe::unknown("how far it came is found by applying again"))
    }
}

/// Deletes something, or only what can be had again.
pub(crate) fn effect(input: &Known) -> Effect {
    let asked = |field: &str| match input.get(field) {
        Some(serde_json::Value::Bool(asked)) => *asked,
        Some(serde_json::Value::Array(kinds)) => !kinds.is_empty(),
        _ => false,
    };
    if asked("recreate") || asked("prune") {
        Effect::Irreversible
    } else {
        Effect::Reversible
    }
}

pub(crate) fn check_recreate(kinds: &[String]) -> Vec<InputIssue> {
    let spared = kinds
        .iter()
        .enumerate()
        .filter(|(_, kind)| NEVER_RECREATED.contains(&kind.as_str()));
    spared
        .map(|(index, kind)| {
            InputIssue::at(
                format!("/recreate/{index}"),
                format!("a {kind} is never deleted to be made anew"),
            )
            .help("what it holds would be lost")
        })
        .collect()
}

/// What a preview says of it.
pub(crate) fn preview<O>(done: Done, objects: u64) -> Preview<O> {
    let counted = format!("of {objects} objects {}", done.counts.describe());
    let mut summary = warned(counted, &done.warnings);
    if done.unasked > 0 {
        summary = format!(
            "{summary}; of {} the server cannot say anything yet, for what they need is not there",
            done.unasked
        );
        return Preview::declared(summary).with_changes(done.changes);
    }
    if done.changes.is_empty() {
        Preview::verified(summary)
    } else {
        Preview::computed(summary, done.changes)
    }
}

fn named(input: &Input) -> Named<'_> {
    Named {
        paths: &input.paths,
        kustomization: input.kustomization.as_deref(),
        recursive: input.recursive,
        waves: &input.waves,
        pinning: Pinning {
            images: input.images,
            ran: &input.ran,
            chosen: &input.set_images,
        },
    }
}

fn policy(input: &Input, namespace: &str) -> Policy {
    let name = Some(&input.applyset).filter(|name| !name.is_empty());
    Policy {
        on_conflict: input.on_conflict,
        recreate: input.recreate.iter().cloned().collect(),
        wait: input.wait,
        patience: Duration::from_secs(input.ready_seconds.into()),
        create_namespace: input.create_namespace,
        as_of: None,
        claims: BTreeSet::new(),
        applyset: name.map(|name| ApplySet::new(name, namespace, input.prune, &input.prune_also)),
    }
}
