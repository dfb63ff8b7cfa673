//! `cloudfront.list`: tells which distributions there are.

use jm_client_cloudfront::{CloudFront, Distribution};
use jm_step::{Effect, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tells which distributions there are.
pub(crate) struct List;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// Every distribution that the credentials may see.
    distributions: Vec<Distribution>,
}

impl StepType for List {
    const NAME: &'static str = "cloudfront.list";
    const SUMMARY: &'static str = "tells which distributions there are";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    type Input = Input;
    type Output = Output;

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<CloudFront>("cdn")]
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of("cdn", &["cloudfront:ListDistributions"])]
    }

    async fn preview(&self, cx: &ReadContext, _: &Input) -> Result<Preview<Output>, StepError> {
        let distributions = cx.read::<CloudFront>().await?.list().await?;
        let summary = match distributions.as_slice() {
            [only] => format!("there is one distribution, `{}`", only.id),
            all => format!("there are {} distributions", all.len()),
        };
        Ok(Preview::verified(summary).predict(Output { distributions }))
    }

    async fn run(&self, cx: &StepContext, _: Input) -> Result<Output, StepError> {
        let distributions = cx.read::<CloudFront>().await?.list().await?;
        Ok(Output { distributions })
    }

    /// It only looks, so nothing of it can have stayed.
    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}
