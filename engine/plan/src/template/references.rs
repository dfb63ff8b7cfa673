//! What an expression reads, found in its parsed tree: from this come dependencies, types and the checks on secrets.

use std::ops::Range;

use miette::SourceSpan;
use minijinja::machinery::ast::{Call, CallArg, Expr};

use super::engine::{FILTERS, FUNCTIONS, TESTS, bytes};
use super::{Names, parse_code};
use crate::code::Code;
use crate::error::{PlanError, Problems};
use crate::parse::{did_you_mean, suggestion};

/// The names that expressions begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    Inputs,
    Steps,
    Run,
    Objectives,
    Env,
}

/// A step of the way into a value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Segment {
    Field(String),
    Index(i64),
    /// Something computed.
    Dynamic,
}

/// One thing that an expression reads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reference {
    pub(crate) root: Root,
    /// The way from the root; the first is always a field.
    pub(crate) path: Vec<Segment>,
    /// Whether it may be absent: under `default(...)`, `is defined` or `is undefined`.
    pub(crate) guarded: bool,
    pub(crate) span: SourceSpan,
}

impl Reference {
    /// The first name after the root.
    pub(crate) fn name(&self) -> &str {
        match self.path.first() {
            Some(Segment::Field(name)) => name,
            _ => "",
        }
    }

    /// The id of the step that it reads.
    pub(crate) fn step(&self) -> Option<String> {
        (self.root == Root::Steps).then(|| self.name().replace('_', "-"))
    }

    /// Whether it asks for a step's status.
    pub(crate) fn is_status(&self) -> bool {
        self.root == Root::Steps && matches!(self.path.get(1), Some(Segment::Field(name)) if name == "status")
    }

    /// The way into a step's outputs: empty for the whole map.
    pub(crate) fn output(&self) -> Option<&[Segment]> {
        let outputs = matches!(self.path.get(1), Some(Segment::Field(name)) if name == "outputs");
        (self.root == Root::Steps && outputs).then(|| &self.path[2..])
    }

    /// The fields at the beginning of the way, up to the first index.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        self.path.iter().map_while(|segment| match segment {
            Segment::Field(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// As it is written: `steps.restore.outputs.database`.
    pub(crate) fn shown(&self) -> String {
        let root = match self.root {
            Root::Inputs => "inputs",
            Root::Steps => "steps",
            Root::Run => "run",
            Root::Objectives => "objectives",
            Root::Env => "env",
        };
        let mut text = root.to_owned();
        for (index, segment) in self.path.iter().enumerate() {
            let part = match segment {
                Segment::Field(name) if index == 0 && self.root == Root::Steps => {
                    format!(".{}", name.replace('_', "-"))
                }
                Segment::Field(name) => format!(".{name}"),
                Segment::Index(at) => format!("[{at}]"),
                Segment::Dynamic => "[…]".to_owned(),
            };
            text.push_str(&part);
        }
        text
    }
}

/// Finds all references, and reports names, filters, tests and functions that do not exist.
pub(super) fn collect(
    tree: &Expr<'_>,
    code: &str,
    names: Names,
    locate: impl Fn(Range<usize>) -> SourceSpan,
    problems: &mut Problems,
) -> Vec<Reference> {
    let mut collector = Collector {
        names,
        code,
        locate: &locate,
        problems,
        found: Vec::new(),
    };
    collector.visit(tree, false);
    collector.found
}

/// The references in a part of a tree that was collected before: nothing is reported again.
pub(super) fn within(tree: &Expr<'_>, code: &str, names: Names) -> Vec<Reference> {
    let scratch = crate::span::source("", "");
    let mut problems = Problems::new(&scratch);
    collect(tree, code, names, crate::span::span, &mut problems)
}

struct Collector<'a, L> {
    names: Names,
    code: &'a str,
    locate: &'a L,
    problems: &'a mut Problems,
    found: Vec<Reference>,
}

