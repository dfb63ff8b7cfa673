//! Before the first step: every target is reached and is the system it should be, and the guards that can be asked
//! beforehand are.

use std::collections::BTreeSet;
use std::time::Duration;

use jm_step::{Connections, ErrorSummary, StepError, StepErrorKind, StepId, TargetName};
use tokio::task::JoinSet;

use super::Dispatcher;
use crate::error::{RunError, TargetProblem};
use crate::event::Event;
use crate::gate::is_left_to_a_gate;
use crate::guard::{self, Consent, GuardQuestion, is_asked_before, protected_objection};
use crate::journal::{OperatorVerb, RecordKind, Said, StopCause};
use crate::operator;
use crate::payload::presentable;
use crate::run::Run;
use crate::schedule::Stop;
use crate::state::RunState;

/// How long a target may take to answer. What the plan repairs may be a host that answers nothing at all.
pub(crate) const OPENING: Duration = Duration::from_secs(30);

/// Opens a target, or says that it takes too long.
pub(crate) async fn open_within(
    connections: &Connections,
    target: &TargetName,
    patience: Duration,
) -> Result<(), StepError> {
    match tokio::time::timeout(patience, connections.open(target)).await {
        Ok(opened) => opened.map(drop),
        Err(_) => Err(StepError::timed_out(format!(
            "target `{target}` did not answer within {}",
            jm_plan::duration::show(patience)
        ))),
    }
}

/// The targets that what is left of the run uses: of a run that was ended by a person, those of `finally`.
pub(crate) fn targets_ahead(run: &Run, state: &RunState) -> BTreeSet<TargetName> {
    let mut used = run.targets_used();
    if state.aborted().is_some() {
        let last = run.plan.finally().iter();
        let kept: BTreeSet<&TargetName> = last.flat_map(|step| step.bindings.values()).collect();
        used.retain(|target| kept.contains(target));
    }
    used
}

