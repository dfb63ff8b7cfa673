//! What is compared before and after: the data with everything that a restore has to bring back around it, what belongs
//! to the database's name, and the application as somebody declared it.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::CronJob;
use kube::api::ListParams;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{DATABASE, NAMESPACE, Session, kubernetes, maintenance_url};
use crate::{Description, SandboxError};

/// How many facts there are of each aspect of a database, and a digest of them. An aspect is a table or a materialised
/// view by its name, or what a catalogue knows.
pub type Fingerprint = BTreeMap<String, (i64, String)>;

/// The relations whose content is compared.
const CONTENT: [&str; 7] = [
    "users",
    "games",
    "players",
    "game_data",
    "sessions",
    "audit_logs",
    "leaderboard",
];

/// What catalogues know, as queries that give a schema's number and one text a fact. Other numbers of the server (OIDs)
/// differ from copy to copy, and are in none.
const CATALOGUES: [(&str, &str); 9] = [
    (
        "relations",
        "SELECT c.relnamespace, concat_ws(' ', c.oid::regclass, c.relkind, c.relpersistence, c.reloptions,
            pg_get_userbyid(c.relowner), c.relacl, obj_description(c.oid, 'pg_class'))
        FROM pg_class c",
    ),
    (
        "columns",
        "SELECT c.relnamespace, concat_ws(' ', c.oid::regclass, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
            a.attnotnull, a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid), a.attacl, col_description(c.oid, a.attnum))
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attnum > 0 AND NOT a.attisdropped",
    ),
    (
        "indexes",
        "SELECT c.relnamespace, concat_ws(' ', pg_get_indexdef(c.oid), i.indisvalid, i.indisready, i.indisprimary)
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid",
    ),
    (
        "constraints",
        "SELECT connamespace, concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated)
        FROM pg_constraint",
    ),
    (
        "sequences",
        "SELECT quote_ident(schemaname)::regnamespace, s::text FROM pg_sequences s",
    ),
    (
        "views",
        "SELECT relnamespace, concat_ws(' ', oid::regclass, pg_get_viewdef(oid), relispopulated)
        FROM pg_class WHERE relkind IN ('v', 'm')",
    ),
    (
        "functions",
        "SELECT pronamespace, concat_ws(' ', pg_get_functiondef(oid), pg_get_userbyid(proowner), proacl)
        FROM pg_proc WHERE prokind IN ('f', 'p')",
    ),
    (
        "types",
        "SELECT typnamespace, concat_ws(' ', oid::regtype, typtype, pg_get_userbyid(typowner), typacl,
            (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid))
        FROM pg_type t",
    ),
    (
        "schemas and extensions",
        "SELECT oid, concat_ws(' ', nspname, pg_get_userbyid(nspowner), nspacl) FROM pg_namespace
        UNION ALL SELECT extnamespace, concat_ws(' ', extname, extversion, extnamespace::regnamespace) FROM pg_extension",
    ),
];

/// What belongs to the database's name: how it is made, who owns it, who may do what, settings. Defaults are written out,
/// for a grant that says the same as they do changes nothing.
const BELONGINGS: &str = "
    SELECT concat_ws(' ', 'owned by', pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype,
        'limit', datconnlimit, 'open', datallowconn, 'template', datistemplate, shobj_description(oid, 'pg_database'))
    FROM pg_database WHERE datname = $1
    UNION ALL SELECT concat_ws(' ', coalesce(rolname, 'everybody'), 'may', privilege_type, is_grantable)
    FROM pg_database d, aclexplode(coalesce(datacl, acldefault('d', datdba))) a LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE datname = $1
    UNION ALL SELECT concat_ws(' ', 'set for', setrole::regrole, unnest(setconfig))
    FROM pg_db_role_setting WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = $1)
    ORDER BY 1";

/// What jm's marks on objects begin with.
const MARKS: &str = "jm.dev/";

/// A digest of all content of the database and of all that is around it: equal before and after, whatever happened in
/// between.
pub async fn fingerprint(sandbox: &Description) -> Result<Fingerprint, SandboxError> {
    let database = Session::open(sandbox.variable("DATABASE_URL")).await?;
    let content = CONTENT.map(|name| (name, format!("SELECT t::text FROM {name} AS t")));
    let catalogues = CATALOGUES.map(|(name, query)| (name, facts_of_ours(query)));
    let mut found = BTreeMap::new();
    for (name, facts) in content.into_iter().chain(catalogues) {
        let digest = format!(
            "SELECT count(*), coalesce(md5(string_agg(md5(fact), '' ORDER BY md5(fact))), '') FROM ({facts}) AS f (fact)"
        );
        let row = database.client.query_one(&digest, &[]).await;
        let row = row.map_err(|error| super::postgres("read the database", &error))?;
        found.insert(name.to_owned(), (row.get(0), row.get(1)));
    }
    Ok(found)
}

/// What belongs to the database's name rather than to its data, one fact a line.
pub async fn belongings(sandbox: &Description) -> Result<Vec<String>, SandboxError> {
    let server = Session::open(&maintenance_url(sandbox)).await?;
    let rows = server.client.query(BELONGINGS, &[&DATABASE]).await;
    let rows = rows.map_err(|error| super::postgres("read the catalogue", &error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Schemas that come with the server are left out.
fn facts_of_ours(query: &str) -> String {
    format!(
        "SELECT fact FROM ({query}) AS q (schema, fact)
        WHERE (SELECT nspname FROM pg_namespace WHERE oid = schema) !~ '^(pg_|information_schema)'"
    )
}

/// What writes to the database, as it is declared: labels, annotations (and so every mark that jm has left), and all of
/// the specification.
pub async fn workloads(sandbox: &Description) -> Result<Vec<Value>, SandboxError> {
    let client = kubernetes(sandbox).await?;
    let mut all = declared::<Deployment>(client.clone()).await?;
    all.extend(declared::<StatefulSet>(client.clone()).await?);
    all.extend(declared::<CronJob>(client).await?);
    Ok(all)
}

/// Whether one of the objects carries a mark of jm.
pub fn is_marked(workloads: &[Value]) -> bool {
    let annotations = workloads.iter().filter_map(|object| object["annotations"].as_object());
    annotations
        .flat_map(|all| all.keys())
        .any(|name| name.starts_with(MARKS))
}

async fn declared<K>(client: Client) -> Result<Vec<Value>, SandboxError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Serialize,
{
    let failed = "look at the application";
    let api: Api<K> = Api::namespaced(client, NAMESPACE);
    let found = api.list(&ListParams::default()).await;
    let mut all = Vec::new();
    for object in found.map_err(SandboxError::furnish(failed))? {
        let spec = serde_json::to_value(&object).map_err(SandboxError::furnish(failed))?["spec"].take();
        let meta = object.meta();
        all.push(json!({
            "kind": K::kind(&()), "name": meta.name, "labels": meta.labels, "annotations": meta.annotations, "spec": spec,
        }));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_seen() {
        let object = |annotation: &str| json!({ "annotations": { annotation: "3" } });
        assert!(is_marked(&[
            object("deployment.kubernetes.io/revision"),
            object("jm.dev/x")
        ]));
        assert!(!is_marked(&[
            object("deployment.kubernetes.io/revision"),
            json!({ "annotations": null })
        ]));
    }
}
