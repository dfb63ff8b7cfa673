//! The audit trail: every request, in the order in which they were answered.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::request::{Call, Target};
use crate::SandboxError;

/// One request as the audit trail keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// When it was answered.
    pub at: String,
    /// Who asked; empty for somebody unknown.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or the HTTP method in
    /// lower case where no resource was named.
    pub verb: String,
    /// Path and query.
    pub path: String,
    /// Resource with its group, such as `deployments.apps`; empty where none was named.
    pub resource: String,
    /// Namespace, where there is one.
    pub namespace: String,
    /// Name, where there is one.
    pub name: String,
    /// `status`, `scale` or `log`, where one was named.
    pub subresource: String,
    /// HTTP status code of the answer.
    pub code: u16,
    /// Was it asked that nothing be changed?
    pub dry_run: bool,
    /// The program that asked.
    pub user_agent: String,
}

impl AuditRecord {
    /// Did it change something: a write that was taken and was no dry run?
    pub fn is_effective_write(&self) -> bool {
        let writes = ["create", "update", "patch", "delete", "deletecollection"];
        writes.contains(&self.verb.as_str()) && self.code < 300 && !self.dry_run && self.resource != REVIEWS
    }
}

/// Questions about access are asked by creating an object that is never kept.
pub(super) const REVIEWS: &str = "selfsubjectaccessreviews.authorization.k8s.io";

/// The trail on disk.
#[derive(Debug)]
pub(super) struct Audit {
    path: PathBuf,
    file: Mutex<File>,
}

impl Audit {
    pub(super) fn open(root: &Path) -> Result<Self, SandboxError> {
        let path = root.join("audit.jsonl");
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .map_err(SandboxError::file("open", &path))?;
        Ok(Self {
            path,
            file: Mutex::new(file),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a line; it is there before the answer goes out.
    pub(super) fn note(&self, call: &Call, target: Option<&Target>, code: u16) -> io::Result<()> {
        let mut line = serde_json::to_vec(&record(call, target, code))?;
        line.push(b'\n');
        self.file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_all(&line)
    }
}

fn record(call: &Call, target: Option<&Target>, code: u16) -> AuditRecord {
    let query = if call.raw_query.is_empty() {
        String::new()
    } else {
        format!("?{}", call.raw_query)
    };
    let part = |part: fn(&Target) -> Option<&str>| target.and_then(part).unwrap_or_default().to_owned();
    let review = call.path.ends_with("/selfsubjectaccessreviews");
    AuditRecord {
        at: jm_step::clock::now().to_string(),
        user: call.user.map_or_else(String::new, |user| user.name().to_owned()),
        verb: match target {
            Some(target) => target.verb(call).to_owned(),
            None if review => "create".to_owned(),
            None => call.method.as_str().to_lowercase(),
        },
        path: format!("{}{query}", call.path),
        resource: match target {
            Some(target) => target.kind.resource(),
            None if review => REVIEWS.to_owned(),
            None => String::new(),
        },
        namespace: part(|target| target.namespace.as_deref()),
        name: part(|target| target.name.as_deref()),
        subresource: part(|target| Some(&target.subresource)),
        code,
        dry_run: call.is_dry_run(),
        user_agent: call.agent.clone(),
    }
}

/// Reads an audit trail; a line that is just being written is left out.
///
/// # Errors
/// Where the file cannot be read, or a line is none of its own.
pub fn read_audit(path: &Path) -> Result<Vec<AuditRecord>, SandboxError> {
    let text = std::fs::read_to_string(path).map_err(SandboxError::file("read", path))?;
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let parsed = whole.lines().map(serde_json::from_str).collect::<Result<_, _>>();
    parsed.map_err(|error| SandboxError::State {
        path: path.to_path_buf(),
        reason: error.to_string(),
    })
}
