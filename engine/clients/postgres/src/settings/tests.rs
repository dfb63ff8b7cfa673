//! Which of several places a setting is taken from.

#![expect(clippy::disallowed_methods, reason = "tests make and read files of their own")]

use super::*;

fn context(variables: &[(&str, &str)]) -> OpenContext {
    let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    OpenContext {
        secrets: Secrets::new(),
        environment: Environment::new(variables),
        run: RunId::generate(),
    }
}

fn config(url: &str) -> PostgresConfig {
    PostgresConfig {
        url: Secret::new(url),
        maintenance_database: None,
        ca_file: None,
        query_timeout_seconds: None,
    }
}

fn resolve(url: &str, variables: &[(&str, &str)]) -> Settings {
    Settings::resolve(&config(url), &context(variables)).unwrap_or_else(|error| panic!("{url}: {error}"))
}

#[test]
fn the_url_wins_over_the_environment() {
    let settings = resolve(
        "postgresql://ann@localhost/app",
        &[("PGUSER", "bob"), ("PGPORT", "6000"), ("PGPASSWORD", "hunter22")],
    );
    assert_eq!((settings.user.as_str(), settings.database.as_str()), ("ann", "app"));
    assert_eq!(settings.address(), "localhost:6000");
    let password = settings.password(&settings.hosts[0], "app").expect("from PGPASSWORD");
    assert_eq!(password.expose(), "hunter22");
    assert!(settings.secrets.occur_in("is it hunter22?"));
}

#[test]
fn several_hosts_keep_their_ports() {
    let settings = resolve("postgresql://u@127.0.0.1:1,[::1]:2/d", &[]);
    assert_eq!(settings.address(), "127.0.0.1:1,[::1]:2");
    assert!(settings.is_local());
    let variables = variables(&settings, "other", None);
    assert_eq!(variables["PGHOST"], "127.0.0.1,::1");
    assert_eq!(variables["PGPORT"], "1,2");
    assert_eq!(variables["PGDATABASE"], "other");
}

#[test]
fn a_server_elsewhere_has_to_prove_itself_unless_told_otherwise() {
    assert_eq!(resolve("postgresql://u@localhost/d", &[]).sslmode, SslMode::Prefer);
    assert_eq!(
        resolve("postgresql://u@db.example/d?sslmode=disable", &[]).sslmode,
        SslMode::Disable
    );
    let quiet = [("PGSSLMODE", "require")];
    assert_eq!(resolve("postgresql://u@db.example/d", &quiet).sslmode, SslMode::Require);
    let hosts = hosts::resolve(Some("db.example"), None, None).expect("hosts");
    assert_eq!(sslmode(None, &hosts, None, None).expect("mode"), SslMode::VerifyFull);
    let roots = Some(Path::new("/x"));
    assert_eq!(
        sslmode(Some("require"), &hosts, roots, None).expect("mode"),
        SslMode::VerifyCa
    );
}

#[test]
fn the_password_file_is_asked_by_host_and_database() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().expect("folder");
    let file = home.path().join(".pgpass");
    std::fs::write(&file, "localhost:5432:app:u:for-app\n*:*:*:u:for-all\n").expect("write");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("mode");
    let settings = resolve(
        "host=localhost user=u dbname=app",
        &[("HOME", &home.path().display().to_string())],
    );
    let password = |database: &str| settings.password(&settings.hosts[0], database).expect("found");
    assert_eq!(password("app").expose(), "for-app");
    assert_eq!(password("postgres").expose(), "for-all");
}

#[test]
fn what_jm_does_not_follow_is_refused_and_not_shown() {
    for (url, word) in [
        ("postgresql://u:hunter22@localhost/d?sslcrl=x", "`sslcrl`"),
        ("postgresql://u:hunter22@localhost:x/d", "port"),
        ("postgresql://u:hunter22@localhost/d?sslmode=maybe", "`sslmode`"),
        (
            "postgresql://u:hunter22@localhost/d?connect_timeout=soon",
            "`connect_timeout`",
        ),
        ("postgresql://u:hunter22@localhost/d?sslcert=x", "`sslkey`"),
    ] {
        let error = Settings::resolve(&config(url), &context(&[])).err().expect(url);
        assert!(error.message().contains(word), "{error}");
        assert!(!format!("{error:?}").contains("hunter22"));
    }
    resolve("postgresql://u@localhost/d?schema=public&connection_limit=5", &[]);
}

#[test]
fn a_session_carries_its_run_and_step() {
    let settings = resolve("postgresql://u@localhost/d", &[]);
    let long: StepId = "a".repeat(63).parse().expect("id");
    assert_eq!(settings.application_name(None), format!("jm/{}", settings.run.short()));
    assert_eq!(settings.application_name(Some(&long)).len(), 63);
}
