//! Step types whose effect is a line in a file, so that effects can be counted.

use std::fs;

use jm_step::{Change, Effect, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The lines of a file: the effects that took place in it. None where it is not there.
pub fn effects_in(file: impl AsRef<std::path::Path>) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

pub(super) fn add_line(file: &str, line: &str) -> Result<(), StepError> {
    super::append(file, line).map_err(|error| StepError::failed(format!("cannot write `{file}`")).source(error))
}

/// The input of [`Once`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FileInput {
    /// The file.
    file: String,
    /// What the line begins with; the idempotency key follows.
    #[serde(default)]
    name: String,
    /// Whether it never comes to its end after the effect.
    #[serde(default)]
    stalls: bool,
}

/// Which line was added.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Line {
    /// The line.
    line: String,
}

impl FileInput {
    fn line(&self, cx: &ReadContext) -> String {
        format!("{} {}", self.name, cx.idempotency_key())
    }

    fn probe(&self, cx: &ReadContext) -> Probe<Line> {
        let line = self.line(cx);
        if effects_in(&self.file).contains(&line) {
            Probe::Succeeded(Line { line })
        } else {
            Probe::NotStarted
        }
    }

    fn preview(&self) -> Preview<Line> {
        Preview::computed("adds a line", vec![self.change()])
    }

    fn change(&self) -> Change {
        Change::create("a line", self.name.clone())
    }

    async fn run(&self, cx: &StepContext) -> Result<Line, StepError> {
        let line = self.line(cx);
        add_line(&self.file, &line)?;
        if self.stalls {
            std::future::pending::<()>().await;
        }
        cx.changed(self.change()).await;
        Ok(Line { line })
    }
}

/// `test.once`: adds a line to a file, which may not happen twice. The probe finds it.
pub(super) struct Once;

impl StepType for Once {
    const NAME: &'static str = "test.once";
    const SUMMARY: &'static str = "adds a line to a file, once";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Probe;
    type Input = FileInput;
    type Output = Line;
    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }
    async fn preview(&self, _: &ReadContext, input: &FileInput) -> Result<Preview<Line>, StepError> {
        Ok(input.preview())
    }
    async fn run(&self, cx: &StepContext, input: FileInput) -> Result<Line, StepError> {
        input.run(cx).await
    }
    async fn probe(&self, cx: &ReadContext, input: &FileInput) -> Result<Probe<Line>, StepError> {
        Ok(input.probe(cx))
    }
}

/// `test.final`: as `test.once`, and cannot be taken back.
pub(super) struct Final;

impl StepType for Final {
    const NAME: &'static str = "test.final";
    const SUMMARY: &'static str = "adds a line to a file, for ever";
    const EFFECT: Effect = Effect::Irreversible;
    const REPEAT: Repeat = Repeat::Probe;
    type Input = FileInput;
    type Output = Line;
    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }
    async fn preview(&self, _: &ReadContext, input: &FileInput) -> Result<Preview<Line>, StepError> {
        Ok(input.preview())
    }
    async fn run(&self, cx: &StepContext, input: FileInput) -> Result<Line, StepError> {
        input.run(cx).await
    }
    async fn probe(&self, cx: &ReadContext, input: &FileInput) -> Result<Probe<Line>, StepError> {
        Ok(input.probe(cx))
    }
}

/// What was made, and where.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// The file.
    #[schemars(extend("x-jm-on-this-machine" = true))]
    file: String,
}

/// `test.make`: makes a file, which later steps need.
pub(super) struct Make;

impl StepType for Make {
    const NAME: &'static str = "test.make";
    const SUMMARY: &'static str = "makes a file that later steps need";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe;
    type Input = Place;
    type Output = Place;
    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }
    async fn preview(&self, _: &ReadContext, _: &Place) -> Result<Preview<Place>, StepError> {
        Ok(Preview::declared("makes a file"))
    }
    async fn run(&self, _: &StepContext, input: Place) -> Result<Place, StepError> {
        add_line(&input.file, "made")?;
        Ok(input)
    }
    async fn probe(&self, _: &ReadContext, _: &Place) -> Result<Probe<Place>, StepError> {
        Ok(Probe::unknown("a file may be anybody's"))
    }
}

/// The input of [`Checkpoint`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PartsInput {
    /// The file.
    file: String,
    /// How many lines.
    parts: u32,
}

/// What `test.checkpoint` did.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Parts {
    /// How many lines are there.
    parts: u32,
}

/// `test.checkpoint`: adds lines one by one, and saves how many there are.
pub(super) struct Checkpoint;

impl StepType for Checkpoint {
    const NAME: &'static str = "test.checkpoint";
    const SUMMARY: &'static str = "adds lines to a file one by one";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe;
    type Input = PartsInput;
    type Output = Parts;
    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }
    async fn preview(&self, _: &ReadContext, input: &PartsInput) -> Result<Preview<Parts>, StepError> {
        Ok(Preview::declared(format!("adds {} lines", input.parts)))
    }
    async fn run(&self, cx: &StepContext, input: PartsInput) -> Result<Parts, StepError> {
        let from = cx.checkpoint::<Parts>()?.map_or(0, |saved| saved.parts);
        for part in from..input.parts {
            let line = format!("{part} {}", cx.idempotency_key());
            if !effects_in(&input.file).contains(&line) {
                add_line(&input.file, &line)?;
            }
            cx.save_checkpoint(Parts { parts: part + 1 }).await?;
        }
        Ok(Parts { parts: input.parts })
    }
    async fn probe(&self, cx: &ReadContext, input: &PartsInput) -> Result<Probe<Parts>, StepError> {
        Ok(match cx.checkpoint::<Parts>()? {
            Some(saved) if saved.parts == input.parts => Probe::Succeeded(saved),
            _ => Probe::partial("some lines may be there"),
        })
    }
}

/// The input of [`Ambiguous`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AmbiguousInput {
    /// The file.
    file: String,
    /// Whether the first attempt takes effect before its answer is lost.
    took: bool,
    /// Whether the probe can tell.
    #[serde(default = "yes")]
    tells: bool,
}

fn yes() -> bool {
    true
}

/// `test.ambiguous`: the answer to its first attempt is lost.
pub(super) struct Ambiguous;

impl StepType for Ambiguous {
    const NAME: &'static str = "test.ambiguous";
    const SUMMARY: &'static str = "loses the answer to its first attempt";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Probe;
    type Input = AmbiguousInput;
    type Output = Line;
    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }
    async fn preview(&self, _: &ReadContext, _: &AmbiguousInput) -> Result<Preview<Line>, StepError> {
        Ok(Preview::declared("adds a line"))
    }
    async fn run(&self, cx: &StepContext, input: AmbiguousInput) -> Result<Line, StepError> {
        let line = cx.idempotency_key().to_owned();
        let first = cx.attempt() == 1;
        if !first || input.took {
            add_line(&input.file, &line)?;
        }
        if first {
            return Err(StepError::ambiguous("the connection went at the end"));
        }
        Ok(Line { line })
    }
    async fn probe(&self, cx: &ReadContext, input: &AmbiguousInput) -> Result<Probe<Line>, StepError> {
        let line = cx.idempotency_key().to_owned();
        Ok(match effects_in(&input.file).contains(&line) {
            _ if !input.tells => Probe::unknown("the file does not say"),
            true => Probe::Succeeded(Line { line }),
            false => Probe::NotStarted,
        })
    }
}
