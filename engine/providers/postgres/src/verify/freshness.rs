//! How old the newest row of a table is.

use std::collections::BTreeMap;

use jm_client_postgres::quote::ident;
use jm_client_postgres::{Inventory, ReadSession, RelationName};
use jm_step::StepError;
use serde::Deserialize;

use super::{Finding, Freshness};
use crate::common;

/// The newest value of a column, and how far it is behind the moment that it is compared with.
#[derive(Deserialize)]
struct Newest {
    at: Option<String>,
    seconds_behind: Option<f64>,
}

pub(super) async fn look(
    session: &ReadSession,
    wanted: &[Freshness],
    inventory: &Inventory,
    moment: Option<&str>,
) -> Result<(BTreeMap<String, String>, Vec<Finding>), StepError> {
    let (mut newest, mut findings) = (BTreeMap::new(), Vec::new());
    for fresh in wanted {
        let table: RelationName = fresh.table.parse()?;
        let object = format!("{table}.{}", fresh.column);
        if !inventory.tables.contains_key(&table.to_string()) {
            findings.push(Finding::new("table-missing", table.to_string(), "the table", "nothing"));
            continue;
        }
        let found = ask(session, &table, &fresh.column, moment).await?;
        if is_stale(&found, &fresh.within)? {
            let expected = format!("at most {} before the moment it is compared with", fresh.within);
            findings.push(Finding::new("stale", &object, expected, found.at.clone()));
        }
        newest.extend(found.at.map(|at| (object, at)));
    }
    Ok((newest, findings))
}

fn is_stale(found: &Newest, within: &str) -> Result<bool, StepError> {
    let limit = common::duration(within).map_err(|issue| StepError::invalid_input(issue.message))?;
    Ok(found.seconds_behind.is_none_or(|behind| behind > limit.as_secs_f64()))
}

async fn ask(
    session: &ReadSession,
    table: &RelationName,
    column: &str,
    moment: Option<&str>,
) -> Result<Newest, StepError> {
    let sql = format!(
        "SELECT jsonb_build_object(
            'at', to_char(newest AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
            'seconds_behind', extract(epoch FROM coalesce($1::text::timestamptz, now()) - newest)::float8)::text
        FROM (SELECT max({})::timestamptz AS newest FROM {}) asked",
        ident(column),
        table.sql()
    );
    let found = session.json(&sql, &[&moment]).await;
    let found = found.map_err(|error| error.context(format_args!("reading the newest `{table}.{column}`")))?;
    found
        .into_iter()
        .next()
        .ok_or_else(|| StepError::failed("the server gave no answer"))
}
