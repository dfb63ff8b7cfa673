//! `command.run`: runs a program.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;

use jm_step::{
    Change, Effect, InputIssue, Known, Preview, Probe, ReadContext, Repeat, Role, Secret, StepContext, StepError,
    StepErrorKind, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::program::{self, Ended, MOST_OUTPUT};

/// Runs a program.
pub(crate) struct Run;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The program and its arguments, as they are: no shell reads them. Never a secret: everybody on the machine can
    /// read arguments.
    #[serde(default)]
    argv: Vec<String>,
    /// A script for `sh -eu` instead of `argv`, written as it is: values come in through `env`, never in the text.
    #[serde(default)]
    #[schemars(extend("x-jm-literal" = true))]
    shell: Option<String>,
    /// Variables for the program, which otherwise sees only `PATH`, `HOME`, `LANG` and the like. Values may be secrets.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, Secret>,
    /// Names of variables that it gets as jm has them.
    #[serde(default)]
    pub(crate) inherit_env: Vec<String>,
    /// Where it runs.
    #[serde(default)]
    pub(crate) dir: Option<PathBuf>,
    /// What it reads on standard input; nothing where not given. May be a secret.
    #[serde(default)]
    pub(crate) stdin: Option<Secret>,
    /// The exit codes that are good.
    #[serde(default = "only_zero")]
    ok_exit_codes: Vec<u8>,
    /// Whether what it prints is JSON, and later steps read it as `outputs.json`.
    #[serde(default)]
    json: bool,
    /// A program and its arguments that say whether the work is done already: exit code 0 for yes, 1 for no, others for
    /// "cannot tell". Asked before the program runs, by a dry run, and after a crash. It has to change nothing. Where it
    /// cannot tell, the program does not run, unless twice is no more than once.
    #[serde(default)]
    verify: Vec<String>,
    /// What the program can do to the world, where that is less than `irreversible`.
    #[serde(default)]
    effect: Option<Effect>,
    /// `safe` where running it twice does no more than running it once.
    #[serde(default)]
    repeat: Option<Repeat>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// Its exit code; that of `verify` where the work was done already.
    exit_code: u8,
    /// What it printed on standard output, as far as 32 KiB, without the last line end; all of it is in the log.
    stdout: String,
    /// Whether there was more.
    truncated: bool,
    /// What it printed, as data; null unless `json` is set.
    json: Value,
    /// Whether `verify` said that the work was done, so that the program did not run.
    already_done: bool,
}

impl StepType for Run {
    const NAME: &'static str = "command.run";
    const SUMMARY: &'static str = "runs a program";
    const EFFECT: Effect = Effect::Irreversible;
    const REPEAT: Repeat = Repeat::Probe;
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let issues = issues(input);
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }

    fn effect(&self, input: &Known) -> Effect {
        let said = input.get("effect").cloned();
        said.and_then(|effect| serde_json::from_value(effect).ok())
            .unwrap_or(Self::EFFECT)
    }

    /// What changes nothing may be done as often as one likes.
    fn repeat(&self, input: &Known) -> Repeat {
        let said = input.get("repeat").cloned();
        match said.and_then(|repeat| serde_json::from_value(repeat).ok()) {
            Some(repeat) => repeat,
            None if StepType::effect(self, input) == Effect::ReadOnly => Repeat::Safe,
            None => Self::REPEAT,
        }
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let verdict = verify(cx, input).await?;
        if let Verdict::Done(output) = verdict {
            let summary = format!("done already, says `{}`", input.verify[0]);
            return Ok(Preview::verified(summary).predict(output));
        }
        program::check(&argv(input), input, cx)?;
        let preview = match verdict {
            // What comes before it may be what lets it tell.
            Verdict::CannotTell(said) if !may_repeat(input) => Preview::declared(format!(
                "runs `{}`, once it can be told that it is not done: now {said}",
                shown(cx, input)
            )),
            _ => Preview::declared(format!("runs `{}`", shown(cx, input))),
        };
        Ok(match input.effect {
            Some(Effect::ReadOnly) => preview,
            _ => preview.with_changes(vec![change(cx, input)]),
        })
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        match verify(cx, &input).await? {
            Verdict::Done(output) => return Ok(output),
            Verdict::CannotTell(said) if !may_repeat(&input) => return Err(cannot_tell(cx, &input, &said)),
            Verdict::CannotTell(_) | Verdict::NotDone | Verdict::NotAsked => {}
        }
        let ended = program::run(&argv(&input), &input, cx, Some(cx)).await?;
        let output = judged(&input, &ended)?;
        if input.effect != Some(Effect::ReadOnly) {
            cx.changed(change(cx, &input)).await;
        }
        Ok(output)
    }

    async fn probe(&self, cx: &ReadContext, input: &Input) -> Result<Probe<Output>, StepError> {
        if input.effect == Some(Effect::ReadOnly) {
            return Ok(Probe::NotStarted);
        }
        Ok(match verify(cx, input).await? {
            Verdict::Done(output) => Probe::Succeeded(output),
            Verdict::NotDone => Probe::NotStarted,
            Verdict::NotAsked => Probe::unknown("the program may have run, and there is no `verify` to ask"),
            Verdict::CannotTell(said) => Probe::unknown(said),
        })
    }
}

/// Whether running it twice does no more than running it once.
fn may_repeat(input: &Input) -> bool {
    input.repeat.unwrap_or(match input.effect {
        Some(Effect::ReadOnly) => Repeat::Safe,
        _ => Run::REPEAT,
    }) == Repeat::Safe
}

