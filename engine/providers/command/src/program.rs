//! Starting a program, feeding it, hearing it out, and ending it in time.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use jm_step::process::{Command, Process};
use jm_step::{ReadContext, StepContext, StepError};
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::capture::{self, Captured};
use crate::run::Input;

/// So much of standard output is an output; the rest is in the log alone. A record of the journal holds 64 KiB.
pub(crate) const MOST_OUTPUT: usize = 32 * 1024;
/// So many lines of standard error are evidence.
const MOST_LINES: usize = 20;
/// How long a program that is told to stop has for putting things in order.
const GRACE: Duration = Duration::from_secs(5);
/// How long pipes may stay open after their program has ended: who holds them has left its process group.
const DRAIN: Duration = Duration::from_secs(2);

/// What became of a program.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Captured,
    pub(crate) stderr: Vec<String>,
}

/// Runs a program to its end, within a step that may be told to stop. What it prints goes to the log, if there is one.
pub(crate) async fn run(
    argv: &[String],
    input: &Input,
    cx: &ReadContext,
    log: Option<&StepContext>,
) -> Result<Ended, StepError> {
    let mut process = start(argv, input, cx)?;
    let feeding = feed(process.stdin.take(), input);
    let (stdout, stderr) = (process.stdout.take(), process.stderr.take());
    let (mut kept, mut words) = (Captured::default(), VecDeque::new());
    let ended = {
        let hearing = async { tokio::join!(hear(stdout, log, &mut kept), hear_errors(stderr, log, &mut words)) };
        let watching = watch(&mut process, cx, hearing);
        tokio::join!(feeding, watching).1
    };
    Ok(Ended {
        status: ended?,
        stdout: kept,
        stderr: words.into(),
    })
}

/// Waits for the end of the program and, for a moment longer, for the rest of what it printed.
async fn watch(process: &mut Process, cx: &ReadContext, hearing: impl Future) -> Result<ExitStatus, StepError> {
    let mut hearing = std::pin::pin!(hearing);
    let ended = {
        // One wait from beginning to end: begun anew, it would take what a program that is told to stop dies of for an end
        // of its own.
        let mut ending = std::pin::pin!(end(process, cx));
        tokio::select! {
            ended = &mut ending => ended,
            // It closed its output, and may go on.
            _ = &mut hearing => return ending.await,
        }
    };
    drop(tokio::time::timeout(DRAIN, hearing).await);
    ended
}

/// Whether a program could be started, as far as that is seen without doing it.
pub(crate) fn check(argv: &[String], input: &Input, cx: &ReadContext) -> Result<(), StepError> {
    command(argv, input, cx)?.check(cx.environment())
}

fn start(argv: &[String], input: &Input, cx: &ReadContext) -> Result<Process, StepError> {
    let mut command = command(argv, input, cx)?;
    if input.stdin.is_some() {
        command = command.stdin(Stdio::piped());
    }
    command.spawn(cx.supervisor(), cx.environment())
}

fn command(argv: &[String], input: &Input, cx: &ReadContext) -> Result<Command, StepError> {
    let Some((program, args)) = argv.split_first() else {
        return Err(StepError::invalid_input("there is no program to run").hint("write it as the first item of `argv`"));
    };
    if argv.iter().any(|arg| cx.secrets().occur_in(arg)) {
        return Err(StepError::invalid_input(
            "an argument holds a secret, and everybody on the machine can read arguments",
        )
        .hint("hand it over in `env` or `stdin`"));
    }
    let mut command = Command::new(located(program, input.dir.as_deref())).args(args);
    for name in &input.inherit_env {
        if let Some(value) = cx.environment().get(name) {
            command = command.env(name, value);
        }
    }
    for (name, value) in &input.env {
        command = command.env(name, value.expose());
    }
    if let Some(dir) = &input.dir {
        command = command.dir(dir);
    }
    Ok(command)
}

/// A path such as `./check` is meant from where the program runs; as a whole, for there it would be looked for from there
/// once more.
fn located(program: &str, dir: Option<&Path>) -> PathBuf {
    match dir {
        Some(dir) if program.contains('/') => {
            let path = dir.join(program);
            std::path::absolute(&path).unwrap_or(path)
        }
        _ => PathBuf::from(program),
    }
}

async fn feed(stdin: Option<ChildStdin>, input: &Input) {
    if let (Some(mut stdin), Some(text)) = (stdin, &input.stdin) {
        // A program that does not read to the end is free not to.
        drop(stdin.write_all(text.expose().as_bytes()).await);
    }
}

async fn hear(stdout: Option<ChildStdout>, log: Option<&StepContext>, kept: &mut Captured) {
    if let Some(stdout) = stdout {
        capture::head(stdout, MOST_OUTPUT, log, kept).await;
    }
}

async fn hear_errors(stderr: Option<ChildStderr>, log: Option<&StepContext>, words: &mut VecDeque<String>) {
    if let Some(stderr) = stderr {
        capture::tail(stderr, MOST_LINES, log, words).await;
    }
}

/// Waits for the end; asks for it where the step is told to stop, and insists a little later.
async fn end(process: &mut Process, cx: &ReadContext) -> Result<ExitStatus, StepError> {
    tokio::select! {
        biased;
        // It ended by itself before it was told anything.
        status = process.wait() => return status,
        () = cx.cancelled() => {}
    }
    process.terminate();
    if tokio::time::timeout(GRACE, process.wait()).await.is_err() {
        process.kill().await;
    }
    Err(StepError::cancelled("the program was told to stop"))
}
