use jm_plan::OnFailure;
use jm_step::{StepError, StepErrorKind};
use proptest::prelude::*;

use super::*;
use crate::graph::{Need, Node};
use crate::journal::{FORMAT, RecordKind, Then, Verdict};

/// Three steps in a row, one beside them that is tolerated, and one of `finally`.
fn graph() -> Arc<Graph> {
    let mut nodes: Vec<Node> = ["a", "b", "c", "d", "z"]
        .map(|id| Node::new(id.parse().expect("a name")))
        .into();
    let need = |node| Need { node, excused: false };
    nodes[1].needs = vec![need(0)];
    nodes[2].needs = vec![need(1), need(3)];
    nodes[3].on_failure = OnFailure::Continue;
    nodes[1].on_failure = OnFailure::Pause;
    nodes[4].in_finally = true;
    nodes[4].undoes = vec![0];
    Arc::new(Graph::new(nodes, Vec::new()))
}

pub(crate) fn opening() -> RecordKind {
    RecordKind::RunOpened(Box::new(Opened {
        format: FORMAT,
        run: jm_step::RunInfo {
            id: "01arz3ndektsv4rrffq69g5fav".parse().expect("an id"),
            plan: "p".to_owned(),
            started_at: Timestamp::UNIX_EPOCH,
            drill: false,
        },
        plan: "digest".to_owned(),
        file: None,
        directory: None,
        inputs: serde_json::json!({}),
        inputs_artefact: None,
        secrets: BTreeMap::new(),
        targets: String::new(),
        targets_digest: String::new(),
        protected: false,
        jm: "0".to_owned(),
        by: String::new(),
    }))
}

fn record(seq: u64, kind: RecordKind) -> Record {
    let at = Timestamp::from_second(i64::try_from(seq).expect("small")).expect("in range");
    Record {
        seq,
        batch: seq,
        at,
        kind,
    }
}

/// What a person says, about a step or the whole run.
fn any_word(state: &RunState, step: StepId, more: u8) -> RecordKind {
    use OperatorVerb as V;
    let verbs = [V::Approve, V::Reject, V::Retry, V::Skip, V::MarkDone, V::Abort];
    let verb = verbs[usize::from(more) % verbs.len()];
    RecordKind::Operator(Said {
        id: format!("{}-{more}", state.last_seq()),
        who: "ada".to_owned(),
        verb,
        step: (verb != V::Abort).then_some(step),
        reason: None,
    })
}

