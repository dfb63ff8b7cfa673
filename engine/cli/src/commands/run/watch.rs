//! `jm run watch`: follows a run that another jm carries out, by its journal. For programs: as events, one a line.

use std::path::Path;
use std::time::Duration;

use jm_plan::Plan;
use jm_run::journal::{Reading, Tail};
use jm_run::{Event, Reporter, RunState};

use crate::args::{Format, RunArgs};
use crate::commands::Outcome;
use crate::launch;
use crate::report::json::Events;
use crate::report::lines::Lines;
use crate::report::screen::Screen;
use crate::report::terminal::{Outline, Terminal};
use crate::ui::Ui;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

pub(in crate::commands) fn watch(args: &RunArgs, ui: &Ui) -> Outcome {
    let run = super::find(&launch::state()?, args.run.as_deref())?;
    let mut tail = Tail::open(&run.journal()).map_err(super::unusable)?;
    let mut state = RunState::default();
    let prior = run.read().map_err(super::unusable)?;
    let mut reporter: Box<dyn Reporter> = match args.format {
        Format::Human => reporter(&launch::plan_of(&run, &prior.records, ui)?, &prior, ui),
        Format::Json => {
            ui.answers();
            Box::new(Events::to(Path::new("-"))?)
        }
    };
    loop {
        // Asked before the last read: whatever was written until then is read below.
        let alive = run.is_alive();
        let records = tail.read().map_err(super::unusable)?;
        for record in records {
            state.apply(&record).map_err(|error| {
                crate::exit::CommandError::state("the journal does not hang together").cause(&error)
            })?;
            reporter.report(&Event::Recorded(record), &state);
        }
        reporter.tick();
        if !alive {
            drop(reporter);
            ui.say(format!("run {} is {}", run.id(), super::status(&run, &state)));
            return Ok(state.resting_status().into());
        }
        std::thread::sleep(PAUSE);
    }
}

fn reporter(plan: &Plan, prior: &Reading, ui: &Ui) -> Box<dyn Reporter> {
    let outline = Outline::of(plan);
    if ui.moving {
        let opened = RunState::replay(&prior.records).ok();
        let opened = opened.as_ref().and_then(RunState::opened);
        let taken = opened.map(|opened| jm_run::taken(&opened.run, jm_step::clock::now()));
        Box::new(Terminal::new(ui, outline, &Screen::new(ui), taken.unwrap_or_default()))
    } else {
        Box::new(Lines::new(ui, outline.column()))
    }
}
