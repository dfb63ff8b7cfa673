//! `git.bundle`: keeps all branches and tags of a remote among the backups, encrypted, as one file that git clones from; and
//! writes down with it which commit and which image ran.

use std::collections::BTreeMap;
use std::time::Duration;

use jm_backup::{
    BackupRef, Backups, BackupsReader, BundleRequest, CodeIndex, ContentKind, Keeping, Level, Made, Manifest, Release,
    Told, Toolbox, until_cancelled,
};
use jm_step::{
    Change, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError,
    StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::mirror::{self, Depth, Mirror};
use crate::revision;

/// Keeps all of a remote among the backups.
pub(crate) struct Bundle;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The folder of a clone, whose remote is kept, or the address of a remote.
    repository: String,
    /// The commit that runs: its full hash, or the name of a tag. It has to be at the remote.
    commit: String,
    /// The image that runs, by its digest, so that data, code and image of one time are found together. Empty: not known.
    #[serde(default)]
    image: String,
    /// The name of the clone's remote.
    #[serde(default = "origin")]
    remote: String,
    /// Whether a bundle is made only where the remote, the commit or the image is another than that of the last one.
    #[serde(default = "yes")]
    only_changed: bool,
    /// A name for the backup, such as `pre_upgrade`. Empty: none.
    #[serde(default)]
    label: String,
    /// How long retention leaves it alone, whatever its age, such as `30d`.
    #[serde(default)]
    pin: Option<String>,
    /// How far it is proven before it counts.
    #[serde(default = "archive")]
    verify: Level,
}

fn origin() -> String {
    "origin".to_owned()
}

fn yes() -> bool {
    true
}

fn archive() -> Level {
    Level::Archive
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The backup, as other steps take it: the one that was made, or the last one where nothing changed since.
    backup: BackupRef,
    /// Its name.
    name: String,
    /// Whether it was made now.
    made: bool,
    /// The address of the remote, without what lets one in.
    repository: String,
    /// How many branches and tags are in it.
    refs: u64,
    /// The release that is written down with it.
    release: Release,
    /// How far it was proven.
    level: Level,
}

impl StepType for Bundle {
    const NAME: &'static str = "git.bundle";
    const SUMMARY: &'static str = "keep all of a remote among the backups, with the commit and the image that ran";
    const EFFECT: Effect = Effect::Reversible;
    // A deed that was done is found again by its key, and is not done twice.
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_hours(1);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let mut issues: Vec<InputIssue> = [
            revision::repository_issue(&input.repository),
            revision::issue(&input.commit),
            mirror::remote_issue(&input.remote),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !input.image.is_empty() && !input.image.contains("@sha256:") {
            let what = format!("`{}` names no image by its digest", input.image.escape_debug());
            let help = "such as `ghcr.io/shop/app@sha256:…`: a tag may be another image tomorrow";
            issues.push(InputIssue::at("/image", what).help(help));
        }
        let restored = "a bundle is proven to be restorable by cloning from it";
        issues.extend(Keeping::issues(
            &input.label,
            input.pin.as_deref(),
            input.verify,
            restored,
        ));
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<Backups>("backups")]
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of("backups", jm_backup::MAKING)]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let backups = cx.read::<Backups>().await?;
        let look = Look::at(cx, input, Depth::Commits).await?;
        if let Some((output, unknown)) = look.unchanged(cx, &backups, input).await? {
            let summary = format!("nothing changed since `{}`", output.name);
            return Ok(Preview::computed(summary, Vec::new()).predict(output).degraded(unknown));
        }
        let usable = backups.can_file(ContentKind::Code, label(input)).await?;
        let names: Vec<String> = usable.locations.iter().map(ToString::to_string).collect();
        let summary = format!(
            "keep {} branches and tags of `{}`, with commit `{}`, in {}",
            look.index.refs.len(),
            look.index.repository,
            look.release.commit,
            names.join(" and ")
        );
        Ok(Preview::computed(summary, vec![look.change(&names)]).degraded(usable.degraded))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let backups = cx.connect::<Backups>().await?;
        if let Some(made) = found(&backups, cx.idempotency_key()).await? {
            return made.adopt(cx).await;
        }
        let look = Look::at(cx, &input, Depth::Whole).await?;
        if let Some((output, unknown)) = look.unchanged(cx, &backups, &input).await? {
            for reason in unknown {
                cx.degraded(reason).await?;
            }
            cx.log(format!("nothing changed since `{}`", output.name)).await;
            return Ok(output);
        }
        for reason in look.not_in_it().await? {
            cx.degraded(reason).await?;
        }
        let request = look.bundle(cx, &input).await?;
        let (tools, told) = (Toolbox::of(cx), Told(cx));
        let created = until_cancelled(cx, Box::pin(backups.store_bundle(&request, &tools, &told))).await?;
        let locations: Vec<String> = created.backup.locations.iter().map(ToString::to_string).collect();
        cx.changed(look.change(&locations)).await;
        Ok(output(&created.manifest, created.backup, true))
    }

    async fn probe(&self, cx: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        let backups = cx.read::<Backups>().await?;
        Ok(Made::probe(found(&backups, cx.idempotency_key()).await?))
    }
}

