//! Names and values as SQL text, for the statements that take no parameters.

use std::fmt;
use std::str::FromStr;

use jm_step::StepError;

/// An identifier, always quoted: `"my db"`.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text value. Right whatever `standard_conforming_strings` says.
pub fn literal(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    if quoted.contains('\\') {
        format!(" E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// A table, sequence, view or index, with the schema it is in. Reads and shows as SQL writes it: `public.users`,
/// `"Odd Schema".users`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelationName {
    /// Its schema.
    pub schema: String,
    /// Its own name.
    pub name: String,
}

impl RelationName {
    /// A relation in a schema.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            schema: schema.into(),
            name: name.into(),
        }
    }

    /// For a statement: both parts quoted.
    pub fn sql(&self) -> String {
        format!("{}.{}", ident(&self.schema), ident(&self.name))
    }
}

impl fmt::Display for RelationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", shown(&self.schema), shown(&self.name))
    }
}

impl FromStr for RelationName {
    type Err = StepError;

    /// A name without a schema is in `public`. Unquoted parts are folded to lower case, as the server does.
    fn from_str(text: &str) -> Result<Self, StepError> {
        let parts = parts(text).ok_or_else(|| {
            StepError::invalid_input(format!("`{text}` is not a relation's name"))
                .hint("write `users`, `public.users` or `\"Odd Schema\".\"Odd Name\"`")
        })?;
        match <[String; 2]>::try_from(parts) {
            Ok([schema, name]) => Ok(Self { schema, name }),
            Err(mut one) => Ok(Self::new("public", one.swap_remove(0))),
        }
    }
}

/// As people write it: quoted only where it has to be. Reserved words are not told from others.
fn shown(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '$');
    if plain { name.to_owned() } else { ident(name) }
}

/// One or two identifiers with a dot between them.
fn parts(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (part, after) = part(rest)?;
        parts.push(part);
        match after.strip_prefix('.') {
            Some(next) if parts.len() < 2 => rest = next,
            None if after.is_empty() => return Some(parts),
            _ => return None,
        }
    }
}

fn part(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find('.').unwrap_or(text.len());
        let part = &text[..end];
        let bad = part.is_empty() || part.contains(|c: char| c == '"' || c.is_whitespace() || c == '\0');
        return (!bad).then(|| (part.to_lowercase(), &text[end..]));
    };
    let mut name = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c != '"' {
            name.push(c);
        } else if chars.next_if(|(_, next)| *next == '"').is_some() {
            name.push('"');
        } else {
            return (!name.is_empty() && !name.contains('\0')).then(|| (name, &quoted[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_read_as_sql_reads_them() {
        for (text, schema, name) in [
            ("users", "public", "users"),
            ("App.Users", "app", "users"),
            ("\"Odd \"\"s\".\"T.x\"", "Odd \"s", "T.x"),
        ] {
            assert_eq!(
                text.parse::<RelationName>().expect(text),
                RelationName::new(schema, name)
            );
        }
        for bad in ["", "a.b.c", "a.", ".a", "\"a", "a b", "\"\"", "\"a\"b"] {
            assert!(bad.parse::<RelationName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn values_cannot_leave_their_quotes() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\'b"), r" E'a\\''b'");
        assert_eq!(ident("a\"b"), "\"a\"\"b\"");
    }

    proptest! {
        #[test]
        fn every_name_shows_so_that_it_reads_back(schema in "[^\\x00]{1,20}", name in "[^\\x00]{1,20}") {
            let relation = RelationName::new(schema, name);
            prop_assert_eq!(&relation.to_string().parse::<RelationName>().expect("shown"), &relation);
            prop_assert_eq!(&relation.sql().parse::<RelationName>().expect("sql"), &relation);
        }
    }
}
