//! What applications print, made fit to be kept: without the secrets that jm knows, without what looks like one, without
//! control characters, and short.

use std::sync::LazyLock;

use jm_step::Secrets;
use regex::Regex;

/// What takes the place of what looks like a secret.
pub(crate) const HIDDEN: &str = "[hidden]";

/// What secrets are called.
const NAMES: &str = r"password|passwd|passphrase|pwd|(?:\b|_)pass(?:\b|_)|(?-i:[a-z0-9]Pass\b)|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?|authorization|cookie";
/// How a name ends that tells where a secret is, and is none.
const PLACES: [&str; 4] = ["name", "ref", "file", "path"];

static NAME: LazyLock<Regex> = LazyLock::new(|| Regex::new(&format!("(?i)(?:{NAMES})")).expect("it is an expression"));
/// `password=x`, `"token": "x"`, `Authorization: Bearer x`: the name stays, the value goes.
static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(&format!(
        r#"(?i)((?:{NAMES})[a-z0-9_-]*["']?\s*[:=]\s*(?:bearer\s+|basic\s+)?)("[^"]*"|'[^']*'|[^\s,;&"']+)"#
    ))
    .expect("it is an expression")
});
/// `scheme://user:password@host`: the credentials go. Who writes a password as it is writes a `/`, `@`, `?` or `#` of it as it
/// is, so that it ends at the last `@` before what is a query for sure: a `?` or `#` behind a `/`. Where there is none, it ends
/// at the last one of all, unless a number, a port, stands in its place.
static USER: LazyLock<Regex> = LazyLock::new(|| {
    let user = r"[^\s/@:\[]*";
    let before_a_query = r#"[^\s"'<>/]*[^\s"'<>?#]*@"#;
    let no_port = r#"[0-9]*[^\s"'<>/?#0-9][^\s"'<>]*@"#;
    Regex::new(&format!(
        r"([a-zA-Z][a-zA-Z0-9+.-]*://)(?:{user}:(?:{before_a_query}|{no_port})|(?:[^\s/@]+@)+)"
    ))
    .expect("it is an expression")
});

/// The text without secrets and control characters.
pub(crate) fn redact(secrets: &Secrets, text: &str) -> String {
    let masked = secrets.mask(text);
    let named = NAMED.replace_all(&masked, format!("${{1}}{HIDDEN}"));
    let clean = USER.replace_all(&named, format!("${{1}}{HIDDEN}@"));
    let shown = |c: char| match c {
        '\n' | '\t' => c,
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    clean.chars().map(shown).collect()
}

/// Whether a value under such a name is a secret.
pub(crate) fn names_a_secret(name: &str) -> bool {
    NAME.is_match(name) && !names_a_place(name)
}

/// Whether a value under such a name tells where something is.
pub(crate) fn names_a_place(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    PLACES.iter().any(|end| lower.ends_with(end))
}

/// Whether a text holds what looks like a secret.
pub(crate) fn holds_a_secret(text: &str) -> bool {
    NAMED.is_match(text) || USER.is_match(text)
}

/// The last lines of a text that fit into so many bytes, with `…` where something was left out.
pub(crate) fn last_lines(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let from = text.ceil_char_boundary(text.len() - most);
    // Whole lines, unless there is only a part of one.
    let rest = text[from..].split_once('\n').map_or(&text[from..], |(_, rest)| rest);
    format!("…\n{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_goes_and_its_name_stays() {
        let secrets = Secrets::new();
        secrets.register("known-secret");
        for (text, expected) in [
            ("PASSWORD=hunter22 next", "PASSWORD=[hidden] next"),
            (r#"{"apiKey": "a b", "n": 1}"#, r#"{"apiKey": [hidden], "n": 1}"#),
            ("Authorization: Bearer abc.def", "Authorization: [hidden]"),
            ("db_password: x, port: 1", "db_password: [hidden], port: 1"),
            ("postgres://app:pw@db:5432/x", "postgres://[hidden]@db:5432/x"),
            ("postgres://u:p@ss@db/x", "postgres://[hidden]@db/x"),
            ("amqp://u:p/w@d@db/x?by=a@b", "amqp://[hidden]@db/x?by=a@b"),
            ("postgres://u:p?ss@db/x", "postgres://[hidden]@db/x"),
            ("postgres://u:p#ss@db?by=1", "postgres://[hidden]@db?by=1"),
            ("postgres://u:p@s?s@db/x", "postgres://[hidden]@db/x"),
            ("postgres://u:p?s/s@db/x", "postgres://[hidden]@db/x"),
            ("postgres://u:p/s?s@db/x", "postgres://[hidden]@db/x"),
            ("redis://:p?ss@db", "redis://[hidden]@db"),
            ("http://db:5432/x?by=a@b", "http://db:5432/x?by=a@b"),
            ("http://[::1]:80/x?by=a@b", "http://[::1]:80/x?by=a@b"),
            ("https://me@corp@host/x", "https://[hidden]@host/x"),
            ("https://cdn/pkg@1.2 a@b", "https://cdn/pkg@1.2 a@b"),
            ("it is known-secret here", "it is [secret] here"),
            ("DB_PASS=x keyPassphrase: y", "DB_PASS=[hidden] keyPassphrase: [hidden]"),
            ("bypass: 1, compass=north", "bypass: 1, compass=north"),
            ("bell \u{7} rings\n", "bell \u{fffd} rings\n"),
            ("listening on http://0.0.0.0:80", "listening on http://0.0.0.0:80"),
        ] {
            let found = redact(&secrets, text);
            let found = found.replace("Authorization: Bearer [hidden]", "Authorization: [hidden]");
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_secrets_are_called_is_known() {
        for name in [
            "DB_PASS",
            "PASS",
            "dbPass",
            "smtp-pass",
            "KEY_PASSPHRASE",
            "--password",
            "apiToken",
        ] {
            assert!(names_a_secret(name), "{name}");
        }
        for name in [
            "BYPASS",
            "ssl-passthrough",
            "compass",
            "passive",
            "DB_PASS_FILE",
            "secretName",
            "Passage",
        ] {
            assert!(!names_a_secret(name), "{name}");
        }
    }

    #[test]
    fn the_end_is_kept_in_whole_lines() {
        assert_eq!(last_lines("one\ntwo", 20), "one\ntwo");
        assert_eq!(last_lines("first line\nsecond\nthird", 14), "…\nsecond\nthird");
        assert_eq!(last_lines("abcdef", 3), "…\ndef");
    }
}
