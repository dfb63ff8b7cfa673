//! Indexes that do not fit their tables, by the server's own extension `amcheck`.

use jm_client_postgres::quote::ident;
use jm_client_postgres::{ReadSession, RelationName};
use jm_step::{StepError, StepErrorKind};

use super::findings::Finding;

/// What `amcheck` reports of a damaged index: `index_corrupted`.
const CORRUPTED: &str = "(SQLSTATE XX002)";

/// Every B-tree index is read, and every row of its table looked for in it.
pub(super) async fn look(session: &ReadSession) -> Result<Vec<Finding>, StepError> {
    let sql = "SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'amcheck'";
    let Some(schema) = session
        .query(sql, &[])
        .await?
        .first()
        .map(|row| row.get::<_, String>(0))
    else {
        return Err(StepError::not_found(format!(
            "database `{}` does not have the extension `amcheck`, which was to check its indexes",
            session.database()
        ))
        .hint("let a superuser run `CREATE EXTENSION amcheck` in it, or leave out `amcheck: true`"));
    };
    let check = format!("SELECT {}.bt_index_check($1::oid::regclass, true)", ident(&schema));
    let mut findings = Vec::new();
    for (oid, name) in indexes(session).await? {
        match session.query(&check, &[&oid]).await {
            Ok(_) => {}
            Err(error) if error.message().contains(CORRUPTED) => {
                findings.push(Finding::new(
                    "index-corrupt",
                    name,
                    "what its table holds",
                    error.message(),
                ));
            }
            Err(error) => return Err(may_not(error).context(format_args!("checking index `{name}`"))),
        }
    }
    Ok(findings)
}

/// Those that can be read: valid ones of tables that are not temporary.
async fn indexes(session: &ReadSession) -> Result<Vec<(u32, String)>, StepError> {
    let sql = "SELECT jsonb_build_array(c.oid::bigint, n.nspname, c.relname)::text
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_am m ON m.oid = c.relam
        WHERE m.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence <> 't' AND i.indisvalid AND i.indisready
        ORDER BY n.nspname, c.relname";
    let found: Vec<(u32, String, String)> = session.json(sql, &[]).await?;
    let named = |(oid, schema, name)| (oid, RelationName::new(schema, name).to_string());
    Ok(found.into_iter().map(named).collect())
}

fn may_not(error: StepError) -> StepError {
    if error.kind() != StepErrorKind::Denied {
        return error;
    }
    error.hint("let a superuser run `GRANT EXECUTE ON FUNCTION bt_index_check(regclass, boolean) TO …` in the database")
}
