//! Reading an object as a stream that goes on where a broken connection left it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, try_unfold};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio_util::io::StreamReader;

use jm_step::StepError;

use crate::error::{Doing, unwrap_step_error};
use crate::pace::insist;
use crate::{Hasher, ObjectInfo, S3Reader};

/// So often in a row may a connection break without `HEADWAY` bytes having come.
const BREAKS: u32 = 5;
/// Fewer bytes between two breaks are no progress: a line that gives a byte and stalls would be asked for ever.
const HEADWAY: u64 = 32 * 1024;
/// The wait after the first of them; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(200);

/// What is read.
#[derive(Debug, Clone, Default)]
pub struct Get {
    /// Which version; the newest where none is named.
    pub version_id: Option<String>,
    /// From which byte on.
    pub offset: u64,
    /// So many bytes at most; to the end where not said.
    pub length: Option<u64>,
    /// Only if it still has this ETag; another one is a conflict.
    pub etag: Option<String>,
    /// Whether whoever reads compares a whole object with the store's checksum, so that the stream need not.
    pub unchecked: bool,
}

/// The bytes of an object, and what the store says of it. A connection that breaks is made anew, and the stream goes on
/// with the same version; whole objects are checked against the store's checksum. Its errors hold a step error:
/// [`unwrap_step_error`] takes it out.
pub struct ObjectStream {
    info: ObjectInfo,
    reader: StreamReader<BoxStream<'static, io::Result<Bytes>>, Bytes>,
}

impl ObjectStream {
    /// What the store says of the object.
    pub fn info(&self) -> &ObjectInfo {
        &self.info
    }

    /// The bytes as chunks.
    pub fn into_stream(self) -> BoxStream<'static, io::Result<Bytes>> {
        self.reader.into_inner()
    }
}

impl AsyncRead for ObjectStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, buffer)
    }
}

impl S3Reader {
    /// Starts to read an object.
    pub async fn get(&self, key: &str, get: Get) -> Result<ObjectStream, StepError> {
        let doing = self.on_object("read", key, "s3:GetObject");
        if get.length == Some(0) {
            return Err(StepError::invalid_input(format!("{doing}: no byte was asked for")));
        }
        let output = self.ask(key, &get, get.offset).await?;
        let info = ObjectInfo::of_get(&output, key.to_owned());
        let end = get
            .length
            .map_or(info.bytes, |length| info.bytes.min(get.offset + length));
        let is_compared = get.offset == 0 && end == info.bytes && !get.unchecked;
        let fetch = Fetch {
            bucket: self.clone(),
            doing,
            key: key.to_owned(),
            // The same content from here on: its version where there is one, and its ETag in any case.
            get: Get {
                version_id: info.version_id.clone().or_else(|| get.version_id.clone()),
                etag: info.etag.clone(),
                ..get
            },
            position: get.offset,
            end,
            breaks: 0,
            broken_at: get.offset,
            check: info.sum().filter(|_| is_compared).and_then(|checksum| {
                let hasher = checksum.hasher()?;
                Some((hasher, checksum.value))
            }),
            body: Some(output.body),
        };
        let chunks = try_unfold(
            fetch,
            |fetch| async move { fetch.next().await.map_err(io::Error::other) },
        );
        Ok(ObjectStream {
            info,
            reader: StreamReader::new(chunks.boxed()),
        })
    }

    /// A small object's bytes, of at most `limit`: for manifests and the like.
    pub async fn get_bytes(&self, key: &str, limit: u64) -> Result<Bytes, StepError> {
        let stream = self.get(key, Get::default()).await?;
        let bytes = stream.info().bytes;
        if bytes > limit {
            return Err(StepError::failed(format!(
                "`{}` has {bytes} bytes, and at most {limit} were expected",
                self.url(key)
            )));
        }
        let mut content = Vec::new();
        let mut stream = stream.take(limit);
        stream.read_to_end(&mut content).await.map_err(unwrap_step_error)?;
        Ok(content.into())
    }

    async fn ask(&self, key: &str, get: &Get, from: u64) -> Result<GetObjectOutput, StepError> {
        let doing = self.on_object("read", key, "s3:GetObject");
        let range = range(from, get.offset, get.length);
        let whole = range.is_none();
        let call = || {
            let call = self.0.client.get_object().bucket(&self.0.bucket).key(self.full(key));
            call.set_version_id(get.version_id.clone())
                .set_if_match(get.etag.clone())
                .set_range(range.clone())
                .set_checksum_mode(whole.then_some(ChecksumMode::Enabled))
                .send()
        };
        insist(call).await.map_err(|error| doing.failed(&error))
    }
}

fn range(from: u64, offset: u64, length: Option<u64>) -> Option<String> {
    match length {
        Some(length) => Some(format!("bytes={from}-{}", offset + length - 1)),
        None if from > 0 => Some(format!("bytes={from}-")),
        None => None,
    }
}

/// A stream under way.
struct Fetch {
    bucket: S3Reader,
    doing: Doing,
    key: String,
    get: Get,
    position: u64,
    end: u64,
    breaks: u32,
    /// Where it was when it broke last.
    broken_at: u64,
    check: Option<(Hasher, String)>,
    body: Option<ByteStream>,
}

impl Fetch {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, StepError> {
        while self.position < self.end {
            let mut body = match self.body.take() {
                Some(body) => body,
                None => self.bucket.ask(&self.key, &self.get, self.position).await?.body,
            };
            match body.next().await {
                Some(Ok(chunk)) => {
                    self.body = Some(body);
                    let chunk = self.took(chunk);
                    return Ok(Some((chunk, self)));
                }
                Some(Err(error)) => self.broke(error.into()).await?,
                None => self.broke(io::Error::from(io::ErrorKind::UnexpectedEof)).await?,
            }
        }
        self.checked().map(|()| None)
    }

    fn took(&mut self, chunk: Bytes) -> Bytes {
        self.position += chunk.len() as u64;
        if let Some((hasher, _)) = &mut self.check {
            hasher.update(&chunk);
        }
        chunk
    }

    async fn broke(&mut self, error: io::Error) -> Result<(), StepError> {
        if self.position - self.broken_at >= HEADWAY {
            self.breaks = 0;
        }
        self.broken_at = self.position;
        self.breaks += 1;
        if self.breaks > BREAKS {
            return Err(self.doing.cut(&error));
        }
        tokio::time::sleep(PAUSE * 2_u32.pow(self.breaks - 1)).await;
        Ok(())
    }

    fn checked(&self) -> Result<(), StepError> {
        match &self.check {
            Some((hasher, expected)) if hasher.value() != *expected => {
                Err(self.doing.damaged(expected, &hasher.value()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_inclusive_and_go_on_where_they_were() {
        assert_eq!(range(0, 0, None), None);
        assert_eq!(range(7, 0, None).as_deref(), Some("bytes=7-"));
        assert_eq!(range(5, 5, Some(10)).as_deref(), Some("bytes=5-14"));
        assert_eq!(range(9, 5, Some(10)).as_deref(), Some("bytes=9-14"));
    }
}
