//! The S3 server: the protocol over the store.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use http::{HeaderValue, Request};
use hyper::body::Incoming;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError, HttpResponse};
use ulid::Ulid;

use super::access::{Credentials, Guard, OneOwner};
use super::service::{Order, Service};
use super::store::Store;
use crate::SandboxError;
use crate::listener::Listener;

/// A running S3 server. It ends when it is stopped or dropped; its state stays on disk.
#[derive(Debug)]
pub struct S3Server {
    // The store closes when it and all its connections are gone.
    listener: Listener,
}

impl S3Server {
    /// Starts a server on `listen` (port 0 chooses a free one) with its state under `root`, which is made where
    /// it is missing. Only requests signed with `credentials` are answered.
    ///
    /// # Errors
    /// When the folder cannot be used, holds what this program did not write, or belongs to a server that runs
    /// already; when the address cannot be listened on.
    pub async fn start(root: &Path, listen: SocketAddr, credentials: Credentials) -> Result<Self, SandboxError> {
        let service = service(opened(root).await?, credentials);
        let listener = Listener::start("S3", listen, move |request| answer(service.clone(), request)).await?;
        Ok(Self { listener })
    }

    /// The address for clients, such as `http://127.0.0.1:40123`. Buckets are addressed by path.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.listener.address())
    }

    /// Stops the server: lets requests under way end for a few seconds, then cuts them off. The folder is free
    /// for another server afterwards.
    pub async fn stop(self) {
        self.listener.stop().await;
    }
}

/// Opens the store, which reads its whole index, off the runtime's threads.
async fn opened(root: &Path) -> Result<Store, SandboxError> {
    let folder = root.to_path_buf();
    let opened = tokio::task::spawn_blocking(move || Store::open(&folder)).await;
    opened.unwrap_or_else(|error| {
        Err(SandboxError::State {
            path: root.to_path_buf(),
            reason: error.to_string(),
        })
    })
}

fn service(store: Store, credentials: Credentials) -> S3Service {
    let mut builder = S3ServiceBuilder::new(Service::new(Arc::new(store)));
    builder.set_auth(Guard(credentials));
    builder.set_access(OneOwner);
    builder.build()
}

async fn answer(service: S3Service, request: Request<Incoming>) -> Result<HttpResponse, HttpError> {
    let mut response = service.call(request.map(Body::from)).await?;
    if let Some(order) = response.extensions_mut().remove::<Order>() {
        put_in_order(&mut response, &order)?;
    }
    if let Ok(id) = HeaderValue::from_str(&Ulid::new().to_string()) {
        response.headers_mut().insert("x-amz-request-id", id);
    }
    Ok(response)
}

fn put_in_order(response: &mut HttpResponse, order: &Order) -> Result<(), HttpError> {
    let written = response.body().bytes();
    let page = written.as_deref().and_then(|page| std::str::from_utf8(page).ok());
    let ordered = page.and_then(|page| order.apply(page));
    let ordered =
        ordered.ok_or_else(|| HttpError::new("a page of versions is not the one that was asked for".into()))?;
    *response.body_mut() = Body::from(ordered);
    Ok(())
}
