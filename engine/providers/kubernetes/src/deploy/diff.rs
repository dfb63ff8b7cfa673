//! What is different between an object as it is and as it comes out: by field, and never with the value of a secret.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use hmac::{Hmac, Mac};
use jm_client_kubernetes::{KeptVolumes, ObjectKey, ResourceKind, strip};
use jm_step::Change;
use serde_json::{Map, Value, json};
use sha2::Sha256;

use crate::redact::{holds_a_secret, names_a_place, names_a_secret};

/// The longest value that is shown, in bytes.
const LONGEST: usize = 200;
/// The most fields of one object that are shown.
const MOST: usize = 20;
/// Lists of a pod whose items are called as people like.
const PARTS_OF_PODS: [&str; 6] = [
    "containers",
    "initContainers",
    "ephemeralContainers",
    "ports",
    "volumes",
    "volumeMounts",
];

/// The change from one state of an object to another; none where they are the same but for what the server keeps.
pub(super) fn update(kind: &ResourceKind, key: &ObjectKey, before: &Value, after: &Value) -> Option<Change> {
    let fields = |object: &Value| {
        let mut object = stripped(kind, object);
        mask(key, &mut object);
        let mut fields = BTreeMap::new();
        flatten(String::new(), &object, &mut fields);
        fields
    };
    let (before, after) = (fields(before), fields(after));
    let mut was = Map::new();
    let mut is = Map::new();
    let names: Vec<&String> = before
        .keys()
        .chain(after.keys().filter(|name| !before.contains_key(*name)))
        .collect();
    let different: Vec<&&String> = names
        .iter()
        .filter(|name| before.get(**name) != after.get(**name))
        .collect();
    for name in different.iter().take(MOST) {
        if let Some(value) = before.get(**name) {
            was.insert((**name).clone(), shown(key, name, value));
        }
        if let Some(value) = after.get(**name) {
            is.insert((**name).clone(), shown(key, name, value));
        }
    }
    if let Some(more) = different.len().checked_sub(MOST + 1) {
        is.insert("…".to_owned(), format!("and {} other fields", more + 1).into());
    }
    (!different.is_empty()).then(|| Change::update(key.to_string(), was, is))
}

/// The same change, and a field that goes.
pub(super) fn without(key: &ObjectKey, change: Option<Change>, field: &str, was: impl Into<Value>) -> Change {
    let mut change = change.unwrap_or_else(|| Change::update(key.to_string(), Map::new(), Map::new()));
    change.before.get_or_insert_with(|| json!({}))[field] = was.into();
    change
}

/// The object without what the server keeps. Of that an apply may change whose an object is, and the rules of a role that a
/// controller puts together.
fn stripped(kind: &ResourceKind, object: &Value) -> Value {
    let mut left = object.clone();
    strip(&mut left, kind.has_status, &KeptVolumes::default());
    for (place, field) in [("/metadata", "ownerReferences"), ("", "rules")] {
        let written = object.pointer(place).and_then(|fields| fields.get(field));
        let fields = left.pointer_mut(place).and_then(Value::as_object_mut);
        if let (Some(written), Some(fields)) = (written, fields) {
            fields.insert(field.to_owned(), written.clone());
        }
    }
    left
}

/// An object that comes into being. Its manifest says the rest; of a Secret the keys are told.
pub(super) fn create(key: &ObjectKey, object: &Value) -> Change {
    let mut after = json!({ "apiVersion": key.api_version });
    if key.is_secret() {
        let mut secret = object.clone();
        mask(key, &mut secret);
        after["data"] = secret["data"].take();
    }
    Change::create(key.to_string(), after)
}

/// Puts a hash in the place of each value of a Secret, and of a ConfigMap: what is changed there is told by its key alone, for
/// passwords stand in either, and what is told goes as far as the comment on a pull request.
fn mask(key: &ObjectKey, object: &mut Value) {
    match key.kind.as_str() {
        "Secret" if key.is_secret() => mask_secret(key, object),
        "ConfigMap" if key.group().is_empty() => {
            for field in ["data", "binaryData"] {
                let values = object.get_mut(field).and_then(Value::as_object_mut);
                for (name, value) in values.into_iter().flatten() {
                    *value = secret_hash(key, name, value.as_str().unwrap_or_default().as_bytes()).into();
                }
            }
        }
        _ => {}
    }
}

