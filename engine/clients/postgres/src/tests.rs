//! Against a real server: what connects, what is refused, what is read, and that nothing is written.

#![expect(clippy::disallowed_methods, reason = "tests make and read files of their own")]

mod inventory;
mod sessions;

use jm_step::process::Supervisor;
use jm_step::{Connection, Secret, StepErrorKind};

use crate::test_server::{PASSWORD, PgOptions, PgServer, USER, open_config, open_url};
use crate::{ChildEnvironment, PostgresConfig};

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
    let child = postgres
        .child_environment("postgres", None, &Supervisor::none())
        .expect("environment");
    let said = psql(&child, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await;
    assert_eq!(said, "t", "a child program checks as we do");
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
