//! `notify.webhook`: tells people how it goes.

use std::time::Duration;

use jm_step::{Change, Effect, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::payload::{Message, Severity};
use crate::webhook::Webhook;

/// Tells people how it goes.
pub(crate) struct Send;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// What happened in one word, such as `started`, `completed` or `failed`.
    status: String,
    /// What people read.
    message: String,
    /// How bad it is. Follows from `status` where it is not given.
    #[serde(default)]
    severity: Option<Severity>,
    /// More for the message, by name.
    #[serde(default)]
    fields: Map<String, Value>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The status that the receiver answered.
    status_code: u16,
    /// The key by which the receiver can tell a repetition.
    idempotency_key: String,
}

impl StepType for Send {
    const NAME: &'static str = "notify.webhook";
    const SUMMARY: &'static str = "tells people how it goes";
    // A message cannot be unsent, and yet nobody would call it the point of no return.
    const EFFECT: Effect = Effect::Reversible;
    // Every delivery of one message carries one key.
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_mins(1);
    type Input = Input;
    type Output = Output;

    fn roles(&self) -> Vec<Role> {
        vec![Role::of::<Webhook>("webhook")]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let webhook = cx.read::<Webhook>().await?;
        let summary = format!("tells {}: {}", webhook.host, input.status);
        Ok(Preview::declared(summary).with_changes(vec![change(cx, input)]))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let webhook = cx.connect::<Webhook>().await?;
        let change = change(cx, &input);
        let key = cx.idempotency_key().to_owned();
        let mut body = message(cx, input).body(webhook.kind());
        // People read it outside: what is secret here stays here.
        cx.secrets().mask_json(&mut body);
        let body = body.to_string();
        let reply = tokio::select! {
            () = cx.cancelled() => return Err(StepError::cancelled("told to stop while telling people")),
            reply = webhook.deliver(&body, &key) => reply?,
        };
        cx.changed(change).await;
        Ok(Output {
            status_code: reply.status,
            idempotency_key: key,
        })
    }

    /// A webhook cannot be asked what it was told. A repetition carries the same key.
    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::unknown("a webhook cannot be asked whether a message arrived"))
    }
}

fn message(cx: &ReadContext, input: Input) -> Message {
    let run = cx.run();
    Message {
        severity: input.severity.unwrap_or_else(|| Severity::of_status(&input.status)),
        status: input.status,
        message: input.message,
        timestamp: cx.now().to_string(),
        plan: run.plan.clone(),
        run: run.id.to_string(),
        step: cx.step().to_string(),
        drill: run.drill,
        key: cx.idempotency_key().to_owned(),
        fields: input.fields,
    }
}

fn change(cx: &ReadContext, input: &Input) -> Change {
    let target = cx.target("webhook").map_or("webhook", |name| name.as_str());
    Change::send(
        format!("message to `{target}`"),
        json!({ "status": input.status, "message": input.message }),
    )
}

#[cfg(test)]
mod tests;
