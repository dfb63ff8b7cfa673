//! A run summed up for people: first what failed and what to do next, then what was promised, then where the time went.

use std::time::Duration;

use jm_plan::{Plan, duration as written};
use jm_run::journal::Why;
use jm_run::{Record, RunDir, RunStatus, RunSummary, StepSummary};
use jm_step::StepId;
use serde_json::{Map, Value, json};

use crate::exit::CommandError;
use crate::report::{shown, table, time, words};
use crate::ui::{Style, Ui};

/// The widest bar of a step's share of the time.
const BAR: usize = 20;

/// A run summed up, and what goes on from there.
pub(crate) struct Summary {
    run: RunSummary,
    logs: Vec<(StepId, String)>,
    contacts: Vec<String>,
    plan: String,
}

/// Sums up a run by its records.
pub(crate) fn of(plan: &Plan, records: &[Record], directory: &RunDir) -> Result<Summary, CommandError> {
    let broken = |error| CommandError::state("the journal does not hang together").cause(&error);
    let run = jm_run::summarize(plan, records, directory, jm_step::clock::now()).map_err(broken)?;
    let logs = run.steps.iter().filter_map(|step| {
        let path = directory.log_path(&step.id, step.attempts);
        path.metadata()
            .is_ok_and(|meta| meta.len() > 0)
            .then(|| (step.id.clone(), path.display().to_string()))
    });
    Ok(Summary {
        logs: logs.collect(),
        contacts: plan.contacts().to_vec(),
        plan: plan.name().to_owned(),
        run,
    })
}

impl Summary {
    /// Whether an objective was missed.
    pub(crate) fn missed(&self) -> bool {
        self.run.objective_missed
    }

    /// Whether a guard refused a step.
    pub(crate) fn refused(&self) -> bool {
        self.run.refused
    }

