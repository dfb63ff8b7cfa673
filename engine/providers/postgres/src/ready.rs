//! `postgres.ready`: the server answers, and is the one that the plan expects.

use jm_client_postgres::{Postgres, Reader};
use jm_step::{
    Effect, Expect, Known, Need, Preview, Probe, ReadContext, Repeat, Role, StepContext, StepError, StepType,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common;

/// See the module.
pub(crate) struct Ready;

/// What the server has to be.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Which server it is to be.
    #[serde(default)]
    expect: Expected,
}

/// Which server a plan finds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Expected {
    /// The one that the run knows.
    #[default]
    Same,
    /// The one that the run knows, or one that the plan has started in its place, which has no tables yet. From then on
    /// that one is held to.
    New,
}

/// What it is.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Output {
    /// The server's version, such as `15.14`.
    server_version: String,
    /// Whether it is a standby.
    standby: bool,
}

impl StepType for Ready {
    const NAME: &'static str = "postgres.ready";
    const SUMMARY: &'static str = "proves that the server answers, and is the one that is expected";
    const EFFECT: Effect = Effect::ReadOnly;
    const REPEAT: Repeat = Repeat::Safe;
    const GATE: bool = true;
    type Input = Input;
    type Output = Output;

    fn roles(&self) -> Vec<Role> {
        common::roles()
    }

    fn needs(&self, _: &Known) -> Vec<Need> {
        vec![Need::of("database", &["CONNECT"])]
    }

    async fn preview(&self, cx: &ReadContext, input: &Input) -> Result<Preview<Output>, StepError> {
        let is_new = input.expect == Expected::New && is_new(cx).await?;
        let reader = if is_new {
            cx.look::<Postgres>().await?
        } else {
            cx.read::<Postgres>().await?
        };
        let output = look(&reader).await?;
        Ok(Preview::verified(format!("PostgreSQL {}", output.server_version)).predict(output))
    }

    async fn run(&self, cx: &StepContext, input: Input) -> Result<Output, StepError> {
        if input.expect == Expected::New && is_new(cx).await? {
            cx.log("it has no tables: taken for the one that was started").await;
            cx.reopen::<Postgres>(Expect::New).await?;
        }
        let reader = cx.read::<Postgres>().await?;
        look(&reader).await
    }

    async fn probe(&self, _: &ReadContext, _: &Input) -> Result<Probe<Output>, StepError> {
        Ok(Probe::NotStarted)
    }
}

/// Whether the server may be taken for a new one. One that has tables is left to what holds targets to their systems.
async fn is_new(cx: &ReadContext) -> Result<bool, StepError> {
    let found = cx.look::<Postgres>().await?;
    is_empty(&found).await
}

async fn is_empty(reader: &Reader) -> Result<bool, StepError> {
    let session = reader.maintenance(None).await?;
    let databases = session
        .query(
            "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate",
            &[],
        )
        .await?;
    for row in databases {
        let name: String = row.get(0);
        if reader.table_count(&name).await? > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn look(reader: &Reader) -> Result<Output, StepError> {
    let server = reader.server().await?;
    Ok(Output {
        server_version: server.version,
        standby: server.in_recovery,
    })
}

#[cfg(test)]
mod tests {
    use jm_client_postgres::test_server::PgServer;
    use jm_step::StepErrorKind;

    use super::*;
    use crate::bench::{bed, bed_at};

    #[tokio::test]
    async fn a_server_that_answers_is_ready_and_one_that_does_not_is_waited_for() {
        let server = PgServer::shared();
        let bed_here = bed(server, "postgres");
        let previewed = Ready
            .preview(&bed_here.read(), &Input::default())
            .await
            .expect("preview");
        let output = bed_here.run(&Ready, Input::default()).await.output.expect("it answers");
        assert_eq!(previewed.predicted, Some(output));
        let down = bed_at("postgresql://u@127.0.0.1:1/d")
            .run(&Ready, Input { expect: Expected::New })
            .await;
        let error = down.output.expect_err("nothing answers");
        assert_eq!(error.kind(), StepErrorKind::Unavailable, "{error}");
    }

    #[tokio::test]
    async fn a_server_with_tables_is_not_empty() {
        let server = PgServer::shared();
        let name = server.database("ready").await;
        server.sql(&name, &["CREATE TABLE users (id int)"]).await;
        let reader = bed(server, &name).read().look::<Postgres>().await.expect("it answers");
        assert!(!is_empty(&reader).await.expect("it was looked at"));
    }
}
