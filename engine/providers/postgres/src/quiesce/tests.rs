//! Against a real server: who is shut out, who may not be ended, and what is left open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jm_client_postgres::test_server::{PgServer, open_url};
use jm_step::StepErrorKind;

use super::*;
use crate::bench::{bed, bed_at, facts};

fn input(superusers: bool) -> Input {
    Input {
        superusers,
        wait_seconds: 20,
        ..Input::default()
    }
}

#[tokio::test]
async fn clients_that_come_back_are_shut_out() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let server = PgServer::shared();
    let name = server.database("quiesce").await;
    server
        .sql("postgres", &[&format!("ALTER DATABASE {name} CONNECTION LIMIT 7")])
        .await;
    let client = tokio::spawn({
        let (postgres, name) = (server.open(&name).await, name.clone());
        async move {
            let mut came_in = 0;
            while !STOP.load(Ordering::SeqCst) {
                if let Ok(session) = postgres.connect_to(&name, None).await {
                    came_in += 1;
                    drop(session.batch("SELECT pg_sleep(30)").await);
                }
            }
            came_in
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let preview = Quiesce
        .preview(&bed(server, &name).read(), &input(false))
        .await
        .expect("preview");
    let done = bed(server, &name).run(&Quiesce, input(false)).await;
    let output = done.output.expect("closed");
    assert_eq!(preview.changes, done.told.changes);
    assert!(output.ended >= 1 && output.allowed_connections && output.connection_limit == 7);
    assert_eq!(done.told.outputs.len(), 1, "recorded before the effect");
    let left = server
        .open("postgres")
        .await
        .reader()
        .sessions(std::slice::from_ref(&name), Whose::All)
        .await
        .expect("asked");
    assert!(left.is_empty(), "{left:?}");
    STOP.store(true, Ordering::SeqCst);
    assert!(client.await.expect("client") >= 1);
    let closed = server
        .open(&name)
        .await
        .connect_to(&name, None)
        .await
        .err()
        .expect("closed");
    assert_eq!(closed.kind(), StepErrorKind::Conflict);
    assert!(closed.hint_text().is_some_and(|hint| hint.contains("unquiesce")));
}

/// A database, and the role that owns it and is no superuser.
async fn owned(server: &PgServer) -> (String, String) {
    let (name, role) = (server.database("quiesce").await, server.role("owner").await);
    let sql = format!("ALTER DATABASE {name} OWNER TO {role}");
    server.sql("postgres", &[&sql]).await;
    (name, role)
}

/// Somebody's session in a database.
async fn inside(server: &PgServer, role: &str, name: &str) -> Session {
    let postgres = open_url(&server.url_of(role, name)).await;
    postgres.connect_to(name, None).await.expect("inside")
}

#[tokio::test]
async fn what_an_owner_may_not_end_is_told_before_anything_is_closed() {
    let server = PgServer::shared();
    let (name, owner) = owned(server).await;
    let reader = server.role("reader").await;
    let stays = inside(server, &reader, &name).await;
    let bed = bed_at(&server.url_of(&owner, &name));
    let leave_open = || Input {
        leave_open: true,
        ..input(false)
    };
    let mut errors = Vec::new();
    for given in [input(false), input(true), leave_open()] {
        errors.push(Quiesce.preview(&bed.read(), &given).await.expect_err("in a dry run"));
        errors.push(bed.run(&Quiesce, given).await.output.expect_err("in a run"));
    }
    for error in errors {
        assert_eq!(error.kind(), StepErrorKind::Denied, "{error}");
        assert!(
            error.message().contains(&format!("1 session of role `{reader}`")),
            "{error}"
        );
        let hint = error.hint_text().expect("a hint");
        assert!(
            hint.contains(&format!("GRANT pg_signal_backend TO \"{owner}\"")),
            "{hint}"
        );
    }
    stays.query("SELECT 1", &[]).await.expect("it lives on");
    drop(inside(server, &reader, &name).await);
    let seen = crate::inspect::Inspect
        .preview(&bed.read(), &crate::inspect::Input::default())
        .await
        .expect("seen");
    assert!(seen.predicted.expect("known").sessions >= 1);

    let grant = format!("GRANT pg_signal_backend TO {owner}");
    server.sql("postgres", &[&grant]).await;
    let preview = Quiesce.preview(&bed.read(), &input(false)).await.expect("may now");
    assert!(preview.summary.contains("1 session"), "{}", preview.summary);
    assert_eq!(bed.run(&Quiesce, input(false)).await.output.expect("closed").ended, 1);
    stays.query("SELECT 1", &[]).await.expect_err("it was ended");
}

#[tokio::test]
async fn a_superusers_session_is_left_to_superusers() {
    let server = PgServer::shared();
    let (name, owner) = owned(server).await;
    server
        .sql("postgres", &[&format!("GRANT pg_signal_backend TO {owner}")])
        .await;
    let stays = server.open(&name).await.connect_to(&name, None).await.expect("inside");
    let bed = bed_at(&server.url_of(&owner, &name));
    let error = Quiesce.preview(&bed.read(), &input(false)).await.expect_err("told");
    assert!(error.message().contains("1 session of superuser `jm`"), "{error}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("only a superuser")));
    let closed = bed.run(&Quiesce, input(true)).await;
    assert_eq!(closed.output.expect("superusers may stay").ended, 0);
    stays.query("SELECT 1", &[]).await.expect("it lives on");
}

#[tokio::test]
async fn somebody_who_only_looks_in_stops_nothing() {
    let server = PgServer::shared();
    let (name, owner) = owned(server).await;
    let reader = server.role("reader").await;
    let leaves = inside(server, &reader, &name).await;
    let gone = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(leaves);
    });
    let bed = bed_at(&server.url_of(&owner, &name));
    Quiesce
        .preview(&bed.read(), &input(false))
        .await
        .expect("nobody is left");
    gone.await.expect("gone");
}

#[tokio::test]
async fn superusers_can_be_let_in() {
    let server = PgServer::shared();
    let name = server.database("quiesce").await;
    let inside = server.open(&name).await.connect_to(&name, None).await.expect("inside");
    let done = bed(server, &name).run(&Quiesce, input(true)).await;
    assert_eq!(done.output.expect("closed").ended, 0);
    inside
        .query("SELECT 1", &[])
        .await
        .expect("a superuser's session goes on");
    let facts = facts(server, &name).await.expect("there");
    assert_eq!((facts.connection_limit, facts.allows_connections), (0, true));
}

#[tokio::test]
async fn one_that_is_left_open_is_emptied_and_tells_who_comes_back() {
    let server = PgServer::shared();
    let name = server.database("quiesce").await;
    server
        .sql(&name, &["CREATE TABLE a (i int)", "INSERT INTO a VALUES (1), (2)"])
        .await;
    let input = || Input {
        leave_open: true,
        ..input(false)
    };
    let inside = server.open(&name).await.connect_to(&name, None).await.expect("inside");
    let preview = Quiesce
        .preview(&bed(server, &name).read(), &input())
        .await
        .expect("preview");
    let done = bed(server, &name).run(&Quiesce, input()).await;
    let output = done.output.expect("emptied");
    assert!(inside.query("SELECT 1", &[]).await.is_err(), "it was ended");
    assert!(done.told.changes.is_empty(), "it is as it was: {:?}", done.told.changes);
    assert_eq!((output.ended, output.came_back.len()), (1, 0));
    assert_eq!(output.written.as_ref().and_then(|rows| rows.get("public.a")), Some(&2));
    // What is written until then, a dry run cannot know.
    let foretold = Output {
        written: None,
        ..output
    };
    assert_eq!(preview.predicted, Some(foretold));
    server.open(&name).await.connect_to(&name, None).await.expect("open");

    let stop = Arc::new(AtomicBool::new(false));
    let client = tokio::spawn({
        let (postgres, name, stop) = (server.open(&name).await, name.clone(), stop.clone());
        async move {
            while !stop.load(Ordering::SeqCst) {
                if let Ok(session) = postgres.connect_to(&name, None).await {
                    drop(session.batch("SELECT pg_sleep(30)").await);
                }
            }
        }
    });
    let insistent = Input {
        wait_seconds: 1,
        ..input()
    };
    let done = bed(server, &name).run(&Quiesce, insistent).await;
    stop.store(true, Ordering::SeqCst);
    let output = done.output.expect("nobody is waited for any longer");
    assert_eq!(output.came_back.len(), 1, "{output:?}");
    server
        .sql("postgres", &[&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")])
        .await;
    let ends = format!("SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE datname = '{name}'");
    drop(server.text("postgres", &ends).await);
    client.await.expect("client");
}

#[tokio::test]
async fn a_second_attempt_keeps_what_the_first_recorded() {
    let server = PgServer::shared();
    let name = server.database("quiesce").await;
    let first = bed(server, &name).run(&Quiesce, input(false)).await;
    let again = bed(server, &name).saved(first.told.outputs[0].clone());
    assert!(matches!(
        Quiesce.probe(&again.read(), &input(false)).await,
        Ok(Probe::Partial { .. })
    ));
    assert!(
        again
            .run(&Quiesce, input(false))
            .await
            .output
            .expect("closed")
            .allowed_connections
    );
}

#[tokio::test]
async fn one_that_is_stopped_leaves_the_database_open() {
    let server = PgServer::shared();
    let name = server.database("quiesce").await;
    let _inside = server.open(&name).await.connect_to(&name, None).await.expect("inside");
    let bed = bed(server, &name);
    bed.cancel();
    let error = bed.run(&Quiesce, input(false)).await.output.expect_err("stopped");
    assert_eq!(error.kind(), StepErrorKind::Cancelled);
    server.open(&name).await.connect_to(&name, None).await.expect("open");
}

#[tokio::test]
async fn a_lost_database_needs_no_closing() {
    let done = bed(PgServer::shared(), "never_there").run(&Quiesce, input(false)).await;
    assert_eq!(done.output.expect("nothing to do").oid, None);
    assert!(done.told.changes.is_empty());
}
