//! The person at the terminal: asked before the start, by guards and by steps, while everything else goes on.

use std::io::{BufRead, IsTerminal, Write};

use futures::future::{BoxFuture, FutureExt};
use jm_plan::duration;
use jm_run::{Consent, GuardQuestion, Person};
use jm_step::{Answer, StepId};

use crate::report::screen::Screen;
use crate::ui::Ui;

mod question;
mod typed;

/// Somebody who sits at the terminal.
pub(crate) struct AtTerminal {
    screen: Screen,
    ui: Ui,
    who: String,
    /// One question at a time.
    turn: tokio::sync::Mutex<()>,
}

/// Whether somebody can be asked: both ends of the conversation have to be a terminal.
pub(crate) fn is_there() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

impl AtTerminal {
    /// Questions are shown on `screen`, below what moves.
    pub(crate) fn new(screen: Screen, ui: &Ui, who: String) -> Self {
        Self {
            screen,
            ui: ui.clone(),
            who,
            turn: tokio::sync::Mutex::default(),
        }
    }

    async fn ask(&self, question: String) -> Option<bool> {
        let _turn = self.turn.lock().await;
        question::ask(question, self.screen.clone(), self.ui.clone()).await
    }
}

impl Person for AtTerminal {
    fn consent<'a>(&'a self, question: &'a GuardQuestion) -> BoxFuture<'a, Consent> {
        async move {
            match self.ask(in_words(question)).await {
                Some(true) => Consent::Yes { who: self.who.clone() },
                Some(false) => Consent::No,
                None => Consent::Absent,
            }
        }
        .boxed()
    }

    fn answer<'a>(&'a self, step: &'a StepId, question: &'a str) -> BoxFuture<'a, Option<Answer>> {
        async move {
            let approved = self.ask(format!("step `{step}` asks: {question}")).await?;
            Some(Answer {
                approved,
                who: self.who.clone(),
                at: jm_step::clock::now(),
                reason: None,
            })
        }
        .boxed()
    }
}

fn in_words(question: &GuardQuestion) -> String {
    match question {
        GuardQuestion::Protected { targets, steps } => {
            let steps: Vec<String> = steps.iter().map(|step| format!("`{step}`")).collect();
            format!(
                "targets `{targets}` are protected, and {} cannot be taken back. Go on?",
                steps.join(", ")
            )
        }
        GuardQuestion::DataLoss { step, loss } => format!(
            "`{step}` makes it final that {} of data are lost, from {} on. Go on?",
            duration::show(loss.window()),
            loss.recovery_point
        ),
    }
}

/// Asks before anything is under way, until the answer is a yes or a no. `None` where nobody answers any more.
pub(crate) fn yes_or_no(question: &str) -> Option<bool> {
    ask(&format!("{question} [yes/no]"), typed::meaning)
}

/// Asks for a line of text until there is something on it. `None` where nobody answers any more.
pub(crate) fn text(question: &str) -> Option<String> {
    ask(question, something)
}

/// Asks until a line means something.
fn ask<T>(question: &str, meaning: impl Fn(&str) -> Option<T>) -> Option<T> {
    let mut answers = std::io::stdin().lock().lines();
    loop {
        let mut to = std::io::stderr().lock();
        write!(to, "{question} ").and_then(|()| to.flush()).ok()?;
        drop(to);
        if let Some(answer) = meaning(&answers.next()?.ok()?) {
            return Some(answer);
        }
    }
}

/// A text that says something.
pub(crate) fn something(text: &str) -> Option<String> {
    Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned)
}
