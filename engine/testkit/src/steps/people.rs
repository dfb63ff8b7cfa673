//! Step types for guards and questions.

use jm_step::{Effect, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The input of [`Ask`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AskInput {
    /// What is asked.
    question: String,
}

/// Who said yes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct AskOutput {
    /// The person.
    #[schemars(extend("x-jm-approval" = true))]
    who: String,
}

/// `test.ask`: asks a person.
pub(super) struct Ask;

impl StepType for Ask {
    const NAME: &'static str = "test.ask";
    const SUMMARY: &'static str = "asks a person";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const GATE: bool = true;
    type Input = AskInput;
    type Output = AskOutput;
    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }
    async fn preview(&self, _: &ReadContext, _: &AskInput) -> Result<Preview<AskOutput>, StepError> {
        Ok(Preview::declared("asks a person"))
    }
    async fn run(&self, cx: &StepContext, input: AskInput) -> Result<AskOutput, StepError> {
        let answer = cx.ask_operator(input.question).await?;
        if answer.approved {
            return Ok(AskOutput { who: answer.who });
        }
        Err(StepError::denied(format!("{} said no", answer.who)))
    }
    async fn probe(&self, _: &ReadContext, _: &AskInput) -> Result<Probe<AskOutput>, StepError> {
        Ok(Probe::NotStarted)
    }
}

/// Where a recovery goes back to.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Point {
    /// A time, RFC 3339.
    #[schemars(extend("x-jm-recovery-point" = true))]
    recovery_point: String,
    /// Whether old data is still served.
    #[schemars(extend("x-jm-still-served" = true))]
    serving: bool,
}

/// `test.recover`: says how old the data is that is brought back.
pub(super) struct Recover;

impl StepType for Recover {
    const NAME: &'static str = "test.recover";
    const SUMMARY: &'static str = "says how old the data is that is brought back";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const GATE: bool = true;
    type Input = Point;
    type Output = Point;
    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }
    async fn preview(&self, _: &ReadContext, input: &Point) -> Result<Preview<Point>, StepError> {
        Ok(Preview::verified("knows").predict(copy(input)))
    }
    async fn run(&self, _: &StepContext, input: Point) -> Result<Point, StepError> {
        Ok(input)
    }
    async fn probe(&self, _: &ReadContext, _: &Point) -> Result<Probe<Point>, StepError> {
        Ok(Probe::NotStarted)
    }
}

fn copy(point: &Point) -> Point {
    Point {
        recovery_point: point.recovery_point.clone(),
        serving: point.serving,
    }
}

/// How long it takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StopInput {
    /// In milliseconds.
    #[serde(default)]
    takes: u64,
}

/// Nobody writes any more.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-jm-stops-writing" = true))]
pub(super) struct Stopped {}

/// `test.stop`: lets nobody write any more.
pub(super) struct Stop;

impl StepType for Stop {
    const NAME: &'static str = "test.stop";
    const SUMMARY: &'static str = "lets nobody write any more";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe;
    type Input = StopInput;
    type Output = Stopped;
    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }
    async fn preview(&self, _: &ReadContext, _: &StopInput) -> Result<Preview<Stopped>, StepError> {
        Ok(Preview::declared("stops"))
    }
    async fn run(&self, _: &StepContext, input: StopInput) -> Result<Stopped, StepError> {
        tokio::time::sleep(std::time::Duration::from_millis(input.takes)).await;
        Ok(Stopped {})
    }
    async fn probe(&self, _: &ReadContext, _: &StopInput) -> Result<Probe<Stopped>, StepError> {
        Ok(Probe::NotStarted)
    }
}
