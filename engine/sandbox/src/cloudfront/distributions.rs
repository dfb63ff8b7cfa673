//! Distributions: made, listed, changed.

use http::StatusCode;
use jiff::Timestamp;

use super::Inner;
use super::api::Asked;
use super::reply::{Refusal, Reply, created, ok, with_etag};
use super::state::{Distribution, State, id_of, later};
use super::xml::{Element, field};
use crate::SandboxError;

/// Makes a distribution in front of a bucket where no distribution has that alias.
pub(super) fn distribute(inner: &Inner, bucket: &str, alias: &str) -> Result<String, SandboxError> {
    let mut state = inner.state();
    let found = state
        .distributions
        .values()
        .find(|distribution| distribution.serves(alias));
    if let Some(found) = found {
        return Ok(found.id.clone());
    }
    let origin = format!("{bucket}.s3.amazonaws.com");
    let config = format!(
        "<DistributionConfig>{}<Aliases><Quantity>1</Quantity><Items>{}</Items></Aliases>{}<Origins><Quantity>1\
         </Quantity><Items><Origin>{}{}{}<S3OriginConfig>{}</S3OriginConfig></Origin></Items></Origins>\
         <DefaultCacheBehavior>{}{}</DefaultCacheBehavior>{}{}</DistributionConfig>",
        field("CallerReference", ulid::Ulid::new()),
        field("CNAME", alias),
        field("DefaultRootObject", "index.html"),
        field("Id", "assets"),
        field("DomainName", origin),
        field("OriginPath", ""),
        field("OriginAccessIdentity", ""),
        field("TargetOriginId", "assets"),
        field("ViewerProtocolPolicy", "redirect-to-https"),
        field("Comment", "static assets"),
        field("Enabled", true),
    );
    let now = jm_step::clock::now();
    let distribution = made(&Element::parse(&config).unwrap_or_default(), now, now);
    let id = distribution.id.clone();
    state.distributions.insert(id.clone(), distribution);
    state.save()?;
    Ok(id)
}

fn made(config: &Element, now: Timestamp, deployed_at: Timestamp) -> Distribution {
    Distribution {
        id: id_of('E', config.text_at(&["CallerReference"])),
        config: config.write(),
        changed_at: now,
        deployed_at,
        changes: 0,
        invalidations: Vec::new(),
    }
}

pub(super) fn find<'s>(state: &'s State, id: &str) -> Result<&'s Distribution, Refusal> {
    state
        .distributions
        .get(id)
        .ok_or_else(|| Refusal::not_found("NoSuchDistribution"))
}

pub(super) fn find_mut<'s>(state: &'s mut State, id: &str) -> Result<&'s mut Distribution, Refusal> {
    state
        .distributions
        .get_mut(id)
        .ok_or_else(|| Refusal::not_found("NoSuchDistribution"))
}

pub(super) fn list(state: &State, asked: &Asked, now: Timestamp) -> Reply {
    let most: usize = asked
        .query("MaxItems")
        .and_then(|text| text.parse().ok())
        .unwrap_or(100);
    let marker = asked.query("Marker").unwrap_or_default();
    let rest: Vec<&Distribution> = state
        .distributions
        .values()
        .filter(|found| *found.id > *marker)
        .collect();
    let page = &rest[..rest.len().min(most)];
    let more = rest.len() > page.len();
    let items: String = page
        .iter()
        .map(|found| distribution_xml("DistributionSummary", found, now))
        .collect();
    let next = page.last().filter(|_| more).map(|last| field("NextMarker", &last.id));
    ok(&format!(
        "<DistributionList>{}{}{}{}{}<Items>{items}</Items></DistributionList>",
        field("Marker", marker),
        next.unwrap_or_default(),
        field("MaxItems", most),
        field("IsTruncated", more),
        field("Quantity", page.len()),
    ))
}

pub(super) fn create(inner: &Inner, state: &mut State, asked: &Asked, now: Timestamp) -> Result<Reply, Refusal> {
    let config = config_of(asked)?;
    let distribution = made(&config, now, later(now, inner.pace.deploys_after));
    if state.distributions.contains_key(&distribution.id) {
        let words = "The caller reference you attempted to create the distribution with is associated with another distribution.";
        return Err(Refusal::new(StatusCode::CONFLICT, "DistributionAlreadyExists", words));
    }
    let text = distribution_xml("Distribution", &distribution, now);
    let reply = with_etag(created(&text), &distribution.etag());
    state.distributions.insert(distribution.id.clone(), distribution);
    state.save()?;
    Ok(reply)
}

/// What there is to tell of one.
pub(super) fn told(found: &Distribution, now: Timestamp) -> Reply {
    with_etag(ok(&distribution_xml("Distribution", found, now)), &found.etag())
}

pub(super) fn update(
    inner: &Inner,
    state: &mut State,
    id: &str,
    asked: &Asked,
    now: Timestamp,
) -> Result<Reply, Refusal> {
    let config = config_of(asked)?;
    let found = find_mut(state, id)?;
    let etag = asked.if_match.as_ref().ok_or_else(|| {
        let words = "The If-Match version is missing or not valid for the resource.";
        Refusal::bad("InvalidIfMatchVersion", words)
    })?;
    if *etag != found.etag() {
        let words = "The request failed because it didn't meet the preconditions in one or more request-header fields.";
        return Err(Refusal::new(
            StatusCode::PRECONDITION_FAILED,
            "PreconditionFailed",
            words,
        ));
    }
    found.config = config.write();
    found.changed_at = now;
    found.changes += 1;
    found.deployed_at = later(now, inner.pace.deploys_after);
    let reply = told(found, now);
    state.save()?;
    Ok(reply)
}

fn config_of(asked: &Asked) -> Result<Element, Refusal> {
    let malformed = || Refusal::bad("MalformedXML", "The XML is not well formed.");
    let config = asked.body.clone().filter(|body| body.name == "DistributionConfig");
    let config = config.ok_or_else(malformed)?;
    let wanted = config.text_at(&["DefaultCacheBehavior", "TargetOriginId"]);
    let origins = config.children_at(&["Origins", "Items"]);
    if !origins.iter().any(|origin| origin.text_at(&["Id"]) == wanted) {
        let words = "One or more of your origins do not exist.";
        return Err(Refusal::new(StatusCode::NOT_FOUND, "NoSuchOrigin", words));
    }
    Ok(config)
}

fn distribution_xml(name: &str, found: &Distribution, now: Timestamp) -> String {
    let status = if now >= found.deployed_at {
        "Deployed"
    } else {
        "InProgress"
    };
    let head = [
        field("Id", &found.id),
        field(
            "ARN",
            format!("arn:aws:cloudfront::000000000000:distribution/{}", found.id),
        ),
        field("Status", status),
        field("LastModifiedTime", found.changed_at),
        field("DomainName", found.domain()),
    ]
    .concat();
    let config = found.config();
    // A summary has the configuration's fields as its own.
    let rest = match name {
        "DistributionSummary" => config.children.iter().map(Element::write).collect(),
        _ => format!(
            "{}{}",
            field("InProgressInvalidationBatches", found.in_progress().count()),
            config.write()
        ),
    };
    format!("<{name}>{head}{rest}</{name}>")
}
