//! What belongs to a database's name rather than to its data: owner, grants, settings, connection limit and comment. A
//! dump does not hold it; a copy that takes a database's place has to be given it.

use jm_step::StepError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalogue::{DatabaseFacts, RoleSettings};
use crate::quote::{ident, literal};
use crate::session::{ReadSession, Session};

/// Settings whose value is a list of names, each quoted on its own; as in PostgreSQL's own `GUC_LIST_QUOTE`.
const NAME_LISTS: &[&str] = &[
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// What the comment of a restored copy begins with, on a line of its own. The lines after it are the comment that the
/// database had.
pub const COPY_MARK: &str = "restored by jm";

/// The comment that a restored copy is to have once it is in place, where it knows of one.
pub fn comment_for_later(comment: &str) -> Option<&str> {
    let (first, rest) = comment.split_once('\n')?;
    first.starts_with(COPY_MARK).then_some(rest)
}

/// What belongs to a database's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Belongings {
    /// Who owns it.
    pub owner: String,
    /// Who may do what, the defaults written out.
    pub grants: Vec<Grant>,
    /// Settings that sessions in it start with.
    pub settings: Vec<RoleSettings>,
    /// How many sessions it lets in, -1 for no limit.
    pub connection_limit: i32,
    /// Its comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Somebody may do something with a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Grant {
    /// The role, `None` for everybody.
    pub grantee: Option<String>,
    /// Such as `CONNECT`.
    pub privilege: String,
    /// Whether the role may grant it to others.
    pub grantable: bool,
}

/// A statement, and what errors say instead of it: the value of a setting may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Statement {
    /// What it is about, such as `owner`.
    pub about: &'static str,
    /// The statement.
    pub sql: String,
}

const GRANTS: &str = "
    SELECT jsonb_build_object('grantee', r.rolname, 'privilege', a.privilege_type, 'grantable', a.is_grantable)::text
    FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
        LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE d.oid = $1 AND (a.grantee = 0 OR r.rolname IS NOT NULL)
    ORDER BY r.rolname NULLS FIRST, a.privilege_type";

impl Session {
    /// Who may do what with the database of this number, the defaults written out.
    pub async fn grants(&self, oid: u32) -> Result<Vec<Grant>, StepError> {
        self.json(GRANTS, &[&oid]).await
    }
}

impl ReadSession {
    pub(crate) async fn grants(&self, oid: u32) -> Result<Vec<Grant>, StepError> {
        self.json(GRANTS, &[&oid]).await
    }
}

impl Belongings {
    /// Those of a database that was looked at.
    pub fn new(facts: &DatabaseFacts, grants: Vec<Grant>) -> Self {
        Self {
            owner: facts.owner.clone(),
            grants,
            settings: facts.settings.clone(),
            connection_limit: facts.connection_limit,
            comment: facts.comment.clone(),
        }
    }

    /// What makes a database that has `now` have these instead.
    pub fn statements(&self, name: &str, now: &Self) -> Vec<Statement> {
        let database = ident(name);
        let mut statements = Vec::new();
        let mut put = |about: &'static str, sql: String| statements.push(Statement { about, sql });
        // The owner first: a change of owner rewrites the grants.
        if now.owner != self.owner {
            let owner = ident(&self.owner);
            put("owner", format!("ALTER DATABASE {database} OWNER TO {owner}"));
        }
        if now.grants != self.grants || now.owner != self.owner {
            for sql in regrant(&database, now, self) {
                put("grants", sql);
            }
        }
        if now.settings != self.settings {
            let resets = now.settings.iter().map(|of| reset(&database, of));
            let sets = self.settings.iter().flat_map(|of| settings(&database, of));
            for sql in resets.chain(sets) {
                put("settings", sql);
            }
        }
        if now.connection_limit != self.connection_limit {
            let limit = self.connection_limit;
            put(
                "connection limit",
                format!("ALTER DATABASE {database} CONNECTION LIMIT {limit}"),
            );
        }
        if now.comment != self.comment {
            let comment = self.comment.as_deref().map_or_else(|| "NULL".to_owned(), literal);
            put("comment", format!("COMMENT ON DATABASE {database} IS {comment}"));
        }
        statements
    }
}

fn regrant(database: &str, now: &Belongings, wanted: &Belongings) -> Vec<String> {
    let mut holders: Vec<_> = now.grants.iter().map(|grant| grantee(grant, now, wanted)).collect();
    // Grants that the catalogue does not list hold by default, and are taken back all the same.
    holders.push("PUBLIC".to_owned());
    holders.sort();
    holders.dedup();
    let revoke = |holder: String| format!("REVOKE ALL ON DATABASE {database} FROM {holder} CASCADE");
    let grant = |grant: &Grant| {
        let option = if grant.grantable { " WITH GRANT OPTION" } else { "" };
        let holder = grantee(grant, wanted, wanted);
        format!("GRANT {} ON DATABASE {database} TO {holder}{option}", grant.privilege)
    };
    holders
        .into_iter()
        .map(revoke)
        .chain(wanted.grants.iter().map(grant))
        .collect()
}

/// A change of owner has handed the old owner's grants on to the new one.
fn grantee(grant: &Grant, of: &Belongings, wanted: &Belongings) -> String {
    match &grant.grantee {
        None => "PUBLIC".to_owned(),
        Some(role) if *role == of.owner => ident(&wanted.owner),
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
    fn a_copy_remembers_the_comment_of_the_database() {
        assert_eq!(
            comment_for_later("restored by jm from x\nit's\nours"),
            Some("it's\nours")
        );
        assert_eq!(comment_for_later("restored by jm from x"), None);
        assert_eq!(comment_for_later("a comment\nof people"), None);
    }

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
