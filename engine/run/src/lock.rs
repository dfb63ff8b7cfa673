//! One run at a time for each set of targets: a lease that says who holds it, since when, and under which number.
//!
//! On one machine the kernel's lock on the lease's file is the truth: it goes with its process, however that ends. Where
//! the state is shared between machines whose file system does not carry such locks, the heartbeat is.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use jm_step::{RunId, clock};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::journal::JournalError;

/// How often a holder says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A holder on another machine that was silent for so long is gone.
const SILENCE: SignedDuration = SignedDuration::from_secs(60);

/// Who holds a set of targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lease {
    /// The set's name, such as `production`.
    pub targets: String,
    /// Who started the run, such as `ada@bastion`.
    pub owner: String,
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// When that process began, in the kernel's ticks: a pid is used again.
    pub pid_started: Option<u64>,
    /// The run.
    pub run: RunId,
    /// Higher than that of every earlier holder.
    pub token: u64,
    /// When it was taken.
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// When the holder was last heard of.
    #[schemars(with = "String")]
    pub heartbeat: Timestamp,
    /// Whether it was given back.
    pub released: bool,
}

/// Why a lock was not taken or given back.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file system said no. Exit code 7.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Somebody else holds it. Exit code 8.
    #[error("targets `{}` are held by run {} of {} on {} since {} (token {})", .0.targets, .0.run, .0.owner, .0.host, .0.since, .0.token)]
    Held(Box<Lease>),
    /// Nobody holds it.
    #[error("nobody holds targets `{0}`")]
    Free(String),
}

/// Who wants to hold a set of targets.
#[derive(Debug, Clone)]
pub struct Holder {
    /// The set's name.
    pub targets: String,
    /// Who starts the run.
    pub owner: String,
    /// This machine.
    pub host: String,
    /// The run.
    pub run: RunId,
}

/// A lock that is held. Dropping it gives it back.
#[derive(Debug)]
pub struct TargetLock(Arc<Held>);

#[derive(Debug)]
struct Held {
    path: PathBuf,
    file: Mutex<File>,
    lease: Mutex<Lease>,
    lost: Mutex<Option<String>>,
    over: AtomicBool,
}

impl TargetLock {
    /// Takes the lock on a set of targets, or says who has it.
    pub fn acquire(locks: &Path, holder: &Holder) -> Result<Self, LockError> {
        let path = lease_path(locks, &holder.targets);
        let io = |doing| JournalError::io(doing, &path);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(io("open"))?;
        let locked = file.try_lock();
        let before = read_lease(&mut file);
        match (locked, &before) {
            (Err(TryLockError::Error(error)), _) => return Err(io("lock")(error).into()),
            (Err(TryLockError::WouldBlock), Some(lease)) => return Err(LockError::Held(Box::new(lease.clone()))),
            (Err(TryLockError::WouldBlock), None) => return Err(LockError::Held(Box::new(lease(holder, 0)))),
            (Ok(()), Some(lease)) if is_alive_elsewhere(lease, &holder.host) => {
                return Err(LockError::Held(Box::new(lease.clone())));
            }
            (Ok(()), _) => {}
        }
        let lease = lease(holder, before.map_or(1, |before| before.token + 1));
        write_lease(&mut file, &lease).map_err(io("write"))?;
        let held = Arc::new(Held {
            path,
            file: Mutex::new(file),
            lease: Mutex::new(lease),
            lost: Mutex::new(None),
            over: AtomicBool::new(false),
        });
        beat(&held);
        Ok(Self(held))
    }

    /// The lease that is held.
    pub fn lease(&self) -> Lease {
        self.0.lease.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who took the lock away, where somebody did: the run must not go on.
    pub fn lost(&self) -> Option<String> {
        self.0.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for TargetLock {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
        if self.lost().is_some() {
            return;
        }
        let mut lease = self.lease();
        lease.released = true;
        lease.heartbeat = clock::now();
        let mut file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        // What cannot be written is known by the kernel's lock, which goes now.
        drop(write_lease(&mut file, &lease));
        drop(file.unlock());
    }
}

/// All leases that are known, those that were given back too.
pub fn leases(locks: &Path) -> Vec<Lease> {
    let entries = fs::read_dir(locks).into_iter().flatten();
    let read = |path: PathBuf| read_lease(&mut File::open(path).ok()?);
    let mut leases: Vec<Lease> = entries.filter_map(|entry| read(entry.ok()?.path())).collect();
    leases.sort_by(|a, b| a.targets.cmp(&b.targets));
    leases
}

/// Whether somebody holds a lease now, as far as this machine can tell.
pub fn is_held(locks: &Path, lease: &Lease, host: &str) -> bool {
    let file = File::open(lease_path(locks, &lease.targets));
    let locked = file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)));
    locked || is_alive_elsewhere(lease, host)
}

/// Takes a lock from its holder. One that is alive loses it only by force; its run then stops as soon as it notices.
pub fn release(locks: &Path, targets: &str, host: &str, force: bool) -> Result<Lease, LockError> {
    let path = lease_path(locks, targets);
    let free = || LockError::Free(targets.to_owned());
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .map_err(|_| free())?;
    let mut lease = read_lease(&mut file).filter(|lease| !lease.released).ok_or_else(free)?;
    if !force && is_held(locks, &lease, host) {
        return Err(LockError::Held(Box::new(lease)));
    }
    lease.released = true;
    lease.token += 1;
    let io = |doing| JournalError::io(doing, &path);
    // A new file: the old one's kernel lock stays with its holder, who will see that it is not the lease any more.
    let unfinished = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(io("create"))?;
    write_lease(&mut file, &lease).map_err(io("write"))?;
    fs::rename(&unfinished, &path).map_err(io("write"))?;
    Ok(lease)
}

