//! What jm needs to know of a distribution and of an invalidation.

use aws_sdk_cloudfront::types;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A distribution, as far as recovery is concerned with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Distribution {
    /// Its id, such as `E2QWRUHAPOMQZL`.
    pub id: String,
    /// Its own host name, such as `d111111abcdef8.cloudfront.net`.
    pub domain: String,
    /// The host names that it serves besides.
    pub aliases: Vec<String>,
    /// Where its content comes from.
    pub origins: Vec<Origin>,
    /// The id of the origin that serves what no other rule is for: of a group of origins, the one that is asked first.
    pub default_origin: String,
    /// Whether it answers at all.
    pub enabled: bool,
    /// Whether every edge has its newest configuration.
    pub deployed: bool,
    /// What it serves for `/`, such as `index.html`; empty for nothing.
    pub default_root_object: String,
    /// What people wrote about it.
    pub comment: String,
}

/// Where content comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// Its id within the distribution.
    pub id: String,
    /// Its host name, such as `assets.s3.eu-central-1.amazonaws.com`.
    pub domain: String,
    /// The folder in it that is served, such as `/production`; empty for all of it.
    pub path: String,
}

/// A dropping of cached paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalidation {
    /// Its id.
    pub id: String,
    /// Whether no edge serves the old content any more.
    pub completed: bool,
}

const DEPLOYED: &str = "Deployed";
const COMPLETED: &str = "Completed";

impl Distribution {
    pub(crate) fn of_config(id: &str, domain: &str, status: &str, config: &types::DistributionConfig) -> Self {
        Self {
            id: id.to_owned(),
            domain: domain.to_owned(),
            aliases: aliases(config.aliases()),
            origins: origins(config.origins()),
            default_origin: default_origin(config.default_cache_behavior(), config.origin_groups()),
            enabled: config.enabled(),
            deployed: status == DEPLOYED,
            default_root_object: config.default_root_object().unwrap_or_default().to_owned(),
            comment: config.comment().to_owned(),
        }
    }

    pub(crate) fn of_summary(summary: &types::DistributionSummary) -> Self {
        Self {
            id: summary.id().to_owned(),
            domain: summary.domain_name().to_owned(),
            aliases: aliases(summary.aliases()),
            origins: origins(summary.origins()),
            default_origin: default_origin(summary.default_cache_behavior(), summary.origin_groups()),
            enabled: summary.enabled(),
            deployed: summary.status() == DEPLOYED,
            // Lists do not tell.
            default_root_object: String::new(),
            comment: summary.comment().to_owned(),
        }
    }

    /// One of its origins.
    pub fn origin(&self, id: &str) -> Option<&Origin> {
        self.origins.iter().find(|origin| origin.id == id)
    }

    /// The host names of all origins but this one.
    pub fn other_origins(&self, id: &str) -> Vec<String> {
        let others = self.origins.iter().filter(|origin| origin.id != id);
        others.map(|origin| origin.domain.clone()).collect()
    }
}

impl From<&types::Invalidation> for Invalidation {
    fn from(invalidation: &types::Invalidation) -> Self {
        Self {
            id: invalidation.id().to_owned(),
            completed: invalidation.status() == COMPLETED,
        }
    }
}

fn aliases(aliases: Option<&types::Aliases>) -> Vec<String> {
    aliases.map(|aliases| aliases.items().to_vec()).unwrap_or_default()
}

fn origins(origins: Option<&types::Origins>) -> Vec<Origin> {
    let items = origins.map(types::Origins::items).unwrap_or_default();
    items
        .iter()
        .map(|origin| Origin {
            id: origin.id().to_owned(),
            domain: origin.domain_name().to_owned(),
            path: origin.origin_path().unwrap_or_default().to_owned(),
        })
        .collect()
}

fn default_origin(behavior: Option<&types::DefaultCacheBehavior>, groups: Option<&types::OriginGroups>) -> String {
    let target = behavior
        .map(types::DefaultCacheBehavior::target_origin_id)
        .unwrap_or_default();
    let mut groups = groups.map(types::OriginGroups::items).unwrap_or_default().iter();
    let members = groups
        .find(|group| group.id() == target)
        .and_then(types::OriginGroup::members);
    let first = members.and_then(|members| members.items().first());
    first.map_or(target, types::OriginGroupMember::origin_id).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_group_of_origins_the_first_one_serves() {
        let behavior = types::DefaultCacheBehavior::builder()
            .target_origin_id("both")
            .viewer_protocol_policy(types::ViewerProtocolPolicy::HttpsOnly)
            .build()
            .expect("a behaviour");
        let member = |id| {
            types::OriginGroupMember::builder()
                .origin_id(id)
                .build()
                .expect("a member")
        };
        let members = types::OriginGroupMembers::builder()
            .quantity(2)
            .items(member("bucket"))
            .items(member("replica"))
            .build()
            .expect("members");
        let codes = types::StatusCodes::builder()
            .quantity(1)
            .items(503)
            .build()
            .expect("codes");
        let group = types::OriginGroup::builder()
            .id("both")
            .members(members)
            .failover_criteria(
                types::OriginGroupFailoverCriteria::builder()
                    .status_codes(codes)
                    .build(),
            )
            .build()
            .expect("a group");
        let groups = types::OriginGroups::builder()
            .quantity(1)
            .items(group)
            .build()
            .expect("groups");
        assert_eq!(default_origin(Some(&behavior), Some(&groups)), "bucket");
        assert_eq!(default_origin(Some(&behavior), None), "both");
        assert_eq!(default_origin(None, Some(&groups)), "");
    }
}
