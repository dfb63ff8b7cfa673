//! Answers on their way out.

use std::convert::Infallible;

use bytes::Bytes;
use futures::Stream;
use futures::StreamExt;
use http::{Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde_json::Value;

use super::status::ApiError;

/// The body of any answer.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// An answer.
pub(super) struct Reply {
    pub(super) code: u16,
    content_type: String,
    body: Body,
}

impl Reply {
    pub(super) fn json(code: u16, value: &Value) -> Self {
        Self::bytes(code, "application/json", value.to_string())
    }

    pub(super) fn text(code: u16, text: impl Into<Bytes>) -> Self {
        Self::bytes(code, "text/plain; charset=utf-8", text)
    }

    pub(super) fn bytes(code: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            code,
            content_type: content_type.to_owned(),
            body: Full::new(body.into()).boxed_unsync(),
        }
    }

    /// Lines that come as things happen.
    pub(super) fn stream(lines: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        let frames = lines.map(|line| Ok::<_, Infallible>(Frame::data(line)));
        Self {
            code: 200,
            content_type: "application/json".to_owned(),
            body: StreamBody::new(frames).boxed_unsync(),
        }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Response::new(self.body);
        *response.status_mut() = code;
        if let Ok(value) = self.content_type.parse() {
            response.headers_mut().insert(header::CONTENT_TYPE, value);
        }
        let never = header::HeaderValue::from_static("no-cache, private");
        response.headers_mut().insert(header::CACHE_CONTROL, never);
        response
    }
}

impl From<ApiError> for Reply {
    fn from(error: ApiError) -> Self {
        Self::json(error.code, &error.to_status())
    }
}
