//! CustomResourceDefinitions: what they must be, and the kinds that they bring.
//!
//! Nothing is remembered of them but what is stored, so that a definition that is changed or gone is so for the next
//! request.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::{Value, json};

use super::kinds::{self, Kind, STATUS};
use super::object::{self, items, set_default, text};
use super::status::Cause;
use super::store::{Key, Store};

/// The resource as which definitions are stored.
pub(super) const RESOURCE: &str = "customresourcedefinitions";
/// What keeps a definition until everything of its kind is gone.
pub(super) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The kinds of all established definitions, the preferred version of each first.
pub(super) fn kinds(store: &Store) -> Vec<&'static Kind> {
    let definitions = store.all(RESOURCE);
    let established = definitions.iter().filter(|definition| is_established(definition));
    established.flat_map(|definition| served(definition)).collect()
}

/// The kind behind a path's group, version and resource: one that is built in, or one that a definition brings.
pub(super) fn find(store: &Store, group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    kinds::find(group, version, plural).or_else(|| {
        let definition = store.get(&Key::new(RESOURCE, "", &format!("{plural}.{group}")))?;
        let mut found = served(&definition).into_iter().filter(|_| is_established(&definition));
        found.find(|kind| kind.version == version)
    })
}

/// A kind that is stored under the name of a definition.
pub(super) fn stored(store: &Store, name: &str) -> Option<&'static Kind> {
    let definition = store.get(&Key::new(RESOURCE, "", name))?;
    served(&definition).into_iter().next()
}

/// Does the API serve it?
pub(super) fn is_established(definition: &Value) -> bool {
    items(definition, "/status/conditions")
        .iter()
        .any(|condition| condition["type"] == "Established" && condition["status"] == "True")
}

/// The name of the version in which objects are to be stored.
pub(super) fn storage_version(definition: &Value) -> &str {
    let versions = items(definition, "/spec/versions").iter();
    let mut storing = versions.filter(|version| version["storage"] == json!(true));
    storing.next().map_or("", |version| text(version, "/name"))
}

/// The kinds of the versions that are served, the one that clients should take first.
fn served(definition: &Value) -> Vec<&'static Kind> {
    let versions = items(definition, "/spec/versions").iter();
    let mut kinds: Vec<_> = versions
        .filter(|version| version["served"] == json!(true))
        .map(|version| made(definition, version))
        .collect();
    kinds.sort_by_key(|kind| Reverse(maturity(kind.version)));
    kinds
}

/// How far a version has come: `v2` before `v1` before `v2beta1` before `v1alpha3` before anything else.
fn maturity(version: &str) -> (u8, u32, u32) {
    let digits = |text: &str| text.parse().ok();
    let parsed = version.strip_prefix('v').and_then(|rest| {
        let (stage, major, minor) = match (rest.split_once("beta"), rest.split_once("alpha")) {
            (Some((major, minor)), _) => (2, major, digits(minor)?),
            (_, Some((major, minor))) => (1, major, digits(minor)?),
            _ => (3, rest, 0),
        };
        Some((stage, digits(major)?, minor))
    });
    parsed.unwrap_or_default()
}

/// The kind that a version of a definition describes.
///
/// Kinds live as long as the process: there are as many as there were different descriptions.
fn made(definition: &Value, version: &Value) -> &'static Kind {
    static MADE: LazyLock<Mutex<HashMap<String, &'static Kind>>> = LazyLock::new(Mutex::default);
    let spec = &definition["spec"];
    let has_status = version.pointer("/subresources/status").is_some();
    let description = json!([spec["group"], version["name"], spec["names"], spec["scope"], has_status]).to_string();
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.entry(description).or_insert_with(|| {
        let word = |value: &Value| &*value.as_str().unwrap_or_default().to_owned().leak();
        let names = &spec["names"];
        let short: Vec<_> = items(names, "/shortNames").iter().map(word).collect();
        let (group, plural) = (word(&spec["group"]), word(&names["plural"]));
        Box::leak(Box::new(Kind {
            group,
            version: word(&version["name"]),
            plural,
            kind: word(&names["kind"]),
            short: short.leak(),
            namespaced: spec["scope"] == "Namespaced",
            subresources: if has_status { STATUS } else { &[] },
            counts_generations: true,
            in_all: items(names, "/categories").contains(&json!("all")),
            stored_as: format!("{plural}.{group}").leak(),
            custom: true,
        }))
    })
}

/// What a definition has where its author said nothing.
pub(super) fn fill(definition: &mut Value) {
    let kind = text(definition, "/spec/names/kind").to_owned();
    set_default(definition, &["spec", "conversion", "strategy"], json!("None"));
    set_default(definition, &["spec", "names", "singular"], json!(kind.to_lowercase()));
    set_default(definition, &["spec", "names", "listKind"], json!(format!("{kind}List")));
}

/// Checks what a definition must say.
pub(super) fn check(definition: &Value, causes: &mut Vec<Cause>) {
    for field in ["group", "scope", "names.plural", "names.kind"] {
        if text(definition, &format!("/spec/{}", field.replace('.', "/"))).is_empty() {
            causes.push(Cause::required(&format!("spec.{field}"), ""));
        }
    }
    let (plural, group) = (text(definition, "/spec/names/plural"), text(definition, "/spec/group"));
    let name = object::name(definition);
    if name != format!("{plural}.{group}") {
        let why = r#"must be spec.names.plural+"."+spec.group"#;
        causes.push(Cause::invalid("metadata.name", &json!(name), why));
    }
    check_versions(definition, causes);
}

fn check_versions(definition: &Value, causes: &mut Vec<Cause>) {
    let versions = items(definition, "/spec/versions");
    let storing = versions.iter().filter(|version| version["storage"] == json!(true));
    if storing.count() != 1 {
        let why = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", &json!(versions), why));
    }
    for (index, version) in versions.iter().enumerate() {
        if version.pointer("/schema/openAPIV3Schema").is_none() {
            let field = format!("spec.versions[{index}].schema.openAPIV3Schema");
            causes.push(Cause::required(&field, "schemas are required"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grown_up_versions_come_first() {
        let mut versions = ["v1alpha1", "v1", "foo", "v2beta1", "v10", "v2", "v1beta2"];
        versions.sort_by_key(|version| Reverse(maturity(version)));
        assert_eq!(versions, ["v10", "v2", "v1", "v2beta1", "v1beta2", "v1alpha1", "foo"]);
    }

    #[test]
    fn one_description_makes_one_kind() {
        let definition = json!({"spec": {"group": "example.org", "scope": "Cluster", "names": {"plural": "things", "kind": "Thing"}}});
        let version = json!({"name": "v1", "served": true});
        let first = made(&definition, &version);
        assert!(std::ptr::eq(first, made(&definition, &version)));
        assert_eq!((first.stored_as, first.namespaced), ("things.example.org", false));
        assert!(!std::ptr::eq(
            first,
            made(&definition, &json!({"name": "v1", "subresources": {"status": {}}}))
        ));
    }
}
