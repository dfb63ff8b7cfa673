//! What type an expression has, as far as that can be told before the run.

use minijinja::machinery::ast::{BinOp, BinOpKind, CallArg, Expr, Filter, UnaryOpKind};
use serde_json::Value;

use super::Expression;
use super::engine::parse_code;
use super::references::{Reference, is_way, within};
use crate::shape::{Kinds, Shape};

/// A set of types, and the schemas that describe them where they come from one.
#[derive(Debug, Clone)]
pub(crate) struct Type<'s> {
    pub(crate) kinds: Kinds,
    /// The schemas of what is read as it is; empty for what was computed.
    pub(crate) shapes: Vec<Shape<'s>>,
}

impl<'s> Type<'s> {
    /// Nothing is known.
    pub(crate) const ANY: Self = Self::of(Kinds::ANY);

    /// Of these types.
    pub(crate) const fn of(kinds: Kinds) -> Self {
        Self {
            kinds,
            shapes: Vec::new(),
        }
    }

    /// As one of these schemas says.
    pub(crate) fn described(shapes: Vec<Shape<'s>>) -> Self {
        let kinds = shapes
            .iter()
            .map(|shape| shape.kinds())
            .fold(Kinds::NONE, |all, one| all | one);
        Self { kinds, shapes }
    }

    fn or(mut self, other: Self) -> Self {
        self.kinds = self.kinds | other.kinds;
        if self.shapes.is_empty() || other.shapes.is_empty() {
            self.shapes.clear();
        } else {
            self.shapes.extend(other.shapes);
        }
        self
    }
}

/// Says of what type the things are that expressions read.
pub(crate) trait Types<'s> {
    fn type_of(&self, reference: &Reference) -> Type<'s>;
}

impl Expression {
    /// Its type.
    pub(crate) fn static_type<'s>(&self, types: &dyn Types<'s>) -> Type<'s> {
        let inference = Inference {
            expression: self,
            types,
        };
        if !self.0.sound {
            return Type::ANY;
        }
        if let (true, [reference]) = (self.is_path(), self.references()) {
            return types.type_of(reference);
        }
        parse_code(self.code()).map_or(Type::ANY, |tree| inference.of(&tree))
    }

    /// The comparisons in it whose sides can never be of one type: both types.
    pub(crate) fn odd_comparisons(&self, types: &dyn Types<'_>) -> Vec<(Kinds, Kinds)> {
        let inference = Inference {
            expression: self,
            types,
        };
        let mut found = Vec::new();
        if !self.0.sound || !self.code().contains(['=', '<', '>']) {
            return found;
        }
        if let Ok(tree) = parse_code(self.code()) {
            inference.compare_all(&tree, &mut found);
        }
        found
    }

    /// Whether it is plainly a way of names.
    pub(super) fn is_path(&self) -> bool {
        self.code()
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
    }

    /// The one thing that it reads, where it does nothing but read it.
    pub(crate) fn plain_reference(&self) -> Option<&Reference> {
        if let (true, [reference]) = (self.is_path(), self.references()) {
            return Some(reference);
        }
        let tree = parse_code(self.code()).ok()?;
        let plain = is_way(&tree);
        match self.references() {
            [reference] if plain => Some(reference),
            _ => None,
        }
    }
}

/// For comparing: numbers are numbers, and anything can be compared with nothing.
fn loosely(kinds: Kinds) -> Kinds {
    let kinds = if kinds.meets(Kinds::NUMBER) {
        kinds | Kinds::NUMBER
    } else {
        kinds
    };
    if kinds.meets(Kinds::NULL) { Kinds::ANY } else { kinds }
}

struct Inference<'a, 's> {
    expression: &'a Expression,
    types: &'a dyn Types<'s>,
}

