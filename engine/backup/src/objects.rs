//! Exports of Kubernetes objects as backups: the text of an export, and the way of it into the catalogue and out again.
//!
//! The text is YAML of which every document is one line of JSON, so that it is written and read in bounded memory, and
//! that kubectl reads it without jm. Its last line tells how many objects there are: one that was cut short has none.

mod text;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use jm_step::StepError;
use serde::de::IgnoredAny;
use serde_json::Value;

use self::text::Lines;
use crate::archive::{Meter, Unpacked};
use crate::backups::{Backups, BackupsReader, explain};
use crate::catalogue::Entry;
use crate::content::{Content, KubernetesContent, KubernetesIndex};
use crate::create::Created;
use crate::flow::{CHUNK, Failure, Flow, FlowSender, nobody_takes_it};
use crate::keeping::Keeping;
use crate::key::{KeyId, KeyRing};
use crate::location::LocationName;
use crate::name::ContentKind;
use crate::observer::Observer;
use crate::openpgp::OpenError;
use crate::refusals::of_another_kind;
use crate::tools::Toolbox;

/// What an export begins with.
pub(crate) const OPENING: &str = "# Kubernetes objects, exported by jm.\n";
const EXPLANATION: &str =
    "# One document is one line. Without jm: gpg --decrypt FILE | kubectl apply --server-side -f -\n";
/// Hex digits of a tag: enough to see that a value changed.
const TAG: usize = 16;

/// Which export is to be filed.
#[derive(Debug, Clone)]
pub struct ObjectsRequest {
    /// The namespaces that it is of.
    pub namespaces: Vec<String>,
    /// The moment of the data where that is not now: of files that were made long ago.
    pub taken_at: Option<Timestamp>,
    /// How the backup is kept.
    pub keeping: Keeping,
}

/// Takes the objects of an export, one after the other.
pub struct ObjectWriter {
    sender: FlowSender,
    buffer: Vec<u8>,
    count: u64,
    keys: Arc<KeyRing>,
    key: KeyId,
}

impl ObjectWriter {
    fn new(sender: FlowSender, keys: Arc<KeyRing>, key: KeyId) -> Self {
        Self {
            sender,
            buffer: [OPENING, EXPLANATION].concat().into_bytes(),
            count: 0,
            keys,
            key,
        }
    }

    /// Adds an object.
    pub async fn write(&mut self, object: &Value) -> Result<(), StepError> {
        text::append(&mut self.buffer, object)?;
        self.count += 1;
        if self.buffer.len() < CHUNK {
            return Ok(());
        }
        self.flush().await
    }

    /// A tag of a value, for the index: the same for the same value, and nothing to guess the value by without the key
    /// of the backups.
    pub fn tag(&self, value: &[u8]) -> Result<String, StepError> {
        let mut tag = self.keys.mac(&self.key.salt, value)?;
        tag.truncate(TAG);
        Ok(tag)
    }

    /// How many objects there are so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    async fn flush(&mut self) -> Result<(), StepError> {
        let bytes = Bytes::from(std::mem::take(&mut self.buffer));
        self.sender.send(bytes).await.map_err(|_| nobody_takes_it())
    }

    async fn end(mut self) -> Result<(), StepError> {
        text::close(&mut self.buffer, self.count);
        self.flush().await?;
        // Where every location has failed, their outcomes say why.
        drop(self.sender.end().await);
        Ok(())
    }
}

impl Backups {
    /// Files an export in every location that takes it, encrypted on the way, read back, and with a manifest last.
    /// `write` gives the objects to the writer, and hands it back with their index.
    pub async fn store_objects<W, F>(
        &self,
        request: &ObjectsRequest,
        tools: &Toolbox,
        observer: &dyn Observer,
        write: W,
    ) -> Result<Created, StepError>
    where
        W: FnOnce(ObjectWriter) -> F,
        F: Future<Output = Result<(ObjectWriter, KubernetesIndex), StepError>>,
    {
        let written = async |sender, key| {
            let (writer, index) = write(ObjectWriter::new(sender, self.keys().clone(), key)).await?;
            writer.end().await?;
            Ok(Content::Kubernetes(Box::new(KubernetesContent { kubernetes: index })))
        };
        let (kind, keeping) = (ContentKind::Kubernetes, &request.keeping);
        self.file(kind, keeping, request.taken_at, tools, observer, written)
            .await
    }
}

/// Reads the objects of an export, one after the other. Only the end proves that it is whole and the one that the
/// manifest tells of.
pub struct ObjectReader {
    lines: Lines,
    entry: Entry,
}

impl ObjectReader {
    /// The next object; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Value>, StepError> {
        let next = self.lines.next::<Value>().await;
        next.map_err(|failure| explain(&self.entry, failure))
    }
}

impl BackupsReader {
    /// The objects of an export, from its copy in one location.
    pub async fn read_objects(&self, entry: &Entry, at: LocationName) -> Result<ObjectReader, StepError> {
        if entry.kind() != ContentKind::Kubernetes {
            return Err(of_another_kind(&entry.name, entry.kind(), ContentKind::Kubernetes));
        }
        let opened = self.open_dump(entry, at, None, &Meter::default()).await;
        let Unpacked { dump, .. } = opened.map_err(|failure| explain(entry, failure))?;
        Ok(ObjectReader {
            lines: Lines::new(dump),
            entry: entry.clone(),
        })
    }
}

/// Every object is read, and all of them are there.
pub(crate) async fn prove(content: Flow) -> Result<(), Failure> {
    let mut lines = Lines::new(content);
    while lines.next::<IgnoredAny>().await?.is_some() {}
    Ok(())
}

fn damaged(what: impl Into<String>) -> Failure {
    OpenError::Damaged(what.into()).into()
}
