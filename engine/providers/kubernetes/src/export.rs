//! `kubernetes.export`: files all objects of namespaces, and what they depend on, among the backups.

mod gather;
mod images;
mod index;
mod references;
mod volumes;

use std::collections::BTreeMap;
use std::time::Duration;

use jm_backup::{
    BackupRef, Backups, BackupsReader, ContentKind, Created, Keeping, Level, Made, Manifest, ObjectsRequest,
    RecordedImage, Told, Toolbox, Unreadable, until_cancelled,
};
use jm_client_kubernetes::{Kubernetes, Reader};
use jm_step::{
    Change, Connection, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext,
    StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::few::few;
use crate::kept::warned;
use crate::{contents, needs};

use self::gather::{Gather, MOST_NAMED};
pub(crate) use self::images::{Images, Place};
pub(crate) use self::index::IndexBuilder;
pub(crate) use self::volumes::Volumes;

/// The step type `kubernetes.export`.
pub struct Export;

/// Which objects without a namespace are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClusterScope {
    /// Those that the namespaces' objects depend on: definitions of their kinds and of those that their roles name,
    /// classes, roles that are bound, volumes that were chosen, webhooks that are served from the namespaces, admission
    /// policies whose bindings ask for a label of theirs. Webhooks and policies that are not kept are named.
    #[default]
    Used,
    /// All but those that Kubernetes makes itself.
    All,
    /// None.
    None,
}

/// What is exported.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The namespaces. Default: that of the target.
    #[serde(default)]
    namespaces: Vec<String>,
    /// Which objects without a namespace are kept.
    #[serde(default)]
    cluster_scope: ClusterScope,
    /// Kinds that are left out, such as `Pod` or `widget.example.com`.
    #[serde(default)]
    without: Vec<String>,
    /// Whether the Secrets in which Helm keeps its releases are kept.
    #[serde(default = "yes")]
    helm_releases: bool,
    /// Types of Secrets that are left out, such as `kubernetes.io/tls` where another system issues the certificates anew.
    #[serde(default)]
    without_types: Vec<String>,
    /// A name for the export, such as `pre_upgrade`. Empty: none.
    #[serde(default)]
    label: String,
    /// How long retention leaves it alone, whatever its age, such as `30d`.
    #[serde(default)]
    pin: Option<String>,
    /// How far it is proven before it counts.
    #[serde(default = "archive")]
    verify: Level,
}

fn yes() -> bool {
    true
}

fn archive() -> Level {
    Level::Archive
}

/// What was exported.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The export, as other steps take it.
    export: BackupRef,
    /// Its name.
    name: String,
    /// How many objects it holds.
    objects: u64,
    /// How many of each kind.
    kinds: BTreeMap<String, u64>,
    /// The images that ran.
    images: Vec<RecordedImage>,
    /// The containers of which nobody knows which image they ran, in words: their pods did not tell, or told different ones,
    /// or there were none.
    #[serde(default)]
    unknown_images: Vec<String>,
    /// How many claims there are whose contents are not in it, since a driver made their volumes: its index tells which.
    #[serde(default)]
    unkept_contents: u64,
    /// Kinds that could not be read.
    unreadable: Vec<Unreadable>,
    /// How far it was proven.
    level: Level,
}

impl StepType for Export {
    const NAME: &'static str = "kubernetes.export";
    const SUMMARY: &'static str = "files all objects of namespaces among the backups, encrypted, with an index";
    const EFFECT: Effect = Effect::Reversible;
    // A deed that was done is found again by its key, and is not done twice.
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_hours(1);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let mut issues = Vec::new();
        let restored = "/verify";
        issues.extend(Keeping::issues(
            &input.label,
            input.pin.as_deref(),
            input.verify,
            restored,
        ));
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        vec![crate::CLUSTER, crate::BACKUPS]
    }

    fn needs(&self, input: &Known) -> Vec<Need> {
        let namespaces = input.get("namespaces").and_then(Value::as_array);
        let named = namespaces.into_iter().flatten().filter_map(Value::as_str);
        let mut needs = vec![
            needs::cluster(&["list *", "get namespaces @"]).in_parts(named.map(str::to_owned).collect()),
            Need::of(crate::BACKUPS.name, jm_backup::MAKING),
        ];
        if input.text("cluster_scope") != Some("none") {
            needs.push(needs::cluster(&["cluster get,list *"]));
        }
        needs
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let cluster = cx.read::<Kubernetes>().await?;
        let backups = cx.read::<Backups>().await?;
        let usable = backups.can_file(ContentKind::Kubernetes, label(input)).await?;
        let names: Vec<String> = usable.locations.iter().map(ToString::to_string).collect();
        let index = Gather::new(&cluster, input).await?.try_all().await?;
        let lost = images_lost(&index.lost_images());
        let summary = format!("export {} to {}", described(input, &cluster), names.join(" and "));
        let summary = warned(summary, &contents::warning(&index.unkept_contents));
        let summary = warned(summary, &images_untried(&index.untried_images()));
        let left_out = index
            .unreadable
            .into_iter()
            .map(|kind| format!("{} cannot be read: {}", kind.kind, kind.why));
        let changes = vec![change(input, &cluster, &names)];
        let degraded = left_out.chain(lost).chain(usable.degraded);
        Ok(Preview::computed(summary, changes).degraded(degraded))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let cluster = cx.connect::<Kubernetes>().await?;
        let backups = cx.connect::<Backups>().await?;
        if let Some(made) = found(&backups, cx.idempotency_key()).await? {
            return made.adopt(cx).await;
        }
        let created = until_cancelled(cx, Box::pin(export(cx, cluster.reader(), &backups, &input))).await?;
        let names: Vec<String> = created.backup.locations.iter().map(ToString::to_string).collect();
        cx.changed(change(&input, cluster.reader(), &names)).await;
        if let Some(index) = created.manifest.kubernetes() {
            let told = [
                contents::warning(&index.unkept_contents),
                images_untried(&index.untried_images()),
            ];
            for line in told.into_iter().flatten() {
                cx.log(line).await;
            }
        }
        for reason in lacks(&created.manifest) {
            cx.degraded(reason).await?;
        }
        Ok(output(&created.manifest, created.backup))
    }

    async fn probe(&self, cx: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        let backups = cx.read::<Backups>().await?;
        Ok(Made::probe(found(&backups, cx.idempotency_key()).await?))
    }
}

