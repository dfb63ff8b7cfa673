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
/// A part of a value (a line of it, or a line of its base64) is masked by itself from this length on, in bytes.
const SHORTEST_PART: usize = 8;
/// After how many characters base64 is broken into lines: by `base64` and by PEM.
const BASE64_LINES: [usize; 2] = [76, 64];
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

    /// From now on this value is masked: plain, line by line, URL-encoded, as it stands escaped in JSON, and in base64, also
    /// where that is broken into lines, and where something stands before the value or after it (`user:password`).
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

    /// Whether a text inside a JSON value, a key too, holds a known secret in any of its forms.
    pub fn occur_in_json(&self, value: &serde_json::Value) -> bool {
        use serde_json::Value;
        match value {
            Value::String(text) => self.occur_in(text),
            Value::Array(items) => items.iter().any(|item| self.occur_in_json(item)),
            Value::Object(map) => map
                .iter()
                .any(|(key, item)| self.occur_in(key) || self.occur_in_json(item)),
            // A password may be a number.
            Value::Number(number) => self.occur_in(&number.to_string()),
            Value::Null | Value::Bool(_) => false,
        }
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
    let mut forms = whole(value);
    // What children print comes line by line.
    for line in value.lines().map(str::trim) {
        if line.len() >= SHORTEST_PART && line != value {
            forms.extend(whole(line));
        }
    }
    forms.extend(in_base64(value));
    forms
}

fn whole(value: &str) -> Vec<String> {
    let url = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string();
    let lenient = percent_encoding::utf8_percent_encode(value, RESERVED).to_string();
    let json = serde_json::Value::from(value).to_string();
    let json = json[1..json.len() - 1].to_owned();
    vec![value.to_owned(), url, lenient, json]
}

/// The base64 of a value whatever stands around it, and the lines into which it is broken.
fn in_base64(value: &str) -> Vec<String> {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let mut forms = vec![STANDARD.encode(value), URL_SAFE_NO_PAD.encode(value)];
    let lines = BASE64_LINES.iter().flat_map(|&length| {
        let text = forms[0].as_bytes().chunks(length);
        text.map(|line| String::from_utf8_lossy(line).into_owned())
            .collect::<Vec<_>>()
    });
    let mut parts: Vec<String> = lines.collect();
    for before in 0..3 {
        let text = [vec![0; before], value.as_bytes().to_vec()].concat();
        // The characters that also hold bits of what stands before and after say nothing of the value alone.
        let from = (before * 8).div_ceil(6);
        let to = text.len() * 8 / 6;
        for encoded in [STANDARD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
            parts.extend(encoded.get(from..to).map(str::to_owned));
        }
    }
    parts.retain(|part| part.len() >= SHORTEST_PART);
    forms.extend(parts);
    forms
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
    fn base64_is_masked_whatever_stands_around_it_and_broken_into_lines() {
        use base64::engine::general_purpose::STANDARD;
        let secret = "a pass phrase of many words, which nobody can guess, and which is longer than any line of base64";
        let secrets = Secrets::new();
        secrets.register(secret);
        for (before, after) in [("", "\n"), ("u:", ""), ("user:", ""), ("jm:", ":more"), ("", "")] {
            let text = STANDARD.encode(format!("{before}{secret}{after}"));
            let masked = secrets.mask(&text);
            assert!(
                masked.contains(MASK) && masked.len() <= 20,
                "{before}…{after}: {masked}"
            );
        }
        for length in BASE64_LINES {
            for line in STANDARD.encode(secret).as_bytes().chunks(length) {
                assert_eq!(secrets.mask(&String::from_utf8_lossy(line)), MASK);
            }
        }
    }

    #[test]
    fn a_secret_of_several_lines_is_masked_line_by_line() {
        let secrets = Secrets::new();
        secrets.register("-----BEGIN KEY-----\n  c2VjcmV0IGtleQ==\nyes\n-----END KEY-----\n");
        assert_eq!(secrets.mask("c2VjcmV0IGtleQ=="), MASK);
        // What is so short says nothing, and is found in innocent words.
        assert_eq!(secrets.mask("yes"), "yes");
    }

    #[test]
    fn a_secret_that_is_quoted_is_found_in_a_text_of_json() {
        let secrets = Secrets::new();
        secrets.register("pa\"ss\\word");
        // JSON that a program printed, which stands in a text of the output.
        let printed = serde_json::json!({ "a": "pa\"ss\\word" }).to_string();
        assert!(secrets.occur_in_json(&serde_json::json!({ "stdout": [printed] })));
        assert!(secrets.occur_in_json(&serde_json::json!({ "pa\"ss\\word": 1 })));
        assert!(!secrets.occur_in_json(&serde_json::json!({ "stdout": ["password", 1, null] })));
        secrets.register("8301774");
        assert!(secrets.occur_in_json(&serde_json::json!([8_301_774])));
    }

    #[test]
    fn too_short_to_mask_is_left_alone() {
        let secrets = Secrets::new();
        secrets.register("abc");
        assert_eq!(secrets.mask("abcdef"), "abcdef");
    }
}
