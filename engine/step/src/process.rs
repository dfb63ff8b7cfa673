//! Child processes: started only here, in a process group of their own, with a cleared environment, ended with their
//! step, and ended by a [`Supervisor`] when jm itself is gone.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "programs are found as files, and what a child says may go to one"
)]

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};

use crate::{Environment, StepError};

mod strays;
mod supervisor;
pub use supervisor::{Supervisor, supervise};

/// What every child may see of jm's environment; everything else has to be named.
const INHERITED: &[&str] = &[
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
];

/// Where programs are looked for when nobody says, as the C library does.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// A program to be started, by its arguments: no shell reads them.
#[derive(Debug)]
pub struct Command {
    program: PathBuf,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    dir: Option<PathBuf>,
    user: Option<(u32, u32)>,
    output: Option<std::fs::File>,
    stdin: Stdio,
}

impl Command {
    /// A program by path, or by name on `PATH`.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            dir: None,
            user: None,
            output: None,
            stdin: Stdio::null(),
        }
    }

    /// Adds an argument. Never a secret: other users of the machine can read it.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment, which otherwise holds only the few that every program needs.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets its working directory.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Runs it as another user and group, by number: for servers that refuse to run as root.
    pub fn user(mut self, user: u32, group: u32) -> Self {
        self.user = Some((user, group));
        self
    }

    /// Writes its standard output and error to a file instead of pipes: for servers that nobody reads.
    pub fn output_to(mut self, file: std::fs::File) -> Self {
        self.output = Some(file);
        self
    }

    /// Sets where its standard input comes from: nowhere, unless said otherwise.
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = stdin.into();
        self
    }

    /// Starts it, with standard output and error piped.
    pub fn spawn(self, supervisor: &Supervisor, environment: &Environment) -> Result<Process, StepError> {
        let program = self.program.clone();
        self.check_directory()?;
        let located = self.located(environment)?;
        let mark = ulid::Ulid::new().to_string();
        #[expect(clippy::disallowed_methods, reason = "this is the module that starts children")]
        let mut command = tokio::process::Command::new(located);
        command
            .arg0(&self.program)
            .args(&self.args)
            .env_clear()
            .envs(
                INHERITED
                    .iter()
                    .filter_map(|name| environment.get(name).map(|value| (*name, value))),
            )
            .envs(supervisor.mark())
            .envs(supervisor.mark().map(|_| (strays::MARK, &mark)))
            .envs(&self.env)
            .stdin(self.stdin)
            .process_group(0)
            .kill_on_drop(true);
        match self.output.map(|file| Ok((file.try_clone()?, file))).transpose() {
            Ok(Some((out, err))) => command.stdout(out).stderr(err),
            Ok(None) => command.stdout(Stdio::piped()).stderr(Stdio::piped()),
            Err(error) => return Err(cannot_start(&program, error)),
        };
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        let mut child = start(&mut command).map_err(|error| cannot_start(&program, error))?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(group) = group {
            supervisor.watch(group);
        }
        Ok(Process {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            program,
            child,
            group,
            mark,
            supervisor: supervisor.clone(),
        })
    }
}

impl Command {
    /// Whether it could be started, as far as that is seen without doing it: program and working directory are there.
    pub fn check(&self, environment: &Environment) -> Result<(), StepError> {
        self.check_directory()?;
        let located = self.located(environment)?;
        match located.metadata() {
            Err(error) => Err(cannot_start(&self.program, error)),
            // As with one that is not there, something may still change that.
            Ok(_) if !is_executable(&located) => Err(StepError::not_found(format!(
                "program `{}` may not be executed",
                self.program.display()
            ))
            .hint(format!("check the mode of `{}`", self.program.display()))),
            Ok(_) => Ok(()),
        }
    }

    /// The kernel says the same of a directory that is not there as of a program.
    fn check_directory(&self) -> Result<(), StepError> {
        let Some(dir) = self.dir.as_deref().filter(|dir| !dir.is_dir()) else {
            return Ok(());
        };
        Err(StepError::not_found(format!(
            "directory `{}`, in which `{}` is to run, is not there",
            dir.display(),
            self.program.display()
        ))
        .hint("create it, or name another one"))
    }

