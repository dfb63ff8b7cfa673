//! Following the log of a container: its lines as they come, over connections that may break.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt};
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use jm_step::{StepError, StepErrorKind};
use kube::api::LogParams;
use tokio::time::Instant;

use super::{LogRequest, Reader};
use crate::error::step_error;

/// Between two connections.
const PAUSE: Duration = Duration::from_secs(1);
/// An API server that does not answer for as long as this is down.
const PATIENCE: Duration = Duration::from_mins(1);
/// The most bytes of one line; the rest of it is left out.
const LONGEST: usize = 16 * 1024;

/// What comes of a log that is followed.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// A line.
    Line(String),
    /// There is no log yet, and this is the API server's word why. It is asked again.
    Waiting(String),
}

/// A log that is followed.
pub struct Following {
    reader: Reader,
    pod: String,
    wanted: LogRequest,
    lines: Option<Lines>,
    /// Whether the next connection is to be waited for.
    rests: bool,
    place: Place,
    /// Since when the API server has not answered.
    away: Option<Instant>,
}

impl Reader {
    /// Follows a container's log: from its last lines on, through restarts of the container, until the pod is over.
    pub fn follow(&self, pod: &str, wanted: &LogRequest) -> Following {
        Following {
            reader: self.clone(),
            pod: pod.to_owned(),
            wanted: wanted.clone(),
            lines: None,
            rests: false,
            place: Place::default(),
            away: None,
        }
    }
}

