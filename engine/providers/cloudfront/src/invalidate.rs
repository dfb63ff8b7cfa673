//! `cloudfront.invalidate`: drops cached paths and waits until no edge serves them.

use std::time::Duration;

use jm_client_cloudfront::{Asked, CloudFront, Invalidation, Reader};
use jm_step::{
    Change, Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError,
    StepErrorKind, StepType, Unit,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::paths;
use crate::wait::{Wait, answer};

/// So many paths a month cost nothing; each one more costs [`CENTS`].
const FREE: usize = 1000;
/// US cents for a path, whatever it covers.
const CENTS: f64 = 0.5;
/// So many paths are named in a change: a record of the journal is small.
const NAMED: usize = 20;
/// No invalidation has this id.
const NOBODYS: &str = "NONE";
/// CloudFront names no limit for a reference; this has room for run, step and hash.
const LONGEST_REFERENCE: usize = 128;

/// Drops cached paths and waits until no edge serves them.
pub(crate) struct Invalidate;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Paths to drop, such as `/index.html` or `/static/*`; `*` stands for anything, at the end only. They are encoded
    /// where that is needed, and what another path covers is left out.
    #[serde(default = "everything")]
    paths: Vec<String>,
    /// More paths than this are dropped as the one path `/*`, which costs as much as one path and empties all caches.
    /// Without it they go in batches, one after the other where CloudFront takes no more.
    #[serde(default)]
    #[schemars(range(min = 1))]
    collapse_over: Option<u32>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The distribution's id.
    distribution: String,
    /// The ids of the invalidations, one for each batch of paths.
    invalidations: Vec<String>,
    /// How many paths were dropped, as CloudFront counts and bills them.
    paths: usize,
}

/// The ids of the batches that CloudFront has accepted, in their order. Saved as soon as each is.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Accepted {
    invalidations: Vec<String>,
}

impl StepType for Invalidate {
    const NAME: &'static str = "cloudfront.invalidate";
    const SUMMARY: &'static str = "drops cached paths and waits until no edge serves them";
    const EFFECT: Effect = Effect::Reversible;
    /// The reference makes a second request the same request.
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_mins(45);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let mut issues: Vec<InputIssue> = input
            .paths
            .iter()
            .enumerate()
            .filter_map(|(index, path)| {
                let (fault, help) = paths::fault(path)?;
                Some(InputIssue::at(format!("/paths/{index}"), fault).help(help))
            })
            .collect();
        if input.paths.is_empty() {
            issues.push(InputIssue::at("/paths", "there is no path to drop").help("leave it out to drop `/*`"));
        }
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<CloudFront>("cdn")]
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of(
            "cdn",
            &[
                "cloudfront:GetDistribution",
                "cloudfront:CreateInvalidation",
                "cloudfront:GetInvalidation",
            ],
        )]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let cdn = cx.read::<CloudFront>().await?;
        let id = cdn.snapshot().await?.distribution.id;
        let batches = planned(input);
        let count = batches.iter().map(Vec::len).sum();
        let summary = format!("drops {} from every edge; {}", words(&batches), cost(count));
        Ok(Preview::computed(
            summary,
            batches.iter().map(|batch| change(&id, batch)).collect(),
        ))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let cdn = cx.connect::<CloudFront>().await?;
        let batches = planned(&input);
        let mut accepted: Accepted = cx.checkpoint()?.unwrap_or_default();
        if accepted.invalidations.is_empty() {
            may_follow(cx, &cdn).await?;
        }
        for batch in batches.iter().skip(accepted.invalidations.len()) {
            let invalidation = request(cx, &cdn, batch).await?;
            accepted.invalidations.push(invalidation);
            cx.save_checkpoint(&accepted).await?;
        }
        for (done, invalidation) in accepted.invalidations.iter().enumerate() {
            let total = accepted.invalidations.len() as u64;
            cx.progress(done as u64, Some(total), Unit::Items).await;
            let what = format!("invalidation `{invalidation}` of `{}`", cdn.id()?);
            until_complete(cx, &what, || cdn.invalidation(invalidation)).await?;
        }
        for batch in &batches {
            cx.changed(change(cdn.id()?, batch)).await;
        }
        output(&cdn, accepted, &batches)
    }

    /// Without a checkpoint nothing is known, and nothing is lost: the same reference gives the same invalidation.
    async fn probe(&self, cx: &ReadContext, input: &Input) -> Result<Probe<Output>, StepError> {
        let Some(accepted) = cx.checkpoint::<Accepted>()? else {
            return Ok(Probe::NotStarted);
        };
        let cdn = cx.read::<CloudFront>().await?;
        let batches = planned(input);
        let mut running = false;
        for id in &accepted.invalidations {
            match cdn.invalidation(id).await? {
                Some(invalidation) => running |= !invalidation.completed,
                None => return Ok(Probe::NotStarted),
            }
        }
        let (known, all) = (accepted.invalidations.len(), batches.len());
        Ok(if known < all {
            Probe::partial(format!("{known} of {all} batches of paths are accepted"))
        } else if running {
            Probe::Running
        } else {
            Probe::Succeeded(output(&cdn, accepted, &batches)?)
        })
    }
}

