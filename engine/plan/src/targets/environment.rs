//! The environment as expressions of a targets file see it, and its text as values of other types.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Number, Value};

use crate::input::boolean;
use crate::shape::{Kinds, Shape};
use crate::template::{Found, Lookup, Reference, Root};

/// Reads a variable, `NAME_FILE` included. An error says why it cannot be read.
pub(super) type Read<'a> = &'a dyn Fn(&str) -> Result<Option<String>, String>;

/// Looks variables up and remembers what went wrong.
pub(super) struct Environment<'a> {
    read: Read<'a>,
    /// Variables that are not set and have no default, or that cannot be read, with the reason.
    pub(super) missing: RefCell<BTreeMap<String, Option<String>>>,
}

impl<'a> Environment<'a> {
    pub(super) fn new(read: Read<'a>) -> Self {
        Self {
            read,
            missing: RefCell::new(BTreeMap::new()),
        }
    }

    /// A variable's value; where there is none and none is provided for, that is remembered.
    pub(super) fn get(&self, name: &str, guarded: bool) -> Option<String> {
        match (self.read)(name) {
            Ok(Some(value)) => Some(value),
            Ok(None) if guarded => None,
            Ok(None) => self.lost(name, None),
            Err(reason) => self.lost(name, Some(reason)),
        }
    }

    fn lost(&self, name: &str, reason: Option<String>) -> Option<String> {
        self.missing.borrow_mut().insert(name.to_owned(), reason);
        None
    }
}

impl Lookup for Environment<'_> {
    fn find(&self, reference: &Reference) -> Found {
        if reference.root != Root::Env {
            return Found::Missing;
        }
        match self.get(reference.name(), reference.guarded) {
            Some(value) => Found::Value(Value::from(value)),
            None if reference.guarded => Found::Missing,
            // It is reported as missing; the rest of the file is read on.
            None => Found::Unknown(BTreeSet::new()),
        }
    }
}

/// Text as the type that a field takes. `None` where it cannot be read so.
pub(super) fn typed(text: &str, shape: Shape<'_>) -> Option<Value> {
    let kinds = shape.kinds();
    let trimmed = text.trim();
    if kinds.meets(Kinds::TEXT) {
        return Some(Value::from(text));
    }
    if trimmed.is_empty() && kinds.meets(Kinds::NULL) {
        return Some(Value::Null);
    }
    if kinds.meets(Kinds::BOOL) {
        if let Some(value) = boolean(trimmed) {
            return Some(Value::Bool(value));
        }
    }
    if kinds.meets(Kinds::NUMBER) {
        let whole = trimmed.parse::<i64>().map(Value::from).ok();
        let number = whole.or_else(|| trimmed.parse().ok().and_then(Number::from_f64).map(Value::Number));
        if number.is_some() {
            return number;
        }
    }
    if kinds.meets(Kinds::LIST | Kinds::MAP) && trimmed.starts_with(['[', '{']) {
        return serde_json::from_str(trimmed).ok();
    }
    kinds.meets(Kinds::LIST).then(|| {
        let items = trimmed.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(Value::from).collect()
    })
}