impl Following {
    /// The next line, or what is waited for; `None` once the pod is over, or gone. A connection that breaks is made anew, and
    /// no line is given out twice for it, or left out.
    pub async fn next(&mut self) -> Result<Option<Heard>, StepError> {
        loop {
            let Some(lines) = &mut self.lines else {
                if std::mem::take(&mut self.rests) {
                    tokio::time::sleep(PAUSE).await;
                }
                if self.is_over().await? {
                    return Ok(None);
                }
                if let Some(why) = self.connect().await? {
                    return Ok(Some(Heard::Waiting(why)));
                }
                continue;
            };
            if let Ok(Some(line)) = lines.next().await {
                if let Some(text) = self.place.take(&line) {
                    return Ok(Some(Heard::Line(text)));
                }
            } else {
                self.lines = None;
                self.place.is_left();
                // What is over says so at once; a container that starts again, or a server that was away, takes a moment.
                if self.is_over().await? {
                    return Ok(None);
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Makes a connection, or tells why there is nothing to connect to yet.
    async fn connect(&mut self) -> Result<Option<String>, StepError> {
        let doing = format!("cannot follow the log of pod `{}`", self.pod);
        let parameters = self.place.parameters(&self.wanted);
        let opened = self.reader.pod_api().log_stream(&self.pod, &parameters).await;
        match opened.map_err(|error| step_error(&doing, error)) {
            Ok(stream) => {
                self.away = None;
                self.lines = Some(Lines::of(stream));
                Ok(None)
            }
            // Its container has not started yet; or it never will, or went in this very moment, which the next look sees.
            Err(error) if matches!(error.kind(), StepErrorKind::InvalidInput | StepErrorKind::NotFound) => {
                self.place.was_asked = true;
                self.rests = true;
                Ok(Some(error.message().to_owned()))
            }
            Err(error) => self.wait(error).await.map(|()| None),
        }
    }

    /// Whether nothing more can come: the pod has ended, or is gone.
    async fn is_over(&mut self) -> Result<bool, StepError> {
        match self.reader.pod(&self.pod).await {
            Ok(pod) => {
                self.away = None;
                let phase = pod.status.and_then(|status| status.phase).unwrap_or_default();
                // The log of one that had ended before anything was read is still to be told.
                Ok(self.place.was_asked && matches!(phase.as_str(), "Succeeded" | "Failed"))
            }
            Err(error) if error.kind() == StepErrorKind::NotFound && self.place.was_asked => Ok(true),
            Err(error) => self.wait(error).await.map(|()| false),
        }
    }

    /// Waits where the API server is away for a while.
    async fn wait(&mut self, error: StepError) -> Result<(), StepError> {
        let since = *self.away.get_or_insert_with(Instant::now);
        if error.kind() != StepErrorKind::Unavailable || since.elapsed() >= PATIENCE {
            return Err(error);
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

/// How far a log was read, by the times that the node gave its lines.
#[derive(Debug, Default)]
struct Place {
    /// Whether the pod was there, and what there is of its log was asked for.
    was_asked: bool,
    /// The time of the last line.
    last: Option<Timestamp>,
    /// How many lines of that time were given out.
    at_last: usize,
    /// After a connection was made anew: how many lines of that time are yet to come a second time. `None` once there are
    /// new ones.
    again: Option<usize>,
}

impl Place {
    /// What is asked for: at first the last lines, then all from the last one on.
    fn parameters(&self, wanted: &LogRequest) -> LogParams {
        let first = self.last.is_none();
        let seconds = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        LogParams {
            container: wanted.container.clone(),
            follow: true,
            timestamps: true,
            tail_lines: first.then_some(wanted.lines.into()),
            since_seconds: wanted.since.filter(|_| first).map(seconds),
            // Whole seconds are asked for; half of one more could leave lines out.
            since_time: self.last.map(|last| last.round(second_before()).unwrap_or(last)),
            ..LogParams::default()
        }
    }

    /// The connection is over.
    fn is_left(&mut self) {
        self.was_asked = true;
        self.again = self.last.map(|_| self.at_last);
    }

    /// The text of a line; `None` of one that was given out before.
    fn take(&mut self, line: &str) -> Option<String> {
        let stamped = line.split_once(' ').unwrap_or((line, ""));
        let (Ok(at), text) = (stamped.0.parse::<Timestamp>(), stamped.1) else {
            return Some(line.to_owned());
        };
        if let (Some(left), Some(last)) = (self.again, self.last) {
            if at < last {
                return None;
            }
            if at == last && left > 0 {
                self.again = Some(left - 1);
                return None;
            }
            self.again = None;
        }
        self.at_last = if self.last == Some(at) { self.at_last + 1 } else { 1 };
        self.last = Some(at);
        Some(text.to_owned())
    }
}

fn second_before() -> TimestampRound {
    TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Trunc)
}

/// Lines of bounded length.
struct Lines {
    stream: Pin<Box<dyn AsyncBufRead + Send>>,
    line: Vec<u8>,
}

impl Lines {
    fn of(stream: impl AsyncBufRead + Send + 'static) -> Self {
        Self {
            stream: Box::pin(stream),
            line: Vec::new(),
        }
    }

    /// The next whole line. What stands behind the last one of a connection may be half of one, and comes again.
    async fn next(&mut self) -> io::Result<Option<String>> {
        loop {
            let bytes = self.stream.fill_buf().await?;
            if bytes.is_empty() {
                return Ok(None);
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            let room = LONGEST.saturating_sub(self.line.len()).min(part.len());
            self.line.extend_from_slice(&part[..room]);
            let taken = part.len() + usize::from(end.is_some());
            self.stream.consume_unpin(taken);
            if end.is_some() {
                let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
                return Ok(Some(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(place: &mut Place, lines: &[&str]) -> Vec<String> {
        lines.iter().filter_map(|line| place.take(line)).collect()
    }

    #[test]
    fn lines_that_come_twice_are_given_out_once() {
        let mut place = Place::default();
        let first = [
            "2026-11-26T10:00:00.7Z a",
            "2026-11-26T10:00:00.9Z b",
            "2026-11-26T10:00:00.9Z b",
        ];
        assert_eq!(taken(&mut place, &first), ["a", "b", "b"]);
        place.is_left();
        let asked = place.parameters(&LogRequest::default());
        assert_eq!(asked.since_time, Some("2026-11-26T10:00:00Z".parse().expect("a time")));
        let again = [
            first[0],
            first[1],
            first[2],
            "2026-11-26T10:00:00.9Z c",
            "2026-11-26T10:00:01Z d",
        ];
        assert_eq!(taken(&mut place, &again), ["c", "d"]);
        // A clock that is set back while the connection holds loses nothing.
        assert_eq!(taken(&mut place, &["2026-11-26T09:00:00Z e"]), ["e"]);
        place.is_left();
        assert_eq!(
            taken(&mut place, &["2026-11-26T09:00:00Z e", "2026-11-26T09:00:01Z f"]),
            ["f"]
        );
    }

    #[tokio::test]
    async fn lines_are_whole_and_bounded() {
        let long = "x".repeat(LONGEST + 5);
        let text = format!("one\n\n{long}\nhalf");
        let mut lines = Lines::of(futures::io::Cursor::new(text.into_bytes()));
        let mut read = Vec::new();
        while let Some(line) = lines.next().await.expect("it is in memory") {
            read.push(line);
        }
        assert_eq!(read, ["one", "", &long[..LONGEST]]);
    }
}
