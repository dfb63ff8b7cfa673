//! `manual.approve`: waits until a person says yes.

use std::time::Duration;

use jm_step::{
    Answer, Effect, InputIssue, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Waits until a person says yes.
pub(crate) struct Approve;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// What is asked: what happens after a yes, and what to look at before it.
    message: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// Who approved, such as `ada@bastion`.
    #[schemars(extend("x-jm-approval" = true))]
    who: String,
    /// Why, in the person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// When, as RFC 3339.
    at: String,
}

impl StepType for Approve {
    const NAME: &'static str = "manual.approve";
    const SUMMARY: &'static str = "waits until a person says yes";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_hours(24);
    const GATE: bool = true;
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        match input.message.trim() {
            "" => Err(vec![
                InputIssue::at("/message", "a question is missing").help("say what happens after a yes"),
            ]),
            _ => Ok(()),
        }
    }

    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }

    async fn preview(&self, _: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        Ok(Preview::declared(format!(
            "waits until a person approves: {}",
            input.message
        )))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let answer = tokio::select! {
            () = cx.cancelled() => return Err(StepError::cancelled("told to stop while waiting for approval")),
            answer = cx.ask_operator(&input.message) => answer?,
        };
        if answer.approved {
            Ok(output(answer))
        } else {
            Err(rejected(cx, &answer))
        }
    }

    /// An answer is in the journal, and the attempt that comes gets it; without one the question stands again.
    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

fn output(answer: Answer) -> Output {
    Output {
        who: answer.who,
        reason: answer.reason,
        at: answer.at.to_string(),
    }
}

fn rejected(cx: &StepContext, answer: &Answer) -> StepError {
    let because = answer
        .reason
        .as_deref()
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    StepError::failed(format!("{} said no{because}", answer.who))
        .hint(format!(
            "settle it with {}, then `jm plan resume {}` asks again",
            answer.who,
            cx.run().id
        ))
        .evidence(json!({ "who": answer.who, "at": answer.at.to_string(), "reason": answer.reason }))
}

#[cfg(test)]
mod tests {
    use jm_step::testing::Bench;
    use jm_step::{AnyStepType, StepErrorKind};

    use super::*;

    fn answer(approved: bool) -> Answer {
        Answer {
            approved,
            who: "ada@bastion".to_owned(),
            reason: Some("looked at the copy".to_owned()),
            at: "2026-11-23T10:00:00Z".parse().expect("a time"),
        }
    }

    #[tokio::test]
    async fn a_yes_is_an_output() {
        let (cx, listener) = Bench::new().answer(answer(true)).step();
        let output = AnyStepType::run(&Approve, &cx, json!({ "message": "switch?" }))
            .await
            .expect("approved");
        assert_eq!(
            output,
            json!({ "who": "ada@bastion", "reason": "looked at the copy", "at": "2026-11-23T10:00:00Z" })
        );
        assert_eq!(listener.told(cx).await.questions, ["switch?"]);
    }

    #[tokio::test]
    async fn a_no_fails_and_says_who_and_why() {
        let (cx, _listener) = Bench::new().answer(answer(false)).step();
        let error = AnyStepType::run(&Approve, &cx, json!({ "message": "switch?" }))
            .await
            .expect_err("rejected");
        assert_eq!(error.kind(), StepErrorKind::Failed);
        assert_eq!(error.message(), "ada@bastion said no: looked at the copy");
    }

    #[tokio::test]
    async fn without_an_answer_it_waits_until_told_to_stop() {
        let bench = Bench::new();
        let (cx, _listener) = bench.step();
        let waiting = AnyStepType::run(&Approve, &cx, json!({ "message": "switch?" }));
        let stop = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            bench.cancel();
        };
        let (outcome, ()) = tokio::join!(waiting, stop);
        assert_eq!(outcome.expect_err("stopped").kind(), StepErrorKind::Cancelled);
    }

    #[test]
    fn a_question_is_needed() {
        AnyStepType::check(&Approve, &json!({ "message": " " })).expect_err("empty");
    }
}
