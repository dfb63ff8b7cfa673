//! Server-side apply of objects of any kind, under jm's name as field manager; and the same asked without doing it.

use std::fmt;

use jm_step::{StepError, StepErrorKind};
use kube::core::Status;
use serde_json::{Value, json};

use crate::connection::{FIELD_MANAGER, Kubernetes};
use crate::error::step_error;
use crate::kind::{ObjectKey, ResourceKind};
use crate::patience::Patience;
use crate::reader::Reader;

mod anew;
mod held;
mod refusal;
mod twice;

pub use held::HeldFor;
use refusal::refused;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_yaml_refuses_is_escaped_and_means_the_same() {
        let object = json!({ "a": "x\u{7f}y\u{2028}ä" });
        let text = escaped(&object.to_string());
        assert!(!String::from_utf8_lossy(&text).contains(['\u{7f}', '\u{2028}']));
        assert_eq!(serde_json::from_slice::<Value>(&text).expect("json"), object);
    }
}
