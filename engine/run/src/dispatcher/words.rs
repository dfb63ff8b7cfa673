//! What people say while the run goes on: from the inbox, and from the terminal.

use jm_step::{Ack, Answer};

use super::Dispatcher;
use crate::error::RunError;
use crate::journal::{OperatorVerb, RecordKind, Said};
use crate::payload::words;
use crate::state::StepState;

impl Dispatcher<'_> {
    /// Takes in what lies in the inbox.
    pub(super) fn take_words(&mut self) -> Result<(), RunError> {
        for said in self.run.files.inbox() {
            let id = said.id.clone();
            if !self.ledger.state().has_heard(&id) {
                self.take_word(said)?;
            }
            let files = self.run.files.clone();
            self.afterwards.push(Box::new(move || files.heard(&id)));
        }
        Ok(())
    }

    fn take_word(&mut self, mut said: Said) -> Result<(), RunError> {
        said.reason = said.reason.map(|reason| words(&self.run.secrets, &reason));
        let fits = self.ledger.state().accepts(said.verb, said.step.as_ref());
        if let Err(why) = fits.and_then(|()| self.fits_now(&said)) {
            self.notice(format!("what {} said was not taken: {why}", said.who));
            return Ok(());
        }
        self.ledger.note(RecordKind::Operator(said.clone()))?;
        match said.verb {
            OperatorVerb::Approve | OperatorVerb::Reject => self.pass_answer(&said),
            OperatorVerb::Retry => self.start_over_after(&said)?,
            OperatorVerb::Abort => self.cancel_main(),
            _ => {}
        }
        Ok(())
    }

    /// A step cannot be done anew while one that comes after it is under way.
    fn fits_now(&self, said: &Said) -> Result<(), String> {
        let Some(step) = said.step.as_ref().and_then(|step| self.graph.find(step.as_str())) else {
            return Ok(());
        };
        let under_way = |i: &usize| self.live.contains_key(i);
        match self.graph.after(step).into_iter().find(under_way) {
            Some(later) if said.verb == OperatorVerb::Retry => {
                Err(format!("step `{}`, which comes after it, is under way", self.id(later)))
            }
            _ => Ok(()),
        }
    }

    /// What came after a step that is done anew starts over.
    fn start_over_after(&mut self, said: &Said) -> Result<(), RunError> {
        let Some(step) = said.step.as_ref().and_then(|step| self.graph.find(step.as_str())) else {
            return Ok(());
        };
        for record in crate::resume::after(self.ledger.state(), step) {
            self.ledger.note(record)?;
        }
        Ok(())
    }

    /// Hands an answer to the step that asked, once it is on disk.
    fn pass_answer(&mut self, said: &Said) {
        let Some(step) = said.step.as_ref().and_then(|step| self.graph.find(step.as_str())) else {
            return;
        };
        if let Some((question, ack)) = self.take_question(step) {
            let answer = self.ledger.state().entry(step).answer(&question).cloned();
            self.afterwards.push(Box::new(move || {
                if let Some(answer) = answer {
                    drop(ack.send(Ok(answer)));
                }
            }));
        }
    }

    /// Somebody at the terminal answered a step, or nobody was there.
    pub(super) fn on_answered(&mut self, step: usize, question: &str, answer: Option<Answer>) -> Result<(), RunError> {
        self.asking.remove(&step);
        let waits = self.questions.get(&step).is_some_and(|(asked, _)| asked == question);
        let Some(answer) = answer.filter(|_| waits) else {
            return Ok(());
        };
        let verb = if answer.approved {
            OperatorVerb::Approve
        } else {
            OperatorVerb::Reject
        };
        self.take_word(Said {
            id: crate::operator::word_id(),
            who: answer.who,
            verb,
            step: Some(self.id(step)),
            reason: answer.reason,
        })
    }

    fn cancel_main(&mut self) {
        for (step, cancel) in &self.live {
            if !self.graph.node(*step).in_finally {
                cancel.cancel();
            }
        }
        // A step that asks waits for its answer and hears nothing else: its question ends with the run.
        for step in self.main_steps() {
            if matches!(self.ledger.state().entry(step).state, StepState::Awaiting { .. }) {
                self.take_question(step);
            }
        }
    }

    /// Takes back the question of a step: it is asked no more, wherever it stands.
    pub(super) fn take_question(&mut self, step: usize) -> Option<(String, Ack<Answer>)> {
        if let Some(asking) = self.asking.remove(&step) {
            asking.abort();
        }
        self.questions.remove(&step)
    }
}
