//! What belongs to a database's name rather than to its data: owner, grants, settings, connection limit and comment. A
//! dump does not hold it; a copy that takes a database's place has to be given it.

use std::fmt;

use jm_step::StepError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalogue::{DatabaseFacts, RoleSettings};
use crate::quote::{ident, literal};
use crate::session::{ReadSession, Session};
use crate::setting::{Setting, alter};

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
    /// What it is about.
    pub about: About,
    /// The statement.
    pub sql: String,
}

/// What a statement changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// Who owns the database.
    Owner,
    /// Who may do what.
    Grants,
    /// Settings that are taken away before others are set.
    Reset,
    /// One setting.
    Setting(Setting),
    /// How many sessions it lets in.
    ConnectionLimit,
    /// Its comment.
    Comment,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Owner => "owner",
            Self::Grants => "grants",
            Self::Reset | Self::Setting(_) => "settings",
            Self::ConnectionLimit => "connection limit",
            Self::Comment => "comment",
        })
    }
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
        let mut put = |about: About, sql: String| statements.push(Statement { about, sql });
        // The owner first: a change of owner rewrites the grants.
        if now.owner != self.owner {
            let owner = ident(&self.owner);
            put(About::Owner, format!("ALTER DATABASE {database} OWNER TO {owner}"));
        }
        if now.grants != self.grants || now.owner != self.owner {
            for sql in regrant(&database, now, self) {
                put(About::Grants, sql);
            }
        }
        if now.settings != self.settings {
            for of in &now.settings {
                put(
                    About::Reset,
                    format!("{} RESET ALL", alter(&database, of.role.as_deref())),
                );
            }
            for setting in Setting::all(&self.settings) {
                let sql = setting.statement(name);
                put(About::Setting(setting), sql);
            }
        }
        if now.connection_limit != self.connection_limit {
            let limit = self.connection_limit;
            put(
                About::ConnectionLimit,
                format!("ALTER DATABASE {database} CONNECTION LIMIT {limit}"),
            );
        }
        if now.comment != self.comment {
            let comment = self.comment.as_deref().map_or_else(|| "NULL".to_owned(), literal);
            put(About::Comment, format!("COMMENT ON DATABASE {database} IS {comment}"));
        }
        statements
    }

    /// Takes settings away.
    pub fn leave_out(&mut self, settings: &[Setting]) {
        for of in &mut self.settings {
            let RoleSettings { role, settings: kept } = of;
            kept.retain(|kept| !settings.iter().any(|left| left.is(role.as_deref(), kept)));
        }
        self.settings.retain(|of| !of.settings.is_empty());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_remembers_the_comment_of_the_database() {
        assert_eq!(
            comment_for_later("restored by jm from x\nit's\nours"),
            Some("it's\nours")
        );
        assert_eq!(comment_for_later("restored by jm from x"), None);
        assert_eq!(comment_for_later("a comment\nof people"), None);
    }
}
