//! Against a real server: switched once, whatever happens on the way, and never left closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jm_client_postgres::test_server::{PgOptions, PgServer, open_url};
use jm_step::{Grade, RunId};

use super::*;
use crate::bench::{Bed, bed, bed_at, facts};

mod faults;
mod meant;

/// An old database that says `old` and a restored copy that says `new`.
async fn pair(server: &PgServer) -> (String, String) {
    let old = server.database("app").await;
    let copy = format!("{old}_jmr_x");
    server
        .sql("postgres", &[&format!("CREATE DATABASE {copy} TEMPLATE template0")])
        .await;
    for (name, text) in [(&old, "old"), (&copy, "new")] {
        server
            .sql(
                name,
                &[
                    "CREATE TABLE who (is_it text)",
                    &format!("INSERT INTO who VALUES ('{text}')"),
                ],
            )
            .await;
    }
    (old, copy)
}

fn input(copy: &str) -> Input {
    Input {
        from: copy.to_owned(),
        to: None,
        keep_old: None,
        since: None,
        seen: None,
        wait_seconds: 30,
    }
}

async fn who(server: &PgServer, database: &str) -> Option<String> {
    server.text(database, "SELECT is_it FROM public.who").await
}

/// What a resume does: asks the probe, and runs again with what was saved where that is needed.
async fn resume(bed: Bed, saved: serde_json::Value, copy: &str) -> Output {
    let bed = bed.saved(saved);
    match Switch.probe(&bed.read(), &input(copy)).await.expect("probed") {
        Probe::Succeeded(output) => output,
        Probe::Running => panic!("nothing runs any more"),
        _ => bed.run(&Switch, input(copy)).await.output.expect("switched"),
    }
}

