//! Against a real server: each thing that can be wrong is found, all at once, and nothing else is.

use jm_client_postgres::test_server::PgServer;
use jm_step::{Connection, ErrorSummary, Grade, StepErrorKind};
use serde_json::json;

use super::*;
use crate::bench::bed;

const JOURNEYMAN: &[&str] = &[
    "CREATE TABLE users (id bigserial PRIMARY KEY, name text, created_at timestamptz DEFAULT now())",
    "INSERT INTO users (name) SELECT 'u' || n FROM generate_series(1, 100) n",
    "CREATE TABLE games (id bigserial PRIMARY KEY, at date)",
    "INSERT INTO games (at) VALUES ('2026-11-01')",
    "CREATE TABLE players (id bigserial PRIMARY KEY)",
    "CREATE MATERIALIZED VIEW ranking AS SELECT count(*) FROM users",
    "CREATE INDEX by_name ON users (name)",
];

async fn journeyman(server: &PgServer) -> String {
    let name = server.database("verify").await;
    server.sql(&name, JOURNEYMAN).await;
    name
}

async fn backup_of(server: &PgServer, name: &str) -> Map<String, Value> {
    let inventory = server
        .open(name)
        .await
        .reader()
        .inventory(name, CountMode::Exact, None)
        .await
        .expect("inventory");
    let backup = json!({ "id": "journeyman_backup_20261122", "size": 12, "inventory": inventory });
    backup.as_object().expect("object").clone()
}

fn input(tables: &[&str], compare_to: Option<Map<String, Value>>) -> Input {
    let tables = tables.iter().map(|name| (*name).to_owned()).collect();
    Input {
        tables,
        compare_to,
        ..plain()
    }
}

/// As it is where nothing is given.
fn plain() -> Input {
    serde_json::from_value(json!({})).expect("defaults")
}

async fn verify(server: &PgServer, name: &str, input: Input) -> Result<Output, ErrorSummary> {
    let done = bed(server, name).run(&Verify, input).await;
    done.output.map_err(|error| error.summary())
}

