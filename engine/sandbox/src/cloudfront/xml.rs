//! As much XML as CloudFront's protocol needs: a tree to read from, and text to write.

use quick_xml::events::Event;
use quick_xml::{Reader, escape};

/// An element, with its text or its children.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) children: Vec<Element>,
}

impl Element {
    /// Reads a document; `None` where it is not well formed.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader::from_str(text);
        let mut open: Vec<Self> = vec![Self::default()];
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) => open.push(Self::named(start.local_name().as_ref())?),
                Event::Empty(start) => open
                    .last_mut()?
                    .children
                    .push(Self::named(start.local_name().as_ref())?),
                Event::Text(text) => open.last_mut()?.text.push_str(&text.decode().ok()?),
                Event::GeneralRef(reference) => {
                    let name = reference.decode().ok()?;
                    let unescaped = escape::unescape(&format!("&{name};")).ok()?.into_owned();
                    open.last_mut()?.text.push_str(&unescaped);
                }
                Event::End(_) => {
                    let closed = open.pop()?;
                    open.last_mut()?.children.push(closed);
                }
                Event::Eof => break,
                _ => {}
            }
        }
        let mut root = open.pop().filter(|_| open.is_empty())?;
        root.children.pop()
    }

    fn named(name: &[u8]) -> Option<Self> {
        Some(Self {
            name: std::str::from_utf8(name).ok()?.to_owned(),
            ..Self::default()
        })
    }

    /// The element at the end of a way down, such as `["Paths", "Items"]`.
    pub(super) fn at(&self, way: &[&str]) -> Option<&Self> {
        way.iter().try_fold(self, |here, name| {
            here.children.iter().find(|child| child.name == *name)
        })
    }

    /// The text at the end of a way down.
    pub(super) fn text_at(&self, way: &[&str]) -> &str {
        self.at(way).map_or("", |element| element.text.trim())
    }

    /// The children at the end of a way down.
    pub(super) fn children_at(&self, way: &[&str]) -> &[Self] {
        self.at(way).map_or(&[], |element| &element.children)
    }

    /// As text, without a declaration.
    pub(super) fn write(&self) -> String {
        let mut out = String::new();
        self.write_to(&mut out);
        out
    }

    fn write_to(&self, out: &mut String) {
        out.extend(["<", self.name.as_str(), ">"]);
        if self.children.is_empty() {
            out.push_str(&escape::escape(self.text.as_str()));
        }
        for child in &self.children {
            child.write_to(out);
        }
        out.extend(["</", self.name.as_str(), ">"]);
    }
}

/// One element with text.
pub(super) fn field(name: &str, text: impl std::fmt::Display) -> String {
    let text = text.to_string();
    format!("<{name}>{}</{name}>", escape::escape(text.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_again() {
        let text = "<A><B>x &amp; y</B><C></C><D><E>1</E><E>2</E></D></A>";
        let read = Element::parse(&format!("<?xml version=\"1.0\"?>\n{text}")).expect("well formed");
        assert_eq!(read.write(), text);
        assert_eq!(read.text_at(&["B"]), "x & y");
        assert_eq!(read.children_at(&["D"]).len(), 2);
        assert_eq!(Element::parse("<A><B></A>"), None);
    }
}
