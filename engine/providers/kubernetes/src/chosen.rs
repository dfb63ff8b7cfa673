//! Images that somebody names for containers, in the place of those that ran or are written: where that one cannot be had any
//! more, or is what broke.

use jm_backup::is_written;
use jm_client_kubernetes::{ObjectKey, WorkloadRef};
use jm_step::StepError;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::recorded::containers_mut;

/// A container, and the image that it gets.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChosenImage {
    /// Of which workload, in whatever namespace.
    workload: WorkloadRef,
    /// Which of its containers.
    container: String,
    /// The image, by its digest: `ghcr.io/your-org/backend@sha256:…`.
    image: String,
}

/// Gives the containers of an object what was chosen for them, and tells which they are. A container that the workload does not
/// have is refused.
pub(crate) fn put<'c>(
    key: &ObjectKey,
    object: &mut Value,
    chosen: &'c [ChosenImage],
) -> Result<Vec<&'c str>, StepError> {
    let mut given = Vec::new();
    for ChosenImage {
        workload,
        container,
        image,
    } in chosen
    {
        if !is_written(&workload.to_string(), &key.kind, &key.name) {
            continue;
        }
        let mut names = Vec::new();
        for found in containers_mut(object) {
            let name = found["name"].as_str().unwrap_or_default().to_owned();
            if name == *container {
                found["image"] = image.as_str().into();
                given.push(container.as_str());
            }
            names.push(name);
        }
        if given.last() != Some(&container.as_str()) {
            return Err(
                StepError::refused(format!("{key} has no container `{container}` to get `{image}`"))
                    .hint(format!("it has `{}`", names.join("`, `"))),
            );
        }
    }
    Ok(given)
}
