//! The CloudFront stand-in: CloudFront's own protocol for distributions and invalidations, and an edge with a cache in
//! front of the S3 stand-in, which an invalidation really empties. State and cache survive the process.
//!
//! # What it does
//! CreateDistribution, GetDistribution, GetDistributionConfig, ListDistributions (paged), UpdateDistribution (with
//! `If-Match`), CreateInvalidation, GetInvalidation and ListInvalidations, in the XML of the service model. One
//! reference makes one invalidation, and the same with other paths is refused; an invalidation is in progress for a
//! while and for some looks at it, and until it is completed the edge serves what it has; more paths at a time than
//! CloudFront takes are refused. Faults can be put in the way of the next request of a kind.
//!
//! # What it leaves out
//! - A signature does not expire, and presigned requests are not known. Plain HTTP.
//! - A configuration is kept as it was sent; of it the edge heeds `Enabled`, `DefaultRootObject`, the origin of the
//!   default behaviour with its path, and aliases. The bucket of an origin is what stands before `.s3` in its domain.
//! - One edge, that ignores queries, and keeps no errors.

mod api;
mod distributions;
mod edge;
mod faults;
mod invalidations;
mod reply;
mod signature;
mod state;
#[cfg(test)]
mod tests;
mod xml;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};

use crate::SandboxError;
use crate::listener::Listener;
use edge::Edge;
use faults::Faults;
use signature::Key;
use state::State;

pub use faults::{Fault, Request};
pub use state::Pace;

/// The S3 server behind the edge, with a key that may read its buckets. The same key is the one that the API knows.
#[derive(Clone)]
pub struct Store {
    /// Such as `http://127.0.0.1:40123`.
    pub endpoint: String,
    /// The access key.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
}

/// A running CloudFront. It ends when it is stopped or dropped; its state stays on disk.
pub struct CloudFrontServer {
    api: Listener,
    edge: Listener,
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    edge: Edge,
    faults: Faults,
    pace: Pace,
    key: Key,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CloudFrontServer {
    /// Starts a server with its state under `root`, on free ports of loopback.
    ///
    /// # Errors
    /// When the folder cannot be used or holds what this program did not write; when nothing can be listened on.
    pub async fn start(root: &Path, listen: SocketAddr, store: &Store, pace: Pace) -> Result<Self, SandboxError> {
        let inner = Arc::new(Inner {
            state: Mutex::new(State::open(root)?),
            edge: Edge::open(&root.join("cache"), store.client())?,
            faults: Faults::default(),
            pace,
            key: Key {
                access_key: store.access_key.clone(),
                secret_key: store.secret_key.clone(),
            },
        });
        let (answering, serving) = (inner.clone(), inner.clone());
        let api = Listener::start("CloudFront", listen, move |request| {
            api::answer(answering.clone(), request)
        });
        let edge = Listener::start("CloudFront edge", listen, move |request| {
            api::serve(serving.clone(), request)
        });
        Ok(Self {
            api: api.await?,
            edge: edge.await?,
            inner,
        })
    }

    /// The address for clients of the API.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.api.address())
    }

    /// The address for viewers, without a slash at its end.
    pub fn edge(&self) -> String {
        format!("http://{}", self.edge.address())
    }

    /// Puts a fault in the way of the next request of a kind; of several, each meets one request.
    pub fn inject(&self, request: Request, fault: Fault) {
        self.inner.faults.add(request, fault);
    }

    /// How many invalidations a distribution has had.
    pub fn invalidations(&self, distribution: &str) -> usize {
        let state = self.inner.state();
        let found = state.distributions.get(distribution);
        found.map_or(0, |distribution| distribution.invalidations.len())
    }

    /// How often a distribution was changed since it was made.
    pub fn changes(&self, distribution: &str) -> usize {
        let state = self.inner.state();
        let found = state.distributions.get(distribution);
        found.map_or(0, |distribution| distribution.changes)
    }

    /// Makes a distribution in front of a bucket where it is not there, and gives its id.
    pub fn distribute(&self, bucket: &str, alias: &str) -> Result<String, SandboxError> {
        distributions::distribute(&self.inner, bucket, alias)
    }

    /// Stops the server.
    pub async fn stop(self) {
        self.api.stop().await;
        self.edge.stop().await;
    }
}

impl Store {
    fn client(&self) -> aws_sdk_s3::Client {
        let keys = Credentials::new(&self.access_key, &self.secret_key, None, None, "sandbox");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(&self.endpoint)
            .credentials_provider(keys)
            .force_path_style(true)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }
}
