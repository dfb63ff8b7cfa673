//! What steps need to be allowed, in the words of the systems that allow it, and how it stands with that.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use schemars::JsonSchema;
use serde::Serialize;

/// What a step needs to be allowed by the system in one of its roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The role, as in [`crate::StepType::roles`].
    pub role: &'static str,
    /// The rights, as the role's connection type knows them: `s3:GetObject`, `get deployments.apps`, `CREATEDB`.
    pub rights: &'static [&'static str],
    /// The parts of the system in which they are needed, where these are others than the one that the target names: namespaces
    /// of a cluster.
    pub parts: Vec<String>,
}

impl Need {
    /// These rights on the system in this role.
    pub const fn of(role: &'static str, rights: &'static [&'static str]) -> Self {
        Self {
            role,
            rights,
            parts: Vec::new(),
        }
    }

    /// The same in these parts of the system, and not in the one that the target names; in that one where there are none.
    pub fn in_parts(mut self, parts: Vec<String>) -> Self {
        self.parts = parts;
        self
    }
}

/// Rights in the words of a connection type: those in the part of the system that the target names, and those in others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    here: BTreeSet<&'static str>,
    elsewhere: BTreeMap<String, BTreeSet<&'static str>>,
}

impl Rights {
    /// Adds what a step needs.
    pub fn add(&mut self, need: &Need) {
        if need.parts.is_empty() {
            self.here.extend(need.rights);
        }
        for part in &need.parts {
            self.elsewhere.entry(part.clone()).or_default().extend(need.rights);
        }
    }

    /// Those in other parts of the system, by the part.
    pub fn elsewhere(&self) -> &BTreeMap<String, BTreeSet<&'static str>> {
        &self.elsewhere
    }
}

impl Deref for Rights {
    type Target = BTreeSet<&'static str>;
    fn deref(&self) -> &Self::Target {
        &self.here
    }
}

impl FromIterator<&'static str> for Rights {
    fn from_iter<I: IntoIterator<Item = &'static str>>(rights: I) -> Self {
        Self {
            here: rights.into_iter().collect(),
            elsewhere: BTreeMap::new(),
        }
    }
}

/// How it stands with a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It is needed, and not there.
    Missing,
    /// It is there, and not needed.
    Excess,
    /// It cannot be asked for without doing something.
    NotAsked,
    /// It is needed, and there.
    Held,
}

/// A right of the credentials of a target, or one that they lack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    /// In the system's words, such as `s3:PutObject`.
    pub right: String,
    /// How it stands with it.
    pub standing: Standing,
    /// What there is to know besides: why it was not asked, what to do.
    pub note: Option<String>,
}

impl Right {
    /// A right that stands so.
    pub fn new(right: impl Into<String>, standing: Standing) -> Self {
        Self {
            right: right.into(),
            standing,
            note: None,
        }
    }

    /// One that is needed.
    pub fn needed(right: impl Into<String>, held: bool) -> Self {
        Self::new(right, if held { Standing::Held } else { Standing::Missing })
    }

    /// Adds what there is to know besides.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

/// How a policy is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyForm {
    /// A policy of AWS IAM, in JSON.
    Iam,
    /// Roles of Kubernetes and their bindings, in YAML.
    Rbac,
    /// Statements for psql.
    Sql,
}

/// A text by which an administrator gives what is needed, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How it is written.
    pub form: PolicyForm,
    /// The text.
    pub text: String,
}
