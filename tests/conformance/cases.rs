//! One case of each step type.
#![expect(
    clippy::redundant_closure_for_method_calls,
    reason = "a method's name stands for one lifetime of the beds, a closure for all of them"
)]

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::{Value, json};

use super::Case;
use super::beds::{Beds, Fresh, OTHER, TEMPLATE};

/// A step type that saves nothing on its way.
fn case(
    step: &'static str,
    input: impl Fn(&Beds<'_>) -> Value + 'static,
    make: impl for<'w> Fn(&Beds<'w>) -> Fresh<'w> + 'static,
) -> Case {
    Case {
        step,
        input: Box::new(input),
        make: Box::new(make),
        saves: false,
    }
}

/// A step type that can be gone on from what it saved.
fn saving(
    step: &'static str,
    input: impl Fn(&Beds<'_>) -> Value + 'static,
    make: impl for<'w> Fn(&Beds<'w>) -> Fresh<'w> + 'static,
) -> Case {
    Case {
        saves: true,
        ..case(step, input, make)
    }
}

/// All of them.
pub(super) fn all() -> Vec<Case> {
    let mut cases = of_databases();
    cases.extend(of_backups());
    cases.extend(of_stores());
    cases.extend(of_programs_and_people());
    cases
}

fn nothing(_: &Beds<'_>) -> Value {
    json!({})
}

fn of_databases() -> Vec<Case> {
    vec![
        case("postgres.inspect", nothing, |beds| beds.database(&[])),
        case("postgres.ready", nothing, |beds| beds.database(&[])),
        case(
            "postgres.verify",
            |_| json!({ "tables": ["users"] }),
            |beds| beds.database(&[]),
        ),
        case(
            "postgres.query",
            |_| json!({ "sql": "SELECT count(*) AS n FROM public.users" }),
            |beds| beds.database(&[]),
        ),
        case("postgres.analyze", nothing, |beds| beds.statistics()),
        saving("postgres.quiesce", nothing, |beds| {
            beds.database(&[]).but_for(&["/database", "/oid"])
        }),
        case("postgres.unquiesce", nothing, |beds| {
            beds.database(&["ALTER DATABASE {} ALLOW_CONNECTIONS false"])
        }),
        saving(
            "postgres.create_database",
            |_| json!({ "database": OTHER }),
            |beds| beds.database(&[]).but_for(&["/oid"]),
        ),
        saving(
            "postgres.drop_database",
            |_| json!({ "database": OTHER }),
            |beds| beds.database(&[&create_other()]),
        ),
        saving(
            "postgres.switch",
            |_| json!({ "from": OTHER }),
            |beds| {
                let world = beds.database(&[&create_other()]);
                world.but_for(&["/database", "/oid", "/old_database", "/old_oid", "/old_bytes"])
            },
        ),
    ]
}

fn create_other() -> String {
    format!("CREATE DATABASE {OTHER} TEMPLATE conformance")
}

/// Each case has a copy of the database under a name of its own, and the backup is of the first one: so it is asked for.
fn of_backups() -> Vec<Case> {
    let of_backup = |beds: &Beds<'_>| json!({ "backup": beds.backup() });
    vec![
        case("backup.create", nothing, |beds| beds.no_backups()),
        case("backup.find", nothing, |beds| beds.copies().but_for(&["/age_seconds"])),
        case("backup.inventory", |_| json!({ "at": "local" }), |beds| beds.copies()),
        case(
            "backup.select",
            |_| json!({ "of": TEMPLATE }),
            |beds| beds.copies().but_for(&["/age_seconds", "/of_into"]),
        ),
        saving(
            "backup.restore",
            |beds| json!({ "backup": beds.backup(), "of": TEMPLATE }),
            |beds| beds.copies().but_for(&["/database", "/copy", "/oid"]),
        ),
        case("backup.verify", of_backup, |beds| beds.copies()),
        case(
            "backup.files",
            |beds| json!({ "paths": [beds.file("object")], "environment": ["PATH"] }),
            |beds| beds.no_backups(),
        ),
        saving(
            "backup.extract",
            |beds| json!({ "backup": beds.files(), "into": beds.file("extracted") }),
            |beds| beds.not_extracted("extracted"),
        ),
        case(
            "git.bundle",
            |beds| json!({ "repository": beds.file("clone"), "commit": "v1" }),
            |beds| {
                // Made anew in the world of each, as its backups are.
                drop(beds.clone_of_remote("tree"));
                beds.no_backups()
            },
        ),
    ]
}

fn of_stores() -> Vec<Case> {
    vec![
        case(
            "s3.put",
            |beds| json!({ "key": "object", "file": beds.file("object") }),
            |beds| beds.folder(),
        ),
        saving(
            "s3.get",
            |beds| json!({ "key": "object", "file": beds.file("got") }),
            |beds| beds.given("got"),
        ),
        case("s3.list", nothing, |beds| beds.given("got")),
        case("s3.object", |_| json!({ "key": "object" }), |beds| beds.given("got")),
        case("s3.versioning", nothing, |beds| beds.folder()),
        case("s3.versions", nothing, |beds| beds.folder()),
    ]
}

fn of_programs_and_people() -> Vec<Case> {
    vec![
        case(
            "command.run",
            |beds| {
                let made = beds.file("made");
                json!({ "argv": ["mkdir", "-p", made], "verify": ["test", "-d", made], "effect": "reversible" })
            },
            |beds| beds.path("made"),
        ),
        case("http.check", |_| json!({ "url": answers() }), |beds| beds.nothing()),
        case(
            "notify.webhook",
            |_| json!({ "status": "started", "message": "the database comes back" }),
            |beds| beds.receiver(),
        ),
        case(
            "manual.approve",
            |_| json!({ "message": "go on?" }),
            |beds| beds.nothing(),
        ),
        case(
            "manual.task",
            |_| json!({ "do": "look at the rack", "effect": "read-only" }),
            |beds| beds.nothing(),
        ),
        case(
            "check.assert",
            |_| json!({ "that": true, "message": "it is not" }),
            |beds| beds.nothing(),
        ),
        saving(
            "git.checkout",
            |beds| json!({ "repository": beds.file("clone"), "commit": "v1", "into": beds.file("tree") }),
            |beds| {
                let world = beds.clone_of_remote("tree");
                world.but_for(&["/commit", "/branch", "/committed_at"])
            },
        ),
        case(
            "git.verify",
            |beds| json!({ "repository": beds.file("clone"), "commit": "v1" }),
            |beds| beds.clone_of_remote("tree"),
        ),
    ]
}

/// The address of a server that is well as long as this process lives.
fn answers() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Whoever gets no answer says so.
            drop(stream.read(&mut [0; 4096]));
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"));
        }
    });
    format!("http://{address}/health")
}
