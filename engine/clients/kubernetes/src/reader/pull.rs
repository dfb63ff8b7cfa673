//! With which logins a workload's images are pulled.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::Api;
use serde_json::{Value, json};

use jm_step::{StepError, StepErrorKind};

use super::Reader;
use crate::error::step_error;
use crate::workload_ref::WorkloadRef;

/// The account of pods that name none.
const USUAL_ACCOUNT: &str = "default";

impl Reader {
    /// The configurations of Docker's form (`{"auths": {"HOST": …}}`) that the nodes pull a workload's images with: those of
    /// its template and of its service account. They hold passwords. What is not there, or may not be seen, is passed over,
    /// as nodes do.
    pub async fn pull_secrets(&self, workload: &WorkloadRef) -> Result<Vec<Value>, StepError> {
        let object = self.workload_object(workload).await?;
        let spec = object.data.pointer("/spec/template/spec").cloned().unwrap_or_default();
        let account = spec["serviceAccountName"].as_str().unwrap_or(USUAL_ACCOUNT);
        let mut names: BTreeSet<String> = named(&spec["imagePullSecrets"]).collect();
        names.extend(self.of_account(account).await?);
        let mut found = Vec::new();
        for name in names {
            found.extend(self.pull_secret(&name).await?);
        }
        Ok(found)
    }

    async fn of_account(&self, name: &str) -> Result<Vec<String>, StepError> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        let doing = format!("cannot read service account `{name}`");
        let account = passed_over(accounts.get(name).await.map_err(|e| step_error(&doing, e)))?;
        let secrets = account.and_then(|account| account.image_pull_secrets);
        let names = secrets.into_iter().flatten().map(|secret| secret.name);
        Ok(names.filter(|name| !name.is_empty()).collect())
    }

    async fn pull_secret(&self, name: &str) -> Result<Option<Value>, StepError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let doing = format!("cannot read the pull secret `{name}`");
        let secret = passed_over(secrets.get(name).await.map_err(|e| step_error(&doing, e)))?;
        Ok(secret.as_ref().and_then(configuration))
    }
}

fn named(list: &Value) -> impl Iterator<Item = String> {
    let all = list.as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().filter_map(|one| one["name"].as_str().map(str::to_owned))
}

fn passed_over<T>(read: Result<T, StepError>) -> Result<Option<T>, StepError> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), StepErrorKind::NotFound | StepErrorKind::Denied) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Both types of pull secret in the newer form.
fn configuration(secret: &Secret) -> Option<Value> {
    let data = secret.data.as_ref()?;
    let read = |key: &str| serde_json::from_slice::<Value>(&data.get(key)?.0).ok();
    read(".dockerconfigjson").or_else(|| Some(json!({ "auths": read(".dockercfg")? })))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn both_types_of_pull_secret_are_read() {
        let auths = json!({ "ghcr.io": { "auth": "eDp5" } });
        let of = |key: &str, value: &Value| {
            let data = [(key.to_owned(), ByteString(value.to_string().into_bytes()))];
            configuration(&Secret {
                data: Some(data.into()),
                ..Secret::default()
            })
        };
        let whole = json!({ "auths": auths });
        assert_eq!(of(".dockerconfigjson", &whole), Some(whole.clone()));
        assert_eq!(of(".dockercfg", &auths), Some(whole.clone()));
        assert_eq!(of("password", &whole), None);
    }
}
