//! The loop of a run: decide, write down, do, listen.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use jm_plan::{PlannedStep, Scope};
use jm_step::{Ack, Answer, Connections, StepError, StepId, clock};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::RunError;
use crate::event::Event;
use crate::executor::{self, Attempt, News};
use crate::gate::Gate;
use crate::graph::Graph;
use crate::holds::Holds;
use crate::journal::{Journal, Record, RecordKind, RunStatus, StopCause};
use crate::ledger::Ledger;
use crate::payload::{presentable, words};
use crate::reporter::Reporter;
use crate::run::Run;
use crate::schedule::{Condition, Decision, Limits, Moment, Stop, decide};
use crate::scope;
use crate::state::RunState;

mod consent;
mod news;
mod preflight;
pub(crate) use preflight::{OPENING, open_within, targets_ahead};
mod start;
mod words;

/// News that wait for the dispatcher before those who bring it wait themselves.
const CHANNEL: usize = 1024;
/// How often clocks move.
const TICK: Duration = Duration::from_millis(100);
/// Every how many ticks the inbox is looked into.
const INBOX_TICKS: u32 = 3;

/// What is done once the batch is on disk.
type Afterwards = Box<dyn FnOnce() + Send>;

/// Runs a run.
pub(crate) struct Dispatcher<'r> {
    run: &'r Run,
    graph: Arc<Graph>,
    planned: Vec<&'r PlannedStep>,
    ledger: Ledger<'r>,
    scope: Scope,
    connections: Connections,
    holds: Arc<Holds>,
    news: mpsc::Sender<News>,
    heard: mpsc::Receiver<News>,
    tasks: JoinSet<()>,
    live: BTreeMap<usize, CancellationToken>,
    probing: HashSet<usize>,
    questions: HashMap<usize, (String, Ack<Answer>)>,
    /// Questions of steps that are put to the person at hand.
    asking: HashMap<usize, AbortHandle>,
    consents: consent::Consents,
    begun: Vec<Attempt>,
    afterwards: Vec<Afterwards>,
    stop: Stop,
    ticks: u32,
    next_tick: Instant,
    until: Option<usize>,
    per_target: Arc<[Option<usize>]>,
}

/// What came of deciding.
enum Turn {
    /// Something was noted: there may be more to decide.
    Again,
    /// Nothing is to be done until news, or this moment.
    Rest(Option<jiff::Timestamp>),
    /// The session is over.
    Over(RunStatus),
}

impl<'r> Dispatcher<'r> {
    pub(crate) fn new(
        run: &'r Run,
        prior: &[Record],
        journal: &'r mut dyn Journal,
        reporter: &'r mut dyn Reporter,
    ) -> Result<Self, RunError> {
        let graph = Arc::new(Graph::of(&run.plan));
        let state = RunState::of(&graph).and(prior)?;
        let (news, heard) = mpsc::channel(CHANNEL);
        let holds = Arc::new(Holds::new(run, news.clone()));
        let gate = Arc::new(Gate::new(news.clone(), holds.clone()));
        let until = run.options.until.as_ref().and_then(|step| graph.find(step.as_str()));
        let per_target = graph.targets().iter().map(|name| run.max_parallel.get(name).copied());
        let per_target = per_target.collect();
        Ok(Self {
            planned: run.plan.all_steps().collect(),
            ledger: Ledger::new(state, journal, reporter),
            scope: scope::opening(run),
            connections: Connections::new(run.targets.clone(), gate, run.open_context()),
            holds,
            tasks: JoinSet::new(),
            live: BTreeMap::new(),
            probing: HashSet::new(),
            questions: HashMap::new(),
            asking: HashMap::new(),
            consents: consent::Consents::default(),
            begun: Vec::new(),
            afterwards: Vec::new(),
            stop: Stop::Go,
            ticks: 0,
            next_tick: Instant::now() + TICK,
            run,
            graph,
            news,
            heard,
            until,
            per_target,
        })
    }

    /// Opens or resumes, and goes on to the end.
    pub(crate) async fn run(mut self) -> Result<RunStatus, RunError> {
        self.open()?;
        // A run that is told to stop before its first step finds that out in its first turn.
        self.preflight().await?;
        let end = self.drive().await;
        self.tasks.shutdown().await;
        end
    }

