//! What can be wrong with a database, each with what was expected and what is there.

use std::fmt;

use jm_client_postgres::quote::ident;
use jm_client_postgres::{Inventory, ReadSession, RelationName, SequenceState, TableRows};
use jm_step::StepError;
use serde::Serialize;
use serde_json::{Value, json};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Finding {
    /// What kind of thing, such as `table-missing`.
    pub(crate) check: &'static str,
    /// Of what, such as `public.users`.
    pub(crate) object: String,
    /// What should be.
    pub(crate) expected: Value,
    /// What is.
    pub(crate) actual: Value,
}

impl Finding {
    pub(crate) fn new(
        check: &'static str,
        object: impl Into<String>,
        expected: impl Into<Value>,
        actual: impl Into<Value>,
    ) -> Self {
        Self {
            check,
            object: object.into(),
            expected: expected.into(),
            actual: actual.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let Self {
            check,
            object,
            expected,
            actual,
        } = self;
        write!(
            f,
            "{check} `{object}`: expected {}, found {}",
            plain(expected),
            plain(actual)
        )
    }
}

/// A critical table that is missing or empty. One of the same name elsewhere is named.
pub(super) fn critical(wanted: &[RelationName], inventory: &Inventory) -> Vec<Finding> {
    let look = |table: &RelationName| match inventory.tables.get(&table.to_string()) {
        None => Some(Finding::new(
            "table-missing",
            table.to_string(),
            "the table",
            elsewhere(table, inventory),
        )),
        Some(TableRows { rows: 0, .. }) => Some(Finding::new("table-empty", table.to_string(), "rows", 0)),
        Some(_) => None,
    };
    wanted.iter().filter_map(look).collect()
}

fn elsewhere(table: &RelationName, inventory: &Inventory) -> String {
    let same = |name: &&String| name.parse().is_ok_and(|other: RelationName| other.name == table.name);
    match inventory.tables.keys().find(same) {
        Some(other) => format!("nothing there, but `{other}`"),
        None => "nothing".to_owned(),
    }
}

/// What differs from the backup's inventory.
pub(super) fn compared(expected: &Inventory, actual: &Inventory, tolerance: f64) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, rows) in &expected.tables {
        match actual.tables.get(name) {
            None => findings.push(Finding::new("table-missing", name, rows.rows, "nothing")),
            Some(found) if !within(rows.rows, found.rows, tolerance) => {
                findings.push(Finding::new("row-count", name, rows.rows, found.rows));
            }
            Some(_) => {}
        }
    }
    findings.extend(missing("extension-missing", expected.extensions.keys(), |name| {
        actual.extensions.contains_key(name)
    }));
    findings.extend(missing("sequence-missing", expected.sequences.keys(), |name| {
        actual.sequences.contains_key(name)
    }));
    let view = |name: &String| actual.materialized_views.contains_key(name);
    findings.extend(missing("view-missing", expected.materialized_views.keys(), view));
    if expected.encoding != actual.encoding {
        findings.push(Finding::new(
            "encoding",
            &actual.database,
            expected.encoding.as_str(),
            actual.encoding.as_str(),
        ));
    }
    findings
}

/// Tables that belong to somebody else than in the backup: the application that owned them may not be let in.
pub(super) fn owners(expected: &Inventory, actual: &Inventory) -> Vec<Finding> {
    let other = |(table, owner): (&String, &String)| {
        let now = actual.owners.get(table).filter(|now| *now != owner)?;
        Some(Finding::new("owner", table, owner.as_str(), now.as_str()))
    };
    expected.owners.iter().filter_map(other).collect()
}

fn missing<'n>(
    check: &'static str,
    names: impl Iterator<Item = &'n String>,
    is_there: impl Fn(&String) -> bool,
) -> Vec<Finding> {
    names
        .filter(|name| !is_there(name))
        .map(|name| Finding::new(check, name, "as in the backup", "nothing"))
        .collect()
}

