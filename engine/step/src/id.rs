//! Names: of steps, targets and runs. Parsed once, then trusted.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A name that does not follow `[a-z][a-z0-9-]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a name: a name starts with a lower-case letter, goes on with lower-case letters, digits and `-`, and has at most 63 characters"
)]
pub struct InvalidName(pub String);

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    text.len() <= 63
        && chars.next().is_some_and(|first| first.is_ascii_lowercase())
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The name as it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                if is_name(text) { Ok(Self(text.into())) } else { Err(InvalidName(text.to_owned())) }
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.to_string()
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": "^[a-z][a-z0-9-]{0,62}$" })
            }
        }
    };
}

name! {
    /// A step's name in its plan, by which the journal knows it: never an index, so that an old journal keeps its meaning.
    StepId
}
name! {
    /// The name by which a plan calls a system; the targets file binds it to an address.
    TargetName
}

/// One execution of a plan. Sorts by the time it was opened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct RunId(String);

impl RunId {
    /// A new id, unlike every other.
    pub fn generate() -> Self {
        Self(ulid::Ulid::new().to_string().to_lowercase())
    }

    /// The id as text: 26 characters, lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last eight characters: enough for a name on a server, since they are random.
    pub fn short(&self) -> &str {
        &self.0[self.0.len() - 8..]
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RunId {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        ulid::Ulid::from_string(&text.to_uppercase())
            .map(|id| Self(id.to_string().to_lowercase()))
            .map_err(|_| InvalidName(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_where_they_enter() {
        for good in ["a", "put-back", "a1", &"a".repeat(63)] {
            assert_eq!(good.parse::<StepId>().expect("good").as_str(), good);
        }
        for bad in ["", "A", "1a", "-a", "a_b", "a b", "é", &"a".repeat(64)] {
            assert_eq!(bad.parse::<StepId>(), Err(InvalidName(bad.to_owned())), "{bad}");
        }
    }

    #[test]
    fn run_ids_read_back_and_differ() {
        let id = RunId::generate();
        assert_eq!(id.as_str().parse::<RunId>(), Ok(id.clone()));
        assert_ne!(id, RunId::generate());
        assert_eq!(id.short().len(), 8);
        assert!("x".parse::<RunId>().is_err());
    }
}
