//! Who makes an object, and would make it again.

use serde_json::Value;

use crate::kind::ObjectKey;

/// The object that makes another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maker {
    /// Which one. Where its kind has namespaces, it is in that of what it makes.
    pub key: ObjectKey,
    /// Its UID: another one under its name has not made it.
    pub uid: String,
}

impl Maker {
    /// What makes an object, if anything does.
    pub fn of(object: &Value) -> Option<Self> {
        let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
        let owner = owners.iter().find(|owner| owner["controller"] == true)?;
        let text = |field: &str| owner[field].as_str().unwrap_or_default().to_owned();
        let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
        Some(Self {
            key: ObjectKey {
                api_version: text("apiVersion"),
                kind: text("kind"),
                namespace: namespace.map(str::to_owned),
                name: text("name"),
            },
            uid: text("uid"),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_only_owns_an_object_does_not_make_it() {
        let owned = |controller: bool| {
            json!({ "metadata": { "name": "web-1", "namespace": "app", "ownerReferences": [
                { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "u", "controller": controller }] } })
        };
        let maker = Maker::of(&owned(true)).expect("a maker");
        assert_eq!(
            (maker.key.to_string().as_str(), maker.uid.as_str()),
            ("app deployment.apps/web", "u")
        );
        assert_eq!(Maker::of(&owned(false)), None);
    }
}
