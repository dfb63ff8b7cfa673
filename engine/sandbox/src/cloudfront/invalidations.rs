//! Invalidations: asked for, looked at.

use http::StatusCode;
use jiff::Timestamp;

use super::Inner;
use super::api::Asked;
use super::distributions::{find, find_mut};
use super::reply::{Refusal, Reply, created, ok};
use super::state::{Distribution, Invalidation, Pace, State, id_of};
use super::xml::field;

pub(super) fn create(
    inner: &Inner,
    state: &mut State,
    id: &str,
    asked: &Asked,
    now: Timestamp,
) -> Result<Reply, Refusal> {
    let (reference, paths) = batch_of(asked)?;
    let found = find_mut(state, id)?;
    if let Some(known) = found.invalidations.iter().find(|known| known.reference == reference) {
        if known.paths != paths {
            let words = "Another invalidation batch with the same caller reference exists.";
            return Err(Refusal::bad("InvalidationBatchAlreadyExists", words));
        }
        return Ok(created(&invalidation_xml(known)));
    }
    has_room(found, &paths, &inner.pace)?;
    let id = id_of('I', &format!("{id} {reference}"));
    let made = Invalidation::new(id, reference, paths, now, &inner.pace);
    let reply = created(&invalidation_xml(&made));
    found.invalidations.push(made);
    state.save()?;
    Ok(reply)
}

/// The reference and the paths of a request.
fn batch_of(asked: &Asked) -> Result<(String, Vec<String>), Refusal> {
    let batch = asked.body.as_ref();
    let batch = batch.ok_or_else(|| Refusal::bad("MalformedXML", "The XML is not well formed."))?;
    let items = batch.children_at(&["Paths", "Items"]);
    let paths: Vec<String> = items.iter().map(|item| item.text.clone()).collect();
    if batch.text_at(&["Paths", "Quantity"]) != paths.len().to_string() {
        let words = "The value of Quantity and the size of Items don't match.";
        return Err(Refusal::bad("InconsistentQuantities", words));
    }
    if let Some(path) = paths.iter().find(|path| !path.starts_with('/') || !path.is_ascii()) {
        let words = format!("Your request contains one or more invalid invalidation paths: {path}");
        return Err(Refusal::bad("InvalidArgument", words));
    }
    Ok((batch.text_at(&["CallerReference"]).to_owned(), paths))
}

/// Refuses more paths than are dropped at a time.
fn has_room(found: &Distribution, paths: &[String], pace: &Pace) -> Result<(), Refusal> {
    let wild = |paths: &[String]| paths.iter().filter(|path| path.ends_with('*')).count();
    let (mut all, mut wildcards) = (paths.len(), wild(paths));
    for other in found.in_progress() {
        all += other.paths.len();
        wildcards += wild(&other.paths);
    }
    if paths.len() > pace.most_paths {
        let words = "Invalidation batch specified is too large.";
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "BatchTooLarge", words));
    }
    if all > pace.most_paths || wildcards > pace.most_wildcards {
        let words = "Processing your request will cause you to exceed the maximum number of in-progress invalidations.";
        return Err(Refusal::bad("TooManyInvalidationsInProgress", words));
    }
    Ok(())
}

pub(super) fn look(
    inner: &Inner,
    state: &mut State,
    id: &str,
    invalidation: &str,
    now: Timestamp,
) -> Result<Reply, Refusal> {
    let found = find_mut(state, id)?;
    let wanted = found.invalidations.iter_mut().find(|known| known.id == invalidation);
    let wanted = wanted.ok_or_else(|| Refusal::not_found("NoSuchInvalidation"))?;
    let completed = wanted.pass(now, true);
    let (reply, paths) = (ok(&invalidation_xml(wanted)), wanted.paths.clone());
    if completed {
        inner.edge.drop_paths(id, &paths)?;
    }
    state.save()?;
    Ok(reply)
}

pub(super) fn list(state: &State, id: &str) -> Result<Reply, Refusal> {
    let found = find(state, id)?;
    let newest_first = found.invalidations.iter().rev();
    let items: Vec<String> = newest_first
        .map(|known| {
            format!(
                "<InvalidationSummary>{}{}{}</InvalidationSummary>",
                field("Id", &known.id),
                field("CreateTime", known.created_at),
                field("Status", status(known)),
            )
        })
        .collect();
    let items = items.concat();
    Ok(ok(&format!(
        "<InvalidationList>{}{}{}{}<Items>{items}</Items></InvalidationList>",
        field("Marker", ""),
        field("MaxItems", 100),
        field("IsTruncated", false),
        field("Quantity", found.invalidations.len()),
    )))
}

fn status(invalidation: &Invalidation) -> &'static str {
    if invalidation.completed {
        "Completed"
    } else {
        "InProgress"
    }
}

fn invalidation_xml(known: &Invalidation) -> String {
    let paths: String = known.paths.iter().map(|path| field("Path", path)).collect();
    format!(
        "<Invalidation>{}{}{}<InvalidationBatch><Paths>{}<Items>{paths}</Items></Paths>{}</InvalidationBatch></Invalidation>",
        field("Id", &known.id),
        field("Status", status(known)),
        field("CreateTime", known.created_at),
        field("Quantity", known.paths.len()),
        field("CallerReference", &known.reference),
    )
}
