//! SQL statements as far as the tests have to understand them: which of them change something, and of which kind they are.

/// What a statement that only looks begins with. Settings of a session change nothing that another one sees.
const LOOKS: [&str; 9] = [
    "SELECT", "WITH", "VALUES", "TABLE", "SHOW", "SET", "RESET", "EXPLAIN", "DISCARD",
];
/// What a statement that begins so contains where it does more.
const DOES: [&str; 6] = ["INSERT", "UPDATE", "DELETE", "MERGE", "INTO", "ANALYZE"];
/// Functions by which a SELECT does something, or what their names begin with.
const DEEDS: [&str; 20] = [
    "PG_TERMINATE_BACKEND",
    "PG_CANCEL_BACKEND",
    "PG_RELOAD_CONF",
    "PG_ROTATE_LOGFILE",
    "PG_SWITCH_WAL",
    "PG_PROMOTE",
    "PG_CREATE_",
    "PG_DROP_",
    "PG_BACKUP_",
    "PG_WAL_REPLAY_",
    "PG_LOGICAL_",
    "PG_STAT_RESET",
    "PG_NOTIFY",
    "PG_CURRENT_XACT_ID",
    "TXID_CURRENT",
    "SETVAL",
    "NEXTVAL",
    "SET_CONFIG",
    "LO_",
    "DBLINK",
];
/// What a transaction is framed by.
const FRAME: [&str; 8] = [
    "BEGIN",
    "START",
    "COMMIT",
    "END",
    "ROLLBACK",
    "ABORT",
    "SAVEPOINT",
    "RELEASE",
];
/// How rows are locked; `FOR UPDATE` is seen by its second word already.
const LOCKS: [&str; 3] = ["SHARE", "NO", "KEY"];
/// What can come after the name in an ALTER.
const ALTERATIONS: [&str; 13] = [
    "ADD",
    "ALTER",
    "OWNER",
    "SET",
    "RESET",
    "ENABLE",
    "DISABLE",
    "ATTACH",
    "RENAME",
    "CLUSTER",
    "VALIDATE",
    "ALLOW_CONNECTIONS",
    "CONNECTION",
];
/// Words of a statement that make no other kind of it.
const MANNER: [&str; 11] = [
    "UNIQUE",
    "MATERIALIZED",
    "TEMP",
    "TEMPORARY",
    "UNLOGGED",
    "OR",
    "REPLACE",
    "ONLY",
    "IF",
    "EXISTS",
    "NOT",
];

/// Whether every statement of a text only looks at the world, or sets something for its own session.
pub(crate) fn reads(text: &str) -> bool {
    statements(text)
        .iter()
        .all(|words| looks(words) || begins_read_only(words))
}

/// The same, where the frame of a transaction counts as nothing: for sessions of which every statement is known.
pub(crate) fn only_reads(text: &str) -> bool {
    let frames = |words: &[String]| FRAME.contains(&words[0].as_str());
    statements(text).iter().all(|words| looks(words) || frames(words))
}

/// The functions that a text calls, as they are written.
pub(crate) fn functions(text: &str) -> Vec<String> {
    let called = |words: Vec<String>| -> Vec<String> { calls(&words).map(str::to_lowercase).collect() };
    statements(text).into_iter().flat_map(called).collect()
}

/// What a statement does, without what it does it to: `ALTER TABLE ADD CONSTRAINT`, `CREATE INDEX`, `SELECT setval`.
pub(crate) fn kind(text: &str) -> String {
    let all = statements(text);
    let Some(words) = all.first() else { return String::new() };
    let words: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|word| !MANNER.contains(word))
        .collect();
    match words[..] {
        ["SELECT", ..] => {
            let function = functions(text).into_iter().next().unwrap_or_default();
            format!("SELECT {function}")
        }
        // ALTER TABLE schema . name ADD CONSTRAINT …: its words after the name.
        ["ALTER", what, ..] => {
            let name = words.iter().skip(2).take_while(|word| is_name(word)).count();
            let deed = words.iter().skip(2 + name).take(2).copied();
            ["ALTER", what].into_iter().chain(deed).collect::<Vec<_>>().join(" ")
        }
        [first, second, ..] if ["CREATE", "DROP", "COMMENT", "REFRESH"].contains(&first) => {
            let object = if second == "ON" {
                words.get(2).copied().unwrap_or_default()
            } else {
                second
            };
            format!("{first} {object}")
        }
        [first, ..] => first.to_owned(),
        [] => String::new(),
    }
}

/// Whether a word of an ALTER is part of a name still: what it does comes after that.
fn is_name(word: &str) -> bool {
    !ALTERATIONS.contains(&word)
}

fn looks(words: &[String]) -> bool {
    LOOKS.contains(&words[0].as_str())
        && !words.iter().any(|word| DOES.contains(&word.as_str()))
        && !words
            .windows(2)
            .any(|pair| pair[0] == "FOR" && LOCKS.contains(&pair[1].as_str()))
        && !calls(words).any(|name| DEEDS.iter().any(|deed| name.starts_with(deed)) || name.contains("ADVISORY"))
}

