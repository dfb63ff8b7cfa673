//! What the role of a target may do: read from the catalogue, which tells it to everybody.
//!
//! The rights are `CONNECT` to the database; `pg_read_all_data`, or else reading all that is there; `CREATEDB`; `OWNER`, to
//! own the database and what is in it, by oneself or through a role, which is to read it, too; `pg_signal_backend`, for the
//! sessions of roles that are not ours; and `SQL`, for what only a statement of somebody's knows.

use std::collections::BTreeSet;

use jm_step::{Policy, PolicyForm, Right, Rights, Standing, StepError};
use serde::Deserialize;

use crate::quote::ident;
use crate::session::ReadSession;
use crate::{Reader, Whose};

const CONNECT: &str = "CONNECT";
const READ: &str = "pg_read_all_data";
const OWNER: &str = "OWNER";
const CREATEDB: &str = "CREATEDB";
const SIGNAL: &str = "pg_signal_backend";
const SQL: &str = "SQL";
const KNOWN: [&str; 6] = [CONNECT, READ, OWNER, CREATEDB, SIGNAL, SQL];

/// What the role is, on the whole server.
#[derive(Debug, Deserialize)]
struct RoleFacts {
    superuser: bool,
    createdb: bool,
    createrole: bool,
    replication: bool,
    bypassrls: bool,
    /// Superusers that it can become.
    superusers: Vec<String>,
    /// The server's own roles that it is a member of, directly or not.
    predefined: Vec<String>,
}

const ROLE: &str = "
    SELECT jsonb_build_object('superuser', me.rolsuper, 'createdb', me.rolcreatedb, 'createrole', me.rolcreaterole,
        'replication', me.rolreplication, 'bypassrls', me.rolbypassrls,
        'superusers', (SELECT coalesce(jsonb_agg(r.rolname ORDER BY 1), '[]') FROM pg_roles r
            WHERE r.rolsuper AND r.oid <> me.oid AND pg_has_role(r.oid, 'MEMBER')),
        'predefined', (SELECT coalesce(jsonb_agg(r.rolname ORDER BY 1), '[]') FROM pg_roles r
            WHERE r.rolname LIKE 'pg\\_%' AND r.rolname <> 'pg_database_owner' AND pg_has_role(r.oid, 'MEMBER')))::text
    FROM pg_roles me WHERE me.rolname = current_user";

/// What the role may do in one database.
#[derive(Debug, Deserialize)]
struct PlaceFacts {
    owner: String,
    owns_database: bool,
    /// Whether it may make schemas in it.
    creates: bool,
    /// Schemas in which it may make something.
    schemas: Vec<String>,
    /// Owners of what is in it whose rights it lacks.
    strange_owners: Vec<String>,
    /// Tables that it cannot read, or not whole.
    unread: Vec<String>,
    /// Tables that it may change.
    changed: Vec<String>,
    /// Whether rows of some tables are hidden from whoever does not bypass that.
    hides_rows: bool,
}

const PLACE: &str = "
    WITH own AS (
        SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name, c.relowner, c.relrowsecurity, c.relkind,
            n.oid AS schema
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'm', 'S', 'v', 'f') AND c.relpersistence <> 't'
            AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%')
    SELECT jsonb_build_object('owner', pg_get_userbyid(d.datdba), 'owns_database', pg_has_role(d.datdba, 'USAGE'),
        'creates', has_database_privilege(d.oid, 'CREATE'),
        'schemas', (SELECT coalesce(jsonb_agg(nspname ORDER BY 1), '[]') FROM pg_namespace
            WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%' AND has_schema_privilege(oid, 'CREATE')),
        'strange_owners', (SELECT coalesce(jsonb_agg(DISTINCT pg_get_userbyid(relowner)), '[]') FROM own
            WHERE NOT pg_has_role(relowner, 'USAGE')),
        'unread', (SELECT coalesce(jsonb_agg(name ORDER BY 1), '[]') FROM own WHERE relkind <> 'v'
            AND NOT (has_schema_privilege(schema, 'USAGE')
                AND CASE relkind WHEN 'S' THEN has_sequence_privilege(oid, 'SELECT') ELSE has_table_privilege(oid, 'SELECT') END
                AND NOT row_security_active(oid))),
        'changed', (SELECT coalesce(jsonb_agg(name ORDER BY 1), '[]') FROM own WHERE relkind NOT IN ('S', 'v')
            AND has_schema_privilege(schema, 'USAGE') AND has_table_privilege(oid, 'INSERT, UPDATE, DELETE, TRUNCATE')),
        'hides_rows', (SELECT coalesce(bool_or(relrowsecurity), false) FROM own))::text
    FROM pg_database d WHERE d.datname = current_database()";

/// Whether this is a right of a PostgreSQL server.
pub(crate) fn is_known(right: &str) -> bool {
    KNOWN.contains(&right)
}

/// Without what another one of them includes.
fn narrowed(needed: &Rights) -> BTreeSet<&'static str> {
    let owns = needed.contains(OWNER);
    let included = |right: &&&str| owns && [CONNECT, READ].contains(*right);
    needed.iter().filter(|right| !included(right)).copied().collect()
}

