//! Bodies of requests: JSON, or YAML where it is said to be.

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::kinds::Kind;
use super::super::request::{Call, Target};
use super::super::status::ApiError;
use super::super::{object, protobuf};

/// The value in a body.
///
/// # Errors
/// Where it is in no known form.
pub(super) fn parse(call: &Call, body: &Bytes) -> Result<Value, ApiError> {
    if call.content_type.contains("protobuf") {
        return protobuf::parse(body);
    }
    match serde_json::from_slice(body) {
        Ok(value) => Ok(value),
        Err(_) if call.content_type.contains("yaml") => {
            let text = std::str::from_utf8(body).map_err(unreadable)?;
            serde_saphyr::from_str(text).map_err(unreadable)
        }
        Err(error) => Err(unreadable(error)),
    }
}

fn unreadable(error: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(format!(
        "the object provided is unrecognized (must be of type JSON or YAML): {error}"
    ))
}

/// An object for the place that the request names: of the right kind, with the namespace and name of the path.
///
/// # Errors
/// Where the object says otherwise than the path.
pub(super) fn parse_object(call: &Call, target: &Target, body: &Bytes) -> Result<Value, ApiError> {
    let mut value = parse(call, body)?;
    object::drop_nulls(&mut value);
    if !value.is_object() {
        return Err(ApiError::bad_request("the body must be an object"));
    }
    fit(target.kind, target, &mut value)?;
    Ok(value)
}

/// An applied object says what it is.
///
/// # Errors
/// Where it does not.
pub(super) fn insist_on_kind(value: &Value) -> Result<(), ApiError> {
    let (version, kind) = (object::text(value, "/apiVersion"), object::text(value, "/kind"));
    if version.is_empty() || kind.is_empty() {
        return Err(ApiError::bad_request(format!(
            "invalid object type: {version}, Kind={kind}"
        )));
    }
    Ok(())
}

/// Gives the object the kind, namespace and name of its place.
///
/// # Errors
/// Where it has others.
pub(super) fn fit(kind: &Kind, target: &Target, value: &mut Value) -> Result<(), ApiError> {
    for (field, expected) in [("apiVersion", kind.api_version()), ("kind", kind.kind.to_owned())] {
        let given = object::text(value, &format!("/{field}"));
        if !given.is_empty() && given != expected {
            let message = format!("the {field} in the data ({given}) does not match the expected {field} ({expected})");
            return Err(ApiError::bad_request(message));
        }
    }
    typed_first(kind, value);
    for (field, expected) in [("namespace", &target.namespace), ("name", &target.name)] {
        let Some(expected) = expected else { continue };
        let given = object::text(value, &format!("/metadata/{field}"));
        if !given.is_empty() && given != expected {
            let message = match field {
                "name" => format!("the name of the object ({given}) does not match the name on the URL ({expected})"),
                _ => "the namespace of the provided object does not match the namespace sent on the request".to_owned(),
            };
            return Err(ApiError::bad_request(message));
        }
        object::set(value, &["metadata", field], json!(expected));
    }
    if !kind.namespaced {
        object::remove(value, &["metadata", "namespace"]);
    }
    Ok(())
}

/// Puts `kind` and `apiVersion` before everything else, where people look for them.
fn typed_first(kind: &Kind, value: &mut Value) {
    let Value::Object(fields) = value else { return };
    fields.shift_remove("kind");
    fields.shift_remove("apiVersion");
    fields.shift_insert(0, "apiVersion".to_owned(), json!(kind.api_version()));
    fields.shift_insert(1, "kind".to_owned(), json!(kind.kind));
}
