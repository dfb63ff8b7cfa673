//! A bench for the tests here: one step on one real server.

use jm_client_postgres::test_server::PgServer;
use jm_client_postgres::{DatabaseFacts, Postgres};
use jm_step::testing::{Bench, Told};
use jm_step::{Connection as _, ReadContext, RunId, StepError, StepType};
use serde_json::{Value, json};

/// A step's surroundings: a target, and what earlier attempts saved.
pub(crate) struct Bed {
    bench: Bench,
}

/// What a step gave and said.
pub(crate) struct Done<O> {
    pub(crate) output: Result<O, StepError>,
    pub(crate) told: Told,
}

/// A step of a run of its own, on a database of a server.
pub(crate) fn bed(server: &PgServer, database: &str) -> Bed {
    bed_at(&server.url(database))
}

/// The same at any address.
pub(crate) fn bed_at(url: &str) -> Bed {
    let bench = Bench::new().target::<Postgres>("database", json!({ "url": url }));
    Bed {
        bench: bench.run(RunId::generate()),
    }
}

impl Bed {
    /// What an earlier attempt saved of its output.
    pub(crate) fn saved(self, output: Value) -> Self {
        Self {
            bench: self.bench.saved_output(output),
        }
    }

    /// What an earlier attempt saved to go on from.
    pub(crate) fn checkpoint(self, checkpoint: Value) -> Self {
        Self {
            bench: self.bench.checkpoint(checkpoint),
        }
    }

    /// Makes it one of a given run.
    pub(crate) fn of(self, run: &RunId) -> Self {
        Self {
            bench: self.bench.run(run.clone()),
        }
    }

    /// Tells the step to stop.
    pub(crate) fn cancel(&self) {
        self.bench.cancel();
    }

    pub(crate) fn read(&self) -> ReadContext {
        self.bench.read()
    }

    /// Runs a step and hears what it says.
    pub(crate) async fn run<T: StepType>(&self, step: &T, input: T::Input) -> Done<T::Output> {
        let (cx, listener) = self.bench.step();
        let output = step.run(&cx, input).await;
        Done {
            output,
            told: listener.told(cx).await,
        }
    }
}

/// What the server says of a database, where it is there.
pub(crate) async fn facts(server: &PgServer, name: &str) -> Option<DatabaseFacts> {
    server
        .open("postgres")
        .await
        .reader()
        .find_database(name)
        .await
        .expect("asked")
}
