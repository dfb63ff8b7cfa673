//! Sessions: what they may, what they leave, how they end.

use jm_step::process::Supervisor;
use jm_step::{Connection, StepErrorKind};

use super::psql;
use crate::quote::literal;
use crate::test_server::{Cut, PASSWORD, PgOptions, PgServer, Proxy, open_url};
use crate::{CountMode, RelationName, TextValue};

#[tokio::test]
async fn a_reader_cannot_write() {
    let server = PgServer::shared();
    let database = server.database("reader").await;
    let postgres = server.open(&database).await;
    let session = postgres.reader().connect_to(&database, None).await.expect("session");
    let refused = session
        .query("CREATE TABLE public.x ()", &[])
        .await
        .expect_err("read-only");
    assert_eq!(refused.kind(), StepErrorKind::Denied, "{refused}");
    session.begin_sealed().await.expect("sealed");
    let opened = session
        .query("SET TRANSACTION READ WRITE", &[])
        .await
        .expect_err("sealed");
    assert!(opened.message().contains("must be set before any query"), "{opened}");
}

#[tokio::test]
async fn values_are_parameters_of_any_type() {
    let postgres = PgServer::shared().open("postgres").await;
    let session = postgres.reader().connect_to("postgres", None).await.expect("session");
    let value = |text: &str| TextValue(Some(text.to_owned()));
    let row = session
        .query_one(
            "SELECT ($1::int + 1)::text, $2::text, ($3::date + 1)::text, $4::int IS NULL",
            &[&value("41"), &value("'; DROP"), &value("2026-11-22"), &TextValue(None)],
        )
        .await
        .expect("row");
    assert_eq!(row.get::<_, &str>(0), "42");
    assert_eq!(row.get::<_, &str>(1), "'; DROP");
    assert_eq!(row.get::<_, &str>(2), "2026-11-23");
    assert!(row.get::<_, bool>(3));
}

#[tokio::test]
async fn a_child_program_gets_in_without_a_secret_in_its_arguments_or_environment() {
    use std::os::unix::fs::PermissionsExt;
    let server = PgServer::shared();
    let postgres = server.open("postgres").await;
    let child = postgres
        .child_environment("postgres", None, &Supervisor::none())
        .expect("environment");
    assert!(child.variables().values().all(|value| !value.contains(PASSWORD)));
    let file = std::path::PathBuf::from(&child.variables()["PGPASSFILE"]);
    let mode = |path: &std::path::Path| path.metadata().expect("meta").permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().expect("folder"))), (0o600, 0o700));
    let said = psql(
        &child,
        "SELECT current_user || ' ' || current_setting('application_name')",
    )
    .await;
    assert!(said.starts_with("jm jm/"), "{said}");
    drop(child);
    assert!(!file.exists());
}

/// What psql answers, or why it does not.

#[tokio::test]
async fn a_connection_that_goes_at_commit_leaves_it_open() {
    let server = PgServer::shared();
    let database = server.database("commit").await;
    server.sql(&database, &["CREATE TABLE t (id int)"]).await;
    for (cut, rows) in [
        (Cut::Before(b"COMMIT".to_vec()), "0"),
        (Cut::AfterAnswerTo(b"COMMIT".to_vec()), "1"),
    ] {
        let proxy = Proxy::start(server.port(), cut, 1).await;
        let postgres = open_url(&server.url_on(proxy.port(), &database)).await;
        let session = postgres.connect_to(&database, None).await.expect("session");
        session
            .batch("BEGIN; INSERT INTO public.t VALUES (1)")
            .await
            .expect("insert");
        let error = session.commit().await.expect_err("cut");
        assert_eq!(error.kind(), StepErrorKind::Ambiguous, "{error}");
        assert_eq!(proxy.cuts(), 1);
        assert_eq!(
            server.text(&database, "SELECT count(*) FROM public.t").await.as_deref(),
            Some(rows)
        );
    }
}

