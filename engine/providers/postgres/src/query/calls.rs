//! What a question calls. A transaction that cannot write does not stop a function that ends another session, waits, or
//! reads a file: PostgreSQL says of each function whether it may do something (`provolatile`, chapter "Function Volatility
//! Categories" of its documentation), and those that may are refused, but for some that are known to look only.

use std::collections::BTreeSet;

use jm_client_postgres::{ReadSession, TextValue};
use jm_step::StepError;
use serde_json::json;

/// Functions that PostgreSQL calls volatile because what they give changes from call to call, or for a lock that they take
/// to read.
const LOOKS: [&str; 33] = [
    "bt_index_check",
    "clock_timestamp",
    "gen_random_uuid",
    "pg_blocking_pids",
    "pg_control_checkpoint",
    "pg_control_init",
    "pg_control_recovery",
    "pg_control_system",
    "pg_current_wal_flush_lsn",
    "pg_current_wal_insert_lsn",
    "pg_current_wal_lsn",
    "pg_database_size",
    "pg_get_wal_replay_pause_state",
    "pg_indexes_size",
    "pg_is_in_recovery",
    "pg_is_wal_replay_paused",
    "pg_last_committed_xact",
    "pg_last_wal_receive_lsn",
    "pg_last_wal_replay_lsn",
    "pg_last_xact_replay_timestamp",
    "pg_lock_status",
    "pg_ls_waldir",
    "pg_relation_size",
    "pg_table_size",
    "pg_tablespace_size",
    "pg_total_relation_size",
    "pg_xact_commit_timestamp",
    "random",
    "random_normal",
    "timeofday",
    "uuidv4",
    "uuidv7",
    "verify_heapam",
];
/// Functions that PostgreSQL calls stable, and that give the transaction a number of its own.
const NUMBERS: [&str; 2] = ["pg_current_xact_id", "txid_current"];

/// Refuses a question that does more than look.
pub(super) async fn only_looks(session: &ReadSession, sql: &str) -> Result<(), StepError> {
    let Some(called) = called(sql) else {
        let error =
            StepError::invalid_input("what the question calls cannot be told: it has a name in Unicode escapes");
        return Err(error.hint("write the name as it is, without `U&`"));
    };
    let known = TextValue(Some(json!(called).to_string()));
    let volatile: Vec<String> = session
        .json(
            "SELECT DISTINCT to_json(proname::text)::text FROM pg_catalog.pg_proc WHERE provolatile = 'v' \
             AND proname::text IN (SELECT pg_catalog.json_array_elements_text($1::json))",
            &[&known],
        )
        .await?;
    let numbers = called.iter().filter(|name| NUMBERS.contains(&name.as_str()));
    let does = volatile
        .iter()
        .filter(|name| !LOOKS.contains(&name.as_str()))
        .chain(numbers);
    let names: Vec<String> = does.map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        return Ok(());
    }
    let error = StepError::invalid_input(format!(
        "the question calls {}, which may do more than look",
        names.join(", ")
    ));
    Err(error.hint(
        "ask functions that are declared STABLE or IMMUTABLE; what is to change something belongs into `command.run`",
    ))
}

/// The names that stand where a function's may: before a bracket, or after a dot (`row.function` calls it too). `None`
/// where a name is written in a way that is not read here.
fn called(sql: &str) -> Option<BTreeSet<String>> {
    let mut rest = sql;
    let mut names = BTreeSet::new();
    let mut last: Option<String> = None;
    let mut after_dot = false;
    while let Some(first) = rest.chars().next() {
        let token = token(rest)?;
        let (text, left) = rest.split_at(token.length);
        rest = left;
        match token.kind {
            Kind::Blank => continue,
            Kind::Name => {
                let name = name(text);
                if after_dot {
                    names.insert(name.clone());
                }
                last = Some(name);
            }
            Kind::Other => {
                if first == '(' {
                    names.extend(last.take());
                }
                last = None;
            }
        }
        after_dot = first == '.';
    }
    Some(names)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// White space, or a comment.
    Blank,
    Name,
    /// A text, a number, or a sign.
    Other,
}

struct Token {
    kind: Kind,
    /// In bytes.
    length: usize,
}