fn mask_secret(key: &ObjectKey, object: &mut Value) {
    // As the server does: what is given as text is data.
    let plain = object.as_object_mut().and_then(|fields| fields.remove("stringData"));
    let mut data = match object.get_mut("data").map(Value::take) {
        Some(Value::Object(data)) => data,
        _ => Map::new(),
    };
    for (name, value) in &mut data {
        *value = secret_hash(key, name, &decoded(value)).into();
    }
    for (name, value) in plain.as_ref().and_then(Value::as_object).into_iter().flatten() {
        let value = value.as_str().unwrap_or_default().as_bytes();
        data.insert(name.clone(), secret_hash(key, name, value).into());
    }
    object["data"] = data.into();
}

fn decoded(value: &Value) -> Vec<u8> {
    use base64::Engine;
    let text = value.as_str().unwrap_or_default();
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap_or_else(|_| text.as_bytes().to_vec())
}

/// What the hashes of this process are keyed with. Nobody knows it, so none of them confirms a guess of a value.
///
/// The price is that a dry run and the run after it show different hashes of one value. A key that both have would have to be
/// as secret as what it hides, and there is none: the cluster's UID is known to all who may look; credentials are renewed;
/// not every step that changes a Secret has the passphrase of the backups, and a hash keyed with it would let anybody
/// who knows one value try passphrases as fast as he can compute; a random one in the state directory is another one on
/// each machine, so that a dry run in a pull request would still differ from the run at home.
static KEY: LazyLock<[u8; 32]> = LazyLock::new(rand::random);

/// A hash by which a value can be seen to have changed, within one command: another one gives it another hash.
fn secret_hash(key: &ObjectKey, name: &str, value: &[u8]) -> String {
    let mut hash = Hmac::<Sha256>::new_from_slice(&*KEY).expect("a key may be of any length");
    for part in [key.to_string().as_bytes(), name.as_bytes(), value] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let hash = hash.finalize().into_bytes();
    format!("hash {:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3])
}

fn flatten(path: String, value: &Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                flatten(path, value, into);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (name, item) in labels(items).into_iter().zip(items) {
                flatten(format!("{path}[{name}]"), item, into);
            }
        }
        _ => {
            into.insert(path, value.clone());
        }
    }
}

/// What the items of a list are called, no two of them the same: containers, ports and the like are known by name, parameters
/// of many kinds by key.
fn labels(items: &[Value]) -> Vec<String> {
    let names: Vec<String> = items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            let name = item["name"].as_str().or(item["key"].as_str());
            name.map_or_else(|| index.to_string(), str::to_owned)
        })
        .collect();
    let is_repeated = |name: &String| names.iter().filter(|other| *other == name).count() > 1;
    let label = |(index, name): (usize, &String)| {
        if is_repeated(name) {
            format!("{name}#{index}")
        } else {
            name.clone()
        }
    };
    names.iter().enumerate().map(label).collect()
}

/// A value as it is told: short, and by its hash alone where it looks like a secret.
fn shown(key: &ObjectKey, path: &str, value: &Value) -> Value {
    let (text, holds_one) = match value {
        Value::String(text) => (text.clone(), holds_a_secret(text)),
        Value::Array(items) => (value.to_string(), hold_a_secret(path, items)),
        // A password may be made of digits alone.
        Value::Number(number) => (number.to_string(), false),
        _ => (String::new(), false),
    };
    if !text.is_empty() && (holds_one || leads_to_a_secret(path)) {
        return secret_hash(key, path, text.as_bytes()).into();
    }
    match value {
        Value::String(text) if text.len() > LONGEST => {
            let cut: String = text.chars().take(LONGEST / 2).collect();
            format!("{cut}… ({} bytes)", text.len()).into()
        }
        other => other.clone(),
    }
}

/// Whether a list holds what looks like a secret. In `--password x` the name is an item, and the secret the one after it.
fn hold_a_secret(path: &str, items: &[Value]) -> bool {
    let mut texts = items.iter().filter_map(Value::as_str);
    // A role allows something with the kind `secrets`.
    let is_of_a_role = path.rsplit('.').next() == Some("resources");
    texts.any(|text| holds_a_secret(text) || (!is_of_a_role && names_a_secret(text)))
}