fn found(error: &ErrorSummary) -> Vec<(String, String)> {
    let findings = error.evidence.as_ref().expect("evidence")["findings"]
        .as_array()
        .expect("findings")
        .clone();
    let text = |finding: &Value, field: &str| finding[field].as_str().expect("text").to_owned();
    findings
        .iter()
        .map(|finding| (text(finding, "check"), text(finding, "object")))
        .collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[tokio::test]
async fn a_faithful_copy_passes() {
    let server = PgServer::shared();
    let (original, copy) = (journeyman(server).await, journeyman(server).await);
    let backup = backup_of(server, &original).await;
    let output = verify(server, &copy, input(&["users", "public.games"], Some(backup)))
        .await
        .expect("passes");
    assert!(output.compared);
    assert_eq!((output.tables, output.rows), (3, 101));
    assert_eq!(
        output.critical,
        BTreeMap::from([("public.users".to_owned(), 100), ("public.games".to_owned(), 1)])
    );
}

#[tokio::test]
async fn critical_tables_must_be_there_and_hold_rows() {
    let server = PgServer::shared();
    let name = journeyman(server).await;
    server
        .sql(&name, &["CREATE SCHEMA old", "CREATE TABLE old.game_data (id int)"])
        .await;
    let error = verify(server, &name, input(&["users", "players", "game_data"], None))
        .await
        .expect_err("two");
    assert_eq!(error.kind, StepErrorKind::Failed);
    assert_eq!(
        found(&error),
        pairs(&[("table-empty", "public.players"), ("table-missing", "public.game_data")])
    );
    assert!(error.message.contains("`old.game_data`"), "{}", error.message);
    // No plan need have an input of this or that name, and this one may let the application run again.
    let hint = error.hint.expect("a hint");
    assert!(
        hint.contains("jm plan resume") && hint.contains("jm backup list"),
        "{hint}"
    );
    assert!(!hint.contains("-i ") && !hint.contains("stopped"), "{hint}");
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() {
    let server = PgServer::shared();
    let (original, copy) = (journeyman(server).await, journeyman(server).await);
    server
        .sql(&original, &["CREATE EXTENSION pg_trgm", "CREATE TABLE lost (id int)"])
        .await;
    let backup = backup_of(server, &original).await;
    server
        .sql(
            &copy,
            &[
                "DELETE FROM users WHERE id <= 10",
                "SELECT setval('users_id_seq', 3)",
                "REFRESH MATERIALIZED VIEW ranking WITH NO DATA",
                "UPDATE pg_catalog.pg_index SET indisvalid = false WHERE indexrelid = 'public.by_name'::regclass",
                "ALTER TABLE games ADD CONSTRAINT dated CHECK (at IS NOT NULL) NOT VALID",
            ],
        )
        .await;
    let error = verify(server, &copy, input(&["users"], Some(backup.clone())))
        .await
        .expect_err("seven");
    assert_eq!(
        found(&error),
        pairs(&[
            ("index-invalid", "public.by_name"),
            ("view-unpopulated", "public.ranking"),
            ("constraint-invalid", "public.games.dated"),
            ("sequence-behind", "public.users_id_seq of public.users.id"),
            ("table-missing", "public.lost"),
            ("row-count", "public.users"),
            ("extension-missing", "pg_trgm"),
        ])
    );
    let findings = &error.evidence.as_ref().expect("evidence")["findings"];
    assert_eq!(
        (&findings[5]["expected"], &findings[5]["actual"]),
        (&json!(100), &json!(90))
    );
    assert_eq!(
        (&findings[3]["expected"], &findings[3]["actual"]),
        (&json!(100), &json!(3))
    );
    let tolerant = Input {
        tolerance: 0.1,
        ..input(&["users"], Some(backup))
    };
    assert_eq!(found(&verify(server, &copy, tolerant).await.expect_err("six")).len(), 6);
}

#[tokio::test]
async fn what_was_so_in_the_backup_is_no_finding() {
    let server = PgServer::shared();
    let name = journeyman(server).await;
    server
        .sql(
            &name,
            &[
                "SELECT setval('users_id_seq', 3)",
                "REFRESH MATERIALIZED VIEW ranking WITH NO DATA",
                "ALTER TABLE games ADD CONSTRAINT dated CHECK (at IS NOT NULL) NOT VALID",
            ],
        )
        .await;
    let backup = backup_of(server, &name).await;
    verify(server, &name, input(&["users"], Some(backup)))
        .await
        .expect("faithful");
    assert_eq!(
        found(
            &verify(server, &name, input(&["users"], None))
                .await
                .expect_err("by itself")
        )
        .len(),
        3
    );
}

#[tokio::test]
async fn old_rows_are_stale() {
    let server = PgServer::shared();
    let name = journeyman(server).await;
    let fresh = |table: &str, column: &str, within: &str| Freshness {
        table: table.to_owned(),
        column: column.to_owned(),
        within: within.to_owned(),
    };
    let asked = |freshness| Input { freshness, ..plain() };
    let good = asked(vec![
        fresh("users", "created_at", "1h"),
        fresh("games", "at", "100000d"),
    ]);
    let output = verify(server, &name, good).await.expect("fresh");
    assert_eq!(output.newest["public.games.at"], "2026-11-01T00:00:00Z");
    let bad = asked(vec![fresh("games", "at", "1s"), fresh("nowhere", "at", "1h")]);
    let error = verify(server, &name, bad).await.expect_err("stale");
    assert_eq!(
        found(&error),
        pairs(&[("stale", "public.games.at"), ("table-missing", "public.nowhere")])
    );
}

#[tokio::test]
async fn a_dry_run_knows_what_a_backup_cannot_bring_back() {
    let server = PgServer::shared();
    let name = journeyman(server).await;
    let backup = backup_of(server, &name).await;
    let copy = Some(format!("{name}_jmr_none"));
    let later = Input {
        database: copy.clone(),
        ..input(&["users"], Some(backup.clone()))
    };
    let preview = Verify
        .preview(&bed(server, &name).read(), &later)
        .await
        .expect("declared");
    assert_eq!(preview.grade, Grade::Declared);
    let lost = Input {
        database: copy,
        ..input(&["users", "players", "game_data"], Some(backup))
    };
    let error = Verify
        .preview(&bed(server, &name).read(), &lost)
        .await
        .expect_err("would fail");
    assert!(
        error.message().contains("`public.players`, `public.game_data`"),
        "{error}"
    );
    let now = Verify
        .preview(&bed(server, &name).read(), &input(&["users"], None))
        .await
        .expect("as it is");
    assert_eq!(now.grade, Grade::Verified);
}

#[tokio::test]
async fn a_backup_without_an_inventory_is_not_compared() {
    let server = PgServer::shared();
    let name = journeyman(server).await;
    for backup in [
        json!({}),
        json!({ "inventory": null }),
        json!({ "name": "old.sql.gpg" }),
    ] {
        let backup = backup.as_object().cloned();
        assert!(
            !verify(server, &name, input(&["users"], backup))
                .await
                .expect("passes")
                .compared
        );
    }
    let strange = json!({ "inventory": { "tables": 3 } }).as_object().cloned();
    let error = verify(server, &name, input(&["users"], strange))
        .await
        .expect_err("strange");
    assert_eq!(error.kind, StepErrorKind::InvalidInput);
}

#[test]
fn inputs_are_checked_where_they_stand() {
    let fresh = Freshness {
        table: "a.b.c".to_owned(),
        column: "at".to_owned(),
        within: "soon".to_owned(),
    };
    let input = Input {
        tolerance: 2.0,
        freshness: vec![fresh],
        ..input(&["fine", "not fine"], None)
    };
    let issues = Verify.check(&input).expect_err("four");
    let pointers: Vec<_> = issues.iter().map(|issue| issue.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        ["/tables/1", "/freshness/0/table", "/freshness/0/within", "/tolerance"]
    );
}

#[tokio::test]
async fn a_table_of_another_owner_is_found_unless_the_restore_left_out_owners() {
    let server = PgServer::shared();
    let (original, copy) = (journeyman(server).await, journeyman(server).await);
    let owner = server.role("owner").await;
    let give = format!("ALTER TABLE users OWNER TO {owner}");
    server.sql(&original, &[&give]).await;
    let mut backup = backup_of(server, &original).await;
    backup.insert("roles".to_owned(), json!([owner]));
    let error = verify(server, &copy, input(&[], Some(backup.clone())))
        .await
        .expect_err("another owner");
    assert_eq!(found(&error), pairs(&[("owner", "public.users")]));
    assert!(
        error.message.contains(&format!("expected {owner}, found jm")),
        "{}",
        error.message
    );
    let careless = Input {
        owners: false,
        ..input(&[], Some(backup.clone()))
    };
    verify(server, &copy, careless).await.expect("not asked");
    // A role of the backup is not there: so no owner was restored.
    backup.insert("roles".to_owned(), json!([owner, "nobody_here"]));
    verify(server, &copy, input(&[], Some(backup.clone())))
        .await
        .expect("told by the restore");
    // A backup from before owners were kept.
    backup
        .get_mut("inventory")
        .and_then(Value::as_object_mut)
        .expect("an inventory")
        .remove("owners");
    backup.remove("roles");
    verify(server, &copy, input(&[], Some(backup)))
        .await
        .expect("not known");
}

#[tokio::test]
async fn an_index_that_does_not_fit_its_table_is_found_where_it_is_asked_for() {
    let server = PgServer::shared();
    let name = journeyman(server).await;
    let checked = || Input {
        amcheck: true,
        ..input(&[], None)
    };
    let error = verify(server, &name, checked()).await.expect_err("no extension");
    assert!(
        error.message.contains("does not have the extension `amcheck`"),
        "{}",
        error.message
    );
    // An index keeps the order of its function; then the function changes its mind.
    let order = |text: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION public.fickle(int4, int4) RETURNS int LANGUAGE sql IMMUTABLE AS
            $$ SELECT CASE WHEN $1 = $2 THEN 0 WHEN $1 {text} $2 THEN 1 ELSE -1 END $$"
        )
    };
    let class = "CREATE OPERATOR CLASS fickle_ops FOR TYPE int4 USING btree AS OPERATOR 1 < (int4, int4),
        OPERATOR 2 <= (int4, int4), OPERATOR 3 = (int4, int4), OPERATOR 4 >= (int4, int4), OPERATOR 5 > (int4, int4),
        FUNCTION 1 public.fickle(int4, int4)";
    let statements = [
        "CREATE EXTENSION amcheck",
        &order(">"),
        class,
        "CREATE TABLE numbers AS SELECT n FROM generate_series(1, 1000) n",
        "CREATE INDEX of_numbers ON numbers (n fickle_ops)",
    ];
    server.sql(&name, &statements).await;
    verify(server, &name, checked()).await.expect("sound");
    server.sql(&name, &[&order("<")]).await;
    verify(server, &name, input(&[], None)).await.expect("not asked");
    let error = verify(server, &name, checked()).await.expect_err("damaged");
    assert_eq!(found(&error), pairs(&[("index-corrupt", "public.of_numbers")]));
}
