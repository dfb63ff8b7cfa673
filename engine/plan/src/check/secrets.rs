//! Secrets: where they may stand, and what looks as if one was written down.

use std::ops::Range;
use std::sync::LazyLock;

use miette::SourceSpan;
use regex::Regex;

use crate::code::Code;
use crate::compile::Work;
use crate::document::{InputType, PlanSpec};
use crate::error::{PlanError, Problems};
use crate::shape::Shape;
use crate::span::{Source, span};
use crate::targets::{TargetsDocument, misused, unknown_provider};
use crate::template::{Expression, InputTemplate, Part, PartKind, Root, TextPiece, secret_form};

/// Checks a plan, and the targets file with it.
pub(crate) fn check(work: &Work<'_>, problems: &mut Problems) {
    let plan = &work.document.plan;
    for step in &work.steps {
        if let Some(when) = step.spec.when.as_ref().filter(|when| reads_secret(when, plan)) {
            problems.push(exposed(when));
        }
        if let Some(with) = &step.spec.with {
            let shape = step.schemas.as_ref().map(|schemas| Shape::root(&schemas.input));
            Beside { plan, problems }.part("", with.root(), shape);
        }
    }
    for (_, output) in &plan.outputs {
        outputs(output, plan, problems);
    }
    problems.extend(written(&work.document.source));
    if let Some(targets) = work.targets {
        problems.extend(in_targets(work, targets));
    }
}

fn reads_secret(expression: &Expression, plan: &PlanSpec) -> bool {
    expression.references().iter().any(|reference| {
        let named = plan.inputs.iter().find(|input| input.name.value == reference.name());
        reference.root == Root::Inputs && named.is_some_and(|input| input.kind == InputType::Secret)
    })
}

fn exposed(expression: &Expression) -> PlanError {
    let error = PlanError::at(Code::SecretMisused, expression.span(), "a secret cannot be used here");
    error.help("it may be the whole value of a field that is marked secret, with `default(...)` at most")
}

fn outputs(output: &InputTemplate, plan: &PlanSpec, problems: &mut Problems) {
    for expression in output
        .expressions()
        .into_iter()
        .filter(|expression| reads_secret(expression, plan))
    {
        problems.push(exposed(expression));
    }
}

/// Walks a template beside its schema.
struct Beside<'a> {
    plan: &'a PlanSpec,
    problems: &'a mut Problems,
}

impl Beside<'_> {
    fn part(&mut self, key: &str, part: &Part, shape: Option<Shape<'_>>) {
        if shape.is_some_and(Shape::is_literal) {
            return self.literal(key, part);
        }
        let secret = || shape.is_some_and(Shape::is_secret);
        match &part.kind {
            PartKind::Expression(expression)
                if reads_secret(expression, self.plan) && !(secret() && secret_form(expression.code()).is_some()) =>
            {
                self.problems.push(exposed(expression));
            }
            PartKind::Text(pieces) => self.text(pieces),
            PartKind::Literal(value) if is_telling(key) && secret() && value.as_str().is_some_and(plain_secret) => {
                self.problems.push(written_down(part.span));
            }
            PartKind::List(items) => {
                let inner = shape.and_then(|shape| shape.items().first().copied());
                for item in items {
                    self.part(key, item, inner);
                }
            }
            PartKind::Map(entries) => {
                for (key, part) in entries {
                    let inner = shape.and_then(|shape| shape.only_field(&key.value));
                    self.part(&key.value, part, inner);
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, pieces: &[TextPiece]) {
        for piece in pieces {
            match piece {
                TextPiece::Expression(expression) if reads_secret(expression, self.plan) => {
                    self.problems.push(exposed(expression));
                }
                _ => {}
            }
        }
    }

    /// A script or a query: no value is put into it.
    fn literal(&mut self, key: &str, part: &Part) {
        let mut expressions = Vec::new();
        part.collect(&mut expressions);
        for expression in expressions {
            let message = format!("`{key}` is taken as it is written: no value can be put into it");
            let error = PlanError::at(Code::ExpressionInLiteral, expression.span(), message);
            self.problems
                .push(error.help("hand the value over as a variable or a parameter, and name that here"));
        }
    }
}

fn written_down(at: SourceSpan) -> PlanError {
    PlanError::at(Code::SecretInPlan, at, "a secret stands in the plan")
        .label("this field holds secrets")
        .help("declare an input of `type: secret` and write `${{ inputs.NAME }}` here")
}

/// Whether a field's name says that a literal in it is a secret: many fields may hold a secret and need not, such as the
/// variables of a program.
fn is_telling(key: &str) -> bool {
    let key = key.to_lowercase();
    let words = ["pass", "pwd", "secret", "token", "key", "credential", "auth", "cookie"];
    words.iter().any(|word| key.contains(word))
}

/// Whether a literal in a secret field is one: an address without a password is none.
fn is_literal_secret(text: &str) -> bool {
    !text.is_empty() && (!text.contains("://") || PATTERNS.iter().any(|known| known.pattern.is_match(text)))
}

/// What a kind of secret looks like.
struct Look {
    /// With its article.
    name: &'static str,
    /// What every one of them holds. Looked for first, for that is quick.
    mark: &'static str,
    pattern: Regex,
}

/// What secrets look like.
static PATTERNS: LazyLock<Vec<Look>> = LazyLock::new(|| {
    let patterns = [
        (
            "a URL with a password",
            "://",
            r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s:/@'\x22]+:(?P<secret>[^\s:/@'\x22${}]+)@",
        ),
        ("an AWS access key", "AKIA", r"\b(?P<secret>AKIA[0-9A-Z]{16})\b"),
        ("an AWS access key", "ASIA", r"\b(?P<secret>ASIA[0-9A-Z]{16})\b"),
        (
            "a private key",
            "PRIVATE KEY-----",
            r"(?P<secret>-----BEGIN [A-Z ]*PRIVATE KEY-----)",
        ),
        ("a GitHub token", "gh", r"\b(?P<secret>gh[pousr]_[A-Za-z0-9]{36,})"),
        (
            "a GitHub token",
            "github_pat_",
            r"\b(?P<secret>github_pat_[A-Za-z0-9_]{50,})",
        ),
        ("a Slack token", "xox", r"\b(?P<secret>xox[abprs]-[A-Za-z0-9-]{10,})"),
    ];
    let look = |(name, mark, pattern): (&'static str, &'static str, &str)| {
        let pattern = Regex::new(pattern).ok()?;
        Some(Look { name, mark, pattern })
    };
    patterns.into_iter().filter_map(look).collect()
});

