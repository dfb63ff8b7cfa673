//! What could be done next, kept up to date with every record: the sets that [`crate::decide`] looks at.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use jm_plan::OnFailure;

use super::StepState;
use crate::graph::Graph;

/// Ready steps, counts, and how many dependencies each step still waits for.
#[derive(Debug, Clone)]
pub struct Frontier {
    graph: Arc<Graph>,
    /// Per step: dependencies that are not settled, and those that ended badly.
    open: Vec<u32>,
    stops: Vec<u32>,
    fresh: Vec<bool>,
    sets: Sets,
    load: Vec<usize>,
}

/// The steps by where they stand.
#[derive(Debug, Clone, Default, PartialEq)]
struct Sets {
    due: BTreeSet<usize>,
    stuck: BTreeSet<usize>,
    running: BTreeSet<usize>,
    retrying: BTreeSet<(Timestamp, usize)>,
    unclear: BTreeSet<(Timestamp, usize)>,
    awaiting: BTreeSet<usize>,
    pausing: BTreeSet<usize>,
    halting: BTreeSet<usize>,
    finally_failed: BTreeSet<usize>,
    tolerated: usize,
    unsettled: usize,
    settled: usize,
    finally_begun: usize,
}

impl PartialEq for Frontier {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.graph, &other.graph)
            && self.open == other.open
            && self.stops == other.stops
            && self.fresh == other.fresh
            && self.sets == other.sets
            && self.load == other.load
    }
}

/// What a step means to those that depend on it.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Standing {
    Open,
    Pass,
    Stop,
}

impl Frontier {
    pub(super) fn new(graph: &Arc<Graph>) -> Self {
        let nodes = graph.nodes();
        let count = |node: &crate::graph::Node| u32::try_from(node.needs.len()).unwrap_or(u32::MAX);
        let open: Vec<u32> = nodes.iter().map(count).collect();
        let sets = Sets {
            due: graph.main().filter(|i| open[*i] == 0).collect(),
            unsettled: graph.main().len(),
            ..Sets::default()
        };
        Self {
            graph: graph.clone(),
            stops: vec![0; nodes.len()],
            fresh: vec![true; nodes.len()],
            load: vec![0; graph.targets().len()],
            open,
            sets,
        }
    }

    /// The plan's steps.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Main steps that nothing holds back any more, in written order.
    pub fn due(&self) -> &BTreeSet<usize> {
        &self.sets.due
    }

    /// Main steps that cannot run any more and were not told yet.
    pub fn stuck(&self) -> &BTreeSet<usize> {
        &self.sets.stuck
    }

    /// Steps with an attempt under way.
    pub fn running(&self) -> &BTreeSet<usize> {
        &self.sets.running
    }

    /// Steps that are tried again, soonest first.
    pub fn retrying(&self) -> &BTreeSet<(Timestamp, usize)> {
        &self.sets.retrying
    }

    /// Steps that are to be probed, soonest first.
    pub fn unclear(&self) -> &BTreeSet<(Timestamp, usize)> {
        &self.sets.unclear
    }

    /// Steps that wait for a person.
    pub fn awaiting(&self) -> &BTreeSet<usize> {
        &self.sets.awaiting
    }

    /// Steps that failed and about which a person is to be asked.
    pub fn pausing(&self) -> &BTreeSet<usize> {
        &self.sets.pausing
    }

    /// Main steps that failed for good, so that nothing new starts.
    pub fn halting(&self) -> &BTreeSet<usize> {
        &self.sets.halting
    }

    /// Steps of `finally` that failed where that is not tolerated.
    pub fn finally_failed(&self) -> &BTreeSet<usize> {
        &self.sets.finally_failed
    }

    /// How many steps failed where the plan says to go on.
    pub fn tolerated(&self) -> usize {
        self.sets.tolerated
    }

    /// How many main steps have neither succeeded, nor failed, nor been skipped, nor been undone: not started, blocked
    /// or under way.
    pub fn unsettled(&self) -> usize {
        self.sets.unsettled
    }

    /// How many steps are settled.
    pub fn settled(&self) -> usize {
        self.sets.settled
    }

    /// Whether a step of `finally` has begun: then no main step starts before the next resume.
    pub fn is_finally(&self) -> bool {
        self.sets.finally_begun > 0
    }

    /// How many running steps use a target.
    pub fn load(&self, target: usize) -> usize {
        self.load[target]
    }

