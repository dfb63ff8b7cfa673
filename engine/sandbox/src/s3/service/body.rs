//! Bodies on their way in and out, a few pieces at a time: nothing is held whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::HeaderMap;
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result, TrailingHeaders};
use tokio::sync::mpsc;

use super::super::store::{Algorithm, Blob, BlobWriter, Bucket, PIECE, Reading, decode};
use super::blocking;
use super::convert::LARGEST_PUT;
use super::errors::refused;

/// How many pieces may wait between the network and the disk.
const WAITING: usize = 4;

/// What a request says that its body is.
#[derive(Debug, Default)]
pub(super) struct Expected {
    length: Option<i64>,
    md5: Option<String>,
    checksums: BTreeMap<Algorithm, String>,
    /// Algorithms whose value follows the body.
    announced: BTreeSet<Algorithm>,
    trailers: Option<TrailingHeaders>,
    /// The algorithm that the request names.
    named: Option<Algorithm>,
}

impl Expected {
    /// What the headers of a request say.
    pub(super) fn new<T>(
        request: &S3Request<T>,
        (length, md5): (Option<i64>, Option<String>),
        checksums: BTreeMap<Algorithm, String>,
        named: Option<Algorithm>,
    ) -> S3Result<Self> {
        for (algorithm, value) in &checksums {
            checked(*algorithm, value)?;
        }
        Ok(Self {
            length,
            md5,
            checksums,
            announced: announced(&request.headers),
            trailers: request.trailing_headers.clone(),
            named,
        })
    }

    /// The algorithms that the client means: those it sends and the one it names.
    pub(super) fn algorithms(&self) -> BTreeSet<Algorithm> {
        let sent = self.checksums.keys().chain(&self.announced).copied();
        sent.chain(self.named).collect()
    }

    /// Checks what came against what was said.
    fn check(&mut self, blob: &Blob) -> S3Result<()> {
        let length = self.length.map(u64::try_from);
        if length.is_some_and(|length| length != Ok(blob.segment.size)) {
            return Err(incomplete());
        }
        self.check_md5(blob)?;
        self.read_trailers()?;
        match blob.checksums.mismatch(&self.checksums) {
            None => Ok(()),
            Some(algorithm) => {
                let name = algorithm.name();
                let message = format!("The {name} you specified did not match the calculated checksum.");
                Err(refused(S3ErrorCode::BadDigest, message))
            }
        }
    }

    fn check_md5(&self, blob: &Blob) -> S3Result<()> {
        let Some(md5) = &self.md5 else { return Ok(()) };
        match BASE64.decode(md5) {
            Ok(md5) if md5 == blob.md5 => Ok(()),
            Ok(md5) if md5.len() == blob.md5.len() => Err(refused(
                S3ErrorCode::BadDigest,
                "The Content-MD5 you specified did not match what we received.",
            )),
            _ => Err(refused(
                S3ErrorCode::InvalidDigest,
                "The Content-MD5 you specified is not valid.",
            )),
        }
    }

    /// Takes the values that followed the body.
    fn read_trailers(&mut self) -> S3Result<()> {
        let trailers = self
            .trailers
            .as_ref()
            .and_then(TrailingHeaders::take)
            .unwrap_or_default();
        for algorithm in &self.announced {
            let value = trailers.get(header(*algorithm)).and_then(|value| value.to_str().ok());
            let missing = || {
                refused(
                    S3ErrorCode::InvalidRequest,
                    "A trailing checksum that was announced is missing",
                )
            };
            let value = value.ok_or_else(missing)?;
            checked(*algorithm, value)?;
            self.checksums.insert(*algorithm, value.to_owned());
        }
        Ok(())
    }
}

fn header(algorithm: Algorithm) -> String {
    format!("x-amz-checksum-{}", algorithm.name().to_lowercase())
}

fn announced(headers: &HeaderMap) -> BTreeSet<Algorithm> {
    let named = headers
        .get_all("x-amz-trailer")
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    let named: Vec<_> = named.flat_map(|value| value.split(',')).map(str::trim).collect();
    let is_named = |algorithm: &Algorithm| named.iter().any(|name| name.eq_ignore_ascii_case(&header(*algorithm)));
    Algorithm::ALL.into_iter().filter(is_named).collect()
}

fn checked(algorithm: Algorithm, value: &str) -> S3Result<()> {
    if decode(algorithm, value).is_some() {
        return Ok(());
    }
    let message = format!("Value for {} header is invalid.", header(algorithm));
    Err(refused(S3ErrorCode::InvalidRequest, message))
}

