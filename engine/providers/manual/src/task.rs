//! `manual.task`: something that a person does, with what has to hold when it is done, and who said that it does.

use std::path::PathBuf;
use std::time::Duration;

use jm_step::process::{Command, Process};
use jm_step::{
    Answer, Change, Effect, InputIssue, Known, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError,
    StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::AsyncReadExt;

/// How much of what `verify` prints goes with an error, in bytes.
const MOST_OUTPUT: u64 = 1024;
/// How long `verify` may take, each time.
const PATIENCE: Duration = Duration::from_mins(2);

/// Something that a person does.
pub(crate) struct Task;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// What is to be done, in words that a person at night understands.
    #[serde(rename = "do")]
    what: String,
    /// How it is done, one step after the other.
    #[serde(default)]
    how: Vec<String>,
    /// What has to hold when it is done: the exit criteria. The person who says that it is done says that they hold.
    #[serde(default)]
    done_when: Vec<String>,
    /// Who is meant to do it, such as `devops-lead`: a contact of the targets file. Whoever says that it is done is
    /// recorded.
    #[serde(default)]
    who: Option<String>,
    /// A program and its arguments that say whether it is done: exit code 0 for yes, 1 for no, others for "cannot tell".
    /// Asked before the person is, by a dry run, and when the person says that it is done. It has to change nothing.
    #[serde(default)]
    verify: Vec<String>,
    /// Names of variables that `verify` gets as jm has them, such as `KUBECONFIG`.
    #[serde(default)]
    inherit_env: Vec<String>,
    /// Where `verify` runs.
    #[serde(default)]
    dir: Option<PathBuf>,
    /// What the person does to the world, where that is less than `irreversible`.
    #[serde(default)]
    #[expect(
        dead_code,
        reason = "asked for in `StepType::effect`, where the input is not decoded yet"
    )]
    effect: Option<Effect>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// Who said that it is done, such as `ada@bastion`; empty where it was done before anybody was asked.
    who: String,
    /// What else that person said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// When, as RFC 3339.
    at: String,
    /// Whether `verify` said so too.
    verified: bool,
    /// Whether `verify` said so before anybody was asked.
    already_done: bool,
}

impl StepType for Task {
    const NAME: &'static str = "manual.task";
    const SUMMARY: &'static str = "waits until a person has done something, and proves it where that can be proven";
    const EFFECT: Effect = Effect::Irreversible;
    const REPEAT: Repeat = Repeat::Safe; // it asks, and a person who did it once says so again
    const TIMEOUT: Duration = Duration::from_hours(24);
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let mut issues = Vec::new();
        if input.what.trim().is_empty() {
            issues.push(InputIssue::at("/do", "it is missing what is to be done"));
        }
        if input.done_when.iter().all(|text| text.trim().is_empty()) && input.verify.is_empty() {
            let issue = InputIssue::at("/done_when", "nothing says when it is done");
            issues.push(issue.help("name what has to hold, or a program that tells: `verify`"));
        }
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }

    fn effect(&self, input: &Known) -> Effect {
        let said = input.get("effect").cloned();
        said.and_then(|effect| serde_json::from_value(effect).ok())
            .unwrap_or(Self::EFFECT)
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        if let Verdict::Done = verify(cx, input).await? {
            return Ok(Preview::verified(format!("done already: {}", input.what)));
        }
        let who = input.who.as_deref().unwrap_or("a person");
        Ok(Preview::declared(format!(
            "waits until {who} has done it: {}",
            input.what
        )))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        if let Verdict::Done = verify(cx, &input).await? {
            cx.log("done already, says `verify`: nobody is asked").await;
            return Ok(Output {
                who: String::new(),
                reason: None,
                at: cx.now().to_string(),
                verified: true,
                already_done: true,
            });
        }
        let answer = tokio::select! {
            () = cx.cancelled() => return Err(stopped()),
            answer = cx.ask_operator(question(&input)) => answer?,
        };
        if !answer.approved {
            return Err(not_done(cx, &answer));
        }
        let verified = match verify(cx, &input).await? {
            Verdict::Done => true,
            Verdict::NotAsked => false,
            Verdict::No(said) => return Err(disproved(cx, &answer, &said)),
        };
        cx.changed(Change::send(format!("manual task `{}`", cx.step()), input.what))
            .await;
        Ok(Output {
            who: answer.who,
            reason: answer.reason,
            at: answer.at.to_string(),
            verified,
            already_done: false,
        })
    }

    /// An answer is in the journal, and the attempt that comes gets it; without one the task stands again.
    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

