//! What the API server says where it takes no object: which of its words are passed on, and what they mean.

use kube::core::Status;
use kube::core::response::StatusCause;

use super::{ApplyError, FieldConflict};
use crate::error::step_error;
use crate::kind::ObjectKey;

/// What an answer that is none of success means.
pub(super) fn refused(key: &ObjectKey, status: Status) -> ApplyError {
    let causes: &[StatusCause] = status.details.as_ref().map_or(&[], |details| &details.causes);
    if status.code == 409 {
        let mut conflicts: Vec<FieldConflict> = causes.iter().filter_map(field_conflict).collect();
        if !conflicts.is_empty() {
            conflicts.sort();
            return ApplyError::Conflict(conflicts);
        }
    }
    // What is said of the whole begins with the object's name, which may be anything.
    let is_immutable = match causes {
        [] => is_immutable(
            status
                .message
                .split_once(" is invalid: ")
                .map_or(&status.message, |(_, why)| why),
        ),
        causes => causes.iter().any(|cause| is_immutable(&cause.message)),
    };
    let webhook = webhook_without_answer(&status).map(str::to_owned);
    let status = if key.is_secret() { discreet(status) } else { status };
    if status.code == 422 && is_immutable {
        return ApplyError::Immutable(status.message);
    }
    let error = step_error(&format!("cannot apply {key}"), kube::Error::Api(status.boxed()));
    ApplyError::Failed(match webhook {
        None => error,
        Some(name) => error.hint(format!(
            "the webhook `{name}` is to be asked first and does not answer; where this is to bring back what serves it, take \
             out the configuration that names it (`kubectl get \
             validatingwebhookconfigurations,mutatingwebhookconfigurations -o yaml`): an export that has it brings it back last"
        )),
    })
}

/// The webhook that refuses everything because nobody serves it, by its name: a DNS name, which holds no value of an object.
fn webhook_without_answer(status: &Status) -> Option<&str> {
    let (_, rest) = status.message.split_once("failed calling webhook \"")?;
    let (name, _) = rest.split_once('"').filter(|_| status.code == 500)?;
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
    name.chars().all(is_name).then_some(name)
}

/// What is said of a Secret, by its reason and fields alone: the server's own words, and those of whoever admits objects,
/// may hold its values. Who may not write it, or has no room for it, is told so before anybody looks at them.
fn discreet(status: Status) -> Status {
    if status.code == 403 && is_of_rights_or_room(&status.message) {
        return status;
    }
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut fields: Vec<String> = causes
        .filter(|cause| !cause.field.is_empty())
        .map(|cause| format!("`{}`", cause.field))
        .collect();
    fields.dedup();
    let reason = if status.reason.is_empty() {
        status.code.to_string()
    } else {
        status.reason.clone()
    };
    let of = if fields.is_empty() {
        String::new()
    } else {
        format!(" of {}", fields.join(", "))
    };
    let webhook =
        webhook_without_answer(&status).map_or(String::new(), |name| format!(": failed calling webhook `{name}`"));
    let message =
        format!("the API server refuses it ({reason}{of}{webhook}); its words are left out, for they may hold values");
    Status {
        message,
        details: None,
        ..status
    }
}

/// Whether it is the API server's own word of rights, a quota, or a namespace that goes away: `secrets "x" is forbidden: …`.
/// What a policy or a webhook says against an object is forbidden as well, and is in the words of its author.
fn is_of_rights_or_room(message: &str) -> bool {
    let why = message.split_once(" is forbidden: ").map_or("", |(_, why)| why);
    message.starts_with("secrets \"")
        && [
            "User \"",
            "exceeded quota: ",
            "failed quota: ",
            "status unknown for quota: ",
            "unable to create new content in namespace ",
        ]
        .iter()
        .any(|own| why.starts_with(own))
}

/// `conflict with "kubectl" using apps/v1`, of the field `.spec.replicas`.
fn field_conflict(cause: &StatusCause) -> Option<FieldConflict> {
    let named = cause.message.strip_prefix("conflict with ")?;
    let manager = named.strip_prefix('"').and_then(|rest| rest.split('"').next());
    Some(FieldConflict {
        manager: manager.unwrap_or(named).to_owned(),
        field: cause.field.clone(),
    })
}

/// The words in which the API server's validations refuse a change, outside of the values that they quote.
fn is_immutable(message: &str) -> bool {
    let message = unquoted(message);
    [
        "field is immutable",
        "immutable",
        "cannot change roleRef",
        "updates to statefulset spec for fields other than",
        "is forbidden after creation",
        "pod updates may not change fields",
        "may not change once set",
        // Of a StorageClass.
        "updates to parameters are forbidden",
        "updates to provisioner are forbidden",
        // Of a PriorityClass.
        "may not be changed in an update",
    ]
    .iter()
    .any(|words| message.contains(words))
}

