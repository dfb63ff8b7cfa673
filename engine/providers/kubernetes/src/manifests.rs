//! `kubernetes.manifests`: reads manifests as `kubernetes.apply` is going to, and needs no cluster for it, so that a plan knows
//! that they can be applied before it has done anything.

mod files;
mod objects;

use std::path::Path;
use std::time::Duration;

use jm_backup::{ChosenImage, RecordedImage};
use jm_client_kubernetes::{Kubernetes, Wave};
use jm_step::{
    Effect, InputIssue, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepErrorKind, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use self::objects::Objects;
use crate::chosen;
use crate::recorded::{Images, Pinning, written};
use crate::wait;

/// The step type `kubernetes.manifests`.
pub struct Manifests;

/// Which manifests are read, and what is asked of them.
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
    /// Which images containers are going to get, as `kubernetes.apply` has it: with `recorded`, one that is not known is an
    /// error.
    #[serde(default = "written")]
    images: Images,
    /// The images that ran when an export was made, as `backup.find` and `kubernetes.export` give them.
    #[serde(default)]
    ran: Vec<RecordedImage>,
    /// Images that containers get instead, such as where the one that ran cannot be pulled any more or is what broke.
    #[serde(default)]
    set_images: Vec<ChosenImage>,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// How many objects.
    objects: u64,
}

impl StepType for Manifests {
    const NAME: &'static str = "kubernetes.manifests";
    const SUMMARY: &'static str = "reads manifests as they are going to be applied, before there is a cluster";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_mins(5);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let issues: Vec<InputIssue> = named(input)
            .check()
            .into_iter()
            .chain(chosen::issues(&input.set_images))
            .collect();
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    /// The target alone, for its namespace.
    fn roles(&self) -> Vec<Role> {
        vec![crate::CLUSTER]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        if let Some(to_come) = named(input).to_come(cx) {
            return Ok(Preview::declared(to_come));
        }
        let objects = read(cx, input).await?;
        let summary = format!("{objects} objects can be read, and are as they have to be");
        Ok(Preview::verified(summary).predict(Output { objects }))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let objects = wait::unless_cancelled(cx, read(cx, &input)).await?;
        cx.log(format!("{objects} objects")).await;
        Ok(Output { objects })
    }

    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        // Reading leaves nothing behind.
        Ok(Probe::NotStarted)
    }
}

/// How many objects there are. What could not be applied is refused, for nothing was done yet.
async fn read(cx: &ReadContext, input: &Input) -> Result<u64, StepError> {
    let namespace = cx.config::<Kubernetes>()?.namespace;
    match Objects::read(cx, &named(input), &namespace).await {
        Ok(objects) => Ok(objects.count()),
        Err(error) if matches!(error.kind(), StepErrorKind::NotFound | StepErrorKind::InvalidInput) => {
            Err(refused(&error))
        }
        Err(error) => Err(error),
    }
}

fn refused(error: &StepError) -> StepError {
    let refused = StepError::refused(format!("the manifests could not be applied: {}", error.message()));
    match error.hint_text() {
        Some(hint) => refused.hint(hint),
        None => refused,
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

/// Manifests as an input names them.
pub(crate) struct Named<'i> {
    pub(crate) paths: &'i [String],
    pub(crate) kustomization: Option<&'i str>,
    pub(crate) recursive: bool,
    pub(crate) waves: &'i [Wave],
    pub(crate) pinning: Pinning<'i>,
}

impl Named<'_> {
    /// What a preview says where a step before this one makes what is named.
    pub(crate) fn to_come(&self, cx: &ReadContext) -> Option<String> {
        let named = self.paths.iter().map(String::as_str).chain(self.kustomization);
        let mut to_come = named.filter(|path| files::is_to_come(cx, Path::new(path)));
        let path = to_come.next()?;
        Some(format!("`{path}` is read once a step before this one has made it"))
    }

    /// What is wrong with it before anything is read.
    pub(crate) fn check(&self) -> Option<InputIssue> {
        let names_none = self.paths.is_empty() && self.kustomization.is_none();
        names_none
            .then(|| InputIssue::at("/paths", "no manifests are named").help("name files, folders or a kustomization"))
    }
}
