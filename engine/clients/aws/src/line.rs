//! Lines that stall: bytes that hardly move are an error soon, and a slow line is none as long as it is not slower than said.
//!
//! The SDK counts the wait for an answer from the start of a request, so that a large part on a slow line is late however
//! well it goes, and its own floor is one byte a second. Here the wait starts when the last byte has gone.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

/// So much of a body is handed on at once: what a line at the floor takes within a minute, and less.
const CHUNK: usize = 32 * 1024;

/// How slow a line may be before it is given up, and what it carried is sent or asked for once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Floor {
    /// So many bytes a second have to move, on the average of `stall_seconds`. Default: 1024.
    #[schemars(range(min = 1))]
    pub least_bytes_per_second: u64,
    /// For how long fewer may. Default: 60.
    #[schemars(range(min = 1))]
    pub stall_seconds: u32,
}

impl Default for Floor {
    fn default() -> Self {
        Self {
            least_bytes_per_second: 1024,
            stall_seconds: 60,
        }
    }
}

impl Floor {
    fn patience(self) -> Duration {
        Duration::from_secs(self.stall_seconds.max(1).into())
    }

    fn bytes(self) -> u64 {
        self.least_bytes_per_second.saturating_mul(self.patience().as_secs())
    }
}

/// Fewer bytes moved than the floor says.
#[derive(Debug, Clone, Copy)]
pub struct Stalled(Floor);

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Floor {
            least_bytes_per_second,
            stall_seconds,
        } = self.0;
        write!(
            f,
            "the line stalled: fewer than {least_bytes_per_second} bytes a second for {stall_seconds} s"
        )
    }
}

impl Error for Stalled {}

/// Every byte went, and nothing came back.
#[derive(Debug)]
struct NoAnswer(Duration);

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer within {} s of the request", self.0.as_secs_f64())
    }
}

impl Error for NoAnswer {}

/// The same client over lines that are watched.
pub(crate) fn watched(client: SharedHttpClient, floor: Floor) -> SharedHttpClient {
    SharedHttpClient::new(Watched { inner: client, floor })
}

#[derive(Debug)]
struct Watched {
    inner: SharedHttpClient,
    floor: Floor,
}

impl HttpClient for Watched {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let mut connect_only = HttpConnectorSettings::builder();
        connect_only.set_connect_timeout(settings.connect_timeout());
        SharedHttpConnector::new(Line {
            inner: self.inner.http_connector(&connect_only.build(), components),
            floor: self.floor,
            answer: settings.read_timeout(),
        })
    }
}

/// One request after another.
#[derive(Debug)]
struct Line {
    inner: SharedHttpConnector,
    floor: Floor,
    answer: Option<Duration>,
}

impl HttpConnector for Line {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (floor, answer) = (self.floor, self.answer);
        let gone = Arc::new(Gone::default());
        let response = self.inner.call(request.map(|body| Outgoing::body(body, gone.clone())));
        HttpConnectorFuture::new(async move {
            tokio::select! {
                response = response => response.map(|response| response.map(|body| Incoming::body(body, floor))),
                error = gone.too_slow(floor, answer) => Err(error),
            }
        })
    }
}

/// How much of a request has gone.
#[derive(Debug, Default)]
struct Gone {
    bytes: AtomicU64,
    all: Notify,
}

impl Gone {
    /// Ends when the line stalls, or the answer is late.
    async fn too_slow(&self, floor: Floor, answer: Option<Duration>) -> ConnectorError {
        let mut before = 0;
        while tokio::time::timeout(floor.patience(), self.all.notified())
            .await
            .is_err()
        {
            let now = self.bytes.load(Ordering::Relaxed);
            if now - before < floor.bytes() {
                return ConnectorError::timeout(Box::new(Stalled(floor)));
            }
            before = now;
        }
        let Some(answer) = answer else {
            return std::future::pending().await;
        };
        tokio::time::sleep(answer).await;
        ConnectorError::timeout(Box::new(NoAnswer(answer)))
    }
}

/// A body on its way out, which says how much of it was taken.
struct Outgoing {
    inner: SdkBody,
    chunk: Bytes,
    gone: Arc<Gone>,
}

impl Outgoing {
    fn body(inner: SdkBody, gone: Arc<Gone>) -> SdkBody {
        if inner.is_end_stream() {
            gone.all.notify_one();
            return inner;
        }
        SdkBody::from_body_1_x(Self {
            inner,
            chunk: Bytes::new(),
            gone,
        })
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.chunk.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.chunk = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => {
                    self.gone.all.notify_one();
                    return Poll::Ready(end);
                }
            }
        }
        let size = self.chunk.len().min(CHUNK);
        let next = self.chunk.split_to(size);
        self.gone.bytes.fetch_add(size as u64, Ordering::Relaxed);
        if self.is_end_stream() {
            self.gone.all.notify_one();
        }
        Poll::Ready(Some(Ok(Frame::data(next))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunk.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, chunk) = (Body::size_hint(&self.inner), self.chunk.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + chunk);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + chunk);
        }
        hint
    }
}

/// A body on its way in. Only the time counts in which it is waited for.
struct Incoming {
    inner: SdkBody,
    floor: Floor,
    bytes: u64,
    waited: Duration,
    since: Option<Instant>,
    over: Pin<Box<Sleep>>,
}

impl Incoming {
    fn body(inner: SdkBody, floor: Floor) -> SdkBody {
        if inner.is_end_stream() {
            return inner;
        }
        SdkBody::from_body_1_x(Self {
            inner,
            floor,
            bytes: 0,
            waited: Duration::ZERO,
            since: None,
            over: Box::pin(tokio::time::sleep(floor.patience())),
        })
    }

    fn took(&mut self, bytes: u64) {
        self.waited += self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        self.bytes += bytes;
        if self.bytes >= self.floor.bytes() {
            (self.bytes, self.waited) = (0, Duration::ZERO);
        }
    }

    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.since.is_none() {
            let since = Instant::now();
            self.since = Some(since);
            let over = since + self.floor.patience().saturating_sub(self.waited);
            self.over.as_mut().reset(over);
        }
        self.over.as_mut().poll(cx)
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
            ready!(self.poll_over(cx));
            return Poll::Ready(Some(Err(Box::new(Stalled(self.floor)))));
        };
        if let Some(Ok(frame)) = &frame {
            self.took(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        Body::is_end_stream(&self.inner)
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&self.inner)
    }
}