#[tokio::test]
async fn the_copy_takes_the_place_and_the_old_one_is_kept() {
    let server = PgServer::shared();
    let (old, copy) = pair(server).await;
    let preview = Switch
        .preview(&bed(server, &old).read(), &input(&copy))
        .await
        .expect("preview");
    let bed = bed(server, &old);
    let done = bed.run(&Switch, input(&copy)).await;
    let output = done.output.expect("switched");
    assert_eq!(preview.grade, Grade::Computed);
    assert_eq!(preview.changes, done.told.changes);
    assert_eq!(
        done.told.outputs,
        [serde_json::to_value(&output).expect("json")],
        "saved before the effect"
    );
    let aside = output.old_database.clone().expect("kept");
    assert!(aside.starts_with(&format!("{old}_old_")));
    assert_eq!(who(server, &old).await.as_deref(), Some("new"));
    assert_eq!(who(server, &aside).await.as_deref(), Some("old"));
    assert_eq!(facts(server, &copy).await, None);
    let again = bed.saved(done.told.outputs[0].clone());
    assert_eq!(
        Switch.probe(&again.read(), &input(&copy)).await.expect("probed"),
        Probe::Succeeded(output.clone())
    );
    let twice = again.run(&Switch, input(&copy)).await;
    assert_eq!(twice.output.expect("recognised"), output);
    assert!(twice.told.changes.is_empty());
    assert_eq!(who(server, &old).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn what_belongs_to_the_name_goes_along() {
    let server = PgServer::shared();
    let (old, copy) = pair(server).await;
    let (owner, reader) = (PgServer::unique("owner"), PgServer::unique("reader"));
    server
        .sql(
            "postgres",
            &[
                &format!("CREATE ROLE {owner}"),
                &format!("CREATE ROLE \"{reader} x\""),
                &format!("ALTER DATABASE {old} OWNER TO {owner}"),
                &format!("REVOKE ALL ON DATABASE {old} FROM PUBLIC"),
                &format!("GRANT CONNECT ON DATABASE {old} TO \"{reader} x\" WITH GRANT OPTION"),
                &format!("ALTER DATABASE {old} CONNECTION LIMIT 42"),
                &format!("ALTER DATABASE {old} SET search_path TO \"$user\", \"Odd s\", public"),
                &format!("ALTER DATABASE {old} SET work_mem TO '8MB'"),
                &format!("ALTER DATABASE {old} SET \"app.secret\" TO 'it''s \\ hunter22'"),
                &format!("ALTER ROLE \"{reader} x\" IN DATABASE {old} SET statement_timeout TO '5s'"),
                &format!("COMMENT ON DATABASE {old} IS 'it''s ours'"),
                &format!("ALTER DATABASE {copy} SET lock_timeout TO '1s'"),
                &format!("GRANT ALL ON DATABASE {copy} TO \"{reader} x\""),
            ],
        )
        .await;
    let before = facts(server, &old).await.expect("there");
    let preview = Switch
        .preview(&bed(server, &old).read(), &input(&copy))
        .await
        .expect("preview");
    let done = bed(server, &old).run(&Switch, input(&copy)).await;
    let output = done.output.expect("switched");
    assert_eq!(preview.changes, done.told.changes);
    let told = serde_json::to_string(&done.told.changes).expect("json");
    assert!(told.contains("app.secret") && !told.contains("hunter22"), "{told}");
    let mut after = facts(server, &old).await.expect("there");
    let sorted = |grants: &Option<Vec<String>>| {
        let mut grants = grants.clone().unwrap_or_default();
        grants.sort();
        grants
    };
    assert_eq!(sorted(&after.grants), sorted(&before.grants));
    assert_eq!(after.oid, output.oid);
    (after.oid, after.size_bytes, after.grants) = (before.oid, before.size_bytes, before.grants.clone());
    assert_eq!(after, before);
}

#[tokio::test]
async fn what_is_written_down_is_what_the_server_says() {
    let server = PgServer::shared();
    let (old, copy) = pair(server).await;
    let reader = PgServer::unique("reader");
    server
        .sql(
            "postgres",
            &[
                &format!("CREATE ROLE {reader}"),
                &format!("GRANT CREATE ON DATABASE {old} TO {reader}"),
                &format!("ALTER DATABASE {old} CONNECTION LIMIT 42"),
            ],
        )
        .await;
    let bed = bed(server, &old);
    let foretold = Switch
        .preview(&bed.read(), &input(&copy))
        .await
        .expect("preview")
        .changes;
    let done = bed.run(&Switch, input(&copy)).await;
    let output = done.output.expect("switched");
    assert_eq!(foretold, done.told.changes);
    let told = serde_json::to_string(&done.told.changes).expect("json");
    assert!(
        told.contains(&format!("{reader}: CREATE")) && told.contains("42"),
        "{told}"
    );

    // As if the grant and the limit had been lost on the way, and somebody had renamed the old one.
    let aside = output.old_database.clone().expect("kept");
    server
        .sql(
            "postgres",
            &[
                &format!("REVOKE CREATE ON DATABASE {old} FROM {reader}"),
                &format!("ALTER DATABASE {old} CONNECTION LIMIT -1"),
                &format!("ALTER DATABASE {aside} RENAME TO {aside}_x"),
            ],
        )
        .await;
    let postgres = server.open(&old).await;
    let now = told::read_back(postgres.reader(), &output).await.expect("read");
    assert_ne!(foretold, now);
    assert_eq!(now[0].after, Some(serde_json::json!(format!("{aside}_x"))));
    assert_eq!(told::missing(&foretold, &now), ["grants", "connection limit"]);
    assert!(told::missing(&foretold, &foretold).is_empty());
}

#[tokio::test]
async fn a_lost_database_needs_one_rename() {
    let server = PgServer::shared();
    let (old, copy) = pair(server).await;
    server.sql("postgres", &[&format!("DROP DATABASE {old}")]).await;
    let preview = Switch
        .preview(&bed(server, &old).read(), &input(&copy))
        .await
        .expect("preview");
    let done = bed(server, &old).run(&Switch, input(&copy)).await;
    let output = done.output.expect("switched");
    assert_eq!((preview.changes.len(), &preview.changes), (1, &done.told.changes));
    assert_eq!((output.old_database, output.old_oid), (None, None));
    assert_eq!(who(server, &old).await.as_deref(), Some("new"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_come_back_all_the_time_do_not_stop_it() {
    let server = PgServer::shared();
    let (old, copy) = pair(server).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for _ in 0..4 {
        let (postgres, name, stop) = (server.open(&old).await, old.clone(), stop.clone());
        clients.push(tokio::spawn(async move {
            let mut came_in = 0_u32;
            while !stop.load(Ordering::SeqCst) {
                match postgres.connect_to(&name, None).await {
                    Ok(session) => {
                        came_in += 1;
                        drop(session.query("SELECT pg_sleep(0.05)", &[]).await);
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
            came_in
        }));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    bed(server, &old)
        .run(&Switch, input(&copy))
        .await
        .output
        .expect("switched");
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        assert!(client.await.expect("client") > 0);
    }
    assert_eq!(who(server, &old).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_switch_that_cannot_be_leaves_the_old_database_open() {
    let server = PgServer::shared();
    let (old, copy) = pair(server).await;
    // A prepared transaction cannot be ended from outside: it keeps the database in use.
    let busy = PgServer::start_with(&PgOptions {
        settings: vec![("max_prepared_transactions".to_owned(), "2".to_owned())],
        ..PgOptions::default()
    });
    let (held, held_copy) = pair(&busy).await;
    busy.sql(
        &held,
        &["BEGIN; INSERT INTO who VALUES ('x'); PREPARE TRANSACTION 'stuck'"],
    )
    .await;
    let short = Input {
        wait_seconds: 1,
        ..input(&held_copy)
    };
    let error = bed(&busy, &held).run(&Switch, short).await.output.expect_err("in use");
    assert_eq!(error.kind(), StepErrorKind::Conflict, "{error}");
    assert!(error.message().contains("prepared transaction"), "{error}");
    assert!(
        error.hint_text().is_some_and(|hint| hint.contains("pg_prepared_xacts")),
        "{error:?}"
    );
    assert_eq!(who(&busy, &held).await.as_deref(), Some("old"));
    assert_eq!(who(&busy, &held_copy).await.as_deref(), Some("new"));
    // Nor is one that was told to stop.
    let stopped = bed(server, &old);
    let _inside = server.open(&old).await.connect_to(&old, None).await.expect("inside");
    stopped.cancel();
    let error = stopped.run(&Switch, input(&copy)).await.output.expect_err("stopped");
    assert_eq!(error.kind(), StepErrorKind::Cancelled);
    assert_eq!(who(server, &old).await.as_deref(), Some("old"));
}

#[tokio::test]
async fn what_cannot_be_switched_is_told_before_anything_is_touched() {
    let server = PgServer::shared();
    let (old, copy) = pair(server).await;
    let gone = bed(server, &old).run(&Switch, input("never_there")).await;
    assert_eq!(gone.output.expect_err("no copy").kind(), StepErrorKind::NotFound);
    assert!(gone.told.outputs.is_empty());
    let taken = Input {
        keep_old: Some("postgres".to_owned()),
        ..input(&copy)
    };
    let error = Switch
        .preview(&bed(server, &old).read(), &taken)
        .await
        .expect_err("in a dry run too");
    assert_eq!(error.kind(), StepErrorKind::Conflict);
    let error = bed(server, &old)
        .run(&Switch, taken)
        .await
        .output
        .expect_err("the name is taken");
    assert_eq!(error.kind(), StepErrorKind::Conflict);
    let role = PgServer::unique("plain");
    server
        .sql("postgres", &[&format!("CREATE ROLE {role} LOGIN PASSWORD 'hunter22'")])
        .await;
    let url = format!("postgresql://{role}:hunter22@127.0.0.1:{}/{old}", server.port());
    let error = Switch
        .preview(&bed_at(&url).read(), &input(&copy))
        .await
        .expect_err("may not");
    assert_eq!(error.kind(), StepErrorKind::Denied);
    assert_eq!(who(server, &old).await.as_deref(), Some("old"));
}

#[tokio::test]
async fn the_only_database_that_lets_us_in_cannot_be_renamed() {
    let server = PgServer::shared();
    let (_, copy) = pair(server).await;
    let in_preview = Switch
        .preview(&bed(server, "postgres").read(), &input(&copy))
        .await
        .expect_err("refused");
    let in_run = bed(server, "postgres")
        .run(&Switch, input(&copy))
        .await
        .output
        .expect_err("refused");
    for error in [in_preview, in_run] {
        assert_eq!(error.kind(), StepErrorKind::Refused, "{error}");
        assert!(
            error
                .hint_text()
                .is_some_and(|hint| hint.contains("maintenance_database"))
        );
    }
}

#[tokio::test]
async fn a_new_copy_is_switched_though_an_older_one_was_saved() {
    let server = PgServer::shared();
    let (old, copy) = pair(server).await;
    let bed_of = |run: &RunId| bed(server, &old).of(run);
    let run = RunId::generate();
    let saved = Output {
        database: old.clone(),
        oid: 1,
        from: copy.clone(),
        old_database: None,
        old_oid: None,
        old_bytes: None,
        old_allowed_connections: true,
        written_until: None,
    };
    let saved = serde_json::to_value(saved).expect("json");
    let output = resume(bed_of(&run), saved, &copy).await;
    assert!(output.oid > 1 && output.old_oid.is_some());
    assert_eq!(who(server, &old).await.as_deref(), Some("new"));
}

/// A pair that belongs to a role without superuser, as a database of an application does: with settings of which some only
/// a superuser may set. The pair, the owner, and another role.
async fn owned_pair(server: &PgServer) -> (String, String, [String; 2]) {
    let (old, copy) = pair(server).await;
    let roles = [server.role("owner").await, server.role("reader").await];
    let [owner, reader] = &roles;
    server
        .sql(
            "postgres",
            &[
                &format!("ALTER DATABASE {old} OWNER TO {owner}"),
                &format!("ALTER DATABASE {copy} OWNER TO {owner}"),
                &format!("ALTER DATABASE {old} SET work_mem TO '8MB'"),
                &format!("ALTER DATABASE {old} SET log_min_duration_statement TO '250ms'"),
                &format!("ALTER DATABASE {old} SET app.token TO 'hunter23'"),
                &format!("ALTER ROLE {reader} IN DATABASE {old} SET search_path TO app, public"),
                &format!("ALTER ROLE {owner} IN DATABASE {old} SET statement_timeout TO '5s'"),
                &format!("GRANT CONNECT ON DATABASE {old} TO pg_monitor"),
            ],
        )
        .await;
    (old, copy, roles)
}

#[tokio::test]
async fn an_owner_who_is_no_superuser_can_switch() {
    let server = PgServer::shared();
    let (old, copy, [owner, reader]) = owned_pair(server).await;
    let member = server.role("member").await;
    server.sql("postgres", &[&format!("GRANT {member} TO {owner}")]).await;
    // Sessions that it may end by itself: those of a role that it is a member of.
    let mut inside = Vec::new();
    for name in [&old, &copy] {
        let postgres = open_url(&server.url_of(&member, name)).await;
        inside.push(postgres.connect_to(name, None).await.expect("inside"));
    }
    let bed = bed_at(&server.url_of(&owner, &old));
    let preview = Switch.preview(&bed.read(), &input(&copy)).await.expect("preview");
    assert!(preview.summary.contains("end 2 sessions"), "{}", preview.summary);
    let done = bed.run(&Switch, input(&copy)).await;
    done.output.expect("switched");
    assert_eq!(who(server, &old).await.as_deref(), Some("new"));
    assert_eq!(preview.changes, done.told.changes);
    // What it may not set is named, with the statement that sets it, before and after; no value that may be a secret.
    let [reason] = &done.told.degraded[..] else {
        panic!("{:?}", done.told.degraded)
    };
    for said in [reason, &preview.degraded.join("; ")] {
        for words in [
            format!("`log_min_duration_statement`, `app.token`, `search_path` of role `{reader}`"),
            format!("`ALTER DATABASE \"{old}\" SET \"log_min_duration_statement\" TO '250ms'`"),
            format!("`ALTER ROLE \"{reader}\" IN DATABASE \"{old}\" SET \"search_path\" TO 'app', 'public'`"),
        ] {
            assert!(said.contains(&words), "`{words}` is not in: {said}");
        }
        assert!(!said.contains("work_mem") && !said.contains("hunter23"), "{said}");
    }
    let facts = facts(server, &old).await.expect("there");
    let settings: Vec<_> = facts.settings.iter().flat_map(|of| of.settings.clone()).collect();
    assert_eq!(settings, ["work_mem=8MB", "statement_timeout=5s"]);
    // A superuser runs it as it stands there.
    let statement = reason
        .split('`')
        .find(|part| part.contains("250ms"))
        .expect("a statement");
    server.sql("postgres", &[statement]).await;
}

#[tokio::test]
async fn sessions_that_an_owner_may_not_end_are_told_and_not_waited_for() {
    let server = PgServer::shared();
    let (old, copy, [owner, reader]) = owned_pair(server).await;
    for name in [&old, &copy] {
        let postgres = open_url(&server.url_of(&reader, name)).await;
        let stays = postgres.connect_to(name, None).await.expect("inside");
        let bed = bed_at(&server.url_of(&owner, &old));
        let before = Switch
            .preview(&bed.read(), &input(&copy))
            .await
            .expect_err("in a dry run");
        let began = Instant::now();
        let error = bed.run(&Switch, input(&copy)).await.output.expect_err("in a run");
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "waited {:?}",
            began.elapsed()
        );
        for error in [before, error] {
            assert_eq!(error.kind(), StepErrorKind::Denied, "{error}");
            assert!(error.message().contains(&reader), "{error}");
            let hint = error.hint_text().expect("a hint");
            assert!(
                hint.contains("GRANT pg_signal_backend TO") && !hint.contains("quiesce"),
                "{hint}"
            );
        }
        stays.query("SELECT 1", &[]).await.expect("it lives on");
        drop(inside_as(server, &reader, name).await);
    }
    server
        .sql("postgres", &[&format!("GRANT pg_signal_backend TO {owner}")])
        .await;
    let bed = bed_at(&server.url_of(&owner, &old));
    bed.run(&Switch, input(&copy)).await.output.expect("switched");
    assert_eq!(who(server, &old).await.as_deref(), Some("new"));
}

/// Somebody gets into a database: it was not left closed.
async fn inside_as(server: &PgServer, role: &str, name: &str) -> Session {
    let postgres = open_url(&server.url_of(role, name)).await;
    postgres.connect_to(name, None).await.expect("open")
}

#[test]
fn names_are_checked_before_the_run() {
    let same = Input {
        to: Some("a".to_owned()),
        keep_old: Some("a".to_owned()),
        ..input("a")
    };
    assert_eq!(Switch.check(&same).expect_err("two").len(), 2);
    assert!(Switch.check(&input("a")).is_ok());
    let long = old_name(&"é".repeat(31), "abcdefgh");
    assert!(long.len() <= 63 && long.ends_with("_old_abcdefgh"), "{long}");
}
