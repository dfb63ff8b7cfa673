//! `kubernetes.ready`: the cluster answers, has nodes that are ready, and is what the plan expects.

use std::time::Duration;

use jm_client_kubernetes::{ClusterInfo, Kubernetes, Reader};
use jm_step::{
    Effect, Expect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError,
    StepErrorKind, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::needs;
use crate::wait;

/// The step type `kubernetes.ready`.
pub struct Ready;

/// What would make a cluster somebody's, so that it is no new one.
const COUNTED: [&str; 8] = [
    "cluster list cronjobs.batch",
    "cluster list daemonsets.apps",
    "cluster list deployments.apps",
    "cluster list jobs.batch",
    "cluster list pods",
    "cluster list replicasets.apps",
    "cluster list replicationcontrollers",
    "cluster list statefulsets.apps",
];

/// What the cluster has to be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The least nodes that are ready and take pods: not those that are cordoned.
    #[serde(default = "one")]
    nodes: u32,
    /// The least version of the API server, such as `1.33`; empty for any.
    #[serde(default)]
    min_version: Option<String>,
    /// The newest version that the plan was tried with, such as `1.36`: a newer one is not taken; empty for any.
    #[serde(default)]
    max_version: Option<String>,
    /// Whether a default storage class has to be there, for volumes that are restored.
    #[serde(default)]
    storage_class: bool,
    /// Whether the target's namespace has to be there.
    #[serde(default)]
    namespace: bool,
    /// Which cluster it is to be.
    #[serde(default)]
    expect: Expected,
    /// Further namespaces that come with a new cluster: what runs there does not make it somebody's. Those that begin with
    /// `kube-` never count, and those that providers are known to bring along, such as `local-path-storage`.
    #[serde(default)]
    system_namespaces: Vec<String>,
}

/// Which cluster a plan finds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Expected {
    /// The one that the run knows.
    #[default]
    Same,
    /// One that the plan has brought up, which has no workloads of its own yet, or one that a person has named, in the
    /// targets file (`identity`) or with `--accept-identity`. From then on that one is held to.
    New,
}

fn one() -> u32 {
    1
}

/// Namespaces that providers and their programs bring along.
const COME_WITH_IT: [&str; 7] = [
    "local-path-storage",
    "gke-managed-system",
    "gke-managed-cim",
    "gmp-system",
    "calico-system",
    "calico-apiserver",
    "tigera-operator",
];

/// What it is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// Which cluster answered: the UID of its namespace `kube-system`.
    #[serde(default)]
    cluster: String,
    /// Whether it was taken for a new one, for it had no workloads of its own; not where a person has named it.
    #[serde(default)]
    new: bool,
    /// Version of the API server, such as `v1.36.2`.
    version: String,
    /// Nodes.
    nodes: u32,
    /// Nodes that are ready and take pods.
    ready_nodes: u32,
    /// The default storage class; empty where there is none.
    default_storage_class: String,
}

impl StepType for Ready {
    const NAME: &'static str = "kubernetes.ready";
    const SUMMARY: &'static str = "proves that the cluster answers and can take work";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: Duration = Duration::from_mins(1);
    const GATE: bool = true;
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let named = [
            ("/min_version", &input.min_version),
            ("/max_version", &input.max_version),
        ];
        let unreadable = named.into_iter().filter_map(|(at, version)| {
            let version = said(version.as_ref()).filter(|version| minor(version).is_none())?;
            Some(InputIssue::at(at, format!("`{version}` is not a version")).help("write it as `1.33`"))
        });
        let mut issues: Vec<InputIssue> = unreadable.collect();
        if let (Some(least), Some(most)) = (said(input.min_version.as_ref()), said(input.max_version.as_ref()))
            && minor(least) > minor(most)
        {
            issues.push(InputIssue::at("/max_version", format!("{most} is less than {least}")));
        }
        if issues.is_empty() { Ok(()) } else { Err(issues) }
    }

    fn roles(&self) -> Vec<Role> {
        vec![crate::CLUSTER]
    }

    fn needs(&self, input: &Known) -> Vec<Need> {
        let mut needs = vec![needs::cluster(&[
            "cluster list nodes",
            "cluster list storageclasses.storage.k8s.io",
        ])];
        if input.get("namespace").is_some_and(|wanted| wanted == true) {
            needs.push(needs::cluster(&["get namespaces @"]));
        }
        if input.text("expect") == Some("new") {
            needs.push(needs::cluster(&COUNTED));
        }
        needs
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let is_new = input.expect == Expected::New && is_new(cx, input).await?;
        let cluster = if is_new {
            cx.look::<Kubernetes>().await?
        } else {
            cx.read::<Kubernetes>().await?
        };
        let output = look(&cluster, input, is_new).await?;
        let mut summary = format!(
            "cluster {} with {} ready of {} nodes",
            output.version, output.ready_nodes, output.nodes
        );
        if let Some(told) = told_by(&cluster) {
            summary.push_str("; ");
            summary.push_str(&told);
        }
        Ok(Preview::verified(summary).predict(output))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let is_new = match input.expect {
            Expected::New => wait::unless_cancelled(cx, is_new(cx, &input)).await.map_err(not_yet)?,
            Expected::Same => false,
        };
        if is_new {
            cx.log("it has no workloads of its own: taken for the one that was brought up")
                .await;
            cx.reopen::<Kubernetes>(Expect::New).await?;
        }
        let cluster = cx.read::<Kubernetes>().await?;
        let output = wait::unless_cancelled(cx, look(&cluster, &input, is_new)).await?;
        if let Some(told) = told_by(&cluster) {
            cx.log(told).await;
        }
        Ok(output)
    }

    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

