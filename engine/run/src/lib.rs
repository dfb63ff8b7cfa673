//! Runs a plan: decides what comes next, writes it down, does it, tells about it.
//!
//! It knows no provider and no terminal. [`decide`] is pure, [`RunState`] is a fold over records, and a record is on disk
//! before its effect is started or shown.

mod dispatcher;
mod dry_run;
pub use dry_run::{DryRun, DryStatus, DryStep, DryVerdict, Expectation, TargetLook, dry_run};
mod error;
pub use error::{RunError, TargetProblem};
mod event;
pub use event::Event;
mod executor;
mod files;
pub use files::RunFiles;
mod gate;
pub use gate::admits_pinned;
mod gone;
pub mod graph;
mod guard;
pub use guard::{Consent, DataLoss, GuardQuestion, Person};
mod history;
pub use history::History;
mod holds;
pub mod journal;
pub use journal::{OperatorVerb, Payload, Record, RecordKind, RunStatus};
mod ledger;
mod leftover;
pub use leftover::{Leftover, NotPutBack, Removal};
pub mod lock;
pub use lock::TargetLock;
mod operator;
pub use operator::{Delivered, OperatorError, operator, word_id};
mod payload;
pub use payload::load;
mod reporter;
pub use reporter::{Reporter, Silent};
mod resume;
mod retry;
mod run;
pub use run::{Options, Run, run};
mod schedule;
pub use schedule::{Condition, Decision, Limits, Moment, Stop, decide, status};
mod scope;
mod state;
pub use state::{FailedAttempt, Frontier, IllegalTransition, RunState, StepEntry, StepState};
mod store;
pub use store::{RunDir, StateDir, StoreError};
mod summary;
pub use summary::{Objective, RunSummary, StepSummary, SummaryStatus, Words, standing, summarize, taken};
