//! `kubernetes.restore`: brings objects of an export back, all of them or some waves.

mod exported;

use std::time::Duration;

use jm_backup::{BackupRef, Backups, ChosenImage, ContentKind, Prove, Selection, Silent, Toolbox, Wanted, Which};
use jm_client_kubernetes::{Kubernetes, Wave};
use jm_step::{
    ArtefactRef, Connection, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext,
    StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::exported::{Exported, Filter};
use crate::apply::{check_recreate, effect, five_minutes, preview, yes};
use crate::chosen;
use crate::deploy::{Counts, Deploy, Kept, OnConflict, Policy};
use crate::kept::warned;
use crate::needs;
use crate::recorded::Images;
use crate::wait;

/// The step type `kubernetes.restore`.
pub struct Restore;

/// What is restored, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The export: `latest`, `latest<=2026-11-25T12:00:00Z`, a day (YYYYMMDD, UTC) or its name.
    #[serde(default = "latest")]
    export: String,
    /// Only an export of this namespace. Default: the one that the target names, or the only one.
    #[serde(default)]
    of: Option<String>,
    /// Only these waves.
    #[serde(default)]
    waves: Vec<Wave>,
    /// Only these objects, as `kind/name`, such as `statefulset/postgres`.
    #[serde(default)]
    objects: Vec<String>,
    /// Whether an export that holds nothing of it will do.
    #[serde(default)]
    allow_empty: bool,
    /// Only these kinds, such as `Secret`.
    #[serde(default)]
    kinds: Vec<String>,
    /// Not these kinds.
    #[serde(default)]
    without: Vec<String>,
    /// Not these objects, as `kind/name`, such as `deployment/broken`.
    #[serde(default)]
    except: Vec<String>,
    /// Which images containers get. `recorded`: the digest that ran when the export was made, and an error where none is
    /// recorded; `recorded-or-written`: as written there; `written`: as written everywhere.
    #[serde(default)]
    images: Images,
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
}

fn latest() -> String {
    "latest".to_owned()
}

/// What was restored.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The name of the export, by which later steps take the same one.
    export: String,
    /// The moment to which the objects are brought back.
    #[schemars(extend("x-jm-recovery-point" = true))]
    recovery_point: String,
    /// How many objects, and what became of them.
    counts: Counts,
    /// How many of them held other values that jm itself had written since the export was made, and that are gone now.
    #[serde(default)]
    newer: u64,
    /// Whether any of them was not there when the step came to it first: this run has made it, in this attempt or in one
    /// before that was cut off.
    #[serde(default)]
    made: bool,
    /// What became of each, one line of JSON for each.
    results: ArtefactRef,
}

