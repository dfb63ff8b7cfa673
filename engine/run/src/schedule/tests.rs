use std::cell::Cell;
use std::sync::Arc;

use jm_plan::OnFailure;
use jm_step::{StepError, StepErrorKind};
use proptest::prelude::*;

use super::*;
use crate::graph::{Graph, Need, Node};
use crate::journal::{Payload, Record, RecordKind, Then, Verdict};

/// A plan, drawn by lot.
#[derive(Debug, Clone)]
struct Drawn {
    steps: Vec<DrawnStep>,
    finally: usize,
    overall: usize,
    per_target: Vec<Option<usize>>,
}

#[derive(Debug, Clone)]
struct DrawnStep {
    needs: Vec<(prop::sample::Index, bool)>,
    on_failure: u8,
    target: usize,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let step = (
        proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..3),
        0u8..4,
        0usize..4,
    )
        .prop_map(|(needs, on_failure, target)| DrawnStep {
            needs,
            on_failure,
            target,
        });
    // A limit of its own for each target, or none.
    let per_target = proptest::collection::vec(proptest::option::of(1usize..3), 2);
    (proptest::collection::vec(step, 1..12), 0usize..3, 1usize..5, per_target).prop_map(
        |(steps, finally, overall, per_target)| Drawn {
            steps,
            finally,
            overall,
            per_target,
        },
    )
}

fn graph(drawn: &Drawn) -> Arc<Graph> {
    let mut nodes = Vec::new();
    for (i, step) in drawn.steps.iter().enumerate() {
        let mut node = Node::new(format!("s{i}").parse().expect("a name"));
        let mut needs: Vec<Need> = Vec::new();
        for (need, excused) in step.needs.iter().filter(|_| i > 0) {
            let need = Need {
                node: need.index(i),
                excused: *excused,
            };
            if needs.iter().all(|known| known.node != need.node) {
                needs.push(need);
            }
        }
        node.needs = needs;
        node.on_failure = match step.on_failure {
            0 => OnFailure::Continue,
            1 => OnFailure::Pause,
            _ => OnFailure::Fail,
        };
        node.targets = match step.target {
            0 | 1 => vec![step.target],
            2 => vec![0, 1],
            _ => Vec::new(),
        };
        nodes.push(node);
    }
    for i in 0..drawn.finally {
        let mut node = Node::new(format!("f{i}").parse().expect("a name"));
        node.in_finally = true;
        nodes.push(node);
    }
    Arc::new(Graph::new(
        nodes,
        vec!["t0".parse().expect("a name"), "t1".parse().expect("a name")],
    ))
}

/// Plays a run: what is decided is recorded, and what is under way ends by lot.
struct Play {
    graph: Arc<Graph>,
    limits: Limits,
    state: RunState,
    lots: Vec<u8>,
    drawn: Cell<usize>,
    now: Timestamp,
}

impl Play {
    fn lot(&self) -> u8 {
        let at = self.drawn.get();
        self.drawn.set(at + 1);
        self.lots[at % self.lots.len()].wrapping_add(u8::try_from(at / self.lots.len() % 251).unwrap_or(0))
    }

    fn note(&mut self, kind: RecordKind) -> Result<(), TestCaseError> {
        let seq = self.state.last_seq() + 1;
        let record = Record {
            seq,
            batch: seq,
            at: self.now,
            kind,
        };
        self.state
            .apply(&record)
            .map_err(|error| TestCaseError::fail(error.to_string()))
    }

    fn decide(&self) -> Vec<Decision> {
        let moment = Moment {
            now: self.now,
            stop: Stop::Go,
            live: self.state.frontier().running().len(),
        };
        let condition = |_| {
            if self.lot().is_multiple_of(5) {
                Condition::Skip("by lot".to_owned())
            } else {
                Condition::Run
            }
        };
        decide(&self.state, &condition, &self.limits, &moment)
    }