fn lease(holder: &Holder, token: u64) -> Lease {
    let pid = std::process::id();
    let now = clock::now();
    Lease {
        targets: holder.targets.clone(),
        owner: holder.owner.clone(),
        host: holder.host.clone(),
        pid,
        pid_started: started_at(pid),
        run: holder.run.clone(),
        token,
        since: now,
        heartbeat: now,
        released: false,
    }
}

fn is_alive_elsewhere(lease: &Lease, host: &str) -> bool {
    let silent = clock::now().duration_since(lease.heartbeat);
    !lease.released && lease.host != host && silent < SILENCE
}

/// When a process began, so that another one under its number is not taken for it.
fn started_at(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, and may hold anything.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

fn lease_path(locks: &Path, targets: &str) -> PathBuf {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = targets.chars().map(safe).take(80).collect();
    let digest = crc32fast::hash(targets.as_bytes());
    locks.join(format!("{name}-{digest:08x}.json"))
}

fn read_lease(file: &mut File) -> Option<Lease> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn write_lease(file: &mut File, lease: &Lease) -> std::io::Result<()> {
    let text = serde_json::to_vec(lease)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&text)?;
    file.set_len(text.len() as u64)?;
    file.sync_data()
}

/// Says from time to time that the holder is alive, and notices when somebody took the lock away. Ends with it.
fn beat(held: &Arc<Held>) {
    let held = Arc::downgrade(held);
    let life = move || {
        let mut waited = Duration::ZERO;
        loop {
            let pause = Duration::from_millis(200);
            std::thread::sleep(pause);
            waited += pause;
            let Some(held) = held.upgrade() else { return };
            if held.over.load(Ordering::Relaxed) || !check(&held, waited >= HEARTBEAT) {
                return;
            }
            if waited >= HEARTBEAT {
                waited = Duration::ZERO;
            }
        }
    };
    // Without a heartbeat the kernel's lock still holds on this machine.
    drop(std::thread::Builder::new().name("lease".to_owned()).spawn(life));
}

/// Whether the lease is still ours; writes the heartbeat where it is due.
fn check(held: &Held, due: bool) -> bool {
    let mut lease = held.lease.lock().unwrap_or_else(PoisonError::into_inner);
    let found = File::open(&held.path).ok().and_then(|mut file| read_lease(&mut file));
    if let Some(other) = found.filter(|found| found.token != lease.token) {
        let by = if other.released {
            "it was released by force".to_owned()
        } else {
            format!("run {} has it", other.run)
        };
        *held.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(by);
        return false;
    }
    if due && !held.over.load(Ordering::Relaxed) {
        lease.heartbeat = clock::now();
        let mut file = held.file.lock().unwrap_or_else(PoisonError::into_inner);
        // A heartbeat that cannot be written is tried again at the next one.
        drop(write_lease(&mut file, &lease));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(host: &str) -> Holder {
        Holder {
            targets: "production".to_owned(),
            owner: "ada@bastion".to_owned(),
            host: host.to_owned(),
            run: RunId::generate(),
        }
    }

    #[test]
    fn one_holder_at_a_time_and_every_next_one_has_a_higher_token() {
        let temp = tempfile::tempdir().expect("a directory");
        let first = TargetLock::acquire(temp.path(), &holder("a")).expect("free");
        assert!(
            matches!(TargetLock::acquire(temp.path(), &holder("a")), Err(LockError::Held(lease)) if lease.token == 1)
        );
        assert!(is_held(temp.path(), &first.lease(), "a"));
        assert!(matches!(
            release(temp.path(), "production", "a", false),
            Err(LockError::Held(_))
        ));
        assert_eq!(first.lease().pid_started, started_at(std::process::id()));
        drop(first);
        assert!(leases(temp.path()).iter().all(|lease| lease.released));
        assert!(matches!(
            release(temp.path(), "production", "a", false),
            Err(LockError::Free(_))
        ));
        assert_eq!(
            TargetLock::acquire(temp.path(), &holder("a"))
                .expect("free")
                .lease()
                .token,
            2
        );
    }

    #[test]
    fn a_lease_that_was_taken_by_force_is_noticed() {
        let temp = tempfile::tempdir().expect("a directory");
        let lock = TargetLock::acquire(temp.path(), &holder("a")).expect("free");
        release(temp.path(), "production", "a", true).expect("released");
        for _ in 0..50 {
            if lock.lost().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(lock.lost().expect("noticed").contains("force"));
        assert_eq!(
            TargetLock::acquire(temp.path(), &holder("a"))
                .expect("free")
                .lease()
                .token,
            3
        );
    }

    #[test]
    fn a_holder_on_another_machine_is_believed_until_it_falls_silent() {
        let temp = tempfile::tempdir().expect("a directory");
        let path = lease_path(temp.path(), "production");
        let mut theirs = lease(&holder("there"), 7);
        fs::write(&path, serde_json::to_vec(&theirs).expect("JSON")).expect("written");
        assert!(matches!(
            TargetLock::acquire(temp.path(), &holder("here")),
            Err(LockError::Held(_))
        ));
        theirs.heartbeat = clock::now() - SignedDuration::from_secs(61);
        fs::write(&path, serde_json::to_vec(&theirs).expect("JSON")).expect("written");
        assert_eq!(
            TargetLock::acquire(temp.path(), &holder("here"))
                .expect("gone")
                .lease()
                .token,
            8
        );
    }
}
