//! Whether a value fits a schema, where parts of the value may not be known yet.

use serde_json::{Map, Value};

use super::{Field, Kinds, Shape};
use crate::code::Code;
use crate::input::plain;
use crate::parse::{scalar_looks_boolean, shorten, suggestion};

/// One thing that does not fit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Violation {
    pub(crate) code: Code,
    /// Where, as a JSON pointer.
    pub(crate) pointer: String,
    /// Whether the key is meant, not the value.
    pub(crate) at_key: bool,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// What came of comparing.
#[derive(Debug, Default)]
pub(crate) struct Fit<'s> {
    pub(crate) violations: Vec<Violation>,
    /// The parts that are not known, and what is wanted there.
    pub(crate) open: Vec<(String, Shape<'s>)>,
}

/// Compares a value with a schema. `unknown` says of a pointer whether what stands there is not known.
pub(crate) fn fit<'s>(value: &Value, shape: Shape<'s>, unknown: &dyn Fn(&str) -> bool) -> Fit<'s> {
    let mut fit = Fit::default();
    Fitting { unknown }.value(value, shape, "", &mut fit, 0);
    fit
}

struct Fitting<'a> {
    unknown: &'a dyn Fn(&str) -> bool,
}

impl Fitting<'_> {
    fn value<'s>(&self, value: &Value, shape: Shape<'s>, at: &str, fit: &mut Fit<'s>, depth: usize) {
        if depth > 2 * super::DEPTH {
            return;
        }
        if (self.unknown)(at) {
            fit.open.push((at.to_owned(), shape));
            return;
        }
        if !shape.kinds().meets(Kinds::of(value)) {
            fit.violations.push(wrong_type(value, shape, at));
            return;
        }
        if let Some(choices) = shape.choices() {
            if !choices.contains(&value) {
                fit.violations.push(no_choice(value, &choices, at));
            }
            return;
        }
        self.all(value, shape, at, fit, depth);
        if let Value::Object(map) = value {
            unknown_fields(map, shape, at, fit);
        }
    }

    /// Everything but the types and the names of fields, which are looked at for the whole.
    fn all<'s>(&self, value: &Value, shape: Shape<'s>, at: &str, fit: &mut Fit<'s>, depth: usize) {
        if depth > 2 * super::DEPTH {
            return;
        }
        limits(value, shape, at, fit);
        match value {
            Value::Object(map) => self.object(map, shape, at, fit, depth),
            Value::Array(items) => self.array(items, shape, at, fit, depth),
            _ => {}
        }
        if let Some(target) = shape.target() {
            self.all(value, target, at, fit, depth + 1);
        }
        for part in shape.branches("allOf") {
            self.all(value, part, at, fit, depth + 1);
        }
        for keyword in ["anyOf", "oneOf"] {
            self.alternatives(value, shape, keyword, at, fit, depth);
        }
    }

    fn object<'s>(&self, map: &Map<String, Value>, shape: Shape<'s>, at: &str, fit: &mut Fit<'s>, depth: usize) {
        let declared = shape.get("properties").and_then(Value::as_object);
        for (name, value) in map {
            let schema = declared
                .and_then(|fields| fields.get(name))
                .or_else(|| shape.get("additionalProperties").filter(|schema| schema.is_object()));
            if let Some(schema) = schema {
                self.value(value, shape.at(schema), &below(at, name), fit, depth + 1);
            }
        }
        for name in shape
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            let given = map
                .get(name)
                .is_some_and(|value| !value.is_null() || (self.unknown)(&below(at, name)));
            let nullable = declared
                .and_then(|fields| fields.get(name))
                .is_some_and(|schema| shape.at(schema).kinds().meets(Kinds::NULL));
            let left_empty = nullable && map.contains_key(name);
            if !(given || left_empty) {
                fit.violations.push(missing(name, shape, at));
            }
        }
    }

    fn array<'s>(&self, items: &[Value], shape: Shape<'s>, at: &str, fit: &mut Fit<'s>, depth: usize) {
        let first = shape.get("prefixItems").and_then(Value::as_array);
        for (index, item) in items.iter().enumerate() {
            let schema = first
                .and_then(|schemas| schemas.get(index))
                .or_else(|| shape.get("items"));
            if let Some(schema) = schema {
                self.value(item, shape.at(schema), &below(at, &index.to_string()), fit, depth + 1);
            }
        }
    }

    /// Of several forms, the value must have one; what is said is said of the one that it comes nearest to.
    fn alternatives<'s>(
        &self,
        value: &Value,
        shape: Shape<'s>,
        keyword: &str,
        at: &str,
        fit: &mut Fit<'s>,
        depth: usize,
    ) {
        let kind = Kinds::of(value);
        if let Some(tag) = value.as_object().and_then(|_| tag_of(shape, keyword)) {
            if let Some(violation) = self.wrong_tag(value, tag, shape, keyword, at) {
                return fit.violations.push(violation);
            }
        }
        let mut best: Option<Fit<'s>> = None;
        for branch in shape.branches(keyword).filter(|branch| branch.kinds().meets(kind)) {
            let mut one = Fit::default();
            self.branch(value, branch, at, &mut one, depth + 1);
            let better = best.as_ref().is_none_or(|best| rank(&one) < rank(best));
            if better {
                best = Some(one);
            }
        }
        if let Some(best) = best {
            fit.violations.extend(best.violations);
            fit.open.extend(best.open);
        }
    }

    /// A tag that no form has, or that is missing.
    fn wrong_tag(&self, value: &Value, tag: &str, shape: Shape<'_>, keyword: &str, at: &str) -> Option<Violation> {
        let pointer = below(at, tag);
        if (self.unknown)(&pointer) {
            return None;
        }
        let forms: Vec<Shape<'_>> = shape
            .branches(keyword)
            .filter(|form| form.kinds().meets(Kinds::MAP))
            .collect();
        let Some(given) = value.get(tag) else {
            return forms.first().map(|form| missing(tag, *form, at));
        };
        let choices: Vec<&Value> = forms
            .iter()
            .filter_map(|form| form.only_field(tag)?.choices())
            .flatten()
            .collect();
        (!choices.contains(&given)).then(|| no_choice(given, &choices, &pointer))
    }

    fn branch<'s>(&self, value: &Value, branch: Shape<'s>, at: &str, fit: &mut Fit<'s>, depth: usize) {
        match branch.choices() {
            Some(choices) if !choices.contains(&value) => fit.violations.push(no_choice(value, &choices, at)),
            Some(_) => {}
            None => self.all(value, branch, at, fit, depth),
        }
        // Which fields there are decides between forms, too.
        if let (Value::Object(map), true) = (value, branch.get("additionalProperties") == Some(&Value::Bool(false))) {
            unknown_fields(map, branch, at, fit);
        }
    }
}

