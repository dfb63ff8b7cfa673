//! What the author of a step type sees: the traits, the contexts, and the words they are made of.
//!
//! Nothing here knows a plan, a journal or a terminal. A provider crate depends on this one and on the client of its
//! system, and on nothing else of jm's.

mod id;
pub use id::{InvalidName, RunId, StepId, TargetName};
mod effect;
pub use effect::{Effect, Known, Repeat};
mod error;
pub use error::{ErrorSummary, InputIssue, StepError, StepErrorKind};
mod state_dir;
pub use state_dir::state_dir;
mod secret;
pub use secret::{Secret, Secrets};
mod preview;
pub use preview::{Action, Change, Grade, Preview, Probe};
mod need;
pub use need::{Need, Policy, PolicyForm, Right, Rights, Standing};
mod step_type;
pub use step_type::{Role, StepType};
mod any_step_type;
pub use any_step_type::AnyStepType;
pub mod connection;
pub use connection::{
    Connection, Connections, Environment, Expect, Identity, IdentityGate, OpenContext, ReaderOf, Target,
};
mod named_file;
pub use named_file::{NamedBy, NamedFile};
mod hold;
pub use hold::{Hold, Holding};
mod message;
pub use message::{Ack, Answer, ArtefactRef, StepMessage, Unit};
mod context;
pub use context::{ContextParts, ReadContext, RunInfo, StepContext};
mod own_folder;
mod provider;
pub use provider::Provider;
mod registry;
pub use registry::Registry;
pub mod clock;
pub mod process;
pub mod schema;
pub mod testing;
