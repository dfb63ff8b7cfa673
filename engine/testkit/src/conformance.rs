//! What every step type owes, checked against a world that the test makes: a fake client, a folder, a real server.
//!
//! Each check takes a function that makes the world afresh, since each case needs one that nothing has happened in.

use std::time::{Duration, Instant};

use jm_step::{AnyStepType, Effect, Known, Preview, Probe, Repeat, StepErrorKind};
use serde_json::Value;

use crate::{Ran, StepBench};

/// Somewhere for a step to act, that counts what is done to it.
pub trait World {
    /// What the step is given.
    fn bench(&self) -> StepBench;
    /// How often the effect took place.
    fn effects(&self) -> usize;
    /// Fields of the output, as JSON pointers, that another look or another world tells differently: an age, a number that
    /// a server gave. They have to be there, and are not compared.
    fn incidental(&self) -> &'static [&'static str] {
        &[]
    }
}

/// An output without what is incidental in it.
fn essence(world: &impl World, mut output: Value) -> Value {
    for pointer in world.incidental() {
        let field = output
            .pointer_mut(pointer)
            .unwrap_or_else(|| panic!("the output has no `{pointer}` to leave out"));
        *field = Value::Null;
    }
    output
}

/// A bench and a count.
impl<F: Fn() -> usize> World for (StepBench, F) {
    fn bench(&self) -> StepBench {
        self.0.clone()
    }
    fn effects(&self) -> usize {
        (self.1)()
    }
}

/// One run makes one effect (none, for a step that only looks). Where repeating is safe, another attempt at the same deed,
/// with what the first one saved as the engine hands it on, makes no more of it; where it is not, the probe then knows that
/// it was done, for the engine goes by that alone.
///
/// # Panics
/// Where the step type breaks that promise.
pub async fn runs_once<W: World>(step: &dyn AnyStepType, world: impl Fn() -> W, input: Value) {
    let world = world();
    let expected = usize::from(step.effect(&Known::new(input.clone())) != Effect::ReadOnly);
    let first = world.bench().run(step, input.clone()).await;
    let bench = handed_on(&world, &first);
    done(step, first);
    assert_eq!(world.effects(), expected, "`{}`: effects after one run", step.name());
    if step.repeat(&Known::new(input.clone())) == Repeat::Safe {
        done(step, bench.run(step, input.clone()).await);
        assert_eq!(
            world.effects(),
            expected,
            "`{}` says that twice equals once",
            step.name()
        );
    } else {
        let verdict = bench.probe(step, input).await.expect("the probe answers");
        assert!(
            matches!(verdict, Probe::Succeeded(_)),
            "`{}`: the probe of what was done says {verdict:?}",
            step.name()
        );
    }
}

/// Cut off after each time that it saved something, and taken up again as the engine would, the step comes to the same
/// output with one effect.
///
/// # Panics
/// Where the step type breaks that promise, or saves nothing, so that there is nothing to check.
pub async fn resumes_after_each_checkpoint<W: World>(step: &dyn AnyStepType, make: impl Fn() -> W, input: Value) {
    let world = make();
    let whole = world.bench().run(step, input.clone()).await;
    let (saves, effects) = (whole.saves(), world.effects());
    let output = essence(&world, done(step, whole));
    assert!(saves > 0, "`{}` saves nothing", step.name());
    for cut in 1..=saves {
        let world = make();
        let first = world.bench().run_until(step, input.clone(), cut).await;
        let (resumed, attempts) = take_up(step, &world, &first, input.clone()).await;
        let resumed = essence(&world, resumed);
        assert_eq!(resumed, output, "`{}`, cut after save {cut}: the output", step.name());
        assert_eq!(
            world.effects(),
            effects,
            "`{}`, cut after save {cut}: effects ({attempts} attempts)",
            step.name()
        );
    }
}

/// The step saves nothing on its way, so that there is nowhere to cut it: the counterpart of
/// [`resumes_after_each_checkpoint`].
///
/// # Panics
/// Where it saves something, or fails.
pub async fn saves_nothing<W: World>(step: &dyn AnyStepType, make: impl Fn() -> W, input: Value) {
    // Kept to the end: with it goes what the step talks to.
    let world = make();
    let ran = world.bench().run(step, input).await;
    assert_eq!(
        ran.saves(),
        0,
        "`{}` saves something: it can be cut there, and has to resume",
        step.name()
    );
    done(step, ran);
}

