//! Sets of JSON types.

use std::ops::{BitAnd, BitOr};

use serde_json::Value;

/// A set of types that a value can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds(u8);

impl Kinds {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const NULL: Self = Self(1);
    pub(crate) const BOOL: Self = Self(2);
    pub(crate) const INTEGER: Self = Self(4);
    pub(crate) const FRACTION: Self = Self(8);
    pub(crate) const NUMBER: Self = Self(12);
    pub(crate) const TEXT: Self = Self(16);
    pub(crate) const LIST: Self = Self(32);
    pub(crate) const MAP: Self = Self(64);
    pub(crate) const ANY: Self = Self(127);

    /// The type of a value.
    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOL,
            // `3.0` is no whole number to the decoders of step types.
            Value::Number(number) if number.is_f64() => Self::FRACTION,
            Value::Number(_) => Self::INTEGER,
            Value::String(_) => Self::TEXT,
            Value::Array(_) => Self::LIST,
            Value::Object(_) => Self::MAP,
        }
    }

    pub(super) fn of_type_keyword(keyword: &Value) -> Self {
        match keyword {
            Value::Array(types) => types
                .iter()
                .map(Self::of_type_keyword)
                .fold(Self::NONE, |all, one| all | one),
            Value::String(name) => match name.as_str() {
                "null" => Self::NULL,
                "boolean" => Self::BOOL,
                "integer" => Self::INTEGER,
                "number" => Self::NUMBER,
                "string" => Self::TEXT,
                "array" => Self::LIST,
                "object" => Self::MAP,
                _ => Self::ANY,
            },
            _ => Self::ANY,
        }
    }

    /// Whether the two have a type in common.
    pub(crate) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// What is in this set and not in the other.
    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// For people: `text or a list`.
    pub(crate) fn shown(self) -> String {
        let number = (Self::NUMBER, "a number");
        let names = [
            (Self::TEXT, "text"),
            (Self::BOOL, "`true` or `false`"),
            if self.meets(Self::FRACTION) {
                number
            } else {
                (Self::INTEGER, "a whole number")
            },
            (Self::LIST, "a list"),
            (Self::MAP, "a mapping"),
        ];
        let shown: Vec<&str> = names
            .iter()
            .filter(|(kind, _)| self.meets(*kind))
            .map(|(_, name)| *name)
            .collect();
        match shown.split_last() {
            None => "nothing".to_owned(),
            Some((only, [])) => (*only).to_owned(),
            Some((last, before)) => format!("{} or {last}", before.join(", ")),
        }
    }
}

impl BitAnd for Kinds {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Kinds {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
