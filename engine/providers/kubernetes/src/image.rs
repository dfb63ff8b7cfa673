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
    /// Why the registry did not tell the digest, where it was asked and the tag has to do.
    pub(crate) untold: Option<String>,
}

impl Meant {
    /// What is meant without asking anybody: the digest of the reference, where it has one.
    pub(crate) fn as_written(text: &str) -> Self {
        let reference = ImageRef::parse(text).ok();
        Self {
            image: text.to_owned(),
            digest: reference.and_then(|image| image.digest).map(str::to_owned),
            untold: None,
        }
    }

    /// What is meant by a reference: where it names a tag, the image that the tag names now. Asked with this login, else
    /// with that of the workload's own pull secrets. Where the registry does not tell, the tag does if it may.
    pub(crate) async fn now(
        cx: &ReadContext,
        cluster: &Reader,
        (workload, login): (&WorkloadRef, Option<&Login>),
        text: &str,
        tag_does: bool,
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
        match registry.digest(&reference, found.as_ref()).await {
            Ok(digest) => Ok(Self {
                image: reference.pinned(&digest),
                digest: Some(digest),
                untold: None,
            }),
            Err(error) if tag_does && is_left_to_nodes(error.kind(), cx.is_tried_again()) => Ok(Self {
                untold: Some(error.message().to_owned()),
                ..Self::as_written(text)
            }),
            Err(error) => Err(what_to_do(error)),
        }
    }
}

/// Whether nodes may find by its tag what the registry does not tell of. An image that is not there they cannot pull
/// either; and trouble that may pass is waited for as long as the registry is asked again.
fn is_left_to_nodes(kind: StepErrorKind, is_asked_again: bool) -> bool {
    kind != StepErrorKind::NotFound && !(kind.is_transient() && is_asked_again)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_does_only_where_asking_the_registry_again_does_not_help() {
        use StepErrorKind::{Denied, Failed, NotFound, TimedOut, Unavailable};
        for (kind, while_asked, at_last) in [
            (NotFound, false, false),
            (Unavailable, false, true),
            (TimedOut, false, true),
            (Denied, true, true),
            (Failed, true, true),
        ] {
            let left = [true, false].map(|is_asked_again| is_left_to_nodes(kind, is_asked_again));
            assert_eq!(left, [while_asked, at_last], "{kind}");
        }
    }
}
