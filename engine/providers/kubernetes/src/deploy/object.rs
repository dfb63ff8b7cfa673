//! An object that is to be applied.

use jm_client_kubernetes::{ObjectKey, Wave};
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
    pub(crate) fn new(value: Value) -> Result<Self, StepError> {
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
        Ok(Self { key, value })
    }

    /// A namespace without anything special.
    pub(crate) fn namespace(name: &str) -> Result<Self, StepError> {
        Self::new(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }))
    }

    pub(crate) fn wave(&self) -> Wave {
        Wave::of(&self.value)
    }

    /// Puts it into a namespace where it says none.
    pub(crate) fn place_in(&mut self, namespace: &str) {
        if self.key.namespace.is_none() {
            self.key.namespace = Some(namespace.to_owned());
            self.value["metadata"]["namespace"] = namespace.into();
        }
    }

    /// Takes a namespace away that its kind does not have.
    pub(crate) fn place_nowhere(&mut self) {
        if self.key.namespace.take().is_some()
            && let Some(metadata) = self.value.get_mut("metadata").and_then(Value::as_object_mut)
        {
            metadata.remove("namespace");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_kubernetes_itself_is_touched() {
        let config = |namespace: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "x", "namespace": namespace } });
        assert!(Object::new(config("app")).is_ok());
        assert!(Object::new(config("kube-system")).is_err());
        assert!(Object::namespace("kube-public").is_err());
    }
}
