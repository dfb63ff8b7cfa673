//! What becomes of a switch on the way to which something is lost.

use jm_client_postgres::test_server::{Cut, Proxy};

use super::*;

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_resolved_by_the_numbers() {
    let server = PgServer::shared();
    for (cut, happened) in [
        (Cut::Before(b"COMMIT".to_vec()), false),
        (Cut::AfterAnswerTo(b"COMMIT".to_vec()), true),
    ] {
        let (old, copy) = pair(server).await;
        let proxy = Proxy::start(server.port(), cut, 1).await;
        let run = RunId::generate();
        let first = bed_at(&server.url_on(proxy.port(), &old))
            .of(&run)
            .run(&Switch, input(&copy))
            .await;
        let error = first.output.expect_err("cut");
        assert_eq!(error.kind(), StepErrorKind::Ambiguous, "{error}");
        assert_eq!(proxy.cuts(), 1);
        let expected = if happened { "new" } else { "old" };
        assert_eq!(
            who(server, &old).await.as_deref(),
            Some(expected),
            "served whatever became of it"
        );
        let resumed = bed(server, &old).of(&run).saved(first.told.outputs[0].clone());
        let probed = Switch.probe(&resumed.read(), &input(&copy)).await.expect("probed");
        assert_eq!(matches!(probed, Probe::Succeeded(_)), happened, "{probed:?}");
        let output = resume(bed(server, &old).of(&run), first.told.outputs[0].clone(), &copy).await;
        assert_eq!(who(server, &old).await.as_deref(), Some("new"));
        assert_eq!(
            who(server, &output.old_database.expect("kept")).await.as_deref(),
            Some("old")
        );
    }
}

#[tokio::test]
async fn a_connection_cut_anywhere_ends_in_one_switch() {
    let server = PgServer::shared();
    for statement in [
        "ALLOW_CONNECTIONS false",
        "pg_terminate_backend",
        "BEGIN",
        "RENAME TO",
        "ALLOW_CONNECTIONS true",
    ] {
        for cut in [Cut::Before(statement.into()), Cut::AfterAnswerTo(statement.into())] {
            let (old, copy) = pair(server).await;
            let proxy = Proxy::start(server.port(), cut.clone(), 1).await;
            let run = RunId::generate();
            let first = bed_at(&server.url_on(proxy.port(), &old))
                .of(&run)
                .run(&Switch, input(&copy))
                .await;
            assert_eq!(proxy.cuts(), 1, "{cut:?}");
            if first.output.is_err() {
                assert_eq!(who(server, &old).await.as_deref(), Some("old"), "{cut:?}: still served");
            }
            let output = match first.told.outputs.first() {
                Some(saved) => resume(bed(server, &old).of(&run), saved.clone(), &copy).await,
                None => bed(server, &old)
                    .of(&run)
                    .run(&Switch, input(&copy))
                    .await
                    .output
                    .expect("switched"),
            };
            assert_eq!(who(server, &old).await.as_deref(), Some("new"), "{cut:?}");
            assert_eq!(
                who(server, &output.old_database.expect("kept")).await.as_deref(),
                Some("old")
            );
        }
    }
}

#[tokio::test]
async fn a_server_killed_on_the_way_goes_on_where_it_was() {
    let mut server = PgServer::start_with(&PgOptions {
        durable: true,
        ..PgOptions::default()
    });
    for millis in [5, 40, 120] {
        let (old, copy) = pair(&server).await;
        let run = RunId::generate();
        let switching = {
            let bed = bed(&server, &old).of(&run);
            let input = input(&copy);
            tokio::spawn(async move { bed.run(&Switch, input).await })
        };
        tokio::time::sleep(Duration::from_millis(millis)).await;
        server.kill();
        let first = switching.await.expect("no panic");
        server.resume();
        let old_or_new = ["old", "new"].map(Some);
        if facts(&server, &old).await.expect("never none").allows_connections {
            assert!(old_or_new.contains(&who(&server, &old).await.as_deref()));
        }
        let bed = bed(&server, &old).of(&run);
        match first.told.outputs.first() {
            Some(saved) => drop(resume(bed, saved.clone(), &copy).await),
            None => drop(bed.run(&Switch, input(&copy)).await.output.expect("switched")),
        }
        assert_eq!(who(&server, &old).await.as_deref(), Some("new"));
    }
}

/// As the server sees it for minutes after the machine of jm lost its power.
#[tokio::test]
async fn a_session_whose_client_is_gone_is_not_waited_for() {
    let server = PgServer::shared();
    let (old, copy) = pair(server).await;
    let bed = bed(server, &old).of(&RunId::generate());
    let cx = bed.read();
    let reader = cx.read::<Postgres>().await.expect("opened");
    let session = reader.maintenance(Some(cx.step())).await.expect("a session");
    let there = async |name: &str| facts(server, name).await.expect("there").oid;
    let saved = Output {
        database: old.clone(),
        oid: there(&copy).await,
        from: copy.clone(),
        old_database: Some(format!("{old}_old")),
        old_oid: Some(there(&old).await),
        old_bytes: None,
        old_allowed_connections: true,
        written_until: None,
    };
    let output = resume(bed, serde_json::to_value(saved).expect("json"), &copy).await;
    assert_eq!(output.database, old);
    assert_eq!(who(server, &old).await.as_deref(), Some("new"));
    session.query("SELECT 1", &[]).await.expect_err("it was ended");
}