impl<L: Fn(Range<usize>) -> SourceSpan> Collector<'_, L> {
    fn visit(&mut self, expr: &Expr<'_>, guarded: bool) {
        match expr {
            Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) => self.path(expr, guarded),
            Expr::Const(_) => {}
            Expr::Slice(slice) => {
                self.visit(&slice.expr, false);
                [&slice.start, &slice.stop, &slice.step]
                    .into_iter()
                    .flatten()
                    .for_each(|part| self.visit(part, false));
            }
            Expr::UnaryOp(op) => self.visit(&op.expr, false),
            Expr::BinOp(op) => {
                self.visit(&op.left, false);
                self.visit(&op.right, false);
            }
            Expr::Compare(compare) => {
                self.visit(&compare.expr, false);
                compare.ops.iter().for_each(|op| self.visit(&op.expr, false));
            }
            Expr::IfExpr(branches) => {
                self.visit(&branches.test_expr, false);
                self.visit(&branches.true_expr, false);
                branches.false_expr.iter().for_each(|part| self.visit(part, false));
            }
            Expr::Filter(filter) => {
                self.known("filter", filter.name, FILTERS, expr);
                filter
                    .expr
                    .iter()
                    .for_each(|part| self.visit(part, matches!(filter.name, "default" | "d")));
                self.arguments(&filter.args);
            }
            Expr::Test(test) => {
                if test.name.starts_with(|c: char| c.is_ascii_alphabetic()) {
                    self.known("test", test.name, TESTS, expr);
                }
                self.visit(&test.expr, matches!(test.name, "defined" | "undefined"));
                self.arguments(&test.args);
            }
            Expr::Call(call) => self.call(call, expr),
            Expr::List(list) => list.items.iter().for_each(|item| self.visit(item, false)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.visit(item, false)),
            Expr::Map(map) => map
                .keys
                .iter()
                .chain(&map.values)
                .for_each(|part| self.visit(part, false)),
        }
    }

    fn arguments(&mut self, args: &[CallArg<'_>]) {
        for arg in args {
            match arg {
                CallArg::Pos(expr) | CallArg::Kwarg(_, expr) | CallArg::PosSplat(expr) | CallArg::KwargSplat(expr) => {
                    self.visit(expr, false);
                }
            }
        }
    }

    fn call(&mut self, call: &Call<'_>, whole: &Expr<'_>) {
        if let Expr::Var(var) = &call.expr {
            self.known("function", var.id, FUNCTIONS, whole);
        } else {
            let error = PlanError::at(Code::UnknownFunction, self.place(whole), "values have no methods");
            self.problems.push(error.help("use a filter: `value | upper`"));
            match &call.expr {
                Expr::GetAttr(attr) => self.visit(&attr.expr, false),
                other => self.visit(other, false),
            }
        }
        self.arguments(&call.args);
    }

    fn known(&mut self, what: &str, name: &str, known: &[&str], whole: &Expr<'_>) {
        if !known.contains(&name) {
            // The span of a filter or test begins at its name.
            let range = bytes(whole.span());
            let at = (self.locate)(range.start..range.end.min(self.code.len()).max(range.start));
            let error = PlanError::at(Code::UnknownFunction, at, format!("there is no {what} `{name}`"));
            self.problems
                .push(error.help(suggestion(name, known.iter().copied(), &format!("the {what}s are"))));
        }
    }

    fn place(&self, expr: &Expr<'_>) -> SourceSpan {
        let end = bytes(expr.span()).end.min(self.code.len());
        let start = start(expr).min(end);
        let lead = self
            .code
            .get(start..end)
            .map_or(0, |slice| slice.len() - slice.trim_start().len());
        (self.locate)(start + lead..end)
    }

    fn path(&mut self, expr: &Expr<'_>, guarded: bool) {
        let mut path = Vec::new();
        // A field of something computed, such as `(a or b).c`, has no root: what is computed has its own references.
        if let Some(root) = self.unwind(expr, &mut path) {
            self.rooted(root, path, guarded, expr);
        }
    }

    /// Follows attributes and items down to the variable that they begin at.
    fn unwind<'e>(&mut self, expr: &'e Expr<'_>, path: &mut Vec<Segment>) -> Option<&'e str> {
        match expr {
            Expr::Var(var) => Some(var.id),
            Expr::GetAttr(attr) => {
                let root = self.unwind(&attr.expr, path);
                path.push(Segment::Field(attr.name.to_owned()));
                root
            }
            Expr::GetItem(item) => {
                let root = self.unwind(&item.expr, path);
                path.push(self.subscript(&item.subscript_expr));
                root
            }
            other => {
                self.visit(other, false);
                None
            }
        }
    }

    fn subscript(&mut self, expr: &Expr<'_>) -> Segment {
        if let Expr::Const(constant) = expr {
            if let Some(name) = constant.value.as_str() {
                return Segment::Field(name.to_owned());
            }
            if let Some(index) = constant.value.as_i64() {
                return Segment::Index(index);
            }
        }
        self.visit(expr, false);
        Segment::Dynamic
    }

    fn rooted(&mut self, root: &str, path: Vec<Segment>, guarded: bool, expr: &Expr<'_>) {
        let at = self.place(expr);
        let root = match (root, self.names) {
            ("inputs", Names::Plan) => Root::Inputs,
            ("steps", Names::Plan) => Root::Steps,
            ("run", Names::Plan) => Root::Run,
            ("objectives", Names::Plan) => Root::Objectives,
            ("env", Names::Targets) => Root::Env,
            _ => {
                let error = self.unknown_root(root, at);
                return self.problems.push(error);
            }
        };
        let reference = Reference {
            root,
            path,
            guarded,
            span: at,
        };
        match misshapen(&reference) {
            Some(error) => self.problems.push(error),
            None => self.found.push(reference),
        }
    }

    fn unknown_root(&self, root: &str, at: SourceSpan) -> PlanError {
        let known: &[&str] = match self.names {
            Names::Plan => &["inputs", "steps", "run", "objectives"],
            Names::Targets => &["env"],
        };
        let error = PlanError::at(Code::UnknownName, at, format!("`{root}` is not known here"));
        match (root, self.names) {
            ("env", Names::Plan) => error.help(
                "a plan does not read the environment: declare an input, or read the variable in the targets file",
            ),
            ("each", Names::Plan) => error.help("`for_each` comes with a later version"),
            ("null" | "nil", _) => error.help("nothing is written `none`"),
            (_, Names::Targets) => error.help("a targets file reads `env.NAME` and nothing else"),
            _ if did_you_mean(root, known.iter().copied()).is_none() => error.help(format!(
                "text is put in quotes: `'{root}'`; names begin with `inputs`, `steps`, `run` or `objectives`"
            )),
            _ => error.help(suggestion(root, known.iter().copied(), "known are")),
        }
    }
}

