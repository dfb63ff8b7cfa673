//! Replies in CloudFront's words.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

use super::xml::field;
use crate::SandboxError;

const NAMESPACE: &str = "http://cloudfront.amazonaws.com/doc/2020-05-31/";

pub(super) type Reply = Response<Full<Bytes>>;

/// A refusal: status, code, words.
pub(super) struct Refusal(StatusCode, &'static str, String);

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, words: impl Into<String>) -> Self {
        Self(status, code, words.into())
    }

    pub(super) fn not_found(code: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, "The specified resource does not exist.")
    }

    pub(super) fn bad(code: &'static str, words: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, words)
    }
}

impl From<SandboxError> for Refusal {
    fn from(error: SandboxError) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", error.to_string())
    }
}

pub(super) fn ok(element: &str) -> Reply {
    // The namespace belongs to the outermost element.
    let element = element.replacen('>', &format!(" xmlns=\"{NAMESPACE}\">"), 1);
    document(StatusCode::OK, &element)
}

pub(super) fn created(element: &str) -> Reply {
    let mut reply = ok(element);
    *reply.status_mut() = StatusCode::CREATED;
    reply
}

pub(super) fn refused(Refusal(status, code, words): Refusal) -> Reply {
    let kind = if status.is_server_error() { "Receiver" } else { "Sender" };
    let text = format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error>{}{}{}</Error>{}</ErrorResponse>",
        field("Type", kind),
        field("Code", code),
        field("Message", words),
        field("RequestId", ulid::Ulid::new()),
    );
    document(status, &text)
}

fn document(status: StatusCode, text: &str) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(format!("<?xml version=\"1.0\"?>\n{text}"))));
    *reply.status_mut() = status;
    let kind = HeaderValue::from_static("text/xml");
    reply.headers_mut().insert("content-type", kind);
    reply
}

pub(super) fn with_etag(mut reply: Reply, etag: &str) -> Reply {
    if let Ok(etag) = etag.parse() {
        reply.headers_mut().insert("etag", etag);
    }
    reply
}
