//! A run summed up for people: first what failed and what to do next, then what was promised, then where the time went.

use std::time::Duration;

use jm_plan::{OnFailure, Plan, duration as written};
use jm_run::journal::Why;
use jm_run::{Record, RunDir, RunStatus, RunSummary, StepSummary, SummaryStatus};
use jm_step::StepId;
use serde_json::json;

use crate::environment;
use crate::exit::CommandError;
use crate::report::document::{Document, PlanFile, PrintedSummary};
use crate::report::{left, shown, table, time, words};
use crate::ui::{Style, Ui};
use layout::{bar, labelled, notable, promise, room};

mod layout;

/// A run summed up, and what goes on from there.
pub(crate) struct Summary {
    run: RunSummary,
    /// Steps whose last attempt said something.
    logs: Vec<StepId>,
    contacts: Vec<String>,
    deadline: Option<Duration>,
    /// Steps after whose failure the plan goes on.
    tolerated: Vec<StepId>,
    plan: String,
    standing: Standing,
}

/// Whether the run can be gone on with at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Nobody carries it out.
    AtRest,
    /// A process carries it out now.
    Alive,
    /// Its journal cannot be read to its end.
    Damaged,
}

/// Sums up a run by its records.
pub(crate) fn of(plan: &Plan, records: &[Record], directory: &RunDir) -> Result<Summary, CommandError> {
    let broken = |error| CommandError::state("the journal does not hang together").cause(&error);
    // Where nobody is there any more, it took the time until somebody last was.
    let last = records.last().map(|record| record.at).filter(|_| !directory.is_alive());
    let now = last.unwrap_or_else(jm_step::clock::now);
    let run = jm_run::summarize(plan, records, directory, now).map_err(broken)?;
    let has_log = |step: &&StepSummary| directory.has_log(&step.id, step.attempts);
    let logs = run.steps.iter().filter(has_log).map(|step| step.id.clone());
    Ok(Summary {
        logs: logs.collect(),
        contacts: plan.contacts().to_vec(),
        deadline: plan.deadline(),
        tolerated: plan
            .all_steps()
            .filter(|step| step.on_failure == OnFailure::Continue)
            .map(|step| step.id.clone())
            .collect(),
        plan: plan.name().to_owned(),
        standing: Standing::AtRest,
        run,
    })
}

/// When a summary is told.
#[derive(Debug, Clone, Copy)]
enum Told {
    /// By the run itself, at its end.
    AtOnce,
    /// To somebody who asks: the world has gone on.
    Later,
}

impl Summary {
    /// The same of a run that somebody else may carry out just now.
    pub(crate) fn of_now(mut self, directory: &RunDir) -> Self {
        if directory.is_alive() {
            self.run.alive = true;
            self.run.status = SummaryStatus::Running;
            self.standing = Standing::Alive;
        }
        self
    }

    /// The same where more stood in the journal than can be read.
    pub(crate) fn up_to_damage(mut self) -> Self {
        self.standing = Standing::Damaged;
        self
    }

    /// Whether an objective was missed.
    pub(crate) fn missed(&self) -> bool {
        self.run.objective_missed
    }

    /// Whether a guard refused a step.
    pub(crate) fn refused(&self) -> bool {
        self.run.refused
    }

    /// The summary for programs.
    pub(crate) fn document<'a>(&'a self, plan_file: Option<&'a PlanFile>) -> Document<PrintedSummary<'a>> {
        Document::of(PrintedSummary {
            summary: &self.run,
            resume: self.resume(),
            plan_file,
        })
    }

    /// What the summary is made of.
    pub(crate) fn facts(&self) -> &RunSummary {
        &self.run
    }

    fn waits(&self) -> impl Iterator<Item = (&StepId, &Why)> {
        self.run
            .steps
            .iter()
            .filter_map(|step| Some((&step.id, step.waits.as_ref()?)))
    }

    /// The command that goes on with it, with the words that guards will want to hear.
    pub(crate) fn resume(&self) -> Option<String> {
        if self.standing != Standing::AtRest || !self.run.status.is_resumable() {
            return None;
        }
        let mut command = format!("jm plan resume {}", self.run.run.id.short());
        let words = &self.run.resume_with;
        if words.yes {
            command.push_str(" --yes");
        }
        if let Some(targets) = &words.confirm {
            command.extend([" --confirm ", targets]);
        }
        if let Some(seconds) = words.accept_data_loss {
            let loss = written::show(Duration::from_secs(seconds));
            command.extend([" --accept-data-loss ", &loss]);
        }
        Some(environment::again(command))
    }

    /// Says it to people at the end of the run: what came of it is data, where the time went is talk.
    pub(crate) fn print(&self, ui: &Ui) {
        let first = self.first(Told::AtOnce, ui);
        ui.say("");
        ui.out_all(&first);
        ui.say("");
        ui.say_all(&self.times(room(first.len(), ui.terminal, ui), ui.width()));
        self.given_out(ui);
    }