/// A message without what stands in double quotes.
fn unquoted(message: &str) -> String {
    let (mut text, mut is_quoted, mut is_escaped) = (String::new(), false, false);
    for c in message.chars() {
        match c {
            '"' if !is_escaped => is_quoted = !is_quoted,
            c if !is_quoted => text.push(c),
            _ => {}
        }
        is_escaped = is_quoted && c == '\\' && !is_escaped;
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(code: u16, cause: &str, field: &str) -> Status {
        let status = json!({
            "kind": "Status", "status": "Failure", "code": code, "reason": "x", "message": "said so",
            "details": { "causes": [{ "reason": "FieldManagerConflict", "message": cause, "field": field }] },
        });
        serde_json::from_value(status).expect("a status")
    }

    fn key(kind: &str) -> ObjectKey {
        let object = json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": "x" } });
        ObjectKey::of(&object).expect("a key")
    }

    #[test]
    fn what_the_server_says_of_a_secret_is_not_passed_on() {
        for words in [".data.password: expected string, got 4711", "field is immutable: 4711"] {
            let mut said = status(422, words, "data[password]");
            said.message = words.to_owned();
            let text = match refused(&key("Secret"), said) {
                ApplyError::Failed(error) => error.message().to_owned(),
                ApplyError::Immutable(why) => why,
                ApplyError::Conflict(_) => panic!("no conflict"),
            };
            assert!(text.contains("data[password]") && !text.contains("4711"), "{text}");
        }
    }

    #[test]
    fn who_may_not_write_a_secret_is_told_why_and_not_what_a_policy_says_of_it() {
        let told = |words: &str| {
            let mut said = status(403, "", "");
            said.message = words.to_owned();
            match refused(&key("Secret"), said) {
                ApplyError::Failed(error) => error.message().contains(words),
                other => panic!("{other:?}"),
            }
        };
        for words in [
            "secrets \"x\" is forbidden: exceeded quota: few, requested: secrets=1, used: secrets=5, limited: secrets=5",
            "secrets \"x\" is forbidden: User \"viewer\" cannot patch resource \"secrets\" in API group \"\"",
            "secrets \"x\" is forbidden: unable to create new content in namespace app because it is being terminated",
            "secrets \"x\" is forbidden: status unknown for quota: few, resources: secrets",
        ] {
            assert!(told(words), "{words}");
        }
        for words in [
            "admission webhook \"a\" denied the request: 4711 is forbidden: exceeded quota: none",
            "secrets \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: 4711 is weak",
        ] {
            assert!(!told(words), "{words}");
        }
    }

    #[test]
    fn a_webhook_that_nobody_serves_is_named_whatever_it_refuses() {
        for kind in ["Secret", "ConfigMap"] {
            let mut said = status(500, "", "");
            said.message =
                "Internal error occurred: failed calling webhook \"guard.example.com\": failed to call webhook: \
                            Post \"https://guard.app.svc:443/?4711\": service \"guard\" not found"
                    .to_owned();
            let ApplyError::Failed(error) = refused(&key(kind), said) else {
                panic!("neither a conflict nor immutable")
            };
            assert!(error.message().contains("guard.example.com"), "{error}");
            assert!(
                error.hint_text().is_some_and(|hint| hint.contains("guard.example.com")),
                "{error:?}"
            );
            assert_eq!(error.message().contains("4711"), kind == "ConfigMap", "{error}");
        }
    }

    #[test]
    fn a_conflict_names_field_and_manager() {
        let refusal = refused(
            &key("ConfigMap"),
            status(409, "conflict with \"kubectl\" using apps/v1", ".spec.replicas"),
        );
        let ApplyError::Conflict(conflicts) = refusal else {
            panic!("{refusal:?}")
        };
        assert_eq!(conflicts[0].to_string(), "`.spec.replicas` is kept by `kubectl`");
        let refusal = refused(
            &key("ConfigMap"),
            status(409, "conflict with \"hpa\" with subresource \"scale\" using v1", ".x"),
        );
        assert!(matches!(refusal, ApplyError::Conflict(all) if all[0].manager == "hpa"));
    }

    #[test]
    fn what_cannot_be_changed_is_told_from_what_is_wrong() {
        for words in [
            "Invalid value: field is immutable",
            "field is immutable when `immutable` is set",
            "cannot change roleRef",
            "updates to parameters are forbidden.",
            "may not be changed in an update.",
        ] {
            assert!(
                matches!(
                    refused(&key("ConfigMap"), status(422, words, "spec")),
                    ApplyError::Immutable(_)
                ),
                "{words}"
            );
        }
        for words in [
            "Required value",
            "Invalid value: \"immutable \\\" field is immutable\": a valid key consists of letters",
        ] {
            let mut said = status(422, words, "spec");
            said.message = format!("ConfigMap \"immutable-settings\" is invalid: spec: {words}");
            assert!(
                matches!(refused(&key("ConfigMap"), said), ApplyError::Failed(_)),
                "{words}"
            );
        }
    }
}
