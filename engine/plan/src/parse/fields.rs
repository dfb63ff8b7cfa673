//! Reading the fields of a mapping: each is taken once, what is left over at the end is unknown.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::Date;
use jm_step::{InvalidName, TargetName};
use miette::SourceSpan;

use crate::code::Code;
use crate::duration;
use crate::error::{PlanError, Problems};
use crate::span::{Spanned, span};
use crate::template::{Expression, InputTemplate};
use crate::yaml::{Kind, Node};

/// Fields that are read only to say that they come later.
const NOT_YET: [&str; 1] = ["for_each"];

/// A mapping whose fields are being read.
pub(crate) struct Fields<'n, 'p> {
    node: &'n Node,
    entries: &'n [(Spanned<String>, Node)],
    what: &'static str,
    text: &'n str,
    taken: Vec<String>,
    problems: &'p mut Problems,
}

impl<'n, 'p> Fields<'n, 'p> {
    /// Opens a mapping; anything else is reported.
    pub(crate) fn open(node: &'n Node, what: &'static str, text: &'n str, problems: &'p mut Problems) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            problems.push(wrong_type(node, "a mapping").label(format!("{what} is a mapping of fields")));
            return None;
        };
        Some(Self {
            node,
            entries,
            what,
            text,
            taken: Vec::new(),
            problems,
        })
    }

    /// The mapping at another node, reporting to the same place.
    pub(crate) fn of<'q>(&'q mut self, node: &'n Node, what: &'static str) -> Option<Fields<'n, 'q>> {
        Fields::open(node, what, self.text, self.problems)
    }

    /// The mapping in a field, if it is there.
    pub(crate) fn inner<'q>(&'q mut self, key: &str, what: &'static str) -> Option<Fields<'n, 'q>> {
        let node = self.take(key)?;
        self.of(node, what)
    }

    pub(crate) fn problems(&mut self) -> &mut Problems {
        self.problems
    }

    /// Where the mapping begins.
    pub(crate) fn start(&self) -> SourceSpan {
        self.entries.first().map_or(self.node.span, |(key, _)| key.span)
    }

    /// A field, if it is there and not null.
    pub(crate) fn take(&mut self, key: &str) -> Option<&'n Node> {
        self.taken.push(key.to_owned());
        self.peek(key)
    }

    /// The same, looked at before it is taken.
    pub(crate) fn peek(&self, key: &str) -> Option<&'n Node> {
        let (_, node) = self.entries.iter().find(|(name, _)| name.value == key)?;
        (node.kind != Kind::Null).then_some(node)
    }

    /// A field that must be there.
    pub(crate) fn required(&mut self, key: &str, holds: &str) -> Option<&'n Node> {
        let found = self.take(key);
        if found.is_none() {
            let message = format!("{} needs `{key}`", self.what);
            let error = PlanError::at(Code::MissingField, self.start(), message);
            self.problems.push(error.help(format!("`{key}` is {holds}")));
        }
        found
    }

    /// Reports what was not taken.
    pub(crate) fn close(self) {
        for (key, _) in self.entries {
            if !self.taken.contains(&key.value) {
                let message = format!("{} has no field `{}`", self.what, key.value);
                let known = self
                    .taken
                    .iter()
                    .map(String::as_str)
                    .filter(|name| !NOT_YET.contains(name));
                let error = PlanError::at(Code::UnknownField, key.span, message);
                self.problems
                    .push(error.help(suggestion(&key.value, known, "the fields are")));
            }
        }
    }

    /// Reports a value of the wrong type.
    pub(crate) fn wrong(&mut self, node: &Node, expected: &str) {
        self.problems.push(wrong_type(node, expected));
    }

    pub(crate) fn list(&mut self, node: &'n Node) -> Option<&'n [Node]> {
        if let Kind::List(items) = &node.kind {
            return Some(items);
        }
        self.wrong(node, "a list");
        None
    }

    /// The entries of a mapping.
    pub(crate) fn entries(&mut self, node: &'n Node) -> Vec<(&'n Spanned<String>, &'n Node)> {
        if let Kind::Map(entries) = &node.kind {
            return entries.iter().map(|(key, value)| (key, value)).collect();
        }
        self.wrong(node, "a mapping");
        Vec::new()
    }

    /// Text; numbers and booleans are refused, for `version: 1.10` would come out as 1.1.
    pub(crate) fn as_text(&mut self, node: &Node) -> Option<Spanned<String>> {
        if let Some(text) = node.text() {
            return Some(Spanned::new(text.to_owned(), node.span));
        }
        self.wrong(node, "text");
        None
    }

    pub(crate) fn spanned_text(&mut self, key: &str) -> Option<Spanned<String>> {
        let node = self.take(key)?;
        self.as_text(node)
    }

    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        self.spanned_text(key).map(|text| text.value)
    }

    /// A list of texts; one alone is a list of one.
    pub(crate) fn texts(&mut self, key: &str) -> Vec<Spanned<String>> {
        let Some(node) = self.take(key) else { return Vec::new() };
        if let Some(text) = node.text() {
            return vec![Spanned::new(text.to_owned(), node.span)];
        }
        let items = self.list(node).unwrap_or_default();
        items.iter().filter_map(|item| self.as_text(item)).collect()
    }

    /// A list of names of steps or targets.
    pub(crate) fn ids<T: FromStr<Err = InvalidName>>(&mut self, key: &str) -> Vec<Spanned<T>> {
        let texts = self.texts(key);
        texts.into_iter().filter_map(|text| self.parse_name(&text)).collect()
    }

    /// A name of a step or a target.
    pub(crate) fn id<T: FromStr<Err = InvalidName>>(&mut self, node: &Node) -> Option<Spanned<T>> {
        let text = self.as_text(node)?;
        self.parse_name(&text)
    }

    fn parse_name<T: FromStr<Err = InvalidName>>(&mut self, text: &Spanned<String>) -> Option<Spanned<T>> {
        match text.value.parse() {
            Ok(name) => Some(Spanned::new(name, text.span)),
            Err(InvalidName(bad)) => {
                self.problems.push(invalid_name(&bad, text.span));
                None
            }
        }
    }

    /// A name such as a plan's: of the same form as a target's.
    pub(crate) fn name(&mut self, node: &Node) -> Option<Spanned<String>> {
        self.id::<TargetName>(node).map(|name| name.map(String::from))
    }

    /// Reports a name that cannot be written in an expression.
    pub(crate) fn plain_name(&mut self, name: &Spanned<String>, what: &str) {
        if !is_plain_name(&name.value) {
            let message = format!("`{}` is not a name for {what}", name.value);
            let error = PlanError::at(Code::InvalidName, name.span, message);
            let better: String = name
                .value
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
                .collect();
            let help = "a letter first, then letters, digits and `_`";
            let example = if is_plain_name(&better) {
                format!(", such as `{better}`")
            } else {
                String::new()
            };
            self.problems.push(error.help(format!("{help}{example}")));
        }
    }

    pub(crate) fn duration(&mut self, key: &str) -> Option<Spanned<Duration>> {
        let node = self.take(key)?;
        let parsed = node.text().and_then(duration::parse);
        if parsed.is_none() {
            self.invalid(
                node,
                "a duration",
                &format!("durations look like {}", duration::EXAMPLES),
            );
        }
        parsed.map(|value| Spanned::new(value, node.span))
    }

    pub(crate) fn date(&mut self, key: &str) -> Option<Spanned<Date>> {
        let node = self.take(key)?;
        let parsed = node.text().and_then(|text| text.parse().ok());
        if parsed.is_none() {
            self.invalid(node, "a date", "dates look like `2026-11-23`");
        }
        parsed.map(|value| Spanned::new(value, node.span))
    }

    /// A whole number from 1.
    pub(crate) fn count(&mut self, key: &str) -> Option<Spanned<u32>> {
        let node = self.take(key)?;
        let parsed = match &node.kind {
            Kind::Number(number) => number
                .as_u64()
                .and_then(|number| u32::try_from(number).ok())
                .filter(|n| *n >= 1),
            _ => None,
        };
        if parsed.is_none() {
            self.invalid(
                node,
                "a whole number from 1",
                "write it without quotes and without a unit",
            );
        }
        parsed.map(|value| Spanned::new(value, node.span))
    }

    pub(crate) fn boolean(&mut self, key: &str) -> Option<bool> {
        let node = self.take(key)?;
        if let Kind::Bool(value) = node.kind {
            return Some(value);
        }
        self.wrong(node, "`true` or `false`");
        None
    }

    /// A number between two others, both included.
    pub(crate) fn number(&mut self, key: &str, least: f64, most: f64) -> Option<f64> {
        let node = self.take(key)?;
        let parsed = match &node.kind {
            Kind::Number(number) => number.as_f64().filter(|n| (least..=most).contains(n)),
            _ => None,
        };
        if parsed.is_none() {
            self.invalid(
                node,
                &format!("a number from {least} to {most}"),
                "write it without quotes",
            );
        }
        parsed
    }

    /// One of some words.
    pub(crate) fn choice<T: Copy>(&mut self, node: &Node, choices: &[(&str, T)]) -> Option<T> {
        let text = self.as_text(node)?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text.value) {
            return Some(*value);
        }
        let error = PlanError::at(
            Code::InvalidValue,
            text.span,
            format!("`{}` is not possible here", text.value),
        );
        let known = choices.iter().map(|(name, _)| *name);
        self.problems
            .push(error.help(suggestion(&text.value, known, "write one of")));
        None
    }

    pub(crate) fn template(&mut self, node: &Node) -> InputTemplate {
        InputTemplate::parse(node, self.text, self.problems)
    }

    pub(crate) fn condition(&mut self, node: &Node) -> Option<Expression> {
        Expression::condition(node, self.text, self.problems)
    }

    /// Reports a value that is not what its field takes.
    pub(crate) fn invalid(&mut self, node: &Node, expected: &str, help: &str) {
        let shown = match &node.kind {
            Kind::Text(text) => format!("`{}`", shorten(text)),
            Kind::Bool(_) | Kind::Number(_) => format!("`{}`", node.to_value()),
            _ => node.what().to_owned(),
        };
        let error = PlanError::at(Code::InvalidValue, node.span, format!("{shown} is not {expected}"));
        self.problems.push(error.help(help));
    }
}

