//! Plans for tests.

use std::sync::Arc;

use jm_plan::{Arguments, Mode, Plan};
use jm_step::{Registry, RunId, RunInfo, clock};

/// What a run of a plan is called.
pub fn info(plan: &str) -> RunInfo {
    RunInfo {
        id: RunId::generate(),
        plan: plan.to_owned(),
        started_at: clock::now(),
        drill: false,
    }
}

/// Compiles a plan that has to be right.
///
/// # Panics
/// With everything that is wrong with it.
pub fn compile(text: &str, registry: &Registry) -> Arc<Plan> {
    let (document, _) = jm_plan::parse("test.yaml", text);
    let compiled = jm_plan::compile(
        &document,
        registry,
        &Arguments::default(),
        None,
        Mode::Run,
        clock::now(),
    );
    let compiled = compiled.unwrap_or_else(|errors| panic!("the plan is wrong: {errors:?}"));
    Arc::new(compiled.plan)
}
