//! Against a real server: what connects, what is refused, what is read, and that nothing is written.

use jm_step::{Connection, Secret, StepErrorKind};

use crate::quote::literal;
use crate::test_server::{Cut, PASSWORD, PgOptions, PgServer, Proxy, USER, open_config, open_url};
use crate::{ChildEnvironment, CountMode, PostgresConfig, RelationName, TextValue};

fn config(url: &str) -> PostgresConfig {
    PostgresConfig {
        url: Secret::new(url),
        maintenance_database: None,
        ca_file: None,
        query_timeout_seconds: None,
    }
}

#[tokio::test]
async fn a_lost_database_is_not_a_lost_server() {
    let server = PgServer::shared();
    let postgres = server.open("was_never_there").await;
    postgres.ping().await.expect("the server answers");
    let identity = postgres.identity().await.expect("identity").to_string();
    assert!(
        identity.starts_with("database: was_never_there, system: 7"),
        "{identity}"
    );
    assert_eq!(
        postgres.reader().find_database("was_never_there").await.expect("asked"),
        None
    );
    let error = postgres.connect_to("was_never_there", None).await.err().expect("lost");
    assert_eq!(error.kind(), StepErrorKind::NotFound);
}

#[tokio::test]
async fn an_ordinary_role_learns_the_identity_too() {
    let server = PgServer::shared();
    let role = PgServer::unique("plain");
    server
        .sql("postgres", &[&format!("CREATE ROLE {role} LOGIN PASSWORD 'hunter22'")])
        .await;
    let url = format!("postgresql://{role}:hunter22@127.0.0.1:{}/postgres", server.port());
    let facts = open_url(&url).await.reader().server().await.expect("facts");
    assert!(facts.system_identifier.is_some());
    assert!(!facts.superuser && !facts.may_create_databases && facts.data_directory.is_none());
    assert_eq!(facts.major() * 10_000, facts.version_num / 10_000 * 10_000);
}