impl StepType for Restore {
    const NAME: &'static str = "kubernetes.restore";
    const SUMMARY: &'static str = "brings objects of an export back, in waves, by server-side apply";
    const EFFECT: Effect = Effect::Irreversible;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_hours(2);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let mut issues = check_recreate(&input.recreate);
        issues.extend(chosen::issues(&input.set_images));
        if let Err(error) = input.export.parse::<Which>() {
            issues.push(InputIssue::at("/export", error.message()).help(Which::FORMS));
        }
        let nameless = |object: &&String| Filter::named(object).is_none();
        for (field, objects) in [("/objects", &input.objects), ("/except", &input.except)] {
            issues.extend(objects.iter().filter(nameless).map(|object| {
                InputIssue::at(field, format!("`{object}` names no object")).help("write `statefulset/postgres`")
            }));
        }
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        vec![crate::CLUSTER, crate::BACKUPS]
    }

    fn needs(&self, input: &Known) -> Vec<Need> {
        let mut needs = needs::to_deploy(input);
        needs.push(Need::of(crate::BACKUPS.name, jm_backup::READING));
        needs
    }

    /// What is applied can be applied another way again; what is deleted is gone.
    fn effect(&self, input: &Known) -> Effect {
        effect(input)
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let cluster = cx.read::<Kubernetes>().await?;
        let backups = cx.read::<Backups>().await?;
        let mut selection = backups
            .select(&wanted(input, cluster.namespace())?, &Toolbox::of(cx), &Silent)
            .await?;
        let exported = Exported::open(&backups, &selection.backup, filter(input)).await?;
        let done = Deploy::preview(cx, &cluster, &policy(input, &selection.backup, &exported), &exported).await?;
        let mut said = preview(done, exported.count());
        let summary = format!("`{}`, {}", selection.backup.name, said.summary);
        said.summary = warned(summary, &exported.warning());
        Ok(said.degraded(selection.take_reasons()))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let cluster = cx.connect::<Kubernetes>().await?;
        let backups = cx.connect::<Backups>().await?;
        let backup = Box::pin(choose(cx, &backups, &input, cluster.reader().namespace())).await?;
        let opening = Exported::open(backups.reader(), &backup, filter(&input));
        let exported = Box::pin(wait::unless_cancelled(cx, opening)).await?;
        if let Some(warning) = exported.warning() {
            cx.log(warning).await;
        }
        let policy = policy(&input, &backup, &exported);
        let Kept {
            counts,
            newer,
            made,
            results,
        } = Box::pin(Deploy::run(cx, &cluster, &policy, &exported)).await?;
        Ok(Output {
            export: backup.name.to_string(),
            recovery_point: backup.created_at.to_string(),
            counts,
            newer,
            made,
            results,
        })
    }

    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        // Applying again makes of what was done nothing, and of the rest what is to be.
        Ok(Probe::unknown("how far it came is found by restoring again"))
    }
}

/// What an attempt that was cut off goes on with: a newer `latest` is not mixed into what is half restored.
#[derive(Serialize, Deserialize)]
struct Chosen {
    backup: BackupRef,
}

async fn choose(cx: &StepContext, backups: &Backups, input: &Input, namespace: &str) -> Result<BackupRef, StepError> {
    if let Some(Chosen { backup }) = cx.checkpoint()? {
        return Ok(backup);
    }
    let wanted = wanted(input, namespace)?;
    let toolbox = Toolbox::of(cx);
    let selection = Box::pin(backups.select(&wanted, &toolbox, &Silent));
    let mut selection = wait::unless_cancelled(cx, selection).await?;
    for reason in selection.take_reasons() {
        cx.degraded(reason).await?;
    }
    let Selection { backup, notes, .. } = selection;
    for note in notes {
        cx.log(note).await;
    }
    cx.save_checkpoint(Chosen { backup: backup.clone() }).await?;
    Ok(backup)
}

fn wanted(input: &Input, namespace: &str) -> Result<Wanted, StepError> {
    Ok(Wanted {
        which: input.export.parse()?,
        from: None,
        kind: ContentKind::Kubernetes,
        of: input.of.clone().filter(|of| !of.is_empty()),
        prefer: Some(namespace.to_owned()),
        prove: Prove::Opens,
    })
}

fn filter(input: &Input) -> Filter {
    Filter {
        waves: input.waves.iter().copied().collect(),
        kinds: input.kinds.clone(),
        without: input.without.clone(),
        except: input.except.clone(),
        objects: input.objects.clone(),
        allow_empty: input.allow_empty,
        images: input.images,
        chosen: input.set_images.clone(),
    }
}

fn policy(input: &Input, backup: &BackupRef, exported: &Exported<'_>) -> Policy {
    Policy {
        on_conflict: input.on_conflict,
        recreate: input.recreate.iter().cloned().collect(),
        wait: input.wait,
        patience: Duration::from_secs(input.ready_seconds.into()),
        // It is among the objects, with its labels.
        create_namespace: false,
        applyset: None,
        as_of: Some(backup.created_at),
        claims: exported.claims().clone(),
    }
}
