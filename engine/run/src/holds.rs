//! The systems that a run writes to, held against other runs from the moment that they are known until its end: by the
//! leases of this machine, and by the locks that systems have themselves.
//!
//! A lock of a system goes with its connection. It is taken again as soon as the system answers, and before the next
//! step that uses the system; where another run took it in the meantime, this one stops. As long as the system does not
//! answer nobody can take it, and steps that need it fail by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use jm_step::connection::AnyConnection;
use jm_step::{Hold, Holding, Identity, StepError, Target, TargetName};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::executor::News;
use crate::lock::{LockError, System, TargetLock};
use crate::run::Run;

/// How long a system may stay held at the beginning: a holder that was killed is gone as soon as the system notices.
const PATIENCE: Duration = Duration::from_secs(5);
/// After so long it is said what is waited for.
const SILENT: Duration = Duration::from_secs(1);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(250);
/// How often the locks are looked after.
const WATCH: Duration = Duration::from_millis(500);

/// What a run holds.
pub(crate) struct Holds {
    lock: Option<Arc<TargetLock>>,
    exclusive: BTreeSet<TargetName>,
    systems: Mutex<BTreeMap<String, Arc<OwnLock>>>,
    taking: tokio::sync::Mutex<()>,
    refusal: Mutex<Option<LockError>>,
    watching: Mutex<JoinSet<()>>,
    news: mpsc::Sender<News>,
}

/// A system that has a lock of its own.
struct OwnLock {
    targets: Mutex<BTreeSet<TargetName>>,
    connection: Arc<dyn AnyConnection>,
    hold: tokio::sync::Mutex<Option<Box<dyn Hold>>>,
}

impl Holds {
    pub(crate) fn new(run: &Run, news: mpsc::Sender<News>) -> Self {
        Self {
            lock: run.lock.clone(),
            exclusive: run.exclusive_targets(),
            systems: Mutex::default(),
            taking: tokio::sync::Mutex::default(),
            refusal: Mutex::default(),
            watching: Mutex::default(),
            news,
        }
    }

    /// Why the run may not go on, where somebody else has one of its systems.
    pub(crate) fn refusal(&self) -> Option<LockError> {
        open(&self.refusal).clone()
    }

    /// Holds a system that was just opened, where the run writes to it.
    pub(crate) async fn hold(
        self: &Arc<Self>,
        target: &Target,
        identity: &Identity,
        connection: &Arc<dyn AnyConnection>,
    ) -> Result<(), StepError> {
        if !self.exclusive.contains(&target.name) || identity.0.is_empty() {
            return Ok(());
        }
        let name = &target.name;
        let what = format!("{} {}", target.connection.provider(), connection.held_as(identity));
        if let Some(lock) = &self.lock {
            let system = System {
                target: name.clone(),
                what: what.clone(),
            };
            lock.extend(&system).map_err(|error| self.refuse(error))?;
        }
        // Targets are opened at once, and two of them may mean one system.
        let _taking = self.taking.lock().await;
        let known = open(&self.systems).get(&what).cloned();
        if let Some(known) = known {
            open(&known.targets).insert(name.clone());
            return Ok(());
        }
        if let Some(hold) = self.take(name, connection).await? {
            let own = OwnLock {
                targets: Mutex::new([name.clone()].into()),
                connection: connection.clone(),
                hold: tokio::sync::Mutex::new(Some(hold)),
            };
            open(&self.systems).insert(what, Arc::new(own));
            self.watch();
        }
        Ok(())
    }

    /// The first try, with a little patience.
    async fn take(
        &self,
        target: &TargetName,
        connection: &Arc<dyn AnyConnection>,
    ) -> Result<Option<Box<dyn Hold>>, StepError> {
        let began = Instant::now();
        let mut told = false;
        loop {
            let (by, hint) = match connection.hold().await? {
                Holding::Unable => return Ok(None),
                Holding::Held(hold) => return Ok(Some(hold)),
                Holding::Taken { by, hint } => (by, hint),
            };
            if began.elapsed() >= PATIENCE {
                let target = target.clone();
                return Err(self.refuse(LockError::Taken { target, by, hint }));
            }
            if began.elapsed() >= SILENT && !std::mem::replace(&mut told, true) {
                let text = format!("target `{target}` is held by {by}: waiting a moment, for it may be about to end");
                self.say(text).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Sees that the systems of a step are still held. The step must not begin where it is an error.
    pub(crate) async fn ensure<'t>(&self, targets: impl Iterator<Item = &'t TargetName>) -> Result<(), StepError> {
        let wanted: BTreeSet<&TargetName> = targets.collect();
        let all: Vec<Arc<OwnLock>> = open(&self.systems).values().cloned().collect();
        for own in all {
            let concerns = open(&own.targets).iter().any(|target| wanted.contains(target));
            if concerns {
                self.look_after(&own).await?;
            }
        }
        Ok(())
    }

    async fn look_after(&self, own: &OwnLock) -> Result<(), StepError> {
        let mut hold = own.hold.lock().await;
        if hold.as_ref().is_some_and(|hold| hold.is_held()) {
            return Ok(());
        }
        let Some(target) = open(&own.targets).first().cloned() else {
            return Ok(());
        };
        if hold.take().is_some() {
            let text = format!("the lock on target `{target}` went with its connection, and is taken again");
            self.say(text).await;
        }
        match own.connection.hold().await {
            Ok(Holding::Held(again)) => *hold = Some(again),
            Ok(Holding::Taken { by, hint }) => return Err(self.refuse(LockError::Taken { target, by, hint })),
            // It does not answer: nobody can take it there, and steps that need it find that out.
            Ok(Holding::Unable) | Err(_) => {}
        }
        Ok(())
    }

    /// Looks after the locks from now on, until this is dropped.
    fn watch(self: &Arc<Self>) {
        let mut watching = open(&self.watching);
        if watching.is_empty() {
            watching.spawn(watch(Arc::downgrade(self)));
        }
    }

    fn refuse(&self, error: LockError) -> StepError {
        let refused = StepError::refused(error.to_string());
        open(&self.refusal).get_or_insert(error);
        refused
    }

    async fn say(&self, text: String) {
        // A dispatcher that is gone needs no news.
        drop(self.news.send(News::Notice(text)).await);
    }
}

async fn watch(holds: Weak<Holds>) {
    loop {
        tokio::time::sleep(WATCH).await;
        let Some(holds) = holds.upgrade() else { return };
        let all: Vec<Arc<OwnLock>> = open(&holds.systems).values().cloned().collect();
        for own in all {
            // Kept as a refusal, which the dispatcher sees.
            if holds.look_after(&own).await.is_err() {
                return;
            }
        }
    }
}

fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
