//! JSON Schemas (2020-12) from Rust types, in one style for files, editors and checks.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// Marks the schema of a field whose value is a secret.
pub const SECRET: &str = "x-jm-secret";
/// Marks an output field that tells the moment to which data is brought back (RFC 3339).
pub const RECOVERY_POINT: &str = "x-jm-recovery-point";
/// Marks a boolean output field that says whether the old data is still served: while it is, losing more of it than the
/// plan's RPO allows needs a person's yes.
pub const STILL_SERVED: &str = "x-jm-still-served";
/// Marks the output of a step after which nobody writes the old data any more: what comes later loses nothing of it.
pub const STOPS_WRITING: &str = "x-jm-stops-writing";
/// Marks an output field, a moment (RFC 3339) or `null`, until which somebody wrote all the same.
pub const WRITTEN_UNTIL: &str = "x-jm-written-until";

/// Marks a field of an output, a name or `null`, of something that stays on a system after the run and that somebody has
/// to remove some day. What the mark says: `what` it is, for people; `remove`, the step type and its field that take the
/// name; `bytes`, the field of the same output that tells its size; and `unfinished`, whether it may be there, too, where
/// the step did not end well, and then is taken up by a resume.
pub const LEFT_BEHIND: &str = "x-jm-left-behind";
/// Marks a field of an output with the name of what is left behind no more once the step has succeeded: it was removed, or
/// put into its place.
pub const TAKEN_UP: &str = "x-jm-taken-up";

/// Marks a field of an output, a path or `null`, of what the step has put on the machine that jm runs on. Where it is gone when
/// a run goes on, and steps that are still to be done name it, the step and what comes after it is done anew.
pub const ON_THIS_MACHINE: &str = "x-jm-on-this-machine";

/// The schema of a type. Definitions that it uses stand under `$defs`.
pub fn of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}
