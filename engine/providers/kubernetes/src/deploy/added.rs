//! Kinds that come into being on the way: by a definition, or with a server beside the API server.

use std::sync::Arc;

use jm_client_kubernetes::{Discovery, ObjectKey, ResourceKind};
use jm_step::StepError;
use serde_json::Value;
use tokio::time::Instant;

use super::object::Object;
use super::{Deploy, ready};

const DEFINITION: &str = "CustomResourceDefinition";
const API_SERVICE: &str = "APIService";

/// What an object adds to the API.
#[derive(Debug, PartialEq, Eq)]
enum Added {
    /// A kind of a group.
    Kind(String, String),
    /// A version of a group, with whatever kinds its server has.
    Version(String, String),
}

impl Added {
    fn by(object: &Value) -> Option<Self> {
        let text = |pointer: &str| {
            let text = object.pointer(pointer).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let group = text("/spec/group");
        match object["kind"].as_str()? {
            DEFINITION => Some(Self::Kind(group, text("/spec/names/kind"))),
            API_SERVICE => Some(Self::Version(group, text("/spec/version"))),
            _ => None,
        }
    }

    fn group(&self) -> &str {
        let (Self::Kind(group, _) | Self::Version(group, _)) = self;
        group
    }

    fn is_served(&self, discovery: &Discovery) -> bool {
        match self {
            Self::Kind(group, kind) => discovery.knows(group, kind),
            Self::Version(..) => discovery.serves(&self.to_string()),
        }
    }
}

impl std::fmt::Display for Added {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Kind(group, name) | Self::Version(group, name)) = self;
        write!(f, "{group}/{name}")
    }
}

/// What an object adds to the API, in the words of [`Deploy::is_added_before`].
pub(crate) fn by(object: &Value) -> Option<String> {
    Added::by(object).map(|added| added.to_string())
}

/// Whether objects of a kind add to the API.
pub(super) fn adds(kind: &ResourceKind) -> bool {
    [DEFINITION, API_SERVICE].contains(&kind.kind.as_str())
}

impl Deploy<'_> {
    /// The kinds, once those that were just added are among them.
    pub(super) async fn rediscover(&mut self, made: &[(ResourceKind, ObjectKey)]) -> Result<Discovery, StepError> {
        let mut all = Vec::new();
        for (kind, key) in made.iter().filter(|(kind, _)| adds(kind)) {
            let object = self.reader.object(kind, key).await?;
            if let Some(added) = object.as_ref().and_then(Added::by) {
                Arc::make_mut(&mut self.added).insert(added.group().to_owned());
                all.push((added, key));
            }
        }
        let limit = Instant::now() + self.policy.patience;
        loop {
            let discovery = self.reader.discover().await?;
            let Some((_, by)) = all.iter().find(|(added, _)| !added.is_served(&discovery)) else {
                return Ok(discovery);
            };
            if Instant::now() > limit {
                let (kind, name) = (by.kind.to_ascii_lowercase(), &by.name);
                return Err(
                    StepError::failed(format!("the API server does not serve what {by} adds"))
                        .hint(format!("look at it: `kubectl describe {kind} {name}`")),
                );
            }
            tokio::time::sleep(ready::PAUSE).await;
        }
    }

    /// Remembers namespaces and kinds that would come into being.
    pub(super) fn announce(&mut self, object: &Object) {
        let name = match object.key.kind.as_str() {
            "Namespace" => Some(object.key.name.clone()),
            _ => by(&object.value),
        };
        self.announced.extend(name);
    }

    /// Whether a kind comes into being before its objects do.
    pub(super) fn is_added_before(&self, key: &ObjectKey) -> bool {
        let kind = Added::Kind(key.group().to_owned(), key.kind.clone());
        self.announced.contains(&kind.to_string()) || self.announced.contains(&key.api_version)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_definition_adds_a_kind_and_a_server_beside_a_version_of_a_group() {
        let definition =
            json!({ "kind": DEFINITION, "spec": { "group": "example.com", "names": { "kind": "Widget" } } });
        let service = json!({ "kind": API_SERVICE, "spec": { "group": "metrics.k8s.io", "version": "v1" } });
        for (object, name, group) in [
            (definition, "example.com/Widget", "example.com"),
            (service, "metrics.k8s.io/v1", "metrics.k8s.io"),
        ] {
            let added = Added::by(&object).expect("it adds something");
            assert_eq!((added.to_string().as_str(), added.group()), (name, group));
            assert!(!added.is_served(&Discovery::default()));
        }
        assert_eq!(Added::by(&json!({ "kind": "ConfigMap" })), None);
    }
}