impl Dispatcher<'_> {
    /// `false` where the run was told to stop meanwhile.
    pub(super) async fn preflight(&mut self) -> Result<bool, RunError> {
        let Some(problems) = self.open_targets().await? else {
            return Ok(false);
        };
        if let Some(refusal) = self.holds.refusal() {
            self.stop_before(vec![refusal.to_string()])?;
            return Err(refusal.into());
        }
        if !problems.is_empty() {
            let shown = problems
                .iter()
                .take(20)
                .map(|problem| problem.error.message.clone())
                .collect();
            self.stop_before(shown)?;
            return Err(RunError::Preflight { problems });
        }
        if self.run.protected && !self.run.options.confirmed {
            self.ask_about_protected().await?;
        }
        Ok(true)
    }

    fn stop_before(&mut self, problems: Vec<String>) -> Result<(), RunError> {
        let by = StopCause::Preflight { problems };
        self.ledger.note(RecordKind::RunStopped { by })?;
        self.flush()
    }

    /// Opens all at once. What the plan repairs may be down, but must not be another system, unless
    /// a gate is to judge that. `None` where the run is
    /// told to stop.
    async fn open_targets(&mut self) -> Result<Option<Vec<TargetProblem>>, RunError> {
        let mut stop = self.run.stop.clone();
        let mut opening = JoinSet::new();
        for target in targets_ahead(self.run, self.ledger.state()) {
            let connections = self.connections.clone();
            opening.spawn(async move {
                let opened = open_within(&connections, &target, OPENING).await;
                (target, opened)
            });
        }
        let mut problems = Vec::new();
        while !opening.is_empty() {
            tokio::select! {
                Some(joined) = opening.join_next() => match joined {
                    Ok((target, opened)) => problems.extend(self.opened_target(target, opened)),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                Some(news) = self.heard.recv() => {
                    self.hear(news)?;
                    self.flush()?;
                }
                Ok(_) = stop.wait_for(|stop| *stop != Stop::Go) => return Ok(None),
            }
        }
        problems.sort_by(|a, b| a.target.cmp(&b.target));
        Ok(Some(problems))
    }

    fn opened_target(&mut self, target: TargetName, opened: Result<(), StepError>) -> Option<TargetProblem> {
        let repairs = self.run.plan.repairs().contains(&target);
        let error = opened
            .err()
            .map(|error| (error.kind(), presentable(&self.run.secrets, error.summary())));
        let may_be_another = repairs && is_left_to_a_gate(self.run, self.ledger.state(), &target);
        let matters = |kind| !repairs || kind == StepErrorKind::Refused && !may_be_another;
        let is_problem = error.as_ref().is_some_and(|(kind, _)| matters(*kind));
        if repairs && !is_problem {
            self.tell_of_repaired(&target, error.as_ref());
        }
        let (_, error) = error?;
        is_problem.then_some(TargetProblem { target, error })
    }

    /// What became of the look at a target that the plan repairs. One that answers is not down, whatever it says.
    fn tell_of_repaired(&mut self, target: &TargetName, error: Option<&(StepErrorKind, ErrorSummary)>) {
        use StepErrorKind::{NotFound, TimedOut, Unavailable};
        let event = match error {
            Some((kind, error)) if !matches!(kind, NotFound | TimedOut | Unavailable) => Event::Notice {
                text: format!("target `{target}` cannot be used as it is: {}", error.message),
            },
            _ => Event::Target {
                target: target.clone(),
                up: error.is_none(),
                detail: error.map(|(_, error)| error.message.clone()),
            },
        };
        self.ledger.tell(&event);
    }

    /// Asks once for all steps ahead that cannot be taken back, where somebody is there; else each of them needs a step
    /// before it that may ask.
    async fn ask_about_protected(&mut self) -> Result<(), RunError> {
        let steps = guard::irreversible_ahead(&self.graph, self.ledger.state(), self.until);
        if steps.is_empty() {
            return Ok(());
        }
        let ids: Vec<StepId> = steps.iter().map(|step| self.id(*step)).collect();
        let targets = self.run.targets_name.clone();
        let question = GuardQuestion::Protected { targets, steps: ids };
        let Some(consent) = self.consent_meanwhile(question).await? else {
            return Ok(());
        };
        match consent {
            Consent::Yes { who } => self.note_protected(who),
            Consent::No => self.refuse_protected(steps[0]),
            Consent::Absent => {
                let is_asked = |step: &usize| is_asked_before(&self.graph, &self.planned, *step);
                match steps.iter().find(|step| !is_asked(step)) {
                    Some(step) => self.refuse_protected(*step),
                    None => Ok(()),
                }
            }
        }
    }

    /// What the person at hand says. Meanwhile the run goes on to hear: `None` where it is told to stop, or is ended.
    async fn consent_meanwhile(&mut self, question: GuardQuestion) -> Result<Option<Consent>, RunError> {
        let Some(person) = self.run.person.clone() else {
            return Ok(Some(Consent::Absent));
        };
        let mut stop = self.run.stop.clone();
        let mut asking = person.consent(&question);
        loop {
            tokio::select! {
                consent = &mut asking => return Ok(Some(consent)),
                Some(news) = self.heard.recv() => self.hear(news)?,
                Ok(_) = stop.wait_for(|stop| *stop != Stop::Go) => return Ok(None),
                () = tokio::time::sleep_until(self.next_tick) => self.tick()?,
            }
            self.flush()?;
            if self.ledger.state().aborted().is_some() {
                return Ok(None);
            }
        }
    }

    fn note_protected(&mut self, who: String) -> Result<(), RunError> {
        self.consents.give_protected();
        self.ledger.note(RecordKind::Operator(Said {
            id: operator::word_id(),
            who,
            verb: OperatorVerb::Consent,
            step: None,
            reason: Some(format!(
                "the run may touch the protected targets `{}`",
                self.run.targets_name
            )),
        }))?;
        self.flush()
    }

    fn refuse_protected(&mut self, step: usize) -> Result<(), RunError> {
        let objection = protected_objection(&self.run.targets_name, &self.id(step)).summary();
        self.stop_before(vec![objection.message.clone()])?;
        Err(RunError::Refused(Box::new(objection)))
    }
}
