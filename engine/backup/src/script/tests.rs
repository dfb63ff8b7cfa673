//! What passes, what is dropped, what is refused; and that it does not matter how the script is cut into pieces.

use proptest::prelude::*;

use super::*;

fn run(text: &str, rules: Rules, piece: usize) -> Result<String, ScriptError> {
    let mut script = Script::new(rules);
    let mut out = Vec::new();
    for piece in text.as_bytes().chunks(piece.max(1)) {
        script.feed(piece, &mut out)?;
    }
    script.finish(&mut out)?;
    Ok(String::from_utf8(out).expect("text"))
}

fn passes(text: &str) -> String {
    run(text, Rules::default(), 7).unwrap_or_else(|error| panic!("{error} in {text}"))
}

const DUMP: &str = r"--
-- PostgreSQL database dump
--

\restrict abc123XYZ

SET statement_timeout = 0;
SET transaction_timeout = 0;
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
CREATE FUNCTION public.f(a$1 integer) RETURNS text LANGUAGE plpgsql AS $_$
BEGIN
  -- \! in a body is text; $1 too
  RETURN 'it''s \n' || $1 || $$inner$$;
END;
$_$;
CREATE FUNCTION public.g() RETURNS integer LANGUAGE sql BEGIN ATOMIC
 SELECT CASE WHEN true THEN 1 ELSE 2 END;
 SELECT 2;
END;
CREATE RULE r AS ON INSERT TO public.t DO ALSO (INSERT INTO l VALUES (1); COMMIT_LOG);
COMMENT ON TABLE public.t IS E'back\\slash \'quoted\' \! done';
/* a comment /* inside */ \! still */
COPY public.t (id, note) FROM stdin;
1	\N
2	a\\b; \! not a command
\restrict in a row is data
3	'open quote
\.

COPY public.empty (id) FROM stdin;
\.


ALTER TABLE ONLY public.t ADD CONSTRAINT t_pkey PRIMARY KEY (id);

\unrestrict abc123XYZ

";

#[test]
fn a_dump_passes_all_but_its_restrictions() {
    let expected = DUMP
        .replace("\n\\restrict abc123XYZ\n", "\n\n")
        .replace("\\unrestrict abc123XYZ\n", "\n");
    assert_eq!(passes(DUMP), expected);
    let rules = Rules {
        in_transaction: true,
        drop_transaction_timeout: true,
    };
    let expected = expected.replace("SET transaction_timeout = 0;\n", "\n");
    assert_eq!(run(DUMP, rules, 1).expect("passes"), expected);
}