/// That nobody knows whether it is done is no leave to do it.
fn cannot_tell(cx: &StepContext, input: &Input, said: &str) -> StepError {
    let (step, run) = (cx.step(), &cx.run().id);
    StepError::failed(format!(
        "`{}` was not run, for it may be done already: {said}",
        program_name(input)
    ))
    .hint(format!(
        "find out what keeps `verify` from telling, then `jm plan resume {run}` asks it again; where you know that it is \
         done: `jm run mark-done {step}`; `repeat: safe` in the plan where twice is no more than once"
    ))
}

enum Verdict {
    Done(Output),
    NotDone,
    NotAsked,
    CannotTell(String),
}

async fn verify(cx: &ReadContext, input: &Input) -> Result<Verdict, StepError> {
    if input.verify.is_empty() {
        return Ok(Verdict::NotAsked);
    }
    let ended = program::run(&input.verify, input, cx, None).await?;
    Ok(match ended.status.code() {
        Some(0) => Verdict::Done(Output {
            already_done: true,
            ..output(input, &ended)?
        }),
        Some(1) => Verdict::NotDone,
        _ => Verdict::CannotTell(format!(
            "`{}`, which should say whether it is done, {}",
            input.verify[0],
            how(ended.status)
        )),
    })
}

fn judged(input: &Input, ended: &Ended) -> Result<Output, StepError> {
    let good = ended
        .status
        .code()
        .is_some_and(|code| input.ok_exit_codes.iter().any(|ok| i32::from(*ok) == code));
    if good {
        return output(input, ended);
    }
    let name = program_name(input);
    Err(
        StepError::new(StepErrorKind::Failed, format!("`{name}` {}", how(ended.status)))
            .hint(hint(ended))
            .evidence(
                json!({ "exit_code": ended.status.code(), "signal": ended.status.signal(), "stderr": ended.stderr }),
            ),
    )
}

fn output(input: &Input, ended: &Ended) -> Result<Output, StepError> {
    let stdout = ended.stdout.text();
    Ok(Output {
        exit_code: ended
            .status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or_default(),
        json: if input.json { parsed(input, ended)? } else { Value::Null },
        stdout,
        truncated: ended.stdout.truncated,
        already_done: false,
    })
}

fn parsed(input: &Input, ended: &Ended) -> Result<Value, StepError> {
    let name = program_name(input);
    if ended.stdout.truncated {
        return Err(
            StepError::failed(format!("`{name}` printed more JSON than {MOST_OUTPUT} bytes"))
                .hint("let it print less, for instance through `jq`, or write it to a file"),
        );
    }
    serde_json::from_slice(&ended.stdout.bytes).map_err(|error| {
        StepError::failed(format!("`{name}` did not print JSON: {error}"))
            .hint("see the log of the attempt with `jm run logs`, or set `json: false`")
    })
}

fn only_zero() -> Vec<u8> {
    vec![0]
}

fn issues(input: &Input) -> Vec<InputIssue> {
    let mut issues = Vec::new();
    match (&input.shell, input.argv.as_slice()) {
        (None, []) => {
            issues.push(InputIssue::at("", "there is no program to run").help("write `argv: [program, argument]`"));
        }
        (Some(_), [_, ..]) => issues.push(InputIssue::at("/shell", "`argv` and `shell` exclude each other")),
        (None, [program, ..]) if program.contains(' ') && input.argv.len() == 1 => {
            let help = "write each argument as an item of its own; `shell` takes a whole line";
            issues.push(InputIssue::at("/argv/0", format!("`{program}` looks like a whole command line")).help(help));
        }
        _ => {}
    }
    if input.ok_exit_codes.is_empty() {
        issues.push(InputIssue::at("/ok_exit_codes", "no exit code would be good"));
    }
    for name in input
        .env
        .keys()
        .chain(&input.inherit_env)
        .filter(|name| !is_variable(name))
    {
        issues.push(InputIssue::at(
            "/env",
            format!("`{name}` is not the name of a variable"),
        ));
    }
    issues
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

fn argv(input: &Input) -> Vec<String> {
    match &input.shell {
        Some(script) => ["sh", "-eu", "-c", script].map(str::to_owned).to_vec(),
        None => input.argv.clone(),
    }
}

fn program_name(input: &Input) -> &str {
    input.argv.first().map_or("sh", String::as_str)
}

/// The command as people would write it, masked, and cut where it is long.
fn shown(cx: &ReadContext, input: &Input) -> String {
    let line = input.shell.clone().unwrap_or_else(|| input.argv.join(" "));
    let masked = cx.secrets().mask(line.trim()).into_owned();
    match masked.char_indices().nth(120) {
        Some((at, _)) => format!("{}…", &masked[..at]),
        None => masked,
    }
}

fn change(cx: &ReadContext, input: &Input) -> Change {
    Change::send(format!("program `{}`", program_name(input)), shown(cx, input))
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended nobody knows how".to_owned(),
    }
}

fn hint(ended: &Ended) -> &'static str {
    match ended.status.code() {
        Some(126) => "the file that should run may not be executed: check its mode",
        Some(127) => "a program that it calls is not on PATH",
        _ if !ended.stderr.is_empty() => "read its last words; all of them are in `jm run logs`",
        _ if !ended.stdout.bytes.is_empty() => "it named no error; what it printed is in `jm run logs`",
        _ => "it said nothing: run it by hand, or let it say what goes wrong",
    }
}

#[cfg(test)]
mod tests;
