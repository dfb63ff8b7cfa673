//! Which kinds an API server has, asked of the server itself.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use jm_step::StepError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroupList, APIResourceList};

use crate::error::step_error;
use crate::kind::{ResourceKind, group_of};
use crate::patience::Patience;
use crate::reader::Reader;

/// Groups that are asked at the same time.
const AT_ONCE: usize = 16;

/// All kinds of a cluster, in every version that is served.
#[derive(Debug, Default)]
pub struct Discovery {
    /// By group and kind; the preferred version first.
    kinds: BTreeMap<(String, String), Vec<ResourceKind>>,
    /// Group versions that answered, whether they have kinds or none yet.
    served: BTreeSet<String>,
    /// Group versions that did not answer, and what they said instead: an aggregated API that is down.
    pub unreadable: Vec<(String, StepError)>,
}

impl Discovery {
    /// Each kind in its preferred version.
    pub fn preferred(&self) -> impl Iterator<Item = &ResourceKind> {
        self.kinds.values().filter_map(|versions| versions.first())
    }

    /// A kind in just this version.
    pub fn find(&self, api_version: &str, kind: &str) -> Option<&ResourceKind> {
        let group = group_of(api_version);
        let versions = self.kinds.get(&(group.to_owned(), kind.to_owned()))?;
        versions.iter().find(|known| known.api_version() == api_version)
    }

    /// A kind in its preferred version.
    pub fn preferred_of(&self, group: &str, kind: &str) -> Option<&ResourceKind> {
        self.kinds.get(&(group.to_owned(), kind.to_owned()))?.first()
    }

    /// Whether a kind is there in any version.
    pub fn knows(&self, group: &str, kind: &str) -> bool {
        self.kinds.contains_key(&(group.to_owned(), kind.to_owned()))
    }

    /// Whether a group version, such as `apps/v1`, answers.
    pub fn serves(&self, api_version: &str) -> bool {
        self.served.contains(api_version)
    }

    fn add(&mut self, found: APIResourceList) {
        self.served.insert(found.group_version.clone());
        let (group, version) = match found.group_version.split_once('/') {
            Some((group, version)) => (group.to_owned(), version.to_owned()),
            None => (String::new(), found.group_version.clone()),
        };
        let with_status: Vec<String> = found
            .resources
            .iter()
            .filter_map(|resource| resource.name.strip_suffix("/status").map(str::to_owned))
            .collect();
        for resource in found.resources {
            if resource.name.contains('/') {
                continue;
            }
            let kind = ResourceKind {
                group: group.clone(),
                version: version.clone(),
                has_status: with_status.contains(&resource.name),
                kind: resource.kind.clone(),
                plural: resource.name,
                namespaced: resource.namespaced,
                verbs: resource.verbs,
            };
            self.kinds.entry((group.clone(), resource.kind)).or_default().push(kind);
        }
    }
}

impl Reader {
    /// Asks for all kinds. A group that does not answer is told of, and the others are there.
    pub async fn discover(&self) -> Result<Discovery, StepError> {
        let mut discovery = Discovery::default();
        let versions = self.group_versions().await?;
        let answers = versions.iter().map(|version| async move {
            let path = if version.contains('/') { "/apis" } else { "/api" };
            let asked = self.get_json::<APIResourceList>(&format!("{path}/{version}")).await;
            (version, asked)
        });
        let answers: Vec<_> = answers.collect();
        // In order, since the preferred version of a group comes first.
        let answers: Vec<_> = stream::iter(answers).buffered(AT_ONCE).collect().await;
        for (version, answer) in answers {
            match answer {
                Ok(found) => discovery.add(found),
                Err(error) => discovery.unreadable.push((version.clone(), error)),
            }
        }
        Ok(discovery)
    }

    async fn group_versions(&self) -> Result<Vec<String>, StepError> {
        let groups: APIGroupList = self
            .get_json("/apis")
            .await
            .map_err(|error| error.context(format_args!("cannot list the cluster's API groups")))?;
        let mut versions = vec!["v1".to_owned()];
        for group in groups.groups {
            let preferred = group.preferred_version.map(|preferred| preferred.group_version);
            versions.extend(preferred.clone());
            let others = group.versions.into_iter().map(|version| version.group_version);
            versions.extend(others.filter(|version| Some(version) != preferred.as_ref()));
        }
        Ok(versions)
    }

    /// What a path holds, asked again where the answer breaks off.
    pub(crate) async fn get_json<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, StepError> {
        let doing = format!("cannot read `{path}`");
        let mut patience = Patience::new();
        loop {
            let request = http::Request::get(path).body(Vec::new());
            let request = request.map_err(|error| StepError::failed(doing.clone()).source(error))?;
            match self.client().request(request).await {
                Ok(found) => return Ok(found),
                Err(error @ kube::Error::Api(_)) => return Err(step_error(&doing, error)),
                Err(error) => patience.after(step_error(&doing, error)).await?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_preferred_version_is_taken_and_others_are_found() {
        let mut discovery = Discovery::default();
        for version in ["v2", "v1"] {
            let found = json!({ "groupVersion": format!("autoscaling/{version}"), "resources": [
                { "name": "horizontalpodautoscalers", "singularName": "", "namespaced": true, "kind": "HorizontalPodAutoscaler", "verbs": ["list"] },
                { "name": "horizontalpodautoscalers/status", "singularName": "", "namespaced": true, "kind": "HorizontalPodAutoscaler", "verbs": ["get"] },
            ] });
            discovery.add(serde_json::from_value(found).expect("a list"));
        }
        let preferred: Vec<String> = discovery.preferred().map(ResourceKind::api_version).collect();
        assert_eq!(preferred, ["autoscaling/v2"]);
        assert!(
            discovery
                .find("autoscaling/v1", "HorizontalPodAutoscaler")
                .is_some_and(|kind| kind.has_status)
        );
        assert!(discovery.find("autoscaling/v3", "HorizontalPodAutoscaler").is_none());
        assert!(discovery.knows("autoscaling", "HorizontalPodAutoscaler"));
        assert!(discovery.serves("autoscaling/v2") && !discovery.serves("autoscaling/v3"));
    }
}
