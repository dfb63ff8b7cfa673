use std::time::Duration;

use serde_json::json;

use super::*;
use crate::{StepBench, conformance};

fn world() -> (tempfile::TempDir, String) {
    let temp = tempfile::tempdir().expect("a directory");
    let file = temp.path().join("effects").to_string_lossy().into_owned();
    (temp, file)
}

#[tokio::test]
async fn once_keeps_what_step_types_promise() {
    let (_temp, file) = world();
    let input = json!({ "file": file, "name": "a" });
    let make = || {
        drop(fs::remove_file(&file));
        (StepBench::new().key("k"), || effects_in(&file).len())
    };
    conformance::runs_once(&Once, make, input.clone()).await;
    conformance::preview_writes_nothing(&Once, make, input).await;
}

#[tokio::test]
async fn checkpoints_are_gone_on_from() {
    let (_temp, file) = world();
    let make = || {
        drop(fs::remove_file(&file));
        (StepBench::new().key("k"), || effects_in(&file).len())
    };
    let input = json!({ "file": file, "parts": 4 });
    conformance::resumes_after_each_checkpoint(&Checkpoint, make, input).await;
}

#[tokio::test]
#[should_panic(expected = "says that twice equals once")]
async fn a_step_type_that_lies_about_repeating_is_found_out() {
    let (_temp, file) = world();
    let count = || effects_in(&file).len();
    conformance::runs_once(&Liar, || (StepBench::new(), count), json!({ "file": file })).await;
}

#[tokio::test]
#[should_panic(expected = "did not stop within")]
async fn a_deaf_step_type_is_found_out() {
    let make = || (StepBench::new(), || 0);
    let (after, patience) = (Duration::from_millis(5), Duration::from_millis(50));
    conformance::cancels_promptly(&Hang, make, json!({ "deaf": false }), after, patience).await;
    conformance::cancels_promptly(&Hang, make, json!({ "deaf": true }), after, patience).await;
}

/// Says that twice equals once, and it does not.
struct Liar;

#[derive(Debug, Deserialize, JsonSchema)]
struct LiarInput {
    file: String,
}

impl StepType for Liar {
    const NAME: &'static str = "test.liar";
    const SUMMARY: &'static str = "lies";
    const EFFECT: Effect = Effect::Reversible;
    const REPEAT: Repeat = Repeat::Safe;
    type Input = LiarInput;
    type Output = Nothing;
    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }
    async fn preview(&self, _: &ReadContext, _: &LiarInput) -> Result<Preview<Nothing>, StepError> {
        Ok(Preview::declared("lies"))
    }
    async fn run(&self, _: &StepContext, input: LiarInput) -> Result<Nothing, StepError> {
        files::add_line(&input.file, "again")?;
        Ok(Nothing {})
    }
    async fn probe(&self, _: &ReadContext, _: &LiarInput) -> Result<Probe<Nothing>, StepError> {
        Ok(Probe::NotStarted)
    }
}
