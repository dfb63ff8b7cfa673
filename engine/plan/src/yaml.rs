//! YAML text as a tree of values with places, in bounded memory.
//!
//! The events come from serde-saphyr's parser. The tree is ours, so that every value has its place, keys that stand twice
//! are found, and one mistake does not hide the others.

mod scalar;

use std::collections::{HashMap, HashSet};

use miette::SourceSpan;
use serde_json::{Map, Number, Value};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag, options};

use crate::code::Code;
use crate::error::{PlanError, Problems};
use crate::span::{Spanned, span};

/// The largest file that is read.
pub(crate) const MAX_BYTES: usize = 4 << 20;
/// The most values, counting what aliases repeat.
const MAX_NODES: usize = 200_000;
/// The deepest nesting.
const MAX_DEPTH: usize = 64;

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) span: SourceSpan,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Spanned<String>, Node)>),
}

impl Node {
    pub(crate) fn null(span: SourceSpan) -> Self {
        Self { kind: Kind::Null, span }
    }

    /// The value without its places.
    pub(crate) fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(number) => Value::Number(number.clone()),
            Kind::Text(text) => Value::String(text.clone()),
            Kind::List(items) => items.iter().map(Node::to_value).collect(),
            Kind::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| (key.value.clone(), value.to_value()));
                Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }

    /// What it is, with its article, for messages.
    pub(crate) fn what(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "a boolean",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    fn size(&self) -> usize {
        1 + match &self.kind {
            Kind::List(items) => items.iter().map(Node::size).sum(),
            Kind::Map(entries) => entries.iter().map(|(_, node)| node.size()).sum(),
            _ => 0,
        }
    }
}

/// Reads one document. Where the text is not YAML the error is reported, and what was read before it is given.
pub(crate) fn read(text: &str, problems: &mut Problems) -> Read {
    if let Err(error) = acceptable(text) {
        problems.push(error);
        return Read {
            root: Node::null(span(0..0)),
            torn: Some(0),
        };
    }
    let mut reader = Reader {
        text,
        problems,
        open: Vec::new(),
        root: None,
        anchors: HashMap::new(),
        nodes: 0,
    };
    let torn = reader.read_all();
    Read {
        root: reader.finish(),
        torn,
    }
}

/// What came of reading.
pub(crate) struct Read {
    pub(crate) root: Node,
    /// Where reading stopped, if it did: what is missing after that is not missing in the file.
    pub(crate) torn: Option<usize>,
}

fn acceptable(text: &str) -> Result<(), PlanError> {
    if text.len() > MAX_BYTES {
        let message = format!(
            "the file has {} bytes, more than the {MAX_BYTES} that are read",
            text.len()
        );
        return Err(
            PlanError::at(Code::YamlLimit, span(0..0), message).help("plans are text for people; keep data elsewhere")
        );
    }
    if text.starts_with('\u{feff}') {
        return Err(PlanError::at(
            Code::YamlUnsupported,
            span(0..3),
            "the file begins with a byte order mark",
        )
        .label("three bytes that editors do not show")
        .help("save it as UTF-8 without BOM"));
    }
    Ok(())
}

/// A collection that is not closed yet.
struct Open {
    node: Node,
    key: Option<Spanned<String>>,
    keys: HashSet<String>,
    anchor: usize,
    /// Whether the next scalar of a mapping is a key.
    wants_key: bool,
}

struct Reader<'t, 'p> {
    text: &'t str,
    problems: &'p mut Problems,
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

/// Reading cannot go on.
struct Stop(PlanError);

impl Reader<'_, '_> {
    fn read_all(&mut self) -> Option<usize> {
        let parser = Parser::new_from_str_with_options(self.text, options! { emit_comments: false });
        for next in parser {
            let done = match next {
                Ok((event, place)) => self.event(event, place),
                Err(error) => Err(Stop(self.syntax(&error))),
            };
            if let Err(Stop(error)) = done {
                let begun = self.open.iter().skip(1).map(|open| open.node.span.offset()).next();
                let torn = begun.into_iter().chain(error.offset()).min();
                self.problems.push(error);
                return torn.or(Some(0));
            }
        }
        None
    }

