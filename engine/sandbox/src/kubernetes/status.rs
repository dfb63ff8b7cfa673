//! What went wrong, as the `Status` objects that clients know.

use serde_json::{Value, json};

use super::kinds::Kind;

/// A refusal or failure with its HTTP code.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ApiError {
    pub(super) code: u16,
    reason: &'static str,
    message: String,
    details: Option<Value>,
}

/// One field that keeps an object from being taken.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cause {
    reason: &'static str,
    message: String,
    field: String,
}

impl Cause {
    pub(super) fn required(field: &str, hint: &str) -> Self {
        let message = if hint.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {hint}")
        };
        Self {
            reason: "FieldValueRequired",
            message,
            field: field.to_owned(),
        }
    }

    pub(super) fn invalid(field: &str, value: &Value, why: &str) -> Self {
        let message = format!("Invalid value: {value}: {why}");
        Self {
            reason: "FieldValueInvalid",
            message,
            field: field.to_owned(),
        }
    }

    pub(super) fn forbidden(field: &str, why: &str) -> Self {
        Self {
            reason: "FieldValueForbidden",
            message: format!("Forbidden: {why}"),
            field: field.to_owned(),
        }
    }

    pub(super) fn unsupported(field: &str, value: &Value, supported: &[&str]) -> Self {
        let listed = supported
            .iter()
            .map(|word| format!("\"{word}\""))
            .collect::<Vec<_>>()
            .join(", ");
        let message = format!("Unsupported value: {value}: supported values: {listed}");
        Self {
            reason: "FieldValueNotSupported",
            message,
            field: field.to_owned(),
        }
    }

    /// A field that another manager holds.
    pub(super) fn held(field: &str, by: &str) -> Self {
        Self {
            reason: "FieldManagerConflict",
            message: format!("conflict with {by}"),
            field: field.to_owned(),
        }
    }

    fn to_json(&self) -> Value {
        json!({"reason": self.reason, "message": self.message, "field": self.field})
    }
}

impl ApiError {
    /// What the real server answers to an object that claims to be there already: without a reason.
    pub(super) fn has_revision() -> Self {
        Self::new(500, "", "resourceVersion should not be set on objects to be created")
    }

    /// Nothing new may be made in a namespace that is ending.
    pub(super) fn namespace_ending(kind: &Kind, name: &str, namespace: &str) -> Self {
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut error = Self::forbidden(kind, name, &why);
        let message = format!("namespace {namespace} is being terminated");
        let cause = json!({"reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace"});
        if let Some(details) = &mut error.details {
            details["causes"] = json!([cause]);
        }
        error
    }

