//! Everything that a dry run could change, looked at from outside of jm.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::environment::{World, said};

/// What is asked of PostgreSQL as a whole. The next transaction's number tells of everything that was ever written: every
/// transaction that writes takes one.
const SERVER: [&str; 12] = [
    "SELECT pg_snapshot_xmax(pg_current_snapshot())",
    "SELECT a::text FROM pg_authid a ORDER BY 1",
    "SELECT m::text FROM pg_auth_members m ORDER BY 1",
    "SELECT d::text FROM pg_database d ORDER BY 1",
    "SELECT s::text FROM pg_db_role_setting s ORDER BY 1",
    "SELECT d::text FROM pg_shdescription d ORDER BY 1",
    "SELECT t::text FROM pg_tablespace t ORDER BY 1",
    "SELECT p::text FROM pg_parameter_acl p ORDER BY 1",
    "SELECT name, setting, source FROM pg_settings WHERE name NOT LIKE 'transaction_%' AND source NOT IN ('client', 'session') ORDER BY 1",
    "SELECT pid, datname, usename, application_name, backend_start FROM pg_stat_activity
        WHERE application_name = 'player' ORDER BY 1",
    "SELECT x::text FROM pg_prepared_xacts x ORDER BY 1",
    "SELECT slot_name FROM pg_replication_slots ORDER BY 1",
];

/// What was seen, by what was looked at.
pub(super) struct Looks(BTreeMap<String, String>);

impl Looks {
    pub(super) fn at(world: &World) -> Result<Self> {
        let mut seen = BTreeMap::new();
        for query in SERVER {
            seen.insert(
                format!("PostgreSQL: {query}"),
                world.query("postgres", query)?.join("\n"),
            );
        }
        if world
            .databases()?
            .iter()
            .any(|name| name == jm_sandbox::journeyman::DATABASE)
        {
            seen.insert("the data".to_owned(), format!("{:#?}", world.fingerprint()?));
        }
        seen.insert("all objects of Kubernetes".to_owned(), objects(world)?);
        // The bucket as it lies on the server's disk: every version, every upload that is not finished.
        for (name, place) in [
            ("what the bucket holds", world.folder().join("s3/data")),
            ("its older versions", world.folder().join("s3/versions")),
            ("the backups' directory", world.systems.variable("BACKUP_DIR").into()),
            ("the runs", world.state().join("runs")),
        ] {
            seen.insert(name.to_owned(), listing(&place)?);
        }
        seen.insert("what people were told".to_owned(), format!("{:?}", world.told()?));
        Ok(Self(seen))
    }

    /// Nothing of it is another than it was.
    pub(super) fn are_still(&self, world: &World) -> Result<()> {
        let now = Self::at(world)?;
        for (what, was) in &self.0 {
            let is = now.0.get(what).context("looked at both times")?;
            ensure!(was == is, "{what} changed: {}", differences(was, is));
        }
        ensure!(now.0.len() == self.0.len(), "more is there than before");
        Ok(())
    }
}

/// The lines that only one of them has.
fn differences(was: &str, is: &str) -> String {
    let missing = |of: &str, from: &str, mark: &str| -> Vec<String> {
        let lines = of.lines().filter(|line| !from.lines().any(|other| other == *line));
        lines.map(|line| format!("{mark} {line}")).collect()
    };
    [missing(was, is, "-"), missing(is, was, "+")].concat().join("\n")
}

/// Every object of every kind that can be listed, in every namespace, with its version: a line each. Leases and nodes are
/// renewed by those who hold them, autoscalers by their controller, and what happens is reported for minutes.
fn objects(world: &World) -> Result<String> {
    let kubectl = |words: &[&str]| -> Result<Vec<u8>> {
        let assets = std::env::var("KUBEBUILDER_ASSETS").context("KUBEBUILDER_ASSETS is not set")?;
        let mut kubectl = Command::new(Path::new(&assets).join("kubectl"));
        world.enter(&mut kubectl);
        let output = kubectl.args(words).output()?;
        ensure!(output.status.success(), "{}", said(&output));
        Ok(output.stdout)
    };
    let kinds = String::from_utf8(kubectl(&["api-resources", "--verbs=list", "-o", "name"])?)?;
    let left_out = [
        "leases.coordination.k8s.io",
        "nodes",
        "horizontalpodautoscalers.autoscaling",
        "componentstatuses",
        "events",
        "events.events.k8s.io",
    ];
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !left_out.contains(kind)).collect();
    ensure!(
        kinds.contains(&"pods") && kinds.contains(&"deployments.apps"),
        "{kinds:?}"
    );
    let all: Value = serde_json::from_slice(&kubectl(&["get", &kinds.join(","), "-A", "-o", "json"])?)?;
    let mut lines: Vec<String> = all["items"]
        .as_array()
        .context("items")?
        .iter()
        .map(ToString::to_string)
        .collect();
    ensure!(lines.iter().any(|line| line.contains("resourceVersion")), "no versions");
    lines.sort();
    Ok(lines.join("\n"))
}

/// Every file and folder below a place, with its size and when it was changed.
fn listing(place: &Path) -> Result<String> {
    let Ok(entries) = std::fs::read_dir(place) else {
        return Ok(String::new());
    };
    let mut lines = Vec::new();
    for entry in entries {
        let entry = entry?;
        let about = entry.metadata()?;
        lines.push(format!(
            "{} {} {:?}",
            entry.path().display(),
            about.len(),
            about.modified()?
        ));
        if about.is_dir() {
            lines.push(listing(&entry.path())?);
        }
    }
    lines.sort();
    Ok(lines.join("\n"))
}