/// Whether a name can be written in an expression.
pub(crate) fn is_plain_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.len() <= 63
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn invalid_name(bad: &str, at: SourceSpan) -> PlanError {
    let better: String = bad
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let fits = better.parse::<TargetName>().is_ok();
    let example = if fits {
        format!(", such as `{better}`")
    } else {
        String::new()
    };
    PlanError::at(Code::InvalidName, at, format!("`{}` is not a name", shorten(bad))).help(format!(
        "a lower-case letter first, then lower-case letters, digits and `-`, at most 63 characters{example}"
    ))
}

pub(crate) fn wrong_type(node: &Node, expected: &str) -> PlanError {
    let error = PlanError::at(
        Code::WrongType,
        first_line(node),
        format!("{} stands where {expected} is wanted", node.what()),
    );
    match (&node.kind, expected) {
        (Kind::Text(text), _) if expected.contains("true") && scalar_looks_boolean(text) => error.help(format!(
            "write `{}`: in YAML 1.2 `{text}` is text",
            matches!(text.as_str(), "yes" | "on" | "Yes" | "On")
        )),
        (Kind::Number(_) | Kind::Bool(_), "text") => error.help("put it in quotes"),
        _ => error,
    }
}

/// Of a collection over many lines only the beginning is marked.
fn first_line(node: &Node) -> SourceSpan {
    match node.kind {
        Kind::List(_) | Kind::Map(_) => span(node.span.offset()..node.span.offset() + node.span.len().min(1)),
        _ => node.span,
    }
}

