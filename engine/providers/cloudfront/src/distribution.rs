//! `cloudfront.distribution`: proves that a distribution is there and is the one that is meant.

use jm_client_cloudfront::{CloudFront, Distribution};
use jm_step::{Effect, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Proves that a distribution is there and is the one that is meant.
pub(crate) struct Look;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// A host name that it has to serve, such as `www.example.com`; empty for any.
    #[serde(default)]
    alias: String,
    /// The host name that its content has to come from, such as `assets.s3.eu-central-1.amazonaws.com`, or the bucket's
    /// name alone; empty for any.
    #[serde(default)]
    origin: String,
    /// The folder of its origin that it has to serve, such as `/production` or a target's prefix; empty for all of it. Left
    /// out: any.
    #[serde(default)]
    path: Option<String>,
    /// Whether it has to answer.
    #[serde(default = "yes")]
    enabled: bool,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// What it is.
    #[serde(flatten)]
    distribution: Distribution,
    /// The address of its first page: the alias that was asked for, else its first one without a `*`, else its own host
    /// name.
    url: String,
    /// The folder of its origin that it serves, without a slash at either end; empty for all of it.
    #[serde(default)]
    folder: String,
    /// The host names of its other origins: what is served from there does not move with the default behaviour's origin.
    #[serde(default)]
    other_origins: Vec<String>,
}

impl StepType for Look {
    const NAME: &'static str = "cloudfront.distribution";
    const SUMMARY: &'static str = "proves that a distribution is there and is the one that is meant";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    type Input = Input;
    type Output = Output;

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<CloudFront>("cdn")]
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of("cdn", &["cloudfront:GetDistribution"])]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let output = look(cx, input).await?;
        let found = &output.distribution;
        let state = if found.deployed { "deployed" } else { "being deployed" };
        let summary = format!("distribution `{}` is as expected, and {state}", found.id);
        Ok(Preview::verified(summary).predict(output))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        look(cx, &input).await
    }

    /// It only looks, so nothing of it can have stayed.
    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

fn yes() -> bool {
    true
}

async fn look(cx: &ReadContext, input: &Input) -> Result<Output, StepError> {
    let found = cx.read::<CloudFront>().await?.snapshot().await?.distribution;
    let faults = faults(&found, input);
    if !faults.is_empty() {
        return Err(
            StepError::failed(format!("distribution `{}` {}", found.id, faults.join(", and ")))
                .hint("see whether CLOUDFRONT_DISTRIBUTION_ID names the right one, and what changed it")
                .evidence(json!(found)),
        );
    }
    Ok(Output {
        url: format!("https://{}/", host(&found, input)),
        folder: folder(&found).to_owned(),
        other_origins: found.other_origins(&found.default_origin),
        distribution: found,
    })
}

/// Where viewers reach it. No host is called `*.example.com`.
fn host<'a>(found: &'a Distribution, input: &'a Input) -> &'a str {
    let mut aliases = [&input.alias].into_iter().chain(&found.aliases);
    let alias = aliases.find(|alias| !alias.is_empty() && !alias.contains('*'));
    alias.unwrap_or(&found.domain)
}

/// The folder of its origin that it serves.
fn folder(found: &Distribution) -> &str {
    let origin = found.origin(&found.default_origin);
    origin.map_or("", |origin| origin.path.trim_matches('/'))
}

/// Whether an alias covers a host name: as it stands, or by a `*` in the place of its first label.
fn covers(alias: &str, host: &str) -> bool {
    let below = alias.strip_prefix("*.");
    alias == host || below.is_some_and(|below| host.split_once('.').is_some_and(|(_, rest)| rest == below))
}

fn faults(found: &Distribution, input: &Input) -> Vec<String> {
    let mut faults = Vec::new();
    if input.enabled && !found.enabled {
        faults.push("is disabled".to_owned());
    }
    if !input.alias.is_empty() && !found.aliases.iter().any(|alias| covers(alias, &input.alias)) {
        faults.push(format!("does not serve `{}`", input.alias));
    }
    let wanted = &input.origin;
    let origin = found.origin(&found.default_origin);
    let serves =
        origin.is_some_and(|origin| origin.domain == *wanted || origin.domain.starts_with(&format!("{wanted}.s3")));
    if !wanted.is_empty() && !serves {
        faults.push(format!("does not take its content from `{wanted}`"));
    }
    let served = folder(found);
    match input.path.as_deref().map(|path| path.trim_matches('/')) {
        Some(path) if path != served => {
            faults.push(format!(
                "serves the folder `/{served}` of its origin, and not `/{path}`"
            ));
        }
        _ => {}
    }
    faults
}

#[cfg(test)]
mod tests;