#[tokio::test]
async fn a_statement_ends_with_the_step_that_asked_for_it() {
    let server = PgServer::shared();
    let postgres = server.open("postgres").await;
    let session = postgres.connect_to("postgres", None).await.expect("session");
    let pid = session.pid();
    let short = std::time::Duration::from_millis(200);
    tokio::time::timeout(short, session.query("SELECT pg_sleep(600)", &[]))
        .await
        .expect_err("it sleeps");
    for _ in 0..50 {
        let busy = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND state = 'active'");
        if server.text("postgres", &busy).await.as_deref() == Some("0") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the statement still runs");
}

#[tokio::test]
async fn looking_leaves_no_trace_in_the_servers_log() {
    let server = PgServer::start();
    let database = server.database("quiet").await;
    let before = server.log();
    let postgres = server.open(&database).await;
    postgres.ping().await.expect("alive");
    postgres
        .reader()
        .inventory(&database, CountMode::Exact, None)
        .await
        .expect("inventory");
    drop(
        postgres
            .reader()
            .export_snapshot(&database, None)
            .await
            .expect("snapshot"),
    );
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(server.log(), before);
}

#[tokio::test]
async fn sessions_of_a_step_are_found_by_name_and_ended() {
    let server = PgServer::shared();
    let postgres = server.open("postgres").await;
    let step = "restore".parse().expect("id");
    let session = postgres.connect_to("postgres", Some(&step)).await.expect("session");
    let other = server
        .open("postgres")
        .await
        .connect_to("postgres", Some(&step))
        .await
        .expect("another run's");
    assert_eq!(postgres.end_sessions_of(&step).await.expect("ended"), 1);
    let error = session.query("SELECT 1", &[]).await.expect_err("it was ended");
    assert_eq!(error.kind(), StepErrorKind::Unavailable, "{error}");
    other.query("SELECT 1", &[]).await.expect("another run's session lives");
}

#[tokio::test]
async fn a_killed_server_is_unavailable_and_comes_back_as_itself() {
    let mut server = PgServer::start_with(&PgOptions {
        durable: true,
        ..PgOptions::default()
    });
    let postgres = server.open("postgres").await;
    let before = postgres.identity().await.expect("identity");
    let free = postgres.reader().free_bytes().await.expect("asked");
    assert_eq!(free.is_some(), rustix::process::geteuid().is_root(), "{free:?}");
    server.kill();
    let error = postgres.ping().await.expect_err("it is dead");
    assert_eq!(error.kind(), StepErrorKind::Unavailable, "{error}");
    server.resume();
    assert_eq!(postgres.identity().await.expect("identity"), before);
}

/// Names that break what is quoted carelessly, and some that chance made.
fn odd_names() -> Vec<String> {
    use proptest::strategy::{Strategy, ValueTree};
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = "[^\\x00]{1,15}";
    let mut by_chance = || strategy.new_tree(&mut runner).expect("a name").current();
    let chosen = [
        "user", "a.b", "a\"b", "\"", "it's", "\\", "$1", "--", "/*", "é", " ", "Ä\n",
    ]
    .map(str::to_owned);
    let chance: Vec<_> = (0..200).map(|_| by_chance()).collect();
    chosen.into_iter().chain(chance).collect()
}

#[tokio::test]
async fn the_server_reads_every_quoted_name_and_value_as_it_was() {
    let postgres = PgServer::shared().open("postgres").await;
    let session = postgres.reader().connect_to("postgres", None).await.expect("session");
    for name in odd_names() {
        let relation = RelationName::new(format!("{name}s"), name.as_str());
        let row = session
            .query_one(
                &format!("SELECT parse_ident($1), {}", literal(&name)),
                &[&relation.sql()],
            )
            .await
            .unwrap_or_else(|error| panic!("{name:?}: {error}"));
        assert_eq!(row.get::<_, Vec<String>>(0), [relation.schema, relation.name]);
        assert_eq!(row.get::<_, String>(1), name);
    }
}