fn incomplete() -> S3Error {
    let message = "You did not provide the number of bytes specified by the Content-Length HTTP header";
    refused(S3ErrorCode::IncompleteBody, message)
}

/// Writes a body to disk and checks that it is what the request says. `more` are algorithms that the server wants
/// beside the client's.
pub(super) async fn receive(
    bucket: Arc<Bucket>,
    body: Option<StreamingBlob>,
    mut expected: Expected,
    more: &BTreeSet<Algorithm>,
) -> S3Result<Blob> {
    let algorithms = expected.algorithms().union(more).copied().collect();
    let (pieces, arriving) = mpsc::channel(WAITING);
    let writing = tokio::task::spawn_blocking(move || {
        let writer = bucket.writer(&algorithms)?;
        store(writer, arriving)
    });
    let fed = feed(body, pieces).await;
    let writer = writing.await.map_err(S3Error::internal_error)?;
    let writer = fed.and(writer)?;
    let blob = blocking(move || Ok(writer.finish()?)).await?;
    expected.check(&blob)?;
    Ok(blob)
}

fn store(mut writer: BlobWriter, mut arriving: mpsc::Receiver<Bytes>) -> S3Result<BlobWriter> {
    while let Some(piece) = arriving.blocking_recv() {
        writer.write(&piece)?;
    }
    Ok(writer)
}

/// Hands a body's pieces on. Ends early where the disk gave up: it says why.
async fn feed(body: Option<StreamingBlob>, pieces: mpsc::Sender<Bytes>) -> S3Result<()> {
    let mut body = stream::iter(body).flatten();
    let mut size = 0;
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| broken(&*error))?;
        size += piece.len() as u64;
        if size > LARGEST_PUT {
            let message = "Your proposed upload exceeds the maximum allowed size";
            return Err(refused(S3ErrorCode::EntityTooLarge, message));
        }
        if pieces.send(piece).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Why a body broke off. The library that checks signatures tells it in words only.
fn broken(error: &(dyn std::error::Error + 'static)) -> S3Error {
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
        return refused(
            S3ErrorCode::from_bytes(b"XAmzContentSHA256Mismatch").unwrap_or(S3ErrorCode::BadDigest),
            message,
        );
    }
    if text.contains("SignatureMismatch") {
        let message = "The request signature we calculated does not match the signature you provided.";
        return refused(S3ErrorCode::SignatureDoesNotMatch, message);
    }
    tracing::debug!(%text, "a body for the S3 stand-in broke off");
    incomplete()
}

/// Those bytes of an object. The first of them are there already, so that a damaged file is an error
/// and not a reply that breaks off.
pub(super) async fn send(reading: Reading, bytes: Range<u64>) -> S3Result<StreamingBlob> {
    let mut pieces = reading.pieces(bytes.start, bytes.end).into_iter();
    let first = pieces.next();
    let reading = Arc::new(reading);
    let opening = Arc::clone(&reading);
    let first = blocking(move || Ok(first.map(|piece| opening.open(piece)).transpose()?)).await?;
    let (out, mut leaving) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let rest = pieces.map(|piece| reading.open(piece).map_err(io::Error::other));
        let mut sources = first.map(Ok).into_iter().chain(rest);
        sources.all(|source| pump(source, &out))
    });
    Ok(StreamingBlob::wrap(stream::poll_fn(move |context| {
        leaving.poll_recv(context)
    })))
}

/// Sends all bytes of a source; false where nobody takes them or they cannot be read.
fn pump(source: io::Result<impl Read>, out: &mpsc::Sender<io::Result<Bytes>>) -> bool {
    let mut source = match source {
        Ok(source) => source,
        Err(error) => return failed(error, out),
    };
    loop {
        let mut piece = vec![0; PIECE];
        match source.read(&mut piece) {
            Ok(0) => return true,
            Ok(count) => {
                piece.truncate(count);
                if out.blocking_send(Ok(piece.into())).is_err() {
                    return false;
                }
            }
            Err(error) => return failed(error, out),
        }
    }
}

fn failed(error: io::Error, out: &mpsc::Sender<io::Result<Bytes>>) -> bool {
    if out.blocking_send(Err(error)).is_err() {
        tracing::debug!("an object could not be read, and its reader is gone");
    }
    false
}
