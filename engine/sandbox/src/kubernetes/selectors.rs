//! Label selectors and field selectors.

use serde_json::{Map, Value};

use super::object;
use super::status::ApiError;

/// What labels must be.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Labels(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Labels {
    /// Reads `app=web,tier in (a,b),!old`.
    ///
    /// # Errors
    /// `BadRequest` for what cannot be read.
    pub(super) fn parse(text: &str) -> Result<Self, ApiError> {
        split_outside_brackets(text)
            .into_iter()
            .map(parse_requirement)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The selector of an object: `matchLabels` and `matchExpressions`.
    pub(super) fn of_object(selector: &Value) -> Self {
        let equal = object::map(selector, "/matchLabels")
            .into_iter()
            .flatten()
            .map(|(key, value)| Requirement {
                key: key.clone(),
                test: Test::In(vec![value.as_str().unwrap_or_default().to_owned()]),
            });
        let expressions = object::items(selector, "/matchExpressions").iter().map(|expression| {
            let values: Vec<_> = object::items(expression, "/values")
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            let test = match object::text(expression, "/operator") {
                "In" => Test::In(values),
                "NotIn" => Test::NotIn(values),
                "DoesNotExist" => Test::Absent,
                _ => Test::Exists,
            };
            Requirement {
                key: object::text(expression, "/key").to_owned(),
                test,
            }
        });
        Self(equal.chain(expressions).collect())
    }

    /// A plain map of labels, as a Service has it.
    pub(super) fn of_map(labels: &Value) -> Self {
        Self::of_object(&serde_json::json!({"matchLabels": labels}))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        self.matches_labels(object::map(object, "/metadata/labels"))
    }

    pub(super) fn matches_labels(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels
                .and_then(|labels| labels.get(&requirement.key))
                .and_then(Value::as_str);
            match &requirement.test {
                Test::In(values) => value.is_some_and(|value| values.iter().any(|wanted| wanted == value)),
                Test::NotIn(values) => value.is_none_or(|value| values.iter().all(|wanted| wanted != value)),
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
            }
        })
    }

    /// As text, as the `scale` subresource shows it.
    pub(super) fn to_text(&self) -> String {
        let part = |requirement: &Requirement| {
            let key = &requirement.key;
            match &requirement.test {
                Test::In(values) if values.len() == 1 => format!("{key}={}", values[0]),
                Test::In(values) => format!("{key} in ({})", values.join(",")),
                Test::NotIn(values) => format!("{key} notin ({})", values.join(",")),
                Test::Exists => key.clone(),
                Test::Absent => format!("!{key}"),
            }
        };
        self.0.iter().map(part).collect::<Vec<_>>().join(",")
    }
}

fn split_outside_brackets(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_i32, 0, Vec::new());
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect()
}

fn parse_requirement(text: &str) -> Result<Requirement, ApiError> {
    let made = |key: &str, test| Requirement {
        key: key.trim().to_owned(),
        test,
    };
    let requirement = if let Some(key) = text.strip_prefix('!') {
        made(key, Test::Absent)
    } else if let Some((key, value)) = text.split_once("!=") {
        made(key, Test::NotIn(vec![value.trim().to_owned()]))
    } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        made(key, Test::In(vec![value.trim().to_owned()]))
    } else if let Some((head, values)) = text.split_once('(') {
        parse_set(head, values.trim_end().trim_end_matches(')'))?
    } else {
        made(text, Test::Exists)
    };
    if requirement.key.is_empty() || requirement.key.contains(char::is_whitespace) {
        return Err(ApiError::bad_request(format!("unable to parse requirement: {text:?}")));
    }
    Ok(requirement)
}

fn parse_set(head: &str, values: &str) -> Result<Requirement, ApiError> {
    let values = values.split(',').map(|value| value.trim().to_owned()).collect();
    let mut words = head.split_whitespace();
    let (key, operator) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let test = match operator {
        "in" => Test::In(values),
        "notin" => Test::NotIn(values),
        other => {
            return Err(ApiError::bad_request(format!(
                "unable to parse requirement: found '{other}', expected: in, notin"
            )));
        }
    };
    Ok(Requirement {
        key: key.to_owned(),
        test,
    })
}