    fn open(&mut self) -> Result<(), RunError> {
        let state = self.ledger.state();
        let Some(opened) = state.opened().cloned() else {
            let opened = self
                .run
                .opened()
                .fitting(&*self.run.files)
                .map_err(RunError::artefact)?;
            self.ledger.note(RecordKind::RunOpened(Box::new(opened)))?;
            return self.flush();
        };
        if opened.plan != self.run.plan.digest() {
            let given = self.run.plan.digest().to_owned();
            return Err(RunError::OtherPlan {
                opened: opened.plan,
                given,
            });
        }
        if let Some(status) = state.closed().filter(|status| !status.is_resumable()) {
            return Err(RunError::Over(status));
        }
        for record in crate::resume::records(self.run, state) {
            self.ledger.note(record)?;
        }
        self.take_words()?;
        self.flush()?;
        for name in self.run.changed_secrets(&opened) {
            self.notice(format!(
                "secret input `{name}` has another value than when the run was opened"
            ));
        }
        Ok(())
    }

    fn notice(&mut self, text: String) {
        let text = words(&self.run.secrets, &text);
        self.ledger.tell(&Event::Notice { text });
    }

    async fn drive(&mut self) -> Result<RunStatus, RunError> {
        loop {
            self.look_for_stop()?;
            match self.turn()? {
                Turn::Again => {}
                Turn::Rest(wake) => {
                    self.flush()?;
                    self.listen(wake).await?;
                }
                Turn::Over(status) => {
                    self.flush()?;
                    return Ok(status);
                }
            }
        }
    }

    /// The signal's first sound lets what runs come to an end, the second one ends it.
    fn look_for_stop(&mut self) -> Result<(), RunError> {
        if let Some(lost) = self.run.lock.as_ref().and_then(|lock| lock.lost()) {
            return Err(RunError::LockLost(lost));
        }
        if let Some(refusal) = self.holds.refusal() {
            return Err(refusal.into());
        }
        let wanted = self.run.stop.borrow().clone();
        if wanted == self.stop {
            return Ok(());
        }
        for cancel in self.live.values() {
            cancel.cancel();
        }
        if matches!(wanted, Stop::Now(_)) {
            self.tasks.abort_all();
            self.live.clear();
        }
        if let Stop::Finish(signal) = &wanted {
            self.notice(format!(
                "{signal}: nothing new starts, and what runs is asked to stop; a second signal drops it at once"
            ));
        }
        self.stop = wanted;
        Ok(())
    }

    fn turn(&mut self) -> Result<Turn, RunError> {
        self.refresh()?;
        let moment = Moment {
            now: clock::now(),
            stop: self.stop.clone(),
            live: self.live.len().saturating_sub(self.questions.len()),
        };
        let limits = self.limits();
        let decisions = decide(self.ledger.state(), &|i| self.condition(i), &limits, &moment);
        let before = self.ledger.state().last_seq();
        let mut wake = None;
        for decision in decisions {
            match decision {
                Decision::WakeAt(at) => wake = Some(at),
                Decision::Close(status) => return self.close(RecordKind::RunClosed { status }, status),
                Decision::Stop(by) => {
                    let status = if by == StopCause::Waiting {
                        RunStatus::Waiting
                    } else {
                        RunStatus::Stopped
                    };
                    return self.close(RecordKind::RunStopped { by }, status);
                }
                other => self.carry_out(other)?,
            }
        }
        let noted = self.ledger.state().last_seq() > before;
        Ok(if noted { Turn::Again } else { Turn::Rest(wake) })
    }

    fn close(&mut self, record: RecordKind, status: RunStatus) -> Result<Turn, RunError> {
        self.ledger.note(record)?;
        Ok(Turn::Over(status))
    }

    fn refresh(&mut self) -> Result<(), RunError> {
        let touched = self.ledger.take_touched();
        let refreshed = scope::refresh(&mut self.scope, self.ledger.state(), &touched, &*self.run.files);
        refreshed.map_err(RunError::artefact)?;
        let in_finally = self.ledger.state().frontier().is_finally() || self.is_main_over();
        self.scope.run = scope::run_value(self.run, self.ledger.state(), in_finally);
        Ok(())
    }

    /// Whether only steps of `finally` can come next.
    fn is_main_over(&self) -> bool {
        let frontier = self.ledger.state().frontier();
        let halted = !frontier.halting().is_empty() || self.ledger.state().aborted().is_some();
        frontier.running().is_empty() && (halted || frontier.unsettled() == 0 || self.ledger.state().deadline_passed())
    }

