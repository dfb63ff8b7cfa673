//! The trait that every step type implements.

use std::future::Future;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::connection::Connection;
use crate::{Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, StepContext, StepError};

/// A system that a step type uses, by the part it plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Role {
    /// The part, such as `database`. A plan that has two targets of one provider names it under `targets`.
    pub name: &'static str,
    /// The provider whose connection it takes, such as `postgres`.
    pub provider: &'static str,
}

impl Role {
    /// The part that a connection of type `C` plays.
    pub const fn of<C: Connection>(name: &'static str) -> Self {
        Self {
            name,
            provider: C::PROVIDER,
        }
    }
}

/// A kind of step. Authors write plain `async fn`s for the three asynchronous methods.
pub trait StepType: Send + Sync + 'static {
    /// `provider.verb`, such as `s3.get`.
    const NAME: &'static str;
    /// One line for `jm step list`, lower case.
    const SUMMARY: &'static str;
    /// The most that any input can do.
    const EFFECT: Effect;
    /// Whether twice equals once.
    const REPEAT: Repeat;
    /// How long one attempt may take where the plan does not say.
    const TIMEOUT: Duration = Duration::from_mins(5);
    /// Whether its success is a proof or a person's consent, such as `postgres.verify` or `manual.approve`: what a plan
    /// owes before its first irreversible step.
    const GATE: bool = false;
    /// What a plan writes under `with`.
    type Input: DeserializeOwned + JsonSchema + Send + Sync + 'static;
    /// What later steps read as `steps.<id>.outputs`.
    type Output: Serialize + DeserializeOwned + JsonSchema + Send + 'static;

    /// Checks what the schema cannot say. Pure: no I/O, no clock, no environment.
    fn check(&self, _input: &Self::Input) -> Result<(), Vec<InputIssue>> {
        Ok(())
    }

    /// The systems it uses.
    fn roles(&self) -> Vec<Role>;

    /// What it needs to be allowed for this input, by role. Each role whose connection type knows rights has an entry.
    fn needs(&self, _input: &Known) -> Vec<Need> {
        Vec::new()
    }

    /// What this input does, where it is less than [`Self::EFFECT`] says.
    fn effect(&self, _input: &Known) -> Effect {
        Self::EFFECT
    }

    /// Whether twice equals once for this input.
    fn repeat(&self, _input: &Known) -> Repeat {
        Self::REPEAT
    }

    /// Tells what `run` would change. May read the target; never writes. Asked only when the whole input is known.
    fn preview(
        &self,
        cx: &ReadContext,
        input: &Self::Input,
    ) -> impl Future<Output = Result<Preview<Self::Output>, StepError>> + Send;

    /// Does it.
    fn run(&self, cx: &StepContext, input: Self::Input)
    -> impl Future<Output = Result<Self::Output, StepError>> + Send;

    /// What became of an attempt whose end was never recorded, or that failed without its being known whether it took
    /// effect?
    fn probe(
        &self,
        cx: &ReadContext,
        input: &Self::Input,
    ) -> impl Future<Output = Result<Probe<Self::Output>, StepError>> + Send;
}
