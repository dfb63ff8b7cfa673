//! `jm sandbox up|run|down|list`: the stand-ins, held by a process of their own that outlives a jm that is killed.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a sandbox has a directory, which is made and removed here"
)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use jm_sandbox::{DatabasePlace, Description, Options, SandboxError, journeyman};
use jm_step::process::Supervisor;

use crate::args::{DatabaseKind, KubernetesKind, SandboxDownArgs, SandboxRunArgs, SandboxUpArgs};
use crate::commands::{Outcome, block_on};
use crate::exit::{CommandError, Exit};
use crate::report::screen::Screen;
use crate::report::time;
use crate::signals::Interrupted;
use crate::ui::Ui;
use crate::{SANDBOX, SUPERVISE, environment, signals};

pub(super) mod list;
mod places;

/// How long the servers of a sandbox may take to start.
const START_LIMIT: Duration = Duration::from_mins(2);
/// How long they may take to end.
const END_LIMIT: Duration = Duration::from_secs(20);
/// How often the database that is being filled is looked at where things move.
const LOOKS: Duration = Duration::from_millis(500);
/// And how often its size is told where they do not.
const TELLS: Duration = Duration::from_secs(5);
/// What a command in a sandbox sees of the operator's environment: where programs are, and how to print.
const KEPT: [&str; 8] = ["PATH", "TERM", "COLORTERM", "NO_COLOR", "LANG", "LC_ALL", "TZ", "USER"];

pub(super) fn up(args: &SandboxUpArgs, ui: &Ui) -> Outcome {
    let directory = directory(args.directory.as_deref());
    let place = match args.database {
        DatabaseKind::Beside => DatabasePlace::Beside,
        DatabaseKind::InCluster => DatabasePlace::InCluster,
    };
    let interrupted = Interrupted::listen()?;
    let was_up = find(&directory)?.is_some();
    let sandbox = start(&directory, args.kubernetes, place, &interrupted, ui)?;
    if let Err(error) = furnish(&sandbox, args.scale, &interrupted, ui) {
        if error.exit == Exit::Stopped && !was_up {
            end(&directory)?;
        }
        return Err(error);
    }
    for (name, value) in &sandbox.environment {
        ui.out(format!("export {name}='{value}'"));
    }
    ui.say(format!(
        "the sandbox is up in {}; `jm sandbox down` ends it",
        directory.display()
    ));
    Ok(Exit::Done)
}

pub(super) fn run(args: &SandboxRunArgs, ui: &Ui) -> Outcome {
    let directory = directory(args.directory.as_deref());
    let sandbox = find(&directory)?.ok_or_else(|| not_up(&directory))?;
    let [program, arguments @ ..] = args.command.as_slice() else {
        return Err(CommandError::usage("there is no command").hint("write it after `--`"));
    };
    ui.say(format!("in the sandbox of {}", directory.display()));
    let code = inside(&directory, &sandbox, Path::new(program), arguments, Stdio::inherit())?;
    Ok(Exit::Command(code))
}

pub(super) fn down(args: &SandboxDownArgs, ui: &Ui) -> Outcome {
    let directory = directory(args.directory.as_deref());
    if !directory.join("options.json").exists() {
        return Err(not_up(&directory));
    }
    end(&directory)?;
    ui.say(format!("the sandbox in {} is gone", directory.display()));
    Ok(Exit::Done)
}

/// Where a sandbox lives: at the place that was named, if one was.
pub(super) fn directory(named: Option<&Path>) -> PathBuf {
    let path = named.map_or_else(places::unnamed, Path::to_path_buf);
    std::path::absolute(&path).unwrap_or(path)
}

/// Where the sandbox of this process's drill lives.
pub(super) fn directory_of_drill() -> PathBuf {
    let mut path = directory(None).into_os_string();
    path.push(format!(".drill-{}", std::process::id()));
    path.into()
}

/// The sandbox in a directory, where it is up.
pub(super) fn find(directory: &Path) -> Result<Option<Description>, CommandError> {
    Description::find(directory).map_err(failed)
}

