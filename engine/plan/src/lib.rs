//! Plan files: from YAML text to a checked, sealed [`Plan`].
//!
//! Pure: no network, no clock, no environment, no file. What the text says goes in, and a plan or a list of everything
//! that is wrong comes out.

mod arguments;
mod check;
mod code;
mod compile;
mod document;
mod error;
mod graph;
mod input;
mod mask;
mod parse;
mod plan;
mod shape;
mod span;
mod targets;
mod template;
mod yaml;

pub mod duration;
pub mod export;
pub mod schema;

pub use arguments::{Arguments, Given};
pub use code::{codes, explain, full_code};
pub use compile::{Compiled, Mode, compile};
pub use document::{
    Document, DrillSpec, InputSpec, InputType, ObjectivesSpec, PlanSpec, RetrySpec, ScheduleSpec, StepSpec,
};
pub use error::{Place, PlanError, PlanErrors};
pub use parse::parse;
pub use plan::{Because, CriticalPath, Dependency, Objectives, OnFailure, Plan, PlannedStep, RetryPolicy};
pub use span::{Source, Spanned};
pub use targets::{Around, Contact, RenderedTargets, TargetsDocument, parse_targets};
pub use template::{
    Evaluated, Expression, InputTemplate, Outputs, RenderError, Rendered, Scope, StepScope, StepStatus, UnknownLeaf,
};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