    /// What was read so far, with everything closed that is still open.
    fn finish(mut self) -> Node {
        while let Some(open) = self.open.pop() {
            let mut node = open.node;
            if let (Kind::Map(entries), Some(key)) = (&mut node.kind, open.key) {
                let place = key.span;
                entries.push((key, Node::null(place)));
            }
            self.attach(node);
        }
        self.root.unwrap_or_else(|| Node::null(span(0..0)))
    }

    fn event(&mut self, event: Event<'_>, place: Span) -> Result<(), Stop> {
        let at = self.place(place);
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                let error = PlanError::at(Code::YamlUnsupported, at, "the file holds more than one document");
                Err(Stop(
                    error
                        .label("the second one begins here")
                        .help("one file, one document: split it"),
                ))
            }
            Event::Scalar(value, style, anchor, tag) => {
                self.tag(tag.as_deref(), at);
                self.scalar(&value, style, anchor, at)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), at);
                self.start(Kind::List(Vec::new()), anchor, at)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), at);
                self.start(Kind::Map(Vec::new()), anchor, at)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(at),
            Event::Alias(anchor) => self.alias(anchor, at),
            _ => Ok(()),
        }
    }

    fn tag(&mut self, tag: Option<&Tag>, at: SourceSpan) {
        if let Some(tag) = tag {
            let message = format!("the tag `{}` is not possible in a plan", tag.original());
            self.problems
                .push(PlanError::at(Code::YamlUnsupported, at, message).help("write the value without a tag"));
        }
    }

    fn scalar(&mut self, value: &str, style: ScalarStyle, anchor: usize, at: SourceSpan) -> Result<(), Stop> {
        if self.wants_key() {
            return self.key(value, at);
        }
        let kind = if style == ScalarStyle::Plain {
            scalar::resolve(value)
        } else {
            Kind::Text(value.to_owned())
        };
        self.add(Node { kind, span: at }, anchor)
    }

    fn wants_key(&self) -> bool {
        self.open.last().is_some_and(|open| open.wants_key)
    }

    fn key(&mut self, name: &str, at: SourceSpan) -> Result<(), Stop> {
        self.count(1, at)?;
        let Some(open) = self.open.last_mut() else {
            return Ok(());
        };
        open.wants_key = false;
        if name == "<<" {
            let error = PlanError::at(Code::YamlUnsupported, at, "merge keys are not part of YAML 1.2");
            self.problems
                .push(error.help("write the fields out, or use an alias for the whole value"));
            return Ok(());
        }
        if !open.keys.insert(name.to_owned()) {
            let error = duplicate_key(&open.node, name, at);
            self.problems.push(error);
        }
        open.key = Some(Spanned::new(name.to_owned(), at));
        Ok(())
    }

    fn start(&mut self, kind: Kind, anchor: usize, at: SourceSpan) -> Result<(), Stop> {
        if self.wants_key() {
            return Err(Stop(key_is_no_text(at)));
        }
        if self.open.len() >= MAX_DEPTH {
            let message = format!("the values are nested more than {MAX_DEPTH} levels deep");
            return Err(Stop(PlanError::at(Code::YamlLimit, at, message)));
        }
        self.count(1, at)?;
        let wants_key = matches!(kind, Kind::Map(_));
        self.open.push(Open {
            node: Node { kind, span: at },
            key: None,
            keys: HashSet::new(),
            anchor,
            wants_key,
        });
        Ok(())
    }

    fn end(&mut self, at: SourceSpan) -> Result<(), Stop> {
        let Some(mut open) = self.open.pop() else { return Ok(()) };
        // A block collection's end is where the next thing begins; what belongs to it ends with its last value.
        let end = last_byte(&open.node).max(flow_end(self.text, at));
        open.node.span = span(open.node.span.offset()..end.max(open.node.span.offset()));
        self.nodes -= 1;
        self.add(open.node, open.anchor)
    }

    fn alias(&mut self, anchor: usize, at: SourceSpan) -> Result<(), Stop> {
        if self.wants_key() {
            return Err(Stop(key_is_no_text(at)));
        }
        let Some((node, size)) = self.anchors.get(&anchor) else {
            let error = PlanError::at(Code::YamlSyntax, at, "the alias stands inside the value that it names");
            return Err(Stop(error));
        };
        let (node, size) = (node.clone(), *size);
        self.count(size, at)?;
        self.nodes -= 1;
        self.add(node, 0)
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        self.count(1, node.span)?;
        if anchor > 0 {
            let size = node.size();
            // The copy that is kept is memory too.
            self.count(size, node.span)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        self.attach(node);
        Ok(())
    }

    fn attach(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut open.node.kind {
            Kind::List(items) => items.push(node),
            Kind::Map(entries) => {
                open.wants_key = true;
                if let Some(key) = open.key.take() {
                    entries.push((key, node));
                }
            }
            _ => {}
        }
    }

    fn count(&mut self, more: usize, at: SourceSpan) -> Result<(), Stop> {
        self.nodes += more;
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        let message = format!("the file has more than {MAX_NODES} values, counting what aliases repeat");
        Err(Stop(
            PlanError::at(Code::YamlLimit, at, message).label("here it goes over the limit"),
        ))
    }

    fn place(&self, place: Span) -> SourceSpan {
        let bytes = place.byte_range().unwrap_or(0..0);
        let slice = self.text.get(bytes.clone()).unwrap_or_default();
        span(bytes.start..bytes.start + slice.trim_end().len())
    }

    fn syntax(&self, error: &ScanError) -> PlanError {
        let start = error
            .marker()
            .byte_offset()
            .unwrap_or(self.text.len())
            .min(self.text.len());
        let line = self
            .text
            .get(start..)
            .and_then(|rest| rest.lines().next())
            .unwrap_or_default();
        let at = span(start..start + line.trim_end().len().min(40));
        let found = PlanError::at(
            Code::YamlSyntax,
            at,
            format!("this is not YAML: {}", error.info().replace('\n', " ")),
        );
        let before = &self.text[..start];
        let this_line = &self.text[before.rfind('\n').map_or(0, |newline| newline + 1)..];
        let indent: String = this_line.chars().take_while(|c| c.is_whitespace()).collect();
        if indent.contains('\t') {
            return found.help("indentation is made of spaces: replace the tabs");
        }
        found.label("reading stopped here")
    }
}