/// A record of kind number `kind`, about step number `step`; `more` decides the rest.
fn any_kind(state: &RunState, kind: u8, step: usize, more: u8) -> RecordKind {
    let entry = state.entry(step);
    let id = entry.id.clone();
    let later = Timestamp::from_second(1_000 + i64::from(more)).expect("in range");
    let yes = more.is_multiple_of(2);
    let kinds = [
        StepErrorKind::Failed,
        StepErrorKind::Unavailable,
        StepErrorKind::Ambiguous,
    ];
    let error = StepError::new(kinds[usize::from(more) % 3], "told to").summary();
    match kind {
        0..=5 => RecordKind::StepStarted {
            step: id,
            attempt: entry.attempts + 1,
            key: format!("k{}", entry.generation),
        },
        6 => RecordKind::StepCheckpoint {
            step: id,
            data: Payload::Inline(more.into()),
        },
        7 => RecordKind::OutputSaved {
            step: id,
            output: Payload::Inline(serde_json::json!({ "n": more })),
        },
        8..=11 => RecordKind::StepSucceeded {
            step: id,
            output: Payload::Inline(serde_json::json!({ "n": more })),
            changes: Payload::Inline(vec![Change::delete("x")]),
        },
        12 | 13 => RecordKind::StepFailed {
            step: id,
            error,
            will_retry: yes.then_some(later),
            unclear: more.is_multiple_of(3),
            changes: Payload::default(),
        },
        14 => RecordKind::StepSkipped {
            step: id,
            because: "so".to_owned(),
            by_person: yes,
        },
        15 => RecordKind::StepBlocked {
            step: id,
            by: state.entry(0).id.clone(),
        },
        16 => RecordKind::StepUndone {
            step: id,
            by: state.entry(4).id.clone(),
        },
        17 => RecordKind::StepAnew {
            step: id,
            because: "so".to_owned(),
        },
        18 => RecordKind::Probed {
            step: id,
            verdict: Verdict::NotStarted,
            then: match more % 4 {
                0 => Then::Adopt,
                1 => Then::Wait { until: later },
                2 => Then::Fail,
                _ => Then::Again {
                    at: later,
                    drop_checkpoint: yes,
                },
            },
        },
        19 => RecordKind::OperatorNeeded {
            step: id,
            why: if yes {
                Why::Approval {
                    question: "may it?".to_owned(),
                }
            } else {
                Why::Paused { error }
            },
        },
        20..=22 => any_word(state, id, more),
        23 => RecordKind::StepDegraded {
            step: id,
            reason: "so".to_owned(),
        },
        24 => RecordKind::RunStopped { by: StopCause::Waiting },
        25 => RecordKind::RunClosed {
            status: RunStatus::Failed,
        },
        _ => RecordKind::RunResumed {
            by: "ada".to_owned(),
            jm: "0".to_owned(),
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever follows on each other comes to the same state when it is replayed: live, from its text, with the plan
    /// and without. What cannot follow changes nothing.
    #[test]
    fn any_legal_sequence_replays_to_the_same_state(picks in proptest::collection::vec((0u8..28, 0usize..5, any::<u8>()), 1..120)) {
        let graph = graph();
        let mut state = RunState::of(&graph);
        let mut records = vec![record(1, opening())];
        state.apply(&records[0]).expect("opens");
        for (kind, step, more) in picks {
            let next = record(state.last_seq() + 1, any_kind(&state, kind, step, more));
            let before = state.clone();
            if state.apply(&next).is_ok() {
                records.push(next);
            } else {
                prop_assert_eq!(&before, &state, "a refused record left a trace: {:?}", next);
            }
        }
        let text: Vec<String> = records.iter().map(|record| serde_json::to_string(record).expect("JSON")).collect();
        let read: Vec<Record> = text.iter().map(|line| serde_json::from_str(line).expect("reads back")).collect();
        prop_assert_eq!(&read, &records);
        prop_assert_eq!(&RunState::of(&graph).and(&read).expect("legal"), &state);
        let bare = RunState::replay(&records).expect("legal without the plan");
        for entry in bare.steps() {
            prop_assert_eq!(Some(entry), state.step(entry.id.as_str()));
        }
        let counted = state.steps().iter().filter(|entry| entry.state.is_settled()).count();
        prop_assert_eq!(state.frontier().settled(), counted);
    }
}

fn told(kinds: Vec<RecordKind>) -> Result<RunState, IllegalTransition> {
    let kinds = std::iter::once(opening()).chain(kinds);
    let records: Vec<Record> = (1..).zip(kinds).map(|(seq, kind)| record(seq, kind)).collect();
    RunState::of(&graph()).and(&records)
}

fn start(step: &str) -> RecordKind {
    RecordKind::StepStarted {
        step: step.parse().expect("a name"),
        attempt: 1,
        key: "k".to_owned(),
    }
}

#[test]
fn records_that_cannot_follow_are_refused() {
    let error = told(vec![start("a"), start("a")]).expect_err("twice");
    assert_eq!(
        error.to_string(),
        "record 3 (`step-started` of step `a`) cannot follow: the step is running"
    );
    assert!(told(vec![opening()]).is_err_and(|error| error.why == "the run is open"));
    assert!(told(vec![start("x")]).is_err_and(|error| error.why == "the plan has no such step"));
    let closed = RecordKind::RunClosed {
        status: RunStatus::Completed,
    };
    assert!(told(vec![closed, start("a")]).is_err_and(|error| error.why == "the run was at rest"));
    let gap = record(3, start("a"));
    assert!(RunState::replay([&record(1, opening()), &gap]).is_err_and(|error| error.why == "record 1 was the last"));
}

#[test]
fn an_attempt_that_was_under_way_is_unclear_after_a_resume() {
    let resumed = RecordKind::RunResumed {
        by: "ada".to_owned(),
        jm: "0".to_owned(),
    };
    let state = told(vec![start("a"), resumed]).expect("legal");
    assert!(matches!(
        state.step("a").expect("there").state,
        StepState::Unclear { failed: None, .. }
    ));
    assert_eq!(state.resting_status(), RunStatus::Stopped);
}

#[test]
fn a_word_that_is_read_twice_counts_once() {
    let said = |id: &str| {
        RecordKind::Operator(Said {
            id: id.to_owned(),
            who: "ada".to_owned(),
            verb: OperatorVerb::Skip,
            step: Some("a".parse().expect("a name")),
            reason: None,
        })
    };
    assert!(told(vec![said("1"), said("1")]).is_err_and(|error| error.why.contains("counted before")));
    let state = told(vec![said("1")]).expect("legal");
    assert!(
        state
            .accepts(OperatorVerb::Retry, Some(&"a".parse().expect("a name")))
            .is_ok()
    );
    assert!(
        state
            .accepts(OperatorVerb::Approve, Some(&"a".parse().expect("a name")))
            .is_err_and(|why| why.contains("asks nothing"))
    );
}