/// What the text begins with, by the rules of PostgreSQL's chapter "Lexical Structure". `None` where it is a name in Unicode
/// escapes.
fn token(text: &str) -> Option<Token> {
    let of = |kind, length| Some(Token { kind, length });
    let first = text.chars().next()?;
    let lower = text.get(..3).unwrap_or_default().to_ascii_lowercase();
    if lower == "u&\"" {
        return None;
    }
    if first.is_whitespace() {
        return of(Kind::Blank, first.len_utf8());
    }
    if text.starts_with("--") {
        return of(Kind::Blank, text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return of(Kind::Blank, comment(text));
    }
    if lower.starts_with("e'") {
        return of(Kind::Other, 1 + quoted(&text[1..], '\'', true));
    }
    match first {
        '\'' => of(Kind::Other, quoted(text, '\'', false)),
        '"' => of(Kind::Name, quoted(text, '"', false)),
        '$' => of(Kind::Other, dollar_quoted(text).unwrap_or(1)),
        _ if first == '_' || first.is_alphabetic() => {
            let is_over = |c: char| !(c == '_' || c == '$' || c.is_alphanumeric());
            of(Kind::Name, text.find(is_over).unwrap_or(text.len()))
        }
        _ => of(Kind::Other, first.len_utf8()),
    }
}

/// How PostgreSQL stores a name as it is written.
fn name(text: &str) -> String {
    match text.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').unwrap_or(quoted).replace("\"\"", "\""),
        None => text.to_lowercase(),
    }
}

/// The length of a comment, in which others may lie.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of what stands between two signs, in which a doubled one is one of the text.
fn quoted(text: &str, sign: char, backslashes: bool) -> usize {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if backslashes && c == '\\' {
            chars.next();
        } else if c == sign && chars.next_if(|(_, next)| *next == sign).is_none() {
            return at + c.len_utf8();
        }
    }
    text.len()
}

/// The length of a text between two tags such as `$$` or `$tag$`; `None` where it is a parameter.
fn dollar_quoted(text: &str) -> Option<usize> {
    let tag = text[1..].find('$')? + 2;
    let is_tag = |(at, c): (usize, char)| c == '_' || c.is_alphabetic() || at > 0 && c.is_alphanumeric();
    if !text[1..tag - 1].char_indices().all(is_tag) {
        return None;
    }
    let end = text[tag..].find(&text[..tag]);
    Some(end.map_or(text.len(), |end| tag + end + tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(sql: &str) -> Vec<String> {
        called(sql).expect("it can be told").into_iter().collect()
    }

    #[test]
    fn calls_are_found_however_they_are_written() {
        for sql in [
            "SELECT pg_sleep(1)",
            "SELECT PG_Sleep (1)",
            "SELECT \"pg_sleep\"(1)",
            "SELECT pg_catalog.pg_sleep/* now */(1)",
            "SELECT pg_sleep -- now\n (1)",
            "SELECT pg_sleep/* a /* b */ c */(1)",
            "SELECT 'it''s' || pg_sleep(1)",
            "SELECT E'it\\'s' || pg_sleep(1)",
            "SELECT $a$ ' $a$ || pg_sleep(1), $1",
            "SELECT $1, $2 || pg_sleep(1)",
            "SELECT row.pg_sleep FROM row",
        ] {
            assert!(all(sql).contains(&"pg_sleep".to_owned()), "{sql}: {:?}", all(sql));
        }
        assert_eq!(called("SELECT U&\"pg\\005fsleep\"(1)"), None);
    }

    #[test]
    fn what_is_no_call_is_none() {
        for sql in [
            "SELECT 'pg_sleep(1)'",
            "SELECT 'a''pg_sleep(1)'",
            "SELECT E'\\'pg_sleep(1)'",
            "SELECT $$pg_sleep(1)$$",
            "SELECT $tag$ pg_sleep(1) $$ pg_sleep(1) $tag$",
            "SELECT 1 -- pg_sleep(1)",
            "SELECT 1 /* /* */ pg_sleep(1) */",
            "SELECT pg_sleep FROM pg_sleep",
            "SELECT \"pg_sleep(1)\"",
        ] {
            assert!(!all(sql).contains(&"pg_sleep".to_owned()), "{sql}: {:?}", all(sql));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_to_its_end(sql in "[a-zU&'\"$/*\\-\\\\(). \n0-9ä]{0,60}") {
            drop(called(&sql));
        }
    }
}
