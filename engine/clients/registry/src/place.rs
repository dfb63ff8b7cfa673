//! Where an image is: the host that speaks for a registry's name, and the address of a manifest there.

use jm_client_http::{Url, is_loopback};
use jm_step::StepError;

use crate::image::ImageRef;

/// The registry of a name that names none.
const HUB: &str = "docker.io";
/// The host that speaks for it.
const HUB_HOST: &str = "registry-1.docker.io";

/// The names of one registry in one form: Docker Hub has several.
pub(crate) fn known_as(host: &str) -> &str {
    match host {
        HUB | HUB_HOST | "index.docker.io" => HUB,
        other => other,
    }
}

/// The registry of an image.
pub(crate) fn host<'t>(image: &ImageRef<'t>) -> &'t str {
    known_as(image.registry.unwrap_or(HUB))
}

/// The path of an image in its registry. On Docker Hub what has no owner is of the library.
pub(crate) fn path(image: &ImageRef<'_>) -> String {
    if host(image) == HUB && !image.path.contains('/') {
        format!("library/{}", image.path)
    } else {
        image.path.to_owned()
    }
}

/// The address of the manifest that a tag names. A registry on this machine is spoken to without TLS.
pub(crate) fn manifest(image: &ImageRef<'_>, tag: &str) -> Result<Url, StepError> {
    let host = match host(image) {
        HUB => HUB_HOST,
        host => host,
    };
    let address = format!("https://{host}/v2/{}/manifests/{tag}", path(image));
    let bad = |_| StepError::invalid_input(format!("`{host}` is no host that can be asked for `{}`", image.name));
    let mut url: Url = address.parse().map_err(bad)?;
    if is_loopback(&url) {
        // Another scheme of the same sort can always be set.
        let _ = url.set_scheme("http");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_addresses() {
        for (image, expected) in [
            ("nginx", "https://registry-1.docker.io/v2/library/nginx/manifests/1"),
            ("team/web", "https://registry-1.docker.io/v2/team/web/manifests/1"),
            (
                "docker.io/nginx",
                "https://registry-1.docker.io/v2/library/nginx/manifests/1",
            ),
            ("ghcr.io/your-org/web", "https://ghcr.io/v2/your-org/web/manifests/1"),
            (
                "registry.example:8443/web",
                "https://registry.example:8443/v2/web/manifests/1",
            ),
            ("localhost:5000/web", "http://localhost:5000/v2/web/manifests/1"),
            ("127.0.0.1:5000/a/b/c", "http://127.0.0.1:5000/v2/a/b/c/manifests/1"),
        ] {
            let reference = ImageRef::parse(image).expect(image);
            let url = manifest(&reference, "1").expect(image);
            assert_eq!(url.as_str(), expected);
        }
    }
}