/// The remote as it is now.
struct Look<'c> {
    mirror: Mirror<'c>,
    index: CodeIndex,
    release: Release,
}

impl<'c> Look<'c> {
    async fn at(cx: &'c ReadContext, input: &Input, depth: Depth) -> Result<Look<'c>, StepError> {
        let mirror = Mirror::of(cx, &input.repository, &input.remote, depth).await?;
        let found = mirror.find(&input.commit).await?;
        mirror.leading_to(&found).await?;
        let tag = match &found.tag {
            Some(tag) => tag.clone(),
            None => mirror.tag_of(&found).await?,
        };
        let commit = found.commit;
        let told = mirror
            .git()
            .tell(&["for-each-ref", "--format=%(objectname) %(refname)"])
            .await?;
        let refs: BTreeMap<String, String> = told
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(hash, name)| (name.to_owned(), hash.to_owned()))
            .collect();
        let index = CodeIndex {
            repository: mirror.shown(),
            refs,
        };
        let release = Release {
            commit,
            tag,
            image: input.image.clone(),
        };
        Ok(Self { mirror, index, release })
    }

    /// The last bundle, where it holds the very same and every location that answers has it; and what is not known of it.
    /// One that is asked for by a name, or to be kept, is made in any case.
    async fn unchanged(
        &self,
        cx: &ReadContext,
        backups: &BackupsReader,
        input: &Input,
    ) -> Result<Option<(Output, Vec<String>)>, StepError> {
        if !input.only_changed || self.keeping(cx, input).is_asked_for() {
            return Ok(None);
        }
        let Some((entry, unknown)) = backups.bundle_of(&self.index, &self.release).await? else {
            return Ok(None);
        };
        let same = |manifest| (output(manifest, backups.reference(&entry), false), unknown);
        Ok(entry.manifest().map(same))
    }

    /// Makes the bundle, and proves by git that it needs nothing besides.
    async fn bundle(&self, cx: &StepContext, input: &Input) -> Result<BundleRequest, StepError> {
        let git = self.mirror.git();
        let bundle = self.mirror.folder().join("code.bundle");
        let file = bundle.display().to_string();
        self.mirror.follow_head().await?;
        git.tell(&["bundle", "create", "--quiet", &file, "--all"]).await?;
        git.tell(&["bundle", "verify", "--quiet", &file]).await?;
        Ok(BundleRequest {
            repository: self.index.repository.clone(),
            refs: self.index.refs.clone(),
            bundle,
            keeping: self.keeping(cx, input),
        })
    }

    /// What belongs to the commit, and comes from elsewhere than this repository.
    async fn not_in_it(&self) -> Result<Vec<String>, StepError> {
        let (git, commit) = (self.mirror.git(), &self.release.commit);
        let mut reasons = Vec::new();
        let submodules = format!("{commit}:.gitmodules");
        if git.maybe(&["cat-file", "-e", &submodules]).await?.is_some() {
            reasons.push(
                "its submodules are repositories of their own, and not in the bundle: keep each by itself".to_owned(),
            );
        }
        let large = [
            "grep",
            "--quiet",
            "filter=lfs",
            commit,
            "--",
            ":(glob)**/.gitattributes",
        ];
        if git.maybe(&large).await?.is_some() {
            reasons
                .push("what LFS keeps beside the repository is not in the bundle: back that store up, too".to_owned());
        }
        Ok(reasons)
    }

    fn keeping(&self, cx: &ReadContext, input: &Input) -> Keeping {
        Keeping {
            release: Some(self.release.clone()),
            ..Keeping::of(cx, &input.label, input.pin.as_deref(), input.verify)
        }
    }

    fn change(&self, locations: &[String]) -> Change {
        let object = format!("bundle of `{}`", self.index.repository);
        Change::create(object, json!({ "release": self.release, "locations": locations }))
    }
}

async fn found(backups: &BackupsReader, key: &str) -> Result<Option<Made<Output>>, StepError> {
    let made = |manifest: &Manifest, backup| output(manifest, backup, true);
    backups.made(key, made).await
}

fn label(input: &Input) -> Option<&str> {
    Some(input.label.as_str()).filter(|label| !label.is_empty())
}

fn output(manifest: &Manifest, backup: BackupRef, made: bool) -> Output {
    let code = manifest.code().cloned().unwrap_or_default();
    Output {
        name: backup.name.to_string(),
        backup,
        made,
        refs: code.refs.len() as u64,
        repository: code.repository,
        release: manifest.release.clone().unwrap_or_default(),
        level: manifest.level,
    }
}

#[cfg(test)]
mod tests;
