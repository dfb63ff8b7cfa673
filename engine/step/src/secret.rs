//! Secrets: a type that cannot print itself, and a masker for everything that might.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, RwLock};

use base64::Engine as _;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

/// What stands where a secret stood.
const MASK: &str = "[secret]";
/// Shorter values are not masked: they would be found in innocent words. Nothing that short protects anything.
const SHORTEST_MASKED: usize = 4;
/// As many libraries URL-encode: the unreserved marks of RFC 3986 left alone.
const RESERVED: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A value that is never shown: it has no `Display` and no `Serialize`, and its `Debug` says `[secret]`.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes a value in.
    pub fn new(value: impl Into<String>) -> Self {
        Self(SecretString::from(value.into()))
    }

    /// The value. Call it only where the value leaves for the system that it opens.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "writeOnly": true, "x-jm-secret": true })
    }
}

/// All secrets known to this process, so that whatever goes out (logs, errors, events, reports) can be cleaned of them.
#[derive(Clone, Default)]
pub struct Secrets(Arc<RwLock<Vec<String>>>);

impl Secrets {
    /// Nothing known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on this value is masked: plain, URL-encoded, in base64 and as it stands escaped in JSON.
    pub fn register(&self, value: &str) {
        if value.len() < SHORTEST_MASKED {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        for form in forms(value) {
            if !known.contains(&form) {
                known.push(form);
            }
        }
        // The longest first, so that a secret that holds another one is masked whole.
        known.sort_by_key(|form| std::cmp::Reverse(form.len()));
    }

    /// Whether the text holds a known secret in any of its forms.
    pub fn occur_in(&self, text: &str) -> bool {
        let known = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.iter().any(|form| text.contains(form.as_str()))
    }

    /// The text with every known secret replaced.
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let known = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut masked = Cow::Borrowed(text);
        for form in known.iter() {
            if masked.contains(form.as_str()) {
                masked = Cow::Owned(masked.replace(form.as_str(), MASK));
            }
        }
        masked
    }

    /// Masks every text inside a JSON value, keys too.
    pub fn mask_json(&self, value: &mut serde_json::Value) {
        use serde_json::Value;
        match value {
            Value::String(text) => {
                if let Cow::Owned(masked) = self.mask(text) {
                    *text = masked;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask_json(item)),
            Value::Object(map) => {
                for (key, mut item) in std::mem::take(map) {
                    self.mask_json(&mut item);
                    map.insert(self.mask(&key).into_owned(), item);
                }
            }
            _ => {}
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

fn forms(value: &str) -> Vec<String> {
    let url = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string();
    let lenient = percent_encoding::utf8_percent_encode(value, RESERVED).to_string();
    let json = serde_json::Value::from(value).to_string();
    let json = json[1..json.len() - 1].to_owned();
    let base64 = base64::engine::general_purpose::STANDARD.encode(value);
    let base64_url = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value);
    vec![value.to_owned(), url, lenient, json, base64, base64_url]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret: Secret = serde_json::from_str("\"hunter22\"").expect("text");
        assert_eq!(format!("{secret:?}"), "[secret]");
        assert_eq!(secret.expose(), "hunter22");
    }

    #[test]
    fn every_form_is_masked() {
        let secrets = Secrets::new();
        secrets.register("p@ss/wörd\"x");
        for text in [
            "p@ss/wörd\"x",
            "p%40ss%2Fw%C3%B6rd%22x",
            "cEBzcy93w7ZyZCJ4",
            "p@ss/wörd\\\"x",
        ] {
            assert_eq!(secrets.mask(&format!("a {text} b")), "a [secret] b");
            assert!(secrets.occur_in(text));
        }
        let mut json = serde_json::json!({ "p@ss/wörd\"x": ["p@ss/wörd\"x", 1] });
        secrets.mask_json(&mut json);
        assert_eq!(json, serde_json::json!({ "[secret]": ["[secret]", 1] }));
    }

    #[test]
    fn too_short_to_mask_is_left_alone() {
        let secrets = Secrets::new();
        secrets.register("abc");
        assert_eq!(secrets.mask("abcdef"), "abcdef");
    }
}
