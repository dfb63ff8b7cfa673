//! Objects of any kind, as they are: one, or all of a kind page by page.

use std::collections::BTreeSet;

use futures::{AsyncBufRead, AsyncReadExt};
use jm_step::{StepError, StepErrorKind};
use serde_json::Value;

use crate::error::step_error;
use crate::kind::{ObjectKey, ResourceKind};
use crate::patience::Patience;
use crate::reader::Reader;

/// Objects that the server is asked for at once.
pub const PAGE: u32 = 500;
/// The most text of one answer that is held, in bytes. A page that is larger is asked for again in smaller ones: an object may
/// have 1.5 MiB (the limit of etcd), and 500 of them more than a small container has memory.
const MOST_TEXT: u64 = 32 << 20;
/// How much smaller.
const SMALLER: u32 = 8;
/// How often a list is begun anew because the server has forgotten where it was.
const RESTARTS: u32 = 5;

/// All objects of a kind, page by page.
pub struct Pages<'r> {
    reader: &'r Reader,
    kind: &'r ResourceKind,
    namespace: Option<String>,
    selector: String,
    token: Option<String>,
    /// What was given out, by UID, so that a list that is begun anew gives nothing twice.
    seen: BTreeSet<String>,
    restarts: u32,
    ended: bool,
    /// Objects that may be asked for at once, and those that are after pages which were too large.
    most: u32,
    page: u32,
}

impl Reader {
    /// The objects of a kind in a namespace; in all of them, or of a kind without namespaces, where none is given.
    pub fn pages<'r>(&'r self, kind: &'r ResourceKind, namespace: Option<&str>) -> Pages<'r> {
        Pages {
            reader: self,
            kind,
            namespace: namespace.map(str::to_owned),
            selector: String::new(),
            token: None,
            seen: BTreeSet::new(),
            restarts: 0,
            ended: false,
            most: PAGE,
            page: PAGE,
        }
    }

    /// An object as it is; `None` where it is not there.
    pub async fn object(&self, kind: &ResourceKind, key: &ObjectKey) -> Result<Option<Value>, StepError> {
        match self.get_json::<Value>(&kind.path_of(key)).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.kind() == StepErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.context(format_args!("{key}"))),
        }
    }
}

impl Pages<'_> {
    /// Only objects with such labels.
    #[must_use]
    pub fn labelled(mut self, selector: &str) -> Self {
        selector.clone_into(&mut self.selector);
        self
    }

    /// So many objects at once.
    #[must_use]
    pub fn of(mut self, page: u32) -> Self {
        self.most = page;
        self.page = page;
        self
    }

    /// The next page; `None` after the last one.
    pub async fn next(&mut self) -> Result<Option<Vec<Value>>, StepError> {
        while !self.ended {
            let page = match self.ask().await {
                Ok(page) => page,
                Err(Asked::TooMuch) => {
                    self.page = (self.page / SMALLER).max(1);
                    // Nor are pages tried again that were too large.
                    self.most = self.page * SMALLER / 2;
                    continue;
                }
                Err(Asked::Gone) if self.restarts < RESTARTS => {
                    self.restarts += 1;
                    self.token = None;
                    continue;
                }
                Err(Asked::Gone) => {
                    return Err(StepError::unavailable(format!(
                        "the list of {} was forgotten by the API server {RESTARTS} times",
                        self.kind.label()
                    ))
                    .hint("it changes faster than it can be read; try again later"));
                }
                Err(Asked::Failed(error)) => return Err(error),
            };
            self.page = self.page.saturating_mul(2).min(self.most);
            let items = self.take(page);
            if !items.is_empty() {
                return Ok(Some(items));
            }
        }
        Ok(None)
    }

    fn take(&mut self, mut page: Value) -> Vec<Value> {
        self.token = page
            .pointer("/metadata/continue")
            .and_then(Value::as_str)
            .filter(|token| !token.is_empty())
            .map(str::to_owned);
        self.ended = self.token.is_none();
        let items = page.get_mut("items").map(Value::take);
        let Some(Value::Array(mut items)) = items else {
            return Vec::new();
        };
        items.retain(|item| {
            let uid = item.pointer("/metadata/uid").and_then(Value::as_str);
            uid.is_none_or(|uid| self.seen.insert(uid.to_owned()))
        });
        for item in &mut items {
            // In a list of them objects need not say what they are.
            item["apiVersion"] = self.kind.api_version().into();
            item["kind"] = self.kind.kind.clone().into();
        }
        items
    }

    async fn ask(&self) -> Result<Value, Asked> {
        let mut query = form_urlencoded(&[("limit", &self.page.to_string())]);
        for (name, value) in [
            ("continue", self.token.as_deref().unwrap_or_default()),
            ("labelSelector", &self.selector),
        ] {
            if !value.is_empty() {
                query.push('&');
                query.push_str(&form_urlencoded(&[(name, value)]));
            }
        }
        let path = format!("{}?{query}", self.kind.path(self.namespace.as_deref()));
        let doing = format!("cannot list {}", self.kind.label());
        let mut patience = Patience::new();
        loop {
            let request = http::Request::get(&path).body(Vec::new());
            let request = request.map_err(|error| Asked::Failed(StepError::failed(doing.clone()).source(error)))?;
            match self.reader.client().request_stream(request).await {
                Ok(answer) => match page_of(answer, (self.page > 1).then_some(MOST_TEXT)).await {
                    Ok(Some(page)) => return Ok(page),
                    Ok(None) => return Err(Asked::TooMuch),
                    Err(error) => {
                        let error = StepError::unavailable(doing.clone()).source(error);
                        patience.after(error).await.map_err(Asked::Failed)?;
                    }
                },
                Err(kube::Error::Api(status)) if status.code == 410 => return Err(Asked::Gone),
                Err(error @ kube::Error::Api(_)) => return Err(Asked::Failed(step_error(&doing, error))),
                Err(error) => {
                    let error = step_error(&doing, error);
                    patience.after(error).await.map_err(Asked::Failed)?;
                }
            }
        }
    }
}

/// Reads an answer; `None` where it is longer than `most` bytes. One that ends too early, or is no JSON, is an error.
async fn page_of(answer: impl AsyncBufRead, most: Option<u64>) -> std::io::Result<Option<Value>> {
    let mut text = Vec::new();
    let most = most.unwrap_or(u64::MAX);
    let read = std::pin::pin!(answer)
        .take(most.saturating_add(1))
        .read_to_end(&mut text)
        .await?;
    if read as u64 > most {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&text)?))
}

enum Asked {
    /// The page is larger than what is held at once.
    TooMuch,
    /// The server does not know the place in the list any more.
    Gone,
    Failed(StepError),
}

/// A query, with everything escaped that is not plain.
pub(crate) fn form_urlencoded(pairs: &[(&str, &str)]) -> String {
    let mut query = String::new();
    for (name, value) in pairs {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                query.push(char::from(byte));
            } else {
                query.extend(format!("%{byte:02X}").chars());
            }
        }
    }
    query
}
