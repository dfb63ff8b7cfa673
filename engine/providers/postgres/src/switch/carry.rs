//! What belongs to a database's name rather than to its data, and so goes along to the copy that takes its place: owner,
//! grants, settings, connection limit and comment.

use jm_client_postgres::quote::{ident, literal};
use jm_client_postgres::{DatabaseFacts, RoleSettings, Session};
use jm_step::StepError;
use serde::Deserialize;

/// Settings whose value is a list of names, each quoted on its own; as in PostgreSQL's own `GUC_LIST_QUOTE`.
const NAME_LISTS: &[&str] = &[
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// The grants of both databases, the defaults written out.
pub(super) struct Grants {
    copy: Vec<Grant>,
    old: Vec<Grant>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Grant {
    /// `None`: everybody.
    grantee: Option<String>,
    privilege: String,
    grantable: bool,
}

pub(super) async fn grants(session: &Session, copy: u32, old: Option<u32>) -> Result<Grants, StepError> {
    Ok(Grants {
        copy: grants_of(session, copy).await?,
        old: match old {
            Some(old) => grants_of(session, old).await?,
            None => Vec::new(),
        },
    })
}

async fn grants_of(session: &Session, oid: u32) -> Result<Vec<Grant>, StepError> {
    let sql = "
        SELECT jsonb_build_object('grantee', r.rolname, 'privilege', a.privilege_type, 'grantable', a.is_grantable)::text
        FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
            LEFT JOIN pg_roles r ON r.oid = a.grantee
        WHERE d.oid = $1 AND (a.grantee = 0 OR r.rolname IS NOT NULL)
        ORDER BY r.rolname NULLS FIRST, a.privilege_type";
    session.json(sql, &[&oid]).await
}

/// Makes the copy, which bears the name already, what the old database was.
pub(super) async fn over(
    session: &Session,
    name: &str,
    copy: &DatabaseFacts,
    old: &DatabaseFacts,
    grants: &Grants,
) -> Result<(), StepError> {
    for Statement { about, sql } in statements(name, copy, old, grants) {
        session
            .batch(&sql)
            .await
            .map_err(|error| error.context(format_args!("carrying over the {about} of database `{name}`")))?;
    }
    Ok(())
}

/// A statement, and what errors say instead of it: the value of a setting may be a secret.
struct Statement {
    about: &'static str,
    sql: String,
}

fn statements(name: &str, copy: &DatabaseFacts, old: &DatabaseFacts, grants: &Grants) -> Vec<Statement> {
    let database = ident(name);
    let mut statements = Vec::new();
    let mut put = |about: &'static str, sql: String| statements.push(Statement { about, sql });
    // The owner first: a change of owner rewrites the grants.
    if copy.owner != old.owner {
        put(
            "owner",
            format!("ALTER DATABASE {database} OWNER TO {}", ident(&old.owner)),
        );
    }
    if grants.copy != grants.old || copy.owner != old.owner {
        for sql in regrant(&database, copy, old, grants) {
            put("grants", sql);
        }
    }
    if copy.settings != old.settings {
        let resets = copy.settings.iter().map(|of| reset(&database, of));
        let sets = old.settings.iter().flat_map(|of| settings(&database, of));
        for sql in resets.chain(sets) {
            put("settings", sql);
        }
    }
    if copy.connection_limit != old.connection_limit {
        let limit = old.connection_limit;
        put(
            "connection limit",
            format!("ALTER DATABASE {database} CONNECTION LIMIT {limit}"),
        );
    }
    if copy.comment != old.comment {
        let comment = old.comment.as_deref().map_or_else(|| "NULL".to_owned(), literal);
        put("comment", format!("COMMENT ON DATABASE {database} IS {comment}"));
    }
    statements
}

fn regrant(database: &str, copy: &DatabaseFacts, old: &DatabaseFacts, grants: &Grants) -> Vec<String> {
    let mut holders: Vec<_> = grants.copy.iter().map(|grant| grantee(grant, copy, old)).collect();
    // Grants that the catalogue does not list hold by default, and are taken back all the same.
    holders.push("PUBLIC".to_owned());
    holders.sort();
    holders.dedup();
    let revoke = |holder: String| format!("REVOKE ALL ON DATABASE {database} FROM {holder} CASCADE");
    let grant = |grant: &Grant| {
        let option = if grant.grantable { " WITH GRANT OPTION" } else { "" };
        let holder = grantee(grant, old, old);
        format!("GRANT {} ON DATABASE {database} TO {holder}{option}", grant.privilege)
    };
    holders
        .into_iter()
        .map(revoke)
        .chain(grants.old.iter().map(grant))
        .collect()
}

/// A change of owner has handed the copy's owner's grants on to the new one.
fn grantee(grant: &Grant, of: &DatabaseFacts, now: &DatabaseFacts) -> String {
    match &grant.grantee {
        None => "PUBLIC".to_owned(),
        Some(role) if *role == of.owner => ident(&now.owner),
        Some(role) => ident(role),
    }
}

fn alter(database: &str, role: Option<&String>) -> String {
    match role {
        None => format!("ALTER DATABASE {database}"),
        Some(role) => format!("ALTER ROLE {} IN DATABASE {database}", ident(role)),
    }
}

fn reset(database: &str, of: &RoleSettings) -> String {
    format!("{} RESET ALL", alter(database, of.role.as_ref()))
}

fn settings(database: &str, of: &RoleSettings) -> Vec<String> {
    let alter = alter(database, of.role.as_ref());
    let pairs = of.settings.iter().filter_map(|setting| setting.split_once('='));
    pairs
        .map(|(name, value)| format!("{alter} SET {} TO {}", ident(name), setting_value(name, value)))
        .collect()
}

fn setting_value(name: &str, value: &str) -> String {
    if !NAME_LISTS.contains(&name.to_lowercase().as_str()) {
        return literal(value);
    }
    let names: Vec<_> = names(value).iter().map(|name| literal(name)).collect();
    if names.is_empty() {
        "''".to_owned()
    } else {
        names.join(", ")
    }
}

/// The names of a list such as `"$user", public`.
fn names(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut quoted = false;
    let mut chars = list.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => name.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(std::mem::take(&mut name)),
            c if c.is_whitespace() && !quoted => {}
            c => name.push(c),
        }
    }
    names.push(name);
    // An empty list is stored as one empty name in quotes.
    names.retain(|name| !name.is_empty());
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_of_names_are_quoted_name_by_name() {
        assert_eq!(setting_value("search_path", "\"$user\", public"), "'$user', 'public'");
        assert_eq!(setting_value("search_path", "\"\""), "''");
        assert_eq!(setting_value("work_mem", "64MB"), "'64MB'");
        assert_eq!(setting_value("app.list", "a, b"), "'a, b'");
    }

    proptest! {
        #[test]
        fn every_list_of_names_reads_back(list in proptest::collection::vec("[^\\x00]{1,8}", 1..5)) {
            let written: Vec<_> = list.iter().map(|name| ident(name)).collect();
            prop_assert_eq!(names(&written.join(", ")), list);
        }
    }
}
