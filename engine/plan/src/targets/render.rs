//! Targets with the values of the environment put in: all that is missing or malformed is reported at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use jm_step::{Registry, Secret, Target, TargetName};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::blame::{at_fault, unreadable, variables};
use super::environment::{Environment, typed};
use super::{TargetSpec, TargetsDocument};
use crate::code::Code;
use crate::error::{PlanError, PlanErrors, Problems};
use crate::parse::suggestion;
use crate::shape::{Field, Shape, fit};
use crate::template::{
    Evaluated, Expression, Part, PartKind, Reference, RenderError, TextPiece, evaluate, secret_form,
};

/// What the targets are rendered in: this crate reads nothing itself.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// The environment that connections follow by conventions of their own.
    pub environment: &'a jm_step::Environment,
    /// Gives a variable, or the content of the file that `NAME_FILE` names; its error says why that cannot be read.
    pub variable: &'a dyn Fn(&str) -> Result<Option<String>, String>,
    /// Whether one of these files is there, and those that are can be read; its error says which is not, and why.
    pub readable: &'a dyn Fn(&[PathBuf]) -> Result<(), String>,
    /// Targets that the plan repairs: what describes them may be written on the way.
    pub repaired: &'a BTreeSet<TargetName>,
}

impl fmt::Debug for Around<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Around")
            .field("repaired", &self.repaired)
            .finish_non_exhaustive()
    }
}

/// Targets that are ready to be opened.
#[derive(Clone)]
pub struct RenderedTargets {
    /// The targets that are configured.
    pub targets: Vec<Target>,
    /// Every secret in them, for the masker.
    pub secrets: Vec<Secret>,
    /// Optional targets that are not configured, with the reason: steps that use them are skipped.
    pub not_configured: BTreeMap<TargetName, String>,
    /// How many steps may act on a target at once, where its entry says so.
    pub max_parallel: BTreeMap<TargetName, usize>,
    /// SHA-256 of the configuration without its secrets, lower-case hex.
    pub digest: String,
}

impl fmt::Debug for RenderedTargets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RenderedTargets")
            .field("targets", &self.targets)
            .field("not_configured", &self.not_configured)
            .field("max_parallel", &self.max_parallel)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl TargetsDocument {
    /// Renders the targets that are used.
    pub fn render(
        &self,
        registry: &Registry,
        used: &BTreeSet<TargetName>,
        around: &Around<'_>,
    ) -> Result<RenderedTargets, PlanErrors> {
        let mut problems = Problems::new(&self.source);
        if self.is_broken() {
            problems.extend(self.found().iter().cloned());
        }
        let mut rendered = RenderedTargets {
            targets: Vec::new(),
            secrets: Vec::new(),
            not_configured: BTreeMap::new(),
            max_parallel: BTreeMap::new(),
            digest: String::new(),
        };
        let mut digest = Sha256::new();
        for name in used {
            match self.target(name.as_str()) {
                Some(spec) => one(spec, registry, around, &mut rendered, &mut digest, &mut problems),
                None => problems.push(self.unknown(name)),
            }
        }
        rendered.digest = hex::encode(digest.finalize());
        let found = problems.into_found();
        if found.is_empty() {
            Ok(rendered)
        } else {
            Err(PlanErrors::new(self.file(), found))
        }
    }

    fn unknown(&self, name: &TargetName) -> PlanError {
        let known = self.targets.iter().map(|target| target.name.value.as_str());
        PlanError::nowhere(Code::UnknownTarget, format!("`{}` has no target `{name}`", self.file())).help(suggestion(
            name.as_str(),
            known,
            "its targets are",
        ))
    }
}

/// Renders one target into what is rendered already.
fn one(
    spec: &TargetSpec,
    registry: &Registry,
    around: &Around<'_>,
    rendered: &mut RenderedTargets,
    digest: &mut Sha256,
    problems: &mut Problems,
) {
    let Some(connection) = registry.connection(&spec.provider.value) else {
        return problems.push(unknown_provider(spec, registry));
    };
    let schema = connection.config_schema();
    let shape = Shape::root(&schema);
    let environment = Environment::new(around.variable);
    let mut rendering = Rendering {
        environment: &environment,
        errors: Vec::new(),
        secrets: Vec::new(),
        pointer: String::new(),
        unknown: BTreeSet::new(),
        places: BTreeMap::new(),
    };
    let config = rendering.part(&spec.config, Some(shape));
    let pinned = rendering.pinned(spec);
    rendering.report_missing();
    if let Some(reason) = spec
        .optional
        .then(|| not_configured(&config, shape, &environment))
        .flatten()
    {
        rendered.not_configured.insert(spec.name.value.clone(), reason);
        return;
    }
    rendering.check(&config, shape, spec, around.environment);
    if rendering.errors.is_empty() {
        let issues = connection.check(&config, around.environment);
        rendering
            .errors
            .extend(issues.iter().map(|issue| at_fault(issue, spec, around.environment)));
        let files = connection.files(&config, around.environment);
        rendering
            .errors
            .extend(files.iter().filter_map(|file| unreadable(file, spec, around)));
    }
    digest_of(spec, &config, pinned.as_deref(), &rendering.secrets, digest);
    rendered
        .secrets
        .extend(rendering.secrets.iter().map(|(_, secret)| secret.clone()));
    problems.extend(rendering.errors);
    if let Some(limit) = spec.max_parallel {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        rendered.max_parallel.insert(spec.name.value.clone(), limit);
    }
    rendered.targets.push(Target {
        name: spec.name.value.clone(),
        connection: connection.clone(),
        config,
        pinned,
    });
}

