//! Manifests as people keep them: YAML of one or many documents, or JSON; lists taken apart.

use jm_step::StepError;
use serde_json::Value;

/// The most documents and nodes that a file may have: an export of a whole cluster, and no bomb.
const MOST_DOCUMENTS: usize = 200_000;
const MOST_NODES: usize = 20_000_000;
const MOST_TEXT: usize = 1 << 30;

/// The objects of a text, in its order. `origin` names it in errors.
pub fn documents(origin: &str, text: &str) -> Result<Vec<Value>, StepError> {
    let mut objects = Vec::new();
    for document in parse(origin, text)? {
        flatten(origin, document, &mut objects)?;
    }
    Ok(objects)
}

fn parse(origin: &str, text: &str) -> Result<Vec<Value>, StepError> {
    if text.trim_start().starts_with('{') {
        let documents = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        if let Ok(documents) = documents.collect::<Result<Vec<_>, _>>() {
            return Ok(documents);
        }
    }
    let options = serde_saphyr::options! {
        // As kubectl reads them: `defaultMode: 0644` is 420.
        legacy_octal_numbers: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_events: MOST_NODES * 2,
            max_nodes: MOST_NODES,
            max_documents: MOST_DOCUMENTS,
            max_total_scalar_bytes: MOST_TEXT,
            max_depth: 256,
        },
    };
    // The text may hold secrets, which a message about it is not to show.
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let place = error
            .location()
            .map_or(String::new(), |at| format!(" near line {}", at.line()));
        StepError::invalid_input(format!("`{origin}` is no YAML{place}")).hint(format!(
            "see what is wrong with `kubectl apply --dry-run=client -f {origin}`"
        ))
    })
}

fn flatten(origin: &str, document: Value, into: &mut Vec<Value>) -> Result<(), StepError> {
    match document {
        Value::Null => Ok(()),
        Value::Object(mut fields) => {
            let kind = fields.get("kind").and_then(Value::as_str).unwrap_or_default();
            if kind.ends_with("List") && fields.get("items").is_some_and(Value::is_array) {
                let items = fields.remove("items");
                let Some(Value::Array(items)) = items else {
                    return Ok(());
                };
                return items.into_iter().try_for_each(|item| flatten(origin, item, into));
            }
            into.push(Value::Object(fields));
            Ok(())
        }
        _ => Err(StepError::invalid_input(format!(
            "`{origin}` holds a document that is no Kubernetes object"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_and_lists_are_taken_apart_in_order() {
        let text = "# first\n---\nkind: A\n---\n---\napiVersion: v1\nkind: List\nitems:\n- kind: B\n- kind: ConfigMapList\n  items: [{kind: C}]\n---\nkind: D\n";
        let kinds: Vec<Value> = documents("x.yaml", text)
            .expect("read")
            .iter()
            .map(|object| object["kind"].clone())
            .collect();
        assert_eq!(kinds, ["A", "B", "C", "D"]);
        assert_eq!(
            documents("x.json", "{\"kind\":\"A\"}\n{\"kind\":\"B\"}")
                .expect("read")
                .len(),
            2
        );
    }

    #[test]
    fn numbers_are_what_kubectl_makes_of_them() {
        let text = "kind: A\nmode: 0644\nname: \"0644\"\nport: 80\nquoted: 'true'\n";
        let read = documents("x.yaml", text).expect("read");
        assert_eq!(
            read[0],
            json!({ "kind": "A", "mode": 420, "name": "0644", "port": 80, "quoted": "true" })
        );
    }

    #[test]
    fn an_error_names_the_place_and_no_content() {
        let error = documents("x.yaml", "kind: A\npassword: [very-secret\n").expect_err("no YAML");
        assert!(
            error.message().contains("x.yaml") && !error.message().contains("very-secret"),
            "{error}"
        );
    }
}