    /// A deletion was meant for an object as it was before.
    pub(super) fn precondition(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            kind.qualified_kind()
        );
        let mut error = Self::new(409, "Conflict", message);
        error.details = Some(details(kind, kind.kind, name));
        error
    }

    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
        }
    }

    fn about(mut self, kind: &Kind, name: &str) -> Self {
        self.details = Some(details(kind, kind.plural, name));
        self
    }

    pub(super) fn not_found(kind: &Kind, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} \"{name}\" not found", kind.resource())).about(kind, name)
    }

    /// No such path.
    pub(super) fn no_such_path() -> Self {
        let mut error = Self::new(404, "NotFound", "the server could not find the requested resource");
        error.details = Some(json!({}));
        error
    }

    pub(super) fn already_exists(kind: &Kind, name: &str) -> Self {
        Self::new(
            409,
            "AlreadyExists",
            format!("{} \"{name}\" already exists", kind.resource()),
        )
        .about(kind, name)
    }

    /// The object is no longer as the caller knew it.
    pub(super) fn stale(kind: &Kind, name: &str) -> Self {
        Self::conflict(
            kind,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    pub(super) fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.resource());
        Self::new(409, "Conflict", message).about(kind, name)
    }

    /// A server-side apply that would take fields from other managers.
    pub(super) fn held_fields(causes: &[Cause]) -> Self {
        let lines: Vec<_> = causes
            .iter()
            .map(|cause| format!("{}: {}", cause.message, cause.field))
            .collect();
        let message = match lines.as_slice() {
            [one] => format!("Apply failed with 1 conflict: {one}"),
            many => format!(
                "Apply failed with {} conflicts: {}",
                many.len(),
                group_conflicts(causes)
            ),
        };
        let mut error = Self::new(409, "Conflict", message);
        error.details = Some(json!({"causes": causes.iter().map(Cause::to_json).collect::<Vec<_>>()}));
        error
    }

    pub(super) fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        let lines: Vec<_> = causes
            .iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect();
        let listed = match lines.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{} \"{name}\" is invalid: {listed}", kind.qualified_kind());
        let mut about = details(kind, kind.kind, name);
        about["causes"] = causes.iter().map(Cause::to_json).collect();
        let mut error = Self::new(422, "Invalid", message);
        error.details = Some(about);
        error
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub(super) fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let quoted = if name.is_empty() {
            String::new()
        } else {
            format!(" \"{name}\"")
        };
        Self::new(
            403,
            "Forbidden",
            format!("{}{quoted} is forbidden: {why}", kind.resource()),
        )
        .about(kind, name)
    }

    pub(super) fn method_not_allowed() -> Self {
        let mut error = Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        );
        error.details = Some(json!({}));
        error
    }

    /// The revision asked for is no longer kept.
    pub(super) fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    pub(super) fn too_large() -> Self {
        Self::new(
            413,
            "RequestEntityTooLarge",
            "Request entity too large: limit is 3145728",
        )
    }

    pub(super) fn unsupported_media_type(given: &str, accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted} (given: {given})"
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub(super) fn not_acceptable(asked: &str) -> Self {
        let message = format!("only the following media types are accepted: application/json (asked for: {asked})");
        Self::new(406, "NotAcceptable", message)
    }

    /// A revision that has not been reached, as after a restore from an older state.
    pub(super) fn not_yet(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let mut error = Self::new(504, "Timeout", message);
        error.details = Some(json!({
            "retryAfterSeconds": 1,
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        }));
        error
    }

    pub(super) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(422, "Invalid", message)
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "InternalError", message)
    }

    /// The `Status` object that the caller is sent.
    pub(super) fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status["code"] = json!(self.code);
        status
    }
}

/// The `Status` that says an object is gone.
pub(super) fn deleted(kind: &Kind, name: &str, uid: &str) -> Value {
    let mut about = details(kind, kind.plural, name);
    about["uid"] = json!(uid);
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": about})
}

fn details(kind: &Kind, called: &str, name: &str) -> Value {
    let mut details = json!({});
    for (field, value) in [("name", name), ("group", kind.group), ("kind", called)] {
        if !value.is_empty() {
            details[field] = json!(value);
        }
    }
    details
}

/// Conflicts by manager, each with its fields below it.
fn group_conflicts(causes: &[Cause]) -> String {
    let mut text = String::new();
    let mut last = "";
    for cause in causes {
        if cause.message != last {
            if !last.is_empty() {
                text.push('\n');
            }
            text.push_str(&cause.message.replacen("conflict with", "conflicts with", 1));
            text.push(':');
            last = &cause.message;
        }
        text.push_str("\n- ");
        text.push_str(&cause.field);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::kinds::find;
    use super::*;

    #[test]
    fn reads_like_the_real_server() {
        let deployments = find("apps", "v1", "deployments").unwrap();
        let status = ApiError::not_found(deployments, "web").to_status();
        assert_eq!(status["message"], "deployments.apps \"web\" not found");
        assert_eq!(
            status["details"],
            json!({"name": "web", "group": "apps", "kind": "deployments"})
        );
        assert_eq!(status["code"], 404);
    }

    #[test]
    fn invalid_objects_name_every_field() {
        let deployments = find("apps", "v1", "deployments").unwrap();
        let causes = [
            Cause::required("spec.selector", ""),
            Cause::required("spec.template", "x"),
        ];
        let status = ApiError::invalid(deployments, "web", &causes).to_status();
        assert_eq!(
            status["message"],
            "Deployment.apps \"web\" is invalid: [spec.selector: Required value, spec.template: Required value: x]"
        );
        assert_eq!(status["details"]["causes"][1]["field"], "spec.template");
    }
}
