//! The engine as a whole, on step types that a test can count.

#![expect(clippy::disallowed_methods, reason = "tests look at what a run keeps on disk")]

mod dry;
mod flow;
mod gone;
mod guards;
mod kill;
mod people;
mod resume;
mod store;
mod systems;

use std::sync::Arc;

use jm_plan::Plan;
use jm_run::journal::{MemoryFiles, MemoryJournal};
use jm_run::{Record, RecordKind, Run, RunError, RunState, RunStatus};
use jm_step::{RunInfo, StepId};
use jm_testkit::Recording;

/// A run that can be taken up several times.
struct Session {
    run: Run,
    files: MemoryFiles,
    records: Vec<Record>,
    reporter: Recording,
}

impl Session {
    fn new(plan: &str) -> Self {
        Self::of(&jm_testkit::compile(plan, &jm_testkit::registry()))
    }

    fn of(plan: &Arc<Plan>) -> Self {
        let files = MemoryFiles::new();
        let mut run = Run::new(plan.clone(), jm_testkit::info(plan.name()));
        run.files = Arc::new(files.clone());
        "ada@bastion".clone_into(&mut run.by);
        Self {
            run,
            files,
            records: Vec::new(),
            reporter: Recording::new(),
        }
    }

    /// Runs or resumes.
    async fn go(&mut self) -> RunStatus {
        self.try_go().await.expect("the run comes to an end")
    }

    async fn try_go(&mut self) -> Result<RunStatus, RunError> {
        let mut journal = MemoryJournal::new();
        let end = jm_run::run(&self.run, &self.records, &mut journal, &mut self.reporter.clone()).await;
        self.records.extend(journal.records());
        end
    }

    fn state(&self) -> RunState {
        let graph = Arc::new(jm_run::graph::Graph::of(&self.run.plan));
        RunState::of(&graph).and(&self.records).expect("legal")
    }

    fn status(&self, step: &str) -> &'static str {
        self.state().step(step).expect("a step of the plan").state.status()
    }

    fn output(&self, step: &str) -> serde_json::Value {
        let state = self.state();
        let output = state.step(step).expect("a step of the plan").output.clone();
        jm_run::load(&self.files, &output.expect("it has an output")).expect("readable")
    }

    fn error(&self, step: &str) -> jm_step::ErrorSummary {
        match &self.state().step(step).expect("a step of the plan").state {
            jm_run::StepState::Failed { error, .. } => (**error).clone(),
            other => panic!("`{step}` has not failed: {other:?}"),
        }
    }

    fn keys(&self, step: &str) -> Vec<String> {
        let key = |record: &Record| match &record.kind {
            RecordKind::StepStarted { step: id, key, .. } if id.as_str() == step => Some(key.clone()),
            _ => None,
        };
        self.records.iter().filter_map(key).collect()
    }

    fn story(&self) -> Vec<String> {
        self.reporter.story()
    }
}

fn id(step: &str) -> StepId {
    step.parse().expect("a name")
}

fn info() -> RunInfo {
    jm_testkit::info("p")
}

/// A file in a folder that goes with the test.
fn effects() -> (tempfile::TempDir, String) {
    let temp = tempfile::tempdir().expect("a directory");
    let file = temp.path().join("effects").to_string_lossy().into_owned();
    (temp, file)
}