/// Whether an expression is a way from a name, and not from something computed.
pub(super) fn is_way(expr: &Expr<'_>) -> bool {
    match expr {
        Expr::Var(_) => true,
        Expr::GetAttr(attr) => is_way(&attr.expr),
        Expr::GetItem(item) => is_way(&item.expr),
        _ => false,
    }
}

/// Where an expression begins: minijinja begins the span of `a.b` at the dot.
fn start(expr: &Expr<'_>) -> usize {
    match expr {
        Expr::GetAttr(attr) => start(&attr.expr),
        Expr::GetItem(item) => start(&item.expr),
        Expr::Filter(filter) => filter.expr.as_ref().map_or_else(|| bytes(expr.span()).start, start),
        Expr::Test(test) => start(&test.expr),
        Expr::Call(call) => start(&call.expr),
        _ => bytes(expr.span()).start,
    }
}

/// What is wrong with the way that a reference goes, where no plan could make it right.
fn misshapen(reference: &Reference) -> Option<PlanError> {
    let first = reference.path.first();
    let named = matches!(first, Some(Segment::Field(_)));
    let error = |code, message: &str, help: String| Some(PlanError::at(code, reference.span, message).help(help));
    match reference.root {
        Root::Inputs if !named => error(
            Code::UnknownInput,
            "no input is named",
            "name one: `inputs.NAME`".to_owned(),
        ),
        Root::Env if !named || reference.path.len() > 1 => error(
            Code::UnknownName,
            "no variable is named",
            "name one: `env.NAME`".to_owned(),
        ),
        Root::Steps if !named => {
            let help = "name it as it stands, `steps.NAME`: what a step waits for must be known before the run";
            error(Code::UnknownStep, "no step is named", help.to_owned())
        }
        Root::Steps => misshapen_step(reference),
        Root::Run => unknown_member(
            reference,
            "run",
            &["id", "started_at", "directory", "drill", "status", "summary"],
        ),
        Root::Objectives => unknown_member(reference, "objectives", &["rto", "rpo"]),
        Root::Inputs | Root::Env => None,
    }
}

fn misshapen_step(reference: &Reference) -> Option<PlanError> {
    let step = reference.step().unwrap_or_default();
    match reference.path.get(1) {
        Some(Segment::Field(name)) if name == "outputs" => None,
        Some(Segment::Field(name)) if name == "status" && reference.path.len() == 2 => None,
        _ => {
            let error = PlanError::at(
                Code::UnknownName,
                reference.span,
                "a step has `outputs` and `status`, and nothing else",
            );
            Some(error.help(format!(
                "write `steps.{step}.outputs.FIELD`, `steps.{step}.outputs` or `steps.{step}.status`"
            )))
        }
    }
}

fn unknown_member(reference: &Reference, root: &str, known: &[&str]) -> Option<PlanError> {
    if reference.path.len() == 1 && known.contains(&reference.name()) {
        return None;
    }
    let name = reference.name();
    if known.contains(&name) {
        let message = format!("`{root}.{name}` has no parts");
        return Some(PlanError::at(Code::UnknownName, reference.span, message));
    }
    let error = PlanError::at(Code::UnknownName, reference.span, format!("`{root}` has no `{name}`"));
    Some(error.help(suggestion(name, known.iter().copied(), "it has")))
}

/// An expression that only passes a secret on: what it reads, in turn, and what it is otherwise.
pub(crate) struct SecretForm {
    pub(crate) fallback: Option<serde_json::Value>,
}

/// Reads `inputs.x`, `env.X` and either with one `default('text')`. Anything else would do something with a secret.
pub(crate) fn secret_form(code: &str) -> Option<SecretForm> {
    match parse_code(code).ok()? {
        way if is_way(&way) => Some(SecretForm { fallback: None }),
        Expr::Filter(filter) if matches!(filter.name, "default" | "d") => {
            let plain = filter.expr.as_ref().is_some_and(is_way);
            match filter.args.as_slice() {
                [] if plain => Some(SecretForm {
                    fallback: Some(serde_json::Value::from("")),
                }),
                [CallArg::Pos(Expr::Const(constant))] if plain => {
                    let fallback = serde_json::to_value(&constant.value).ok()?;
                    Some(SecretForm {
                        fallback: Some(fallback),
                    })
                }
                _ => None,
            }
        }
        _ => None,
    }
}
