//! PostgreSQL's own programs: found, chosen by version, run, and believed by their exit status.

#![expect(
    clippy::disallowed_methods,
    reason = "client programs are found in the folders of their packages"
)]

use std::path::PathBuf;

use bytes::Bytes;
use jm_client_postgres::ChildEnvironment;
use jm_step::process::{Command, Process, Supervisor, find};
use jm_step::{Environment, ReadContext, StepError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin};

use crate::flow::{CHUNK, Failure, Flow, flow};

const DEBIAN: &str = "/usr/lib/postgresql";
/// What is kept of what a program says on standard error.
const TAIL: usize = 8 * 1024;

/// What child programs need.
#[derive(Clone)]
pub struct Toolbox {
    /// Ends them when jm is gone.
    pub supervisor: Supervisor,
    /// Where `PATH` stands.
    pub environment: Environment,
}

impl Toolbox {
    /// That of a step.
    pub fn of(cx: &ReadContext) -> Self {
        Self {
            supervisor: cx.supervisor().clone(),
            environment: cx.environment().clone(),
        }
    }
}

/// A program that was found.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    pub(crate) path: PathBuf,
    pub(crate) version: ToolVersion,
}

/// A version such as `15.14`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToolVersion {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) text: String,
}

impl ToolVersion {
    /// `pg_dump (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`.
    fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.split_once("(PostgreSQL) ")?;
        let text = rest.split_whitespace().next()?;
        let number = |part: &str| {
            part.chars()
                .take_while(char::is_ascii_digit)
                .collect::<String>()
                .parse()
                .ok()
        };
        let mut parts = text.split('.');
        Some(Self {
            major: number(parts.next()?)?,
            // `18devel` and `18beta1` have none.
            minor: parts.next().and_then(number).unwrap_or(0),
            text: text.to_owned(),
        })
    }

    /// Whether psql knows `\restrict`, which turns every other meta-command off.
    pub(crate) fn restricts(&self) -> bool {
        match self.major {
            0..=12 => false,
            13 => self.minor >= 22,
            14 => self.minor >= 19,
            15 => self.minor >= 14,
            16 => self.minor >= 10,
            17 => self.minor >= 6,
            _ => true,
        }
    }
}

impl Toolbox {
    /// The program whose version fits best: at least `at_least`, and as near to the server's as there is. A newer one
    /// writes settings that an older server does not know. On `PATH` before elsewhere.
    pub(crate) async fn tool(&self, program: &str, at_least: u32, server: u32) -> Result<Tool, StepError> {
        let mut newest = None;
        let mut best: Option<Tool> = None;
        for path in self.candidates(program) {
            let Some(version) = self.version(&path).await else {
                continue;
            };
            newest = newest.max(Some(version.major));
            let nearer = |best: &Tool| distance(version.major, server) < distance(best.version.major, server);
            if version.major >= at_least && best.as_ref().is_none_or(nearer) {
                best = Some(Tool { path, version });
            }
        }
        best.ok_or_else(|| missing(program, at_least, newest))
    }

    fn candidates(&self, program: &str) -> Vec<PathBuf> {
        let on_path = find(program, &self.environment, &[]);
        let installed = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
        let mut installed: Vec<PathBuf> = installed.map(|entry| entry.path().join("bin").join(program)).collect();
        installed.retain(|path| path.is_file());
        installed.sort();
        on_path.into_iter().chain(installed).collect()
    }

    async fn version(&self, path: &std::path::Path) -> Option<ToolVersion> {
        let mut child = Command::new(path)
            .arg("--version")
            .spawn(&self.supervisor, &self.environment)
            .ok()?;
        let mut text = String::new();
        child.stdout.take()?.take(1000).read_to_string(&mut text).await.ok()?;
        child.wait().await.ok()?;
        ToolVersion::parse(&text)
    }

    /// Starts a program that talks to a server.
    pub(crate) fn spawn(
        &self,
        tool: &Tool,
        args: &[String],
        reach: Option<&ChildEnvironment>,
        piped: bool,
    ) -> Result<Process, StepError> {
        let mut command = Command::new(&tool.path).args(args.iter().cloned());
        for (name, value) in reach.map(ChildEnvironment::variables).into_iter().flatten() {
            command = command.env(name, value);
        }
        if piped {
            command = command.stdin(std::process::Stdio::piped());
        }
        command.spawn(&self.supervisor, &self.environment)
    }
}

