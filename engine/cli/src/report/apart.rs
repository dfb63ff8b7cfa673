//! Reporters on a thread of their own. A terminal that stands still, or somebody who does not read the events, holds them
//! up, and never the run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use jm_run::{Event, Record, Reporter, RunState};

use crate::exit::CommandError;

/// So much news may wait; beyond that, what passes (progress, lines of logs) is left out. Facts never are.
const MOST: usize = 65_536;
/// So long after the run's end nothing may have been taken in before the rest is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// A reporter that is told later, in the same order.
pub(crate) struct Apart {
    news: Option<Sender<News>>,
    waiting: Arc<AtomicUsize>,
    over: Receiver<()>,
}

enum News {
    Event(Box<Event>),
    Tick,
}

impl Apart {
    /// Goes on from the records of earlier sessions.
    pub(crate) fn new(mut reporter: impl Reporter + 'static, prior: &[Record]) -> Result<Self, CommandError> {
        let mut state = RunState::replay(prior)
            .map_err(|error| CommandError::state("the journal does not hang together").cause(&error))?;
        let (news, heard) = channel();
        let (open, over) = channel::<()>();
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = waiting.clone();
        std::thread::spawn(move || {
            for news in heard {
                tell(&mut reporter, &news, &mut state);
                left.fetch_sub(1, Ordering::Relaxed);
            }
            drop(reporter);
            drop(open);
        });
        Ok(Self {
            news: Some(news),
            waiting,
            over,
        })
    }

    fn pass_on(&self, news: News) {
        if let Some(to) = &self.news {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            // Where its thread panicked, nobody is told any more.
            drop(to.send(news));
        }
    }
}

fn tell(reporter: &mut impl Reporter, news: &News, state: &mut RunState) {
    match news {
        News::Tick => reporter.tick(),
        News::Event(event) => {
            if let Event::Recorded(record) = &**event {
                // The run has taken it in, so it fits.
                drop(state.apply(record));
            }
            reporter.report(event, state);
        }
    }
}

impl Reporter for Apart {
    fn report(&mut self, event: &Event, _: &RunState) {
        let passes = matches!(event, Event::Progress { .. } | Event::Log { .. });
        if !passes || self.waiting.load(Ordering::Relaxed) < MOST {
            self.pass_on(News::Event(Box::new(event.clone())));
        }
    }

    fn tick(&mut self) {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            self.pass_on(News::Tick);
        }
    }
}

impl Drop for Apart {
    /// Waits for as long as the rest is being told.
    fn drop(&mut self) {
        self.news = None;
        let mut left = self.waiting.load(Ordering::Relaxed);
        while let Err(RecvTimeoutError::Timeout) = self.over.recv_timeout(PATIENCE) {
            let now = self.waiting.load(Ordering::Relaxed);
            if now == left {
                return;
            }
            left = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes in nothing until it is let.
    struct Stuck(Receiver<()>, Sender<String>);

    impl Reporter for Stuck {
        fn report(&mut self, event: &Event, _: &RunState) {
            let _ = self.0.recv();
            if let Event::Notice { text } = event {
                drop(self.1.send(text.clone()));
            }
        }
    }

    #[test]
    fn who_does_not_read_holds_nothing_up_and_misses_no_fact() {
        let (let_go, held) = channel();
        let (tell, told) = channel();
        let mut apart = Apart::new(Stuck(held, tell), &[]).expect("no records fit");
        for i in 0..3 {
            let text = i.to_string();
            apart.report(&Event::Notice { text }, &RunState::default());
        }
        let log = Event::Log {
            step: "a".parse().expect("a name"),
            line: String::new(),
        };
        (0..MOST + 5).for_each(|_| apart.report(&log, &RunState::default()));
        assert_eq!(apart.waiting.load(Ordering::Relaxed), MOST, "what passes is left out");
        apart.tick();
        let text = "last".to_owned();
        apart.report(&Event::Notice { text }, &RunState::default());
        assert!(told.try_recv().is_err(), "nothing was read so far");
        drop(let_go);
        drop(apart);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), ["0", "1", "2", "last"]);
    }
}
