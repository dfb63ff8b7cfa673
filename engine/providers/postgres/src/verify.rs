//! `postgres.verify`: proves that a database holds what it should: critical tables, the numbers of a backup, sound
//! indexes, constraints, owners, sequences and views. All findings at once.

use std::collections::BTreeMap;

use jm_client_postgres::{CountMode, Inventory, Postgres, ReadSession, RelationName};
use jm_step::{
    Effect, InputIssue, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::common;

mod findings;
use findings::Finding;
mod freshness;
mod indexes;

/// How many findings the message names; the evidence has all.
const SHOWN: usize = 12;

/// See the module.
pub(crate) struct Verify;

/// What is looked at, and what it is compared with.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The database. Default: the one that the target names.
    #[serde(default)]
    database: Option<String>,
    /// Tables that must be there and must not be empty: `users` (in `public`) or `schema.table`.
    #[serde(default)]
    tables: Vec<String>,
    /// The backup that the database was restored from: its `inventory`, where it has one, is compared.
    #[serde(default)]
    compare_to: Option<Map<String, Value>>,
    /// The share of a table's rows that may be missing or too many: 0.01 is one in a hundred. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    tolerance: f64,
    /// How rows are counted. Estimates need a tolerance. Default: exact.
    #[serde(default)]
    counts: CountMode,
    /// Whether each table has to belong to whom it belonged in the backup. Where the server lacks a role of the backup, nothing
    /// is compared: a restore leaves out all owners then, and says so. Default: true.
    #[serde(default = "yes")]
    owners: bool,
    /// Whether every B-tree index is read and compared with its table, by the server's extension `amcheck`, which has to be
    /// installed in the database. Takes as long as reading all of it. Default: false.
    #[serde(default)]
    amcheck: bool,
    /// Tables whose newest row must not be too old.
    #[serde(default)]
    freshness: Vec<Freshness>,
}

fn yes() -> bool {
    true
}

/// How old the newest row of a table may be.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Freshness {
    /// The table.
    table: String,
    /// A column with a time or date, such as `created_at`.
    column: String,
    /// How much older the newest value may be than the backup, or than now where none is compared: `24h`, `7d`.
    within: String,
}

/// What was found to be right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The database.
    pub(crate) database: String,
    /// How many tables it has.
    pub(crate) tables: u64,
    /// How many rows they have together.
    pub(crate) rows: u64,
    /// The rows of each critical table.
    pub(crate) critical: BTreeMap<String, u64>,
    /// Whether it was compared with a backup's inventory.
    pub(crate) compared: bool,
    /// The newest value of each column that was asked for, in RFC 3339.
    pub(crate) newest: BTreeMap<String, String>,
    /// Its size on the server's disk.
    pub(crate) size_bytes: u64,
}

impl StepType for Verify {
    const NAME: &'static str = "postgres.verify";
    const SUMMARY: &'static str = "proves that a database holds what it should";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const TIMEOUT: std::time::Duration = std::time::Duration::from_mins(30);
    const GATE: bool = true;
    type Input = Input;
    type Output = Output;

    fn check(&self, input: &Input) -> Result<(), Vec<InputIssue>> {
        let named = |(index, name): (usize, &String)| table_issue(format!("/tables/{index}"), name);
        let mut issues: Vec<_> = input.tables.iter().enumerate().filter_map(named).collect();
        for (index, fresh) in input.freshness.iter().enumerate() {
            issues.extend(table_issue(format!("/freshness/{index}/table"), &fresh.table));
            let within = common::duration(&fresh.within).err();
            issues.extend(within.map(|issue| InputIssue {
                pointer: format!("/freshness/{index}/within"),
                ..issue
            }));
        }
        if !(0.0..=1.0).contains(&input.tolerance) {
            let issue = InputIssue::at("/tolerance", "a tolerance is a share from 0 to 1");
            issues.push(issue.help("write 0.01 for one row in a hundred"));
        }
        common::none_or(issues)
    }

    fn roles(&self) -> Vec<Role> {
        common::roles()
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of("database", &["CONNECT", "pg_read_all_data"])]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let reader = cx.read::<Postgres>().await?;
        let wanted = wanted(input)?;
        let name = common::chosen(input.database.as_ref(), &reader);
        let expected = backed_up(input)?;
        missing_in_backup(&wanted, expected.as_ref())?;
        let will = sentence(&wanted, expected.is_some());
        if reader
            .find_database(name)
            .await?
            .is_none_or(|facts| !facts.allows_connections)
        {
            return Ok(Preview::declared(will));
        }
        // As it stands now, which the steps before this one may change. A dry run reads no whole index.
        let quick = Input {
            counts: CountMode::Estimated,
            amcheck: false,
            ..input.clone()
        };
        let (output, findings) = look(cx, &quick).await?;
        Ok(match findings.len() {
            0 => Preview::verified(format!("{will}; as database `{name}` is now, all is well")).predict(output),
            count => Preview::declared(format!(
                "{will}; as database `{name}` is now, it would find {count} things wrong"
            )),
        })
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        let (output, findings) = look(cx, &input).await?;
        for finding in &findings {
            cx.log(finding.to_string()).await;
        }
        if findings.is_empty() {
            Ok(output)
        } else {
            Err(failed(&output.database, &findings))
        }
    }

    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

