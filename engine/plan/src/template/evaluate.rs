//! Evaluating an expression where not everything is known: `and`, `or`, `not` and `… if … else …` are decided here, so
//! that what is known decides where it can; everything below them is minijinja's.

use std::collections::BTreeSet;

use jm_step::{Secret, StepId};
use minijinja::machinery::ast::{BinOpKind, Expr, UnaryOpKind};
use serde_json::{Map, Value};

use super::references::{Reference, Root, within};
use super::render::RenderError;
use super::scope::Evaluated;
use super::{Expression, Scope, engine};

/// What a reference leads to.
pub(crate) enum Found {
    /// A value.
    Value(Value),
    /// A secret, which no expression may see.
    Secret(Secret),
    /// There is nothing at the end of the way.
    Missing,
    /// Not known yet; these steps are waited for.
    Unknown(BTreeSet<StepId>),
}

/// Where references are looked up.
pub(crate) trait Lookup {
    fn find(&self, reference: &Reference) -> Found;
}

/// The value at the end of a way of fields.
pub(super) fn dig<'v, 'p>(value: &'v Value, path: impl Iterator<Item = &'p str>) -> Option<&'v Value> {
    let mut value = value;
    for field in path {
        value = value.as_object()?.get(field)?;
    }
    Some(value)
}

impl Expression {
    /// Evaluates it. Of an `if` the value is `true` or `false`, and what is undefined counts as false.
    pub fn evaluate(&self, scope: &Scope) -> Result<Evaluated, RenderError> {
        evaluate(self, scope)
    }
}

pub(crate) fn evaluate(expression: &Expression, lookup: &dyn Lookup) -> Result<Evaluated, RenderError> {
    if !expression.0.sound {
        return Ok(Evaluated::Unknown { waits_for: Vec::new() });
    }
    if let Some(waits_for) = plainly_unknown(expression, lookup) {
        return Ok(Evaluated::Unknown { waits_for });
    }
    let walk = Walk { expression, lookup };
    let tree = engine::parse_code(expression.code()).map_err(|error| walk.failed(&error))?;
    let outcome = walk.walk(&tree)?;
    let value = match outcome {
        Outcome::Unknown(steps) => {
            return Ok(Evaluated::Unknown {
                waits_for: steps.into_iter().collect(),
            });
        }
        Outcome::Undefined(_) if expression.is_condition() => return Ok(Evaluated::Value(Value::Bool(false))),
        Outcome::Undefined(name) => return Err(walk.undefined(&name)),
        Outcome::Value(value) => value,
    };
    if expression.is_condition() {
        return Ok(Evaluated::Value(Value::Bool(value.is_true())));
    }
    to_json(&value)
        .map(|json| if expression.is_path() { json } else { whole(json) })
        .map(Evaluated::Value)
        .map_err(|message| RenderError::new(expression, message))
}

/// A number that was computed and came out whole is a whole number: `6 / 2` fits where 3 does.
fn whole(value: Value) -> Value {
    /// Above, not every whole number can be told.
    const MOST: f64 = 9_007_199_254_740_992.0;
    match value
        .as_f64()
        .filter(|number| value.is_f64() && number.fract() == 0.0 && number.abs() < MOST)
    {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and below 2^53")]
        Some(number) => Value::from(number as i64),
        None => value,
    }
}

/// What an expression waits for that has no way around it. Spares most expressions of a plan the engine before the run.
fn plainly_unknown(expression: &Expression, lookup: &dyn Lookup) -> Option<Vec<StepId>> {
    if ["and", "or", "if"].iter().any(|word| expression.code().contains(word)) {
        return None;
    }
    let mut waits_for = BTreeSet::new();
    for reference in expression.references() {
        match lookup.find(reference) {
            Found::Unknown(steps) => waits_for.extend(steps),
            _ => return None,
        }
    }
    (!expression.references().is_empty()).then(|| waits_for.into_iter().collect())
}

fn to_json(value: &minijinja::Value) -> Result<Value, String> {
    let json = serde_json::to_value(value).map_err(|error| format!("its result is not data: {error}"))?;
    match json {
        Value::Null if value.is_number() => Err("its result is not a number that can be written".to_owned()),
        json => Ok(json),
    }
}

enum Outcome {
    Value(minijinja::Value),
    Unknown(BTreeSet<StepId>),
    /// The name of what is not there.
    Undefined(String),
}

struct Walk<'a> {
    expression: &'a Expression,
    lookup: &'a dyn Lookup,
}