/// Words that stand for a password in examples.
const PLACEHOLDERS: [&str; 8] = ["password", "passwd", "pass", "secret", "xxx", "xxxx", "changeme", "***"];

/// Whatever in a file looks like a secret, comments too.
pub(crate) fn written(source: &Source) -> Vec<PlanError> {
    let text = source.inner();
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        for look in PATTERNS.iter().filter(|look| line.contains(look.mark)) {
            found.extend(in_line(line, look).map(|range| (look.name, range.start + start..range.end + start)));
        }
        start += line.len();
    }
    let error = |(what, range)| {
        PlanError::at(Code::SecretInPlan, span(range), format!("{what} stands in the file"))
            .help("plans and targets files are read by many: take it from the environment, and change it, for it is known now")
            .in_source(source)
    };
    found.into_iter().map(error).collect()
}

fn in_line(line: &str, look: &Look) -> impl Iterator<Item = Range<usize>> {
    let secrets = look
        .pattern
        .captures_iter(line)
        .filter_map(|captures| captures.name("secret"));
    secrets
        .filter(|secret| !PLACEHOLDERS.contains(&secret.as_str().to_lowercase().as_str()))
        .map(|secret| secret.range())
}

/// The targets file: providers, configurations with the environment unknown, and secrets.
fn in_targets(work: &Work<'_>, targets: &TargetsDocument) -> Vec<PlanError> {
    let mut problems = Problems::new(&targets.source);
    problems.extend(written(&targets.source));
    for spec in &targets.targets {
        match work.registry.connection(&spec.provider.value) {
            // No step type can use it; whoever needs it is told that it has no target.
            None => problems.push(unknown_provider(spec, work.registry).into_warning()),
            Some(connection) => {
                let schema = connection.config_schema();
                super::inputs::target(&spec.config, Shape::root(&schema), &mut problems);
                target_secrets(&spec.config, Some(Shape::root(&schema)), &mut problems);
            }
        }
    }
    problems.into_found()
}

fn target_secrets(part: &Part, shape: Option<Shape<'_>>, problems: &mut Problems) {
    let secret = shape.is_some_and(Shape::is_secret);
    match &part.kind {
        PartKind::Expression(expression) if secret && secret_form(expression.code()).is_none() => {
            problems.push(misused(expression));
        }
        PartKind::Text(pieces) if secret => problems.extend(pieces.iter().filter_map(|piece| match piece {
            TextPiece::Expression(expression) => Some(misused(expression)),
            TextPiece::Literal(_) => None,
        })),
        PartKind::Literal(value) if secret && value.as_str().is_some_and(plain_secret) => {
            problems.push(literal(part.span));
        }
        PartKind::List(items) => {
            let inner = shape.and_then(|shape| shape.items().first().copied());
            for item in items {
                target_secrets(item, inner, problems);
            }
        }
        PartKind::Map(entries) => {
            for (key, part) in entries {
                target_secrets(part, shape.and_then(|shape| shape.only_field(&key.value)), problems);
            }
        }
        _ => {}
    }
}

/// What [`written`] does not say already.
fn plain_secret(text: &str) -> bool {
    is_literal_secret(text) && !PATTERNS.iter().any(|known| known.pattern.is_match(text))
}

fn literal(at: SourceSpan) -> PlanError {
    PlanError::at(Code::SecretInTargets, at, "a secret stands in the targets file").help("write `${{ env.NAME }}`")
}
