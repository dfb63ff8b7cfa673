//! What was written into the old database after its sessions had been ended, and before the switch closed it.

use jm_client_postgres::{DatabaseFacts, Postgres, Reader, Session, Whose};
use jm_step::{Connection, StepContext, StepError};
use tokio::time::Instant;

use super::Plan;
use crate::quiesce;
use crate::sessions;
use crate::written::{Since, Watch};

/// Closes the old database and says what was written since it was looked at before. The counters can be read from inside
/// alone, by a session that was there before the door closed, and they are complete once the others have ended. It is told
/// before the switch, which may fail or be killed: so in words that are true whether it takes place or not. Gives the moment
/// up to which somebody may have written, where somebody did.
pub(super) async fn tell(
    cx: &StepContext,
    postgres: &Postgres,
    session: &Session,
    plan: &Plan,
    before: &quiesce::Output,
    until: Instant,
) -> Result<Option<String>, StepError> {
    let (Some(old), Some(kept)) = (&plan.old, &plan.output.old_database) else {
        return Ok(None);
    };
    if !plan.output.old_allowed_connections {
        return Ok(None);
    }
    if !old.allows_connections {
        // An earlier attempt has closed it, and may not have come as far as looking.
        sessions::allow_connections(session, &old.name, true).await?;
    }
    let watch = Watch::open(postgres.reader(), &old.name, Some(cx.step())).await?;
    sessions::allow_connections(session, &old.name, false).await?;
    let names = [old.name.clone()];
    let user = postgres.reader().user();
    sessions::end(cx, session, user, &names, Whose::AllBut(watch.pid()), until).await?;
    let since = Since::between(before.written.as_ref(), watch.look().await?.as_ref());
    let Some(reason) = since.reason(&old.name, kept) else {
        return Ok(None);
    };
    cx.degraded(reason).await?;
    Ok(Some(cx.now().to_string()))
}

/// What was written so far, for a dry run; `None` where it was nothing, or where nobody can get in to write or to look.
pub(super) async fn so_far(
    reader: &Reader,
    old: &DatabaseFacts,
    before: &quiesce::Output,
) -> Result<Option<String>, StepError> {
    if !old.allows_connections || before.written.is_none() {
        return Ok(None);
    }
    let watch = Watch::open(reader, &old.name, None).await?;
    Ok(Since::between(before.written.as_ref(), watch.look().await?.as_ref()).so_far())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jm_client_postgres::test_server::{PgOptions, PgServer};
    use jm_step::StepType as _;
    use serde_json::json;

    use super::super::{Input, Switch, meant};
    use crate::bench::bed;
    use crate::quiesce::Quiesce;

    /// An old database that was emptied and left open, its restored copy, and what was told of it.
    async fn emptied(server: &PgServer) -> (String, Input) {
        let old = server.database("late").await;
        let from = format!("{old}_jmr_x");
        let sql = format!("CREATE DATABASE {from} TEMPLATE template0");
        server.sql("postgres", &[&sql]).await;
        server
            .sql(
                &old,
                &["CREATE TABLE public.a (i int)", "INSERT INTO public.a VALUES (1)"],
            )
            .await;
        let open = json!({ "leave_open": true });
        let done = bed(server, &old)
            .run(&Quiesce, serde_json::from_value(open).expect("input"))
            .await;
        let since = serde_json::to_value(done.output.expect("emptied")).expect("json");
        let input = serde_json::from_value(json!({ "from": from, "since": since })).expect("input");
        (old, input)
    }

    #[tokio::test]
    async fn rows_that_are_written_meanwhile_are_told() {
        let server = PgServer::shared();
        let (old, input) = emptied(server).await;
        let foretold = async || {
            let bed = bed(server, &old);
            let preview = Switch.preview(&bed.read(), &input).await.expect("a preview");
            preview.degraded.join("; ")
        };
        assert_eq!(foretold().await, "", "nothing was written so far");
        // It is still there when the switch comes, and has not handed in what it wrote.
        let inside = server.open(&old).await.connect_to(&old, None).await.expect("inside");
        inside
            .batch("INSERT INTO public.a VALUES (2), (3)")
            .await
            .expect("written");
        inside
            .batch("UPDATE public.a SET i = 4 WHERE i = 3")
            .await
            .expect("written");
        // A server hands on what an idle session wrote after a second.
        let mut said = foretold().await;
        for _ in 0..50 {
            if said.contains("3 rows were written") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            said = foretold().await;
        }
        assert!(
            said.contains("3 rows were written into the old database since") && said.contains("3 in `public.a`"),
            "{said}"
        );
        let done = bed(server, &old).run(&Switch, input).await;
        let output = done.output.expect("switched");
        assert!(output.written_until.is_some());
        let kept = output.old_database.expect("kept");
        let [reason] = &done.told.degraded[..] else {
            panic!("{:?}", done.told.degraded)
        };
        assert!(
            reason.starts_with("3 rows were written into the old database"),
            "{reason}"
        );
        assert!(reason.contains("3 in `public.a`") && reason.contains(&kept), "{reason}");
    }

    #[tokio::test]
    async fn where_the_switch_fails_nobody_is_sent_to_a_database_that_is_not_there() {
        let server = PgServer::start_with(&PgOptions {
            settings: vec![("max_prepared_transactions".to_owned(), "2".to_owned())],
            ..PgOptions::default()
        });
        let (old, input) = emptied(&server).await;
        // One that stays keeps the database in use.
        let stuck = "BEGIN; INSERT INTO public.a VALUES (3); PREPARE TRANSACTION 'stuck'";
        server.sql(&old, &["INSERT INTO public.a VALUES (2)", stuck]).await;
        let input = Input {
            wait_seconds: 1,
            ..input
        };
        let done = bed(&server, &old).run(&Switch, input).await;
        done.output.expect_err("in use");
        let [reason] = &done.told.degraded[..] else {
            panic!("{:?}", done.told.degraded)
        };
        assert!(
            reason.contains(&format!("they are in database `{old}`, which is called")),
            "{reason}"
        );
    }

    #[tokio::test]
    async fn where_nobody_wrote_nothing_is_told() {
        let server = PgServer::shared();
        let (old, input) = emptied(server).await;
        let inside = server.open(&old).await.connect_to(&old, None).await.expect("inside");
        inside.batch("SELECT count(*) FROM public.a").await.expect("read");
        // As an attempt leaves it that was killed once it had closed the database.
        server
            .sql("postgres", &[&format!("ALTER DATABASE {old} ALLOW_CONNECTIONS false")])
            .await;
        let kept = format!("{old}_kept");
        let saved = json!({
            "database": old, "oid": 0, "from": input.from, "old_database": kept,
            "old_oid": meant::since(&input).expect("read").and_then(|before| before.oid), "old_allowed_connections": true,
        });
        let done = bed(server, &old).saved(saved).run(&Switch, input).await;
        assert!(done.output.expect("switched").old_allowed_connections);
        assert!(done.told.degraded.is_empty(), "{:?}", done.told.degraded);
    }
}