/// What is told where something runs of which nobody knows what it is.
fn images_lost(lost: &[String]) -> Option<String> {
    (!lost.is_empty()).then(|| {
        format!(
            "which image ran is not known for {}: a restore will not take the images as they are written unless told to; write them by digest (`NAME@sha256:…`)",
            lost.join(", ")
        )
    })
}

/// What is told where nothing ran that could tell an image.
fn images_untried(untried: &[String]) -> Option<String> {
    (!untried.is_empty()).then(|| {
        format!(
            "nothing of these runs, and a restore will take their images by the tags that they have only where it is told to: {}",
            few(untried, MOST_NAMED)
        )
    })
}

/// What an export is degraded by.
fn lacks(manifest: &Manifest) -> impl Iterator<Item = String> {
    let index = manifest.kubernetes().cloned().unwrap_or_default();
    let lost = images_lost(&index.lost_images());
    let unreadable = index.unreadable.into_iter();
    let unreadable =
        unreadable.map(|kind| format!("{} cannot be read and is not in the export: {}", kind.kind, kind.why));
    unreadable.chain(lost)
}

async fn export(cx: &StepContext, cluster: &Reader, backups: &Backups, input: &Input) -> Result<Created, StepError> {
    let gather = Gather::new(cluster, input).await?;
    let request = ObjectsRequest {
        namespaces: gather.namespaces().to_vec(),
        taken_at: None,
        keeping: Keeping::of(cx, &input.label, input.pin.as_deref(), input.verify),
    };
    let (toolbox, told) = (Toolbox::of(cx), Told(cx));
    let stored = backups.store_objects(&request, &toolbox, &told, async |writer| gather.all(cx, writer).await);
    Box::pin(stored).await
}

async fn found(backups: &BackupsReader, key: &str) -> Result<Option<Made<Output>>, StepError> {
    let made = |manifest: &Manifest, export| (output(manifest, export), lacks(manifest).collect::<Vec<_>>());
    let Some(made) = backups.made(key, made).await? else {
        return Ok(None);
    };
    let (output, mut lacks) = made.output;
    lacks.extend(made.lacks);
    Ok(Some(Made { output, lacks }))
}

fn label(input: &Input) -> Option<&str> {
    Some(input.label.as_str()).filter(|label| !label.is_empty())
}

fn described(input: &Input, cluster: &Reader) -> String {
    let namespaces = gather::namespaces(cluster, input);
    let s = if namespaces.len() == 1 { "" } else { "s" };
    format!("namespace{s} `{}`", namespaces.join("`, `"))
}

fn change(input: &Input, cluster: &Reader, locations: &[String]) -> Change {
    let after = json!({ "label": label(input), "locations": locations });
    Change::create(format!("export of {}", described(input, cluster)), after)
}

fn output(manifest: &Manifest, export: BackupRef) -> Output {
    let index = manifest.kubernetes().cloned().unwrap_or_default();
    Output {
        export,
        name: manifest.name.to_string(),
        objects: index.count(),
        kinds: index
            .kinds
            .iter()
            .map(|kind| (format!("{} {}", kind.api_version, kind.kind), kind.objects.len() as u64))
            .collect(),
        unknown_images: index.unknown_images(&[], &[]),
        images: index.images,
        unkept_contents: index.unkept_contents.len() as u64,
        unreadable: index.unreadable,
        level: manifest.level,
    }
}
