//! Whether anything of a wave is still on its way: not ready, and nothing wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jm_client_kubernetes::ObjectKey;
use tokio::time::Instant;

/// What was on its way, and when.
pub(super) struct Motion {
    begun: Instant,
    /// When something last was.
    moved: Instant,
    /// Since when each is.
    since: BTreeMap<ObjectKey, Instant>,
    /// The last look, and which it found.
    last: (Instant, BTreeSet<ObjectKey>),
    /// For how long each counts. What is given as long again has then had all the time that there is, so nothing that comes up
    /// slowly, and in no trouble, is cut short; what ends and begins anew is in none now and then, and has to come to an end.
    counts: Duration,
}

impl Motion {
    /// For a wave that may take so long.
    pub(super) fn new(patience: Duration) -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            moved: now,
            since: BTreeMap::new(),
            last: (now, BTreeSet::new()),
            counts: patience / 2,
        }
    }

    /// Takes in all that are not ready and not in trouble.
    pub(super) fn look<'k>(&mut self, unready: impl Iterator<Item = &'k ObjectKey>) {
        let now = Instant::now();
        let (before, were) = std::mem::replace(&mut self.last, (now, BTreeSet::new()));
        for key in unready {
            let until = *self.since.entry(key.clone()).or_insert(now) + self.counts;
            if now <= until {
                self.moved = now;
            } else if before <= until && were.contains(key) {
                self.moved = self.moved.max(until);
            }
            self.last.1.insert(key.clone());
        }
    }

    /// A workload may want what the same wave brings up: a database, a driver, a registry. The pauses between two attempts
    /// of Kubernetes grow with the time that it has tried, so once all else is there it is given as long again.
    pub(super) fn is_over(&self) -> bool {
        self.moved.elapsed() >= self.moved - self.begun
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key() -> ObjectKey {
        ObjectKey::of(&json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "x" } }))
            .expect("a key")
    }

    /// Lets seconds pass in which it is on its way, or is not.
    async fn pass(motion: &mut Motion, seconds: u64, is_on_its_way: bool) {
        for _ in 0..seconds {
            motion.look(is_on_its_way.then(key).iter());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        motion.look(is_on_its_way.then(key).iter());
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_up_slowly_is_waited_for() {
        let mut motion = Motion::new(Duration::from_mins(5));
        pass(&mut motion, 125, true).await;
        assert!(!motion.is_over(), "an image is pulled");
        // It is there; who wants it is given as long again.
        pass(&mut motion, 124, false).await;
        assert!(!motion.is_over());
        pass(&mut motion, 1, false).await;
        assert!(motion.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_in_no_trouble_has_all_the_time_that_there_is() {
        let mut motion = Motion::new(Duration::from_secs(8));
        // Looks take a while, too.
        for _ in 0..6 {
            motion.look([key()].iter());
            tokio::time::advance(Duration::from_millis(1300)).await;
        }
        assert!(!motion.is_over(), "of 8 s 7.8 are over");
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_and_begins_anew_holds_nothing_up() {
        let mut motion = Motion::new(Duration::from_mins(5));
        for pause in [10, 20, 40, 80] {
            pass(&mut motion, 5, true).await;
            pass(&mut motion, pause, false).await;
        }
        pass(&mut motion, 5, true).await;
        pass(&mut motion, 15, false).await;
        assert!(motion.is_over(), "long before 300 s are");
    }
}