pub(crate) fn unknown_provider(spec: &TargetSpec, registry: &Registry) -> PlanError {
    let name = &spec.provider.value;
    let known: Vec<&str> = registry.connections().map(|(provider, _)| provider).collect();
    PlanError::at(
        Code::UnknownProvider,
        spec.provider.span,
        format!("there is no provider `{name}` with systems"),
    )
    .help(suggestion(name, known, "providers with systems are"))
}

/// Why an optional target is not configured; `None` where it is.
fn not_configured(config: &Value, shape: Shape<'_>, environment: &Environment<'_>) -> Option<String> {
    if let Some(name) = environment.missing.borrow().keys().next() {
        return Some(format!("`{name}` is not set"));
    }
    let empty = |name: &&str| match config.get(*name) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.trim().is_empty(),
        Some(_) => false,
    };
    shape
        .required()
        .into_iter()
        .find(empty)
        .map(|name| format!("its `{name}` is empty"))
}

/// What a target is, without its secrets.
fn digest_of(
    spec: &TargetSpec,
    config: &Value,
    pinned: Option<&str>,
    secrets: &[(String, Secret)],
    digest: &mut Sha256,
) {
    let mut shown = config.clone();
    for (pointer, _) in secrets {
        if let Some(place) = shown.pointer_mut(pointer) {
            *place = Value::from("[secret]");
        }
    }
    for part in [
        spec.name.value.as_str(),
        &spec.provider.value,
        pinned.unwrap_or_default(),
        &shown.to_string(),
    ] {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    // A file that says nothing of it has the digest that it had before there was such a field.
    if let Some(limit) = spec.max_parallel {
        digest.update(limit.to_be_bytes());
    }
}

struct Rendering<'a> {
    environment: &'a Environment<'a>,
    errors: Vec<PlanError>,
    secrets: Vec<(String, Secret)>,
    pointer: String,
    /// What could not be rendered, and was reported.
    unknown: BTreeSet<String>,
    /// Where variables are read.
    places: BTreeMap<String, miette::SourceSpan>,
}

