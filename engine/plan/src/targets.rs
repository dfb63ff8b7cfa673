//! Targets files: names bound to systems, and the only place where the environment is read.

mod blame;
mod environment;
mod render;

use std::collections::{BTreeMap, HashMap};

use jm_step::TargetName;

use crate::code::Code;
use crate::error::{PlanError, Problems, is_error};
use crate::parse::{Fields, check_kind};
use crate::span::{Source, Spanned, source};
use crate::template::{Names, Part, PartKind};
use crate::yaml::{self, Kind, Node};
pub use render::{Around, RenderedTargets};
pub(crate) use render::{misused, unknown_provider};

/// The fields of a target that are jm's; the others are its provider's.
const OWN_FIELDS: [&str; 5] = ["provider", "optional", "by_name", "identity", "max_parallel"];

/// A targets file. Made by [`parse_targets`]; what could not be read is absent.
#[derive(Debug, Clone)]
pub struct TargetsDocument {
    pub(crate) source: Source,
    name: String,
    protected: bool,
    pub(crate) targets: Vec<TargetSpec>,
    contacts: BTreeMap<String, Contact>,
    pub(crate) contact_places: HashMap<String, miette::SourceSpan>,
    found: Vec<PlanError>,
}

/// A person or a group that a plan names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Who.
    pub name: String,
    /// By which number or address.
    pub reach: String,
}

/// A target as it was written.
#[derive(Debug, Clone)]
pub(crate) struct TargetSpec {
    pub(crate) name: Spanned<TargetName>,
    pub(crate) provider: Spanned<String>,
    pub(crate) optional: bool,
    /// Only steps that name it use it.
    pub(crate) by_name: bool,
    /// Which system it has to be. Empty says nothing, as nothing does.
    pub(crate) identity: Option<std::sync::Arc<Part>>,
    /// Steps at once on it, where it has a limit of its own.
    pub(crate) max_parallel: Option<u32>,
    /// Everything else.
    pub(crate) config: std::sync::Arc<Part>,
}

impl TargetsDocument {
    /// The file's name, as it was given.
    pub fn file(&self) -> &str {
        self.source.name()
    }

    /// The file's text.
    pub fn text(&self) -> &str {
        self.source.inner()
    }

    /// Which set of systems this is, such as `production`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether irreversible steps need a confirmation.
    pub fn is_protected(&self) -> bool {
        self.protected
    }

    /// The people that plans name, by the names that plans use.
    pub fn contacts(&self) -> &BTreeMap<String, Contact> {
        &self.contacts
    }

    /// The targets with their providers, as written.
    pub fn targets(&self) -> impl Iterator<Item = (&TargetName, &str)> {
        self.targets
            .iter()
            .map(|target| (&target.name.value, target.provider.value.as_str()))
    }

    /// What parsing found.
    pub(crate) fn found(&self) -> &[PlanError] {
        &self.found
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.found.iter().any(is_error)
    }

    /// Whether only steps that name a target use it.
    pub(crate) fn is_by_name(&self, name: &TargetName) -> bool {
        self.target(name.as_str()).is_some_and(|target| target.by_name)
    }

    pub(crate) fn target(&self, name: &str) -> Option<&TargetSpec> {
        self.targets.iter().find(|target| target.name.value.as_str() == name)
    }
}

/// Reads a targets file. The errors are those of form; whether a target fits its provider is said by
/// [`crate::compile`], which repeats these too.
pub fn parse_targets(name: &str, text: &str) -> (TargetsDocument, Vec<PlanError>) {
    let source = source(name, text);
    let mut problems = Problems::new(&source);
    let mut document = TargetsDocument {
        source: source.clone(),
        name: String::new(),
        protected: false,
        targets: Vec::new(),
        contacts: BTreeMap::new(),
        contact_places: HashMap::new(),
        found: Vec::new(),
    };
    let yaml::Read { root, torn } = yaml::read(text, &mut problems);
    let yaml = problems.len();
    if text.trim().is_empty() {
        let error = PlanError::at(Code::NotThisKind, (0, 0).into(), "the file is empty");
        problems.push(error.help("a targets file begins with `apiVersion: jm/v1` and `kind: Targets`"));
    } else if root.kind != Kind::Null {
        document.read(&root, text, &mut problems);
    }
    if let Some(torn) = torn {
        problems.forget_after(torn, yaml);
    }
    document.found = problems.into_found();
    let found = document.found.clone();
    (document, found)
}

impl TargetsDocument {
    fn read(&mut self, root: &Node, text: &str, problems: &mut Problems) {
        let Some(mut fields) = Fields::open(root, "a targets file", text, problems) else {
            return;
        };
        if !check_kind(&mut fields, Some("Targets")) {
            return;
        }
        let name = fields.required("name", "which set of systems this is, such as `production`");
        if let Some(name) = name.and_then(|node| fields.name(node)) {
            self.name = name.value;
        }
        self.protected = fields.boolean("protected").unwrap_or(false);
        if let Some(node) = fields.required("targets", "the systems, by the names that plans use") {
            for (name, node) in fields.entries(node) {
                self.targets.extend(target(name, node, &mut fields, text));
            }
        }
        if let Some(node) = fields.take("contacts") {
            for (name, node) in fields.entries(node) {
                self.contact(name, node, &mut fields);
            }
        }
        fields.close();
    }

    fn contact<'n>(&mut self, key: &Spanned<String>, node: &'n Node, fields: &mut Fields<'n, '_>) {
        let Some(mut inner) = fields.of(node, "a contact") else {
            return;
        };
        let contact = Contact {
            name: inner.text("name").unwrap_or_default(),
            reach: inner.text("reach").unwrap_or_default(),
        };
        inner.close();
        self.contact_places.insert(key.value.clone(), key.span);
        self.contacts.insert(key.value.clone(), contact);
    }
}

fn target<'n>(key: &Spanned<String>, node: &'n Node, file: &mut Fields<'n, '_>, text: &str) -> Option<TargetSpec> {
    let name = file.id(&Node {
        kind: Kind::Text(key.value.clone()),
        span: key.span,
    });
    let mut fields = file.of(node, "a target")?;
    let provider = fields.required("provider", "the kind of system, such as `postgres`");
    let provider = provider.and_then(|node| fields.as_text(node));
    let optional = fields.boolean("optional").unwrap_or(false);
    let by_name = fields.boolean("by_name").unwrap_or(false);
    let max_parallel = fields.count("max_parallel").map(|limit| limit.value);
    let (mut identity, mut config) = (None, Vec::new());
    for (key, node) in fields.entries(node) {
        if key.value == "identity" && fields.as_text(node).is_some() {
            let part = Part::parse(node, text, Names::Targets, fields.problems());
            identity = Some(std::sync::Arc::new(part));
        }
        if !OWN_FIELDS.contains(&key.value.as_str()) {
            config.push((key.clone(), Part::parse(node, text, Names::Targets, fields.problems())));
        }
    }
    Some(TargetSpec {
        name: name?,
        provider: provider?,
        optional,
        by_name,
        identity,
        max_parallel,
        config: std::sync::Arc::new(Part {
            kind: PartKind::Map(config),
            span: key.span,
        }),
    })
}