/// What people read.
fn question(input: &Input) -> String {
    let mut lines = vec![input.what.clone()];
    let numbered = input.how.iter().enumerate();
    lines.extend(numbered.map(|(index, text)| format!("  {}. {text}", index + 1)));
    if let Some(who) = &input.who {
        lines.push(format!("to be done by {who}"));
    }
    if !input.done_when.is_empty() {
        lines.push("done when:".to_owned());
        lines.extend(input.done_when.iter().map(|text| format!("  - {text}")));
    }
    if let Some(program) = input.verify.first() {
        lines.push(format!("`{program}` is asked when you say that it is done"));
    }
    lines.join("\n")
}

fn stopped() -> StepError {
    StepError::cancelled("told to stop while a person had something to do")
}

fn not_done(cx: &StepContext, answer: &Answer) -> StepError {
    let because = answer
        .reason
        .as_deref()
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    StepError::failed(format!("{} said that it is not done{because}", answer.who))
        .hint(format!("do it, then `jm plan resume {}` asks again", cx.run().id))
        .evidence(json!({ "who": answer.who, "at": answer.at.to_string(), "reason": answer.reason }))
}

fn disproved(cx: &StepContext, answer: &Answer, said: &str) -> StepError {
    StepError::failed(format!(
        "{} said that it is done, and `verify` says that it is not",
        answer.who
    ))
    .hint(format!("finish it, then `jm plan resume {}` asks again", cx.run().id))
    .evidence(json!({ "who": answer.who, "at": answer.at.to_string(), "verify": said }))
}

enum Verdict {
    Done,
    NotAsked,
    /// No, or it cannot be told; what it printed.
    No(String),
}

async fn verify(cx: &ReadContext, input: &Input) -> Result<Verdict, StepError> {
    let Some((program, args)) = input.verify.split_first() else {
        return Ok(Verdict::NotAsked);
    };
    let mut command = Command::new(program).args(args);
    for name in &input.inherit_env {
        if let Some(value) = cx.environment().get(name) {
            command = command.env(name, value);
        }
    }
    if let Some(dir) = &input.dir {
        command = command.dir(dir);
    }
    let mut process = command.spawn(cx.supervisor(), cx.environment())?;
    let asked = tokio::select! {
        () = cx.cancelled() => None,
        () = tokio::time::sleep(PATIENCE) => Some(Err(StepError::timed_out(format!("`{program}` does not come to an end")))),
        told = hear(&mut process) => Some(told),
    };
    match asked {
        None => {
            process.kill().await;
            Err(stopped())
        }
        Some(told) => told,
    }
}

async fn hear(process: &mut Process) -> Result<Verdict, StepError> {
    let (stdout, stderr) = (process.stdout.take(), process.stderr.take());
    let mut said = Vec::new();
    let mut complaint = Vec::new();
    // What is not kept has to be read all the same, or the program would wait for ever.
    let (ended, (), ()) = tokio::join!(process.wait(), drain(stdout, &mut said), drain(stderr, &mut complaint));
    let status = ended?;
    said.extend(complaint);
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    Ok(match status.code() {
        Some(0) => Verdict::Done,
        _ if said.is_empty() => Verdict::No(status.to_string()),
        _ => Verdict::No(format!("{status}: {said}")),
    })
}

async fn drain(pipe: Option<impl tokio::io::AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    // A pipe that breaks is at its end.
    drop((&mut pipe).take(MOST_OUTPUT).read_to_end(kept).await);
    drop(tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await);
}