    /// The summary as one JSON document.
    pub(crate) fn to_json(&self, besides: &Map<String, Value>) -> String {
        let mut document = json!(self.run);
        document["version"] = Value::from(1);
        document["resume"] = json!(self.resume());
        besides.iter().for_each(|(name, value)| document[name] = value.clone());
        format!("{document:#}")
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

    fn resume(&self) -> Option<String> {
        self.run
            .status
            .is_resumable()
            .then(|| format!("jm plan resume {}", self.run.run.id.short()))
    }

    /// Says it to people.
    pub(crate) fn print(&self, ui: &Ui) {
        ui.say("");
        ui.out(self.headline(ui));
        self.run
            .steps
            .iter()
            .filter(|step| step.status == "failed")
            .for_each(|step| self.failure(step, ui));
        self.waits().for_each(|(step, why)| self.wait(step, why, ui));
        for step in &self.run.steps {
            for reason in &step.degraded {
                ui.out(format!(
                    "  {} `{}`: {reason}",
                    ui.paint(Style::Yellow, "degraded"),
                    step.id
                ));
            }
        }
        self.promises(ui);
        self.times(ui);
        self.given_out(ui);
        if let (Some(resume), true) = (self.resume(), self.waits().next().is_none()) {
            ui.say("");
            let first = if self.run.status == RunStatus::Failed {
                "mend the cause, then "
            } else {
                ""
            };
            let next = format!(
                "next: {first}`{resume}`; `jm run show {}` tells more",
                self.run.run.id.short()
            );
            ui.say_all(&table::wrap(&next, ui.room()));
        }
    }

    fn headline(&self, ui: &Ui) -> String {
        let (word, style) = match self.run.status {
            RunStatus::Completed => ("completed", Style::Green),
            RunStatus::Failed => ("FAILED", Style::Red),
            RunStatus::Aborted => ("ABORTED", Style::Red),
            status => (status.as_str(), Style::Yellow),
        };
        let drill = if self.run.run.drill { " (drill)" } else { "" };
        let resumed = if self.run.resumes > 0 {
            format!(", resumed {}×", self.run.resumes)
        } else {
            String::new()
        };
        let took = time::duration(Duration::from_secs_f64(self.run.seconds));
        format!(
            "{} {}{drill} after {took}{resumed}, run {}",
            ui.paint(style, word),
            self.plan,
            self.run.run.id
        )
    }

    fn failure(&self, step: &StepSummary, ui: &Ui) {
        let Some(error) = &step.error else { return };
        let mut lines = words::error(ui, error);
        lines[0] = format!("`{}`: {}", step.id, lines[0]);
        lines.extend(words::evidence(error));
        let log = self
            .logs
            .iter()
            .find(|(id, _)| *id == step.id)
            .map(|(_, path)| path.clone());
        for (name, text) in [("why", &step.why), ("runbook", &step.runbook), ("log", &log)] {
            lines.extend(text.iter().map(|text| format!("{name}: {text}")));
        }
        if !self.contacts.is_empty() {
            lines.push(format!("call: {}", self.contacts.join(", ")));
        }
        let room = ui.room().saturating_sub(9);
        let lines = lines.iter().flat_map(|line| table::wrap(line, room));
        for (i, line) in lines.enumerate() {
            let lead = if i == 0 {
                ui.paint(Style::Red, "failed")
            } else {
                " ".repeat(6)
            };
            ui.out(format!("  {lead} {line}"));
        }
    }

    fn wait(&self, step: &StepId, why: &Why, ui: &Ui) {
        ui.out(format!(
            "  {} `{step}`: {}",
            ui.paint(Style::Yellow, "waits"),
            words::waits(why)
        ));
        let resume = self
            .resume()
            .map(|resume| format!(", then `{resume}`"))
            .unwrap_or_default();
        ui.out(format!("        go on with {}{resume}", words::verbs(why, step)));
    }

    fn promises(&self, ui: &Ui) {
        if let Some(rto) = &self.run.rto {
            let took = time::duration(Duration::from_secs_f64(rto.actual));
            let done = matches!(self.run.status, RunStatus::Completed | RunStatus::Degraded);
            ui.out(promise(
                ui,
                "RTO",
                Some(rto.objective),
                done.then_some(rto.met),
                &format!("took {took}"),
            ));
        }
        if let Some(loss) = &self.run.data_loss {
            let met = loss.objective.map(|_| !loss.is_missed());
            let point = loss.recovery_point.strftime("%Y-%m-%d %H:%M:%SZ");
            let lost = format!("data as of {point}, {} lost", time::duration(loss.window()));
            ui.out(promise(ui, "RPO", loss.objective, met, &lost));
        }
    }

    /// What the plan gives out.
    fn given_out(&self, ui: &Ui) {
        if let Some(outputs) = self.run.outputs.as_ref().filter(|outputs| **outputs != json!({})) {
            ui.say("");
            ui.out_all(&shown::lines(outputs, ui.width()));
        }
    }

    /// Where the time went.
    fn times(&self, ui: &Ui) {
        let longest = self.run.steps.iter().map(|step| step.seconds).fold(0.0, f64::max);
        let rows: Vec<Vec<String>> = self.run.steps.iter().map(|step| row(step, longest)).collect();
        ui.say("");
        ui.say_all(&table::render(&["  STEP", "STATUS", "TOOK", ""], &rows, ui.width()));
    }
}

fn promise(ui: &Ui, name: &str, objective: Option<u64>, met: Option<bool>, took: &str) -> String {
    let objective = objective.map_or_else(|| "-".to_owned(), |seconds| written::show(Duration::from_secs(seconds)));
    let kept = match met {
        Some(true) => ui.paint(Style::Green, "met"),
        Some(false) => ui.paint(Style::Red, "MISSED"),
        None => "open".to_owned(),
    };
    format!("  {name} {objective:<6} {kept}, {took}")
}

fn row(step: &StepSummary, longest: f64) -> Vec<String> {
    let took = if step.attempts == 0 {
        String::new()
    } else {
        time::duration(Duration::from_secs_f64(step.seconds))
    };
    let tries = if step.attempts > 1 {
        format!("{} attempts  ", step.attempts)
    } else {
        String::new()
    };
    let note = step.because.clone().unwrap_or_else(|| bar(step.seconds, longest));
    vec![
        format!("  {}", step.id),
        step.status.clone(),
        took,
        format!("{tries}{note}"),
    ]
}

fn bar(seconds: f64, longest: f64) -> String {
    if longest <= 0.0 {
        return String::new();
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a bar of 20"
    )]
    let length = (seconds / longest * BAR as f64).round() as usize;
    "█".repeat(length.min(BAR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_shares_of_the_longest() {
        assert_eq!(bar(0.0, 0.0), "");
        assert_eq!(bar(1.0, 2.0).chars().count(), BAR / 2);
        assert_eq!(bar(2.0, 2.0).chars().count(), BAR);
    }
}