fn duplicate_key(map: &Node, name: &str, at: SourceSpan) -> PlanError {
    let error = PlanError::at(
        Code::YamlDuplicateKey,
        at,
        format!("the key `{name}` stands here twice"),
    )
    .label("again");
    let first = match &map.kind {
        Kind::Map(entries) => entries.iter().find(|(key, _)| key.value == name),
        _ => None,
    };
    let error = error.help("remove one of the two");
    match first {
        Some((key, _)) => error.also(key.span, "first here"),
        None => error,
    }
}

fn key_is_no_text(at: SourceSpan) -> PlanError {
    PlanError::at(
        Code::YamlUnsupported,
        at,
        "a key is text, and this is a collection or an alias",
    )
    .help("a value that begins with `{` or `[` needs quotes")
}

fn last_byte(node: &Node) -> usize {
    let last = match &node.kind {
        Kind::List(items) => items.last().map(|item| item.span),
        Kind::Map(entries) => entries.last().map(|(key, value)| match value.kind {
            Kind::Null => key.span,
            _ => value.span,
        }),
        _ => None,
    };
    last.map_or(0, |span| span.offset() + span.len())
}

/// The end of `]` or `}`, 0 where the collection has none.
fn flow_end(text: &str, at: SourceSpan) -> usize {
    let bracket = text
        .as_bytes()
        .get(at.offset())
        .is_some_and(|byte| matches!(byte, b']' | b'}'));
    if bracket { at.offset() + 1 } else { 0 }
}

#[cfg(test)]
mod tests;