    /// Shows it to somebody who asked: all of it is data.
    pub(crate) fn show(&self, ui: &Ui) {
        let first = self.first(Told::Later, ui);
        ui.out_all(&first);
        ui.out("");
        let page = ui.page();
        ui.out_all(&self.times(room(first.len(), page != usize::MAX, ui), page));
        self.given_out(ui);
    }

    fn first(&self, told: Told, ui: &Ui) -> Vec<String> {
        let mut first = self.headline(ui);
        first.extend(self.deadline(ui));
        let failed = self.run.steps.iter().filter(|step| step.has_failed());
        let (tolerated, fatal): (Vec<_>, Vec<_>) = failed.partition(|step| self.tolerated.contains(&step.id));
        first.extend(fatal.into_iter().flat_map(|step| self.failure(step, ui)));
        first.extend(self.waits().flat_map(|(step, why)| self.wait(step, why, ui)));
        first.extend(self.next(ui));
        first.extend(self.not_resumed(ui));
        first.extend(tolerated.into_iter().flat_map(|step| self.failure(step, ui)));
        first.extend(self.degraded(ui));
        first.extend(self.not_put_back(ui));
        first.extend(self.left(told, ui));
        first.extend(self.promises(ui));
        first
    }

    fn headline(&self, ui: &Ui) -> Vec<String> {
        let (word, style) = match self.run.status {
            _ if self.standing == Standing::Damaged => ("DAMAGED", Style::Red),
            SummaryStatus::Running => ("running", Style::Bold),
            SummaryStatus::Interrupted => ("INTERRUPTED", Style::Yellow),
            SummaryStatus::AtRest(RunStatus::Completed) => ("completed", Style::Green),
            SummaryStatus::AtRest(RunStatus::Failed) => ("FAILED", Style::Red),
            SummaryStatus::AtRest(RunStatus::Aborted) => ("ABORTED", Style::Red),
            SummaryStatus::AtRest(status) => (status.as_str(), Style::Yellow),
        };
        let drill = if self.run.run.drill { " (drill)" } else { "" };
        let resumed = if self.run.resumes > 0 {
            format!(", resumed {}×", self.run.resumes)
        } else {
            String::new()
        };
        let took = time::duration(Duration::from_secs_f64(self.run.seconds));
        let rest = format!(" {}{drill} after {took}{resumed}, run {}", self.plan, self.run.run.id);
        // The first line begins with the word, which may be coloured.
        let mut lines = table::wrap(&format!("{word}{rest}"), ui.room());
        lines[0] = lines[0].replacen(word, &ui.paint(style, word), 1);
        lines
    }

    /// What ended a run in which no step failed.
    fn deadline(&self, ui: &Ui) -> Vec<String> {
        if !self.run.deadline_passed {
            return Vec::new();
        }
        let steps = self.run.steps.iter();
        let left = steps.filter(|step| step.status == "not-started" && !step.in_finally);
        let left: Vec<String> = left.map(|step| format!("`{}`", step.id)).collect();
        let deadline = self.deadline.map(|deadline| format!(" of {}", written::show(deadline)));
        let line = format!(
            "the deadline{} passed, and nothing new was started but `finally`; not begun: {}",
            deadline.unwrap_or_default(),
            if left.is_empty() {
                "nothing".to_owned()
            } else {
                left.join(", ")
            }
        );
        labelled("failed", Style::Red, &[line], ui)
    }

    /// Why it stands as it stood before the last resume.
    fn not_resumed(&self, ui: &Ui) -> Vec<String> {
        let why = self.run.not_resumed.iter();
        let lines: Vec<String> = why
            .map(|why| format!("the last resume could not begin: {why}"))
            .collect();
        if lines.is_empty() {
            Vec::new()
        } else {
            labelled("note", Style::Yellow, &lines, ui)
        }
    }

    /// What failed, why, and what the plan says about it.
    fn failure(&self, step: &StepSummary, ui: &Ui) -> Vec<String> {
        let Some(error) = &step.error else { return Vec::new() };
        let mut lines = words::error(ui, error);
        lines[0] = format!("`{}`: {}", step.id, lines[0]);
        let told = error.hint.as_ref().is_some_and(|hint| hint.contains("`jm run logs`"));
        let log = (self.logs.contains(&step.id) && !told).then(|| {
            let run = self.run.run.id.short();
            let command = environment::again(format!("jm run logs {run} --step {}", step.id));
            format!("`{command}`")
        });
        for (name, text) in [("why", &step.why), ("runbook", &step.runbook), ("log", &log)] {
            lines.extend(text.iter().map(|text| format!("{name}: {text}")));
        }
        if !self.contacts.is_empty() && !self.tolerated.contains(&step.id) {
            lines.push(format!("call: {}", self.contacts.join(", ")));
        }
        labelled("failed", Style::Red, &lines, ui)
    }

