//! One setting of a database, for all roles or for one: as a statement, and whether we may set it.

use std::fmt;

use jm_step::StepError;

use crate::catalogue::{RoleSettings, ServerFacts};
use crate::quote::{ident, literal};
use crate::session::ReadSession;

/// Settings whose value is a list of names, each quoted on its own; as in PostgreSQL's own `GUC_LIST_QUOTE`.
const NAME_LISTS: &[&str] = &[
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// What stands in the place of a value that is not shown.
const HIDDEN: &str = "'…'";

/// Settings that no list of the server's shows, and that everybody may set.
const UNLISTED: &str = "role";

/// One setting of a database. Shows without its value.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    role: Option<String>,
    name: String,
    value: String,
}

impl Setting {
    /// Each of these.
    pub fn all(settings: &[RoleSettings]) -> Vec<Self> {
        let each = |of: &RoleSettings| -> Vec<Self> {
            let pairs = of.settings.iter().filter_map(|setting| setting.split_once('='));
            let one = |(name, value): (&str, &str)| Self {
                role: of.role.clone(),
                name: name.to_owned(),
                value: value.to_owned(),
            };
            pairs.map(one).collect()
        };
        settings.iter().flat_map(each).collect()
    }

    /// Whether it is the one of this role that is written as `name=value`.
    pub(crate) fn is(&self, role: Option<&str>, written: &str) -> bool {
        self.role.as_deref() == role && written.split('=').next() == Some(self.name.as_str())
    }

    /// What sets it for a database.
    pub(crate) fn statement(&self, database: &str) -> String {
        self.sets(database, &setting_value(&self.name, &self.value))
    }

    /// The same for people to read. Settings with a dot belong to applications and extensions, some of which keep secrets
    /// there.
    fn shown(&self, database: &str) -> String {
        if self.name.contains('.') {
            return self.sets(database, HIDDEN);
        }
        self.statement(database)
    }

    fn sets(&self, database: &str, value: &str) -> String {
        let alter = alter(&ident(database), self.role.as_deref());
        format!("{alter} SET {} TO {value}", ident(&self.name))
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.role {
            None => write!(f, "`{}`", self.name),
            Some(role) => write!(f, "`{}` of role `{role}`", self.name),
        }
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// That a database goes without settings which the role that asks may not set, and what sets them; `None` where there are
/// none.
pub fn left_out(user: &str, database: &str, settings: &[Setting]) -> Option<String> {
    if settings.is_empty() {
        return None;
    }
    let names: Vec<_> = settings.iter().map(ToString::to_string).collect();
    let statements: Vec<_> = settings
        .iter()
        .map(|setting| format!("`{}`", setting.shown(database)))
        .collect();
    let hidden = if settings.iter().any(|setting| setting.name.contains('.')) {
        " (where `…` stands, with the value, which may be a secret and is not shown)"
    } else {
        ""
    };
    Some(format!(
        "database `{database}` goes without settings that it had, for role `{user}` may not set them: {}; a superuser can, \
         by {}{hidden}",
        names.join(", "),
        statements.join(" and ")
    ))
}

/// Those of the settings that the role which asks, the owner of the database, may not set. Of parameters that only superusers
/// may set the server says which they are, and so since version 15 what was granted; one that it does not know may turn out
/// to be such a one, and counts as that (`ALTER DATABASE … SET`). For another role it takes CREATEROLE, since version 16 with
/// the admin option on that role (`ALTER ROLE … SET`).
pub(crate) async fn may_not_set(
    session: &ReadSession,
    server: &ServerFacts,
    settings: &[RoleSettings],
) -> Result<Vec<Setting>, StepError> {
    let settings = Setting::all(settings);
    if server.superuser || settings.is_empty() {
        return Ok(Vec::new());
    }
    let granted = if server.major() >= 15 {
        "has_parameter_privilege(w.name, 'SET')"
    } else {
        "false"
    };
    let admin = if server.major() >= 16 {
        "pg_has_role(r.oid, 'MEMBER WITH ADMIN OPTION')"
    } else {
        "true"
    };
    let sql = format!(
        "SELECT coalesce(
            (w.role IS NULL OR r.oid = me.oid OR (me.rolcreaterole AND NOT r.rolsuper AND {admin}))
            AND (s.context IN ('user', 'backend') OR lower(w.name) = '{UNLISTED}' OR {granted}), false)
        FROM unnest($1::text[], $2::text[]) WITH ORDINALITY w (role, name, number)
            JOIN pg_roles me ON me.rolname = current_user
            LEFT JOIN pg_roles r ON r.rolname::text = w.role
            LEFT JOIN pg_settings s ON lower(s.name) = lower(w.name)
        ORDER BY w.number"
    );
    let roles: Vec<_> = settings.iter().map(|setting| setting.role.as_deref()).collect();
    let names: Vec<_> = settings.iter().map(|setting| setting.name.as_str()).collect();
    let rows = session.query(&sql, &[&roles, &names]).await?;
    let may: Vec<bool> = rows.iter().map(|row| row.get(0)).collect();
    let refused = settings.into_iter().zip(may).filter(|(_, may)| !may);
    Ok(refused.map(|(setting, _)| setting).collect())
}

/// How statements about a database begin, or about a role in it.
pub(crate) fn alter(database: &str, role: Option<&str>) -> String {
    match role {
        None => format!("ALTER DATABASE {database}"),
        Some(role) => format!("ALTER ROLE {} IN DATABASE {database}", ident(role)),
    }
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
    fn a_setting_that_may_be_a_secret_is_told_without_its_value() {
        let of = |role: Option<&str>, setting: &str| RoleSettings {
            role: role.map(str::to_owned),
            settings: vec![setting.to_owned()],
        };
        let all = Setting::all(&[
            of(None, "app.token=hunter22"),
            of(Some("reader"), "search_path=app, public"),
        ]);
        let told = left_out("app", "d", &all).expect("told");
        assert!(told.contains("`app.token`, `search_path` of role `reader`"), "{told}");
        assert!(
            told.contains("`ALTER ROLE \"reader\" IN DATABASE \"d\" SET \"search_path\" TO 'app', 'public'`"),
            "{told}"
        );
        assert!(
            told.contains("`ALTER DATABASE \"d\" SET \"app.token\" TO '…'`"),
            "{told}"
        );
        assert!(!format!("{told}{all:?}").contains("hunter22"), "{told}");
        assert_eq!(left_out("app", "d", &[]), None);
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
