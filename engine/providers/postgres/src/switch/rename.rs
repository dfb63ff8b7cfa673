//! The one transaction of a switch.

use jm_client_postgres::quote::ident;
use jm_client_postgres::{Session, Setting};
use jm_step::{StepError, StepErrorKind};

use super::{Plan, carry};

/// Renames both, brings along what belongs to the name, lets sessions into both, and proves by their numbers that the
/// right ones were renamed, before it commits. Gives the settings that the server refused us.
pub(super) async fn in_one_transaction(session: &Session, plan: &Plan) -> Result<Vec<Setting>, StepError> {
    let both = carry::Both::of(session, &plan.copy, plan.old.as_ref()).await?;
    session.batch("BEGIN; SET LOCAL lock_timeout = '10s'").await?;
    let prepared = prepare(session, plan, &both).await;
    let refused = match prepared {
        Ok(refused) => refused,
        Err(error) => {
            // Where the connection is gone the server rolls back by itself.
            drop(session.batch("ROLLBACK").await);
            return Err(error);
        }
    };
    match session.commit().await {
        Err(error) if error.kind() != StepErrorKind::Ambiguous => Err(error.context("the switch was rolled back")),
        other => other.map(|()| refused),
    }
}

async fn prepare(session: &Session, plan: &Plan, both: &carry::Both) -> Result<Vec<Setting>, StepError> {
    let to = &plan.output.database;
    if let (Some(old), Some(aside)) = (&plan.old, &plan.output.old_database) {
        rename(session, &old.name, aside).await?;
    }
    rename(session, &plan.copy.name, to).await?;
    prove(session, plan).await?;
    let refused = carry::over(session, to, both).await?;
    let mut open = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", ident(to));
    if let Some(aside) = &plan.output.old_database {
        // So that people can look into it; nobody who does not ask for it by its new name gets there.
        open = format!("{open}; ALTER DATABASE {} ALLOW_CONNECTIONS true", ident(aside));
    }
    session.batch(&open).await?;
    Ok(refused)
}

async fn rename(session: &Session, from: &str, to: &str) -> Result<(), StepError> {
    session
        .batch(&format!("ALTER DATABASE {} RENAME TO {}", ident(from), ident(to)))
        .await
        .map_err(|error| error.context(format_args!("renaming database `{from}` to `{to}`")))
}

/// Somebody may have dropped and made a database of the same name since we looked.
async fn prove(session: &Session, plan: &Plan) -> Result<(), StepError> {
    let expected = [
        (Some(plan.output.oid), Some(&plan.output.database)),
        (plan.output.old_oid, plan.output.old_database.as_ref()),
    ];
    for (oid, name) in expected {
        let (Some(oid), Some(name)) = (oid, name) else { continue };
        let sql = "SELECT EXISTS (SELECT FROM pg_database WHERE oid = $1 AND datname::text = $2)";
        if !session.query_one(sql, &[&oid, name]).await?.get::<_, bool>(0) {
            return Err(StepError::conflict(format!(
                "database `{name}` is not the one that was looked at: somebody has replaced it meanwhile"
            ))
            .hint("find out who, then resume: jm looks again before it switches"));
        }
    }
    Ok(())
}
