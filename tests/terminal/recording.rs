//! What a terminal showed, from the first byte to the last: each picture that stood for a moment.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// After so long without a byte, what is shown is a picture, whatever the last byte was.
const SILENCE: Duration = Duration::from_millis(15);
/// The terminal hands on at least so many bytes of one write together, apart from where a line ends.
const WHOLE: usize = 1_500;
/// So long after a step began, or ended, its line has to be there, or gone. jm draws ten times a second; the rest is for
/// a machine with other work to do.
const PATIENCE: f64 = 1.0;
/// The words with which the line of a step under way begins.
const WORDS: [&str; 4] = ["running", "retry", "probing", "WAITS"];

/// A picture, and from when to when it stood.
pub(super) struct View {
    pub(super) lines: Vec<String>,
    from: f64,
    to: f64,
    /// The first line that the terminal had to break.
    wrapped: Option<String>,
}

/// When a step was under way, in seconds of the clock.
#[derive(Debug)]
pub(super) struct UnderWay {
    step: String,
    from: f64,
    to: f64,
}

/// All of it.
pub(super) struct Recording {
    pub(super) views: Vec<View>,
    pub(super) code: Option<i32>,
    bytes: Vec<u8>,
    columns: u16,
}

/// How many bytes were read since a write of jm ended for sure.
#[derive(Default)]
struct Unended(usize);

impl Unended {
    /// Whether a write of jm ends where this chunk does, so that a person could see what is shown now.
    ///
    /// jm writes a frame at once, but a chunk may be a part of it: Linux takes each `\n` out of what is written and hands
    /// it on by itself, and it cuts what is long. So a chunk that ends within or after a `\r\n` tells nothing, nor does
    /// one that is too long to be whole; they are looked at with the next chunk, or after a silence. Any other chunk
    /// ends with its write: a frame, which has no line end after its last line, or the clearing of what moved, which
    /// ends with a movement of the cursor. It is not asked whether the picture looks whole, for what is torn by jm itself
    /// has to be seen.
    fn ended(&mut self, chunk: &[u8]) -> bool {
        self.0 += chunk.len();
        let ended = self.0 < WHOLE && !matches!(chunk.last(), Some(b'\r' | b'\n'));
        if ended {
            self.0 = 0;
        }
        ended
    }
}

fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64())
}

impl Recording {
    /// Runs jm with these words at a terminal, in a folder. `jm` brings the program and its environment.
    pub(super) fn of(
        jm: Command,
        folder: &Path,
        words: &str,
        size: (u16, u16),
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        Self::with_keys(jm, folder, words, size, variables, &[], Duration::ZERO)
    }