/// Whether the cluster may be taken for a new one; `false` for one that a person has named. That the run has seen it before
/// proves nothing: it may have been up, and full, when the run began.
async fn is_new(cx: &ReadContext, input: &Input) -> Result<bool, StepError> {
    if cx.is_named::<Kubernetes>().await? {
        return Ok(false);
    }
    let cluster = cx.look::<Kubernetes>().await?;
    let further = input.system_namespaces.iter().cloned();
    let systems: Vec<String> = COME_WITH_IT.map(str::to_owned).into_iter().chain(further).collect();
    let count = cluster.count_workloads(&systems).await?;
    if count == 0 {
        return Ok(true);
    }
    let target = cx
        .target(crate::CLUSTER.name)
        .map_or_else(String::new, ToString::to_string);
    let hint = format!(
        "check that KUBECONFIG and the target's `context` name the new cluster; what comes with one goes into \
         `system_namespaces`; if this one is meant all the same: `--accept-identity {target}={}`",
        cluster.cluster_uid().await?
    );
    let refusal = format!("the cluster has {count} workloads of its own, so it is no new one");
    Err(StepError::refused(refusal).hint(hint))
}

/// Whoever brings a cluster up writes its kubeconfig, or its context, when it is there: until then it is waited for.
fn not_yet(error: StepError) -> StepError {
    if error.kind() != StepErrorKind::NotFound {
        return error;
    }
    error
        .of_kind(StepErrorKind::Unavailable)
        .context("there is no cluster yet")
}

/// A kubeconfig that somebody gave may start anything: what it starts is announced.
fn told_by(cluster: &Reader) -> Option<String> {
    let program = cluster.program()?;
    Some(format!(
        "credentials are told by `{program}`, which the kubeconfig names"
    ))
}

async fn look(cluster: &Reader, input: &Input, new: bool) -> Result<Output, StepError> {
    let found = cluster.cluster().await?;
    let other = other_version(&found, input);
    let mut lacks = shortcomings(&found, input);
    if input.namespace {
        lacks.extend(cluster.namespace_trouble().await?);
    }
    if let Some(other) = other {
        // No waiting makes it another one.
        lacks.insert(0, other);
        Err(
            StepError::failed(format!("the cluster will not do: {}", lacks.join("; ")))
                .hint("bring up one of another version, or change `min_version` or `max_version`"),
        )
    } else if lacks.is_empty() {
        Ok(Output {
            cluster: cluster.cluster_uid().await?,
            new,
            version: found.version,
            nodes: found.nodes,
            ready_nodes: found.ready_nodes,
            default_storage_class: found.default_storage_class.unwrap_or_default(),
        })
    } else {
        // A cluster that is being provisioned gets there by waiting, so this is tried again.
        Err(
            StepError::unavailable(format!("the cluster is not ready: {}", lacks.join("; ")))
                .hint("look at it: `kubectl get nodes,storageclass,ns`"),
        )
    }
}

/// In words, where its version is not one that is wanted.
fn other_version(found: &ClusterInfo, input: &Input) -> Option<String> {
    let version = &found.version;
    let least = said(input.min_version.as_ref()).filter(|wanted| minor(version) < minor(wanted));
    let newest = said(input.max_version.as_ref()).filter(|wanted| minor(version) > minor(wanted));
    let least = least.map(|wanted| format!("its version is {version}, and {wanted} is the least"));
    least.or_else(|| newest.map(|wanted| format!("its version is {version}, and {wanted} is the newest")))
}

fn shortcomings(found: &ClusterInfo, input: &Input) -> Vec<String> {
    let mut lacks = Vec::new();
    if found.ready_nodes < input.nodes {
        lacks.push(format!(
            "{} of {} nodes are ready and take pods, and {} are wanted",
            found.ready_nodes, found.nodes, input.nodes
        ));
    }
    if input.storage_class && found.default_storage_class.is_none() {
        lacks.push("it has no default storage class".to_owned());
    }
    lacks
}

/// An input that an expression may have left empty.
fn said(version: Option<&String>) -> Option<&str> {
    version.map(String::as_str).filter(|version| !version.is_empty())
}

/// Major and minor of a version such as `1.33`, `v1.36.2` or `v1.30.1-eks-abc`.
fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split('.');
    let number = |part: Option<&str>| {
        let digits: String = part?.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    Some((number(parts.next())?, number(parts.next())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(minor("v1.36.2"), Some((1, 36)));
        assert_eq!(minor("v1.9.0-eks-1"), Some((1, 9)));
        assert!(minor("1.9") < minor("1.33"));
        assert_eq!(minor("latest"), None);
    }

    #[test]
    fn everything_that_lacks_is_said_at_once() {
        let found = ClusterInfo {
            version: "v1.30.0".to_owned(),
            nodes: 3,
            ready_nodes: 1,
            default_storage_class: None,
        };
        let input = |min: &str, max: &str| Input {
            nodes: 2,
            min_version: Some(min.to_owned()),
            max_version: Some(max.to_owned()),
            storage_class: true,
            namespace: false,
            expect: Expected::Same,
            system_namespaces: Vec::new(),
        };
        assert_eq!(shortcomings(&found, &input("", "")).len(), 2);
        let other = |min: &str, max: &str| other_version(&found, &input(min, max));
        assert!(other("1.33", "1.36").is_some_and(|other| other.contains("1.33 is the least")));
        assert!(other("1.28", "1.29").is_some_and(|other| other.contains("1.29 is the newest")));
        assert_eq!((other("1.30", "1.30"), other("", "")), (None, None));
        assert!(Ready.check(&input("", "")).is_ok());
        assert!(Ready.check(&input("1.28", "1.36")).is_ok());
        assert!(Ready.check(&input("1.36", "1.28")).is_err());
        assert_eq!(Ready.check(&input("a", "b")).expect_err("both").len(), 2);
    }
}
