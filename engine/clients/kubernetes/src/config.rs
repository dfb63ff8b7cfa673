//! What a targets file says of a cluster, and the way from there to a client.

use std::path::PathBuf;
use std::time::Duration;

use jm_step::{OpenContext, StepError};
use kube::config::{KubeConfigOptions, Kubeconfig};
use schemars::JsonSchema;
use serde::Deserialize;

/// How long the API server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a reply may take. Watches are not used, so nothing legitimate takes longer.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// A cluster and a namespace in it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Context of the kubeconfig. Empty: its current one.
    #[serde(default)]
    pub context: String,
    /// Namespace that the steps act in. Never taken from the kubeconfig, where it would change behind a plan's back.
    pub namespace: String,
    /// Path of the kubeconfig. Empty: the files that `KUBECONFIG` lists, else `~/.kube/config`, else the pod's own
    /// service account.
    #[serde(default)]
    pub kubeconfig: String,
}

impl Config {
    /// The settings of the client that this configuration leads to.
    pub(crate) async fn client_config(&self, cx: &OpenContext) -> Result<kube::Config, StepError> {
        let options = KubeConfigOptions {
            context: some(&self.context),
            ..KubeConfigOptions::default()
        };
        let files = self.files(cx);
        let mut config = if files.is_empty() {
            kube::Config::incluster().map_err(|error| {
                StepError::invalid_input("there is no kubeconfig, and this is not a pod")
                    .hint("set KUBECONFIG, or `kubeconfig` of the target")
                    .source(error)
            })?
        } else {
            let kubeconfig = read(&files)?;
            self.check_context(&kubeconfig)?;
            kube::Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .map_err(unusable)?
        };
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        Ok(config)
    }

    fn files(&self, cx: &OpenContext) -> Vec<PathBuf> {
        if let Some(path) = some(&self.kubeconfig) {
            return vec![PathBuf::from(path)];
        }
        if let Some(list) = cx.environment.get("KUBECONFIG").filter(|list| !list.is_empty()) {
            // As kubectl does: a file of the list that is not there is passed over.
            return std::env::split_paths(list).filter(|path| path.exists()).collect();
        }
        let home = cx
            .environment
            .get("HOME")
            .map(|home| PathBuf::from(home).join(".kube/config"));
        home.filter(|path| path.exists()).into_iter().collect()
    }

    fn check_context(&self, kubeconfig: &Kubeconfig) -> Result<(), StepError> {
        let Some(wanted) = some(&self.context) else {
            return Ok(());
        };
        let names: Vec<&str> = kubeconfig
            .contexts
            .iter()
            .map(|context| context.name.as_str())
            .collect();
        if names.contains(&wanted.as_str()) {
            return Ok(());
        }
        Err(
            StepError::not_found(format!("the kubeconfig has no context `{wanted}`")).hint(format!(
                "it has: {}; set `context` of the target or KUBE_CONTEXT",
                names.join(", ")
            )),
        )
    }
}

fn read(files: &[PathBuf]) -> Result<Kubeconfig, StepError> {
    files.iter().try_fold(Kubeconfig::default(), |merged, file| {
        let next = Kubeconfig::read_from(file)
            .map_err(|error| unusable(error).context(format_args!("kubeconfig {}", file.display())))?;
        merged.merge(next).map_err(unusable)
    })
}

fn unusable(error: kube::config::KubeconfigError) -> StepError {
    StepError::invalid_input(format!("the kubeconfig cannot be used: {error}"))
        .hint("check KUBECONFIG and the target's `context` with `kubectl config view`")
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
