//! The object-safe twin of [`StepType`], with JSON in and out. Never written by hand.

use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use serde::Serialize;
use serde_json::Value;

use crate::schema;
use crate::{
    Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType,
};

/// A step type as the engine sees it.
pub trait AnyStepType: Send + Sync {
    /// See [`StepType::NAME`].
    fn name(&self) -> &'static str;
    /// See [`StepType::SUMMARY`].
    fn summary(&self) -> &'static str;
    /// See [`StepType::EFFECT`].
    fn most_effect(&self) -> Effect;
    /// See [`StepType::effect`].
    fn effect(&self, input: &Known) -> Effect;
    /// See [`StepType::repeat`].
    fn repeat(&self, input: &Known) -> Repeat;
    /// See [`StepType::TIMEOUT`].
    fn timeout(&self) -> Duration;
    /// See [`StepType::GATE`].
    fn is_gate(&self) -> bool;
    /// See [`StepType::roles`].
    fn roles(&self) -> Vec<Role>;
    /// See [`StepType::needs`].
    fn needs(&self, input: &Known) -> Vec<Need>;
    /// JSON Schema (2020-12) of what a plan writes under `with`.
    fn input_schema(&self) -> Value;
    /// JSON Schema (2020-12) of the output.
    fn output_schema(&self) -> Value;
    /// Decodes a whole input and checks what its schema cannot say.
    fn check(&self, input: &Value) -> Result<(), Vec<InputIssue>>;
    /// See [`StepType::preview`].
    fn preview<'a>(&'a self, cx: &'a ReadContext, input: Value) -> BoxFuture<'a, Result<Preview<Value>, StepError>>;
    /// See [`StepType::run`].
    fn run<'a>(&'a self, cx: &'a StepContext, input: Value) -> BoxFuture<'a, Result<Value, StepError>>;
    /// See [`StepType::probe`].
    fn probe<'a>(&'a self, cx: &'a ReadContext, input: Value) -> BoxFuture<'a, Result<Probe<Value>, StepError>>;
}

impl<T: StepType> AnyStepType for T {
    fn name(&self) -> &'static str {
        T::NAME
    }
    fn summary(&self) -> &'static str {
        T::SUMMARY
    }
    fn most_effect(&self) -> Effect {
        T::EFFECT
    }
    fn effect(&self, input: &Known) -> Effect {
        StepType::effect(self, input)
    }
    fn repeat(&self, input: &Known) -> Repeat {
        StepType::repeat(self, input)
    }
    fn timeout(&self) -> Duration {
        T::TIMEOUT
    }
    fn is_gate(&self) -> bool {
        T::GATE
    }
    fn roles(&self) -> Vec<Role> {
        StepType::roles(self)
    }
    fn needs(&self, input: &Known) -> Vec<Need> {
        StepType::needs(self, input)
    }
    fn input_schema(&self) -> Value {
        schema::of::<T::Input>()
    }
    fn output_schema(&self) -> Value {
        schema::of::<T::Output>()
    }
    fn check(&self, input: &Value) -> Result<(), Vec<InputIssue>> {
        let input: T::Input =
            serde_json::from_value(input.clone()).map_err(|error| vec![InputIssue::at("", error.to_string())])?;
        StepType::check(self, &input)
    }
    fn preview<'a>(&'a self, cx: &'a ReadContext, input: Value) -> BoxFuture<'a, Result<Preview<Value>, StepError>> {
        async move { StepType::preview(self, cx, &decode::<T>(input)?).await?.map(encode) }.boxed()
    }
    fn run<'a>(&'a self, cx: &'a StepContext, input: Value) -> BoxFuture<'a, Result<Value, StepError>> {
        async move { encode(StepType::run(self, cx, decode::<T>(input)?).await?) }.boxed()
    }
    fn probe<'a>(&'a self, cx: &'a ReadContext, input: Value) -> BoxFuture<'a, Result<Probe<Value>, StepError>> {
        async move { StepType::probe(self, cx, &decode::<T>(input)?).await?.map(encode) }.boxed()
    }
}

fn decode<T: StepType>(input: Value) -> Result<T::Input, StepError> {
    serde_json::from_value(input)
        .map_err(|error| StepError::invalid_input(format!("the input of `{}` does not fit: {error}", T::NAME)))
}

fn encode(output: impl Serialize) -> Result<Value, StepError> {
    serde_json::to_value(output)
        .map_err(|error| StepError::failed("the output cannot be written as JSON").source(error))
}
