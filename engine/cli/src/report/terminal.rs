//! A run on a terminal: what is finished scrolls up as lines that stay; below, a line for each step under way, and one
//! for the whole. Lines are cut to the terminal's width, so nothing wraps, and a line keeps its place until one above it
//! ends.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jm_plan::{Plan, duration as written};
use jm_run::{Event, Record, Reporter, RunState, StepEntry, StepState};
use jm_step::{StepId, Unit};

use crate::report::lines::amount;
use crate::report::screen::Screen;
use crate::report::table::shorten;
use crate::report::{time, words};
use crate::ui::{Style, Ui};

/// Names of steps that come next, at most.
const MOST_NEXT: usize = 3;
/// Lines of a small terminal that stay free for what is kept.
const FREE: usize = 4;

/// What the display has to know of the plan.
#[derive(Debug, Clone)]
pub(crate) struct Outline {
    /// The plan's name.
    pub(crate) plan: String,
    /// The main steps in the order in which they are likely to run, then those of `finally`.
    pub(crate) steps: Vec<StepId>,
    /// The recovery time objective.
    pub(crate) rto: Option<Duration>,
}

impl Outline {
    /// The outline of a plan.
    pub(crate) fn of(plan: &Plan) -> Self {
        let main: Vec<StepId> = plan.topological().map(|step| step.id.clone()).collect();
        let finally = plan.finally().iter().map(|step| step.id.clone());
        Self {
            plan: plan.name().to_owned(),
            steps: main.into_iter().chain(finally).collect(),
            rto: plan.objectives().rto,
        }
    }

    /// The length of the longest step's name.
    pub(crate) fn column(&self) -> usize {
        self.steps.iter().map(|step| step.as_str().len()).max().unwrap_or(0)
    }
}

/// Draws a run.
pub(crate) struct Terminal {
    ui: Ui,
    outline: Outline,
    began: Instant,
    screen: Screen,
    /// What is shown.
    shown: String,
    /// In the order in which their lines came.
    under_way: Vec<UnderWay>,
    settled: usize,
    failed: usize,
    next: Vec<StepId>,
}

/// A step with a line.
struct UnderWay {
    step: StepId,
    phase: Phase,
    since: Instant,
    progress: Option<(u64, Option<u64>, Unit)>,
    /// How long it took until all of it had gone through: what the step does then, such as building indexes, moves no bytes,
    /// and the rate stays what it was.
    through: Option<Duration>,
}

/// What is under way with a step.
#[derive(Debug, Clone, PartialEq)]
enum Phase {
    /// An attempt.
    Running,
    /// Another attempt comes.
    Retry(Timestamp),
    /// The world is asked what became of an attempt.
    Probing,
    /// A person is asked; why.
    Waiting(String),
}

impl Phase {
    fn of(state: &StepState) -> Option<Self> {
        Some(match state {
            StepState::Running => Self::Running,
            StepState::Retrying { not_before } => Self::Retry(*not_before),
            StepState::Unclear { .. } => Self::Probing,
            StepState::Awaiting { why } => Self::Waiting(words::waits(why)),
            _ => return None,
        })
    }

    fn word(&self) -> (&'static str, Style) {
        match self {
            Self::Running => ("running", Style::Bold),
            Self::Retry(_) => ("retry", Style::Yellow),
            Self::Probing => ("probing", Style::Yellow),
            Self::Waiting(_) => ("WAITS", Style::Yellow),
        }
    }
}

impl Terminal {
    /// `taken` is how long the run has taken so far.
    pub(crate) fn new(ui: &Ui, outline: Outline, screen: &Screen, taken: Duration) -> Self {
        let next = outline.steps.iter().take(MOST_NEXT).cloned().collect();
        screen.begin();
        Self {
            ui: ui.clone(),
            outline,
            began: before_now(taken),
            shown: String::new(),
            screen: screen.clone(),
            under_way: Vec::new(),
            settled: 0,
            failed: 0,
            next,
        }
    }

