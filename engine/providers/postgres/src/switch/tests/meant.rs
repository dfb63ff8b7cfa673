//! Whether it is still the database that the steps before looked at, whoever put another one under its name.

use serde_json::{Value, json};

use super::*;
use crate::inspect::Inspect;
use crate::quiesce::Quiesce;

/// Somebody keeps the database by another name, puts another one in its place, and writes into that.
async fn replace(server: &PgServer, old: &str) {
    let sql = [
        format!("ALTER DATABASE {old} RENAME TO {old}_by_hand"),
        format!("CREATE DATABASE {old} TEMPLATE {old}_by_hand"),
    ];
    server.sql("postgres", &[&sql[0], &sql[1]]).await;
    server.sql(old, &["UPDATE who SET is_it = 'by hand'"]).await;
}

/// What a step before gave out, as the plan hands it on.
async fn outputs<T: StepType>(server: &PgServer, database: &str, step: T, input: Value) -> Map<String, Value> {
    let input = serde_json::from_value(input).expect("input");
    let output = bed(server, database).run(&step, input).await.output;
    let Ok(output) = output else {
        panic!("`{}` failed", T::NAME)
    };
    match serde_json::to_value(output).expect("json") {
        Value::Object(fields) => fields,
        other => panic!("{other}"),
    }
}

async fn emptied(server: &PgServer, database: &str) -> Map<String, Value> {
    outputs(server, database, Quiesce, json!({ "leave_open": true })).await
}

async fn seen(server: &PgServer, database: &str) -> Map<String, Value> {
    outputs(server, database, Inspect, json!({})).await
}

/// Refused in a dry run and in a run, with both ways on, and nothing was touched.
async fn refused(server: &PgServer, old: &str, input: impl Fn() -> Input, words: &str) {
    let bed = bed(server, old);
    let previewed = Switch.preview(&bed.read(), &input()).await.expect_err("in a dry run");
    let done = bed.run(&Switch, input()).await;
    assert!(done.told.outputs.is_empty() && done.told.changes.is_empty());
    for error in [previewed, done.output.expect_err("in a run")] {
        assert_eq!(error.kind(), StepErrorKind::Refused, "{error}");
        assert!(error.message().contains(words), "`{words}` is not in: {error}");
        let hint = error.hint_text().expect("a hint");
        assert!(
            hint.contains("`jm plan run`") && hint.contains(&format!("\"{old}\" RENAME TO")),
            "{hint}"
        );
    }
    assert!(
        facts(server, old).await.expect("there").allows_connections,
        "left closed"
    );
}

#[tokio::test]
async fn a_database_that_took_the_name_meanwhile_is_not_switched_away() {
    let server = PgServer::shared();
    let (old, copy) = pair(server).await;
    let (since, seen) = (emptied(server, &old).await, seen(server, &old).await);
    replace(server, &old).await;
    let (by_since, by_seen) = (
        || Input {
            since: Some(since.clone()),
            ..input(&copy)
        },
        || Input {
            // It never ran, for the database did not serve.
            since: Some(Map::new()),
            seen: Some(seen.clone()),
            ..input(&copy)
        },
    );
    refused(server, &old, by_since, "is not the one that the steps before looked at").await;
    refused(server, &old, by_seen, "is not the one that the steps before looked at").await;
    assert_eq!(who(server, &old).await.as_deref(), Some("by hand"));
    assert_eq!(who(server, &copy).await.as_deref(), Some("new"));
    // The way out that is told.
    let sql = format!("ALTER DATABASE {old} RENAME TO {old}_unwanted");
    server.sql("postgres", &[&sql]).await;
    bed(server, &old)
        .run(&Switch, by_since())
        .await
        .output
        .expect("switched");
    assert_eq!(who(server, &old).await.as_deref(), Some("new"));
    assert_eq!(
        who(server, &format!("{old}_unwanted")).await.as_deref(),
        Some("by hand")
    );
}

#[tokio::test]
async fn a_database_where_there_was_none_is_not_switched_away() {
    let server = PgServer::shared();
    let (old, copy) = pair(server).await;
    server
        .sql("postgres", &[&format!("ALTER DATABASE {old} RENAME TO {old}_lost")])
        .await;
    let (since, seen) = (emptied(server, &old).await, seen(server, &old).await);
    assert!(since["oid"].is_null() && seen["oid"].is_null());
    server
        .sql("postgres", &[&format!("CREATE DATABASE {old} TEMPLATE {old}_lost")])
        .await;
    let by_since = || Input {
        since: Some(since.clone()),
        ..input(&copy)
    };
    let by_seen = || Input {
        seen: Some(seen.clone()),
        ..input(&copy)
    };
    refused(server, &old, by_since, "was not there when the steps before looked").await;
    refused(server, &old, by_seen, "was not there when the steps before looked").await;
    assert_eq!(who(server, &old).await.as_deref(), Some("old"));
}

#[tokio::test]
async fn what_was_met_is_switched_and_stays_so() {
    let server = PgServer::shared();
    let (old, copy) = pair(server).await;
    let looked = seen(server, &old).await;
    // Looked at before the database was replaced, emptied after it: what ended the sessions counts.
    replace(server, &old).await;
    let since = emptied(server, &old).await;
    let given = || Input {
        since: Some(since.clone()),
        seen: Some(looked.clone()),
        ..input(&copy)
    };
    let bed = bed(server, &old);
    let preview = Switch.preview(&bed.read(), &given()).await.expect("preview");
    let done = bed.run(&Switch, given()).await;
    let output = done.output.expect("switched");
    assert_eq!(preview.changes, done.told.changes);
    // The name is the copy's now: that was this step's own doing.
    let again = bed.saved(done.told.outputs[0].clone());
    let preview = Switch.preview(&again.read(), &given()).await.expect("preview");
    assert_eq!(
        (preview.grade, preview.predicted.as_ref()),
        (Grade::Verified, Some(&output))
    );
    assert_eq!(
        Switch.probe(&again.read(), &given()).await.expect("probed"),
        Probe::Succeeded(output.clone())
    );
    assert_eq!(again.run(&Switch, given()).await.output.expect("recognised"), output);
}

#[tokio::test]
async fn what_was_not_seen_for_a_server_that_was_down_is_not_switched_away() {
    let server = PgServer::shared();
    let (old, copy) = pair(server).await;
    let (other, _) = pair(server).await;
    let bed_now = bed(server, &old);
    let of_another = Input {
        seen: Some(seen(server, &other).await),
        ..input(&copy)
    };
    let error = Switch.preview(&bed_now.read(), &of_another).await.expect_err("another");
    assert_eq!(error.kind(), StepErrorKind::InvalidInput, "{error}");
    let nowhere = bed_at("postgresql://u@127.0.0.1:1/d");
    let looked = nowhere.run(&Inspect, crate::inspect::Input::default()).await;
    let down = serde_json::to_value(looked.output.expect("an answer")).expect("json");
    let unseen = || Input {
        seen: down.as_object().cloned(),
        ..input(&copy)
    };
    refused(server, &old, unseen, "did not answer when the steps before looked").await;
    // Where nothing bears the name, nothing is lost.
    server.sql("postgres", &[&format!("DROP DATABASE {old}")]).await;
    bed_now.run(&Switch, unseen()).await.output.expect("switched");
}