pub(crate) fn scalar_looks_boolean(text: &str) -> bool {
    ["yes", "no", "on", "off"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(text))
}

pub(crate) fn shorten(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= 60 && line.len() == text.len() {
        return line.to_owned();
    }
    line.chars().take(57).chain("...".chars()).collect()
}

/// The nearest of some names, where one is near enough to have been meant.
pub(crate) fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Of very short names every other one is near.
    let length = wrong.chars().count();
    let allowed = if length < 3 { 0 } else { (length / 3).clamp(1, 3) };
    known
        .into_iter()
        .map(|name| (strsim::osa_distance(wrong, name), name))
        .filter(|(distance, name)| *distance <= allowed || (wrong.len() > 3 && name.starts_with(wrong)))
        .min()
        .map(|(_, name)| name)
}

/// ``did you mean `x`?``, or else what there is.
pub(crate) fn suggestion<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>, otherwise: &str) -> String {
    let mut said = BTreeSet::new();
    let known: Vec<&str> = known.into_iter().filter(|name| said.insert(*name)).collect();
    if let Some(near) = did_you_mean(wrong, known.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    if known.is_empty() {
        return "there are none".to_owned();
    }
    let shown: Vec<String> = known.iter().take(24).map(|name| format!("`{name}`")).collect();
    let more = if known.len() > 24 {
        format!(" and {} more", known.len() - 24)
    } else {
        String::new()
    };
    format!("{otherwise} {}{more}", shown.join(", "))
}
