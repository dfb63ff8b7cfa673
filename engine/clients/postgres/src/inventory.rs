//! What a database holds, in numbers: kept with a backup, and compared with what was restored from it.

use std::collections::BTreeMap;

use jm_step::StepError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quote::RelationName;
use crate::session::ReadSession;

/// How rows are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CountMode {
    /// One by one.
    #[default]
    Exact,
    /// As the planner last estimated; one by one where it never did.
    Estimated,
}

/// What a database holds. Relations are named as SQL writes them: `public.users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Inventory {
    /// The server's moment, in RFC 3339.
    pub taken_at: String,
    /// The database.
    pub database: String,
    /// The server's version, such as `15.14`.
    pub server_version: String,
    /// The same as a number, such as 150014.
    pub server_version_num: u32,
    /// Its encoding, such as `UTF8`.
    pub encoding: String,
    /// Its collation, such as `C.UTF-8`.
    pub collation: String,
    /// The version of the library behind the collation, where the server keeps one.
    #[serde(default)]
    pub collation_version: Option<String>,
    /// Extensions by name.
    pub extensions: BTreeMap<String, Extension>,
    /// Rows of each table. A partitioned one stands for its partitions; those of extensions are left out.
    pub tables: BTreeMap<String, TableRows>,
    /// Who owns each of them. Empty in what was taken before this was kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub owners: BTreeMap<String, String>,
    /// Sequences.
    pub sequences: BTreeMap<String, SequenceState>,
    /// Materialised views, and whether each was ever filled.
    pub materialized_views: BTreeMap<String, bool>,
    /// Indexes that cannot be used.
    pub invalid_indexes: Vec<String>,
    /// Constraints that were never checked, as `table.constraint`.
    pub invalid_constraints: Vec<String>,
    /// Its size on the server's disk.
    pub size_bytes: u64,
}

/// An extension as it is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Extension {
    /// Its version.
    pub version: String,
    /// The schema of its objects.
    pub schema: String,
}

/// How many rows a table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TableRows {
    /// So many.
    pub rows: u64,
    /// Whether they were counted one by one.
    pub exact: bool,
}

/// Where a sequence stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SequenceState {
    /// The last value that it gave out, `None` where it gave none yet.
    pub last_value: Option<i64>,
    /// Its step; a negative one counts down.
    pub increment: i64,
    /// The columns that it fills, as table and column.
    #[serde(default)]
    pub columns: Vec<(String, String)>,
}

/// Leaves out the catalogue, what is temporary, and what belongs to an extension.
const OWN: &str = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'
    AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_class'::regclass AND x.objid = c.oid AND x.deptype = 'e')";

pub(crate) async fn collect(session: &ReadSession, mode: CountMode) -> Result<Inventory, StepError> {
    let mut inventory = frame(session).await?;
    inventory.extensions = extensions(session).await?;
    for facts in tables(session).await? {
        let name = RelationName::new(&facts.schema, &facts.name);
        let rows = rows(session, mode, &facts, &name).await?;
        inventory.tables.insert(name.to_string(), rows);
        inventory.owners.insert(name.to_string(), facts.owner);
    }
    inventory.sequences = sequences(session).await?;
    inventory.materialized_views = materialized_views(session).await?;
    inventory.invalid_indexes = invalid_indexes(session).await?;
    inventory.invalid_constraints = invalid_constraints(session).await?;
    Ok(inventory)
}

/// All that stands in one row.
async fn frame(session: &ReadSession) -> Result<Inventory, StepError> {
    let sql = "
        SELECT jsonb_build_object(
            'taken_at', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
            'database', d.datname,
            'server_version', split_part(current_setting('server_version'), ' ', 1),
            'server_version_num', current_setting('server_version_num')::int,
            'encoding', pg_encoding_to_char(d.encoding),
            'collation', d.datcollate,
            'collation_version', to_jsonb(d) -> 'datcollversion',
            'extensions', '{}'::jsonb, 'tables', '{}'::jsonb, 'sequences', '{}'::jsonb, 'materialized_views', '{}'::jsonb,
            'invalid_indexes', '[]'::jsonb, 'invalid_constraints', '[]'::jsonb,
            'size_bytes', pg_database_size(d.oid))::text
        FROM pg_database d WHERE d.datname = current_database()";
    let frame = session.json(sql, &[]).await?.pop();
    frame.ok_or_else(|| StepError::failed("the catalogue does not know the database that answers"))
}

async fn extensions(session: &ReadSession) -> Result<BTreeMap<String, Extension>, StepError> {
    let sql =
        "SELECT jsonb_build_array(e.extname, jsonb_build_object('version', e.extversion, 'schema', n.nspname))::text
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace";
    let extensions: Vec<(String, Extension)> = session.json(sql, &[]).await?;
    Ok(extensions.into_iter().collect())
}