/// Starts a sandbox, or finds the one that is up. One that is not wanted any more before it is up is gone again.
pub(super) fn start(
    directory: &Path,
    kubernetes: KubernetesKind,
    database: DatabasePlace,
    interrupted: &Interrupted,
    ui: &Ui,
) -> Result<Description, CommandError> {
    if let Some(sandbox) = find(directory)? {
        remember(directory, ui);
        return Ok(sandbox);
    }
    let began = Instant::now();
    make(directory)?;
    let kubernetes = match kubernetes {
        KubernetesKind::Embedded => jm_sandbox::KubernetesKind::Embedded,
        KubernetesKind::Real => jm_sandbox::KubernetesKind::Real,
    };
    Options { kubernetes, database }.save(directory).map_err(failed)?;
    remember(directory, ui);
    let mut holder = spawn_holder(directory)?;
    loop {
        if let Some(sandbox) = find(directory)? {
            ui.say(format!(
                "sandbox: PostgreSQL, S3, CloudFront, Kubernetes and a webhook in {}",
                crate::report::time::duration(began.elapsed())
            ));
            return Ok(sandbox);
        }
        if let Err(stopped) = interrupted.check() {
            dismiss(&mut holder);
            remove(directory)?;
            return Err(stopped);
        }
        if holder.try_wait().is_ok_and(|status| status.is_some()) || began.elapsed() > START_LIMIT {
            dismiss(&mut holder);
            let log = std::fs::read_to_string(directory.join("sandbox.log")).unwrap_or_default();
            let said = log.lines().last().unwrap_or("it said nothing").to_owned();
            return Err(
                CommandError::new(Exit::Failed, format!("the sandbox did not start: {said}"))
                    .hint(format!("read {}/sandbox.log", directory.display())),
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Ends the process that was to hold a sandbox, and with it what it has started.
fn dismiss(holder: &mut std::process::Child) {
    let began = Instant::now();
    while holder.try_wait().is_ok_and(|status| status.is_none()) && began.elapsed() < END_LIMIT {
        terminate(Some(holder.id()));
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(holder.kill());
}

/// Puts Journeyman's data and application into a sandbox.
pub(super) fn furnish(
    sandbox: &Description,
    scale: u32,
    interrupted: &Interrupted,
    ui: &Ui,
) -> Result<(), CommandError> {
    let began = Instant::now();
    let work = async {
        journeyman::deploy_database(sandbox).await?;
        filled(sandbox, scale, ui).await?;
        journeyman::deploy(sandbox).await
    };
    block_on(interrupted.or(work))??.map_err(failed)?;
    ui.say(format!(
        "sandbox: a database like Journeyman's, and its application, in {}",
        crate::report::time::duration(began.elapsed())
    ));
    Ok(())
}

/// Fills the database, and tells how large it is by now: at the bottom of a terminal, else in a line now and then.
async fn filled(sandbox: &Description, scale: u32, ui: &Ui) -> Result<(), SandboxError> {
    let began = Instant::now();
    let line = ui.moving.then(|| Screen::new(ui).area());
    let mut tick = tokio::time::interval(if line.is_some() { LOOKS } else { TELLS });
    tick.tick().await;
    let mut work = std::pin::pin!(journeyman::create_database(sandbox, scale));
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            _ = tick.tick() => {}
        }
        // Whoever cannot be asked just now is asked again.
        let Ok(Some(size)) = journeyman::database_size(sandbox).await else {
            continue;
        };
        let far = format!(
            "filling the database: {}, {}",
            time::bytes(size),
            time::ticking(began.elapsed())
        );
        match &line {
            Some(line) => line.set_message(far),
            None => ui.say(far),
        }
    };
    if let Some(line) = &line {
        line.finish_and_clear();
    }
    done
}

/// Runs a command in a sandbox, in the foreground, with a cleared environment; gives its exit code.
pub(super) fn inside(
    directory: &Path,
    sandbox: &Description,
    program: &Path,
    arguments: &[String],
    stdout: Stdio,
) -> Result<u8, CommandError> {
    let kept = KEPT
        .iter()
        .filter_map(|name| Some((*name, environment::variable(name)?)));
    block_on(async {
        // A signal of the terminal is for the command as well; jm waits for what it makes of it.
        let mut signals = signals::listen()
            .map_err(|error| CommandError::new(Exit::Bug, "cannot listen for signals").cause(&error))?;
        #[expect(
            clippy::disallowed_methods,
            reason = "the user's own command in the foreground is no child of a step"
        )]
        let mut command = tokio::process::Command::new(program);
        let cannot =
            |error: std::io::Error| CommandError::usage(format!("cannot run {}", program.display())).cause(&error);
        let mut child = command
            .args(arguments)
            .env_clear()
            .envs(kept)
            .envs(&sandbox.environment)
            .env(environment::IN_SANDBOX, directory)
            .stdout(stdout)
            .spawn()
            .map_err(cannot)?;
        let status = loop {
            tokio::select! {
                status = child.wait() => break status.map_err(cannot)?,
                // This one is sent to one process, so it has to be passed on.
                Some(name) = signals.recv() => if name == "SIGTERM" { terminate(child.id()) },
            }
        };
        let signalled = std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| 128 + signal);
        let code = status.code().or(signalled).unwrap_or(1);
        Ok(u8::try_from(code).unwrap_or(1))
    })?
}