/// Whether a count is near enough. No tolerance makes rows out of none, or none out of rows.
fn within(expected: u64, actual: u64, tolerance: f64) -> bool {
    if expected == actual {
        return true;
    }
    #[expect(clippy::cast_precision_loss, reason = "a share of rows need not be exact to the row")]
    let allowed = expected as f64 * tolerance;
    #[expect(clippy::cast_precision_loss, reason = "a share of rows need not be exact to the row")]
    let difference = expected.abs_diff(actual) as f64;
    expected > 0 && actual > 0 && difference <= allowed
}

/// What is wrong with a database in itself. What was so in the backup already is faithfully restored and no finding;
/// but a dump leaves out unusable indexes, so that one of those is always new.
pub(super) async fn sound(
    session: &ReadSession,
    inventory: &Inventory,
    expected: Option<&Inventory>,
) -> Result<Vec<Finding>, StepError> {
    let mut findings = Vec::new();
    for index in &inventory.invalid_indexes {
        findings.push(Finding::new("index-invalid", index, "usable", "not usable"));
    }
    for (view, populated) in &inventory.materialized_views {
        let was_so = expected.is_some_and(|expected| expected.materialized_views.get(view) == Some(&false));
        if !populated && !was_so {
            findings.push(Finding::new("view-unpopulated", view, "filled", "never filled"));
        }
    }
    for constraint in &inventory.invalid_constraints {
        if !expected.is_some_and(|expected| expected.invalid_constraints.contains(constraint)) {
            findings.push(Finding::new(
                "constraint-invalid",
                constraint,
                "checked",
                "never checked",
            ));
        }
    }
    for (name, sequence) in &inventory.sequences {
        let then = expected.and_then(|expected| expected.sequences.get(name));
        if then.is_none_or(|then| then.last_value != sequence.last_value) {
            findings.extend(behind(session, name, sequence).await?);
        }
    }
    Ok(findings)
}

/// A sequence that gives out numbers which its column holds already.
async fn behind(session: &ReadSession, name: &str, sequence: &SequenceState) -> Result<Option<Finding>, StepError> {
    for (table, column) in &sequence.columns {
        let end = if sequence.increment > 0 { "max" } else { "min" };
        let relation: RelationName = table.parse()?;
        let sql = format!(
            "SELECT {end}({column})::text FROM {}",
            relation.sql(),
            column = ident(column)
        );
        let used: Option<String> = session.query_one(&sql, &[]).await?.get(0);
        // A column that holds other things than numbers is not filled by a sequence alone.
        let Some(used) = used.and_then(|used| used.parse::<i64>().ok()) else {
            continue;
        };
        if !has_passed(sequence, used) {
            let object = format!("{name} of {table}.{column}");
            return Ok(Some(Finding::new(
                "sequence-behind",
                object,
                used,
                json!(sequence.last_value),
            )));
        }
    }
    Ok(None)
}

fn has_passed(sequence: &SequenceState, used: i64) -> bool {
    match sequence.last_value {
        None => false,
        Some(last) if sequence.increment > 0 => last >= used,
        Some(last) => last <= used,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tolerance_is_a_share_and_never_all() {
        assert!(within(1000, 995, 0.01));
        assert!(!within(1000, 985, 0.01));
        assert!(within(0, 0, 0.0));
        assert!(!within(1000, 0, 1.0));
        assert!(!within(0, 5, 1.0));
        assert!(within(1000, 2000, 1.0));
    }

    #[test]
    fn a_sequence_may_count_down() {
        let at = |last_value, increment| SequenceState {
            last_value,
            increment,
            columns: Vec::new(),
        };
        assert!(has_passed(&at(Some(5), 1), 5) && !has_passed(&at(Some(4), 1), 5) && !has_passed(&at(None, 1), 5));
        assert!(has_passed(&at(Some(-5), -1), -5) && !has_passed(&at(Some(-4), -1), -5));
    }
}
