//! One run at a time for each system that is written to: a lease on each, by the system's address and, once it is known,
//! by its identity, that says who holds it and since when. Two targets files that mean one database exclude each other.
//!
//! On one machine the kernel's lock on the lease's file is the truth: it goes with its process, however that ends. Where
//! the state is shared between machines whose file system does not carry such locks, the heartbeat is. Runs with states of
//! their own are kept apart by the systems themselves, where those can do that: see [`jm_step::Connection::hold`].

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "leases are files")]

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use jm_step::{RunId, TargetName, clock};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::journal::JournalError;

/// How often a holder says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A holder on another machine that was silent for so long is gone.
const SILENCE: SignedDuration = SignedDuration::from_secs(60);

/// Who holds a system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lease {
    /// The name of the holder's targets file, such as `production`.
    pub targets: String,
    /// The target's name in there, such as `database`.
    pub target: TargetName,
    /// The system: its provider, and its address or identity.
    pub system: String,
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
    /// Higher than that of every earlier holder: a holder whose number is not the lease's has lost it.
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
#[derive(Debug, Clone, thiserror::Error)]
pub enum LockError {
    /// The file system said no. Exit code 7.
    #[error(transparent)]
    Journal(#[from] Arc<JournalError>),
    /// Somebody else holds it. Exit code 8.
    #[error(
        "target `{}` ({}) is held by run {} of {} on {} since {}, under targets `{}`",
        .0.target, .0.system, .0.run, .0.owner, .0.host, .0.since.strftime("%Y-%m-%d %H:%M:%SZ"), .0.targets
    )]
    Held(Box<Lease>),
    /// The system itself says that somebody else holds it. Exit code 8.
    #[error("target `{target}` is held by another run: by {by}")]
    Taken {
        /// The target.
        target: TargetName,
        /// Who has it.
        by: String,
        /// How to make it free where they are gone.
        hint: String,
    },
    /// Nobody holds it.
    #[error("nobody holds targets `{0}`")]
    Free(String),
}

impl From<JournalError> for LockError {
    fn from(error: JournalError) -> Self {
        Self::Journal(Arc::new(error))
    }
}

/// Who wants to hold systems.
#[derive(Debug, Clone)]
pub struct Holder {
    /// The name of the targets file.
    pub targets: String,
    /// Who starts the run.
    pub owner: String,
    /// This machine.
    pub host: String,
    /// The run.
    pub run: RunId,
}

/// A system that is to be held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// The target that means it.
    pub target: TargetName,
    /// Its provider, and its address or identity: what is the same for all who mean it.
    pub what: String,
}

/// A lock that is held. Dropping it gives it back.
#[derive(Debug)]
pub struct TargetLock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    locks: PathBuf,
    holder: Holder,
    held: Mutex<Vec<Held>>,
    lost: Mutex<Option<String>>,
    over: AtomicBool,
}

#[derive(Debug)]
struct Held {
    path: PathBuf,
    file: File,
    lease: Lease,
}

impl TargetLock {
    /// Takes the lock on systems, all or none, or says who has one of them.
    pub fn acquire(locks: &Path, holder: Holder, systems: impl IntoIterator<Item = System>) -> Result<Self, LockError> {
        let lock = Self(Arc::new(Inner {
            locks: locks.to_owned(),
            holder,
            held: Mutex::default(),
            lost: Mutex::default(),
            over: AtomicBool::new(false),
        }));
        for system in systems {
            lock.extend(&system)?;
        }
        beat(&lock.0);
        Ok(lock)
    }

    /// Takes the lock on one system more. One that is held already is.
    pub fn extend(&self, system: &System) -> Result<(), LockError> {
        let path = lease_path(&self.0.locks, &system.what);
        let mut all = open(&self.0.held);
        if all.iter().all(|held| held.path != path) {
            all.push(take(path, &self.0.holder, system)?);
        }
        Ok(())
    }

    /// The leases that are held.
    pub fn leases(&self) -> Vec<Lease> {
        open(&self.0.held).iter().map(|held| held.lease.clone()).collect()
    }

    /// Who took the lock away, where somebody did: the run must not go on.
    pub fn lost(&self) -> Option<String> {
        open(&self.0.lost).clone()
    }
}

impl Drop for TargetLock {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
        for mut held in std::mem::take(&mut *open(&self.0.held)) {
            if held.is_ours() {
                held.lease.released = true;
                held.lease.heartbeat = clock::now();
                // What cannot be written is known by the kernel's lock, which goes now.
                drop(write_lease(&mut held.file, &held.lease));
            }
        }
    }
}

