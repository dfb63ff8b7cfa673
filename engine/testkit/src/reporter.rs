//! A reporter that remembers.

use std::sync::{Arc, Mutex, PoisonError};

use jm_run::{Event, Record, RecordKind, Reporter, RunState};

/// Keeps every event. Clones share what they keep.
#[derive(Debug, Clone, Default)]
pub struct Recording(Arc<Mutex<Vec<Event>>>);

impl Recording {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// All that was reported.
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The facts among it.
    pub fn records(&self) -> Vec<Record> {
        let facts = self.events().into_iter().filter_map(|event| match event {
            Event::Recorded(record) => Some(record),
            _ => None,
        });
        facts.collect()
    }

    /// The facts as short text, such as `step-started a`.
    pub fn story(&self) -> Vec<String> {
        let told = |record: &Record| match (&record.kind, record.kind.step()) {
            (RecordKind::RunClosed { status }, _) => format!("run-closed {status}"),
            (kind, Some(step)) => format!("{} {step}", kind.name()),
            (kind, None) => kind.name().to_owned(),
        };
        self.records().iter().map(told).collect()
    }
}

impl Reporter for Recording {
    fn report(&mut self, event: &Event, _: &RunState) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(event.clone());
    }
}