/// The field whose value says which form is meant: one that has fixed values in all forms that are mappings.
fn tag_of<'s>(shape: Shape<'s>, keyword: &str) -> Option<&'s str> {
    let forms: Vec<Shape<'s>> = shape
        .branches(keyword)
        .filter(|form| form.kinds().meets(Kinds::MAP))
        .collect();
    let fixed = |name: &&str| {
        forms
            .iter()
            .all(|form| form.only_field(name).is_some_and(|field| field.choices().is_some()))
    };
    (forms.len() > 1)
        .then(|| forms.first()?.field_names().into_iter().find(fixed))
        .flatten()
}

/// The fewer tags that say otherwise, the nearer; then the fewer mistakes.
fn rank(fit: &Fit<'_>) -> (usize, usize) {
    let other = fit
        .violations
        .iter()
        .filter(|violation| violation.code == Code::InvalidValue)
        .count();
    (other, fit.violations.len())
}

/// More mistakes in one value than anybody reads.
const MOST: usize = 100;

fn unknown_fields(map: &Map<String, Value>, shape: Shape<'_>, at: &str, fit: &mut Fit<'_>) {
    for name in map.keys() {
        if fit.violations.len() > MOST {
            return;
        }
        let pointer = below(at, name);
        let said = fit
            .violations
            .iter()
            .any(|violation| violation.at_key && violation.pointer == pointer);
        if !said && matches!(shape.field(name), Field::Absent) {
            fit.violations.push(Violation {
                code: Code::UnknownField,
                pointer,
                at_key: true,
                message: format!("there is no field `{name}`"),
                help: Some(suggestion(name, shape.field_names(), "the fields are")),
            });
        }
    }
}

fn missing(name: &str, shape: Shape<'_>, at: &str) -> Violation {
    let about = match shape.field(name) {
        Field::Declared(shapes) => shapes.first().and_then(|shape| shape.description()),
        _ => None,
    };
    Violation {
        code: Code::MissingField,
        pointer: at.to_owned(),
        at_key: false,
        message: format!("the field `{name}` is missing"),
        help: about.map(|about| format!("`{name}`: {about}")),
    }
}

