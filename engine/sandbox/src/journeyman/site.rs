//! The repository of the application and its static site, what is wrong with them, and what viewers see.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use jm_step::Environment;
use jm_step::process::{Command, Supervisor};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::net::TcpStream;

use super::{ASSETS, DEPLOYMENT, NAMESPACE, kubernetes, s3};
use crate::{Description, SandboxError};

/// The tag of the last good commit.
pub const GOOD: &str = "v1.0.0";
/// What the page says that is built from the last good commit.
pub const GOOD_PAGE: &str = "<!doctype html><title>Journeyman</title><h1>Roster recall</h1>\n";
/// What the page says that viewers are stuck with.
const STALE_PAGE: &str = "<!doctype html><title>Journeyman</title><h1>broken</h1>\n";
/// The image of the head, which no registry has.
const BAD_IMAGE: &str = "ghcr.io/your-org/journeyman-backend:bad";
/// Builds without anything but a shell: a page, and a script with a hash in its name.
const BUILD: &str = "set -eu
mkdir -p dist/static
script=static/app.$(cksum <app.js | cut -d ' ' -f 1).js
cp app.js \"dist/$script\"
cp page.html dist/index.html
printf '{\"app.js\": \"%s\"}\\n' \"$script\" >dist/asset-manifest.json
";
/// What somebody merged last.
const BAD_BUILD: &str = "echo 'cannot find module' >&2\nexit 1\n";
/// The file beside the repository that stands in for `docker`.
pub const BUILDER: &str = "builder";
const BUILDER_SCRIPT: &str = include_str!("builder.sh");

/// What a viewer gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The status, such as 200.
    pub status: u16,
    /// What the edge says of its cache, such as `Hit from cloudfront`.
    pub cache: String,
    /// The body.
    pub body: String,
}

/// Looks at a page of the site as a viewer does, by its path, such as `index.html`.
pub async fn viewed(sandbox: &Description, path: &str) -> Result<View, SandboxError> {
    let failed = "look at the site";
    let host = sandbox.variable("CDN_URL").trim_start_matches("http://");
    let host = host.trim_end_matches('/');
    let stream = TcpStream::connect(host).await.map_err(SandboxError::furnish(failed))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(SandboxError::furnish(failed))?;
    tokio::spawn(connection);
    let request = http::Request::get(format!("/{path}")).header(http::header::HOST, host);
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(SandboxError::furnish(failed))?;
    let (head, body) = sender
        .send_request(request)
        .await
        .map_err(SandboxError::furnish(failed))?
        .into_parts();
    let cache = head.headers.get("x-cache").and_then(|value| value.to_str().ok());
    let body = body.collect().await.map_err(SandboxError::furnish(failed))?.to_bytes();
    Ok(View {
        status: head.status.as_u16(),
        cache: cache.unwrap_or_default().to_owned(),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// Publishes a broken page that says nothing of how long it may be kept, so that caches keep it for long; and lets the
/// edge cache it.
pub async fn break_site(sandbox: &Description) -> Result<(), SandboxError> {
    let put = s3(sandbox)
        .put_object()
        .bucket(ASSETS)
        .key("index.html")
        .content_type("text/html")
        .body(ByteStream::from_static(STALE_PAGE.as_bytes()));
    put.send()
        .await
        .map_err(super::bucket::failed("publish the broken page"))?;
    viewed(sandbox, "").await.map(drop)
}

/// Gives the application an image that cannot be had: its old pods serve on, new ones do not come up.
pub async fn break_application(sandbox: &Description) -> Result<(), SandboxError> {
    let deployments: Api<Deployment> = Api::namespaced(kubernetes(sandbox).await?, NAMESPACE);
    let containers = json!([{ "name": "backend", "image": BAD_IMAGE }]);
    let patch = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
    deployments
        .patch(DEPLOYMENT, &PatchParams::default(), &Patch::Strategic(patch))
        .await
        .map(drop)
        .map_err(SandboxError::furnish("break the application"))
}

/// The image that the application is to run, as its deployment says.
pub async fn wanted_image(sandbox: &Description) -> Result<String, SandboxError> {
    let deployments: Api<Deployment> = Api::namespaced(kubernetes(sandbox).await?, NAMESPACE);
    let found = deployments.get(DEPLOYMENT).await;
    let found = found.map_err(SandboxError::furnish("look at the application"))?;
    let pod = found.spec.template.spec;
    let containers = pod.map(|pod| pod.containers);
    let backend = containers.into_iter().flatten().find(|one| one.name == "backend");
    Ok(backend.and_then(|one| one.image).unwrap_or_default())
}

/// Makes the repository: its last good commit has the tag [`GOOD`], its head does not build. Beside it lies a stand-in
/// for `docker`: [`BUILDER`].
pub async fn write_repository(folder: &Path, environment: &Environment) -> Result<(), SandboxError> {
    std::fs::create_dir_all(folder).map_err(SandboxError::file("make", folder))?;
    for (name, text) in [("page.html", GOOD_PAGE), ("app.js", "run();\n"), ("build.sh", BUILD)] {
        write(&folder.join(name), text)?;
    }
    git(folder, environment, &["init", "--quiet", "--initial-branch=main"]).await?;
    git(folder, environment, &["add", "."]).await?;
    git(folder, environment, &["commit", "--quiet", "-m", "the site"]).await?;
    git(folder, environment, &["tag", GOOD]).await?;
    write(&folder.join("build.sh"), BAD_BUILD)?;
    git(folder, environment, &["commit", "--quiet", "-am", "a better build"]).await?;

    let builder = folder.with_file_name(BUILDER);
    write(&builder, BUILDER_SCRIPT)?;
    std::fs::set_permissions(&builder, std::fs::Permissions::from_mode(0o755))
        .map_err(SandboxError::file("make executable", &builder))
}

fn write(path: &Path, text: &str) -> Result<(), SandboxError> {
    std::fs::write(path, text).map_err(SandboxError::file("write", path))
}

async fn git(folder: &Path, environment: &Environment, words: &[&str]) -> Result<(), SandboxError> {
    let action = "make the repository of the site";
    let identity = ["-c", "user.name=Journeyman", "-c", "user.email=journeyman@example.com"];
    let process = Command::new("git")
        .arg("-C")
        .arg(folder.display().to_string())
        .args(identity)
        .args(words.iter().copied())
        .spawn(&Supervisor::none(), environment);
    let status = process.map_err(SandboxError::furnish(action))?.wait().await;
    if status.map_err(SandboxError::furnish(action))?.success() {
        return Ok(());
    }
    Err(SandboxError::Furnish {
        action,
        reason: format!("`git {}` failed", words.join(" ")),
    })
}
