//! `kubernetes.set_image`: gives a container another image, waits until it is rolled out, and records what really runs.

use std::time::Duration;

use jm_client_kubernetes::{ContainerImage, Kubernetes, Reader, Template, WorkloadRef};
use jm_client_registry::{ImageRef, Login, reported_digest};
use jm_step::{
    Change, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError,
    StepErrorKind, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::image::Meant;
use crate::needs;
use crate::wait::{self, Until};
use crate::{kept, kinds};

/// How often the workload is looked at again where somebody changes it in the very moment.
const TRIES: u32 = 10;

/// The step type `kubernetes.set_image`.
pub struct SetImage;

/// What is to run what.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Which workload.
    workload: WorkloadRef,
    /// Which of its containers.
    container: String,
    /// The image: by its digest, `ghcr.io/your-org/backend@sha256:…`; or by a tag, `ghcr.io/your-org/backend:1.4.2`, whose
    /// digest its registry is then asked for, so that it is deployed by that. `latest` needs `allow_tag`.
    image: String,
    /// Whether a tag that names no version, `latest`, will do, and the tag as it is written where the registry does not tell
    /// its digest, also when it is asked again: its image may be another one tomorrow. Not one that the registry does not have.
    #[serde(default)]
    allow_tag: bool,
    /// A login of the registry. Without one: that of the workload's imagePullSecrets or of its service account's, if any.
    #[serde(default)]
    login: Option<Login>,
    /// Whether to wait until it is rolled out.
    #[serde(default = "yes")]
    wait: bool,
}

fn yes() -> bool {
    true
}

/// What ran, and runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The image of before.
    previous: String,
    /// The image of now, as the workload names it: by its digest, unless the registry did not tell it and `allow_tag` was set.
    image: String,
    /// Its digest: that of the reference or of the registry, else the one that its pods report. Absent where nobody says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

impl StepType for SetImage {
    const NAME: &'static str = "kubernetes.set_image";
    const SUMMARY: &'static str = "gives a container another image, by digest, and waits until it is rolled out";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe; // a container that has the image is left alone
    const TIMEOUT: Duration = Duration::from_mins(10);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let issues: Vec<InputIssue> = kinds::without_rollouts("/workload", &input.workload)
            .into_iter()
            .chain(image_issue(input))
            .collect();
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        vec![crate::CLUSTER]
    }

    fn needs(&self, input: &Known) -> Vec<Need> {
        needs::to_change(input)
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let cluster = cx.read::<Kubernetes>().await?;
        let template = cluster.template(&input.workload).await?;
        let container = container(&template, input)?;
        let meant = meant(cx, &cluster, input).await?;
        Ok(match change(container, input, &meant) {
            None => Preview::verified(format!("{} runs {} already", input.workload, meant.image)),
            Some(change) => {
                let summary = format!(
                    "let container `{}` of {} run {}",
                    container.name,
                    input.workload,
                    told(&meant)
                );
                let summary = kept::warned(summary, &kept::warning(&template.state));
                Preview::computed(summary, vec![change])
            }
        })
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let cluster = cx.connect::<Kubernetes>().await?;
        let saved = cx.saved_output::<Output>()?;
        let mut tries = 0;
        let mut known = None;
        let mut output = loop {
            tries += 1;
            let template = wait::unless_cancelled(cx, cluster.template(&input.workload)).await?;
            let container = container(&template, &input)?;
            let meant = match known.take() {
                Some(meant) => meant,
                None => wait::unless_cancelled(cx, meant(cx, &cluster, &input)).await?,
            };
            let output = saved.clone().unwrap_or_else(|| output(container, &meant));
            // On disk before the change: a tag may name another image when the run is resumed.
            cx.save_output(&output).await?;
            let Some(change) = change(container, &input, &meant) else {
                break output;
            };
            match cluster.set_image(&template.state, container, &meant.image).await {
                Ok(()) => {
                    cx.changed(change).await;
                    if meant.digest.is_none() {
                        cx.log(told(&meant)).await;
                    }
                    if let Some(warning) = kept::warning(&template.state) {
                        cx.log(warning).await;
                    }
                    break output;
                }
                Err(error) if error.kind() == StepErrorKind::Conflict && tries < TRIES => known = Some(meant),
                Err(error) => return Err(error),
            }
        };
        if input.wait {
            let state = wait::ready(cx, &cluster, &input.workload, Until::RolledOut).await?;
            let running = wait::unless_cancelled(cx, cluster.running_images(&state, &input.container)).await?;
            output.digest = recorded(cx, output.digest, &running).await?;
        }
        Ok(output)
    }

    async fn probe(&self, cx: &ReadContext, input: &Input) -> Result<Probe<Output>, StepError> {
        let Some(mut saved) = cx.saved_output::<Output>()? else {
            return Ok(Probe::NotStarted);
        };
        let cluster = cx.read::<Kubernetes>().await?;
        let template = cluster.template(&input.workload).await?;
        if change(container(&template, input)?, input, &saved.meant()).is_some() {
            return Ok(Probe::NotStarted);
        }
        if input.wait && !template.state.is_rolled_out() {
            return Ok(Probe::partial(format!("{} is being rolled out", input.workload)));
        }
        let running = cluster.running_images(&template.state, &input.container).await?;
        saved.digest = saved.digest.or_else(|| digests(&running).pop());
        Ok(Probe::Succeeded(saved))
    }
}

