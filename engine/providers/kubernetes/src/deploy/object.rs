//! An object that is to be applied.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jm_client_kubernetes::{Discovery, ObjectKey, ResourceKind, Wave, is_own_group};
use jm_step::StepError;
use serde_json::{Value, json};

/// An object, and which one it is.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) key: ObjectKey,
    pub(crate) value: Value,
}

impl Object {
    /// Takes an object in. What lives in a namespace of Kubernetes itself is refused.
    pub(crate) fn new(mut value: Value) -> Result<Self, StepError> {
        let key = ObjectKey::of(&value)?;
        let namespace = match key.kind.as_str() {
            "Namespace" if key.group().is_empty() => Some(&key.name),
            _ => key.namespace.as_ref(),
        };
        if let Some(namespace) = namespace.filter(|namespace| namespace.starts_with("kube-")) {
            return Err(
                StepError::refused(format!("{key} is in `{namespace}`, which belongs to Kubernetes itself"))
                    .hint("leave it out: jm writes into no namespace that begins with `kube-`"),
            );
        }
        if key.is_secret() {
            check_values(&key, &value, &[("data", Form::Base64), ("stringData", Form::Text)])?;
            fold_text(&mut value);
        }
        if key.group().is_empty() && key.kind == "ConfigMap" {
            check_values(&key, &value, &[("data", Form::Text), ("binaryData", Form::Base64)])?;
        }
        Ok(Self { key, value })
    }

    /// A namespace without anything special.
    pub(crate) fn namespace(name: &str) -> Result<Self, StepError> {
        Self::new(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }))
    }

    pub(crate) fn wave(&self) -> Wave {
        Wave::of(&self.value)
    }

    /// Whether its wave is one, where it says so itself.
    pub(crate) fn check_wave(&self) -> Result<(), StepError> {
        let wrong = |why| StepError::invalid_input(format!("{}: {why}", self.key));
        Wave::said(&self.value).map(drop).map_err(wrong)
    }

    /// Gives it the namespace that its kind needs, this one where it says none.
    pub(super) fn place(&mut self, kind: &ResourceKind, namespace: &str) {
        if kind.namespaced {
            self.place_in(namespace);
        } else {
            self.place_nowhere();
        }
    }

    /// Gives it the version in which its kind is served, and tells the one that it had. Kubernetes takes old versions of its own
    /// kinds away, which backups outlive; a field that the new one does not know is refused by the server. How versions of
    /// other kinds differ only their operators know.
    pub(super) fn renew(&mut self, discovery: &Discovery) -> Option<String> {
        let known = &self.key.api_version;
        if !is_own_group(self.key.group()) || discovery.find(known, &self.key.kind).is_some() {
            return None;
        }
        let served = discovery.preferred_of(self.key.group(), &self.key.kind)?.api_version();
        self.value["apiVersion"] = served.as_str().into();
        Some(std::mem::replace(&mut self.key.api_version, served))
    }

    fn place_in(&mut self, namespace: &str) {
        if self.key.namespace.is_none() {
            self.key.namespace = Some(namespace.to_owned());
            self.value["metadata"]["namespace"] = namespace.into();
        }
    }

    /// Takes a namespace away that its kind does not have.
    fn place_nowhere(&mut self) {
        if self.key.namespace.take().is_some()
            && let Some(metadata) = self.value.get_mut("metadata").and_then(Value::as_object_mut)
        {
            metadata.remove("namespace");
        }
    }
}

/// How values are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Base64,
}

