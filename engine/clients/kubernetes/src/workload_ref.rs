//! The names of workloads, as `kubectl` writes them: a kind, a slash, a name.

use std::fmt;
use std::str::FromStr;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::CronJob;
use kube::core::ApiResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A kind of workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` StatefulSet.
    StatefulSet,
    /// `apps/v1` DaemonSet.
    DaemonSet,
    /// `batch/v1` CronJob.
    CronJob,
}

impl Kind {
    /// The kind as `kubectl` writes it before a slash.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
            Self::CronJob => "cronjob",
        }
    }

    /// How the API server names the resource.
    pub fn resource(self) -> ApiResource {
        match self {
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
            Self::DaemonSet => ApiResource::erase::<DaemonSet>(&()),
            Self::CronJob => ApiResource::erase::<CronJob>(&()),
        }
    }
}

/// A workload by kind and name, written `deployment/backend-deployment`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkloadRef {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

/// A text that names no workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidWorkload(String);

impl fmt::Display for InvalidWorkload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` names no workload: write `deployment/NAME`, `statefulset/NAME`, `daemonset/NAME` or `cronjob/NAME`",
            self.0
        )
    }
}

impl std::error::Error for InvalidWorkload {}

impl FromStr for WorkloadRef {
    type Err = InvalidWorkload;
    fn from_str(text: &str) -> Result<Self, InvalidWorkload> {
        let invalid = || InvalidWorkload(text.to_owned());
        let (kind, name) = text.split_once('/').ok_or_else(invalid)?;
        let kind = match kind.to_ascii_lowercase().as_str() {
            "deployment" | "deployments" | "deploy" => Kind::Deployment,
            "statefulset" | "statefulsets" | "sts" => Kind::StatefulSet,
            "daemonset" | "daemonsets" | "ds" => Kind::DaemonSet,
            "cronjob" | "cronjobs" | "cj" => Kind::CronJob,
            _ => return Err(invalid()),
        };
        if is_dns_name(name) {
            Ok(Self {
                kind,
                name: name.to_owned(),
            })
        } else {
            Err(invalid())
        }
    }
}

/// A DNS subdomain, which every name of a workload is (Kubernetes, "Object Names and IDs").
fn is_dns_name(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    name.len() <= 253
        && edge(name.chars().next())
        && edge(name.chars().last())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.')
}

impl TryFrom<String> for WorkloadRef {
    type Error = InvalidWorkload;
    fn try_from(text: String) -> Result<Self, InvalidWorkload> {
        text.parse()
    }
}

impl From<WorkloadRef> for String {
    fn from(workload: WorkloadRef) -> String {
        workload.to_string()
    }
}

impl fmt::Display for WorkloadRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.name)
    }
}

impl JsonSchema for WorkloadRef {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "WorkloadRef".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[A-Za-z]+/[a-z0-9]([a-z0-9.-]*[a-z0-9])?$",
            "description": "A workload, as `deployment/NAME`, `statefulset/NAME`, `daemonset/NAME` or `cronjob/NAME`."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_as_kubectl_reads_them() {
        for (text, shown) in [
            ("deployment/web", "deployment/web"),
            ("deploy/web", "deployment/web"),
            ("StatefulSet/db-0.x", "statefulset/db-0.x"),
            ("ds/agent", "daemonset/agent"),
            ("cronjobs/nightly", "cronjob/nightly"),
        ] {
            assert_eq!(text.parse::<WorkloadRef>().expect("good").to_string(), shown);
        }
        for bad in [
            "web",
            "pod/web",
            "deployment/",
            "deployment/Web",
            "deployment/../x",
            "deployment/a b",
            "deployment/-a",
        ] {
            assert!(bad.parse::<WorkloadRef>().is_err(), "{bad}");
        }
    }
}
