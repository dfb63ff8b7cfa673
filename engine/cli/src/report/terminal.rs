//! A run on a terminal: what is finished scrolls up as lines that stay; below, a line for each step under way, and one
//! for the whole. Lines are cut to the terminal's width, so nothing wraps and nothing jumps.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jm_plan::{Plan, duration as written};
use jm_run::{Event, RecordKind, Reporter, RunState};
use jm_step::{StepId, Unit};

use crate::report::lines::amount;
use crate::report::table::shorten;
use crate::report::{time, words};
use crate::ui::{Style, Ui};

/// As often as the screen is drawn, at most.
const FRAMES_PER_SECOND: u8 = 20;
/// Names of steps that come next, at most.
const MOST_NEXT: usize = 3;

/// The part of the terminal on which things move.
pub(crate) fn screen() -> MultiProgress {
    MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(FRAMES_PER_SECOND))
}

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
    screen: MultiProgress,
    under_way: HashMap<StepId, UnderWay>,
    whole: ProgressBar,
    settled: usize,
    next: Vec<StepId>,
}

struct UnderWay {
    line: ProgressBar,
    since: Instant,
    progress: Option<(u64, Option<u64>, Unit)>,
}

impl Terminal {
    /// `earlier` is how long the run has taken before this jm took it over.
    pub(crate) fn new(ui: &Ui, outline: Outline, screen: MultiProgress, earlier: Duration) -> Self {
        let whole = screen.add(line());
        let began = Instant::now().checked_sub(earlier).unwrap_or_else(Instant::now);
        let next = outline.steps.iter().take(MOST_NEXT).cloned().collect();
        Self {
            ui: ui.clone(),
            outline,
            began,
            screen,
            under_way: HashMap::new(),
            whole,
            settled: 0,
            next,
        }
    }

    fn keep(&self, text: &str) {
        // A terminal that is gone cannot be written to, and the run goes on without it.
        drop(self.screen.println(text));
    }

    fn start(&mut self, step: &StepId) {
        let line = self.screen.insert_before(&self.whole, line());
        self.under_way.insert(
            step.clone(),
            UnderWay {
                line,
                since: Instant::now(),
                progress: None,
            },
        );
    }

    fn end(&mut self, step: &StepId) {
        if let Some(ended) = self.under_way.remove(step) {
            ended.line.finish_and_clear();
            self.screen.remove(&ended.line);
        }
    }

    fn draw(&self) {
        let width = self.ui.width().saturating_sub(1);
        let column = self.outline.column();
        for (step, under_way) in &self.under_way {
            under_way
                .line
                .set_message(self.dress("running", &under_way.text(step, column), Style::Bold, width));
        }
        self.whole.set_message(shorten(&self.overall(), width));
    }

    fn dress(&self, word: &str, text: &str, style: Style, width: usize) -> String {
        let text = shorten(text, width.saturating_sub(words::WORD + 1));
        format!(
            "{} {text}",
            self.ui.paint(style, &format!("{word:<width$}", width = words::WORD))
        )
    }

    fn overall(&self) -> String {
        let elapsed = self.began.elapsed();
        let clock = match self.outline.rto {
            Some(rto) if elapsed > rto => format!("{}, over the RTO of {}", time::ticking(elapsed), written::show(rto)),
            Some(rto) => format!("{} of RTO {}", time::ticking(elapsed), written::show(rto)),
            None => time::ticking(elapsed),
        };
        let next = match self.next.as_slice() {
            [] => String::new(),
            next => format!(
                " · next: {}",
                next.iter().map(StepId::as_str).collect::<Vec<_>>().join(", ")
            ),
        };
        format!(
            "{} · {clock} · {} of {} steps{next}",
            self.outline.plan,
            self.settled,
            self.outline.steps.len()
        )
    }

    fn count(&mut self, state: &RunState) {
        let settled = |step: &StepId| state.step(step.as_str()).is_some_and(|entry| entry.state.is_settled());
        let idle = |step: &&StepId| !settled(step) && !self.under_way.contains_key(*step);
        self.settled = self.outline.steps.iter().filter(|step| settled(step)).count();
        self.next = self
            .outline
            .steps
            .iter()
            .filter(idle)
            .take(MOST_NEXT)
            .cloned()
            .collect();
    }
}

impl UnderWay {
    fn text(&self, step: &StepId, column: usize) -> String {
        let elapsed = self.since.elapsed();
        let far = match self.progress {
            None => String::new(),
            Some((done, total, unit)) => format!("{}{}", amount(done, total, unit), rate(done, total, unit, elapsed)),
        };
        format!("{:<column$}  {:>6}  {far}", step.as_str(), time::ticking(elapsed))
    }
}

/// How fast, and how long it will take at this pace.
fn rate(done: u64, total: Option<u64>, unit: Unit, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    if unit != Unit::Bytes || seconds == 0 || done == 0 {
        return String::new();
    }
    let pace = done / seconds;
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

/// A line that says only what it is told.
pub(crate) fn line() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::no_length().with_style(style)
}

impl Reporter for Terminal {
    fn report(&mut self, event: &Event, state: &RunState) {
        match event {
            Event::Recorded(record) => {
                if let RecordKind::StepStarted { step, .. } = &record.kind {
                    self.start(&step.clone());
                } else if let Some(step) = ends(&record.kind) {
                    self.end(&step.clone());
                }
                self.count(state);
                if let Some(said) = words::of(record, state) {
                    self.keep(&said.render(&self.ui, self.outline.column(), self.ui.width().saturating_sub(1)));
                }
            }
            Event::Progress {
                step,
                done,
                total,
                unit,
            } => {
                if let Some(under_way) = self.under_way.get_mut(step) {
                    under_way.progress = Some((*done, *total, *unit));
                }
                return;
            }
            Event::Log { step, line } if self.ui.verbose > 0 => {
                self.keep(&shorten(&format!("{step}: {line}"), self.ui.width()));
            }
            Event::Log { .. } | Event::Previewed { .. } => return,
            Event::Target { target, up, detail } => {
                let how = if *up { "is up" } else { "is down" };
                let detail = detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
                self.keep(&shorten(
                    &format!("{:<8} {target} {how}{detail}", "target"),
                    self.ui.width(),
                ));
            }
            Event::Notice { text } => self.keep(&shorten(&format!("{:<8} {text}", "note"), self.ui.width())),
        }
        self.draw();
    }

    fn tick(&mut self) {
        self.draw();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.under_way
            .values()
            .for_each(|under_way| under_way.line.finish_and_clear());
        self.whole.finish_and_clear();
    }
}

/// The step whose attempt is over with this record.
fn ends(kind: &RecordKind) -> Option<&StepId> {
    match kind {
        RecordKind::StepSucceeded { step, .. }
        | RecordKind::StepFailed { step, .. }
        | RecordKind::OperatorNeeded { step, .. } => Some(step),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_need_time_and_bytes() {
        assert_eq!(rate(0, None, Unit::Bytes, Duration::from_secs(5)), "");
        assert_eq!(rate(10, Some(20), Unit::Items, Duration::from_secs(5)), "");
        assert_eq!(
            rate(5 << 20, Some(15 << 20), Unit::Bytes, Duration::from_secs(5)),
            ", 1.0 MiB/s, 10s left"
        );
    }
}