impl<'s> Inference<'_, 's> {
    fn of(&self, expr: &Expr<'_>) -> Type<'s> {
        match expr {
            Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) if !is_way(expr) => Type::ANY,
            Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) => {
                let read = within(expr, self.expression.code(), self.expression.0.names);
                read.last().map_or(Type::ANY, |reference| self.types.type_of(reference))
            }
            Expr::Const(constant) => {
                let value = serde_json::to_value(&constant.value).unwrap_or(Value::Null);
                Type::of(Kinds::of(&value))
            }
            Expr::Slice(slice) => Type::of(self.of(&slice.expr).kinds & (Kinds::TEXT | Kinds::LIST)),
            Expr::UnaryOp(op) => Type::of(if matches!(op.op, UnaryOpKind::Not) {
                Kinds::BOOL
            } else {
                Kinds::NUMBER
            }),
            Expr::BinOp(op) => self.operation(op),
            Expr::Compare(_) | Expr::Test(_) => Type::of(Kinds::BOOL),
            Expr::IfExpr(branches) => match &branches.false_expr {
                Some(otherwise) => self.of(&branches.true_expr).or(self.of(otherwise)),
                None => self.of(&branches.true_expr),
            },
            Expr::Filter(filter) => self.filter(filter),
            Expr::Call(call) => match &call.expr {
                Expr::Var(var) if var.id == "range" => Type::of(Kinds::LIST),
                Expr::Var(var) if var.id == "dict" => Type::of(Kinds::MAP),
                _ => Type::ANY,
            },
            Expr::List(_) | Expr::Tuple(_) => Type::of(Kinds::LIST),
            Expr::Map(_) => Type::of(Kinds::MAP),
        }
    }

    fn compare_all(&self, expr: &Expr<'_>, found: &mut Vec<(Kinds, Kinds)>) {
        match expr {
            Expr::BinOp(op) => {
                if matches!(
                    op.op,
                    BinOpKind::Eq | BinOpKind::Ne | BinOpKind::Lt | BinOpKind::Lte | BinOpKind::Gt | BinOpKind::Gte
                ) {
                    let (left, right) = (self.of(&op.left).kinds, self.of(&op.right).kinds);
                    if !loosely(left).meets(loosely(right)) {
                        found.push((left, right));
                    }
                }
                self.compare_all(&op.left, found);
                self.compare_all(&op.right, found);
            }
            Expr::UnaryOp(op) => self.compare_all(&op.expr, found),
            Expr::IfExpr(branches) => {
                self.compare_all(&branches.test_expr, found);
                self.compare_all(&branches.true_expr, found);
                branches
                    .false_expr
                    .iter()
                    .for_each(|otherwise| self.compare_all(otherwise, found));
            }
            Expr::Filter(filter) => filter.expr.iter().for_each(|inner| self.compare_all(inner, found)),
            _ => {}
        }
    }

    fn operation(&self, op: &BinOp<'_>) -> Type<'s> {
        match op.op {
            BinOpKind::ScAnd | BinOpKind::ScOr => self.of(&op.left).or(self.of(&op.right)),
            BinOpKind::Add => Type::of(self.of(&op.left).kinds & (Kinds::NUMBER | Kinds::TEXT | Kinds::LIST)),
            BinOpKind::Concat => Type::of(Kinds::TEXT),
            BinOpKind::Mul => Type::of(Kinds::NUMBER | Kinds::TEXT | Kinds::LIST),
            BinOpKind::Sub | BinOpKind::Div | BinOpKind::FloorDiv | BinOpKind::Rem | BinOpKind::Pow => {
                Type::of(Kinds::NUMBER)
            }
            _ => Type::of(Kinds::BOOL),
        }
    }

    fn filter(&self, filter: &Filter<'_>) -> Type<'s> {
        Type::of(match filter.name {
            "default" | "d" => return self.default(filter),
            "lower" | "upper" | "title" | "capitalize" | "trim" | "replace" | "join" | "string" | "format"
            | "urlencode" | "tojson" | "indent" => Kinds::TEXT,
            "length" | "count" | "int" => Kinds::INTEGER,
            "float" | "round" | "abs" | "sum" => Kinds::NUMBER,
            "bool" => Kinds::BOOL,
            "list" | "sort" | "unique" | "map" | "select" | "reject" | "selectattr" | "rejectattr" | "batch"
            | "slice" | "split" | "lines" | "items" | "dictsort" | "groupby" | "zip" => Kinds::LIST,
            _ => Kinds::ANY,
        })
    }

    fn default(&self, filter: &Filter<'_>) -> Type<'s> {
        let inner = filter.expr.as_ref().map_or(Type::ANY, |expr| self.of(expr));
        match filter.args.first() {
            Some(CallArg::Pos(otherwise)) => inner.or(self.of(otherwise)),
            Some(_) => Type::ANY,
            None => inner.or(Type::of(Kinds::TEXT)),
        }
    }
}