/// Ends a sandbox and forgets its data.
pub(super) fn end(directory: &Path) -> Result<(), CommandError> {
    if let Some(sandbox) = find(directory)? {
        terminate(Some(sandbox.pid));
        let began = Instant::now();
        while find(directory)?.is_some() {
            if began.elapsed() > END_LIMIT {
                return Err(CommandError::new(
                    Exit::Failed,
                    format!("the sandbox's process {} does not end", sandbox.pid),
                )
                .hint(format!("`kill -9 {}`, then `jm sandbox down` again", sandbox.pid)));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        // The description goes first, the servers after it.
        while Path::new(&format!("/proc/{}", sandbox.pid)).exists() && began.elapsed() < END_LIMIT {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    remove(directory)
}

/// Removes a sandbox's data.
fn remove(directory: &Path) -> Result<(), CommandError> {
    std::fs::remove_dir_all(directory).map_err(|error| {
        CommandError::new(Exit::Failed, format!("cannot remove {}", directory.display())).cause(&error)
    })?;
    places::forget(directory);
    Ok(())
}

/// Lets `jm sandbox list` show it.
fn remember(directory: &Path, ui: &Ui) {
    if let Err(error) = places::remember(directory) {
        ui.warn(format!(
            "`jm sandbox list` does not show the sandbox in {}: {error}",
            directory.display()
        ));
    }
}

/// Tells a process to end, if it is still there.
fn terminate(process: Option<u32>) {
    let process = process.and_then(|id| i32::try_from(id).ok());
    if let Some(process) = process.and_then(rustix::process::Pid::from_raw) {
        // It may end by itself at this very moment.
        let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
    }
}

/// The life of the process that holds a sandbox.
pub(crate) fn hold(directory: &str) -> Exit {
    let held = block_on(async {
        let mut signals = signals::listen().map_err(|error| error.to_string())?;
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let supervisor = Supervisor::start(&program, SUPERVISE).map_err(|error| error.to_string())?;
        let stop = async {
            signals.recv().await;
        };
        jm_sandbox::serve(Path::new(directory), &supervisor, &environment::snapshot(), stop)
            .await
            .map_err(|error| error.to_string())
    });
    match held {
        Ok(Ok(())) => Exit::Done,
        Ok(Err(error)) => {
            Ui::plain().insist(error);
            Exit::Failed
        }
        Err(error) => {
            Ui::plain().error(&error);
            error.exit
        }
    }
}

fn spawn_holder(directory: &Path) -> Result<std::process::Child, CommandError> {
    use std::os::unix::process::CommandExt;
    let cannot = |error: std::io::Error| CommandError::new(Exit::Failed, "the sandbox cannot be started").cause(&error);
    let log = std::fs::File::create(directory.join("sandbox.log")).map_err(cannot)?;
    let program = std::env::current_exe().map_err(cannot)?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the sandbox outlives jm, which children of steps do not"
    )]
    let mut command = std::process::Command::new(program);
    command
        .arg(SANDBOX)
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .spawn()
        .map_err(cannot)
}

/// Makes the sandbox's directory: nobody else may look into it, but the server's user has to pass through.
fn make(directory: &Path) -> Result<(), CommandError> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let cannot =
        |error: std::io::Error| CommandError::usage(format!("cannot make {}", directory.display())).cause(&error);
    std::fs::create_dir_all(directory).map_err(cannot)?;
    let found = std::fs::symlink_metadata(directory).map_err(cannot)?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        return Err(CommandError::new(
            Exit::Refused,
            format!("{} belongs to somebody else", directory.display()),
        )
        .hint("name another place with `--directory`"));
    }
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o711)).map_err(cannot)
}

fn not_up(directory: &Path) -> CommandError {
    let error = CommandError::usage(format!("no sandbox is up in {}", directory.display()));
    match list::all().first() {
        Some(other) => error.hint(format!(
            "`jm sandbox list` shows those that are there, such as `--directory {}`",
            other.directory.display()
        )),
        None => error.hint("`jm sandbox up` starts one"),
    }
}

pub(super) fn failed(error: SandboxError) -> CommandError {
    CommandError::new(Exit::Failed, error.to_string())
}