    /// The program's file. A child whose `PATH` is set can be started by its file without a copy of this process's
    /// memory map (`posix_spawn`), by its name only with one (`fork`), which takes several times as long.
    fn located(&self, environment: &Environment) -> Result<PathBuf, StepError> {
        if self.program.components().count() != 1 || self.program.is_absolute() {
            return Ok(self.program.clone());
        }
        let path = self.env.get("PATH").map(String::as_str).or(environment.get("PATH"));
        let dirs = std::env::split_paths(path.unwrap_or(DEFAULT_PATH));
        find_in(dirs, &self.program).ok_or_else(|| cannot_start(&self.program, ErrorKind::NotFound.into()))
    }
}

/// How long a program's file may be open for writing, in pauses of [`BUSY_PAUSE`].
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(4);

/// The kernel executes no file that anybody may write to. A script that was written a moment ago and is closed may
/// still be open in another child that was being started just then, until that one's own `execve` closes it
/// (`O_CLOEXEC`): a matter of milliseconds, <https://github.com/golang/go/issues/22315>.
fn start(command: &mut tokio::process::Command) -> std::io::Result<Child> {
    for _ in 0..BUSY_TRIES {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => std::thread::sleep(BUSY_PAUSE),
            started => return started,
        }
    }
    command.spawn()
}

fn cannot_start(program: &Path, error: std::io::Error) -> StepError {
    let shown = program.display();
    match error.kind() {
        ErrorKind::NotFound => StepError::not_found(format!("program `{shown}` is not there"))
            .hint(format!("install `{shown}`, or put its directory on PATH")),
        ErrorKind::PermissionDenied => StepError::denied(format!("program `{shown}` may not be executed"))
            .hint(format!("check the mode of `{shown}`")),
        ErrorKind::ExecutableFileBusy => StepError::unavailable(format!("program `{shown}` is being written"))
            .hint("see who has it open with `fuser -v`, and try again when that has ended"),
        _ => StepError::unavailable(format!("program `{shown}` cannot be started")),
    }
    .source(error)
}

/// A running child and everything that it starts. Dropping it ends all of them.
#[derive(Debug)]
pub struct Process {
    /// Its standard input, where that is piped.
    pub stdin: Option<ChildStdin>,
    /// Its standard output.
    pub stdout: Option<ChildStdout>,
    /// Its standard error.
    pub stderr: Option<ChildStderr>,
    program: PathBuf,
    child: Child,
    group: Option<Pid>,
    mark: String,
    supervisor: Supervisor,
}

impl Process {
    /// Waits for its end. What it left running is ended with it, also outside of its group.
    pub async fn wait(&mut self) -> Result<ExitStatus, StepError> {
        let status = self.child.wait().await;
        self.end_group();
        status.map_err(|error| {
            StepError::failed(format!("the end of `{}` cannot be learned", self.program.display())).source(error)
        })
    }

    /// Asks it and everything that it started to end.
    pub fn terminate(&self) {
        if let Some(group) = self.group {
            // An error says that the group is empty already, which is what is wanted.
            let _ = kill_process_group(group, Signal::TERM);
        }
    }

    /// Ends it and everything that it started, now.
    pub async fn kill(&mut self) {
        self.end_group();
        // It is dead or was never there; either way there is nothing to wait for.
        drop(self.child.wait().await);
    }

    fn end_group(&mut self) {
        if let Some(group) = self.group.take() {
            // An error says that the group is empty already, which is what is wanted.
            let _ = kill_process_group(group, Signal::KILL);
            self.supervisor.forget(group, &self.mark);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end_group();
    }
}

/// Finds a program on the environment's `PATH`, then in the given directories.
pub fn find(program: &str, environment: &Environment, also: &[PathBuf]) -> Option<PathBuf> {
    let path = environment.get("PATH").unwrap_or_default();
    find_in(
        std::env::split_paths(path).chain(also.iter().cloned()),
        program.as_ref(),
    )
}

fn find_in(mut dirs: impl Iterator<Item = PathBuf>, program: &Path) -> Option<PathBuf> {
    dirs.find_map(|dir| Some(dir.join(program)).filter(|file| is_executable(file)))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests;