    fn wait(&self, step: &StepId, why: &Why, ui: &Ui) -> Vec<String> {
        let resume = self
            .resume()
            .map(|resume| format!(", then `{resume}`"))
            .unwrap_or_default();
        let lines = [
            format!("`{step}`: {}", words::waits(why)),
            format!("go on with {}{resume}", words::verbs(why, step)),
        ];
        labelled("waits", Style::Yellow, &lines, ui)
    }

    /// How the run goes on, where nobody has to say something first.
    fn next(&self, ui: &Ui) -> Vec<String> {
        let Some(resume) = self.resume().filter(|_| self.waits().next().is_none()) else {
            return Vec::new();
        };
        let first = if self.run.status == SummaryStatus::AtRest(RunStatus::Failed) {
            "mend the cause, then "
        } else {
            ""
        };
        let line = format!("{first}`{resume}`; more: `jm run report`");
        labelled("next", Style::Bold, &[line], ui)
    }

    fn degraded(&self, ui: &Ui) -> Vec<String> {
        let steps = self.run.steps.iter();
        let reasons = steps.flat_map(|step| {
            step.degraded
                .iter()
                .map(move |reason| format!("`{}`: {reason}", step.id))
        });
        reasons
            .flat_map(|line| labelled("degraded", Style::Yellow, &[line], ui))
            .collect()
    }

    /// What stands changed for as long as the run does not go on: at three in the morning, that the application is down.
    pub(crate) fn not_put_back(&self, ui: &Ui) -> Vec<String> {
        let standing = self.run.not_put_back.iter().filter(|_| self.run.status.is_resumable());
        let said = standing.map(|one| {
            let what = format!("{} stands as `{}` left it", one.objects.join(", "), one.step);
            let (resume, abort) = (
                environment::again("jm plan resume".to_owned()),
                environment::again("jm run abort".to_owned()),
            );
            let then = format!(
                "`{resume}` goes on; `{abort}` before it has `{}` put it back instead",
                one.by
            );
            labelled("left", Style::Yellow, &[what, then], ui)
        });
        said.flatten().collect()
    }

    /// What stays on the systems, and how it is removed.
    fn left(&self, told: Told, ui: &Ui) -> Vec<String> {
        let said = self.run.left.iter().map(|one| {
            let lines = match told {
                Told::AtOnce => [left::sentence(one), left::removal(one, &self.run)],
                Told::Later => [left::past_sentence(one, &self.run), left::later_removal(one, &self.run)],
            };
            labelled("left", Style::Bold, &lines, ui)
        });
        said.flatten().collect()
    }

    fn promises(&self, ui: &Ui) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(rto) = &self.run.rto {
            let took = time::duration(Duration::from_secs_f64(rto.actual));
            lines.push(promise(
                ui,
                "RTO",
                Some(rto.objective),
                rto.met,
                &format!("took {took}"),
            ));
        }
        if let Some(loss) = &self.run.data_loss {
            let met = loss.objective.filter(|_| self.run.data_lost).map(|_| !loss.is_missed());
            let lost = words::lost(loss, self.run.data_lost);
            lines.push(promise(ui, "RPO", loss.objective, met, &lost));
        }
        lines
    }

    /// What the plan gives out.
    fn given_out(&self, ui: &Ui) {
        if let Some(outputs) = self.run.outputs.as_ref().filter(|outputs| **outputs != json!({})) {
            ui.say("");
            ui.out_all(&shown::lines(outputs, ui.width()));
        }
    }

    fn row(&self, step: &StepSummary, longest: f64) -> Vec<String> {
        // Nobody knows for how long it went on.
        let cut_off = step.status == "running" && step.waits.is_none() && self.run.status != SummaryStatus::Running;
        let took = if step.attempts == 0 || cut_off {
            String::new()
        } else {
            time::duration(Duration::from_secs_f64(step.seconds))
        };
        let tries = if step.attempts > 1 {
            format!("{} attempts  ", step.attempts)
        } else {
            String::new()
        };
        let note = match &step.because {
            Some(because) => because.clone(),
            None if cut_off && self.standing == Standing::Damaged => {
                "what became of it cannot be read any more".to_owned()
            }
            None if cut_off => "cut off: a resume asks what became of it".to_owned(),
            None => bar(step.seconds, longest),
        };
        vec![
            format!("  {}", step.id),
            // Nothing runs where a person is waited for.
            if step.waits.is_some() {
                "waits".to_owned()
            } else {
                step.status.clone()
            },
            took,
            format!("{tries}{note}"),
        ]
    }

    /// Where the time went, in so many rows.
    fn times(&self, room: usize, width: usize) -> Vec<String> {
        let longest = self.run.steps.iter().map(|step| step.seconds).fold(0.0, f64::max);
        let shown = notable(&self.run.steps, room);
        let rows: Vec<Vec<String>> = shown.iter().map(|step| self.row(step, longest)).collect();
        let mut lines = table::render(&["  STEP", "STATUS", "TOOK", ""], &rows, width);
        let left_out = self.run.steps.len() - shown.len();
        if left_out > 0 {
            lines.push(format!("  … {left_out} more, none of which failed or took longer"));
        }
        lines
    }
}
