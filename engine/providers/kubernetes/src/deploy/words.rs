//! The API server's words of what it refuses. They quote what was sent, also where a plan's differences would hide it.

use std::sync::LazyLock;

use jm_client_kubernetes::ApplyError;
use jm_step::StepError;
use regex::Regex;

use super::chunk::reworded;
use super::diff::leads_to_a_secret;
use crate::redact::{HIDDEN, holds_a_secret};

/// `spec.size: Invalid value: 7: …`, `.data.size: expected string, got …`: the field, and what comes before its value.
static QUOTES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(\S+): (?:(?:Invalid|Unsupported|Duplicate) value: |expected [^,\n]*, got )")
        .expect("it is an expression")
});

/// A refusal without values that look like secrets.
pub(super) fn quiet(refusal: ApplyError) -> ApplyError {
    match refusal {
        ApplyError::Immutable(why) => ApplyError::Immutable(hidden(&why).unwrap_or(why)),
        ApplyError::Failed(error) => ApplyError::Failed(quiet_error(error)),
        conflict @ ApplyError::Conflict(_) => conflict,
    }
}

/// The same of an error.
pub(super) fn quiet_error(error: StepError) -> StepError {
    match hidden(error.message()) {
        Some(message) => reworded(&error, message),
        None => error,
    }
}

/// The words up to the first value that looks like a secret; `None` where there is none. Where a value ends cannot be told:
/// it may hold anything, and what is said of it may repeat it.
fn hidden(words: &str) -> Option<String> {
    let mut quotes = QUOTES.captures_iter(words).peekable();
    while let Some(quote) = quotes.next() {
        let from = quote.get_match().end();
        let to = quotes.peek().map_or(words.len(), |next| next.get_match().start());
        if leads_to_a_secret(&quote[1]) || holds_a_secret(&words[from..to]) {
            return Some(format!("{}{HIDDEN}", &words[..from]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_fields_that_look_like_secrets_are_not_passed_on() {
        for (words, told) in [
            (
                r#"Widget.example.com "w" is invalid: spec.password: Invalid value: "hunter2": spec.password in body should be at least 12 chars long"#,
                r#"Widget.example.com "w" is invalid: spec.password: Invalid value: [hidden]"#,
            ),
            (
                r#"is invalid: [spec.size: Invalid value: 7: too big, spec.auth.token: Unsupported value: "hunter2": supported values: "a"]"#,
                "is invalid: [spec.size: Invalid value: 7: too big, spec.auth.token: Unsupported value: [hidden]",
            ),
            (
                r#"is invalid: spec: Invalid value: {"password":"hunter2"}: no"#,
                "is invalid: spec: Invalid value: [hidden]",
            ),
            (
                r#"errors:\n  .spec.containers[name="main"].env[name="DB_PASSWORD"].value: expected string, got &value.valueUnstructured{Value:4711}"#,
                r#"errors:\n  .spec.containers[name="main"].env[name="DB_PASSWORD"].value: expected string, got [hidden]"#,
            ),
        ] {
            assert_eq!(hidden(words).as_deref(), Some(told));
        }
    }

    #[test]
    fn what_is_wrong_with_other_fields_is_told() {
        for words in [
            r#"is invalid: spec.size: Invalid value: "many": spec.size in body must be of type integer: "string""#,
            r#"is invalid: spec.secretName: Invalid value: "A B": a lowercase RFC 1123 subdomain"#,
            "is invalid: spec.password: Required value",
        ] {
            assert_eq!(hidden(words), None, "{words}");
        }
    }

    #[test]
    fn the_kind_of_an_error_stays() {
        let error = StepError::invalid_input("spec.password: Invalid value: 4711");
        let ApplyError::Failed(error) = quiet(ApplyError::Failed(error)) else {
            panic!("it is one")
        };
        assert_eq!(
            (error.kind(), error.message()),
            (
                jm_step::StepErrorKind::InvalidInput,
                "spec.password: Invalid value: [hidden]"
            )
        );
        let why = "spec.token: Invalid value: \"hunter2\": field is immutable".to_owned();
        assert!(
            matches!(quiet(ApplyError::Immutable(why)), ApplyError::Immutable(why) if why.ends_with("value: [hidden]"))
        );
    }
}
