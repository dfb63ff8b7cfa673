//! What the driver and the server say, as step errors: a kind to act on, a masked message, and what to do next.

use std::error::Error;
use std::io;

use jm_step::{Secrets, StepError, StepErrorKind};
use serde_json::json;
use tokio_postgres::error::{DbError, SqlState};

/// Turns an error of the driver into one of a step. `doing` comes before it: `cannot connect to …`.
pub(crate) fn from_driver(error: &tokio_postgres::Error, doing: &str, secrets: &Secrets) -> StepError {
    let (kind, message, hint) = match error.as_db_error() {
        Some(said) => from_server(said),
        None => from_wire(error),
    };
    let mut step_error = StepError::new(kind, secrets.mask(&format!("{doing}: {message}")).into_owned());
    if let Some(code) = error.code() {
        step_error = step_error.evidence(json!({ SQLSTATE: code.code() }));
    }
    match hint {
        Some(hint) => step_error.hint(hint),
        None => step_error,
    }
}

/// Whether it is the server itself that says no: then it is there.
pub fn is_said_by_server(error: &StepError) -> bool {
    error
        .summary()
        .evidence
        .is_some_and(|seen| seen.get(SQLSTATE).is_some())
}

/// Under which name an error's evidence has the server's code.
const SQLSTATE: &str = "sqlstate";

/// Whether the connection went, as opposed to the server saying no.
pub fn is_lost_connection(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => is_going_away(code),
        None => error.is_closed() || io_cause(error).is_some(),
    }
}

/// The server ends the session while it says so.
fn is_going_away(code: &SqlState) -> bool {
    let going = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    ];
    going.contains(code) || code.code() == "57P05" || code.code().starts_with("08")
}

type Told = (StepErrorKind, String, Option<&'static str>);

fn from_server(said: &DbError) -> Told {
    let (kind, hint) = classify(said.code());
    let mut message = format!("{} (SQLSTATE {})", said.message(), said.code().code());
    // The detail of a constraint's violation holds rows, which are people's data.
    if let Some(detail) = said.detail().filter(|_| !said.code().code().starts_with("23")) {
        message = format!("{message}: {detail}");
    }
    (kind, message, hint)
}

fn classify(code: &SqlState) -> (StepErrorKind, Option<&'static str>) {
    use StepErrorKind as Kind;
    match code.code() {
        "28P01" => (
            Kind::Denied,
            Some("check the password in the target's `url`, `PGPASSWORD` or `~/.pgpass`"),
        ),
        "28000" => (
            Kind::Denied,
            Some("check the user's name and the server's `pg_hba.conf`"),
        ),
        "42501" => (
            Kind::Denied,
            Some("connect as the database's owner or a superuser, or grant what is missing"),
        ),
        "25006" => (
            Kind::Denied,
            Some("the server is a standby or read-only: point the target at the primary"),
        ),
        "3D000" => (
            Kind::NotFound,
            Some("check the database's name: `postgres.inspect` tells what is there"),
        ),
        "42P01" | "42703" | "42704" | "42883" | "3F000" => (Kind::NotFound, None),
        "42601" => (Kind::InvalidInput, Some("mend the SQL")),
        "22023" | "22P02" | "42P18" | "42846" | "42804" => (Kind::InvalidInput, None),
        "42P04" => (Kind::Conflict, Some("choose another name, or drop that database first")),
        "55006" => (
            Kind::Conflict,
            Some("other sessions use it: run `postgres.quiesce` first, or stop what reconnects"),
        ),
        "55000" => (
            Kind::Conflict,
            Some("if it was closed for a switch, `postgres.unquiesce` lets connections in again"),
        ),
        "55P03" => (
            Kind::Conflict,
            Some("another session holds the lock: let it end, then try again"),
        ),
        "57014" => (
            Kind::TimedOut,
            Some("the server ended the query: give it more time (`query_timeout_seconds` of the target)"),
        ),
        "53100" => (
            Kind::Failed,
            Some("the server's disk is full: free space or add some, then resume"),
        ),
        "53300" => (
            Kind::Unavailable,
            Some("the server has no connection left: end idle sessions or raise `max_connections`"),
        ),
        "57P01" | "57P02" | "57P03" | "57P05" => (
            Kind::Unavailable,
            Some("the server starts, stops or recovers: wait, or look into its log"),
        ),
        "40001" | "40P01" => (Kind::Unavailable, Some("another transaction was in the way: try again")),
        class if class.starts_with("08") || class.starts_with("53") => (Kind::Unavailable, None),
        _ => (Kind::Failed, None),
    }
}

fn from_wire(error: &tokio_postgres::Error) -> Told {
    let message = chain(error);
    // The driver keeps its own kind to itself; what it displays is all there is to tell these apart.
    let own = error.to_string();
    if own.contains("TLS") {
        return from_tls(error, message);
    }
    if own.contains("authentication") || own.contains("invalid configuration") {
        let hint = "give the password in the target's `url`, `PGPASSWORD` or `~/.pgpass`";
        return (StepErrorKind::Denied, message, Some(hint));
    }
    if error.is_closed() || io_cause(error).is_some() {
        let hint = "see that the server runs and can be reached from here";
        return (StepErrorKind::Unavailable, message, Some(hint));
    }
    (StepErrorKind::Failed, message, None)
}

fn from_tls(error: &tokio_postgres::Error, message: String) -> Told {
    let dropped = io_cause(error).is_some_and(|io| io.kind() != io::ErrorKind::InvalidData);
    if dropped {
        return (StepErrorKind::Unavailable, message, None);
    }
    let hint = if message.contains("does not support TLS") {
        "turn tls on at the server, or say `sslmode=disable` in the URL if the network is trusted"
    } else {
        "name the certificate authority's file (`ca_file` of the target), and use the host's name that stands in the \
         server's certificate"
    };
    (StepErrorKind::Failed, message, Some(hint))
}

fn io_cause(error: &tokio_postgres::Error) -> Option<&io::Error> {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return Some(io);
        }
        next = cause.source();
    }
    None
}

fn chain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_kind() {
        use StepErrorKind as Kind;
        for (code, kind) in [
            ("28P01", Kind::Denied),
            ("28000", Kind::Denied),
            ("57P03", Kind::Unavailable),
            ("08006", Kind::Unavailable),
            ("3D000", Kind::NotFound),
            ("55006", Kind::Conflict),
            ("53100", Kind::Failed),
            ("53300", Kind::Unavailable),
            ("57014", Kind::TimedOut),
            ("XX000", Kind::Failed),
        ] {
            assert_eq!(classify(&SqlState::from_code(code)).0, kind, "{code}");
        }
    }
}