    /// The same with somebody at the keyboard: once these words have stood on the screen for so long, those keys are
    /// pressed, pair by pair. How the terminal read when jm had ended is in the file `modes`.
    pub(super) fn with_keys(
        jm: Command,
        folder: &Path,
        words: &str,
        (rows, columns): (u16, u16),
        variables: &[(&str, &str)],
        keys: &[(&str, &str)],
        hesitates: Duration,
    ) -> Result<Self> {
        let program = jm.get_program().to_string_lossy().into_owned();
        let modes = folder.join("modes");
        let size = format!("stty rows {rows} cols {columns}");
        let line = if keys.is_empty() {
            format!("{size}; exec '{program}' {words}")
        } else {
            // The shell gets the same signals from the keyboard, and is to see the end.
            let after = format!("code=$?; stty -a >'{}'; exit $code", modes.display());
            format!("{size}; trap : INT; '{program}' {words}; {after}")
        };
        let mut keys = keys.iter();
        let mut next = keys.next();
        let mut since = None;
        let mut script = Command::new("script");
        script
            .env_clear()
            .envs(jm.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/sh")
            .envs(variables.iter().copied())
            .args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = script.spawn().context("`script` of util-linux makes the terminal")?;
        // Held open: a person sits there, even if nothing is typed.
        let mut keyboard = child.stdin.take().context("the keyboard")?;
        let mut screen = child.stdout.take().context("what is shown")?;
        let (tell, told) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            // Larger than any frame: each read is all that there was to be seen.
            let mut buffer = vec![0; 65_536];
            while let Ok(count @ 1..) = screen.read(&mut buffer) {
                if tell.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        let mut terminal = vt100::Parser::new(rows, columns, 0);
        let mut recording = Self {
            views: Vec::new(),
            code: None,
            bytes: Vec::new(),
            columns,
        };
        let mut unended = Unended::default();
        let began = Instant::now();
        loop {
            ensure!(
                began.elapsed() < Duration::from_secs(90),
                "it does not end: {}",
                recording.text()
            );
            match told.recv_timeout(SILENCE) {
                Ok(bytes) => {
                    terminal.process(&bytes);
                    if unended.ended(&bytes) {
                        recording.look(terminal.screen())?;
                    }
                    recording.bytes.extend(bytes);
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    unended = Unended::default();
                    recording.look(terminal.screen())?;
                }
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
            }
            let is_seen = |words: &str| recording.views.last().is_some_and(|view| view.shows_words(words));
            if let Some((_, pressed)) = next.filter(|(seen, _)| is_seen(seen)) {
                if since.get_or_insert_with(Instant::now).elapsed() < hesitates {
                    continue;
                }
                keyboard.write_all(pressed.as_bytes()).and_then(|()| keyboard.flush())?;
                next = keys.next();
                since = None;
            }
        }
        ensure!(next.is_none(), "never seen: {next:?}: {}", recording.text());
        recording.look(terminal.screen())?;
        recording.code = child.wait()?.code();
        drop(reader.join());
        Ok(recording)
    }

    /// Keeps what is shown now, where it is not what was shown before.
    fn look(&mut self, screen: &vt100::Screen) -> Result<()> {
        let (rows, columns) = screen.size();
        let lines: Vec<String> = screen.rows(0, columns).collect();
        let now = now()?;
        if let Some(last) = self.views.last_mut() {
            last.to = now;
            if last.lines == lines {
                return Ok(());
            }
        }
        let wrapped = (0..rows).find(|row| screen.row_wrapped(*row));
        self.views.push(View {
            wrapped: wrapped.map(|row| lines[usize::from(row)].clone()),
            lines,
            from: now,
            to: now,
        });
        Ok(())
    }

    /// All that was written to the terminal.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(super) fn last(&self) -> &View {
        self.views.last().expect("a view was kept at the end")
    }

    /// Whether a colour, or a weight, was ever asked for.
    pub(super) fn is_coloured(&self) -> bool {
        self.escapes().any(|escape| escape.ends_with('m'))
    }

    fn escapes(&self) -> impl Iterator<Item = String> {
        let text = self.text();
        let parts: Vec<String> = text.split("\u{1b}[").skip(1).map(str::to_owned).collect();
        parts.into_iter().map(|part| {
            let end = part
                .find(|c: char| c.is_ascii_alphabetic())
                .map_or(part.len(), |end| end + 1);
            part[..end].to_owned()
        })
    }

    /// No line was ever longer than the terminal is wide: neither in a picture, nor in what was written.
    pub(super) fn wraps_nowhere(&self) -> Result<()> {
        let wrapped = self.views.iter().find_map(|view| view.wrapped.as_ref());
        ensure!(wrapped.is_none(), "the terminal had to break {wrapped:?}");
        let mut text = self.text();
        for escape in self.escapes() {
            text = text.replacen(&format!("\u{1b}[{escape}"), "", 1);
        }
        let width = usize::from(self.columns);
        let long = text.split(['\r', '\n']).find(|line| line.chars().count() > width);
        ensure!(long.is_none(), "longer than {width} columns: {long:?}");
        Ok(())
    }

    /// Each step had a line for as long as it was under way, and none when it was not.
    pub(super) fn shows(&self, live: &[UnderWay]) -> Result<()> {
        for view in &self.views {
            let shown = view.steps();
            for step in live {
                let overlaps = view.from < step.to && step.from + PATIENCE < view.to;
                ensure!(
                    !overlaps || shown.iter().any(|(_, name)| *name == step.step),
                    "no line for `{}`, {:.1}s after it began:\n{}",
                    step.step,
                    view.to - step.from,
                    view.lines.join("\n")
                );
            }
            for (_, name) in &shown {
                let lives = |step: &UnderWay| step.step == *name && view.from < step.to + PATIENCE;
                ensure!(
                    live.iter().any(lives),
                    "`{name}` has a line, and is not under way:\n{}",
                    view.lines.join("\n")
                );
            }
        }
        Ok(())
    }

    /// A line that was there is there in the next picture too, if its step has not ended: nothing is cleared and drawn
    /// anew before somebody's eyes.
    pub(super) fn does_not_flicker(&self, live: &[UnderWay]) -> Result<()> {
        for pair in self.views.windows(2) {
            let after = pair[1].steps();
            let has_ended = |name: &str| live.iter().any(|step| step.step == name && step.to <= pair[1].from);
            for (_, name) in pair[0].steps() {
                ensure!(
                    after.iter().any(|(_, still)| *still == name) || has_ended(&name),
                    "the line of `{name}` goes, and it has not ended:\n{}\n--- then\n{}",
                    pair[0].lines.join("\n"),
                    pair[1].lines.join("\n")
                );
            }
        }
        Ok(())
    }

    /// Lines keep their order, new ones come below, and none moves where no other came or went.
    pub(super) fn does_not_jump(&self) -> Result<()> {
        for pair in self.views.windows(2) {
            let (before, after) = (pair[0].steps(), pair[1].steps());
            let names =
                |steps: &[(usize, String)]| -> Vec<String> { steps.iter().map(|(_, name)| name.clone()).collect() };
            let (old, new) = (names(&before), names(&after));
            let pictures = || format!("{}\n--- then\n{}", pair[0].lines.join("\n"), pair[1].lines.join("\n"));
            let stayed: Vec<&String> = old.iter().filter(|name| new.contains(name)).collect();
            let kept: Vec<&String> = new.iter().filter(|name| old.contains(name)).collect();
            ensure!(stayed == kept, "lines changed places:\n{}", pictures());
            ensure!(
                new.iter().take(kept.len()).eq(kept.iter().copied()),
                "a line came above others:\n{}",
                pictures()
            );
            let is_gapless = after.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0);
            ensure!(is_gapless, "lines are torn apart:\n{}", pictures());
            let above =
                |view: &View, steps: &[(usize, String)]| steps.first().map(|(row, _)| view.lines[..*row].to_vec());
            if old == new && above(&pair[0], &before) == above(&pair[1], &after) {
                ensure!(
                    before == after,
                    "a line moved, and nothing else came or went:\n{}",
                    pictures()
                );
            }
        }
        Ok(())
    }
}