    /// The step by which a stuck one is stuck.
    pub fn blocker<'s>(&self, i: usize, state: impl Fn(usize) -> &'s StepState) -> Option<usize> {
        let stops =
            |need: &&crate::graph::Need| !need.excused && self.standing(need.node, state(need.node)) == Standing::Stop;
        self.graph.node(i).needs.iter().find(stops).map(|need| need.node)
    }

    pub(super) fn change(&mut self, i: usize, old: &StepState, new: &StepState) {
        self.count(i, old, false);
        self.count(i, new, true);
        let (before, after) = (self.standing(i, old), self.standing(i, new));
        if before != after {
            let graph = self.graph.clone();
            for dependent in &graph.node(i).dependents {
                self.shift(*dependent, i, before, after);
            }
        }
    }

    fn standing(&self, i: usize, state: &StepState) -> Standing {
        match state {
            StepState::Succeeded | StepState::Skipped { .. } => Standing::Pass,
            StepState::Failed { .. } if self.graph.node(i).on_failure == OnFailure::Continue => Standing::Pass,
            // A person is asked about it, in the same batch.
            StepState::Failed { .. } if self.graph.node(i).on_failure == OnFailure::Pause => Standing::Open,
            StepState::Failed { .. } | StepState::Blocked { .. } => Standing::Stop,
            _ => Standing::Open,
        }
    }

    fn shift(&mut self, dependent: usize, on: usize, before: Standing, after: Standing) {
        let graph = self.graph.clone();
        for need in graph.node(dependent).needs.iter().filter(|need| need.node == on) {
            let seen = |standing| match standing {
                Standing::Stop if need.excused => Standing::Pass,
                other => other,
            };
            self.tally(dependent, seen(before), false);
            self.tally(dependent, seen(after), true);
        }
        self.place(dependent);
    }

    fn tally(&mut self, i: usize, standing: Standing, add: bool) {
        let count = match standing {
            Standing::Open => &mut self.open[i],
            Standing::Stop => &mut self.stops[i],
            Standing::Pass => return,
        };
        *count = if add { *count + 1 } else { *count - 1 };
    }

    fn place(&mut self, i: usize) {
        self.sets.due.remove(&i);
        self.sets.stuck.remove(&i);
        if !self.fresh[i] || self.graph.node(i).in_finally {
            return;
        }
        if self.stops[i] > 0 {
            self.sets.stuck.insert(i);
        } else if self.open[i] == 0 {
            self.sets.due.insert(i);
        }
    }

    fn count(&mut self, i: usize, state: &StepState, add: bool) {
        let node = self.graph.clone();
        let node = node.node(i);
        let sets = &mut self.sets;
        match state {
            StepState::Running => {
                put(&mut sets.running, i, add);
                for target in &node.targets {
                    step(&mut self.load[*target], add);
                }
            }
            StepState::Retrying { not_before } => put(&mut sets.retrying, (*not_before, i), add),
            StepState::Unclear { ask_at, .. } => put(&mut sets.unclear, (*ask_at, i), add),
            StepState::Awaiting { .. } => put(&mut sets.awaiting, i, add),
            StepState::Failed { .. } if node.on_failure == OnFailure::Continue => step(&mut sets.tolerated, add),
            StepState::Failed { .. } if node.on_failure == OnFailure::Pause => put(&mut sets.pausing, i, add),
            StepState::Failed { .. } if node.in_finally => put(&mut sets.finally_failed, i, add),
            StepState::Failed { .. } => put(&mut sets.halting, i, add),
            StepState::NotStarted { .. }
            | StepState::Succeeded
            | StepState::Skipped { .. }
            | StepState::Blocked { .. } => {}
        }
        if state.is_settled() {
            step(&mut sets.settled, add);
        }
        if node.in_finally {
            if !matches!(state, StepState::NotStarted { .. }) {
                step(&mut sets.finally_begun, add);
            }
        } else if counts_as_unsettled(state) {
            step(&mut sets.unsettled, add);
        }
        self.fresh[i] = add && matches!(state, StepState::NotStarted { .. });
        self.place(i);
    }
}

fn counts_as_unsettled(state: &StepState) -> bool {
    match state {
        StepState::NotStarted { undone } => !undone,
        StepState::Blocked { .. } => true,
        other => !other.is_settled(),
    }
}

fn put<T: Ord>(set: &mut BTreeSet<T>, item: T, add: bool) {
    if add {
        set.insert(item);
    } else {
        set.remove(&item);
    }
}

fn step(count: &mut usize, add: bool) {
    *count = if add { *count + 1 } else { *count - 1 };
}
