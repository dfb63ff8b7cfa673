//! `watch`: changes as they happen, from a revision on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::handlers::read;
use super::kinds::Kind;
use super::reply::Reply;
use super::request::{Call, Form, Selection, Target};
use super::server::Api;
use super::status::ApiError;
use super::store::{Change, Store};
use super::{convert, object, table};

/// How long a watch lasts where nobody says.
const USUAL_LENGTH: u64 = 1800;
/// How often a quiet watch says how far it is.
const BOOKMARK_EVERY: Duration = Duration::from_secs(10);

/// Answers with a stream of changes.
///
/// # Errors
/// Where the request cannot be read, or asks for a revision that has not been reached.
pub(super) fn start(api: &Arc<Api>, call: &Call, target: &Target) -> Result<Reply, ApiError> {
    let revisions = api.store.subscribe();
    let view = View {
        kind: target.kind,
        namespace: target.namespace.clone(),
        selection: call.selection(target)?,
        form: call.form()?,
        include: read::include(call),
    };
    let asked = call.query.number("resourceVersion")?.unwrap_or_default();
    let lasts = Duration::from_secs(call.query.number("timeoutSeconds")?.unwrap_or(USUAL_LENGTH));
    let mut watcher = Watcher {
        store: Arc::clone(&api.store),
        revisions,
        from: asked,
        view,
        bookmarks: call.query.flag("allowWatchBookmarks"),
        pending: VecDeque::new(),
        ends: Instant::now() + lasts,
        next_bookmark: Instant::now() + BOOKMARK_EVERY,
        stop: api.stop.clone(),
        ended: false,
    };
    watcher.begin(asked, call.query.get("sendInitialEvents"))?;
    Ok(Reply::stream(watcher.into_stream()))
}

/// Which changes are shown, and how.
struct View {
    kind: &'static Kind,
    namespace: Option<String>,
    selection: Selection,
    form: Form,
    include: table::Include,
}

impl View {
    /// The event that a change is for this watcher: an object that no longer fits is deleted for it.
    fn event(&self, change: &Change) -> Option<Value> {
        if self
            .namespace
            .as_ref()
            .is_some_and(|namespace| *namespace != change.key.namespace)
        {
            return None;
        }
        let fitting = |object: &Option<Arc<Value>>| {
            object
                .as_ref()
                .map(|stored| convert::shown(self.kind, stored))
                .filter(|shown| self.selection.takes(shown))
        };
        match (fitting(&change.old), fitting(&change.new)) {
            (None, None) => None,
            (None, Some(new)) => Some(self.line("ADDED", &new)),
            (Some(_), Some(new)) => Some(self.line("MODIFIED", &new)),
            (Some(old), None) => {
                let mut last = (*old).clone();
                object::set(
                    &mut last,
                    &["metadata", "resourceVersion"],
                    json!(change.revision.to_string()),
                );
                Some(self.line("DELETED", &Arc::new(last)))
            }
        }
    }

    fn line(&self, what: &str, object: &Arc<Value>) -> Value {
        let shown = match self.form {
            Form::Whole => (**object).clone(),
            Form::Metadata => read::metadata_alone(object),
            Form::Table => {
                let revision = object::text(object, "/metadata/resourceVersion");
                table::of(
                    self.kind,
                    &[Arc::clone(object)],
                    self.include,
                    json!({"resourceVersion": revision}),
                )
            }
        };
        json!({"type": what, "object": shown})
    }

    /// Says that everything up to a revision was told.
    fn bookmark(&self, revision: u64, end_of_initial: bool) -> Value {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if end_of_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.form {
            Form::Table => table::of(self.kind, &[], self.include, metadata),
            Form::Metadata => read::metadata_alone(&json!({"metadata": metadata})),
            Form::Whole => json!({"kind": self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": metadata}),
        };
        json!({"type": "BOOKMARK", "object": object})
    }
}

struct Watcher {
    store: Arc<Store>,
    revisions: tokio::sync::watch::Receiver<u64>,
    /// Everything up to this revision was told.
    from: u64,
    view: View,
    bookmarks: bool,
    pending: VecDeque<Bytes>,
    ends: Instant,
    next_bookmark: Instant,
    stop: CancellationToken,
    ended: bool,
}

impl Watcher {
    /// Tells what there is, where that is asked for; otherwise begins after the revision asked for.
    fn begin(&mut self, asked: u64, initial: Option<&str>) -> Result<(), ApiError> {
        let (now, objects) = self
            .store
            .list(self.view.kind.stored_as, self.view.namespace.as_deref());
        if asked > now {
            return Err(ApiError::not_yet(asked, now));
        }
        if initial == Some("true") || (asked == 0 && initial != Some("false")) {
            let shown = objects.iter().map(|stored| convert::shown(self.view.kind, stored));
            for object in shown
                .filter(|object| self.view.selection.takes(object))
                .collect::<Vec<_>>()
            {
                let line = self.view.line("ADDED", &object);
                self.push(&line);
            }
            if initial == Some("true") {
                let line = self.view.bookmark(now, true);
                self.push(&line);
            }
            self.from = now;
        } else if asked == 0 {
            self.from = now;
        }
        Ok(())
    }

    fn push(&mut self, line: &Value) {
        let mut text = line.to_string();
        text.push('\n');
        self.pending.push_back(text.into());
    }

    fn into_stream(self) -> impl Stream<Item = Bytes> + Send {
        futures::stream::unfold(self, |mut watcher| async move {
            let line = watcher.next().await?;
            Some((line, watcher))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.pending.pop_front() {
                return Some(line);
            }
            if self.ended {
                return None;
            }
            self.revisions.borrow_and_update();
            self.read_changes();
            if self.pending.is_empty() {
                self.wait().await;
            }
        }
    }

    fn read_changes(&mut self) {
        match self.store.changes_since(self.from, self.view.kind.stored_as) {
            Ok(read) => {
                for line in read
                    .changes
                    .iter()
                    .filter_map(|change| self.view.event(change))
                    .collect::<Vec<_>>()
                {
                    self.push(&line);
                }
                self.from = read.until;
            }
            Err(error) => {
                self.push(&json!({"type": "ERROR", "object": error.to_status()}));
                self.ended = true;
            }
        }
    }

    async fn wait(&mut self) {
        let wake = if self.bookmarks {
            self.ends.min(self.next_bookmark)
        } else {
            self.ends
        };
        tokio::select! {
            changed = self.revisions.changed() => self.ended = changed.is_err(),
            () = self.stop.cancelled() => self.ended = true,
            () = tokio::time::sleep_until(wake) => self.on_time(),
        }
    }

    fn on_time(&mut self) {
        if self.bookmarks {
            let line = self.view.bookmark(self.from, false);
            self.push(&line);
            self.next_bookmark = Instant::now() + BOOKMARK_EVERY;
        }
        self.ended = Instant::now() >= self.ends;
    }
}

#[cfg(test)]
mod tests;