#[test]
fn meta_commands_are_refused_wherever_psql_would_run_them() {
    for (text, line) in [
        ("\\! id\n", 1),
        ("SELECT 1 \\! id\n", 1),
        ("SELECT 1;\n\\copy t from program 'id'\n", 2),
        ("\\connect other\n", 1),
        ("\\restrict `id`\n", 1),
        ("\\unrestrict a b\n", 1),
        ("SELECT 'a'\\g |id\n", 1),
        ("SELECT $$a$$ \\gexec\n", 1),
        ("/* c */ \\! id\n", 1),
        ("-- c\n\\! id\n", 2),
        ("COPY t FROM stdin;\n1\n\\.\n\\! id\n", 4),
        ("SELECT \"a\\b\" \\! id\n", 1),
        ("SELECT 'a\\' \\! id\n", 1),
        ("\\! no line end", 1),
        ("SET x = 1 \\! id\n", 1),
        ("SET transaction_timeout \\! id\n", 1),
        ("SELECT $1 \\! id\n", 1),
        ("SELECT a$b$ \\! id $b$\n", 1),
        ("SELECT $\\! id\n", 1),
        // To psql the first of these lines begins the body of a function, in which a semicolon ends nothing.
        ("\"x\" create function begin;\ncopy t from stdin;\n\\! id\n", 3),
        (
            "create function f() begin atomic en$d;\ncopy t from stdin;\n\\! id\n",
            3,
        ),
        (
            "create table stdin();\ncopy (select 1 from stdin) to stdout;\n\\! id\n",
            3,
        ),
        ("1 2 3 4 5 create function begin;\ncopy t from stdin;\n\\! id\n", 3),
    ] {
        match run(text, Rules::default(), 3) {
            Err(ScriptError::MetaCommand { line: at, .. }) => assert_eq!(at, line, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn a_script_cannot_reach_beyond_its_database() {
    for (text, statement) in [
        ("SELECT 1;\nDROP DATABASE journeyman_prod;", "DROP DATABASE"),
        ("drop /* x */ Database \"journeyman_prod\";", "DROP DATABASE"),
        ("CREATE DATABASE x;", "CREATE DATABASE"),
        ("ALTER DATABASE x RENAME TO y;", "ALTER DATABASE"),
        ("DROP ROLE app;", "DROP ROLE"),
        ("ALTER SYSTEM SET fsync = off;", "ALTER SYSTEM"),
        ("DROP TABLESPACE fast;", "DROP TABLESPACE"),
        ("DROP USER \"app\";", "DROP USER"),
        ("ALTER USER app SUPERUSER;", "ALTER USER"),
        ("create user \"app\" with password 'x';", "CREATE USER"),
        ("DROP GROUP app;", "DROP GROUP"),
    ] {
        match run(text, Rules::default(), 2) {
            Err(ScriptError::Server { statement: found, .. }) => assert_eq!(found, statement),
            other => panic!("{text}: {other:?}"),
        }
    }
    for text in [
        "ALTER DEFAULT PRIVILEGES FOR ROLE app GRANT SELECT ON TABLES TO reader;",
        "COMMENT ON DATABASE x IS 'DROP DATABASE x';",
        "CREATE TABLE database (role text);",
        "CREATE USER MAPPING FOR \"app\" SERVER other;",
        "DROP USER MAPPING FOR app SERVER other;",
        "CREATE TABLE user_groups (id int);",
        "SELECT 'x'; -- DROP DATABASE x;",
        "COPY t FROM stdin;\nDROP DATABASE x;\n\\.\n",
    ] {
        passes(text);
    }
}

#[test]
fn a_script_cannot_end_the_transaction_around_it() {
    let rules = Rules {
        in_transaction: true,
        ..Rules::default()
    };
    for text in [
        "COMMIT;",
        "select 1; Rollback;",
        "END;",
        "BEGIN;",
        "/* x */ abort;",
        "PREPARE TRANSACTION 'x';",
    ] {
        assert!(
            matches!(run(text, rules, 2), Err(ScriptError::Transaction { .. })),
            "{text}"
        );
        passes(text);
    }
    for text in ["PREPARE p AS SELECT 1;", "SELECT 'COMMIT;';", "SELECT commit FROM t;"] {
        run(text, rules, 2).expect(text);
    }
}

#[test]
fn what_psql_might_read_otherwise_is_refused() {
    for text in [
        "COPY t FROM stdin; \\! id\n1\n\\.\n",
        "COPY t FROM stdin; SELECT 1;\n\\.\n",
        "SELECT 1$a$ ' $a$ \\! id '\n",
    ] {
        assert!(
            matches!(run(text, Rules::default(), 5), Err(ScriptError::Unclear { .. })),
            "{text}"
        );
    }
}

#[test]
fn quotes_must_stay_readable() {
    assert!(matches!(
        run("SET standard_conforming_strings = off;", Rules::default(), 9),
        Err(ScriptError::Strings { .. })
    ));
}

#[test]
fn a_script_that_was_cut_is_noticed() {
    for text in [
        "SELECT 1",
        "SELECT 'a",
        "SELECT 'a'",
        "SELECT \"a",
        "SELECT $$a",
        "/* a",
        "COPY t FROM stdin;\n1\n",
        "COPY t FROM stdin;\n1\n\\.",
    ] {
        assert!(
            matches!(run(text, Rules::default(), 4), Err(ScriptError::Unfinished { .. })),
            "{text}"
        );
    }
    passes("");
    passes("-- only a comment");
}

proptest! {
    #[test]
    fn pieces_make_no_difference(piece in 1_usize..50) {
        let whole = run(DUMP, Rules::default(), DUMP.len()).expect("passes");
        prop_assert_eq!(run(DUMP, Rules::default(), piece).expect("passes"), whole);
    }

    #[test]
    fn whatever_is_quoted_passes(text in "[^\\x00]{0,60}") {
        let doubled = text.replace('\'', "''");
        let script = format!("SELECT '{doubled}';\n");
        prop_assert_eq!(passes(&script), script);
    }

    #[test]
    fn nothing_makes_it_panic(text in "[-'\"$\\\\;()/*a-fS.\\n]{0,200}") {
        drop(run(&text, Rules { in_transaction: true, drop_transaction_timeout: true }, 3));
    }
}