impl Reader {
    /// How it stands with the rights that are needed, and which others the role has.
    pub async fn rights(&self, needed: &Rights) -> Result<Vec<Right>, StepError> {
        let needed = narrowed(needed);
        let role: Option<RoleFacts> = self.maintenance(None).await?.json(ROLE, &[]).await?.pop();
        let role = role.ok_or_else(|| StepError::failed("the server does not know the role that asks"))?;
        if role.superuser {
            let held = needed.iter().map(|right| Right::needed(*right, true));
            return Ok(held.chain([excess("SUPERUSER").note("it may do everything")]).collect());
        }
        let place = self.place().await?;
        let mut rights = Vec::new();
        for right in &needed {
            rights.push(self.standing(right, &role, place.as_ref()).await?);
        }
        rights.extend(role.beyond(&needed, place.as_ref()));
        rights.extend(place.iter().flat_map(|place| place.beyond(&needed)));
        Ok(rights)
    }

    /// What the role may do in the target's database; `None` where it does not get in.
    async fn place(&self) -> Result<Option<PlaceFacts>, StepError> {
        match self.connect_to(self.database(), None).await {
            Ok(session) => place(&session).await.map(Some),
            Err(error) if crate::reader::is_about_the_database(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn standing(
        &self,
        right: &'static str,
        role: &RoleFacts,
        place: Option<&PlaceFacts>,
    ) -> Result<Right, StepError> {
        let database = self.database();
        let user = ident(self.user());
        Ok(match (right, place) {
            (CREATEDB, _) => Right::needed(right, role.createdb),
            (SIGNAL, _) => self.may_signal(role).await?,
            (SQL, _) => {
                Right::new(right, Standing::NotAsked).note("what the statements of the plan need, they alone know")
            }
            (CONNECT, Some(_)) => Right::needed(right, true),
            (READ, Some(place)) if place.unread.is_empty() => Right::needed(right, true),
            (READ, Some(place)) => {
                let why = format!("it cannot read all of {}", some(&place.unread));
                let rows = if place.hides_rows {
                    ", whose rows may be hidden: see BYPASSRLS"
                } else {
                    ""
                };
                Right::needed(right, false).note(format!("{why}{rows}"))
            }
            (_, Some(place)) if !place.owns_database => {
                let owner = ident(&place.owner);
                Right::needed(right, false).note(format!("`GRANT {owner} TO {user}`"))
            }
            (_, Some(place)) if !place.strange_owners.is_empty() => {
                let owners: Vec<String> = place.strange_owners.iter().map(|owner| ident(owner)).collect();
                let grant = format!("`GRANT {} TO {user}`, who own things in it", owners.join(", "));
                Right::needed(right, false).note(grant)
            }
            (_, Some(_)) => Right::needed(right, true),
            (CONNECT, None) if self.find_database(database).await?.is_some() => Right::needed(right, false),
            (_, None) => {
                let why = format!("the role does not get into database `{database}`, if there is one");
                Right::new(right, Standing::NotAsked).note(why)
            }
        })
    }

    /// Sessions of other roles are what it is needed for; where there are none, it may never be.
    async fn may_signal(&self, role: &RoleFacts) -> Result<Right, StepError> {
        if role.has(SIGNAL) {
            return Ok(Right::needed(SIGNAL, true));
        }
        let database = self.database().to_owned();
        let sessions = self.sessions(&[database], Whose::NotSuperusers).await?;
        Ok(if sessions.iter().any(|session| !session.may_end) {
            Right::needed(SIGNAL, false).note("other roles have sessions in the database")
        } else {
            Right::new(SIGNAL, Standing::NotAsked)
                .note("it is needed where other roles have sessions in the database; none has one now")
        })
    }

    /// The statements that give a role what is needed.
    pub fn policy_for(&self, needed: &Rights) -> Policy {
        let (role, database) = (ident(self.user()), ident(self.database()));
        let head = format!(
            "-- For psql, as a superuser, connected to {database}; once, where the role is not there yet:\n\
             -- CREATE ROLE {role} LOGIN;\n\
             -- \\password {role}\n"
        );
        let statements = narrowed(needed).into_iter().map(|right| match right {
            CONNECT => format!("GRANT CONNECT ON DATABASE {database} TO {role};\n"),
            CREATEDB => format!("ALTER ROLE {role} CREATEDB;\n"),
            OWNER => format!(
                "-- Or `GRANT …` the owner of the database; and each owner of what is in it:\n\
                 ALTER DATABASE {database} OWNER TO {role};\n"
            ),
            SQL => format!("-- What the plan's own statements read or change: GRANT SELECT ON … TO {role};\n"),
            predefined => format!("GRANT {predefined} TO {role};\n"),
        });
        Policy {
            form: PolicyForm::Sql,
            text: std::iter::once(head).chain(statements).collect(),
        }
    }
}

async fn place(session: &ReadSession) -> Result<PlaceFacts, StepError> {
    let facts: Option<PlaceFacts> = session.json(PLACE, &[]).await?.pop();
    facts.ok_or_else(|| StepError::failed("the server does not know the database that it lets us into"))
}

impl RoleFacts {
    fn has(&self, predefined: &str) -> bool {
        self.predefined.iter().any(|role| role == predefined)
    }

    /// What it is beyond what is needed.
    fn beyond(&self, needed: &BTreeSet<&'static str>, place: Option<&PlaceFacts>) -> Vec<Right> {
        let sees_rows = needed.contains(READ) && place.is_none_or(|place| place.hides_rows);
        let attributes = [
            (self.createdb && !needed.contains(CREATEDB), CREATEDB),
            (self.createrole, "CREATEROLE"),
            (self.replication, "REPLICATION"),
            (self.bypassrls && !sees_rows, "BYPASSRLS"),
        ];
        let attributes = attributes.into_iter().filter(|(beyond, _)| *beyond);
        let roles = self.predefined.iter().filter(|role| !needed.contains(role.as_str()));
        attributes
            .map(|(_, attribute)| excess(attribute))
            .chain(roles.map(|role| excess(role)))
            .chain(
                self.superusers
                    .iter()
                    .map(|role| excess(role).note("it can become this superuser")),
            )
            .collect()
    }
}

impl PlaceFacts {
    /// What it may do in the database beyond what is needed; its owner may do everything there.
    fn beyond(&self, needed: &BTreeSet<&'static str>) -> Vec<Right> {
        if needed.contains(OWNER) {
            return Vec::new();
        }
        if self.owns_database {
            return vec![excess(OWNER).note("it owns the database")];
        }
        let mut beyond = Vec::new();
        if !self.changed.is_empty() {
            beyond.push(excess("INSERT, UPDATE, DELETE, TRUNCATE").note(format!("on {}", some(&self.changed))));
        }
        if self.creates {
            beyond.push(excess("CREATE").note("in the database"));
        }
        beyond.extend(
            self.schemas
                .iter()
                .map(|schema| excess("CREATE").note(format!("in schema `{schema}`"))),
        );
        beyond
    }
}

fn excess(right: &str) -> Right {
    Right::new(right, Standing::Excess)
}

/// The first of some names.
fn some(names: &[String]) -> String {
    match names {
        [one] => format!("`{one}`"),
        [first, rest @ ..] => format!("`{first}` and {} others", rest.len()),
        [] => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use crate::test_server::{PgServer, open_url};

    use super::*;

    async fn rights(server: &PgServer, role: &str, database: &str, needed: &[&'static str]) -> Vec<(String, Standing)> {
        let reader = open_url(&server.url_of(role, database)).await;
        let needed = needed.iter().copied().collect();
        let rights = jm_step::Connection::reader(&reader)
            .rights(&needed)
            .await
            .expect("told");
        rights.into_iter().map(|right| (right.right, right.standing)).collect()
    }

    /// Applies what is printed for a role.
    async fn apply(server: &PgServer, role: &str, database: &str, needed: &[&'static str]) {
        let reader = open_url(&server.url_of(role, database)).await;
        let policy = jm_step::Connection::reader(&reader).policy_for(&needed.iter().copied().collect());
        let statements = policy.text.lines().filter(|line| !line.starts_with("--"));
        server.sql(database, &statements.collect::<Vec<_>>()).await;
    }

    #[tokio::test]
    async fn what_is_printed_is_what_is_needed_and_no_more() {
        let server = PgServer::shared();
        let database = server.database("rights").await;
        server.sql(&database, &["CREATE TABLE users (id serial)"]).await;
        let needed = [CONNECT, READ];
        let role = server.role("reads").await;
        server.sql(&database, &[&format!("ALTER ROLE {role} NOCREATEDB")]).await;
        let before = rights(server, &role, &database, &needed).await;
        assert_eq!(
            before,
            [
                (CONNECT.to_owned(), Standing::Held),
                (READ.to_owned(), Standing::Missing)
            ]
        );
        apply(server, &role, &database, &needed).await;
        let after = rights(server, &role, &database, &needed).await;
        assert!(
            after.iter().all(|(_, standing)| *standing == Standing::Held),
            "{after:?}"
        );

        let owner = server.role("owns").await;
        let needed = [OWNER, CREATEDB, CONNECT, READ];
        apply(server, &owner, &database, &needed).await;
        let (missing, held) = (Standing::Missing, Standing::Held);
        let stands = rights(server, &owner, &database, &needed).await;
        assert_eq!(
            stands,
            [(CREATEDB.to_owned(), held), (OWNER.to_owned(), missing)],
            "of the table"
        );
        server
            .sql(&database, &[&format!("ALTER TABLE users OWNER TO {owner}")])
            .await;
        let stands = rights(server, &owner, &database, &needed).await;
        assert_eq!(stands, [(CREATEDB.to_owned(), held), (OWNER.to_owned(), held)]);
    }

    #[tokio::test]
    async fn what_a_role_may_do_besides_is_told() {
        let server = PgServer::shared();
        let database = server.database("beyond").await;
        let role = server.role("beyond").await;
        server
            .sql(
                &database,
                &[
                    "CREATE TABLE users (id int)",
                    "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
                    &format!("GRANT SELECT, DELETE ON users TO {role}"),
                    &format!("GRANT pg_monitor TO {role}"),
                    &format!("ALTER ROLE {role} CREATEDB REPLICATION"),
                    &format!("GRANT CREATE ON DATABASE {database} TO {role}"),
                ],
            )
            .await;
        let told = rights(server, &role, &database, &[CONNECT, READ]).await;
        assert!(
            told.contains(&(READ.to_owned(), Standing::Missing)),
            "rows are hidden: {told:?}"
        );
        for right in [
            CREATEDB,
            "REPLICATION",
            "pg_monitor",
            "INSERT, UPDATE, DELETE, TRUNCATE",
            "CREATE",
        ] {
            assert!(
                told.contains(&(right.to_owned(), Standing::Excess)),
                "{right}: {told:?}"
            );
        }
        server.sql(&database, &[&format!("ALTER ROLE {role} BYPASSRLS")]).await;
        let told = rights(server, &role, &database, &[CONNECT, READ]).await;
        assert!(told.contains(&(READ.to_owned(), Standing::Held)), "{told:?}");
        assert!(!told.iter().any(|(right, _)| right == "BYPASSRLS"), "{told:?}");
        let superuser = jm_step::Connection::reader(&server.open(&database).await)
            .rights(&[READ].into_iter().collect())
            .await;
        let superuser = superuser.expect("told");
        assert_eq!(superuser.last().map(|right| right.right.as_str()), Some("SUPERUSER"));
    }

    #[tokio::test]
    async fn a_database_that_is_lost_is_not_asked() {
        let server = PgServer::shared();
        let role = server.role("lost").await;
        let told = rights(server, &role, "never_there", &[OWNER, CREATEDB]).await;
        assert_eq!(
            told,
            [
                (CREATEDB.to_owned(), Standing::Held),
                (OWNER.to_owned(), Standing::NotAsked)
            ]
        );
    }
}
