//! What goes wrong when a test wants it to.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Something that happens to the next request of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 429: too many requests. Nothing is done.
    Throttled,
    /// 503. Nothing is done.
    Unavailable,
    /// 403. Nothing is done.
    Denied,
    /// It is done, and the connection is cut before the reply.
    ReplyLost,
}

/// The kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Looking at a distribution, or at all of them.
    GetDistribution,
    /// Changing one.
    UpdateDistribution,
    /// Dropping paths.
    CreateInvalidation,
    /// Looking at an invalidation.
    GetInvalidation,
}

/// Faults that wait for their request.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<VecDeque<(Request, Fault)>>);

impl Faults {
    pub(super) fn add(&self, request: Request, fault: Fault) {
        self.lock().push_back((request, fault));
    }

    /// The fault for this request, which is thereby over.
    pub(super) fn take(&self, request: Request) -> Option<Fault> {
        let mut waiting = self.lock();
        let at = waiting.iter().position(|(wanted, _)| *wanted == request)?;
        waiting.remove(at).map(|(_, fault)| fault)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(Request, Fault)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