/// The image that is meant: the one that was written down before, else what the input means now.
async fn meant(cx: &ReadContext, cluster: &Reader, input: &Input) -> Result<Meant, StepError> {
    if let Some(saved) = cx.saved_output::<Output>()? {
        return Ok(saved.meant());
    }
    let who = (&input.workload, input.login.as_ref());
    Meant::now(cx, cluster, who, &input.image, input.allow_tag).await
}

/// The image; and why by its tag, where nobody knows its digest.
fn told(meant: &Meant) -> String {
    let Meant { image, digest, untold } = meant;
    if digest.is_some() {
        return image.clone();
    }
    let why = untold.as_deref().unwrap_or("the registry did not tell its digest");
    format!("{image}, by its tag, which may name another image tomorrow: {why}")
}

impl Output {
    fn meant(&self) -> Meant {
        Meant {
            image: self.image.clone(),
            digest: self.digest.clone(),
            untold: None,
        }
    }
}

/// What is wrong with the image's name.
fn image_issue(input: &Input) -> Option<InputIssue> {
    let image = match ImageRef::parse(&input.image) {
        Ok(image) => image,
        Err(why) => return Some(InputIssue::at("/image", why).help("write it as `registry/name@sha256:…`")),
    };
    let is_latest = matches!(image.tag, None | Some("latest"));
    if image.digest.is_some() || input.allow_tag || !is_latest {
        return None;
    }
    Some(
        InputIssue::at("/image", "it names no version: `latest` is whatever was pushed last")
            .help("name the digest that was recorded, or a tag; or take what it names now with `allow_tag: true`"),
    )
}

fn container<'t>(template: &'t Template, input: &Input) -> Result<&'t ContainerImage, StepError> {
    let named = template.containers.iter().find(|one| one.name == input.container);
    named.ok_or_else(|| {
        let names: Vec<&str> = template.containers.iter().map(|one| one.name.as_str()).collect();
        StepError::not_found(format!("{} has no container `{}`", input.workload, input.container))
            .hint(format!("it has: {}", names.join(", ")))
    })
}

fn change(container: &ContainerImage, input: &Input, meant: &Meant) -> Option<Change> {
    (container.image != meant.image).then(|| {
        Change::update(
            input.workload.to_string(),
            json!({ "container": container.name, "image": container.image }),
            json!({ "container": container.name, "image": meant.image }),
        )
    })
}

fn output(container: &ContainerImage, meant: &Meant) -> Output {
    Output {
        previous: container.image.clone(),
        image: meant.image.clone(),
        digest: meant.digest.clone(),
    }
}

fn digests(running: &[String]) -> Vec<String> {
    let mut found: Vec<String> = running
        .iter()
        .filter_map(|image| reported_digest(image))
        .map(str::to_owned)
        .collect();
    found.dedup();
    found
}

/// The digest to write down: that of the reference, else the one that all pods report.
async fn recorded(cx: &StepContext, pinned: Option<String>, running: &[String]) -> Result<Option<String>, StepError> {
    for image in running {
        cx.log(format!("its pods report that they run {image}")).await;
    }
    if pinned.is_some() {
        return Ok(pinned);
    }
    let mut found = digests(running);
    if found.len() > 1 {
        cx.degraded(format!("its pods run different images: {}", found.join(", ")))
            .await?;
        return Ok(None);
    }
    Ok(found.pop())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_no_version_will_not_do_unless_it_is_said_otherwise() {
        let issues = |image: &str, allow_tag: bool| {
            let input = Input {
                workload: "deployment/web".parse().expect("a name"),
                container: "main".to_owned(),
                image: image.to_owned(),
                allow_tag,
                login: None,
                wait: true,
            };
            SetImage.check(&input).err().map(|issues| issues[0].message.clone())
        };
        let pinned = format!("x/web:1@sha256:{}", "0a".repeat(32));
        assert_eq!(issues(&pinned, false), None);
        assert!(issues("x/web", false).is_some_and(|said| said.contains("latest")));
        assert!(issues("x/web:latest", false).is_some_and(|said| said.contains("latest")));
        assert_eq!(issues("x/web:1", false), None, "its registry is asked");
        assert_eq!(issues("x/web", true), None);
        assert_eq!(issues("x/web:1", true), None);
        assert!(issues("x/Web:1", true).is_some(), "never what is no reference");
    }
}
