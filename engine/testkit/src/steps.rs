//! Step types that do little, and of which a test can see what they did.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::Duration;

use jm_step::{
    Change, Effect, Preview, Probe, Provider, ReadContext, Registry, Repeat, Role, StepContext, StepError,
    StepErrorKind, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod files;
pub use files::effects_in;
use files::{Ambiguous, Checkpoint, Final, Make, Once};
mod people;
use people::{Ask, Recover, Stop};

/// The provider `test`.
pub fn provider() -> Provider {
    Provider::new("test")
        .step(Noop)
        .step(Echo)
        .step(Look)
        .step(Fail)
        .step(Flaky)
        .step(Hang)
        .step(Panic)
        .step(Save)
        .step(Once)
        .step(Final)
        .step(Make)
        .step(Checkpoint)
        .step(Ambiguous)
        .step(Ask)
        .step(Recover)
        .step(Stop)
}

/// A registry with the provider `test` alone.
pub fn registry() -> Registry {
    Registry::new().with(provider())
}

/// An output without fields.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Nothing {}

/// An input without fields.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoInput {}

/// `test.noop`: does nothing.
struct Noop;

impl StepType for Noop {
    const NAME: &'static str = "test.noop";
    const SUMMARY: &'static str = "does nothing";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    type Input = NoInput;
    type Output = Nothing;
    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }
    async fn preview(&self, _: &ReadContext, _: &NoInput) -> Result<Preview<Nothing>, StepError> {
        Ok(Preview::computed("does nothing", Vec::new()).predict(Nothing {}))
    }
    async fn run(&self, _: &StepContext, _: NoInput) -> Result<Nothing, StepError> {
        Ok(Nothing {})
    }
    async fn probe(&self, _: &ReadContext, _: &NoInput) -> Result<Probe<Nothing>, StepError> {
        Ok(Probe::NotStarted)
    }
}

/// The input of [`Echo`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EchoInput {
    /// Anything.
    value: Value,
    /// Milliseconds that it takes.
    #[serde(default)]
    takes: u64,
    /// Whether the run ends degraded.
    #[serde(default)]
    degraded: bool,
}

/// The output of [`Echo`].
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct EchoOutput {
    /// What went in.
    value: Value,
}

/// `test.echo`: gives out what it is given, and says that it sent it.
struct Echo;

impl StepType for Echo {
    const NAME: &'static str = "test.echo";
    const SUMMARY: &'static str = "gives out what it is given";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe;
    type Input = EchoInput;
    type Output = EchoOutput;
    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }
    async fn preview(&self, _: &ReadContext, input: &EchoInput) -> Result<Preview<EchoOutput>, StepError> {
        let value = input.value.clone();
        let changes = vec![Change::send("echo", value.clone())];
        Ok(Preview::computed("echoes", changes).predict(EchoOutput { value }))
    }
    async fn run(&self, cx: &StepContext, input: EchoInput) -> Result<EchoOutput, StepError> {
        let pause = tokio::time::sleep(Duration::from_millis(input.takes));
        tokio::select! {
            () = pause => {}
            () = cx.cancelled() => return Err(StepError::cancelled("told to stop")),
        }
        if input.degraded {
            cx.degraded("told to").await?;
        }
        cx.log(format!("echo {}", input.value)).await;
        cx.changed(Change::send("echo", input.value.clone())).await;
        Ok(EchoOutput { value: input.value })
    }
    async fn probe(&self, _: &ReadContext, _: &EchoInput) -> Result<Probe<EchoOutput>, StepError> {
        Ok(Probe::unknown("an echo leaves no trace"))
    }
}

/// The output of [`Look`].
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct LookOutput {
    /// Which attempt saw it.
    attempt: u32,
    /// What the file holds, empty where it is not there.
    content: String,
}

/// The input of [`Look`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LookInput {
    /// A file.
    #[serde(default)]
    file: String,
}

/// `test.look`: only looks. It fails where something is there that is no file.
struct Look;

fn look(attempt: u32, input: &LookInput) -> Result<LookOutput, StepError> {
    let content = match fs::read_to_string(&input.file) {
        Err(error) if error.kind() == std::io::ErrorKind::IsADirectory => {
            return Err(StepError::failed("that is no file").source(error));
        }
        read => read.unwrap_or_default(),
    };
    Ok(LookOutput { attempt, content })
}

impl StepType for Look {
    const NAME: &'static str = "test.look";
    const SUMMARY: &'static str = "only looks";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    type Input = LookInput;
    type Output = LookOutput;
    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }
    async fn preview(&self, cx: &ReadContext, input: &LookInput) -> Result<Preview<LookOutput>, StepError> {
        Ok(Preview::verified("looks").predict(look(cx.attempt(), input)?))
    }
    async fn run(&self, cx: &StepContext, input: LookInput) -> Result<LookOutput, StepError> {
        look(cx.attempt(), &input)
    }
    async fn probe(&self, _: &ReadContext, _: &LookInput) -> Result<Probe<LookOutput>, StepError> {
        Ok(Probe::NotStarted)
    }
}

/// The input of [`Fail`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FailInput {
    /// Why.
    #[serde(default)]
    message: String,
    /// Of which kind; `failed` where nothing is said.
    kind: Option<StepErrorKind>,
    /// While this file is there; always, where none is named.
    #[serde(rename = "while")]
    file: Option<String>,
}

/// `test.fail`: fails, with a saved output of one field.
struct Fail;

