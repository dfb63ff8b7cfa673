//! Server-side apply of objects of any kind, under jm's name as field manager; and the same asked without doing it.

use std::fmt;

use jm_step::{StepError, StepErrorKind};
use kube::core::Status;
use kube::core::response::StatusCause;
use serde_json::{Value, json};

use crate::connection::{FIELD_MANAGER, Kubernetes};
use crate::error::step_error;
use crate::kind::{ObjectKey, ResourceKind};
use crate::patience::Patience;
use crate::reader::Reader;

mod anew;
mod held;
mod twice;

pub use held::HeldFor;

/// An object after it was applied.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Whether it was not there before.
    pub created: bool,
    /// As the server has it now.
    pub object: Value,
}

/// A field that somebody else keeps at another value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldConflict {
    /// Who: a field manager.
    pub manager: String,
    /// The field, such as `.spec.replicas`.
    pub field: String,
}

impl fmt::Display for FieldConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is kept by `{}`", self.field, self.manager)
    }
}

/// Why an object was not applied.
#[derive(Debug)]
pub enum ApplyError {
    /// Others keep fields of it at other values.
    Conflict(Vec<FieldConflict>),
    /// A field of it cannot be changed once it is there, for this reason.
    Immutable(String),
    /// Anything else.
    Failed(StepError),
}

/// Why one request did not apply an object.
enum Unapplied {
    /// The server had too much to do for longer than one waits, and has done nothing of it.
    TurnedAway(StepError),
    Refused(ApplyError),
}

/// How an apply is asked for.
#[derive(Debug, Clone, Copy, Default)]
struct Ask {
    force: bool,
    dry_run: bool,
}

impl Reader {
    /// What the server would make of an object, told by the server without making it. Nothing is written: the request
    /// says `dryRun=All`, always.
    pub async fn dry_run(
        &self,
        kind: &ResourceKind,
        key: &ObjectKey,
        object: &Value,
        force: bool,
    ) -> Result<Applied, ApplyError> {
        apply(self, kind, key, object, Ask { force, dry_run: true }).await
    }
}

impl Kubernetes {
    /// Makes an object be as it is written, and leaves fields alone that it does not name.
    pub async fn apply(
        &self,
        kind: &ResourceKind,
        key: &ObjectKey,
        object: &Value,
        force: bool,
    ) -> Result<Applied, ApplyError> {
        apply(self, kind, key, object, Ask { force, dry_run: false }).await
    }

    /// Deletes an object, if it is still the one with this UID. Whether it was there.
    pub async fn delete(&self, kind: &ResourceKind, key: &ObjectKey, uid: Option<&str>) -> Result<bool, StepError> {
        let doing = format!("cannot delete {key}");
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
            "preconditions": uid.map(|uid| json!({ "uid": uid })),
        });
        let request = http::Request::delete(kind.path_of(key))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(options.to_string().into_bytes());
        let request = request.map_err(|error| StepError::failed(doing.clone()).source(error))?;
        match self.client().request::<Value>(request).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            // Another one has come in its place: whoever looks again sees that one.
            Err(kube::Error::Api(status)) if status.code == 409 => Err(StepError::unavailable(format!(
                "{doing}: it is another one by now: {}",
                status.message
            ))),
            Err(error) => Err(step_error(&doing, error)),
        }
    }
}

/// Applying twice equals applying once, so what may pass by itself is tried again.
async fn apply(
    reader: &Reader,
    kind: &ResourceKind,
    key: &ObjectKey,
    object: &Value,
    ask: Ask,
) -> Result<Applied, ApplyError> {
    let body = body(key, object).map_err(ApplyError::Failed)?;
    let mut patience = Patience::new();
    loop {
        match attempt(reader, kind, key, &body, ask).await {
            Ok(applied) => return Ok(applied),
            Err(Unapplied::TurnedAway(error)) => return Err(ApplyError::Failed(error)),
            // Two writers at one moment, and no field that they do not agree about.
            Err(Unapplied::Refused(ApplyError::Failed(error))) if error.kind() == StepErrorKind::Conflict => {
                let again = StepError::unavailable(error.message());
                patience.after(again).await.map_err(|_| ApplyError::Failed(error))?;
            }
            Err(Unapplied::Refused(ApplyError::Failed(error))) => {
                patience.after(error).await.map_err(ApplyError::Failed)?;
            }
            Err(Unapplied::Refused(refusal)) => return Err(refusal),
        }
    }
}

fn body(key: &ObjectKey, object: &Value) -> Result<Vec<u8>, StepError> {
    let json =
        serde_json::to_string(object).map_err(|error| StepError::failed(format!("{key} is no JSON")).source(error))?;
    Ok(escaped(&json))
}

