//! Who is told about a run. A reporter can neither fail it nor change it.

use crate::{Event, RunState};

/// Is told what happens. Facts come in the order of the journal, after they are on disk.
pub trait Reporter: Send {
    /// News. `state` holds at least all that was reported so far; within one batch of records it may be ahead.
    fn report(&mut self, event: &Event, state: &RunState);

    /// Called about ten times a second while the run waits, so that clocks can move.
    fn tick(&mut self) {}
}

/// Tells nobody.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Reporter for Silent {
    fn report(&mut self, _: &Event, _: &RunState) {}
}

impl Reporter for &mut dyn Reporter {
    fn report(&mut self, event: &Event, state: &RunState) {
        (**self).report(event, state);
    }
    fn tick(&mut self) {
        (**self).tick();
    }
}
