//! Compares systems with those that are known. What a run would record is kept for the length of the dry run alone.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use futures::future::{BoxFuture, FutureExt};
use jm_step::{Expect, Identity, IdentityGate, StepError, Target, TargetName};

use crate::gate::{Admission, Known};
use crate::run::Run;

/// The gate of a dry run.
pub(super) struct DryGate {
    recorded: Mutex<BTreeMap<TargetName, Identity>>,
    accepted: BTreeMap<TargetName, String>,
    repairs: std::collections::BTreeSet<TargetName>,
}

impl DryGate {
    pub(super) fn new(run: &Run, recorded: &BTreeMap<TargetName, Identity>) -> Self {
        Self {
            recorded: Mutex::new(recorded.clone()),
            accepted: run.options.accept_identity.clone(),
            repairs: run.plan.repairs().clone(),
        }
    }
}

impl IdentityGate for DryGate {
    fn admit<'a>(
        &'a self,
        target: &'a Target,
        identity: Identity,
        expect: Expect,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        let wanted = Admission {
            target: target.name.clone(),
            pinned: target.pinned.clone(),
            identity,
            expect,
        };
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let known = Known {
            recorded: &recorded,
            accepted: &self.accepted,
            repairs: &self.repairs,
        };
        let verdict = known.judge(&wanted);
        if verdict.as_ref().is_ok_and(|is_news| *is_news) {
            // As the journal does it: other locations of the same system stay known.
            let entry = recorded.entry(wanted.target).or_default();
            entry.0.extend(wanted.identity.0);
        }
        let verdict = verdict.map(drop);
        async move { verdict }.boxed()
    }
}
