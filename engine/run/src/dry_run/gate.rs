//! Compares systems with those that are known, and records nothing.

use std::collections::BTreeMap;

use futures::future::{BoxFuture, FutureExt};
use jm_step::{Expect, Identity, IdentityGate, StepError, Target, TargetName};

use crate::gate::{Admission, Known};
use crate::run::Run;

/// The gate of a dry run.
pub(super) struct DryGate {
    recorded: BTreeMap<TargetName, Identity>,
    accepted: BTreeMap<TargetName, String>,
    repairs: std::collections::BTreeSet<TargetName>,
}

impl DryGate {
    pub(super) fn new(run: &Run, recorded: &BTreeMap<TargetName, Identity>) -> Self {
        Self {
            recorded: recorded.clone(),
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
        let known = Known {
            recorded: &self.recorded,
            accepted: &self.accepted,
            repairs: &self.repairs,
        };
        let verdict = known.judge(&wanted).map(drop);
        async move { verdict }.boxed()
    }
}
