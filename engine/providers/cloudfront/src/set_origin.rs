//! `cloudfront.set_origin`: lets a distribution take its content from another place.

use std::time::Duration;

use jm_client_cloudfront::{CloudFront, Distribution, Origin};
use jm_step::{
    Change, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError,
    StepErrorKind, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::wait::{Wait, answer};

/// How often somebody else may change the distribution between our look and our change.
const TRIES: u32 = 5;

/// Lets a distribution take its content from another place.
pub(crate) struct SetOrigin;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The host name of the new place, such as `assets-standby.s3.eu-west-1.amazonaws.com`.
    domain: String,
    /// The folder in it that is served, such as `/production`. As it is now, where not given; empty for all of it.
    #[serde(default)]
    path: Option<String>,
    /// The id of the origin that changes. The one of the default behaviour, where not given.
    #[serde(default)]
    origin: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The distribution's id.
    distribution: String,
    /// The origin's id.
    origin: String,
    /// Where its content comes from now.
    domain: String,
    /// The folder in it that is served.
    path: String,
    /// Where its content came from before: what a fail-back sets.
    previous_domain: String,
    /// The folder that was served before.
    previous_path: String,
    /// The host names of the distribution's other origins, which stay as they are.
    #[serde(default)]
    other_origins: Vec<String>,
}

impl StepType for SetOrigin {
    const NAME: &'static str = "cloudfront.set_origin";
    const SUMMARY: &'static str = "lets a distribution take its content from another place, and waits for every edge";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_mins(45);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let mut issues = Vec::new();
        if input.domain.is_empty() || input.domain.contains(['/', ':', ' ']) {
            let issue = InputIssue::at("/domain", format!("`{}` is not a host name", input.domain));
            issues.push(issue.help("write it without `https://` and without a path"));
        }
        let path = input.path.as_deref().unwrap_or_default();
        if !path.is_empty() && (!path.starts_with('/') || path.ends_with('/')) {
            let issue = InputIssue::at("/path", format!("`{path}` is not a folder as CloudFront writes it"));
            issues.push(issue.help(format!("write `/{}`", path.trim_matches('/'))));
        }
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<CloudFront>("cdn")]
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of(
            "cdn",
            &["cloudfront:GetDistribution", "cloudfront:UpdateDistribution"],
        )]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let found = cx.read::<CloudFront>().await?.snapshot().await?.distribution;
        let (now, wanted) = compare(&found, input)?;
        let output = output(&found, &now, &wanted);
        if now == wanted {
            let summary = format!("`{}` takes its content from `{}` already", found.id, wanted.domain);
            return Ok(Preview::verified(summary).predict(output));
        }
        let summary = format!(
            "`{}` takes its content from `{}`{}",
            found.id,
            wanted.domain,
            staying(&output)
        );
        Ok(Preview::computed(summary, vec![change(&found, &now, &wanted)]).predict(output))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let cdn = cx.connect::<CloudFront>().await?;
        let mut saved: Option<Output> = cx.saved_output()?;
        let mut tries = 0;
        loop {
            let seen = answer(cx, cdn.snapshot()).await?;
            let (now, wanted) = compare(&seen.distribution, &input)?;
            // What an earlier attempt saw before it changed anything stays what was before.
            let output = saved.get_or_insert_with(|| output(&seen.distribution, &now, &wanted));
            if now == wanted {
                until_deployed(cx, &cdn).await?;
                let before = previous(output);
                if before != wanted {
                    cx.changed(change(&seen.distribution, &before, &wanted)).await;
                }
                return Ok(output.clone());
            }
            cx.save_output(&*output).await?;
            tries += 1;
            match answer(cx, Box::pin(cdn.set_origin(&seen, &wanted))).await {
                Ok(()) => cx.log(format!("every edge is being told{}", staying(output))).await,
                Err(error) if error.kind() == StepErrorKind::Conflict && tries < TRIES => {
                    cx.log(format!("{error}; looking again")).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn probe(&self, cx: &ReadContext, input: &Input) -> Result<Probe<Output>, StepError> {
        let found = cx.read::<CloudFront>().await?.snapshot().await?.distribution;
        let (now, wanted) = compare(&found, input)?;
        let saved: Option<Output> = cx.saved_output()?;
        Ok(match saved {
            _ if now != wanted => Probe::NotStarted,
            _ if !found.deployed => Probe::Running,
            Some(saved) => Probe::Succeeded(saved),
            None => Probe::Succeeded(output(&found, &now, &wanted)),
        })
    }
}

/// The origin as it is and as it is to be.
fn compare(found: &Distribution, input: &Input) -> Result<(Origin, Origin), StepError> {
    let id = input.origin.as_ref().unwrap_or(&found.default_origin);
    let now = found.origin(id).ok_or_else(|| {
        let known: Vec<&str> = found.origins.iter().map(|origin| origin.id.as_str()).collect();
        StepError::not_found(format!("distribution `{}` has no origin `{id}`", found.id))
            .hint(format!("it has {}", known.join(", ")))
    })?;
    let wanted = Origin {
        id: id.clone(),
        domain: input.domain.clone(),
        path: input.path.clone().unwrap_or_else(|| now.path.clone()),
    };
    Ok((now.clone(), wanted))
}

async fn until_deployed(cx: &StepContext, cdn: &CloudFront) -> Result<(), StepError> {
    let mut wait = Wait::new();
    loop {
        let seen = wait.forgive(cx, answer(cx, cdn.snapshot()).await).await?;
        if seen.is_some_and(|seen| seen.distribution.deployed) {
            return Ok(());
        }
        wait.pause(cx, "the edges").await?;
    }
}

fn output(found: &Distribution, now: &Origin, wanted: &Origin) -> Output {
    Output {
        distribution: found.id.clone(),
        origin: wanted.id.clone(),
        domain: wanted.domain.clone(),
        path: wanted.path.clone(),
        previous_domain: now.domain.clone(),
        previous_path: now.path.clone(),
        other_origins: found.other_origins(&wanted.id),
    }
}

/// What does not move, in words that follow what does.
fn staying(output: &Output) -> String {
    match output.other_origins.as_slice() {
        [] => String::new(),
        others => format!("; what it takes from `{}` stays there", others.join("`, `")),
    }
}

/// The origin as it was before this step.
fn previous(output: &Output) -> Origin {
    Origin {
        id: output.origin.clone(),
        domain: output.previous_domain.clone(),
        path: output.previous_path.clone(),
    }
}

fn change(found: &Distribution, now: &Origin, wanted: &Origin) -> Change {
    let place = |origin: &Origin| json!({ "domain": origin.domain, "path": origin.path });
    let object = format!("origin `{}` of distribution `{}`", wanted.id, found.id);
    Change::update(object, place(now), place(wanted))
}

#[cfg(test)]
mod tests;
