//! What a switch changes: as it is foretold, and as the server tells it afterwards.

use jm_client_postgres::{Belongings, Grant, Reader, RoleSettings};
use jm_step::{Change, StepError};
use serde_json::{Map, Value, json};

use super::Output;
use crate::common;

const ASIDE: &str = "kept aside under another name";

/// What will change, where the old database is as it was found. The same before and after: no name or number that only
/// this run has.
pub(super) fn foretold(to: &str, old: Option<&Belongings>) -> Vec<Change> {
    changes(to, Some(to), old.map(|old| (old, json!(ASIDE))))
}

/// What has changed, by what the server says of both numbers now.
pub(super) async fn read_back(reader: &Reader, output: &Output) -> Result<Vec<Change>, StepError> {
    let serves_as = reader.database_name(output.oid).await?;
    let Some(old_oid) = output.old_oid else {
        return Ok(changes(&output.database, serves_as.as_deref(), None));
    };
    let has = match &serves_as {
        Some(name) => reader.belongings(name).await?,
        None => None,
    };
    let Some(has) = has else {
        return Err(StepError::not_found(format!(
            "database `{}` is gone right after it was switched to",
            output.database
        ))
        .hint("find out who drops databases on this server"));
    };
    let old = reader.database_name(old_oid).await?;
    let kept = if old == output.old_database {
        json!(ASIDE)
    } else {
        json!(old)
    };
    Ok(changes(&output.database, serves_as.as_deref(), Some((&has, kept))))
}

/// What was to go along with the name, and did not.
pub(super) fn missing(foretold: &[Change], done: &[Change]) -> Vec<String> {
    let after = |changes: &[Change]| -> Map<String, Value> {
        let all = changes.iter().filter_map(|change| change.after.clone());
        all.filter_map(|after| after.as_object().cloned()).flatten().collect()
    };
    let (wanted, has) = (after(foretold), after(done));
    let differs = wanted.iter().filter(|(name, value)| has.get(*name) != Some(value));
    differs.map(|(name, _)| name.replace('_', " ")).collect()
}

/// The copy's new name with what it has, and what became of the old database, where there was one.
fn changes(to: &str, serves_as: Option<&str>, with_old: Option<(&Belongings, Value)>) -> Vec<Change> {
    let copy = common::restored_copy(to);
    let Some((has, old)) = with_old else {
        return vec![Change::update(copy, "beside", json!({ "serves_as": serves_as }))];
    };
    let along = json!({
        "serves_as": serves_as,
        "owner": has.owner,
        "grants": has.grants.iter().map(grant).collect::<Vec<_>>(),
        "settings": has.settings.iter().flat_map(setting_names).collect::<Vec<_>>(),
        "connection_limit": has.connection_limit,
        "comment": has.comment,
    });
    vec![
        Change::update(format!("database `{to}`"), "in place", old),
        Change::update(copy, "beside", along),
    ]
}

fn grant(grant: &Grant) -> String {
    let who = grant.grantee.as_deref().unwrap_or("everybody");
    let on = if grant.grantable { ", and may grant it" } else { "" };
    format!("{who}: {}{on}", grant.privilege)
}

/// The values stay where they are: some people keep secrets in them.
fn setting_names(of: &RoleSettings) -> Vec<String> {
    let role = of.role.as_ref().map(|role| format!("{role}: ")).unwrap_or_default();
    let name = |setting: &String| format!("{role}{}", setting.split('=').next().unwrap_or_default());
    of.settings.iter().map(name).collect()
}
