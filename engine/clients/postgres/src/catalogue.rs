//! What the catalogue tells of the server, its databases and its sessions.

#![expect(
    clippy::disallowed_types,
    reason = "the free space of a server on this machine is that of its own directory"
)]

use std::io::Read;
use std::path::Path;

use jm_step::StepError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::ReadSession;

/// What a server says of itself and of the user that asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerFacts {
    /// Its version as people write it, such as `15.14`.
    pub version: String,
    /// Its version as a number, such as 150014.
    pub version_num: u32,
    /// What tells it from every other server, where it tells.
    pub system_identifier: Option<String>,
    /// Whether it is a standby.
    pub in_recovery: bool,
    /// Whether we may do everything.
    pub superuser: bool,
    /// Whether we may create databases.
    pub may_create_databases: bool,
    /// Where it keeps its data, where we may know that.
    pub data_directory: Option<String>,
}

impl ServerFacts {
    /// The first part of the version: 15 of `15.14`.
    pub fn major(&self) -> u32 {
        self.version_num / 10_000
    }
}

/// What the catalogue says of a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseFacts {
    /// The server's number for it: stays with it when it is renamed.
    pub oid: u32,
    /// Its name.
    pub name: String,
    /// Who owns it.
    pub owner: String,
    /// Its encoding, such as `UTF8`.
    pub encoding: String,
    /// Its collation, such as `C.UTF-8`.
    pub collation: String,
    /// Its character classification.
    pub ctype: String,
    /// Whether it lets sessions in.
    pub allows_connections: bool,
    /// How many sessions it lets in, -1 for no limit.
    pub connection_limit: i32,
    /// Whether it is a template.
    pub is_template: bool,
    /// Its grants, as the catalogue writes them; none where the defaults hold.
    pub grants: Option<Vec<String>>,
    /// Settings that sessions in it start with.
    pub settings: Vec<RoleSettings>,
    /// Its comment.
    pub comment: Option<String>,
    /// Whether we may change it as its owner can.
    pub may_alter: bool,
    /// Its size in bytes, where we may know it.
    pub size_bytes: Option<u64>,
}

/// Settings of a database for all roles or for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoleSettings {
    /// The role, `None` for all.
    pub role: Option<String>,
    /// As `name=value`.
    pub settings: Vec<String>,
}

pub(crate) async fn server(session: &ReadSession) -> Result<ServerFacts, StepError> {
    // The two that may be forbidden are asked only where they are not.
    let sql = "
        SELECT jsonb_build_object(
            'version', split_part(current_setting('server_version'), ' ', 1),
            'version_num', current_setting('server_version_num')::int,
            'in_recovery', pg_is_in_recovery(),
            'superuser', rolsuper,
            'may_create_databases', rolsuper OR rolcreatedb,
            'data_directory', CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE') THEN current_setting('data_directory') END,
            'system_identifier', NULL)::text
        FROM pg_roles WHERE rolname = current_user";
    let facts: Option<ServerFacts> = session.json(sql, &[]).await?.pop();
    let mut facts = facts.ok_or_else(|| StepError::failed("the server does not know the role that asks"))?;
    facts.system_identifier = system_identifier(session).await?;
    Ok(facts)
}

async fn system_identifier(session: &ReadSession) -> Result<Option<String>, StepError> {
    let allowed = session
        .query_one("SELECT has_function_privilege('pg_control_system()', 'EXECUTE')", &[])
        .await?;
    if !allowed.get::<_, bool>(0) {
        return Ok(None);
    }
    let row = session
        .query_one("SELECT system_identifier::text FROM pg_control_system()", &[])
        .await?;
    Ok(Some(row.get(0)))
}

pub(crate) async fn database(session: &ReadSession, name: &str) -> Result<Option<DatabaseFacts>, StepError> {
    let sql = "
        SELECT jsonb_build_object(
            'oid', d.oid::bigint,
            'name', d.datname,
            'owner', pg_get_userbyid(d.datdba),
            'encoding', pg_encoding_to_char(d.encoding),
            'collation', d.datcollate,
            'ctype', d.datctype,
            'allows_connections', d.datallowconn,
            'connection_limit', d.datconnlimit,
            'is_template', d.datistemplate,
            'grants', to_jsonb(d.datacl),
            'settings', coalesce((
                SELECT jsonb_agg(jsonb_build_object('role', r.rolname, 'settings', to_jsonb(s.setconfig)) ORDER BY r.rolname NULLS FIRST)
                FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = d.oid), '[]'),
            'comment', shobj_description(d.oid, 'pg_database'),
            'may_alter', pg_has_role(d.datdba, 'USAGE'),
            'size_bytes', CASE WHEN has_database_privilege(d.oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE')
                THEN pg_database_size(d.oid) END)::text
        FROM pg_database d WHERE d.datname = $1";
    Ok(session.json(sql, &[&name]).await?.pop())
}

pub(crate) async fn database_name(session: &ReadSession, oid: u32) -> Result<Option<String>, StepError> {
    let rows = session
        .query("SELECT datname::text FROM pg_database WHERE oid = $1", &[&oid])
        .await?;
    Ok(rows.first().map(|row| row.get(0)))
}

pub(crate) async fn table_count(session: &ReadSession) -> Result<u64, StepError> {
    let sql = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
            AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
            -- What an extension brings is there before any data is.
            AND NOT EXISTS (SELECT FROM pg_depend x
                WHERE x.classid = 'pg_class'::regclass AND x.objid = c.oid AND x.deptype = 'e')";
    let count: i64 = session.query_one(sql, &[]).await?.get(0);
    Ok(count.unsigned_abs())
}

/// Told only where the folder is proven to be this server's: its control file begins with the system identifier.
pub(crate) fn free_bytes(is_local: bool, server: &ServerFacts) -> Option<u64> {
    let folder = Path::new(server.data_directory.as_deref().filter(|_| is_local)?);
    let mut identifier = [0; 8];
    let mut control = std::fs::File::open(folder.join("global/pg_control")).ok()?;
    control.read_exact(&mut identifier).ok()?;
    let same = server.system_identifier.as_deref() == Some(u64::from_ne_bytes(identifier).to_string().as_str());
    let space = same.then(|| rustix::fs::statvfs(folder).ok()).flatten()?;
    Some(space.f_bavail * space.f_frsize)
}