    /// Takes in where every step stands after a record.
    fn take(&mut self, record: &Record, state: &RunState) {
        self.settled = 0;
        self.failed = 0;
        self.next.clear();
        let steps = std::mem::take(&mut self.outline.steps);
        for step in &steps {
            let entry = state.step(step.as_str());
            let phase = entry.and_then(|entry| Phase::of(&entry.state));
            let is_settled = entry.is_some_and(|entry| entry.state.is_settled());
            self.settled += usize::from(is_settled);
            self.failed += usize::from(entry.is_some_and(|entry| entry.failure().is_some()));
            if !is_settled && phase.is_none() && self.next.len() < MOST_NEXT {
                self.next.push(step.clone());
            }
            self.put(step, phase.map(|phase| (phase, began(entry, record.at))));
        }
        self.outline.steps = steps;
    }

    /// Opens, changes or closes the line of a step.
    fn put(&mut self, step: &StepId, now: Option<(Phase, Instant)>) {
        let at = self.under_way.iter().position(|one| one.step == *step);
        match (at, now) {
            (None, None) => {}
            (Some(at), None) => drop(self.under_way.remove(at)),
            (Some(at), Some((phase, since))) => {
                let line = &mut self.under_way[at];
                if line.phase != phase {
                    line.phase = phase;
                    line.since = since;
                    line.progress = None;
                    line.through = None;
                }
            }
            (None, Some((phase, since))) => self.under_way.push(UnderWay {
                step: step.clone(),
                phase,
                since,
                progress: None,
                through: None,
            }),
        }
    }

    /// Draws what has changed, below a line that stays where there is one.
    fn draw(&mut self, stays: Option<&str>) {
        let moving = self.lines().join("\n");
        if stays.is_some() || moving != self.shown {
            self.shown.clone_from(&moving);
            self.screen.show(moving, stays);
        }
    }

    /// What moves: the steps under way, as many as there is room for, and the whole.
    fn lines(&self) -> Vec<String> {
        let width = self.width();
        let column = self.outline.column();
        let room = self.ui.height().saturating_sub(FREE + self.screen.asked()).max(1);
        let shown = if self.under_way.len() > room {
            room - 1
        } else {
            self.under_way.len()
        };
        let (shown, more) = self.under_way.split_at(shown);
        let mut lines: Vec<String> = shown.iter().map(|line| line.text(column, width, &self.ui)).collect();
        if !more.is_empty() {
            lines.push(format!("{:WORD$} {} more", "running", more.len(), WORD = words::WORD));
        }
        lines.push(shorten(&self.overall(), width));
        lines
    }

    fn width(&self) -> usize {
        self.ui.width().saturating_sub(1)
    }

    fn overall(&self) -> String {
        let elapsed = self.began.elapsed();
        let clock = match self.outline.rto {
            Some(rto) if elapsed > rto => format!("{}, over the RTO of {}", time::ticking(elapsed), written::show(rto)),
            Some(rto) => format!("{} of RTO {}", time::ticking(elapsed), written::show(rto)),
            None => time::ticking(elapsed),
        };
        let failed = if self.failed > 0 {
            format!(", {} FAILED", self.failed)
        } else {
            String::new()
        };
        let next = match self.next.as_slice() {
            [] => String::new(),
            next => format!(
                " · next: {}",
                next.iter().map(StepId::as_str).collect::<Vec<_>>().join(", ")
            ),
        };
        format!(
            "{} · {clock} · {} of {} steps{failed}{next}",
            self.outline.plan,
            self.settled,
            self.outline.steps.len()
        )
    }
}

impl UnderWay {
    fn text(&self, column: usize, width: usize, ui: &Ui) -> String {
        let (word, style) = self.phase.word();
        let elapsed = self.since.elapsed();
        let far = match &self.phase {
            Phase::Running => self.progress.map_or_else(String::new, |(done, total, unit)| {
                let spent = self.through.unwrap_or(elapsed);
                format!("{}{}", amount(done, total, unit), rate(done, total, unit, spent))
            }),
            Phase::Retry(at) => format!("again in {}", time::ticking(until(*at))),
            Phase::Probing => "asking what became of it".to_owned(),
            Phase::Waiting(why) => why.clone(),
        };
        let text = format!("{:<column$}  {:>6}  {far}", self.step.as_str(), time::ticking(elapsed));
        let text = shorten(text.trim_end(), width.saturating_sub(words::WORD + 1));
        format!(
            "{} {text}",
            ui.paint(style, &format!("{word:<WORD$}", WORD = words::WORD))
        )
    }
}

