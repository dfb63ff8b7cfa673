#![expect(clippy::disallowed_methods, reason = "tests make and read files of their own")]
use super::*;

fn holder(targets: &str, host: &str) -> Holder {
    Holder {
        targets: targets.to_owned(),
        owner: "ada@bastion".to_owned(),
        host: host.to_owned(),
        run: RunId::generate(),
    }
}

fn system(what: &str) -> System {
    System {
        target: "database".parse().expect("a name"),
        what: what.to_owned(),
    }
}

fn acquire(locks: &Path, targets: &str, systems: &[&str]) -> Result<TargetLock, LockError> {
    TargetLock::acquire(locks, holder(targets, "a"), systems.iter().map(|what| system(what)))
}

#[test]
fn one_holder_at_a_time_and_every_next_one_has_a_higher_token() {
    let temp = tempfile::tempdir().expect("a directory");
    let first = acquire(temp.path(), "production", &["box 1"]).expect("free");
    let held = acquire(temp.path(), "production", &["box 1"]).expect_err("held");
    assert!(matches!(&held, LockError::Held(lease) if lease.token == 1), "{held}");
    assert!(is_held(temp.path(), &first.leases()[0], "a"));
    assert!(matches!(
        release(temp.path(), "production", "a", false),
        Err(LockError::Held(_))
    ));
    assert_eq!(first.leases()[0].pid_started, started_at(std::process::id()));
    drop(first);
    assert!(leases(temp.path()).iter().all(|lease| lease.released));
    assert!(matches!(
        release(temp.path(), "production", "a", false),
        Err(LockError::Free(_))
    ));
    let next = acquire(temp.path(), "production", &["box 1"]).expect("free");
    assert_eq!(next.leases()[0].token, 2);
}

#[test]
fn a_system_is_held_whatever_the_targets_file_is_called() {
    let temp = tempfile::tempdir().expect("a directory");
    let first = acquire(temp.path(), "production", &["box 1", "box 2"]).expect("free");
    let other = acquire(temp.path(), "staging", &["box 3"]).expect("another system");
    let held = other.extend(&system("box 2")).expect_err("held");
    assert!(
        held.to_string().contains("(box 2)") && held.to_string().contains("`production`"),
        "{held}"
    );
    acquire(temp.path(), "third", &["box 4", "box 1"]).expect_err("held");
    acquire(temp.path(), "third", &["box 4"]).expect("all or none: it was given back");
    first.extend(&system("box 2")).expect("its own");
    assert_eq!(first.leases().len(), 2);
    drop(first);
    other.extend(&system("box 2")).expect("free now");
}

#[test]
fn a_lease_that_was_taken_by_force_is_noticed() {
    let temp = tempfile::tempdir().expect("a directory");
    let lock = acquire(temp.path(), "production", &["box 1", "box 2"]).expect("free");
    let taken = release(temp.path(), "production", "a", true).expect("released");
    assert_eq!(taken.len(), 2);
    for _ in 0..50 {
        if lock.lost().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(lock.lost().expect("noticed").contains("force"));
    let next = acquire(temp.path(), "production", &["box 1"]).expect("free");
    assert_eq!(next.leases()[0].token, 3);
    // What its first holder gives back is not his any more.
    drop(lock);
    assert!(is_held(temp.path(), &next.leases()[0], "a"));
    assert!(leases(temp.path()).iter().any(|lease| !lease.released));
}

#[test]
fn a_holder_on_another_machine_is_believed_until_it_falls_silent() {
    let temp = tempfile::tempdir().expect("a directory");
    let path = lease_path(temp.path(), "box 1");
    let mut theirs = lease(&holder("production", "there"), &system("box 1"), 7);
    fs::write(&path, serde_json::to_vec(&theirs).expect("JSON")).expect("written");
    acquire(temp.path(), "production", &["box 1"]).expect_err("held");
    theirs.heartbeat = clock::now() - SignedDuration::from_secs(61);
    fs::write(&path, serde_json::to_vec(&theirs).expect("JSON")).expect("written");
    let next = acquire(temp.path(), "production", &["box 1"]).expect("gone");
    assert_eq!(next.leases()[0].token, 8);
}