fn table_issue(pointer: String, name: &str) -> Option<InputIssue> {
    let error = name.parse::<RelationName>().err()?;
    Some(InputIssue::at(pointer, error.message()).help("write `users` or `schema.table`"))
}

fn wanted(input: &Input) -> Result<Vec<RelationName>, StepError> {
    input.tables.iter().map(|name| name.parse()).collect()
}

/// The inventory that came with the backup. A backup of another origin has none.
fn backed_up(input: &Input) -> Result<Option<Inventory>, StepError> {
    let inventory = input.compare_to.as_ref().and_then(|backup| backup.get("inventory"));
    let Some(inventory) = inventory.filter(|inventory| !inventory.is_null()) else {
        return Ok(None);
    };
    serde_json::from_value(inventory.clone())
        .map(Some)
        .map_err(|error| StepError::invalid_input("the backup's inventory cannot be read").source(error))
}

fn sentence(wanted: &[RelationName], compares: bool) -> String {
    let tables = common::plural(wanted.len(), "critical table");
    let and = if compares {
        " and compare all with the backup's inventory"
    } else {
        ""
    };
    format!("will check {tables}{and}")
}

/// What a backup does not hold cannot come back from it: better to know before.
fn missing_in_backup(wanted: &[RelationName], expected: Option<&Inventory>) -> Result<(), StepError> {
    let Some(expected) = expected else { return Ok(()) };
    let missing: Vec<_> = wanted
        .iter()
        .map(ToString::to_string)
        .filter(|name| expected.tables.get(name).is_none_or(|table| table.rows == 0))
        .map(|name| format!("`{name}`"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(StepError::failed(format!(
        "the backup holds no rows of critical tables {}",
        missing.join(", ")
    ))
    .hint("begin a run with another backup: `jm backup list` shows which there are"))
}

async fn look(cx: &ReadContext, input: &Input) -> Result<(Output, Vec<Finding>), StepError> {
    let reader = cx.read::<Postgres>().await?;
    let name = common::chosen(input.database.as_ref(), &reader).to_owned();
    let inventory = reader.inventory(&name, input.counts, None).await?;
    let expected = backed_up(input)?;
    let wanted = wanted(input)?;
    let session = reader.connect_to(&name, Some(cx.step())).await?;
    session.allow(None).await?;
    let mut findings = findings::critical(&wanted, &inventory);
    findings.extend(findings::sound(&session, &inventory, expected.as_ref()).await?);
    if let Some(expected) = &expected {
        findings.extend(findings::compared(expected, &inventory, input.tolerance));
        if input.owners && !lacks_roles(&session, input).await? {
            findings.extend(findings::owners(expected, &inventory));
        }
    }
    if input.amcheck {
        findings.extend(indexes::look(&session).await?);
    }
    let moment = expected.as_ref().map(|expected| expected.taken_at.as_str());
    let (newest, stale) = freshness::look(&session, &input.freshness, &inventory, moment).await?;
    findings.extend(stale);
    Ok((output(name, &wanted, &inventory, expected.is_some(), newest), findings))
}

/// Whether the server lacks a role that the backup names.
async fn lacks_roles(session: &ReadSession, input: &Input) -> Result<bool, StepError> {
    let named = input.compare_to.as_ref().and_then(|backup| backup.get("roles"));
    let named: Vec<&str> = named
        .and_then(Value::as_array)
        .map_or_else(Vec::new, |roles| roles.iter().filter_map(Value::as_str).collect());
    let sql =
        "SELECT EXISTS (SELECT FROM unnest($1::text[]) r WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r))";
    Ok(session.query_one(sql, &[&named]).await?.get(0))
}

fn output(
    database: String,
    wanted: &[RelationName],
    inventory: &Inventory,
    compared: bool,
    newest: BTreeMap<String, String>,
) -> Output {
    let rows = |name: String| inventory.tables.get(&name).map(|table| (name, table.rows));
    Output {
        database,
        tables: inventory.tables.len() as u64,
        rows: inventory.tables.values().map(|table| table.rows).sum(),
        critical: wanted.iter().map(ToString::to_string).filter_map(rows).collect(),
        compared,
        newest,
        size_bytes: inventory.size_bytes,
    }
}

fn failed(database: &str, findings: &[Finding]) -> StepError {
    let mut shown: Vec<_> = findings.iter().take(SHOWN).map(ToString::to_string).collect();
    if findings.len() > SHOWN {
        shown.push(format!("and {} more", findings.len() - SHOWN));
    }
    let count = common::plural(findings.len(), "thing");
    StepError::failed(format!(
        "database `{database}` is not as it should be, {count} found: {}",
        shown.join("; ")
    ))
    .hint(
        "mend what was found, then `jm plan resume`; or, where it was restored, begin a run with another backup: \
         `jm backup list` shows which there are",
    )
    .evidence(serde_json::json!({ "database": database, "findings": findings }))
}

#[cfg(test)]
mod tests;
