//! What an `if` rules out: which statuses a step can have where it is true, and which outputs are then there.

use std::collections::{BTreeSet, HashMap, HashSet};

use minijinja::machinery::ast::{BinOp, BinOpKind, Expr, UnaryOpKind};

use crate::template::{Expression, Reference, StepStatus, parse_code, references_in};

/// A set of statuses, by their words.
pub(crate) type Statuses = BTreeSet<&'static str>;

/// What holds where an `if` is true.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    /// The statuses that steps can have.
    pub(crate) statuses: HashMap<String, Statuses>,
    /// What is there, as it is written.
    present: HashSet<String>,
    /// The parts that must all be true.
    parts: HashSet<String>,
}

impl Guards {
    /// Of an `if`, or of none.
    pub(crate) fn of(when: Option<&Expression>) -> Self {
        let mut guards = Self::default();
        if let Some(when) = when {
            if let Ok(tree) = parse_code(when.code()) {
                guards.add(&tree, when);
            }
        }
        guards
    }

    fn add(&mut self, expr: &Expr<'_>, when: &Expression) {
        if let Expr::BinOp(op) = expr {
            if matches!(op.op, BinOpKind::ScAnd) {
                self.add(&op.left, when);
                self.add(&op.right, when);
                return;
            }
        }
        self.parts.insert(canonical(expr));
        if let Some((step, statuses)) = statuses(expr, when) {
            let known = self.statuses.entry(step).or_insert_with(all);
            *known = known.intersection(&statuses).copied().collect();
        }
        self.present.extend(present(expr, when).iter().map(Reference::shown));
    }

    /// Whether what a reference leads to is there.
    pub(crate) fn ensures(&self, reference: &Reference) -> bool {
        let shown = reference.shown();
        self.present.contains(&shown)
    }

    /// Whether this is true only where the other is true too. Only parts that cannot change their mind during a run
    /// count: those that name a status can.
    pub(crate) fn implies(&self, other: &Guards) -> bool {
        other.statuses.is_empty() && other.parts.iter().all(|part| self.parts.contains(part))
    }
}

/// All statuses.
pub(crate) fn all() -> Statuses {
    StepStatus::WORDS.into_iter().collect()
}

/// The same text for the same expression, wherever it stands.
fn canonical(expr: &Expr<'_>) -> String {
    let shown = format!("{expr:?}");
    let mut text = String::with_capacity(shown.len());
    let mut rest = shown.as_str();
    // Places are shown as ` @ 1:2-1:9`.
    while let Some((before, after)) = rest.split_once(" @ ") {
        text.push_str(before);
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':' || c == '-');
    }
    text + rest
}

/// What must be there for an expression to be true: in a comparison, everything; what is not there makes it false.
fn present(expr: &Expr<'_>, when: &Expression) -> Vec<Reference> {
    match expr {
        Expr::BinOp(op) if matches!(op.op, BinOpKind::ScOr) => Vec::new(),
        Expr::UnaryOp(op) if matches!(op.op, UnaryOpKind::Not) => Vec::new(),
        Expr::IfExpr(_) => Vec::new(),
        Expr::Test(test) if test.name == "defined" => references_in(&test.expr, when),
        _ => references_in(expr, when)
            .into_iter()
            .filter(|reference| !reference.guarded)
            .collect(),
    }
}

/// The statuses of one step with which an expression is true, where it asks for nothing else.
fn statuses(expr: &Expr<'_>, when: &Expression) -> Option<(String, Statuses)> {
    match expr {
        Expr::UnaryOp(op) if matches!(op.op, UnaryOpKind::Not) => {
            let (step, inner) = statuses(&op.expr, when)?;
            Some((step, all().difference(&inner).copied().collect()))
        }
        Expr::BinOp(op) if matches!(op.op, BinOpKind::ScAnd | BinOpKind::ScOr) => {
            let (step, left) = statuses(&op.left, when)?;
            let (other, right) = statuses(&op.right, when)?;
            let both = if matches!(op.op, BinOpKind::ScOr) {
                &left | &right
            } else {
                &left & &right
            };
            (step == other).then_some((step, both))
        }
        Expr::BinOp(op) => {
            let (step, words) = compared(op, when)?;
            let named: Statuses = all()
                .into_iter()
                .filter(|word| words.iter().any(|other| other == word))
                .collect();
            match op.op {
                BinOpKind::Eq | BinOpKind::In => Some((step, named)),
                BinOpKind::Ne => Some((step, all().difference(&named).copied().collect())),
                _ => None,
            }
        }
        _ => None,
    }
}

/// A step's status and the words that it is compared with.
pub(crate) fn compared(op: &BinOp<'_>, when: &Expression) -> Option<(String, Vec<String>)> {
    if !matches!(op.op, BinOpKind::Eq | BinOpKind::Ne | BinOpKind::In) {
        return None;
    }
    let status = |expr: &Expr<'_>| match references_in(expr, when).as_slice() {
        [one] if one.is_status() && matches!(expr, Expr::GetAttr(_)) => one.step(),
        _ => None,
    };
    match (status(&op.left), status(&op.right)) {
        (Some(step), None) => Some((step, words(&op.right)?)),
        (None, Some(step)) if !matches!(op.op, BinOpKind::In) => Some((step, words(&op.left)?)),
        _ => None,
    }
}

fn words(expr: &Expr<'_>) -> Option<Vec<String>> {
    match serde_json::to_value(expr.as_const()?).ok()? {
        serde_json::Value::String(word) => Some(vec![word]),
        serde_json::Value::Array(items) => Some(
            items
                .into_iter()
                .filter_map(|item| item.as_str().map(str::to_owned))
                .collect(),
        ),
        _ => None,
    }
}
