//! Images that somebody names for containers, in the place of those that ran or are written: where that one cannot be had any
//! more, or is what broke.

use jm_backup::{ChosenImage, is_written};
use jm_client_kubernetes::{ObjectKey, WorkloadRef};
use jm_step::{InputIssue, StepError};
use serde_json::Value;

use crate::recorded::containers_mut;

/// What is wrong with choices before anything is read.
pub(crate) fn issues(chosen: &[ChosenImage]) -> Vec<InputIssue> {
    let at = |index: usize, field: &str| format!("/set_images/{index}/{field}");
    let mut issues = Vec::new();
    for (index, one) in chosen.iter().enumerate() {
        if let Err(error) = one.workload.parse::<WorkloadRef>() {
            issues.push(InputIssue::at(at(index, "workload"), error.to_string()));
        }
        if !one.image.contains("@sha256:") {
            issues.push(
                InputIssue::at(
                    at(index, "image"),
                    format!("`{}` is not named by its digest", one.image),
                )
                .help("write `NAME@sha256:…`; a tag may name another image by then"),
            );
        }
    }
    issues
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
        // `deploy/web` is one, too.
        let workload = workload.parse::<WorkloadRef>().map(|workload| workload.to_string());
        if !workload.is_ok_and(|workload| is_written(&workload, &key.kind, &key.name)) {
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