#[tokio::test]
async fn a_wrong_password_is_denied_and_not_shown() {
    let server = PgServer::shared();
    let url = format!(
        "postgresql://{USER}:wrong-hunter22@127.0.0.1:{}/postgres",
        server.port()
    );
    let error = open_url(&url).await.ping().await.expect_err("denied");
    assert_eq!(error.kind(), StepErrorKind::Denied);
    assert!(error.message().contains("28P01"), "{error}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("password")));
    assert!(!format!("{error:?}").contains("wrong-hunter22"));
    let none = format!("postgresql://{USER}@127.0.0.1:{}/postgres", server.port());
    let error = open_url(&none).await.ping().await.expect_err("no password");
    assert_eq!(error.kind(), StepErrorKind::Denied, "{error}");
}

#[tokio::test]
async fn nobody_at_home_is_unavailable() {
    let error = open_url("postgresql://u@127.0.0.1:1/d")
        .await
        .ping()
        .await
        .expect_err("nobody");
    assert_eq!(error.kind(), StepErrorKind::Unavailable);
    assert!(error.message().contains("127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = silent.local_addr().expect("address").port();
    let postgres = open_url(&format!("postgresql://u@127.0.0.1:{port}/d?connect_timeout=1")).await;
    let error = postgres.ping().await.expect_err("silence");
    assert_eq!(error.kind(), StepErrorKind::Unavailable);
    assert!(error.message().contains("no answer within 1 s"), "{error}");
}

#[tokio::test]
async fn the_next_host_is_tried_and_sockets_work() {
    let server = PgServer::shared();
    let port = server.port();
    let two = format!("postgresql://{USER}:{PASSWORD}@127.0.0.1:1,127.0.0.1:{port}/postgres");
    open_url(&two).await.ping().await.expect("the second host");
    let folder = server.socket_folder().display();
    let socket = format!("host={folder} port={port} user={USER} password={PASSWORD} dbname=postgres");
    open_url(&socket).await.ping().await.expect("the socket");
}

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

#[tokio::test]
async fn a_child_program_gets_in_without_a_secret_in_its_arguments_or_environment() {
    use std::os::unix::fs::PermissionsExt;
    let server = PgServer::shared();
    let postgres = server.open("postgres").await;
    let child = postgres.child_environment("postgres", None).expect("environment");
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
async fn psql(child: &ChildEnvironment, sql: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "a test runs psql by hand")]
    let output = tokio::process::Command::new("psql")
        .args(["-XAtc", sql])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(child.variables())
        .output()
        .await
        .expect("psql");
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).trim().to_owned()
}

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

struct Certificates {
    folder: tempfile::TempDir,
    server: (String, String),
}

impl Certificates {
    /// An authority of our own, and a certificate for `localhost`.
    fn make() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let authority_key = rcgen::KeyPair::generate().expect("key");
        let mut authority = rcgen::CertificateParams::new(Vec::new()).expect("authority");
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = authority.self_signed(&authority_key).expect("signed");
        std::fs::write(folder.path().join("ca.crt"), certificate.pem()).expect("write");
        let other_key = rcgen::KeyPair::generate().expect("key");
        let other = authority.self_signed(&other_key).expect("signed");
        std::fs::write(folder.path().join("other.crt"), other.pem()).expect("write");
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let key = rcgen::KeyPair::generate().expect("key");
        let mut leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("leaf");
        // One that is named like its authority would be taken for an authority by OpenSSL.
        leaf.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
        let leaf = leaf.signed_by(&key, &issuer).expect("signed");
        Self {
            folder,
            server: (leaf.pem(), key.serialize_pem()),
        }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

#[tokio::test]
async fn tls_is_checked_as_sslmode_says() {
    let certificates = Certificates::make();
    let server = PgServer::start_with(&PgOptions {
        tls: Some(certificates.server.clone()),
        ..PgOptions::default()
    });
    let (ca, other) = (certificates.file("ca.crt"), certificates.file("other.crt"));
    let leaf = certificates.file("leaf.crt");
    std::fs::write(&leaf, &certificates.server.0).expect("write");
    let cases = [
        ("localhost", "verify-full", &ca, true),
        ("127.0.0.1", "verify-full", &ca, false),
        ("127.0.0.1", "verify-ca", &ca, true),
        ("localhost", "verify-full", &other, false),
        ("localhost", "verify-ca", &other, false),
        ("localhost", "require", &other, false),
        ("localhost", "verify-full", &leaf, true),
        ("127.0.0.1", "verify-full", &leaf, false),
        ("127.0.0.1", "prefer", &other, true),
        ("127.0.0.1", "disable", &other, true),
    ];
    for (host, mode, roots, good) in cases {
        let address = format!("postgresql://{USER}:{PASSWORD}@{host}:{}/postgres", server.port());
        let url = format!("{address}?hostaddr=127.0.0.1&sslmode={mode}&sslrootcert={roots}");
        let postgres = open_config(config(&url)).await.expect("opened");
        let told = postgres.ping().await;
        assert_eq!(told.is_ok(), good, "{host} {mode} {roots}: {told:?}");
        if let Err(error) = told {
            assert_eq!(error.kind(), StepErrorKind::Failed, "{error}");
            assert!(
                error.hint_text().is_some_and(|hint| hint.contains("ca_file")),
                "{error:?}"
            );
        }
    }
    let mut by_file = config(&format!(
        "postgresql://{USER}:{PASSWORD}@localhost:{}/postgres?sslmode=verify-full&hostaddr=127.0.0.1",
        server.port()
    ));
    by_file.ca_file = Some(ca);
    let postgres = open_config(by_file).await.expect("opened");
    let session = postgres.reader().maintenance(None).await.expect("session");
    let row = session
        .query_one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[])
        .await
        .expect("row");
    assert!(row.get::<_, bool>(0));
    let child = postgres.child_environment("postgres", None).expect("environment");
    let said = psql(&child, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await;
    assert_eq!(said, "t", "a child program checks as we do");
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

#[tokio::test]
async fn a_server_without_tls_is_told_apart() {
    let server = PgServer::shared();
    let url = format!("{}?sslmode=require", server.url("postgres"));
    let error = open_url(&url).await.ping().await.expect_err("no tls");
    assert_eq!(error.kind(), StepErrorKind::Failed);
    assert!(
        error.hint_text().is_some_and(|hint| hint.contains("sslmode=disable")),
        "{error:?}"
    );
}