#[derive(Deserialize)]
struct TableFacts {
    schema: String,
    name: String,
    owner: String,
    partitioned: bool,
    estimate: i64,
}

async fn tables(session: &ReadSession) -> Result<Vec<TableFacts>, StepError> {
    let sql = format!(
        "SELECT jsonb_build_object('schema', n.nspname, 'name', c.relname, 'owner', pg_get_userbyid(c.relowner),
            'partitioned', c.relkind = 'p', 'estimate', c.reltuples::bigint)::text
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' AND {OWN}"
    );
    session.json(&sql, &[]).await
}

async fn rows(
    session: &ReadSession,
    mode: CountMode,
    facts: &TableFacts,
    name: &RelationName,
) -> Result<TableRows, StepError> {
    // Below zero: never analysed.
    if let (CountMode::Estimated, Ok(rows)) = (mode, u64::try_from(facts.estimate)) {
        return Ok(TableRows { rows, exact: false });
    }
    // The children of an ordinary table are tables of their own.
    let only = if facts.partitioned { "" } else { "ONLY " };
    let row = session
        .query_one(&format!("SELECT count(*) FROM {only}{}", name.sql()), &[])
        .await;
    let rows: i64 = row
        .map_err(|error| error.context(format_args!("counting `{name}`")))?
        .get(0);
    Ok(TableRows {
        rows: rows.unsigned_abs(),
        exact: true,
    })
}

#[derive(Deserialize)]
struct SequenceFacts {
    schema: String,
    name: String,
    increment: i64,
    last_value: Option<i64>,
    columns: Vec<[String; 3]>,
}

/// A sequence fills a column that owns it or whose default asks it.
async fn sequences(session: &ReadSession) -> Result<BTreeMap<String, SequenceState>, StepError> {
    let sql = format!(
        "SELECT jsonb_build_object('schema', n.nspname, 'name', c.relname, 'increment', q.seqincrement,
            'last_value', pg_sequence_last_value(c.oid),
            'columns', coalesce((
                SELECT jsonb_agg(DISTINCT jsonb_build_array(tn.nspname, t.relname, a.attname))
                FROM (
                    SELECT d.refobjid AS relation, d.refobjsubid AS number FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                        AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
                    UNION
                    SELECT f.adrelid, f.adnum FROM pg_depend d JOIN pg_attrdef f ON f.oid = d.objid
                    WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
                ) filled
                JOIN pg_class t ON t.oid = filled.relation
                JOIN pg_namespace tn ON tn.oid = t.relnamespace
                JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = filled.number), '[]'))::text
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence q ON q.seqrelid = c.oid
        WHERE c.relpersistence <> 't' AND {OWN}"
    );
    let facts: Vec<SequenceFacts> = session.json(&sql, &[]).await?;
    Ok(facts.into_iter().map(sequence).collect())
}

fn sequence(facts: SequenceFacts) -> (String, SequenceState) {
    let column = |[schema, table, column]: [String; 3]| (RelationName::new(schema, table).to_string(), column);
    let state = SequenceState {
        last_value: facts.last_value,
        increment: facts.increment,
        columns: facts.columns.into_iter().map(column).collect(),
    };
    (RelationName::new(facts.schema, facts.name).to_string(), state)
}

async fn materialized_views(session: &ReadSession) -> Result<BTreeMap<String, bool>, StepError> {
    let sql = format!(
        "SELECT jsonb_build_array(n.nspname, c.relname, c.relispopulated)::text
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'm' AND {OWN}"
    );
    let views: Vec<(String, String, bool)> = session.json(&sql, &[]).await?;
    let named = |(schema, name, filled)| (RelationName::new(schema, name).to_string(), filled);
    Ok(views.into_iter().map(named).collect())
}

async fn invalid_indexes(session: &ReadSession) -> Result<Vec<String>, StepError> {
    let sql = "SELECT jsonb_build_array(n.nspname, c.relname)::text
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE NOT (i.indisvalid AND i.indisready) AND n.nspname NOT IN ('pg_catalog', 'pg_toast') ORDER BY 1";
    let indexes: Vec<(String, String)> = session.json(sql, &[]).await?;
    Ok(indexes
        .into_iter()
        .map(|(schema, name)| RelationName::new(schema, name).to_string())
        .collect())
}

async fn invalid_constraints(session: &ReadSession) -> Result<Vec<String>, StepError> {
    let sql = "SELECT jsonb_build_array(n.nspname, c.relname, k.conname)::text
        FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE NOT k.convalidated ORDER BY 1";
    let constraints: Vec<(String, String, String)> = session.json(sql, &[]).await?;
    Ok(constraints
        .into_iter()
        .map(|(schema, table, name)| format!("{}.{name}", RelationName::new(schema, table)))
        .collect())
}