fn everything() -> Vec<String> {
    vec!["/*".to_owned()]
}

/// The batches of paths that an input comes to.
fn planned(input: &Input) -> Vec<Vec<String>> {
    let paths = paths::needed(&input.paths);
    let most = input.collapse_over.and_then(|most| usize::try_from(most).ok());
    match most {
        Some(most) if paths.len() > most => paths::batches(everything()),
        _ => paths::batches(paths),
    }
}

/// What is accepted and may not be looked at fails the step, and whoever resumes it then asks, and pays, once more: so
/// that is found before anything is asked for.
async fn may_follow(cx: &StepContext, cdn: &CloudFront) -> Result<(), StepError> {
    let mut wait = Wait::new();
    loop {
        match answer(cx, cdn.invalidation(NOBODYS)).await {
            Err(error) if matches!(error.kind(), StepErrorKind::Denied | StepErrorKind::Cancelled) => {
                return Err(error);
            }
            Err(error) if error.kind().is_transient() => {
                wait.forgive::<()>(cx, Err(error)).await?;
            }
            _ => return Ok(()),
        }
        wait.pause(cx, "CloudFront to answer").await?;
    }
}

/// Asks for an invalidation until CloudFront takes it.
async fn request(cx: &StepContext, cdn: &CloudFront, batch: &[String]) -> Result<String, StepError> {
    let reference = reference(cx.idempotency_key(), batch);
    let mut wait = Wait::new();
    let mut queued = false;
    loop {
        // The reference finds an invalidation again whose answer is lost.
        let asked = answer(cx, cdn.invalidate(batch, &reference)).await;
        match wait.forgive(cx, asked).await? {
            Some(Asked::Accepted(invalidation)) => return Ok(invalidation.id),
            Some(Asked::Full) if !queued => {
                queued = true;
                cx.log("CloudFront drops as many paths at a time as it can: waiting for a place")
                    .await;
            }
            Some(Asked::Full) | None => {}
        }
        wait.pause(cx, "CloudFront to take the paths").await?;
    }
}

/// What CloudFront tells repeats of one request by: the deed, and the paths.
fn reference(key: &str, batch: &[String]) -> String {
    let mut hasher = Sha256::new();
    for path in batch {
        hasher.update(path.as_bytes());
        hasher.update([0]);
    }
    let content = &hex::encode(hasher.finalize())[..16];
    let reference = format!("jm-{key}-{content}");
    if reference.len() <= LONGEST_REFERENCE {
        return reference;
    }
    format!("jm-{}", hex::encode(Sha256::digest(reference)))
}

/// Looks until nothing is left to drop. For how long, the step's time-out says.
async fn until_complete<L>(cx: &StepContext, what: &str, look: impl Fn() -> L) -> Result<(), StepError>
where
    L: Future<Output = Result<Option<Invalidation>, StepError>>,
{
    let mut wait = Wait::new();
    loop {
        let looked = answer(cx, look()).await;
        let found = wait.forgive(cx, looked).await?;
        match found {
            Some(Some(found)) if found.completed => return Ok(()),
            Some(None) => {
                return Err(StepError::not_found(format!("{what} is gone")).hint("`jm run retry` drops the paths anew"));
            }
            Some(Some(_)) | None => wait.pause(cx, "the edges").await?,
        }
    }
}

fn output(cdn: &Reader, accepted: Accepted, batches: &[Vec<String>]) -> Result<Output, StepError> {
    Ok(Output {
        distribution: cdn.id()?.to_owned(),
        invalidations: accepted.invalidations,
        paths: batches.iter().map(Vec::len).sum(),
    })
}

fn change(distribution: &str, batch: &[String]) -> Change {
    let named: Vec<&String> = batch.iter().take(NAMED).collect();
    Change::send(
        format!("cache of distribution `{distribution}`"),
        json!({ "drop": named, "paths": batch.len() }),
    )
}

fn words(batches: &[Vec<String>]) -> String {
    match batches {
        [batch] if batch.len() == 1 => format!("`{}`", batch[0]),
        [batch] => format!("{} paths", batch.len()),
        _ => {
            let count: usize = batches.iter().map(Vec::len).sum();
            format!("{count} paths in {} batches", batches.len())
        }
    }
}

/// What it costs, as far as that can be said without the month's bill.
fn cost(count: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a sum of money for people")]
    let dollars = count as f64 * CENTS / 100.0;
    format!("{count} of the {FREE} paths a month that are free, {dollars:.3} USD once those are used up")
}

#[cfg(test)]
mod tests;