/// Whether a part of a path names a secret, and none after it says that only the place of it is told.
pub(super) fn leads_to_a_secret(path: &str) -> bool {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split(['.', '[']) {
        match part.strip_suffix(']') {
            // What a container or a volume is called says nothing of what it holds.
            Some(_) if parts.last().is_some_and(|list| PARTS_OF_PODS.contains(list)) => {}
            Some(label) => parts.push(label),
            None => parts.push(part),
        }
    }
    let from = parts.iter().rposition(|part| names_a_secret(part));
    from.is_some_and(|from| !parts[from + 1..].iter().any(|part| names_a_place(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(data: &Value) -> (ResourceKind, ObjectKey, Value) {
        let object = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "x", "namespace": "app",
            "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "c2VjcmV0" } }, "data": data });
        let kind = ResourceKind {
            group: String::new(),
            version: "v1".to_owned(),
            kind: "Secret".to_owned(),
            plural: "secrets".to_owned(),
            namespaced: true,
            verbs: Vec::new(),
            has_status: false,
        };
        let key = ObjectKey::of(&object).expect("a key");
        (kind, key, object)
    }

    #[test]
    fn a_changed_secret_shows_its_keys_and_no_value() {
        let (kind, key, before) = secret(&json!({ "password": "c2VjcmV0", "user": "am0=" }));
        let (_, _, after) = secret(&json!({ "password": "b3RoZXI=", "user": "am0=" }));
        let change = update(&kind, &key, &before, &after).expect("a change");
        let text = serde_json::to_string(&change).expect("json");
        assert!(text.contains("data.password") && !text.contains("data.user"), "{text}");
        for value in ["c2VjcmV0", "secret\"", "b3RoZXI", "other\"", "am0="] {
            assert!(!text.contains(value), "{value}: {text}");
        }
        assert_eq!(update(&kind, &key, &before, &before), None);
        let created = serde_json::to_string(&create(&key, &before)).expect("json");
        assert!(
            created.contains("password") && !created.contains("c2VjcmV0"),
            "{created}"
        );
    }

    #[test]
    fn a_changed_config_map_shows_its_keys_alone() {
        let config = |value: &str| {
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "x" },
                "data": { "db.conf": value, "same": "it stays" }, "binaryData": { "bytes": value } })
        };
        let (kind, _, _) = secret(&json!({}));
        let (before, after) = (config("aHVudGVyMQ"), config("aHVudGVyMg"));
        let key = ObjectKey::of(&before).expect("a key");
        let text = serde_json::to_string(&update(&kind, &key, &before, &after)).expect("json");
        assert!(
            text.contains("data.db.conf") && text.contains("binaryData.bytes"),
            "{text}"
        );
        assert!(!text.contains("aHVudGVy") && !text.contains("same"), "{text}");
    }

    #[test]
    fn what_looks_like_a_secret_is_told_by_its_hash() {
        let web = |value: &str, port: u16| {
            let env = [
                ("DB_PASSWORD", value.to_owned()),
                ("DATABASE_URL", format!("postgres://app:{value}@db/app")),
                ("DB_PASSWORD_FILE", format!("/run/{port}")),
                ("DB_PASS", value.to_owned()),
            ];
            let env: Vec<Value> = env
                .iter()
                .map(|(name, value)| json!({ "name": name, "value": value }))
                .collect();
            json!({ "apiVersion": "v1", "kind": "X", "metadata": { "name": "x" }, "spec": { "apiToken": value,
                "secretName": format!("tls-{port}"), "containers": [{ "name": "main", "env": env, "args": [format!("--password={value}")],
                    "command": ["serve", "--password", value] }], "resources": ["secrets", format!("r-{port}")] } })
        };
        let (kind, _, _) = secret(&json!({}));
        let (before, after) = (web("hunter1", 80), web("hunter2", 81));
        let key = ObjectKey::of(&before).expect("a key");
        let text = serde_json::to_string(&update(&kind, &key, &before, &after)).expect("json");
        assert!(!text.contains("hunter"), "{text}");
        for told in [
            "env[DB_PASSWORD].value",
            "env[DB_PASS].value",
            ".command",
            "r-81",
            "env[DATABASE_URL].value",
            ".args",
            "apiToken",
            "tls-81",
            "/run/81",
        ] {
            assert!(text.contains(told), "{told}: {text}");
        }
    }

    #[test]
    fn a_secret_is_known_by_any_part_of_its_path() {
        let spec = |value: &str, digits: u32| {
            json!({ "apiVersion": "v1", "kind": "X", "metadata": { "name": "x" }, "spec": {
                "admin": { "password": { "value": value } }, "params": [{ "key": "password", "value": value }],
                "args": [{ "name": "token", "default": { "text": value } }], "adminPassword": digits,
                "url": format!("postgres://u:p/{value}@ss@db"), "replicas": digits % 10,
                "containers": [{ "name": "token-maker", "image": format!("maker:{}", digits % 10),
                    "env": [{ "name": "DB_PASSWORD", "valueFrom": { "secretKeyRef": {
                        "name": format!("db-{}", digits % 10), "key": format!("key-{}", digits % 10) } } }] }] } })
        };
        let (kind, _, _) = secret(&json!({}));
        let (before, after) = (spec("hunter1", 12_345_671), spec("hunter2", 12_345_672));
        let key = ObjectKey::of(&before).expect("a key");
        let text = serde_json::to_string(&update(&kind, &key, &before, &after)).expect("json");
        assert!(!text.contains("hunter") && !text.contains("1234567"), "{text}");
        for told in [
            "admin.password.value",
            "params[password].value",
            "adminPassword",
            r#""spec.replicas":2"#,
            "maker:2",
            "db-2",
            "key-2",
        ] {
            assert!(text.contains(told), "{told}: {text}");
        }
    }

    #[test]
    fn whose_an_object_is_and_what_a_role_allows_are_told() {
        let role = |owner: &str, verb: &str| {
            json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": { "name": "x", "uid": "u", "ownerReferences": [{ "name": "x", "uid": owner }] },
                "aggregationRule": {}, "rules": [{ "verbs": [verb] }] })
        };
        let (kind, _, _) = secret(&json!({}));
        let before = role("a", "get");
        let key = ObjectKey::of(&before).expect("a key");
        for (after, field) in [
            (role("b", "get"), "metadata.ownerReferences"),
            (role("a", "list"), "rules"),
        ] {
            let change = update(&kind, &key, &before, &after).expect("a change");
            let text = serde_json::to_string(&change).expect("json");
            assert!(text.contains(field), "{text}");
        }
        assert_eq!(update(&kind, &key, &before, &before), None);
    }

    #[test]
    fn items_of_one_name_are_told_apart() {
        let env = |first: &str| {
            json!({ "apiVersion": "v1", "kind": "X", "metadata": { "name": "x" },
            "spec": [{ "name": "LEVEL", "value": first }, { "name": "LEVEL", "value": "high" }, { "name": "B" }] })
        };
        let (kind, _, _) = secret(&json!({}));
        let key = ObjectKey::of(&env("a")).expect("a key");
        let change = update(&kind, &key, &env("a"), &env("b")).expect("a change");
        let text = serde_json::to_string(&change).expect("json");
        assert!(
            text.contains("spec[LEVEL#0].value") && !text.contains("LEVEL#1"),
            "{text}"
        );
        assert_eq!(update(&kind, &key, &env("a"), &env("a")), None);
    }

    #[test]
    fn a_hash_confirms_no_guess() {
        let (_, key, _) = secret(&json!({}));
        let unkeyed = {
            use sha2::Digest;
            let mut hash = Sha256::new();
            for part in [key.to_string().as_bytes(), b"password", b"guess"] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
            let hash = hash.finalize();
            format!("hash {:02x}{:02x}{:02x}", hash[0], hash[1], hash[2])
        };
        let told = secret_hash(&key, "password", b"guess");
        assert!(!told.starts_with(&unkeyed), "whoever guesses can compute {told}");
        assert_eq!(told, secret_hash(&key, "password", b"guess"));
        assert_ne!(told, secret_hash(&key, "password", b"other"));
    }

    #[test]
    fn text_and_data_of_a_secret_are_the_same() {
        let (_, key, mut plain) = secret(&json!({}));
        plain["stringData"] = json!({ "password": "secret" });
        let (_, _, encoded) = secret(&json!({ "password": "c2VjcmV0" }));
        assert_eq!(create(&key, &plain), create(&key, &encoded));
    }
}