impl StepType for Fail {
    const NAME: &'static str = "test.fail";
    const SUMMARY: &'static str = "fails";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe;
    type Input = FailInput;
    type Output = EchoOutput;
    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }
    async fn preview(&self, _: &ReadContext, input: &FailInput) -> Result<Preview<EchoOutput>, StepError> {
        Err(failure(input).unwrap_or_else(|| StepError::failed("it will not fail")))
    }
    async fn run(&self, cx: &StepContext, input: FailInput) -> Result<EchoOutput, StepError> {
        let value = Value::from(cx.idempotency_key());
        cx.save_output(EchoOutput { value: value.clone() }).await?;
        failure(&input).map_or(Ok(EchoOutput { value }), Err)
    }
    async fn probe(&self, _: &ReadContext, _: &FailInput) -> Result<Probe<EchoOutput>, StepError> {
        Ok(Probe::NotStarted)
    }
}

fn failure(input: &FailInput) -> Option<StepError> {
    let broken = input.file.as_ref().is_none_or(|file| fs::exists(file).unwrap_or(false));
    let kind = input.kind.unwrap_or(StepErrorKind::Failed);
    broken.then(|| StepError::new(kind, format!("told to fail: {}", input.message)).hint("do not tell it to"))
}

/// The input of [`Flaky`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FlakyInput {
    /// How many attempts fail before one succeeds.
    failures: u32,
}

/// `test.flaky`: fails as often as it is told to.
struct Flaky;

impl StepType for Flaky {
    const NAME: &'static str = "test.flaky";
    const SUMMARY: &'static str = "fails a few times";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe;
    type Input = FlakyInput;
    type Output = EchoOutput;
    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }
    async fn preview(&self, _: &ReadContext, _: &FlakyInput) -> Result<Preview<EchoOutput>, StepError> {
        Ok(Preview::declared("fails a few times"))
    }
    async fn run(&self, cx: &StepContext, input: FlakyInput) -> Result<EchoOutput, StepError> {
        if cx.attempt() <= input.failures {
            let last = if cx.is_tried_again() { "" } else { ", the last" };
            let said = format!("attempt {} is to fail{last}", cx.attempt());
            return Err(StepError::unavailable(said));
        }
        Ok(EchoOutput {
            value: Value::from(cx.idempotency_key()),
        })
    }
    async fn probe(&self, _: &ReadContext, _: &FlakyInput) -> Result<Probe<EchoOutput>, StepError> {
        Ok(Probe::NotStarted)
    }
}

/// The input of [`Hang`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HangInput {
    /// Whether it does not listen when it is told to stop.
    #[serde(default)]
    deaf: bool,
    /// A line is added to this file when it begins.
    file: Option<String>,
}

/// `test.hang`: never ends by itself.
struct Hang;

impl StepType for Hang {
    const NAME: &'static str = "test.hang";
    const SUMMARY: &'static str = "never ends by itself";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe;
    type Input = HangInput;
    type Output = Nothing;
    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }
    async fn preview(&self, _: &ReadContext, _: &HangInput) -> Result<Preview<Nothing>, StepError> {
        Ok(Preview::declared("hangs"))
    }
    async fn run(&self, cx: &StepContext, input: HangInput) -> Result<Nothing, StepError> {
        if let Some(file) = &input.file {
            files::add_line(file, "begun")?;
        }
        if input.deaf {
            std::future::pending::<()>().await;
        }
        cx.cancelled().await;
        Err(StepError::cancelled("told to stop"))
    }
    async fn probe(&self, _: &ReadContext, _: &HangInput) -> Result<Probe<Nothing>, StepError> {
        Ok(Probe::NotStarted)
    }
}

/// `test.panic`: has a bug.
struct Panic;

impl StepType for Panic {
    const NAME: &'static str = "test.panic";
    const SUMMARY: &'static str = "has a bug";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe;
    type Input = NoInput;
    type Output = Nothing;
    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }
    async fn preview(&self, _: &ReadContext, _: &NoInput) -> Result<Preview<Nothing>, StepError> {
        Ok(Preview::declared("panics"))
    }
    async fn run(&self, _: &StepContext, _: NoInput) -> Result<Nothing, StepError> {
        panic!("told to panic")
    }
    async fn probe(&self, _: &ReadContext, _: &NoInput) -> Result<Probe<Nothing>, StepError> {
        Ok(Probe::NotStarted)
    }
}

/// The input of [`Save`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SaveInput {
    /// Is saved as a checkpoint.
    checkpoint: Option<Value>,
    /// Is saved as the output so far.
    output: Option<Value>,
    /// Bytes of which a text in the output consists.
    #[serde(default)]
    bytes: usize,
}

/// `test.save`: saves what it is told to, and gives out a text of some size.
struct Save;

impl StepType for Save {
    const NAME: &'static str = "test.save";
    const SUMMARY: &'static str = "saves what it is told to";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe;
    type Input = SaveInput;
    type Output = EchoOutput;
    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }
    async fn preview(&self, _: &ReadContext, _: &SaveInput) -> Result<Preview<EchoOutput>, StepError> {
        Ok(Preview::declared("saves"))
    }
    async fn run(&self, cx: &StepContext, input: SaveInput) -> Result<EchoOutput, StepError> {
        if let Some(checkpoint) = input.checkpoint {
            cx.save_checkpoint(checkpoint).await?;
        }
        if let Some(value) = input.output {
            cx.save_output(EchoOutput { value }).await?;
        }
        Ok(EchoOutput {
            value: Value::from("x".repeat(input.bytes)),
        })
    }
    async fn probe(&self, _: &ReadContext, _: &SaveInput) -> Result<Probe<EchoOutput>, StepError> {
        Ok(Probe::NotStarted)
    }
}

fn append(file: &str, line: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    file.write_all(format!("{line}\n").as_bytes())
}

#[cfg(test)]
mod tests;
