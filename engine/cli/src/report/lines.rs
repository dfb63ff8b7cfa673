//! A run as plain lines, where there is no terminal: one for each fact, and now and then one for long work.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jm_run::{Event, RecordKind, Reporter, RunState};
use jm_step::{StepId, Unit};

use crate::report::table::shorten;
use crate::report::{time, words};
use crate::ui::Ui;

/// Between two lines about how far a step is.
const PROGRESS: Duration = Duration::from_secs(10);

/// Says every fact on a line of its own.
pub(crate) struct Lines {
    ui: Ui,
    column: usize,
    said: HashMap<StepId, Instant>,
}

impl Lines {
    /// `column` is the length of the longest step's name.
    pub(crate) fn new(ui: &Ui, column: usize) -> Self {
        Self {
            ui: ui.clone(),
            column,
            said: HashMap::new(),
        }
    }

    /// A line that no terminal breaks.
    fn say(&self, line: &str) {
        self.ui.say(shorten(line, self.ui.room()));
    }

    fn progress(&mut self, step: &StepId, done: u64, total: Option<u64>, unit: Unit) {
        let now = Instant::now();
        let last = self.said.entry(step.clone()).or_insert(now);
        if now.duration_since(*last) >= PROGRESS {
            *last = now;
            self.say(&format!(
                "{:<8} {:<column$}  {}",
                "…",
                step,
                amount(done, total, unit),
                column = self.column
            ));
        }
    }
}

impl Reporter for Lines {
    fn report(&mut self, event: &Event, state: &RunState) {
        match event {
            Event::Recorded(record) => {
                if let RecordKind::StepStarted { step, attempt, .. } = &record.kind {
                    self.said.insert(step.clone(), Instant::now());
                    let again = if *attempt > 1 {
                        format!("attempt {attempt}")
                    } else {
                        String::new()
                    };
                    self.say(format!("{:<8} {:<column$}  {again}", "started", step, column = self.column).trim_end());
                }
                if let Some(line) = words::of(record, state) {
                    self.ui.say(line.render(&self.ui, self.column, self.ui.room()));
                }
            }
            Event::Progress {
                step,
                done,
                total,
                unit,
            } => self.progress(step, *done, *total, *unit),
            Event::Log { step, line } if self.ui.verbose > 0 => self.say(&format!("{:<8} {step}: {line}", "log")),
            Event::Log { .. } | Event::Previewed { .. } => {}
            Event::Target { target, up, detail } => {
                let how = if *up { "up" } else { "down" };
                let detail = detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
                let text = format!("{target} is {how}{detail}");
                self.ui.say(words::whole("target", &text, self.ui.room()));
            }
            Event::Notice { text } => self.ui.warn(text),
        }
    }
}

/// How far something is: `412.0 MiB of 1.1 GiB`, `3 of 10`.
pub(crate) fn amount(done: u64, total: Option<u64>, unit: Unit) -> String {
    let show = |number: u64| match unit {
        Unit::Bytes => time::bytes(number),
        Unit::Items => number.to_string(),
    };
    match total {
        Some(total) => format!("{} of {}", show(done), show(total)),
        None => show(done),
    }
}