    fn limits(&self) -> Limits {
        let since = self.ledger.state().session_at();
        let deadline = self
            .run
            .plan
            .deadline()
            .and_then(|deadline| since?.checked_add(deadline).ok());
        Limits {
            overall: self.run.plan.max_parallel(),
            per_target: self.per_target.clone(),
            until: self.until,
            deadline,
            person_present: !self.asking.is_empty(),
        }
    }

    fn condition(&self, i: usize) -> Condition {
        let planned = self.planned[i];
        let absent = planned
            .bindings
            .values()
            .find_map(|target| Some((target, self.run.not_configured.get(target)?)));
        if let Some((target, reason)) = absent {
            return Condition::Skip(format!("target `{target}` is not configured: {reason}"));
        }
        let Some(when) = &planned.when else {
            return Condition::Run;
        };
        match when.evaluate(&self.scope) {
            Ok(value) if value.is_true() => Condition::Run,
            Ok(_) => Condition::Skip(format!("`{}` is false", when.text())),
            Err(error) => {
                let error = StepError::invalid_input(format!("its `if` cannot be decided: {error}"));
                Condition::Fail(Box::new(presentable(&self.run.secrets, error.summary())))
            }
        }
    }

    fn id(&self, i: usize) -> StepId {
        self.graph.node(i).id.clone()
    }

    fn carry_out(&mut self, decision: Decision) -> Result<(), RunError> {
        match decision {
            Decision::Start { step, attempt } => self.begin(step, attempt),
            Decision::Probe { step } => self.begin_probe(step),
            Decision::Skip { step, because } => self.ledger.note(RecordKind::StepSkipped {
                step: self.id(step),
                because: words(&self.run.secrets, &because),
                by_person: false,
            }),
            Decision::Block { step, by } => self.ledger.note(RecordKind::StepBlocked {
                step: self.id(step),
                by: self.id(by),
            }),
            Decision::Fail { step, error } => self.ledger.note(self.failure(step, *error)),
            Decision::AskOperator { step, why } => self.ledger.note(RecordKind::OperatorNeeded {
                step: self.id(step),
                why: *why,
            }),
            Decision::DeadlinePassed => self.ledger.note(RecordKind::DeadlinePassed {}),
            Decision::WakeAt(_) | Decision::Stop(_) | Decision::Close(_) => Ok(()),
        }
    }

    /// Puts what was noted on disk; then starts what was decided, and tells those who wait for it.
    fn flush(&mut self) -> Result<(), RunError> {
        self.ledger.flush()?;
        for then in self.afterwards.drain(..) {
            then();
        }
        for attempt in self.begun.drain(..) {
            let is_light = attempt.is_light();
            let mut work = Box::pin(executor::attempt(attempt));
            // Most of what asks no system is over at its first poll: another thread would be woken for nothing.
            if !is_light || work.as_mut().now_or_never().is_none() {
                self.tasks.spawn(work);
            }
        }
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended {
                if error.is_panic() {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        }
        Ok(())
    }

    /// Waits for news, and takes in all that there is.
    async fn listen(&mut self, wake: Option<jiff::Timestamp>) -> Result<(), RunError> {
        let until_wake = wake.map(|at| Duration::try_from(at.duration_since(clock::now())).unwrap_or_default());
        let until_tick = self.next_tick.saturating_duration_since(Instant::now());
        let pause = until_wake.map_or(until_tick, |wake| wake.min(until_tick));
        let mut stop = self.run.stop.clone();
        stop.mark_unchanged();
        let first = tokio::select! {
            biased;
            news = self.heard.recv() => news,
            Ok(()) = stop.changed() => None,
            () = tokio::time::sleep(pause) => None,
        };
        let mut next = first;
        for _ in 0..CHANNEL {
            let Some(news) = next else { break };
            self.hear(news)?;
            next = self.heard.try_recv().ok();
        }
        if let Some(news) = next {
            self.hear(news)?;
        }
        if self.next_tick <= Instant::now() {
            self.tick()
        } else {
            Ok(())
        }
    }

    fn tick(&mut self) -> Result<(), RunError> {
        self.next_tick = Instant::now() + TICK;
        self.ledger.tick();
        self.ticks += 1;
        if self.ticks.is_multiple_of(INBOX_TICKS) {
            self.take_words()?;
        }
        Ok(())
    }

    fn main_steps(&self) -> BTreeSet<usize> {
        self.graph.main().collect()
    }
}
