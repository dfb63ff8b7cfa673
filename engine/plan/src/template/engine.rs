//! The expression engine: minijinja without statements, methods, state or side effects.

use std::sync::LazyLock;

use miette::SourceSpan;
use minijinja::machinery::ast::Expr;
use minijinja::machinery::{CodeGenerator, Span, make_string_output};
use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior, Value};

use crate::code::Code;
use crate::error::PlanError;

/// How much work one expression may cause: far more than any sensible one, far less than a second.
const FUEL: u64 = 100_000;

/// The filters that there are. All are pure; those that escape for HTML, print for debugging or depend on the place of
/// a line are left out.
pub(crate) const FILTERS: &[&str] = &[
    "abs",
    "attr",
    "batch",
    "bool",
    "capitalize",
    "chain",
    "count",
    "d",
    "default",
    "dictsort",
    "first",
    "float",
    "format",
    "groupby",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "trim",
    "unique",
    "upper",
    "zip",
    "indent",
    "tojson",
    "urlencode",
];
/// The tests (`is …`) that there are.
pub(crate) const TESTS: &[&str] = &[
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "equalto",
    "even",
    "false",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "int",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sequence",
    "startingwith",
    "string",
    "true",
    "undefined",
];
/// The functions that there are.
pub(crate) const FUNCTIONS: &[&str] = &["dict", "range"];

static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_fuel(Some(FUEL));
    engine.set_debug(false);
    for filter in ["safe", "escape", "e", "pprint"] {
        engine.remove_filter(filter);
    }
    for test in ["safe", "escaped", "filter", "test"] {
        engine.remove_test(test);
    }
    for global in ["debug", "namespace"] {
        engine.remove_global(global);
    }
    engine.add_filter("tojson", to_json);
    engine.add_filter("urlencode", url_encode);
    engine
});

fn to_json(value: &Value) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::new(minijinja::ErrorKind::BadSerialization, error.to_string()))
}

fn url_encode(value: &str) -> String {
    use std::fmt::Write as _;
    value
        .bytes()
        .fold(String::with_capacity(value.len()), |mut text, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                // Writing to a string cannot fail.
                let _ = write!(text, "%{byte:02X}");
            }
            text
        })
}

/// Parses an expression as minijinja reads it.
pub(crate) fn parse_code(code: &str) -> Result<Expr<'_>, Error> {
    minijinja::machinery::parse_expr(code)
}

/// Evaluates a part of a parsed expression.
pub(super) fn run(expr: &Expr<'_>, code: &str, context: Value) -> Result<Value, Error> {
    let mut generator = CodeGenerator::new("<expression>", code);
    generator.compile_expr(expr);
    let (instructions, blocks) = generator.finish();
    let mut ignored = String::new();
    let mut output = make_string_output(&mut ignored);
    let (value, _state) =
        minijinja::machinery::eval(&ENGINE, &instructions, context, &blocks, &mut output, AutoEscape::None)?;
    Ok(value.unwrap_or_default())
}

/// The bytes of a part. minijinja begins some spans at the token before; the white space is taken off.
pub(super) fn bytes(at: Span) -> std::ops::Range<usize> {
    let start = usize::try_from(at.start_offset).unwrap_or(0);
    start..usize::try_from(at.end_offset).unwrap_or(0).max(start)
}

pub(super) fn syntax_error(error: &Error, at: SourceSpan) -> PlanError {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    PlanError::at(
        Code::ExpressionSyntax,
        at,
        format!("this is not an expression: {detail}"),
    )
}

/// The code that minijinja gets for an expression's text: steps may have `-` in their ids, which would be read as minus,
/// so after `steps.` it becomes `_`. Of the same length, so that places stay true.
pub(super) fn same_length_code(text: &str) -> String {
    let mut code: Vec<u8> = text.as_bytes().to_vec();
    let mut quote = None;
    let mut at = 0;
    while at < code.len() {
        match (code[at], quote) {
            (b'\\', Some(_)) => at += 1,
            (byte, Some(open)) if byte == open => quote = None,
            (byte @ (b'\'' | b'"'), None) => quote = Some(byte),
            (b's', None) if begins_steps(&code, at) => {
                at += "steps.".len();
                while at < code.len() && (code[at].is_ascii_alphanumeric() || matches!(code[at], b'-' | b'_')) {
                    if code[at] == b'-' {
                        code[at] = b'_';
                    }
                    at += 1;
                }
                continue;
            }
            // Inside quotes, or nothing that matters.
            _ => {}
        }
        at += 1;
    }
    // Only ASCII was put in the place of ASCII.
    String::from_utf8(code).unwrap_or_else(|_| text.to_owned())
}

fn begins_steps(code: &[u8], at: usize) -> bool {
    let alone = at == 0 || !(code[at - 1].is_ascii_alphanumeric() || matches!(code[at - 1], b'_' | b'.'));
    alone && code[at..].starts_with(b"steps.")
}