    fn check_start(&self, step: usize) -> Result<(), TestCaseError> {
        let node = self.graph.node(step);
        for need in &node.needs {
            let state = &self.state.entry(need.node).state;
            let tolerated = self.graph.node(need.node).on_failure == OnFailure::Continue || need.excused;
            let fits = match state {
                StepState::Succeeded | StepState::Skipped { .. } => true,
                StepState::Failed { .. } => tolerated,
                StepState::Blocked { .. } => need.excused,
                _ => false,
            };
            prop_assert!(fits, "`{}` starts, and what it needs is {:?}", node.id, state);
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), TestCaseError> {
        let frontier = self.state.frontier();
        prop_assert!(frontier.running().len() <= self.limits.overall);
        for target in 0..2 {
            let uses = |i: &&usize| self.graph.node(**i).targets.contains(&target);
            let load = frontier.running().iter().filter(uses).count();
            prop_assert_eq!(load, frontier.load(target));
            prop_assert!(self.limits.per_target[target].is_none_or(|limit| load <= limit));
        }
        Ok(())
    }

    /// A step whose turn has come waits only where something leaves no room for it.
    fn check_idle(&self) -> Result<(), TestCaseError> {
        let frontier = self.state.frontier();
        if frontier.is_finally() || !frontier.halting().is_empty() || frontier.running().len() >= self.limits.overall {
            return Ok(());
        }
        for step in frontier.due() {
            let targets = &self.graph.node(*step).targets;
            let full =
                |target: &usize| self.limits.per_target[*target].is_some_and(|limit| frontier.load(*target) >= limit);
            prop_assert!(targets.iter().any(full), "step {step} waits for nothing");
        }
        Ok(())
    }

    /// One turn. The end of the run, where it comes to it.
    fn turn(&mut self) -> Result<Option<Decision>, TestCaseError> {
        let decisions = self.decide();
        let mut noted = false;
        for decision in decisions {
            match decision {
                Decision::WakeAt(at) => self.now = self.now.max(at),
                Decision::Close(_) | Decision::Stop(_) => return Ok(Some(decision)),
                Decision::Start { step, .. } if self.graph.node(step).in_finally => self.start(step)?,
                Decision::Start { step, .. } => {
                    prop_assert!(
                        !self.state.frontier().is_finally(),
                        "a main step starts after `finally` began"
                    );
                    if matches!(self.state.entry(step).state, StepState::NotStarted { .. }) {
                        prop_assert!(
                            self.state.frontier().halting().is_empty(),
                            "something starts after a failure"
                        );
                        self.check_start(step)?;
                    }
                    self.start(step)?;
                }
                other => self.record(other)?,
            }
            noted = true;
            self.check_limits()?;
        }
        if !noted {
            self.check_idle()?;
            self.end_one()?;
        }
        Ok(None)
    }

    fn start(&mut self, step: usize) -> Result<(), TestCaseError> {
        let entry = self.state.entry(step);
        let (step, attempt) = (entry.id.clone(), entry.attempts + 1);
        self.note(RecordKind::StepStarted {
            step,
            attempt,
            key: String::new(),
        })
    }

    fn record(&mut self, decision: Decision) -> Result<(), TestCaseError> {
        let id = |i: usize| self.graph.node(i).id.clone();
        let kind = match decision {
            Decision::Skip { step, because } => RecordKind::StepSkipped {
                step: id(step),
                because,
                by_person: false,
            },
            Decision::Block { step, by } => RecordKind::StepBlocked {
                step: id(step),
                by: id(by),
            },
            Decision::AskOperator { step, why } => RecordKind::OperatorNeeded {
                step: id(step),
                why: *why,
            },
            Decision::Probe { step } => RecordKind::Probed {
                step: id(step),
                verdict: Verdict::NotStarted,
                then: Then::Again {
                    at: self.now,
                    drop_checkpoint: true,
                },
            },
            other => return Err(TestCaseError::fail(format!("unexpected: {other:?}"))),
        };
        self.note(kind)
    }

    /// Something that is under way ends.
    fn end_one(&mut self) -> Result<(), TestCaseError> {
        let running = self.state.frontier().running();
        let Some(step) = running
            .iter()
            .nth(usize::from(self.lot()) % running.len().max(1))
            .copied()
        else {
            // Only time can bring it on.
            let next = self
                .state
                .frontier()
                .retrying()
                .iter()
                .chain(self.state.frontier().unclear())
                .next();
            prop_assert!(
                next.is_some_and(|(at, _)| *at <= self.now),
                "the run is stuck: {:?}",
                self.state
            );
            return Ok(());
        };
        let lot = self.lot();
        let entry = self.state.entry(step);
        let again = entry.tries < 3 && lot.is_multiple_of(3);
        let id = entry.id.clone();
        let kind = match lot % 7 {
            0 | 1 => RecordKind::StepFailed {
                step: id,
                error: StepError::new(StepErrorKind::Unavailable, "by lot").summary(),
                will_retry: again.then_some(self.now),
                unclear: again && lot.is_multiple_of(2),
                changes: Payload::default(),
            },
            _ => RecordKind::StepSucceeded {
                step: id,
                output: Payload::default(),
                changes: Payload::default(),
            },
        };
        self.note(kind)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// No step starts before what it needs, no limit is exceeded, and every run comes to an end.
    #[test]
    fn every_run_ends_and_keeps_the_rules(drawn in drawn(), lots in proptest::collection::vec(any::<u8>(), 1..60)) {
        let graph = graph(&drawn);
        let limits = Limits {
            overall: drawn.overall,
            per_target: drawn.per_target.clone().into(),
            until: None,
            deadline: None,
            person_present: false,
        };
        let state = RunState::of(&graph);
        let mut play = Play { graph: graph.clone(), limits, state, lots, drawn: Cell::new(0), now: Timestamp::UNIX_EPOCH };
        play.note(crate::state::opening_for_tests())?;
        let mut end = None;
        for _ in 0..2_000 {
            end = play.turn()?;
            if end.is_some() {
                break;
            }
        }
        let state = &play.state;
        match end {
            Some(Decision::Close(status)) => {
                let waiting = |i: &usize| !state.entry(*i).state.is_settled();
                prop_assert!(graph.finally().all(|i| state.entry(i).state.is_settled()), "`finally` did not run to its end");
                let failed = !state.frontier().halting().is_empty() || !state.frontier().finally_failed().is_empty();
                prop_assert_eq!(failed, status == RunStatus::Failed);
                prop_assert!(failed || !graph.main().any(|i| waiting(&i)));
            }
            Some(Decision::Stop(StopCause::Waiting)) => prop_assert!(!state.frontier().awaiting().is_empty()),
            other => return Err(TestCaseError::fail(format!("it does not end: {other:?}"))),
        }
    }
}
