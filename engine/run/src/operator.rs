//! What people say about a run: into the inbox where a process runs it, else into the journal.

use std::time::Duration;

use jm_step::{Secrets, StepId, clock};

use crate::journal::{FileJournal, Journal, JournalError, OperatorVerb, Record, RecordKind, Said};
use crate::payload::words;
use crate::state::{IllegalTransition, RunState};
use crate::store::RunDir;

/// Why a word was not taken.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The journal or the inbox.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal holds what cannot have happened.
    #[error("the journal does not hang together")]
    Illegal(#[from] IllegalTransition),
    /// It does not fit the run as it stands.
    #[error("{0}")]
    DoesNotFit(String),
}

/// What became of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// The process that runs the run has taken it in.
    Heard,
    /// It lies in the inbox; the process that runs the run takes it in as soon as it can.
    ToInbox,
    /// It is in the journal; `jm plan resume` goes on with it.
    ToJournal,
}

/// How long a word may lie in the inbox before nobody waits for it any more: several looks of a run into it.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks at what became of it.
const PAUSE: Duration = Duration::from_millis(25);

/// An id for a word, unlike every other; later ones sort behind.
pub fn word_id() -> String {
    ulid::Ulid::new().to_string().to_lowercase()
}

/// Delivers a person's word and the reason for it, after a look whether it fits.
pub fn operator(
    dir: &RunDir,
    verb: OperatorVerb,
    step: Option<StepId>,
    reason: &str,
    who: String,
) -> Result<Delivered, OperatorError> {
    let said = Said {
        id: word_id(),
        who,
        verb,
        step,
        reason: Some(words(&Secrets::new(), reason)),
    };
    is_known(dir, said.step.as_ref())?;
    if dir.is_alive() {
        let state = RunState::replay(&dir.read()?.records)?;
        fits(&state, &said)?;
        dir.say(&said)?;
        return what_became_of(dir, &said);
    }
    let (mut journal, reading) = match FileJournal::open(dir.path()) {
        Ok(opened) => opened,
        Err(JournalError::Alive { .. }) => {
            dir.say(&said)?;
            return what_became_of(dir, &said);
        }
        Err(error) => return Err(error.into()),
    };
    let state = RunState::replay(&reading.records)?;
    fits(&state, &said)?;
    let seq = state.last_seq() + 1;
    journal.append(&[Record {
        seq,
        batch: seq,
        at: clock::now(),
        kind: RecordKind::Operator(said),
    }])?;
    Ok(Delivered::ToJournal)
}

/// Waits a little until the process that runs the run has looked into its inbox. What it did not take did not fit by
/// then: another word came before, or a step went on.
fn what_became_of(dir: &RunDir, said: &Said) -> Result<Delivered, OperatorError> {
    let began = std::time::Instant::now();
    while !dir.is_taken(said) {
        if began.elapsed() > PATIENCE {
            return Ok(Delivered::ToInbox);
        }
        std::thread::sleep(PAUSE);
    }
    let state = RunState::replay(&dir.read()?.records)?;
    if state.has_heard(&said.id) {
        return Ok(Delivered::Heard);
    }
    fits(&state, said)?;
    let why = "the run did not take it as it stood at that moment: its own lines say why";
    Err(OperatorError::DoesNotFit(format!("`{}`: {why}", said.verb.as_str())))
}

fn fits(state: &RunState, said: &Said) -> Result<(), OperatorError> {
    state
        .accepts(said.verb, said.step.as_ref())
        .map_err(OperatorError::DoesNotFit)
}

/// Whether the plan of the run has such a step: the journal alone only knows those that it names.
fn is_known(dir: &RunDir, step: Option<&StepId>) -> Result<(), OperatorError> {
    let Some(step) = step else { return Ok(()) };
    let (document, _) = jm_plan::parse("plan.yaml", &dir.plan()?);
    let spec = document.spec();
    let mut ids = spec
        .steps
        .iter()
        .chain(&spec.finally)
        .filter_map(|spec| spec.id.as_ref());
    if ids.any(|id| id.value == *step) {
        return Ok(());
    }
    let what = format!("plan of run {} has no step `{step}`", dir.id());
    Err(OperatorError::DoesNotFit(what))
}