fn begins_read_only(words: &[String]) -> bool {
    ["BEGIN", "START"].contains(&words[0].as_str()) && words.windows(2).any(|pair| pair == ["READ", "ONLY"])
}

/// Names before a bracket. Words of the language before one are among them, and of no list.
fn calls(words: &[String]) -> impl Iterator<Item = &str> {
    let called = |pair: &&[String]| pair[1] == "(" && pair[0].starts_with(|c: char| c.is_alphabetic() || c == '_');
    words.windows(2).filter(called).map(|pair| pair[0].as_str())
}

/// The statements of a text, each as its words in capitals and its signs; without comments and what is in quotes.
fn statements(text: &str) -> Vec<Vec<String>> {
    let all = words(text);
    all.split(|word| word == ";")
        .filter(|words| !words.is_empty())
        .map(<[String]>::to_vec)
        .collect()
}

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let length = if let Some(end) = quoted(rest) {
            // A name in quotes takes the place of a name.
            if first == '"' {
                words.push("\"\"".to_owned());
            }
            end
        } else if is_word(first) && first != '$' {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            words.push(rest[..end].to_uppercase());
            end
        } else {
            if !first.is_whitespace() && first != '.' {
                words.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    words
}

/// How long a comment or something in quotes is, where the text begins with one.
fn quoted(text: &str) -> Option<usize> {
    let until = |opening: usize, closing: &str| {
        let end = text[opening..].find(closing);
        end.map_or(text.len(), |end| opening + end + closing.len())
    };
    if text.starts_with("--") {
        return Some(until(2, "\n"));
    }
    if text.starts_with("/*") {
        return Some(until(2, "*/"));
    }
    if let Some(quote) = text.chars().next().filter(|c| ['\'', '"'].contains(c)) {
        return Some(until(1, &quote.to_string()));
    }
    let tag = text.strip_prefix('$')?;
    let end = tag
        .find('$')
        .filter(|end| tag[..*end].chars().all(|c| c.is_alphabetic() || c == '_'))?;
    let dollars = text[..end + 2].to_owned();
    Some(until(dollars.len(), &dollars))
}

#[test]
fn what_does_something_is_told_from_what_looks() {
    for text in [
        "SELECT 1",
        "select setting from pg_settings where name = 'pg_terminate_backend(1)'",
        "SHOW server_version",
        "SET statement_timeout = '1min'",
        "WITH a AS (SELECT 1) SELECT * FROM a -- pg_reload_conf()",
        "BEGIN READ ONLY",
        "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        "SELECT $$ setval('x') $$, \"setval\" FROM t",
    ] {
        assert!(reads(text), "{text}");
    }
    for text in [
        "CREATE DATABASE x",
        "ALTER DATABASE x ALLOW_CONNECTIONS false",
        "SELECT 1; DROP DATABASE x",
        "SELECT jsonb_build_object('ended', pg_terminate_backend(pid)) FROM pg_stat_activity",
        "SELECT pg_catalog.setval('public.x', 7, true)",
        "SELECT pg_catalog.set_config('search_path', '', false)",
        "SELECT lo_create(1)",
        "SELECT pg_try_advisory_lock(1)",
        "SELECT * INTO x FROM y",
        "SELECT * FROM x FOR UPDATE",
        "SELECT * FROM x FOR KEY SHARE",
        "WITH gone AS (DELETE FROM x RETURNING 1) SELECT count(*) FROM gone",
        "EXPLAIN ANALYZE SELECT f()",
        "BEGIN; SET LOCAL lock_timeout = '10s'",
        "COMMIT",
        "COPY x FROM STDIN",
        "FASTPATH",
    ] {
        assert!(!reads(text), "{text}");
    }
    assert!(only_reads("BEGIN; SELECT 1; COMMIT") && !only_reads("BEGIN; CREATE TABLE x (); COMMIT"));
}

#[test]
fn kinds_are_told_without_names() {
    for (text, expected) in [
        ("CREATE UNIQUE INDEX a ON b (c)", "CREATE INDEX"),
        ("CREATE MATERIALIZED VIEW public.a AS SELECT 1", "CREATE VIEW"),
        (
            "ALTER TABLE ONLY public.users ADD CONSTRAINT users_pkey PRIMARY KEY (id)",
            "ALTER TABLE ADD CONSTRAINT",
        ),
        ("ALTER TABLE public.users OWNER TO journeyman", "ALTER TABLE OWNER TO"),
        ("ALTER DATABASE \"a b\" RENAME TO c", "ALTER DATABASE RENAME TO"),
        ("SELECT pg_catalog.setval('public.x', 7, true)", "SELECT setval"),
        ("COMMENT ON TABLE public.a IS 'x'", "COMMENT TABLE"),
        ("COPY public.users (id) FROM stdin", "COPY"),
        ("REFRESH MATERIALIZED VIEW public.a", "REFRESH VIEW"),
        ("GRANT SELECT ON TABLE a TO b", "GRANT"),
    ] {
        assert_eq!(kind(text), expected, "{text}");
    }
}