/// What fields must be, such as `metadata.name=web,status.phase!=Failed`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fields(Vec<(String, bool, String)>);

/// The fields that may be asked for, beside name and namespace.
const SELECTABLE: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "status.phase",
    "status.podIP",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.unschedulable",
    "status.successful",
    "status.replicas",
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "regarding.kind",
    "regarding.namespace",
    "regarding.name",
    "regarding.uid",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

impl Fields {
    /// # Errors
    /// `BadRequest` for a term without `=` and for a field that cannot be selected.
    pub(super) fn parse(text: &str) -> Result<Self, ApiError> {
        text.split(',')
            .filter(|term| !term.is_empty())
            .map(parse_term)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Selects one name.
    pub(super) fn name(name: &str) -> Self {
        Self(vec![("metadata.name".to_owned(), true, name.to_owned())])
    }

    pub(super) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        self.0
            .iter()
            .all(|(field, equal, wanted)| (field_text(object, field) == *wanted) == *equal)
    }
}

fn field_text(object: &Value, field: &str) -> String {
    let pointer = match field {
        "source" => "/source/component".to_owned(),
        _ => format!("/{}", field.replace('.', "/")),
    };
    match object.pointer(&pointer) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) if field == "spec.unschedulable" => "false".to_owned(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    }
}

fn parse_term(term: &str) -> Result<(String, bool, String), ApiError> {
    let split = |mark: &str| term.split_once(mark).map(|(field, value)| (field.trim(), value.trim()));
    let (field, equal, value) = if let Some((field, value)) = split("!=") {
        (field, false, value)
    } else if let Some((field, value)) = split("==").or_else(|| split("=")) {
        (field, true, value)
    } else {
        return Err(ApiError::bad_request(format!(
            "invalid field selector {term:?}: can't understand"
        )));
    };
    if !SELECTABLE.contains(&field) {
        return Err(ApiError::bad_request(format!("field label not supported: {field}")));
    }
    Ok((field.to_owned(), equal, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labelled(labels: Value) -> Value {
        json!({"metadata": {"name": "web", "labels": labels}, "status": {"phase": "Running"}})
    }

    #[test]
    fn label_selectors() {
        let object = labelled(json!({"app": "web", "tier": "a"}));
        for (selector, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier in (a, b)", true),
            ("app!=web", false),
            ("!app", false),
            ("app", true),
            ("new", false),
            ("tier notin (a,b)", false),
            ("new notin (a)", true),
            ("new!=a", true),
        ] {
            assert_eq!(
                Labels::parse(selector).unwrap().matches(&object),
                expected,
                "{selector}"
            );
        }
        assert!(Labels::parse("app within (a)").is_err());
    }

    #[test]
    fn object_selectors_read_expressions_and_print() {
        let selector = json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}]});
        let selector = Labels::of_object(&selector);
        assert!(selector.matches(&labelled(json!({"app": "web", "tier": "b"}))));
        assert_eq!(selector.to_text(), "app=web,tier in (a,b)");
        assert_eq!(Labels::parse(&selector.to_text()).unwrap(), selector);
    }

    #[test]
    fn field_selectors() {
        let object = labelled(json!({}));
        for (selector, expected) in [
            ("metadata.name=web", true),
            ("metadata.name!=web", false),
            ("status.phase=Running,metadata.name=web", true),
            ("spec.nodeName=", true),
            ("spec.unschedulable=false", true),
        ] {
            assert_eq!(
                Fields::parse(selector).unwrap().matches(&object),
                expected,
                "{selector}"
            );
        }
        assert_eq!(Fields::parse("spec.secret=x").unwrap_err().code, 400);
        assert_eq!(Fields::parse("metadata.name").unwrap_err().code, 400);
    }
}
