//! The edge: answers viewers, from its cache where it may, else from the bucket behind the distribution.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_s3::Client;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::Full;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::state::{Distribution, later};
use super::xml::Element;
use crate::{SandboxError, description};

/// How long an object is kept that does not say: CloudFront's own default.
const DEFAULT_TTL: Duration = Duration::from_hours(24);

/// The cache of one stand-in, on disk, and the store behind it.
pub(super) struct Edge {
    folder: PathBuf,
    store: Client,
}

/// An object in the cache.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Cached {
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
    stored_at: Timestamp,
    fresh_until: Timestamp,
}

impl Edge {
    pub(super) fn open(folder: &Path, store: Client) -> Result<Self, SandboxError> {
        std::fs::create_dir_all(folder).map_err(SandboxError::file("make", folder))?;
        Ok(Self {
            folder: folder.to_path_buf(),
            store,
        })
    }

    /// Answers a viewer.
    pub(super) async fn answer(
        &self,
        distribution: &Distribution,
        method: &Method,
        path: &str,
        now: Timestamp,
    ) -> Response<Full<Bytes>> {
        let config = distribution.config();
        if config.text_at(&["Enabled"]) != "true" || !matches!(*method, Method::GET | Method::HEAD) {
            return plain(StatusCode::FORBIDDEN, "Error from cloudfront", now, now);
        }
        let path = decoded(path);
        let path = match path.as_str() {
            "/" => format!("/{}", config.text_at(&["DefaultRootObject"])),
            _ => path,
        };
        let name = format!("{}-{}.json", distribution.id, hex::encode(Sha256::digest(&path)));
        let cached: Option<Cached> = description::load(&self.folder, &name).ok().flatten();
        if let Some(cached) = cached.filter(|cached| now < cached.fresh_until) {
            return cached.response(method, "Hit from cloudfront", now);
        }
        match self.fetch(&config, &path, now).await {
            Ok(fetched) => {
                if fetched.fresh_until > now && description::save(&self.folder, &name, &fetched).is_err() {
                    tracing::warn!("the cache of the CloudFront stand-in cannot be written");
                }
                fetched.response(method, "Miss from cloudfront", now)
            }
            Err(status) => plain(status, "Error from cloudfront", now, now),
        }
    }

    /// Drops what is cached under these paths; `*` at the end of one stands for anything.
    pub(super) fn drop_paths(&self, distribution: &str, paths: &[String]) -> Result<(), SandboxError> {
        let paths: Vec<String> = paths.iter().map(|path| decoded(path)).collect();
        let entries = std::fs::read_dir(&self.folder).map_err(SandboxError::file("read", &self.folder))?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_whole = Path::new(&name).extension().is_some_and(|end| end == "json");
            // What is being written beside it belongs to a viewer who is not answered yet.
            if !name.starts_with(distribution) || !is_whole {
                continue;
            }
            let cached: Option<Cached> = description::load(&self.folder, &name)?;
            if cached.is_some_and(|cached| paths.iter().any(|path| covers(path, &cached.path))) {
                let path = entry.path();
                std::fs::remove_file(&path).map_err(SandboxError::file("remove", path))?;
            }
        }
        Ok(())
    }

    async fn fetch(&self, config: &Element, path: &str, now: Timestamp) -> Result<Cached, StatusCode> {
        let wanted = config.text_at(&["DefaultCacheBehavior", "TargetOriginId"]);
        let origins = config.children_at(&["Origins", "Items"]);
        let origin = origins.iter().find(|origin| origin.text_at(&["Id"]) == wanted);
        let origin = origin.ok_or(StatusCode::BAD_GATEWAY)?;
        // `assets.s3.eu-central-1.amazonaws.com` is the bucket `assets`.
        let domain = origin.text_at(&["DomainName"]);
        let bucket = domain.split(".s3").next().unwrap_or(domain);
        let key = format!("{}{path}", origin.text_at(&["OriginPath"]));
        let key = key.trim_start_matches('/');
        let got = self.store.get_object().bucket(bucket).key(key).send().await;
        // A bucket that its viewers may not list says 403 to what is not there.
        let got = got.map_err(|error| match error.as_service_error() {
            Some(_) => StatusCode::FORBIDDEN,
            None => StatusCode::BAD_GATEWAY,
        })?;
        let mut headers = BTreeMap::new();
        for (name, value) in [
            ("content-type", got.content_type()),
            ("cache-control", got.cache_control()),
            ("etag", got.e_tag()),
        ] {
            headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        }
        let ttl = ttl(got.cache_control().unwrap_or_default());
        let body = got.body.collect().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
        Ok(Cached {
            path: path.to_owned(),
            headers,
            body: STANDARD.encode(body.into_bytes()),
            stored_at: now,
            fresh_until: later(now, ttl),
        })
    }
}

impl Cached {
    fn response(&self, method: &Method, cache: &str, now: Timestamp) -> Response<Full<Bytes>> {
        let mut response = plain(StatusCode::OK, cache, self.stored_at, now);
        insert(response.headers_mut(), &self.headers);
        if *method == Method::GET {
            *response.body_mut() = Full::new(Bytes::from(STANDARD.decode(&self.body).unwrap_or_default()));
        }
        response
    }
}

fn plain(status: StatusCode, cache: &str, stored_at: Timestamp, now: Timestamp) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    let age = now.as_second().saturating_sub(stored_at.as_second());
    let told = [("x-cache", cache.to_owned()), ("age", age.to_string())];
    let told = told.map(|(name, value)| (name.to_owned(), value));
    insert(response.headers_mut(), &BTreeMap::from(told));
    response
}

fn insert(headers: &mut HeaderMap, told: &BTreeMap<String, String>) {
    for (name, value) in told {
        if let (Ok(name), Ok(value)) = (name.parse::<http::HeaderName>(), value.parse()) {
            headers.insert(name, value);
        }
    }
}

fn decoded(path: &str) -> String {
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

fn covers(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => path == pattern,
    }
}

fn ttl(cache_control: &str) -> Duration {
    let said: Vec<String> = cache_control
        .split(',')
        .map(|part| part.trim().to_ascii_lowercase())
        .collect();
    if said
        .iter()
        .any(|part| ["no-store", "no-cache", "private"].contains(&part.as_str()))
    {
        return Duration::ZERO;
    }
    let seconds = |name: &str| {
        said.iter()
            .find_map(|part| part.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    };
    seconds("s-maxage")
        .or_else(|| seconds("max-age"))
        .map_or(DEFAULT_TTL, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_object_says_decides_how_long_it_is_kept() {
        assert_eq!(ttl(""), DEFAULT_TTL);
        assert_eq!(ttl("public, max-age=60"), Duration::from_mins(1));
        assert_eq!(ttl("public, max-age=60, s-maxage=5"), Duration::from_secs(5));
        assert_eq!(ttl("no-store, max-age=60"), Duration::ZERO);
        assert_eq!(ttl("public, max-age=0, must-revalidate"), Duration::ZERO);
    }

    #[test]
    fn a_star_stands_for_anything() {
        assert!(covers("/*", "/a/b") && covers("/a*", "/ab") && covers("/a", "/a"));
        assert!(!covers("/a/*", "/ab") && !covers("/a", "/a/"));
    }
}
