//! Only the database that was looked at, stopped and saved before loses its name to the copy, and none that took the name
//! since.

use jm_client_postgres::DatabaseFacts;
use jm_step::StepError;
use serde_json::{Map, Value};

use super::Input;
use crate::{inspect, quiesce};

/// What the step that `since` names gave out; `None` where there is nothing to compare with.
pub(super) fn since(input: &Input) -> Result<Option<quiesce::Output>, StepError> {
    outputs("since", "a `postgres.quiesce`", input.since.as_ref())
}

fn outputs<T: serde::de::DeserializeOwned>(
    field: &str,
    of: &str,
    given: Option<&Map<String, Value>>,
) -> Result<Option<T>, StepError> {
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        return Ok(None);
    };
    let read = serde_json::from_value(Value::Object(given.clone()));
    read.map(Some).map_err(|error| {
        StepError::invalid_input(format!("`{field}` does not hold the outputs of {of}"))
            .hint(format!("write `{field}: ${{{{ steps.ID.outputs }}}}`"))
            .source(error)
    })
}

/// What an earlier step met under the name.
struct Met {
    database: String,
    what: What,
}

enum What {
    /// The database with this number.
    Database(u32),
    Nothing,
    /// The server did not answer.
    Silence,
}

impl What {
    fn of(oid: Option<u32>) -> Self {
        oid.map_or(Self::Nothing, Self::Database)
    }
}

/// What the earlier steps met; `None` where none says so. What ended the sessions counts, for a resume may do that anew
/// while it keeps the look of before.
fn met(input: &Input) -> Result<Option<Met>, StepError> {
    if let Some(ended) = since(input)? {
        return Ok(Some(Met {
            database: ended.database,
            what: What::of(ended.oid),
        }));
    }
    let seen: Option<inspect::Output> = outputs("seen", "a `postgres.inspect`", input.seen.as_ref())?;
    Ok(seen.map(|seen| Met {
        what: if seen.reachable {
            What::of(seen.oid)
        } else {
            What::Silence
        },
        database: seen.database,
    }))
}

/// Refuses where another database than the one that was met bears the name. Where none does, nothing is lost.
pub(super) fn refuse_another(input: &Input, to: &str, old: Option<&DatabaseFacts>) -> Result<(), StepError> {
    let Some(met) = met(input)? else { return Ok(()) };
    // Of a server that did not answer, the name of its default database is not known either.
    if met.database != to && !met.database.is_empty() {
        return Err(StepError::invalid_input(format!(
            "the steps before looked at database `{}`, and `{to}` is to be switched",
            met.database
        ))
        .hint("let `since` and `seen` name steps on the database whose place the copy takes"));
    }
    let Some(old) = old else { return Ok(()) };
    let (name, number) = (&old.name, old.oid);
    let other = match met.what {
        What::Database(before) if before == number => return Ok(()),
        What::Database(before) => format!(
            "is not the one that the steps before looked at (OID {number}, and that was {before}): somebody has put it there \
             since, and it"
        ),
        What::Nothing => format!(
            "was not there when the steps before looked (OID {number}): somebody has put it there since, and it"
        ),
        What::Silence => {
            "is there, and its server did not answer when the steps before looked: it may serve, and".to_owned()
        }
    };
    Err(StepError::refused(format!(
        "database `{name}` {other} was neither stopped nor saved"
    ))
    .hint(format!(
        "begin anew with `jm plan run`, which stops and saves it before it replaces it; or, where nobody wants what is in \
         it, rename it away (`ALTER DATABASE \"{name}\" RENAME TO …`), then `jm plan resume`"
    )))
}
