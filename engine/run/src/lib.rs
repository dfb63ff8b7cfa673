//! Runs a plan: decides what comes next, writes it down, does it, tells about it.
//!
//! It knows no provider and no terminal. `decide` is pure, [`RunState`] is a fold over records, and a record is on disk
//! before its effect is started or shown.

mod event;
pub use event::Event;
pub mod graph;
pub mod journal;
pub use journal::{Record, RecordKind, RunStatus};
mod reporter;
pub use reporter::{Reporter, Silent};
mod state;
pub use state::{FailedAttempt, Frontier, IllegalTransition, RunState, StepEntry, StepState};
