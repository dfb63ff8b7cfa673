//! What a targets file says of a cluster, and the way from there to a client.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use jm_step::{Environment, NamedBy, NamedFile, OpenContext, StepError};
use kube::config::{AuthInfo, AuthProviderConfig, Context, KubeConfigOptions, Kubeconfig, KubeconfigError};
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::Deserialize;

/// How long the API server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a reply may take. Watches are not used; a log that is followed and says nothing for as long is asked for anew.
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
        self.check_namespace()?;
        let options = KubeConfigOptions {
            context: some(&self.context),
            ..KubeConfigOptions::default()
        };
        let files = self.files(cx)?;
        let mut config = if files.is_empty() {
            kube::Config::incluster().map_err(|error| {
                StepError::not_found("there is no kubeconfig, and this is not a pod")
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
        // Unasked, the client would try again for minutes without a word; when to try again is for the waits of the
        // steps and for the engine to say.
        config.default_retry = false;
        register(&config.auth_info, cx);
        Ok(config)
    }

    /// The address of the API server, where a kubeconfig names it.
    pub(crate) fn server(&self, cx: &OpenContext) -> Option<String> {
        let (kubeconfig, context) = self.chosen(cx)?;
        let mut clusters = kubeconfig.clusters.into_iter();
        clusters.find(|one| one.name == context.cluster)?.cluster?.server
    }

    /// The program that a kubeconfig has for credentials.
    pub(crate) fn program(&self, cx: &OpenContext) -> Option<String> {
        let (kubeconfig, context) = self.chosen(cx)?;
        let mut users = kubeconfig.auth_infos.into_iter();
        program(&users.find(|one| Some(&one.name) == context.user.as_ref())?.auth_info?)
    }

    /// What the kubeconfig says, where there is one, and the context in it that is used.
    fn chosen(&self, cx: &OpenContext) -> Option<(Kubeconfig, Context)> {
        let kubeconfig = read(&self.files(cx).ok()?).ok()?;
        let name = some(&self.context).or_else(|| kubeconfig.current_context.clone())?;
        let context = kubeconfig.contexts.iter().find(|context| context.name == name)?;
        let context = context.context.clone()?;
        Some((kubeconfig, context))
    }

    /// Kubernetes keeps namespaces that begin with `kube-` for itself; no recovery stops what runs there.
    pub(crate) fn check_namespace(&self) -> Result<(), StepError> {
        if self.namespace.is_empty() {
            return Err(StepError::invalid_input("the target names no namespace")
                .hint("set `namespace` of the target to that of the application"));
        }
        if self.namespace.starts_with("kube-") {
            return Err(
                StepError::refused(format!("namespace `{}` belongs to Kubernetes itself", self.namespace))
                    .hint("set `namespace` of the target to that of the application"),
            );
        }
        Ok(())
    }

    /// The kubeconfig that the configuration or `KUBECONFIG` names; of the list in the latter one file is enough.
    pub(crate) fn named_files(&self, environment: &Environment) -> Vec<NamedFile> {
        let listed = environment.get("KUBECONFIG").filter(|list| !list.is_empty());
        let (paths, by) = match (some(&self.kubeconfig), listed) {
            (Some(path), _) => (vec![PathBuf::from(path)], NamedBy::Field("/kubeconfig")),
            (None, Some(list)) => (std::env::split_paths(list).collect(), NamedBy::Variable("KUBECONFIG")),
            (None, None) => return Vec::new(),
        };
        vec![NamedFile {
            what: "kubeconfig",
            paths,
            by,
            comes_with_system: true,
        }]
    }

    fn files(&self, cx: &OpenContext) -> Result<Vec<PathBuf>, StepError> {
        if let Some(path) = some(&self.kubeconfig) {
            return Ok(vec![PathBuf::from(path)]);
        }
        if let Some(list) = cx.environment.get("KUBECONFIG").filter(|list| !list.is_empty()) {
            // As kubectl does: a file of the list that is not there is passed over.
            let found: Vec<PathBuf> = std::env::split_paths(list).filter(|path| path.exists()).collect();
            // With none left, kubectl would take some other cluster's defaults: jm does not guess.
            return if found.is_empty() {
                Err(
                    StepError::not_found(format!("KUBECONFIG names `{list}`, which is not there"))
                        .hint("set KUBECONFIG to the path of a kubeconfig, or `kubeconfig` of the target"),
                )
            } else {
                Ok(found)
            };
        }
        let home = cx
            .environment
            .get("HOME")
            .map(|home| PathBuf::from(home).join(".kube/config"));
        Ok(home.filter(|path| path.exists()).into_iter().collect())
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

/// The program that the client is going to ask for credentials, with its arguments. A provider comes before all else that a
/// kubeconfig may have, and a program named by itself after it.
pub(crate) fn program(user: &AuthInfo) -> Option<String> {
    if let Some(provider) = &user.auth_provider {
        return program_of(provider);
    }
    let exec = user.exec.as_ref()?;
    let words = exec.command.iter().chain(exec.args.iter().flatten());
    Some(words.map(String::as_str).collect::<Vec<_>>().join(" "))
}

/// That of the older form, whatever it is needed for at once: a token that was kept is good for an hour at most.
fn program_of(provider: &AuthProviderConfig) -> Option<String> {
    let command = provider.config.get("cmd-path")?;
    let arguments = provider.config.get("cmd-args").map(|words| words.trim());
    let words = std::iter::once(command.as_str()).chain(arguments.filter(|words| !words.is_empty()));
    Some(words.collect::<Vec<_>>().join(" "))
}

/// What proves who we are is masked wherever it might turn up.
fn register(user: &AuthInfo, cx: &OpenContext) {
    for secret in [&user.token, &user.password, &user.client_key_data]
        .into_iter()
        .flatten()
    {
        cx.secrets.register(secret.expose_secret());
    }
}

fn read(files: &[PathBuf]) -> Result<Kubeconfig, StepError> {
    files.iter().try_fold(Kubeconfig::default(), |merged, file| {
        let next = Kubeconfig::read_from(file)
            .map_err(|error| unusable(error).context(format_args!("kubeconfig {}", file.display())))?;
        merged.merge(next).map_err(unusable)
    })
}

/// A kubeconfig that is not there may come with the cluster that a plan brings up; one that is there and wrong stays so.
fn unusable(error: KubeconfigError) -> StepError {
    let is_missing = matches!(&error, KubeconfigError::ReadConfig(error, _) if error.kind() == ErrorKind::NotFound);
    let kind = if is_missing {
        StepError::not_found
    } else {
        StepError::invalid_input
    };
    kind(format!("the kubeconfig cannot be used: {error}"))
        .hint("check KUBECONFIG and the target's `context` with `kubectl config view`")
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make and read files of their own")]
mod tests {
    use jm_step::{Connection, RunId, Secrets, StepErrorKind};

    use super::*;
    use crate::connection::Kubernetes;

    const KUBECONFIG: &str = "apiVersion: v1
kind: Config
clusters: [{ name: c, cluster: { server: 'https://127.0.0.1:1' } }]
users: [{ name: u, user: { token: very-secret-token } }]
contexts: [{ name: one, context: { cluster: c, user: u, namespace: elsewhere } }]
current-context: one
";

    fn context(variables: &[(&str, &str)]) -> OpenContext {
        let owned = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        OpenContext {
            secrets: Secrets::new(),
            environment: Environment::new(owned),
            run: RunId::generate(),
        }
    }

    fn config(namespace: &str, context: &str) -> Config {
        Config {
            context: context.to_owned(),
            namespace: namespace.to_owned(),
            kubeconfig: String::new(),
        }
    }

    #[tokio::test]
    async fn a_kubeconfig_is_found_and_its_token_masked() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        std::fs::write(&file, KUBECONFIG).unwrap();
        let cx = context(&[("KUBECONFIG", &format!("/nowhere:{}", file.display()))]);
        let found = config("app", "").client_config(&cx).await.expect("found");
        assert_eq!(found.cluster_url.to_string(), "https://127.0.0.1:1/");
        assert_eq!(config("app", "").server(&cx).as_deref(), Some("https://127.0.0.1:1"));
        assert!(cx.secrets.occur_in("token is very-secret-token"));
        let error = config("app", "two")
            .client_config(&cx)
            .await
            .expect_err("no such context");
        assert_eq!(error.kind(), StepErrorKind::NotFound);
    }

    /// What a kubeconfig starts is known without starting it.
    #[test]
    fn the_program_that_a_kubeconfig_starts_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        let path = file.display().to_string();
        let cx = context(&[("KUBECONFIG", &path)]);
        for (user, expected) in [
            ("token: t", None),
            (
                "exec: { apiVersion: client.authentication.k8s.io/v1, command: aws, args: [eks, get-token] }",
                Some("aws eks get-token"),
            ),
            (
                "auth-provider: { name: gcp, config: { cmd-path: /opt/gcloud, cmd-args: config helper } }",
                Some("/opt/gcloud config helper"),
            ),
            (
                "auth-provider: { name: gcp, config: { cmd-path: /opt/gcloud } }",
                Some("/opt/gcloud"),
            ),
            ("auth-provider: { name: oidc, config: { id-token: t } }", None),
        ] {
            let text = KUBECONFIG.replace("token: very-secret-token", user);
            std::fs::write(&file, text).unwrap();
            assert_eq!(config("app", "").program(&cx).as_deref(), expected, "{user}");
            assert_eq!(
                Kubernetes::starts(&config("app", "one"), &cx).as_deref(),
                expected,
                "{user}"
            );
            assert_eq!(config("app", "two").program(&cx), None, "another context");
        }
    }

    #[tokio::test]
    async fn nothing_is_guessed() {
        let cx = context(&[("KUBECONFIG", "/nowhere"), ("HOME", "/nowhere")]);
        let error = config("app", "").client_config(&cx).await.expect_err("not there");
        assert!(error.message().contains("`/nowhere`"), "{error}");
        assert_eq!(error.kind(), StepErrorKind::NotFound, "it may come with its cluster");
        let named = Config {
            kubeconfig: "/nowhere".to_owned(),
            ..config("app", "")
        };
        let error = named.client_config(&cx).await.expect_err("not there");
        assert_eq!(error.kind(), StepErrorKind::NotFound);
        let wrong = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(wrong.path(), "clusters: 1").unwrap();
        let named = Config {
            kubeconfig: wrong.path().display().to_string(),
            ..named
        };
        let error = named.client_config(&cx).await.expect_err("not a kubeconfig");
        assert_eq!(error.kind(), StepErrorKind::InvalidInput);
        for (namespace, kind) in [
            ("", StepErrorKind::InvalidInput),
            ("kube-system", StepErrorKind::Refused),
        ] {
            let error = config(namespace, "").client_config(&cx).await.expect_err("refused");
            assert_eq!(error.kind(), kind, "{namespace}");
        }
    }
}