impl Walk<'_> {
    fn walk(&self, expr: &Expr<'_>) -> Result<Outcome, RenderError> {
        match expr {
            Expr::BinOp(op) if matches!(op.op, BinOpKind::ScAnd) => self.both(&op.left, &op.right, false),
            Expr::BinOp(op) if matches!(op.op, BinOpKind::ScOr) => self.both(&op.left, &op.right, true),
            Expr::UnaryOp(op) if matches!(op.op, UnaryOpKind::Not) => Ok(match self.truth(self.walk(&op.expr)?) {
                Outcome::Value(value) => Outcome::Value((!value.is_true()).into()),
                other => other,
            }),
            Expr::IfExpr(branches) => match self.truth(self.walk(&branches.test_expr)?) {
                Outcome::Value(test) if test.is_true() => self.walk(&branches.true_expr),
                Outcome::Value(_) => match &branches.false_expr {
                    Some(otherwise) => self.walk(otherwise),
                    None => Ok(Outcome::Undefined("the branch without `else`".to_owned())),
                },
                other => Ok(other),
            },
            _ => self.atom(expr),
        }
    }

    /// In an `if`, what is undefined is false.
    fn truth(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Undefined(_) if self.expression.is_condition() => Outcome::Value(false.into()),
            other => other,
        }
    }

    /// `and` and `or`: the side that decides wins, even where the other one is not known.
    fn both(&self, left: &Expr<'_>, right: &Expr<'_>, decides: bool) -> Result<Outcome, RenderError> {
        match self.truth(self.walk(left)?) {
            Outcome::Value(value) if value.is_true() == decides => Ok(Outcome::Value(value)),
            Outcome::Value(_) => Ok(self.truth(self.walk(right)?)),
            Outcome::Undefined(name) => Ok(Outcome::Undefined(name)),
            Outcome::Unknown(mut steps) => match self.truth(self.walk(right)?) {
                Outcome::Value(value) if value.is_true() == decides => Ok(Outcome::Value(value)),
                Outcome::Unknown(more) => {
                    steps.extend(more);
                    Ok(Outcome::Unknown(steps))
                }
                _ => Ok(Outcome::Unknown(steps)),
            },
        }
    }

    fn atom(&self, expr: &Expr<'_>) -> Result<Outcome, RenderError> {
        let mut context = Map::new();
        let mut waits_for = BTreeSet::new();
        let mut unknown = false;
        for reference in within(expr, self.expression.code(), self.expression.0.names) {
            match self.lookup.find(&reference) {
                // minijinja would put nothing before every number.
                Found::Value(Value::Null) if is_ordering(expr) => return Ok(Outcome::Undefined(reference.shown())),
                Found::Value(value) => insert(&mut context, &reference, Some(value)),
                Found::Missing if reference.guarded => insert(&mut context, &reference, None),
                Found::Missing => return Ok(Outcome::Undefined(reference.shown())),
                Found::Unknown(steps) => {
                    unknown = true;
                    waits_for.extend(steps);
                }
                Found::Secret(_) => {
                    let message = format!(
                        "`{}` is a secret: it can only be the whole value of a secret field",
                        reference.shown()
                    );
                    return Err(RenderError::new(self.expression, message));
                }
            }
        }
        if unknown {
            return Ok(Outcome::Unknown(waits_for));
        }
        match engine::run(expr, self.expression.code(), minijinja::value::Serde(context).into()) {
            Ok(value) if value.is_undefined() => Ok(Outcome::Undefined(self.expression.text().to_owned())),
            Ok(value) => Ok(Outcome::Value(value)),
            Err(error) if error.kind() == minijinja::ErrorKind::UndefinedError => {
                Ok(Outcome::Undefined(self.expression.text().to_owned()))
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed(&self, error: &minijinja::Error) -> RenderError {
        let message = match error.kind() {
            minijinja::ErrorKind::OutOfFuel => "it does more work than an expression may".to_owned(),
            kind => error
                .detail()
                .map_or_else(|| kind.to_string(), |detail| format!("{kind}: {detail}")),
        };
        RenderError::new(self.expression, message)
    }

    fn undefined(&self, name: &str) -> RenderError {
        RenderError::new(self.expression, format!("`{name}` is not there"))
    }
}

fn is_ordering(expr: &Expr<'_>) -> bool {
    match expr {
        Expr::BinOp(op) => matches!(op.op, BinOpKind::Lt | BinOpKind::Lte | BinOpKind::Gt | BinOpKind::Gte),
        Expr::Compare(_) => true,
        _ => false,
    }
}

/// Puts a value at the end of its way, so that the expression finds it by the names that it uses.
fn insert(context: &mut Map<String, Value>, reference: &Reference, value: Option<Value>) {
    let root = match reference.root {
        Root::Inputs => "inputs",
        Root::Steps => "steps",
        Root::Run => "run",
        Root::Objectives => "objectives",
        Root::Env => "env",
    };
    let mut at = context.entry(root).or_insert_with(|| Value::Object(Map::new()));
    let fields: Vec<&str> = reference.fields().collect();
    let Some((last, parents)) = fields.split_last() else {
        return;
    };
    for field in parents {
        let Value::Object(map) = at else { return };
        at = map.entry(*field).or_insert_with(|| Value::Object(Map::new()));
    }
    if let (Value::Object(map), Some(value)) = (at, value) {
        map.insert((*last).to_owned(), value);
    }
}