impl View {
    /// Whether these words stand on one of its lines.
    pub(super) fn shows_words(&self, words: &str) -> bool {
        self.lines.iter().any(|line| line.contains(words))
    }

    /// The rows that are the lines of steps under way, with the steps' names.
    fn steps(&self) -> Vec<(usize, String)> {
        // What is kept may begin with the same words; what moves ends with the line of the whole.
        let Some(whole) = self
            .lines
            .iter()
            .rposition(|line| line.contains(" · ") && line.contains(" steps"))
        else {
            return Vec::new();
        };
        let name = |row: usize| {
            let mut words = self.lines[row].split_whitespace();
            let (word, name, time) = (words.next()?, words.next()?, words.next()?);
            // So far they may read alike; what moves goes on with a time.
            let is_time = time.starts_with(|c: char| c.is_ascii_digit()) && time.ends_with(['s', 'm', 'h']);
            (WORDS.contains(&word) && is_time).then(|| name.to_owned())
        };
        let mut steps: Vec<_> = (0..whole).rev().map_while(|row| Some((row, name(row)?))).collect();
        steps.reverse();
        steps
    }

    /// The line of a step under way.
    pub(super) fn line_of(&self, step: &str) -> Option<&str> {
        let (row, _) = self.steps().into_iter().find(|(_, name)| name == step)?;
        self.lines.get(row).map(String::as_str)
    }

    /// The last line in which anything stands.
    pub(super) fn bottom(&self) -> Option<&str> {
        let mut lines = self.lines.iter().map(String::as_str);
        lines.rfind(|line| !line.trim().is_empty())
    }

    /// Its words without numbers, which differ from run to run.
    pub(super) fn words(&self) -> Vec<String> {
        let is_word = |word: &&str| !word.contains(|c: char| c.is_ascii_digit() || c == '█');
        let words = self.lines.iter().flat_map(|line| line.split_whitespace());
        words.filter(is_word).map(str::to_owned).collect()
    }
}

/// When each step was under way, by the events. `already` were so when the run was taken up.
pub(super) fn under_way(events: &[Value], already: &[&str]) -> Result<Vec<UnderWay>> {
    let records: Vec<&Value> = events.iter().filter(|event| event["event"] == "recorded").collect();
    let at = |record: &Value| -> Result<f64> {
        let at: jiff::Timestamp = record["at"].as_str().context("a time")?.parse()?;
        Ok(at.as_duration().as_secs_f64())
    };
    let mut live: Vec<UnderWay> = Vec::new();
    let mut open: Vec<(String, f64)> = Vec::new();
    for record in records {
        let now = at(record)?;
        let step = record["step"].as_str().unwrap_or_default();
        match record["kind"].as_str() {
            Some("run-resumed") => open.extend(already.iter().map(|step| ((*step).to_owned(), now))),
            Some("step-started") if open.iter().all(|(name, _)| name != step) => open.push((step.to_owned(), now)),
            Some("step-succeeded" | "step-failed" | "step-undone") if record["will_retry"].is_null() => {
                let ended = open.iter().position(|(name, _)| name == step);
                live.extend(
                    ended
                        .map(|at| open.remove(at))
                        .map(|(step, from)| UnderWay { step, from, to: now }),
                );
            }
            _ => {}
        }
    }
    ensure!(open.is_empty(), "never ended: {open:?}");
    Ok(live)
}