#[cfg(test)]
mod tests {
    use jm_step::testing::Bench;
    use jm_step::{AnyStepType, Grade, StepErrorKind};
    use serde_json::Value;

    use super::*;

    fn answer(approved: bool) -> Answer {
        Answer {
            approved,
            who: "ada@bastion".to_owned(),
            reason: None,
            at: "2026-11-23T10:00:00Z".parse().expect("a time"),
        }
    }

    fn task(verify: &[&str]) -> Value {
        json!({ "do": "make a cluster", "how": ["open the console"], "done_when": ["three nodes are ready"],
                "who": "devops-lead", "verify": verify })
    }

    #[tokio::test]
    async fn whoever_says_that_it_is_done_is_recorded() {
        let (cx, listener) = Bench::new().answer(answer(true)).step();
        let output = AnyStepType::run(&Task, &cx, task(&[])).await.expect("done");
        assert_eq!(
            output,
            json!({ "who": "ada@bastion", "at": "2026-11-23T10:00:00Z", "verified": false, "already_done": false })
        );
        let told = listener.told(cx).await;
        for part in [
            "make a cluster",
            "1. open the console",
            "by devops-lead",
            "- three nodes are ready",
        ] {
            assert!(told.questions[0].contains(part), "{}", told.questions[0]);
        }
        assert_eq!(told.changes.len(), 1);
    }

    #[tokio::test]
    async fn what_is_done_already_is_asked_of_nobody() {
        let bench = Bench::new().env("PATH", "/usr/bin:/bin");
        let preview = AnyStepType::preview(&Task, &bench.read(), task(&["true"]))
            .await
            .expect("a preview");
        assert_eq!(preview.grade, Grade::Verified);
        let (cx, listener) = bench.step();
        let output = AnyStepType::run(&Task, &cx, task(&["true"])).await.expect("done");
        assert_eq!(
            (&output["already_done"], &output["verified"], &output["who"]),
            (&json!(true), &json!(true), &json!(""))
        );
        assert!(listener.told(cx).await.questions.is_empty());
    }

    #[tokio::test]
    async fn a_word_that_the_program_does_not_confirm_is_not_enough() {
        let bench = Bench::new().env("PATH", "/usr/bin:/bin").answer(answer(true));
        let (cx, _listener) = bench.step();
        let verify = ["sh", "-c", "echo two nodes only; exit 1"];
        let error = AnyStepType::run(&Task, &cx, task(&verify))
            .await
            .expect_err("not proven");
        assert_eq!(error.kind(), StepErrorKind::Failed);
        let seen = error.summary().evidence.expect("evidence");
        assert!(
            seen["verify"]
                .as_str()
                .is_some_and(|said| said.contains("two nodes only")),
            "{seen}"
        );
    }

    #[tokio::test]
    async fn a_no_fails_and_a_stop_is_heard() {
        let (cx, _listener) = Bench::new().answer(answer(false)).step();
        let error = AnyStepType::run(&Task, &cx, task(&[])).await.expect_err("not done");
        assert!(
            error.message().contains("ada@bastion said that it is not done"),
            "{error}"
        );

        let bench = Bench::new();
        let (cx, _listener) = bench.step();
        let waiting = AnyStepType::run(&Task, &cx, task(&[]));
        let stop = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            bench.cancel();
        };
        let (outcome, ()) = tokio::join!(waiting, stop);
        assert_eq!(outcome.expect_err("stopped").kind(), StepErrorKind::Cancelled);
    }

    #[test]
    fn a_task_says_what_and_until_when() {
        assert!(AnyStepType::check(&Task, &task(&[])).is_ok());
        assert!(
            AnyStepType::check(&Task, &json!({ "do": "x" })).is_err(),
            "nothing says when it is done"
        );
        assert!(AnyStepType::check(&Task, &json!({ "do": " ", "done_when": ["y"] })).is_err());
        let effect = |input: Value| AnyStepType::effect(&Task, &Known::new(input));
        assert_eq!(effect(json!({ "effect": "reversible" })), Effect::Reversible);
        assert_eq!(effect(json!({})), Effect::Irreversible);
    }
}
