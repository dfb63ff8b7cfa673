//! The one question: which digest does a tag name?

use jm_client_http::{Http, Reply, Request, Url};
use jm_step::{Environment, Secret, StepError};
use sha2::{Digest as _, Sha256};

use crate::image::{ImageRef, is_digest};
use crate::login::Login;
use crate::{place, proof};

/// What a manifest may be: for one platform, or an index of several. The index is what a digest should name, so that every
/// node gets its own.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";
/// The largest manifest that a registry has to take: 4 MiB (OCI distribution, "Pushing Manifests").
const LARGEST: usize = 4 * 1024 * 1024;
/// The tag that is meant where none is written.
const USUAL_TAG: &str = "latest";

/// Registries, of whatever host. Cheap to clone.
#[derive(Clone)]
pub struct Registry(Http);

impl Registry {
    /// A client for this environment: its proxies and roots.
    pub fn new(environment: &Environment) -> Result<Self, StepError> {
        Http::new(environment).map(Self)
    }

    /// The digest that the tag of an image names now, as `sha256:…`; what a digest names is that digest.
    ///
    /// # Errors
    /// `NotFound` where the registry has no such image or tag, `Denied` where it does not let this login look (or nobody
    /// without one), `Unavailable` and `TimedOut` where it cannot be asked now, `Failed` where what it answers makes no
    /// sense.
    pub async fn digest(&self, image: &ImageRef<'_>, login: Option<&Login>) -> Result<String, StepError> {
        if let Some(digest) = image.digest {
            return Ok(digest.to_owned());
        }
        let url = place::manifest(image, image.tag.unwrap_or(USUAL_TAG))?;
        let mut proof = None;
        let mut reply = self.ask("HEAD", &url, None).await?;
        if reply.status == 401 {
            proof = Some(proof::of(&self.0, &reply, image, login).await?);
            reply = self.ask("HEAD", &url, proof.as_ref()).await?;
        }
        let told = reply.header("docker-content-digest").is_some();
        if reply.status == 405 || (reply.status == 200 && !told) {
            let reply = self.ask("GET", &url, proof.as_ref()).await?;
            accepted(&reply, image, login)?;
            return computed(&reply, image);
        }
        accepted(&reply, image, login)?;
        stated(&reply, image)
    }

    async fn ask(&self, method: &str, url: &Url, proof: Option<&Secret>) -> Result<Reply, StepError> {
        let mut request = Request::new(method, url.clone())?
            .header("accept", Secret::new(MANIFESTS))
            .most_reply(LARGEST)
            .follow();
        if let Some(proof) = proof {
            request = request.header("authorization", proof.clone());
        }
        self.0.send(&request).await
    }
}

/// What a status that is not 200 means.
fn accepted(reply: &Reply, image: &ImageRef<'_>, login: Option<&Login>) -> Result<(), StepError> {
    let host = place::host(image);
    match reply.status {
        200 => Ok(()),
        401 | 403 => Err(proof::denied(image, login)),
        404 => Err(StepError::not_found(format!(
            "registry `{host}` has no image `{}:{}`",
            image.name,
            image.tag.unwrap_or(USUAL_TAG)
        ))),
        429 => Err(StepError::unavailable(format!(
            "registry `{host}` answers nobody for a while: too many have asked (429)"
        ))),
        status @ 500..=599 => Err(StepError::unavailable(format!("registry `{host}` answers {status}"))),
        status => Err(StepError::failed(format!(
            "registry `{host}` answers {status} to the question for `{}`",
            image.name
        ))),
    }
}

fn stated(reply: &Reply, image: &ImageRef<'_>) -> Result<String, StepError> {
    let digest = reply.header("docker-content-digest").unwrap_or_default();
    if is_digest(digest) {
        return Ok(digest.to_owned());
    }
    Err(StepError::failed(format!(
        "registry `{}` says that the digest of `{}` is `{digest}`, which is none of SHA-256",
        place::host(image),
        image.name
    )))
}

/// The digest of the manifest itself; that of the header, where there is one, has to be the same.
fn computed(reply: &Reply, image: &ImageRef<'_>) -> Result<String, StepError> {
    let host = place::host(image);
    if reply.cut {
        return Err(StepError::failed(format!(
            "the manifest of `{}` at registry `{host}` is larger than a manifest may be",
            image.name
        )));
    }
    let digest = format!("sha256:{:x}", Sha256::digest(&reply.body));
    match reply.header("docker-content-digest") {
        Some(stated) if stated != digest => Err(StepError::failed(format!(
            "registry `{host}` says that the digest of `{}` is `{stated}`, and its manifest has `{digest}`",
            image.name
        ))),
        _ => Ok(digest),
    }
}
