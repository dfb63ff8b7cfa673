//! What a database is compared by.

use jm_step::Connection;

use crate::CountMode;
use crate::test_server::PgServer;

#[tokio::test]
async fn an_inventory_tells_all_that_can_go_wrong() {
    let server = PgServer::shared();
    let database = server.database("inventory").await;
    server
        .sql(
            &database,
            &[
                "CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text)",
                "INSERT INTO users (name) SELECT 'u' || n FROM generate_series(1, 7) n",
                "CREATE SCHEMA \"Odd \"\"s\"",
                "CREATE TABLE \"Odd \"\"s\".\"T x\" (id serial, at date)",
                "CREATE TABLE parts (id int) PARTITION BY RANGE (id)",
                "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10)",
                "INSERT INTO parts VALUES (1), (2)",
                "CREATE MATERIALIZED VIEW ranking AS SELECT count(*) FROM users",
                "CREATE MATERIALIZED VIEW stale AS SELECT 1 WITH NO DATA",
                "ALTER TABLE users ADD CONSTRAINT named CHECK (name <> '') NOT VALID",
                "CREATE INDEX bad ON users (name)",
                "UPDATE pg_catalog.pg_index SET indisvalid = false WHERE indexrelid = 'public.bad'::regclass",
                "CREATE EXTENSION pg_trgm SCHEMA public",
            ],
        )
        .await;
    let reader = server.open(&database).await;
    let inventory = reader
        .reader()
        .inventory(&database, CountMode::Exact, None)
        .await
        .expect("inventory");
    let rows: Vec<_> = inventory
        .tables
        .iter()
        .map(|(name, rows)| (name.as_str(), rows.rows))
        .collect();
    assert_eq!(
        rows,
        [("\"Odd \"\"s\".\"T x\"", 0), ("public.parts", 2), ("public.users", 7)]
    );
    let sequence = &inventory.sequences["public.users_id_seq"];
    assert_eq!((sequence.last_value, sequence.increment), (Some(7), 1));
    assert_eq!(sequence.columns, [("public.users".to_owned(), "id".to_owned())]);
    assert_eq!(inventory.sequences["\"Odd \"\"s\".\"T x_id_seq\""].columns.len(), 1);
    assert!(inventory.materialized_views["public.ranking"] && !inventory.materialized_views["public.stale"]);
    assert_eq!(inventory.invalid_indexes, ["public.bad"]);
    assert_eq!(inventory.invalid_constraints, ["public.users.named"]);
    assert!(inventory.extensions.contains_key("pg_trgm"));
    assert_eq!(
        (inventory.encoding.as_str(), inventory.collation.as_str()),
        ("UTF8", "C.UTF-8")
    );
    assert!(inventory.size_bytes > 1_000_000);
    let json = serde_json::to_string(&inventory).expect("json");
    assert_eq!(
        serde_json::from_str::<crate::Inventory>(&json).expect("back"),
        inventory
    );
    server.sql(&database, &["ANALYZE"]).await;
    let estimated = reader
        .reader()
        .inventory(&database, CountMode::Estimated, None)
        .await
        .expect("inventory");
    assert_eq!(
        (
            estimated.tables["public.users"].rows,
            estimated.tables["public.users"].exact
        ),
        (7, false)
    );
}

#[tokio::test]
async fn an_inventory_on_a_snapshot_sees_its_moment() {
    let server = PgServer::shared();
    let database = server.database("snapshot").await;
    server
        .sql(&database, &["CREATE TABLE t (id int)", "INSERT INTO t VALUES (1)"])
        .await;
    let postgres = server.open(&database).await;
    let snapshot = postgres
        .reader()
        .export_snapshot(&database, None)
        .await
        .expect("snapshot");
    server.sql(&database, &["INSERT INTO t VALUES (2)"]).await;
    let reader = postgres.reader();
    let then = reader
        .inventory(&database, CountMode::Exact, Some(snapshot.id()))
        .await
        .expect("then");
    let now = reader.inventory(&database, CountMode::Exact, None).await.expect("now");
    assert_eq!((then.tables["public.t"].rows, now.tables["public.t"].rows), (1, 2));
    assert!(snapshot.is_held());
    let id = snapshot.id().to_owned();
    drop(snapshot);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    reader
        .inventory(&database, CountMode::Exact, Some(&id))
        .await
        .expect_err("the snapshot is gone");
}