/// The values of a Secret or ConfigMap are text: of another one the API server would say what it is.
fn check_values(key: &ObjectKey, value: &Value, maps: &[(&str, Form)]) -> Result<(), StepError> {
    for (map, form) in maps {
        let values = value.get(*map).and_then(Value::as_object);
        for (name, value) in values.into_iter().flatten() {
            let wrong = match value {
                Value::Null => continue,
                Value::String(text) if *form == Form::Text || is_base64(text) => continue,
                Value::String(_) => "no base64",
                _ => "no text",
            };
            let advice = match (*map, form) {
                (_, Form::Text) => "put it into quotes",
                ("data", Form::Base64) => "encode it with base64, or give it as text in `stringData`",
                (_, Form::Base64) => "encode it with base64, or give it as text in `data`",
            };
            return Err(StepError::invalid_input(format!("`{map}.{name}` of {key} is {wrong}")).hint(advice));
        }
    }
    Ok(())
}

/// Writes the text of a Secret as the data that the server makes of it. Server-side apply keeps account of the fields as they
/// are written: it would see no conflict about what is given as text, and take nothing away that is not given any more.
fn fold_text(secret: &mut Value) {
    let Some(Value::Object(texts)) = secret.as_object_mut().and_then(|fields| fields.remove("stringData")) else {
        return;
    };
    for (name, text) in texts {
        if let Some(text) = text.as_str() {
            secret["data"][name] = STANDARD.encode(text).into();
        }
    }
}

/// As the API server reads it: lines may be broken.
fn is_base64(text: &str) -> bool {
    let joined: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    STANDARD.decode(joined).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(kind: &str, map: &str, value: Value) -> Result<Object, StepError> {
        let object =
            json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": "x" }, map: { "password": value } });
        Object::new(object)
    }

    #[test]
    fn a_value_of_a_config_map_that_is_no_text_is_refused_and_not_told() {
        for (map, value) in [
            ("data", json!(4711)),
            ("data", json!({ "x": "4711" })),
            ("binaryData", json!(4711)),
            ("binaryData", json!("4711 in clear")),
        ] {
            let error = holding("ConfigMap", map, value).expect_err("refused");
            let said = format!("{error} {:?}", error.hint_text());
            assert!(
                said.contains(&format!("{map}.password")) && !said.contains("4711"),
                "{said}"
            );
        }
        assert!(holding("ConfigMap", "data", json!("4711 in clear")).is_ok());
        assert!(holding("ConfigMap", "binaryData", json!("NDcxMQ==")).is_ok());
    }

    #[test]
    fn a_value_of_a_secret_that_is_no_text_is_refused_and_not_told() {
        let secret = |map: &str, value: Value| holding("Secret", map, value);
        for (map, value) in [
            ("stringData", json!(4711)),
            ("data", json!(4711)),
            ("data", json!(["4711"])),
            ("data", json!("4711 in clear")),
        ] {
            let error = secret(map, value).expect_err("refused");
            let said = format!("{error} {:?}", error.hint_text());
            assert!(
                said.contains(&format!("{map}.password")) && !said.contains("4711"),
                "{said}"
            );
        }
        assert!(secret("data", json!("NDcxMQ==")).is_ok() && secret("data", json!("NDcx\nMQ==\n")).is_ok());
        assert!(secret("stringData", json!("4711")).is_ok() && secret("data", Value::Null).is_ok());
    }

    #[test]
    fn text_of_a_secret_is_data_and_wins() {
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "x" },
            "data": { "a": "b2xk", "b": "b2xk" }, "stringData": { "a": "new", "none": null } });
        let value = Object::new(secret).expect("an object").value;
        assert_eq!(value["data"], json!({ "a": "bmV3", "b": "b2xk" }));
        assert_eq!(value.get("stringData"), None);
        let plain =
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "x" }, "stringData": { "a": "new" } });
        assert_eq!(
            Object::new(plain).expect("an object").value["data"],
            json!({ "a": "bmV3" })
        );
    }

    #[test]
    fn nothing_of_kubernetes_itself_is_touched() {
        let config = |namespace: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "x", "namespace": namespace } });
        assert!(Object::new(config("app")).is_ok());
        assert!(Object::new(config("kube-system")).is_err());
        assert!(Object::namespace("kube-public").is_err());
    }
}
