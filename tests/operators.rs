//! What operators say and see: words about a run, locks, identities, events, and the exit codes of each.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::environment::{has_words, jm, journal, of_kind, said};

mod damage;
mod events;
mod examples;
mod identity;
mod locks;
mod server_locks;
mod standing;
mod verbs;

/// How long anything here may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_mins(1);

/// A folder with plans, a state, and what the steps leave.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn state(&self) -> PathBuf {
        self.path("state")
    }

    fn write(&self, name: &str, text: &str) -> Result<String> {
        std::fs::write(self.path(name), text)?;
        Ok(self.path(name).display().to_string())
    }

    /// The binary with a state here, as somebody who has a name.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = jm(&self.state());
        command
            .env("USER", "ada")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .args(words);
        command
    }

    /// Runs the binary, which has to end with this code.
    fn jm(&self, words: &[&str], code: i32) -> Result<Output> {
        let output = self.command(words).output()?;
        ensure!(output.status.code() == Some(code), "{words:?}: {}", said(&output));
        Ok(output)
    }

    /// The binary, left alone with what it does.
    fn start(&self, words: &[&str]) -> Result<Running> {
        Running::start(self.command(words))
    }

    /// The records of the newest run.
    fn journal(&self) -> Result<Vec<Value>> {
        journal(&self.state())
    }

    /// What people said in the newest run: verb, step, who, reason.
    fn words(&self) -> Result<Vec<[String; 4]>> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let records = self.journal()?;
        let words = of_kind(&records, "operator").into_iter();
        Ok(words
            .map(|word| ["verb", "step", "who", "reason"].map(|field| text(&word[field])))
            .collect())
    }

    /// How often a step of the newest run began.
    fn starts(&self, step: &str) -> Result<usize> {
        let records = self.journal()?;
        let started = of_kind(&records, "step-started").into_iter();
        Ok(started.filter(|record| record["step"] == step).count())
    }
}

/// A jm that is under way. Killed where a test goes wrong.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Result<Self> {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        Ok(Self(child))
    }

    /// Waits until something holds; the jm must not end before it does.
    fn until(&mut self, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
        let began = Instant::now();
        while !holds()? {
            ensure!(self.0.try_wait()?.is_none() || holds()?, "it ended before {what}");
            ensure!(began.elapsed() < PATIENCE, "{what} does not come");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Waits until the newest run of a state has begun a step.
    fn until_started(&mut self, state: &Path, step: &str) -> Result<()> {
        self.until(&format!("step {step}"), || {
            let records = journal(state)?;
            let started = of_kind(&records, "step-started");
            Ok(started.iter().any(|record| record["step"] == step))
        })
    }

    /// The same of a run that was not there before: the newest one was, with its first record.
    fn until_begun(&mut self, state: &Path, step: &str, before: &[Value]) -> Result<()> {
        self.until("another run", || Ok(journal(state)?.first() != before.first()))?;
        self.until_started(state, step)
    }

    fn kill(mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    /// Waits for its end, which has to have this code.
    fn ends(self, code: i32) -> Result<Output> {
        let output = self.outcome()?;
        ensure!(output.status.code() == Some(code), "{}", said(&output));
        Ok(output)
    }

    /// Waits for its end.
    fn outcome(mut self) -> Result<Output> {
        let began = Instant::now();
        while self.0.try_wait()?.is_none() {
            ensure!(began.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut output = Output {
            status: self.0.wait()?,
            stdout: Vec::new(),
            stderr: Vec::new(),
        };
        read(self.0.stdout.take(), &mut output.stdout)?;
        read(self.0.stderr.take(), &mut output.stderr)?;
        Ok(output)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn read(from: Option<impl std::io::Read>, to: &mut Vec<u8>) -> Result<()> {
    from.context("a pipe")?.read_to_end(to)?;
    Ok(())
}

/// All that a command said has these words.
fn says(output: &Output, words: &[&str]) -> Result<()> {
    let text = said(output);
    for word in words {
        ensure!(has_words(&text, word), "`{word}` is not said: {text}");
    }
    Ok(())
}

fn json(output: &Output) -> Result<Value> {
    serde_json::from_slice(&output.stdout).with_context(|| said(output))
}
