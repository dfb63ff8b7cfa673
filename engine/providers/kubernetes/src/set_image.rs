//! `kubernetes.set_image`: gives a container another image, waits until it is rolled out, and records what really runs.

use std::time::Duration;

use jm_client_kubernetes::{ContainerImage, Kubernetes, Template, WorkloadRef};
use jm_step::{
    Change, Effect, InputIssue, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepErrorKind,
    StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::image::{self, ImageRef};
use crate::kinds;
use crate::wait::{self, Until};

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
    /// The image, by its digest: `ghcr.io/your-org/backend@sha256:…`.
    image: String,
    /// Whether a tag will do, whose image may be another one tomorrow.
    #[serde(default)]
    allow_tag: bool,
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
    /// The image of now.
    image: String,
    /// Its digest: that of the reference, else the one that its pods report. Absent where nobody says it.
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

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let template = cx.read::<Kubernetes>().await?.template(&input.workload).await?;
        let container = container(&template, input)?;
        Ok(match change(container, input) {
            None => Preview::verified(format!("{} runs {} already", input.workload, input.image)),
            Some(change) => {
                let summary = format!(
                    "let container `{}` of {} run {}",
                    container.name, input.workload, input.image
                );
                Preview::computed(summary, vec![change])
            }
        })
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let cluster = cx.connect::<Kubernetes>().await?;
        let mut tries = 0;
        let mut output = loop {
            tries += 1;
            let template = wait::unless_cancelled(cx, cluster.template(&input.workload)).await?;
            let container = container(&template, &input)?;
            let output = match cx.saved_output::<Output>()? {
                Some(saved) => saved,
                None => output(container, &input),
            };
            cx.save_output(&output).await?;
            let Some(change) = change(container, &input) else {
                break output;
            };
            match cluster.set_image(&template.state, container, &input.image).await {
                Ok(()) => {
                    cx.changed(change).await;
                    break output;
                }
                Err(error) if error.kind() == StepErrorKind::Conflict && tries < TRIES => {}
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
        if change(container(&template, input)?, input).is_some() {
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

/// What is wrong with the image's name.
fn image_issue(input: &Input) -> Option<InputIssue> {
    let image = match ImageRef::parse(&input.image) {
        Ok(image) => image,
        Err(why) => return Some(InputIssue::at("/image", why).help("write it as `registry/name@sha256:…`")),
    };
    if image.digest.is_some() || input.allow_tag {
        return None;
    }
    let what = match image.tag {
        None | Some("latest") => "`latest` is whatever was pushed last",
        Some(_) => "a tag may be moved to another image",
    };
    Some(
        InputIssue::at("/image", format!("it names no digest: {what}"))
            .help("name the digest that was recorded, or set `allow_tag: true`"),
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

fn change(container: &ContainerImage, input: &Input) -> Option<Change> {
    (container.image != input.image).then(|| {
        Change::update(
            input.workload.to_string(),
            json!({ "container": container.name, "image": container.image }),
            json!({ "container": container.name, "image": input.image }),
        )
    })
}

fn output(container: &ContainerImage, input: &Input) -> Output {
    let reference = ImageRef::parse(&input.image).ok();
    Output {
        previous: container.image.clone(),
        image: input.image.clone(),
        digest: reference.and_then(|image| image.digest).map(str::to_owned),
    }
}

fn digests(running: &[String]) -> Vec<String> {
    let mut found: Vec<String> = running
        .iter()
        .filter_map(|image| image::reported_digest(image))
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
    fn only_a_digest_will_do_unless_it_is_said_otherwise() {
        let issues = |image: &str, allow_tag: bool| {
            let input = Input {
                workload: "deployment/web".parse().expect("a name"),
                container: "main".to_owned(),
                image: image.to_owned(),
                allow_tag,
                wait: true,
            };
            SetImage.check(&input).err().map(|issues| issues[0].message.clone())
        };
        let pinned = format!("x/web:1@sha256:{}", "0a".repeat(32));
        assert_eq!(issues(&pinned, false), None);
        assert!(issues("x/web", false).is_some_and(|said| said.contains("latest")));
        assert!(issues("x/web:latest", false).is_some_and(|said| said.contains("latest")));
        assert!(issues("x/web:1", false).is_some_and(|said| said.contains("moved")));
        assert_eq!(issues("x/web:1", true), None);
        assert!(issues("x/Web:1", true).is_some(), "never what is no reference");
    }
}
