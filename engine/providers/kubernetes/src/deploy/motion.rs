//! Whether anything of a wave is still on its way: not ready, and nothing wrong with it.

use std::collections::BTreeMap;
use std::time::Duration;

use jm_client_kubernetes::ObjectKey;
use tokio::time::Instant;

/// What does not change for as long as this is no more on its way than what is in trouble: it may wait for just that. A large
/// image is pulled, and a database starts, within it.
const STILL: Duration = Duration::from_mins(1);

/// What was on its way, and when.
pub(super) struct Motion {
    begun: Instant,
    /// When something last was.
    moved: Instant,
    /// What each looked like, and since when.
    shapes: BTreeMap<ObjectKey, (String, Instant)>,
}

impl Motion {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            moved: now,
            shapes: BTreeMap::new(),
        }
    }

    /// Takes in what all look like that are not ready and not in trouble.
    pub(super) fn look<'k>(&mut self, unready: impl Iterator<Item = (&'k ObjectKey, String)>) {
        let now = Instant::now();
        for (key, shape) in unready {
            let known = self.shapes.get(key).filter(|(known, _)| *known == shape);
            let since = known.map_or(now, |(_, since)| *since);
            self.shapes.insert(key.clone(), (shape, since));
            if since.elapsed() < STILL {
                self.moved = now;
            }
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

    async fn look_for(motion: &mut Motion, seconds: u64, shape: impl Fn(u64) -> String) {
        for second in 0..seconds {
            motion.look([(&key(), shape(second))].into_iter());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_up_is_waited_for() {
        let mut motion = Motion::new();
        look_for(&mut motion, 200, |second| second.to_string()).await;
        assert!(!motion.is_over(), "it comes on");
        // It is there; who wants it is given as long again.
        tokio::time::advance(Duration::from_secs(100)).await;
        assert!(!motion.is_over());
        tokio::time::advance(Duration::from_secs(100)).await;
        assert!(motion.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn what_only_waits_holds_nothing_up() {
        let mut motion = Motion::new();
        look_for(&mut motion, 60, |_| "0 of 1".to_owned()).await;
        assert!(!motion.is_over(), "it may be starting");
        look_for(&mut motion, 61, |_| "0 of 1".to_owned()).await;
        assert!(motion.is_over(), "long before 300 s are");
    }
}
