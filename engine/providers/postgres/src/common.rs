//! What the step types share: the role they act in, and how a database is called in a change.

use std::str::FromStr;
use std::time::Duration;

use jm_client_postgres::{Postgres, Reader};
use jm_step::{InputIssue, Role, StepError};

/// The part that the server plays for every step type here.
pub(crate) fn roles() -> Vec<Role> {
    vec![Role::of::<Postgres>("database")]
}

/// The database that an input names, or the target's own.
pub(crate) fn chosen<'a>(given: Option<&'a String>, reader: &'a Reader) -> &'a str {
    given.map_or_else(|| reader.database(), String::as_str)
}

/// How a change calls a database. The name of a copy differs from run to run, so it is called after what it is of.
pub(crate) fn object(name: &str, reader: &Reader) -> String {
    let own = reader.database();
    match name.strip_prefix(own) {
        Some(rest) if rest.starts_with("_jm") => restored_copy(own),
        Some(rest) if rest.starts_with("_old_") => format!("old database `{own}`"),
        _ => format!("database `{name}`"),
    }
}

/// How a change calls the copy that is to take a database's place.
pub(crate) fn restored_copy(of: &str) -> String {
    format!("restored copy of database `{of}`")
}

/// A database is not there.
pub(crate) fn no_database(name: &str) -> StepError {
    StepError::not_found(format!("database `{name}` does not exist"))
        .hint("check the name; `postgres.inspect` tells whether the target's own database is there")
}

/// A name that the server would cut or cannot hold.
pub(crate) fn name_issues(pointer: &str, name: &str) -> Vec<InputIssue> {
    let too_long = (name.len() > 63).then(|| {
        InputIssue::at(pointer, "the name is longer than 63 bytes")
            .help("PostgreSQL would cut it: choose a shorter one")
    });
    let unusable = (name.is_empty() || name.contains('\0')).then(|| InputIssue::at(pointer, "the name is empty"));
    too_long.into_iter().chain(unusable).collect()
}

/// Nothing to say is success.
pub(crate) fn none_or(issues: Vec<InputIssue>) -> Result<(), Vec<InputIssue>> {
    if issues.is_empty() { Ok(()) } else { Err(issues) }
}

/// A length of time as plans write it: `90s`, `24h`, `30d`.
pub(crate) fn duration(text: &str) -> Result<Duration, InputIssue> {
    let read = jiff::Span::from_str(text)
        .and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()))
        .ok()
        .and_then(|signed| Duration::try_from(signed).ok());
    read.ok_or_else(|| {
        InputIssue::at("", format!("`{text}` is not a length of time")).help("write `90s`, `24h` or `30d`")
    })
}

/// `1 table`, `2 tables`.
pub(crate) fn plural(count: usize, what: &str) -> String {
    if count == 1 {
        format!("1 {what}")
    } else {
        format!("{count} {what}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_read_as_people_write_them() {
        assert_eq!(duration("90s").expect("read"), Duration::from_secs(90));
        assert_eq!(duration("30d").expect("read"), Duration::from_hours(720));
        assert!(duration("soon").is_err());
        assert!(duration("-1h").is_err());
    }

    #[test]
    fn names_that_the_server_would_cut_are_told() {
        assert!(name_issues("/to", &"a".repeat(63)).is_empty());
        assert_eq!(name_issues("/to", &"a".repeat(64)).len(), 1);
        assert_eq!(name_issues("/to", "").len(), 1);
    }
}