/// What the engine does with an attempt whose end is not known.
async fn take_up(step: &dyn AnyStepType, world: &impl World, first: &Ran, input: Value) -> (Value, u32) {
    let with_checkpoint = handed_on(world, first);
    let safe = step.repeat(&Known::new(input.clone())) == Repeat::Safe;
    for _ in 0..200 {
        match with_checkpoint
            .probe(step, input.clone())
            .await
            .expect("the probe answers")
        {
            Probe::Succeeded(output) => return (output, 1),
            // Checkpoints are dropped, outputs stay.
            Probe::NotStarted => return (done(step, saved_outputs(world, first).run(step, input).await), 2),
            Probe::Running => tokio::time::sleep(Duration::from_millis(50)).await,
            Probe::Partial { .. } | Probe::Unknown { .. } if safe => {
                return (done(step, with_checkpoint.run(step, input).await), 2);
            }
            other => panic!("`{}` may not be done twice, and its probe says {other:?}", step.name()),
        }
    }
    panic!("`{}`: the probe says for ever that it runs", step.name());
}

/// The output of a step that has to have succeeded.
fn done(step: &dyn AnyStepType, ran: Ran) -> Value {
    match ran.result {
        Some(Ok(output)) => output,
        Some(Err(error)) => panic!("`{}` failed: {error}", step.name()),
        None => panic!("`{}` was cut off", step.name()),
    }
}

/// What the attempt after this one is given.
fn handed_on(world: &impl World, first: &Ran) -> StepBench {
    let bench = saved_outputs(world, first);
    match first.checkpoints.last() {
        Some(checkpoint) => bench.checkpoint(checkpoint.clone()),
        None => bench,
    }
}

fn saved_outputs(world: &impl World, first: &Ran) -> StepBench {
    let bench = world.bench().attempt(2);
    match first.outputs.last() {
        Some(saved) => bench.saved_output(saved.clone()),
        None => bench,
    }
}

/// Told to stop after a moment, the step ends soon: cancelled, or done if it was quicker than that.
///
/// # Panics
/// Where it does not end within `patience`, or ends with another error.
pub async fn cancels_promptly<W: World>(
    step: &dyn AnyStepType,
    make: impl Fn() -> W,
    input: Value,
    after: Duration,
    patience: Duration,
) {
    // Kept to the end: with it goes what the step talks to.
    let world = make();
    let bench = world.bench();
    let cancel = bench.cancellation();
    let told = async {
        tokio::time::sleep(after).await;
        cancel.cancel();
    };
    let began = Instant::now();
    let both = async { tokio::join!(bench.run(step, input), told).0 };
    let ran = tokio::time::timeout(after + patience, both).await;
    let ran = ran.unwrap_or_else(|_| panic!("`{}` did not stop within {:?}", step.name(), began.elapsed()));
    if let Some(Err(error)) = ran.result {
        assert_eq!(error.kind(), StepErrorKind::Cancelled, "`{}`: {error}", step.name());
    }
}

/// A preview changes nothing, says what it says twice, and where it says *computed*, a run then makes those very
/// changes.
///
/// # Panics
/// Where the step type breaks that promise.
pub async fn preview_writes_nothing<W: World>(step: &dyn AnyStepType, make: impl Fn() -> W, input: Value) {
    let world = make();
    let first = world
        .bench()
        .preview(step, input.clone())
        .await
        .expect("the preview answers");
    let again = world
        .bench()
        .preview(step, input.clone())
        .await
        .expect("the preview answers");
    assert_eq!(world.effects(), 0, "`{}`: a preview is not to write", step.name());
    let compared = |preview: &Preview<Value>| Preview {
        predicted: preview.predicted.clone().map(|output| essence(&world, output)),
        ..preview.clone()
    };
    assert_eq!(
        compared(&first),
        compared(&again),
        "`{}`: two previews of the same world",
        step.name()
    );
    if first.grade == jm_step::Grade::Computed {
        let ran = world.bench().run(step, input).await;
        assert_eq!(
            ran.changes,
            first.changes,
            "`{}`: what was announced and what was done",
            step.name()
        );
        done(step, ran);
    }
}
