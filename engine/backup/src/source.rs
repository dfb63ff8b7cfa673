//! What is asked of a database before and while it is dumped.

use jm_client_postgres::Reader;
use jm_step::StepError;

use crate::create::CreateRequest;

const SHOWN: usize = 10;

/// Tables that the dumping role cannot read whole: a dump would fail at one of them, after all the others.
pub(crate) async fn refuse_unreadable(reader: &Reader, request: &CreateRequest) -> Result<(), StepError> {
    let session = reader.connect_to(&request.database, Some(&request.step)).await?;
    let sql = "
        SELECT format('%I.%I', n.nspname, c.relname)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'm', 'S') AND c.relpersistence <> 't'
            AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
            AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_class'::regclass AND x.objid = c.oid AND x.deptype = 'e')
            AND (CASE WHEN c.relkind = 'S' THEN NOT has_sequence_privilege(c.oid, 'SELECT')
                ELSE NOT has_table_privilege(c.oid, 'SELECT') END
                OR (c.relrowsecurity AND NOT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user)
                    AND (c.relforcerowsecurity OR NOT pg_has_role(c.relowner, 'USAGE'))))
        ORDER BY 1";
    let rows = session.query(sql, &[]).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let tables: Vec<String> = rows.iter().take(SHOWN).map(|row| row.get(0)).collect();
    let more = if rows.len() > SHOWN {
        format!(" and {} more", rows.len() - SHOWN)
    } else {
        String::new()
    };
    Err(StepError::denied(format!(
        "role `{}` may not read all of database `{}`: {}{more}",
        reader.user(),
        request.database,
        tables.join(", ")
    ))
    .hint("grant `pg_read_all_data` (and BYPASSRLS where rows are hidden by policies), or dump as the owner"))
}

/// Roles that own something in a database, or that something is granted to.
pub(crate) async fn roles(reader: &Reader, database: &str) -> Result<Vec<String>, StepError> {
    let session = reader.connect_to(database, None).await?;
    let sql = "
        SELECT DISTINCT r.rolname::text FROM pg_roles r WHERE r.oid IN (
            SELECT refobjid FROM pg_shdepend
            WHERE refclassid = 'pg_authid'::regclass AND deptype IN ('o', 'a', 'r')
                AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
            UNION SELECT relowner FROM pg_class WHERE oid >= 16384
            UNION SELECT proowner FROM pg_proc WHERE oid >= 16384
            UNION SELECT nspowner FROM pg_namespace WHERE oid >= 16384)
            AND r.rolname !~ '^pg_'
        ORDER BY 1";
    let rows = session.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Roles that own something in a database which a dump says the owner of: not what belongs to an extension, which comes
/// with it, nor tables of a session. Indexes go with their tables, and are of no extension by themselves.
pub(crate) async fn owners(reader: &Reader, database: &str) -> Result<Vec<String>, StepError> {
    let session = reader.connect_to(database, None).await?;
    // The role that the server was made by is in no `pg_shdepend`.
    let sql = "
        WITH owned (class, object, owner) AS (
            SELECT classid, objid, refobjid FROM pg_shdepend
            WHERE refclassid = 'pg_authid'::regclass AND deptype = 'o'
                AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND classid NOT IN ('pg_extension'::regclass, 'pg_user_mapping'::regclass)
            UNION SELECT 'pg_class'::regclass, oid, relowner FROM pg_class WHERE oid >= 16384 AND relkind NOT IN ('t', 'i', 'I')
            UNION SELECT 'pg_proc'::regclass, oid, proowner FROM pg_proc WHERE oid >= 16384
            UNION SELECT 'pg_namespace'::regclass, oid, nspowner FROM pg_namespace
                WHERE oid >= 16384 AND nspname !~ '^pg_(toast_)?temp_')
        SELECT DISTINCT r.rolname::text FROM owned o JOIN pg_roles r ON r.oid = o.owner
        WHERE r.rolname !~ '^pg_'
            AND NOT EXISTS (SELECT FROM pg_depend e
                WHERE e.classid = o.class AND e.objid = o.object AND e.deptype = 'e')
            AND NOT EXISTS (SELECT FROM pg_class c
                WHERE o.class = 'pg_class'::regclass AND c.oid = o.object AND c.relpersistence = 't')
        ORDER BY 1";
    let rows = session.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Who holds tables of a database so that not even reading them is possible: pid, role, application, kind of statement.
pub(crate) async fn lock_holders(reader: &Reader, database: &str) -> Result<Vec<String>, StepError> {
    let session = reader.connect_to(database, None).await?;
    let sql = "
        SELECT DISTINCT format('session %s of `%s` (%s) holds %s, last with %s', l.pid, a.usename,
            coalesce(nullif(a.application_name, ''), 'no name'), l.relation::regclass,
            coalesce(upper(split_part(ltrim(a.query), ' ', 1)), 'nothing'))
        FROM pg_locks l JOIN pg_stat_activity a USING (pid)
        WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'AccessExclusiveLock'
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        LIMIT 5";
    let rows = session.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