/// Older than the server is worse than any newer one.
fn distance(version: u32, server: u32) -> u32 {
    match version.checked_sub(server) {
        Some(newer) => newer,
        None => 1000 + server - version,
    }
}

/// A failure, and nothing that is not found yet: no step of a plan brings it.
fn missing(program: &str, at_least: u32, newest: Option<u32>) -> StepError {
    let package = match at_least {
        0 => "the client programs of PostgreSQL".to_owned(),
        _ => format!("the client programs of PostgreSQL {at_least} or newer"),
    };
    StepError::failed(match newest {
        None => format!("program `{program}` is not on this machine"),
        Some(newest) => {
            format!("program `{program}` is of version {newest}, and version {at_least} or newer is needed")
        }
    })
    .hint(format!("install {package}, such as the package `postgresql-client`"))
}

/// Writes a flow to a program's input. `false` where the program did not want all of it: its exit status says why.
pub(crate) async fn feed(flow: &mut Flow, stdin: &mut ChildStdin) -> Result<bool, Failure> {
    while let Some(bytes) = flow.next().await? {
        if !write(stdin, &bytes).await {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes to a program's input; `false` where it has closed it.
pub(crate) async fn write(stdin: &mut ChildStdin, bytes: &[u8]) -> bool {
    stdin.write_all(bytes).await.is_ok()
}

/// The last of what a program says on standard error.
pub(crate) async fn tail(stderr: Option<ChildStderr>) -> String {
    let Some(mut stderr) = stderr else { return String::new() };
    let mut kept = Vec::new();
    let mut buffer = vec![0; TAIL];
    while let Ok(count) = stderr.read(&mut buffer).await {
        if count == 0 {
            break;
        }
        kept.extend_from_slice(&buffer[..count]);
        let surplus = kept.len().saturating_sub(TAIL);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

/// What a program writes, as a flow that ends only if `ended` says so once the program has closed its output.
pub(crate) fn output<R, E>(mut stdout: R, ended: E) -> Flow
where
    R: AsyncRead + Unpin + Send + 'static,
    E: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let (sender, output) = flow();
    tokio::spawn(async move {
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = tokio::select! {
                read = read_much(&mut stdout, &mut buffer) => read,
                () = sender.closed() => return,
            };
            match read {
                Ok(0) => break,
                Ok(count) => {
                    if sender.send(Bytes::copy_from_slice(&buffer[..count])).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let failed = StepError::failed("a program's output cannot be read").source(error);
                    return sender.fail(failed).await;
                }
            }
        }
        match ended.await {
            Ok(()) => drop(sender.end().await),
            Err(failure) => sender.fail(failure).await,
        }
    });
    output
}

/// Pipes give 64 KiB at most; fewer, larger chunks cost less on the way.
async fn read_much(stdout: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        let count = stdout.read(&mut buffer[filled..]).await?;
        if count == 0 {
            break;
        }
        filled += count;
    }
    Ok(filled)
}

/// How a program ended, in words: `exit status 1`, `killed by signal 9`.
pub(crate) fn ending(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "no exit status".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use jm_step::StepErrorKind;

    use super::*;

    #[test]
    fn a_program_that_is_missing_is_a_failure_and_says_what_to_install() {
        for (newest, told) in [(None, "not on this machine"), (Some(13), "of version 13")] {
            let error = missing("pg_dump", 15, newest);
            assert_eq!(error.kind(), StepErrorKind::Failed);
            assert!(error.message().contains(told), "{error}");
            let hint = error.hint_text().expect("a hint");
            assert!(hint.contains("PostgreSQL 15 or newer"), "{hint}");
        }
    }

    #[test]
    fn the_servers_own_version_is_best_then_newer_then_older() {
        let mut versions = [18, 13, 16, 15, 14];
        versions.sort_by_key(|version| distance(*version, 15));
        assert_eq!(versions, [15, 16, 18, 14, 13]);
    }

    #[test]
    fn versions_are_read() {
        let version = |text: &str| ToolVersion::parse(text).map(|v| (v.major, v.minor, v.restricts()));
        assert_eq!(
            version("pg_dump (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"),
            Some((15, 14, true))
        );
        assert_eq!(version("psql (PostgreSQL) 15.13"), Some((15, 13, false)));
        assert_eq!(version("psql (PostgreSQL) 18devel"), Some((18, 0, true)));
        assert_eq!(version("bash 5"), None);
    }
}