impl Held {
    /// Who has the lease, where that is somebody else by now.
    fn taken_by(&self) -> Option<String> {
        let found = File::open(&self.path).ok().and_then(|mut file| read_lease(&mut file));
        let other = found.filter(|found| found.token != self.lease.token)?;
        Some(if other.released {
            "it was released by force".to_owned()
        } else {
            format!("run {} has it", other.run)
        })
    }

    fn is_ours(&self) -> bool {
        self.taken_by().is_none()
    }
}

fn take(path: PathBuf, holder: &Holder, system: &System) -> Result<Held, LockError> {
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
        (Err(TryLockError::WouldBlock), None) => return Err(LockError::Held(Box::new(lease(holder, system, 0)))),
        (Ok(()), Some(lease)) if is_alive_elsewhere(lease, &holder.host) => {
            return Err(LockError::Held(Box::new(lease.clone())));
        }
        (Ok(()), _) => {}
    }
    let lease = lease(holder, system, before.map_or(1, |before| before.token + 1));
    write_lease(&mut file, &lease).map_err(io("write"))?;
    Ok(Held { path, file, lease })
}

/// All leases that are known, those that were given back too.
pub fn leases(locks: &Path) -> Vec<Lease> {
    let entries = fs::read_dir(locks).into_iter().flatten();
    let read = |path: PathBuf| read_lease(&mut File::open(path).ok()?);
    let mut leases: Vec<Lease> = entries.filter_map(|entry| read(entry.ok()?.path())).collect();
    leases.sort_by(|a, b| (&a.targets, a.since, &a.system).cmp(&(&b.targets, b.since, &b.system)));
    leases
}

/// Whether somebody holds a lease now, as far as this machine can tell.
pub fn is_held(locks: &Path, lease: &Lease, host: &str) -> bool {
    let file = File::open(lease_path(locks, &lease.system));
    let locked = file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)));
    locked || is_alive_elsewhere(lease, host)
}

/// Takes all that is held under the name of a targets file from its holder. One that is alive loses it only by force; its
/// run then stops as soon as it notices.
pub fn release(locks: &Path, targets: &str, host: &str, force: bool) -> Result<Vec<Lease>, LockError> {
    let mut taken = leases(locks);
    taken.retain(|lease| lease.targets == targets && !lease.released);
    if taken.is_empty() {
        return Err(LockError::Free(targets.to_owned()));
    }
    if let Some(lease) = taken.iter().find(|lease| !force && is_held(locks, lease, host)) {
        return Err(LockError::Held(Box::new(lease.clone())));
    }
    for lease in &mut taken {
        give_back(locks, lease)?;
    }
    Ok(taken)
}

fn give_back(locks: &Path, lease: &mut Lease) -> Result<(), LockError> {
    lease.released = true;
    lease.token += 1;
    let path = lease_path(locks, &lease.system);
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
    write_lease(&mut file, lease).map_err(io("write"))?;
    Ok(fs::rename(&unfinished, &path).map_err(io("write"))?)
}

fn lease(holder: &Holder, system: &System, token: u64) -> Lease {
    let pid = std::process::id();
    let now = clock::now();
    Lease {
        targets: holder.targets.clone(),
        target: system.target.clone(),
        system: system.what.clone(),
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

fn lease_path(locks: &Path, system: &str) -> PathBuf {
    let provider: String = system.chars().take_while(char::is_ascii_alphanumeric).collect();
    let digest = hex::encode(&Sha256::digest(system)[..16]);
    locks.join(format!("{provider}-{digest}.json"))
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

fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says from time to time that the holder is alive, and notices when somebody took the lock away. Ends with it.
fn beat(lock: &Arc<Inner>) {
    let lock = Arc::downgrade(lock);
    let life = move || {
        let mut waited = Duration::ZERO;
        loop {
            let pause = Duration::from_millis(200);
            std::thread::sleep(pause);
            waited += pause;
            let Some(lock) = lock.upgrade() else { return };
            if !check(&lock, waited >= HEARTBEAT) {
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

/// Whether all leases are still ours; writes the heartbeat where it is due.
fn check(lock: &Inner, due: bool) -> bool {
    // A lock that is given back has taken its leases out.
    let mut all = open(&lock.held);
    if lock.over.load(Ordering::Relaxed) {
        return false;
    }
    if let Some(by) = all.iter().find_map(Held::taken_by) {
        *open(&lock.lost) = Some(by);
        return false;
    }
    for held in all.iter_mut().filter(|_| due) {
        held.lease.heartbeat = clock::now();
        // A heartbeat that cannot be written is tried again at the next one.
        drop(write_lease(&mut held.file, &held.lease));
    }
    true
}

#[cfg(test)]
mod tests;
