//! The journal: an append-only log that is on disk before anything follows from it.

mod record;
pub use record::{
    FORMAT, Format, MAX_RECORD, Opened, OperatorVerb, Payload, Record, RecordKind, RunStatus, Said, SecretReference,
    StopCause, Then, Verdict, Why,
};
