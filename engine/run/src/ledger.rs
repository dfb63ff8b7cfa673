//! The only way in which state changes: note, then flush. A batch is on disk before anything follows from it.

use std::collections::BTreeSet;

use jm_step::clock;

use crate::error::RunError;
use crate::event::Event;
use crate::journal::{Journal, Record, RecordKind};
use crate::reporter::Reporter;
use crate::state::RunState;

/// State, journal and reporter, kept in step.
pub(crate) struct Ledger<'r> {
    journal: &'r mut dyn Journal,
    reporter: &'r mut dyn Reporter,
    state: RunState,
    pending: Vec<Record>,
    touched: BTreeSet<usize>,
}

impl<'r> Ledger<'r> {
    pub(crate) fn new(state: RunState, journal: &'r mut dyn Journal, reporter: &'r mut dyn Reporter) -> Self {
        let touched = (0..state.steps().len()).collect();
        Self {
            journal,
            reporter,
            state,
            pending: Vec::new(),
            touched,
        }
    }

    /// The state with everything that was noted: ahead of the disk until the next flush.
    pub(crate) fn state(&self) -> &RunState {
        &self.state
    }

    /// Takes a fact into the state, for the next batch. Nothing may be started or shown because of it before the flush.
    pub(crate) fn note(&mut self, kind: RecordKind) -> Result<(), RunError> {
        let seq = self.state.last_seq() + 1;
        let record = Record {
            seq,
            batch: self.pending.first().map_or(seq, |first| first.seq),
            at: clock::now(),
            kind,
        };
        self.state.apply(&record)?;
        if let Some(i) = record
            .kind
            .step()
            .and_then(|step| self.state.frontier().graph().find(step.as_str()))
        {
            self.touched.insert(i);
        } else if matches!(record.kind, RecordKind::RunResumed { .. }) {
            self.touched.extend(0..self.state.steps().len());
        }
        self.pending.push(record);
        Ok(())
    }

    /// Puts what was noted on disk, then tells the reporter.
    pub(crate) fn flush(&mut self) -> Result<(), RunError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.journal.append(&self.pending)?;
        for record in std::mem::take(&mut self.pending) {
            self.reporter.report(&Event::Recorded(record), &self.state);
        }
        Ok(())
    }

    /// Tells something that passes.
    pub(crate) fn tell(&mut self, event: &Event) {
        self.reporter.report(event, &self.state);
    }

    pub(crate) fn tick(&mut self) {
        self.reporter.tick();
    }

    /// The steps whose standing changed since the last call.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.touched)
    }
}
