//! The four ways to change a part of an object.

pub(super) mod apply;
pub(super) mod fields;
pub(super) mod managed;
mod schema;
mod strategic;

use serde_json::Value;

use super::kinds::Kind;
use super::status::ApiError;

/// How a patch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl Format {
    /// The media types that are understood, for the error that lists them.
    const ACCEPTED: &'static str = "application/json-patch+json, application/merge-patch+json, \
        application/strategic-merge-patch+json, application/apply-patch+yaml";

    /// The same, for what a definition brings.
    const ACCEPTED_OF_CUSTOM: &'static str =
        "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";

    pub(super) fn of(content_type: &str) -> Result<Self, ApiError> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            other => Err(ApiError::unsupported_media_type(other, Self::ACCEPTED)),
        }
    }
}

/// The object as the patch makes it. Server-side apply has its own way, in [`apply`].
///
/// # Errors
/// Where the patch is not one, or does not fit the object.
pub(super) fn patched(format: Format, kind: &Kind, object: &Value, body: &[u8]) -> Result<Value, ApiError> {
    let mut object = object.clone();
    match format {
        Format::Json => {
            let patch: json_patch::Patch = serde_json::from_slice(body).map_err(unreadable)?;
            json_patch::patch(&mut object, &patch).map_err(|error| {
                ApiError::unprocessable(format!(
                    "the server rejected our request due to an error in our request: {error}"
                ))
            })?;
        }
        Format::Merge => json_patch::merge(&mut object, &parse_map(body)?),
        // Nobody has said which entries of a list of it are the same.
        Format::Strategic if kind.custom => {
            let given = "application/strategic-merge-patch+json";
            return Err(ApiError::unsupported_media_type(given, Format::ACCEPTED_OF_CUSTOM));
        }
        Format::Strategic => strategic::merge(kind, &mut object, &parse_map(body)?)?,
        Format::Apply => return Err(ApiError::internal("an apply patch is not merged blindly")),
    }
    Ok(object)
}

fn parse_map(body: &[u8]) -> Result<Value, ApiError> {
    let patch: Value = serde_json::from_slice(body).map_err(unreadable)?;
    if patch.is_object() {
        Ok(patch)
    } else {
        Err(ApiError::bad_request("a merge patch must be a JSON object"))
    }
}

fn unreadable(error: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(format!("error decoding patch: {error}"))
}