/// When what a step does now began: its attempt, else the news of it.
fn began(entry: Option<&StepEntry>, news: Timestamp) -> Instant {
    let attempt = entry.filter(|entry| entry.state == StepState::Running);
    let at = attempt.and_then(|entry| entry.attempt_at).unwrap_or(news);
    before_now(Duration::try_from(jm_step::clock::now().duration_since(at)).unwrap_or_default())
}

fn before_now(ago: Duration) -> Instant {
    Instant::now().checked_sub(ago).unwrap_or_else(Instant::now)
}

fn until(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(jm_step::clock::now())).unwrap_or_default()
}

/// How fast, and how long it will take at this pace. Nothing before the first second, unless all went through in less.
fn rate(done: u64, total: Option<u64>, unit: Unit, spent: Duration) -> String {
    if unit != Unit::Bytes || done == 0 || (spent.as_secs() == 0 && total != Some(done)) {
        return String::new();
    }
    let millis = u64::try_from(spent.as_millis()).unwrap_or(u64::MAX).max(1);
    let pace = done.saturating_mul(1000) / millis;
    let left = total
        .filter(|total| *total > done)
        .map(|total| Duration::from_secs((total - done) / pace.max(1)))
        .filter(|left| !left.is_zero());
    let left = left
        .map(|left| format!(", {} left", time::ticking(left)))
        .unwrap_or_default();
    format!(", {}/s{left}", time::bytes(pace))
}

/// How far work on bytes is, how fast, and how long it will take.
pub(crate) fn far(done: u64, total: Option<u64>, elapsed: Duration) -> String {
    format!(
        "{}{}",
        amount(done, total, Unit::Bytes),
        rate(done, total, Unit::Bytes, elapsed)
    )
}

impl Reporter for Terminal {
    fn report(&mut self, event: &Event, state: &RunState) {
        let said = match event {
            Event::Recorded(record) => {
                self.take(record, state);
                words::of(record, state).map(|said| said.render(&self.ui, self.outline.column(), self.width()))
            }
            Event::Progress {
                step,
                done,
                total,
                unit,
            } => {
                if let Some(line) = self.under_way.iter_mut().find(|line| line.step == *step) {
                    line.progress = Some((*done, *total, *unit));
                    let through = (*total == Some(*done)).then(|| line.since.elapsed());
                    line.through = line.through.or(through);
                }
                return;
            }
            Event::Log { step, line } if self.ui.verbose > 0 => {
                Some(shorten(&format!("{:<8} {step}: {line}", "log"), self.width()))
            }
            Event::Log { .. } | Event::Previewed { .. } => return,
            Event::Target { target, up, detail } => {
                let how = if *up { "is up" } else { "is down" };
                let detail = detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
                Some(words::whole("target", &format!("{target} {how}{detail}"), self.width()))
            }
            Event::Notice { text } => Some(words::whole("note", text, self.width())),
        };
        // What only moves is drawn with the next tick.
        if let Some(line) = said {
            self.draw(Some(&line));
        }
    }

    fn tick(&mut self) {
        self.draw(None);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.screen.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_need_time_and_bytes() {
        assert_eq!(rate(0, None, Unit::Bytes, Duration::from_secs(5)), "");
        assert_eq!(rate(10, Some(20), Unit::Items, Duration::from_secs(5)), "");
        assert_eq!(rate(20, Some(20), Unit::Bytes, Duration::from_millis(500)), ", 40 B/s");
        assert_eq!(
            rate(5 << 20, Some(15 << 20), Unit::Bytes, Duration::from_secs(5)),
            ", 1.0 MiB/s, 10s left"
        );
    }
}
