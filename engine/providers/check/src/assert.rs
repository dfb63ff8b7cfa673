//! `check.assert`: fails unless something is true.

use jm_step::{Effect, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Fails unless something is true.
pub(crate) struct Assert;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// What has to be true: an expression over inputs and outputs.
    that: bool,
    /// What people read where it is not: what is wrong, and what that means.
    message: String,
    /// What to do then.
    #[serde(default)]
    hint: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// Always true: where it is not, the step fails.
    passed: bool,
}

impl StepType for Assert {
    const NAME: &'static str = "check.assert";
    const SUMMARY: &'static str = "fails unless something is true";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const GATE: bool = true;
    type Input = Input;
    type Output = Output;

    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }

    async fn preview(&self, _: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        passed(input).map(|output| Preview::verified("it is true").predict(output))
    }

    async fn run(&self, _: &StepContext, input: Input) -> Result<Output, StepError> {
        passed(&input)
    }

    /// It only looks, so nothing of it can have stayed.
    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

fn passed(input: &Input) -> Result<Output, StepError> {
    if input.that {
        return Ok(Output { passed: true });
    }
    let hint = input
        .hint
        .as_deref()
        .unwrap_or("see the outputs that `that` is made of: `jm run show` prints them");
    Err(StepError::failed(&input.message).hint(hint))
}

#[cfg(test)]
mod tests {
    use jm_step::testing::Bench;
    use jm_step::{AnyStepType, Grade, StepErrorKind};
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn what_is_true_passes() {
        let bench = Bench::new();
        let input = json!({ "that": true, "message": "no" });
        let preview = AnyStepType::preview(&Assert, &bench.read(), input.clone())
            .await
            .expect("a preview");
        assert_eq!(
            (preview.grade, preview.predicted),
            (Grade::Verified, Some(json!({ "passed": true })))
        );
        let (cx, _listener) = bench.step();
        assert_eq!(
            AnyStepType::run(&Assert, &cx, input).await.expect("passes"),
            json!({ "passed": true })
        );
    }

    #[tokio::test]
    async fn what_is_not_fails_with_its_message_in_the_preview_too() {
        let bench = Bench::new();
        let input = json!({ "that": false, "message": "the database is empty", "hint": "restore it" });
        let error = AnyStepType::preview(&Assert, &bench.read(), input.clone())
            .await
            .expect_err("would fail");
        assert_eq!(error.kind(), StepErrorKind::Failed);
        let (cx, _listener) = bench.step();
        let error = AnyStepType::run(&Assert, &cx, input).await.expect_err("fails");
        assert_eq!(
            (error.message(), error.hint_text()),
            ("the database is empty", Some("restore it"))
        );
    }

    #[test]
    fn only_a_boolean_is_an_answer() {
        AnyStepType::check(&Assert, &json!({ "that": "yes", "message": "m" })).expect_err("text is not true");
    }
}