impl Rendering<'_> {
    fn part(&mut self, part: &Part, shape: Option<Shape<'_>>) -> Value {
        match &part.kind {
            PartKind::Literal(value) => self.literal(value, shape),
            PartKind::Expression(expression) => self.expression(expression, shape),
            PartKind::Text(pieces) => self.text(pieces, shape),
            PartKind::List(items) => {
                let inner = shape.and_then(|shape| shape.items().first().copied());
                let below = |(index, item): (usize, &Part)| self.below(&index.to_string(), item, inner);
                items.iter().enumerate().map(below).collect()
            }
            PartKind::Map(entries) => {
                let mut map = Map::new();
                for (key, part) in entries {
                    let inner = match shape.map(|shape| shape.field(&key.value)) {
                        Some(Field::Declared(shapes)) => shapes.first().copied(),
                        _ => None,
                    };
                    map.insert(key.value.clone(), self.below(&key.value, part, inner));
                }
                Value::Object(map)
            }
            PartKind::Broken => self.give_up(),
        }
    }

    fn below(&mut self, step: &str, part: &Part, shape: Option<Shape<'_>>) -> Value {
        let before = self.pointer.len();
        self.pointer = crate::shape::below(&self.pointer, step);
        let value = self.part(part, shape);
        self.pointer.truncate(before);
        value
    }

    /// The identity that the file pins. What is left empty pins nothing: a variable that nobody has set.
    fn pinned(&mut self, spec: &TargetSpec) -> Option<String> {
        let value = self.below("identity", spec.identity.as_ref()?, None);
        let text = crate::template::as_text(&value);
        Some(text.trim().to_owned()).filter(|text| !value.is_null() && !text.is_empty())
    }

    fn give_up(&mut self) -> Value {
        self.unknown.insert(self.pointer.clone());
        Value::Null
    }

    fn literal(&mut self, value: &Value, shape: Option<Shape<'_>>) -> Value {
        if let (Some(text), true) = (value.as_str(), shape.is_some_and(Shape::is_secret)) {
            self.keep_secret(text);
        }
        value.clone()
    }

    fn keep_secret(&mut self, text: &str) {
        if !text.is_empty() {
            self.secrets.push((self.pointer.clone(), Secret::new(text)));
        }
    }

    fn expression(&mut self, expression: &Expression, shape: Option<Shape<'_>>) -> Value {
        self.remember_places(expression);
        if shape.is_some_and(Shape::is_secret) {
            return self.secret(expression);
        }
        match evaluate(expression, self.environment) {
            Ok(Evaluated::Value(Value::String(text))) => self.typed(&text, expression, shape),
            Ok(Evaluated::Value(value)) => value,
            Ok(Evaluated::Unknown { .. }) => self.give_up(),
            Err(error) => self.failed(expression, &error),
        }
    }

    /// A secret never enters the expression engine: it is a variable, or what `default(...)` says.
    fn secret(&mut self, expression: &Expression) -> Value {
        let ([reference], Some(form)) = (expression.references(), secret_form(expression.code())) else {
            self.errors.push(misused(expression));
            return self.give_up();
        };
        match (self.environment.get(reference.name(), reference.guarded), form.fallback) {
            (Some(value), _) => {
                self.keep_secret(&value);
                Value::from(value)
            }
            (None, Some(fallback)) => self.literal_secret(fallback),
            (None, None) => self.give_up(),
        }
    }

    fn literal_secret(&mut self, fallback: Value) -> Value {
        if let Some(text) = fallback.as_str() {
            self.keep_secret(text);
        }
        fallback
    }

    fn typed(&mut self, text: &str, expression: &Expression, shape: Option<Shape<'_>>) -> Value {
        let Some(shape) = shape else { return Value::from(text) };
        if let Some(value) = typed(text, shape) {
            return value;
        }
        let message = format!("what `{}` gives is not {}", expression.text(), shape.kinds().shown());
        let names: Vec<&str> = expression.references().iter().map(Reference::name).collect();
        let error = PlanError::at(Code::MalformedVariable, expression.span(), message);
        self.errors
            .push(error.help(format!("look at the value of `{}`", names.join("`, `"))));
        self.give_up()
    }

    fn text(&mut self, pieces: &[TextPiece], shape: Option<Shape<'_>>) -> Value {
        let mut text = String::new();
        let mut whole = true;
        let secret = shape.is_some_and(Shape::is_secret);
        for piece in pieces {
            match piece {
                TextPiece::Literal(literal) => text.push_str(literal),
                TextPiece::Expression(expression) if secret => {
                    self.errors.push(misused(expression));
                    whole = false;
                }
                TextPiece::Expression(expression) => {
                    self.remember_places(expression);
                    match evaluate(expression, self.environment) {
                        Ok(Evaluated::Value(value)) => text.push_str(&crate::template::as_text(&value)),
                        Ok(Evaluated::Unknown { .. }) => whole = false,
                        Err(error) => {
                            self.failed(expression, &error);
                            whole = false;
                        }
                    }
                }
            }
        }
        let typed = shape.map_or_else(|| Some(Value::from(text.as_str())), |shape| typed(&text, shape));
        match typed {
            Some(value) if whole => value,
            _ if whole => Value::from(text),
            _ => self.give_up(),
        }
    }

    fn failed(&mut self, expression: &Expression, error: &RenderError) -> Value {
        self.errors.push(PlanError::at(
            Code::ExpressionFailed,
            expression.span(),
            error.message.clone(),
        ));
        self.give_up()
    }

    fn remember_places(&mut self, expression: &Expression) {
        for reference in expression.references() {
            self.places.entry(reference.name().to_owned()).or_insert(reference.span);
        }
    }

    fn report_missing(&mut self) {
        for (name, reason) in self.environment.missing.borrow().iter() {
            let at = self.places.get(name).copied().unwrap_or_else(|| (0, 0).into());
            let error = match reason {
                Some(reason) => PlanError::at(
                    Code::MalformedVariable,
                    at,
                    format!("`{name}` cannot be read: {reason}"),
                ),
                None => PlanError::at(Code::MissingVariable, at, format!("the variable `{name}` is not set"))
                    .help(format!("set `{name}`, or `{name}_FILE` to a file that holds the value")),
            };
            self.errors.push(error);
        }
    }

    fn check(&mut self, config: &Value, shape: Shape<'_>, spec: &TargetSpec, around: &jm_step::Environment) {
        let violations = fit(config, shape, &|pointer| self.unknown.contains(pointer)).violations;
        for violation in violations {
            let error = crate::check::inputs::as_error(&violation, &spec.config);
            let variables = variables(spec.config.at_pointer(&violation.pointer), around);
            self.errors.push(match variables {
                Some(variables) => error.because_of(&variables),
                None => error,
            });
        }
    }
}

pub(crate) fn misused(expression: &Expression) -> PlanError {
    PlanError::at(
        Code::SecretMisused,
        expression.span(),
        "a secret is the whole value of its field, and nothing is done with it",
    )
    .help("write `${{ env.NAME }}` or `${{ env.NAME | default('') }}`, and nothing else in the value")
}