fn wrong_type(value: &Value, shape: Shape<'_>, at: &str) -> Violation {
    let wanted = shape.kinds().without(Kinds::NULL);
    let help = match value {
        Value::String(text) if wanted.meets(Kinds::BOOL) && scalar_looks_boolean(text) => {
            let meant = matches!(text.to_ascii_lowercase().as_str(), "yes" | "on");
            Some(format!("write `{meant}`: in YAML 1.2 `{text}` is text"))
        }
        Value::String(text) if wanted.meets(Kinds::NUMBER) && text.parse::<f64>().is_ok() => {
            Some("write it without quotes".to_owned())
        }
        Value::Number(_) | Value::Bool(_) if wanted.meets(Kinds::TEXT) => Some("put it in quotes".to_owned()),
        Value::String(text) if wanted.meets(Kinds::LIST) => Some(format!("write a list: `[{}]`", shorten(text))),
        _ => shape.description(),
    };
    Violation {
        code: Code::WrongType,
        pointer: at.to_owned(),
        at_key: false,
        message: format!("{} stands where {} is wanted", Kinds::of(value).shown(), wanted.shown()),
        help,
    }
}

fn no_choice(value: &Value, choices: &[&Value], at: &str) -> Violation {
    let names: Vec<String> = choices
        .iter()
        .filter(|choice| !choice.is_null())
        .map(|choice| plain(choice))
        .collect();
    Violation {
        code: Code::InvalidValue,
        pointer: at.to_owned(),
        at_key: false,
        message: format!("`{}` is not possible here", shorten(&plain(value))),
        help: Some(suggestion(
            &plain(value),
            names.iter().map(String::as_str),
            "write one of",
        )),
    }
}

fn limits(value: &Value, shape: Shape<'_>, at: &str, fit: &mut Fit<'_>) {
    if let Some(message) = broken_limit(value, shape) {
        fit.violations.push(Violation {
            code: Code::InvalidValue,
            pointer: at.to_owned(),
            at_key: false,
            message,
            help: shape.description(),
        });
    }
}

fn broken_limit(value: &Value, shape: Shape<'_>) -> Option<String> {
    let number = |keyword: &str| shape.get(keyword).and_then(Value::as_f64);
    let count = |keyword: &str| {
        shape
            .get(keyword)
            .and_then(Value::as_u64)
            .and_then(|n| usize::try_from(n).ok())
    };
    match value {
        Value::Number(is) => {
            let is_f = is.as_f64()?;
            let low = number("minimum")
                .filter(|min| is_f < *min)
                .map(|min| format!("{is} is less than {min}"));
            let high = number("maximum")
                .filter(|max| is_f > *max)
                .map(|max| format!("{is} is more than {max}"));
            let above = number("exclusiveMinimum")
                .filter(|min| is_f <= *min)
                .map(|min| format!("{is} is not more than {min}"));
            let under = number("exclusiveMaximum")
                .filter(|max| is_f >= *max)
                .map(|max| format!("{is} is not less than {max}"));
            low.or(high).or(above).or(under)
        }
        Value::String(text) => {
            let length = text.chars().count();
            let short = count("minLength").filter(|min| length < *min);
            let long = count("maxLength").filter(|max| length > *max);
            let pattern = shape.get("pattern").and_then(Value::as_str);
            let odd = pattern.filter(|pattern| regex::Regex::new(pattern).is_ok_and(|regex| !regex.is_match(text)));
            let short = short.map(|min| {
                if length == 0 {
                    "it must not be empty".to_owned()
                } else {
                    format!("it has {length} characters, and needs {min}")
                }
            });
            let long = long.map(|max| format!("it has {length} characters, and may have {max}"));
            short
                .or(long)
                .or(odd.map(|pattern| format!("`{}` does not match `{pattern}`", shorten(text))))
        }
        Value::Array(items) => {
            let short = count("minItems").filter(|min| items.len() < *min);
            let long = count("maxItems").filter(|max| items.len() > *max);
            let short = short.map(|min| format!("the list has {} items, and needs {min}", items.len()));
            short.or(long.map(|max| format!("the list has {} items, and may have {max}", items.len())))
        }
        _ => None,
    }
}

/// A pointer one step further.
pub(crate) fn below(at: &str, step: &str) -> String {
    format!("{at}/{}", step.replace('~', "~0").replace('/', "~1"))
}
