//! The image that is meant by what an input says: by its digest, which a registry is asked for where only a tag is named.

use jm_client_kubernetes::{Reader, WorkloadRef};
use jm_client_registry::{ImageRef, Login, Registry};
use jm_step::{ReadContext, Secrets, StepError, StepErrorKind};

/// An image, and its digest where it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meant {
    /// As a workload is to name it.
    pub(crate) image: String,
    /// As `sha256:…`.
    pub(crate) digest: Option<String>,
}

impl Meant {
    /// What is meant without asking anybody: the digest of the reference, where it has one.
    pub(crate) fn as_written(text: &str) -> Self {
        let reference = ImageRef::parse(text).ok();
        Self {
            image: text.to_owned(),
            digest: reference.and_then(|image| image.digest).map(str::to_owned),
        }
    }

    /// What is meant by a reference: where it names a tag, the image that the tag names now. Asked with this login, else
    /// with that of the workload's own pull secrets.
    pub(crate) async fn now(
        cx: &ReadContext,
        cluster: &Reader,
        (workload, login): (&WorkloadRef, Option<&Login>),
        text: &str,
    ) -> Result<Self, StepError> {
        let reference = ImageRef::parse(text).map_err(StepError::invalid_input)?;
        if reference.digest.is_some() {
            return Ok(Self::as_written(text));
        }
        let found = match login {
            Some(login) => Some(login.clone()),
            None => pull_login(cluster, workload, &reference, cx.secrets()).await?,
        };
        let registry = Registry::new(cx.environment())?;
        let digest = registry.digest(&reference, found.as_ref()).await.map_err(what_to_do)?;
        Ok(Self {
            image: reference.pinned(&digest),
            digest: Some(digest),
        })
    }
}

/// The login that the nodes would pull the image with.
async fn pull_login(
    cluster: &Reader,
    workload: &WorkloadRef,
    image: &ImageRef<'_>,
    secrets: &Secrets,
) -> Result<Option<Login>, StepError> {
    let configurations = cluster.pull_secrets(workload).await?;
    let login = Login::find(&configurations, image);
    if let Some(login) = &login {
        secrets.register(login.password.expose());
    }
    Ok(login)
}

/// Where the registry does not tell, a person still can.
fn what_to_do(error: StepError) -> StepError {
    let ways =
        "name the digest (`NAME@sha256:…`), or deploy whatever the tag names when it is pulled, with `allow_tag: true`";
    let hint = match (error.kind(), error.hint_text()) {
        (StepErrorKind::NotFound, _) => {
            "see which tags the registry has, or name the digest (`NAME@sha256:…`)".to_owned()
        }
        (StepErrorKind::Denied, _) => {
            format!("give a `login`, or an imagePullSecret to the workload, that may pull it; {ways}")
        }
        (_, Some(hint)) => format!("{hint}; {ways}"),
        (_, None) => ways.to_owned(),
    };
    error.hint(hint)
}
