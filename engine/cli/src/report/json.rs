//! A run as JSON Lines: every event as it happened, for programs (`--events`). Its schema is `jm schema events`.

use std::io::Write;
use std::path::Path;

use jm_run::{Event, Reporter, RunState};

use crate::exit::CommandError;
use crate::project;

/// Writes every event as a line. A reader that goes away silences it, and does not stop the run.
pub(crate) struct Events(Option<Box<dyn Write + Send>>);

impl Events {
    /// Writes to a file, or to standard output as `-`.
    pub(crate) fn to(path: &Path) -> Result<Self, CommandError> {
        if path == Path::new("-") {
            return Ok(Self(Some(Box::new(std::io::stdout()))));
        }
        let file = project::create(path);
        let file =
            file.map_err(|error| CommandError::usage(format!("cannot write events to {}: {error}", path.display())))?;
        Ok(Self(Some(file)))
    }
}

impl Reporter for Events {
    fn report(&mut self, event: &Event, _: &RunState) {
        let Some(to) = &mut self.0 else { return };
        let line = serde_json::to_string(event)
            .unwrap_or_else(|error| format!("{{\"event\":\"unwritable\",\"error\":\"{error}\"}}"));
        if writeln!(to, "{line}").and_then(|()| to.flush()).is_err() {
            self.0 = None;
        }
    }
}

/// Tells several reporters the same.
pub(crate) struct All(pub(crate) Vec<Box<dyn Reporter>>);

impl Reporter for All {
    fn report(&mut self, event: &Event, state: &RunState) {
        self.0.iter_mut().for_each(|reporter| reporter.report(event, state));
    }

    fn tick(&mut self) {
        self.0.iter_mut().for_each(|reporter| reporter.tick());
    }
}