/// The body is read as YAML, which is JSON but for characters that YAML does not take as they are. They stand in strings
/// only.
fn escaped(json: &str) -> Vec<u8> {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if matches!(
            c,
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        ) {
            text.extend(format!("\\u{:04x}", u32::from(c)).chars());
        } else {
            text.push(c);
        }
    }
    text.into_bytes()
}

/// As it is asked for, and otherwise where the server does not take that of jm.
async fn attempt(
    reader: &Reader,
    kind: &ResourceKind,
    key: &ObjectKey,
    body: &[u8],
    ask: Ask,
) -> Result<Applied, Unapplied> {
    match once(reader, kind, key, body, ask).await {
        // What jm's other steps have set (an image, a count) it has as another manager of the same name.
        Err(Unapplied::Refused(ApplyError::Conflict(conflicts))) if are_own(&conflicts) => {
            once(reader, kind, key, body, Ask { force: true, ..ask }).await
        }
        Err(Unapplied::Refused(ApplyError::Failed(error))) if twice::is_refused(&error) => {
            twice::write(reader, kind, key, body, ask).await
        }
        done => done,
    }
}

fn are_own(conflicts: &[FieldConflict]) -> bool {
    conflicts.iter().all(|conflict| conflict.manager == FIELD_MANAGER)
}

async fn once(
    reader: &Reader,
    kind: &ResourceKind,
    key: &ObjectKey,
    body: &[u8],
    ask: Ask,
) -> Result<Applied, Unapplied> {
    let query = format!("force={}&{}", ask.force, dry_run(ask.dry_run));
    // JSON is YAML.
    let request = request(
        http::Method::PATCH,
        &kind.path_of(key),
        &query,
        "application/apply-patch+yaml",
    );
    send(reader, key, request, body).await
}

fn dry_run(is_dry: bool) -> &'static str {
    if is_dry { "dryRun=All" } else { "" }
}

/// A write under jm's name.
fn request(method: http::Method, path: &str, query: &str, content: &str) -> http::request::Builder {
    http::Request::builder()
        .method(method)
        .uri(format!("{path}?fieldManager={FIELD_MANAGER}&{query}"))
        .header(http::header::ACCEPT, "application/json")
        .header(http::header::CONTENT_TYPE, content)
}

async fn send(
    reader: &Reader,
    key: &ObjectKey,
    request: http::request::Builder,
    body: &[u8],
) -> Result<Applied, Unapplied> {
    let doing = format!("cannot apply {key}");
    let request = request.body(kube::client::Body::from(body.to_vec()));
    let lost = |error: StepError| Unapplied::Refused(ApplyError::Failed(error));
    let failed = |error: kube::Error| lost(step_error(&doing, error));
    let request = request.map_err(|error| lost(StepError::failed(doing.clone()).source(error)))?;
    let response = reader.client().send(request).await.map_err(failed)?;
    let code = response.status();
    let body = response.into_body().collect_bytes().await.map_err(failed)?;
    if code.is_success() {
        let object = serde_json::from_slice(&body).map_err(|error| failed(kube::Error::SerdeError(error)))?;
        return Ok(Applied {
            created: code == http::StatusCode::CREATED,
            object,
        });
    }
    let status = serde_json::from_slice(&body).unwrap_or_else(|_| {
        let said = String::from_utf8_lossy(&body);
        Status::failure(&said.chars().take(200).collect::<String>(), "").with_code(code.as_u16())
    });
    let status = status.with_code(code.as_u16());
    let refusal = refused(key, status);
    Err(match refusal {
        ApplyError::Failed(error) if code == http::StatusCode::TOO_MANY_REQUESTS => Unapplied::TurnedAway(error),
        refusal => Unapplied::Refused(refusal),
    })
}

fn refused(key: &ObjectKey, status: Status) -> ApplyError {
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
    let status = if key.is_secret() { discreet(status) } else { status };
    if status.code == 422 && is_immutable {
        return ApplyError::Immutable(status.message);
    }
    ApplyError::Failed(step_error(
        &format!("cannot apply {key}"),
        kube::Error::Api(status.boxed()),
    ))
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
    let message = format!("the API server refuses it ({reason}{of}); its words are left out, for they may hold values");
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
    fn what_yaml_refuses_is_escaped_and_means_the_same() {
        let object = json!({ "a": "x\u{7f}y\u{2028}ä" });
        let text = escaped(&object.to_string());
        assert!(!String::from_utf8_lossy(&text).contains(['\u{7f}', '\u{2028}']));
        assert_eq!(serde_json::from_slice::<Value>(&text).expect("json"), object);
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
