#![expect(clippy::disallowed_methods, reason = "tests make and read files of their own")]
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use super::*;

/// The test below that is started once more as a supervisor.
const SUPERVISOR: &str = "process::tests::a_supervisor_ends_what_a_killed_jm_leaves_behind";

fn environment() -> Environment {
    Environment::new([
        ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ("AWS_SECRET_ACCESS_KEY".to_owned(), "not for children".to_owned()),
    ])
}

fn shell(script: &str) -> Command {
    Command::new("sh").args(["-c", script])
}

/// The numbers that a script prints, one a line.
async fn numbers(process: &mut Process, count: usize) -> Vec<u32> {
    let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let line = lines
            .next_line()
            .await
            .expect("readable")
            .expect("the script says more");
        numbers.push(line.trim().parse().expect("a number"));
    }
    numbers
}

/// Whether a process lives. A zombie, which only waits to be reaped, does not.
fn lives(process: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else {
        return false;
    };
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

async fn wait_until_gone(processes: &[u32]) {
    let began = Instant::now();
    while processes.iter().any(|process| lives(*process)) {
        assert!(began.elapsed() < Duration::from_secs(10), "still there: {processes:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

const FAMILY: &str = "sleep 300 & echo $!; sleep 300 & echo $!; echo $$; wait";

#[tokio::test]
async fn dropping_a_process_ends_its_whole_group() {
    let mut process = shell(FAMILY)
        .spawn(&Supervisor::none(), &environment())
        .expect("started");
    let family = numbers(&mut process, 3).await;
    assert!(family.iter().all(|member| lives(*member)));
    drop(process);
    wait_until_gone(&family).await;
}

#[tokio::test]
async fn killing_ends_the_group_and_waiting_ends_what_was_left_in_it() {
    let mut process = shell(FAMILY)
        .spawn(&Supervisor::none(), &environment())
        .expect("started");
    let family = numbers(&mut process, 3).await;
    process.kill().await;
    wait_until_gone(&family).await;

    let script = "sleep 300 >/dev/null & echo $!; exit 3";
    let mut process = shell(script)
        .spawn(&Supervisor::none(), &environment())
        .expect("started");
    let left = numbers(&mut process, 1).await;
    assert_eq!(process.wait().await.expect("ends").code(), Some(3));
    wait_until_gone(&left).await;
}

#[tokio::test]
async fn a_group_that_is_asked_to_end_may_clean_up() {
    let script = "trap 'echo 2; exit 0' TERM; echo 1; while :; do sleep 0.05; done";
    let mut process = shell(script)
        .spawn(&Supervisor::none(), &environment())
        .expect("started");
    let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
    assert_eq!(lines.next_line().await.expect("readable").as_deref(), Some("1"));
    process.terminate();
    assert_eq!(lines.next_line().await.expect("readable").as_deref(), Some("2"));
    assert!(process.wait().await.expect("ends").success());
}

/// The supervisor of this test is `cat`, which waits for its pipe to close, and ends nothing.
#[tokio::test]
async fn what_leaves_its_group_ends_with_the_child_that_started_it() {
    let supervisor = Supervisor::start(Path::new("/bin/cat"), "-").expect("started");
    let innocent = "setsid sleep 300 >/dev/null & echo $!; wait";
    let mut innocent = shell(innocent).spawn(&supervisor, &environment()).expect("started");
    let other = numbers(&mut innocent, 1).await;
    // A daemon, and a daemon's own child in yet another session; their parent ends at once.
    let script = "setsid sh -c 'setsid sleep 300 & echo $!; echo $$; wait' & sleep 0.3";
    for end in ["waited for", "killed", "dropped"] {
        let mut process = shell(script).spawn(&supervisor, &environment()).expect("started");
        let left = numbers(&mut process, 2).await;
        match end {
            "waited for" => drop(process.wait().await.expect("ends")),
            "killed" => process.kill().await,
            _ => drop(process),
        }
        wait_until_gone(&left).await;
    }
    assert!(
        other.iter().all(|process| lives(*process)),
        "another child's processes are left alone"
    );
}

#[tokio::test]
async fn children_see_only_what_they_are_given() {
    let command = Command::new("env").env("GIVEN", "yes").dir("/");
    let mut process = command.spawn(&Supervisor::none(), &environment()).expect("started");
    let mut seen = String::new();
    let mut stdout = process.stdout.take().expect("piped");
    stdout.read_to_string(&mut seen).await.expect("readable");
    process.wait().await.expect("ends");
    let mut names: Vec<&str> = seen.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    assert_eq!(names, ["GIVEN", "PATH"], "{seen}");
}

#[tokio::test]
async fn a_program_that_cannot_be_started_says_so() {
    let missing = Command::new("no-such-program")
        .spawn(&Supervisor::none(), &environment())
        .expect_err("missing");
    assert_eq!(missing.kind(), crate::StepErrorKind::NotFound);
    let denied = Command::new("/etc/passwd")
        .spawn(&Supervisor::none(), &environment())
        .expect_err("denied");
    assert_eq!(denied.kind(), crate::StepErrorKind::Denied);
    assert!(find("sh", &environment(), &[]).is_some());
    assert!(find("no-such-program", &environment(), &["/bin".into()]).is_none());
}

/// The supervisor is this very test, started once more with a mark as its second argument.
#[tokio::test]
async fn a_supervisor_ends_what_a_killed_jm_leaves_behind() {
    if let (Some(first), Some(mark)) = (std::env::args().nth(1), std::env::args().nth(2)) {
        if first == SUPERVISOR && !mark.starts_with('-') {
            return supervise(&mark);
        }
    }
    let program = std::env::current_exe().expect("known");
    let supervisor = Supervisor::start(&program, SUPERVISOR).expect("started");
    let mut told = shell(FAMILY).spawn(&supervisor, &environment()).expect("started");
    let mut processes = numbers(&mut told, 3).await;
    // This one leaves its group, so that only the mark finds it.
    let script = "setsid sh -c 'echo $$; exec sleep 300' & wait";
    let mut astray = shell(script).spawn(&supervisor, &environment()).expect("started");
    processes.extend(numbers(&mut astray, 1).await);
    // This one came to its end, and its number may by now be somebody else's.
    let mut done = shell("exit 0").spawn(&supervisor, &environment()).expect("started");
    done.wait().await.expect("ends");
    drop(done);
    let unmarked = shell(FAMILY).spawn(&Supervisor::none(), &environment());
    let mut unmarked = unmarked.expect("started");
    let innocent = numbers(&mut unmarked, 3).await;
    assert!(processes.iter().all(|process| lives(*process)));
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder").keep());
    for folder in &folders {
        std::fs::write(folder.join("secret"), "of a child").expect("written");
        supervisor.watch_folder(folder);
    }
    supervisor.forget_folder(&folders[1]);
    // A jm that is killed ends nothing itself; its end of the pipe closes.
    for mut left in [told, astray] {
        left.supervisor = Supervisor::none();
        std::mem::forget(left);
    }
    drop(supervisor);
    wait_until_gone(&processes).await;
    let began = Instant::now();
    while folders[0].exists() {
        assert!(began.elapsed() < Duration::from_secs(10), "the folder is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(folders[1].join("secret").exists(), "what was forgotten is left alone");
    std::fs::remove_dir_all(&folders[1]).expect("removed");
    assert!(
        innocent.iter().all(|process| lives(*process)),
        "other people's processes are left alone"
    );
}

/// A script, and the file that it was written through, which is still open.
fn script_in(dir: &std::path::Path) -> (std::path::PathBuf, std::fs::File) {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join("script");
    let mut open = std::fs::File::create(&path).expect("a file");
    open.write_all(b"#!/bin/sh\nexit 7\n").expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    (path, open)
}

#[tokio::test]
async fn a_script_that_is_still_open_somewhere_is_started_once_it_is_closed() {
    let dir = tempfile::tempdir().expect("a folder");
    let (path, open) = script_in(dir.path());
    let closing = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(40));
        drop(open);
    });
    let mut process = Command::new(path)
        .spawn(&Supervisor::none(), &environment())
        .expect("started");
    closing.join().expect("closed");
    assert_eq!(process.wait().await.expect("its end").code(), Some(7));
}

#[tokio::test]
async fn a_script_that_stays_open_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let (path, open) = script_in(dir.path());
    let started = Command::new(path).spawn(&Supervisor::none(), &environment());
    let error = started.map(drop).expect_err("it is open");
    drop(open);
    assert_eq!(error.kind(), crate::StepErrorKind::Unavailable);
    assert!(error.message().ends_with("script` is being written"), "{error}");
}
