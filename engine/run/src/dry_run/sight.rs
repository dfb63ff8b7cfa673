//! What a step would find: what those before it said that they would change, and what cannot be looked at yet.

use std::sync::Arc;

use jm_step::{Change, StepError, StepErrorKind};

use super::Trial;

impl Trial<'_> {
    /// What is changed before a step by those that it comes after, on the targets that it uses. A step of `finally` comes
    /// after those that it refers to: whether others came so far is not known.
    pub(super) fn announced_to(&self, i: usize) -> Arc<[Change]> {
        let mut before = self.graph.before(i);
        for need in self.run.plan.dependencies(self.planned[i].id.as_str()) {
            if let Some(node) = self.graph.find(need.step.as_str()) {
                before.push(node);
                before.extend(self.graph.before(node));
            }
        }
        let targets = &self.graph.node(i).targets;
        let shares = |by: usize| {
            self.graph
                .node(by)
                .targets
                .iter()
                .any(|target| targets.contains(target))
        };
        let told = self
            .announced
            .iter()
            .filter(|(by, _)| before.contains(by) && shares(*by));
        told.flat_map(|(_, changes)| changes).cloned().collect()
    }

    /// Whether an earlier step changes a system that this one looks at.
    pub(super) fn is_changed_before(&self, i: usize) -> bool {
        let targets = &self.graph.node(i).targets;
        let shares = |before: &usize| {
            let changes = self.seen.get(before).is_some_and(|seen| seen.changes);
            changes
                && self
                    .graph
                    .node(*before)
                    .targets
                    .iter()
                    .any(|target| targets.contains(target))
        };
        self.graph.before(i).iter().any(shares)
    }

    /// Whether an error only says that the plan has not come so far yet: the system is still to be brought back, or an
    /// earlier step changes what was looked for. Of a system that the plan repairs any change before may be that, also
    /// one through another target: a bucket that is filled holds the backups of a target that is not only that bucket. Of
    /// this machine, too, on which steps without a target act.
    pub(super) fn is_premature(&self, i: usize, error: &StepError) -> bool {
        let targets = &self.graph.node(i).targets;
        let is_here = targets.is_empty();
        let may_come = matches!(
            error.kind(),
            StepErrorKind::NotFound | StepErrorKind::Unavailable | StepErrorKind::TimedOut
        );
        let repairs = self.run.plan.repairs();
        let mut repaired = self.planned[i]
            .bindings
            .values()
            .filter(|target| repairs.contains(*target));
        let before = self.before(i);
        let changes = |node: &usize| self.seen.get(node).is_some_and(|seen| seen.changes);
        let any_change = before.iter().any(changes);
        let shares = |node: &usize| {
            let theirs = &self.graph.node(*node).targets;
            changes(node) && theirs.iter().any(|target| targets.contains(target))
        };
        let is_in_repair = repaired.any(|target| self.down.contains(target) || any_change);
        may_come && (is_in_repair || (is_here && any_change) || before.iter().any(shares))
    }

    /// What comes before a step; before one of `finally` all that the plan did.
    fn before(&self, i: usize) -> Vec<usize> {
        if self.planned[i].in_finally {
            (0..i).collect()
        } else {
            self.graph.before(i)
        }
    }
}
