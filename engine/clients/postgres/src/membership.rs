//! Whether we may act as another role: give things to it, and change what is its own.

use jm_step::StepError;

use crate::ServerFacts;
use crate::quote::ident;
use crate::session::ReadSession;

/// Roles that we have not the rights of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strangers {
    /// Their names.
    pub roles: Vec<String>,
    /// What to do about it; empty where there are none.
    pub remedy: String,
}

/// Those of the roles whose rights we lack; one that is not there is one of them. What is given to a role (`ALTER … OWNER TO`) is changed as its
/// owner afterwards, so its rights have to be inherited; since PostgreSQL 16 giving is a right apart (`SET`).
pub(crate) async fn strangers(
    session: &ReadSession,
    server: &ServerFacts,
    user: &str,
    roles: &[String],
) -> Result<Strangers, StepError> {
    let may_give = if server.major() >= 16 {
        " AND pg_has_role(r.oid, 'SET')"
    } else {
        ""
    };
    let sql = format!(
        "SELECT DISTINCT w.name, me.rolinherit, coalesce(r.rolsuper, false) FROM unnest($1::text[]) w (name)
            JOIN pg_roles me ON me.rolname = current_user
            LEFT JOIN pg_roles r ON r.rolname::text = w.name
        WHERE NOT coalesce(pg_has_role(r.oid, 'USAGE'){may_give}, false)
        ORDER BY 1"
    );
    let rows = session.query(&sql, &[&roles]).await?;
    let strangers: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let inherits = rows.first().is_none_or(|row| row.get(1));
    let superuser = rows.iter().find(|row| row.get(2)).map(|row| row.get::<_, String>(0));
    Ok(Strangers {
        remedy: superuser.map_or_else(
            || remedy(server.major(), user, &strangers, inherits),
            |superuser| {
                format!("`{superuser}` is a superuser, whose rights none but a superuser should have: let one restore")
            },
        ),
        roles: strangers,
    })
}

fn remedy(major: u32, user: &str, roles: &[String], inherits: bool) -> String {
    if roles.is_empty() {
        return String::new();
    }
    let names: Vec<String> = roles.iter().map(|role| ident(role)).collect();
    let grant = format!("GRANT {} TO {}", names.join(", "), ident(user));
    match (major, inherits) {
        (16.., _) => format!("as a superuser: `{grant} WITH INHERIT TRUE, SET TRUE`"),
        (_, true) => format!("as a superuser: `{grant}`"),
        (_, false) => format!("as a superuser: `{grant}` and `ALTER ROLE {} INHERIT`", ident(user)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_is_what_that_server_understands() {
        let roles = ["app".to_owned(), "a b".to_owned()];
        assert_eq!(
            remedy(15, "jm", &roles, true),
            "as a superuser: `GRANT \"app\", \"a b\" TO \"jm\"`"
        );
        assert_eq!(
            remedy(15, "jm", &roles[..1], false),
            "as a superuser: `GRANT \"app\" TO \"jm\"` and `ALTER ROLE \"jm\" INHERIT`"
        );
        assert_eq!(
            remedy(17, "jm", &roles[..1], true),
            "as a superuser: `GRANT \"app\" TO \"jm\" WITH INHERIT TRUE, SET TRUE`"
        );
        assert_eq!(remedy(15, "jm", &[], true), "");
    }
}
