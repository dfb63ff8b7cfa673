//! Worlds that nothing has happened in, and how what happens in them is counted.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use jm_step::{AnyStepType, Registry};
use jm_testkit::{StepBench, conformance};
use serde_json::{Value, json};

use crate::environment::World;

/// A database that others are copies of.
pub(super) const TEMPLATE: &str = "conformance";
/// A database that a step makes, removes, or puts in the place of another one.
pub(super) const OTHER: &str = "conformance_jmr_other";

/// The servers, and what is made in them.
pub(super) struct Beds<'w> {
    world: &'w World,
    registry: Registry,
    made: AtomicUsize,
    /// What `backup.files` gave out of the backup that is there.
    files: Value,
    /// What `backup.create` gave out of the backup that is there.
    backup: Value,
}

/// A world for one run of a step: a bench, and a look at what it may change.
pub(super) struct Fresh<'w> {
    bench: StepBench,
    look: Box<dyn Fn() -> String + 'w>,
    seen: RefCell<(String, usize)>,
    incidental: &'static [&'static str],
}

impl<'w> Fresh<'w> {
    /// The same for a step whose output has fields that are not the same in another world, or at another moment.
    pub(super) fn but_for(self, incidental: &'static [&'static str]) -> Self {
        Self { incidental, ..self }
    }

    /// A world in which every look that shows something else than the one before it counts as an effect.
    fn seen_by(bench: StepBench, look: impl Fn() -> String + 'w) -> Self {
        Self {
            bench,
            seen: RefCell::new((look(), 0)),
            look: Box::new(look),
            incidental: &[],
        }
    }
}

impl conformance::World for Fresh<'_> {
    fn bench(&self) -> StepBench {
        self.bench.clone()
    }

    fn effects(&self) -> usize {
        let now = (self.look)();
        let mut seen = self.seen.borrow_mut();
        if seen.0 != now {
            *seen = (now, seen.1 + 1);
        }
        seen.1
    }

    fn incidental(&self) -> &'static [&'static str] {
        self.incidental
    }
}

impl<'w> Beds<'w> {
    /// With a database to copy, a backup of it, and an object in the bucket.
    pub(super) fn make(world: &'w World) -> Result<Self> {
        let mut beds = Self {
            world,
            registry: jm_cli::registry(),
            made: AtomicUsize::new(0),
            files: Value::Null,
            backup: Value::Null,
        };
        world.query("postgres", &format!("CREATE DATABASE {TEMPLATE}"))?;
        for statement in [
            "CREATE TABLE users (id serial PRIMARY KEY, name text)",
            "INSERT INTO users (name) SELECT 'player ' || i FROM generate_series(1, 500) i",
        ] {
            world.query(TEMPLATE, statement)?;
        }
        let bench = beds.bench_on(TEMPLATE, &beds.file("backups-of-all")).key("of-all");
        let backup = world.block_on(bench.run(&*beds.step("backup.create"), json!({})));
        beds.backup = backup.output();
        std::fs::write(beds.file("object"), "content")?;
        let of_files = json!({ "paths": [beds.file("object")] });
        let bench = beds.bench_on(TEMPLATE, &beds.file("files-of-all")).key("of-all");
        beds.files = world
            .block_on(bench.run(&*beds.step("backup.files"), of_files))
            .output();
        let put = json!({ "file": beds.file("object"), "key": "object" });
        world
            .block_on(beds.stored("given/").run(&*beds.step("s3.put"), put))
            .output();
        Ok(beds)
    }

    /// A step type by its name.
    pub(super) fn step(&self, name: &str) -> Arc<dyn AnyStepType> {
        self.registry.get(name).expect("a built-in step type").clone()
    }

    /// A file of this test.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.world.folder().join(name)
    }

    /// The backup that is there, as steps are given it.
    pub(super) fn backup(&self) -> Value {
        self.backup["backup"].clone()
    }

    /// The backup of files that is there.
    pub(super) fn files(&self) -> Value {
        self.files["backup"].clone()
    }

    fn number(&self) -> usize {
        self.made.fetch_add(1, Ordering::Relaxed)
    }

    /// A bench in the environment of this world.
    fn bench(&self) -> StepBench {
        let environment = self.world.systems.environment.iter();
        let path = std::env::var("PATH").expect("a path");
        let all = environment.map(|(name, value)| (name.as_str(), value.as_str()));
        StepBench::new().environment(all.chain([("PATH", path.as_str())]))
    }

    fn bench_on(&self, database: &str, backups: &Path) -> StepBench {
        let url = self.world.systems.variable("DATABASE_URL");
        let (server, _) = url.rsplit_once('/').expect("a URL with a database");
        let connection = |provider| self.registry.connection(provider).expect("a provider");
        let database = json!({ "url": format!("{server}/{database}") });
        let key = self.world.systems.variable("ENCRYPTION_KEY");
        let backups = json!({ "directory": backups, "key": key });
        self.bench()
            .target("database", connection("postgres"), database)
            .target("backups", connection("backup"), backups)
    }

    fn stored(&self, prefix: &str) -> StepBench {
        let bucket = self.world.systems.variable("BACKUP_S3_BUCKET");
        let connection = self.registry.connection("s3").expect("a provider");
        let config = json!({ "bucket": bucket, "prefix": format!("conformance/{prefix}") });
        self.bench().target("bucket", connection, config)
    }

    /// What a query answers, as one text.
    fn answer(&self, database: String, query: String) -> impl Fn() -> String + 'w {
        let world = self.world;
        move || world.query(&database, &query).expect("an answer").join("\n")
    }

    /// A database of its own, in a state that statements put it in; `{}` stands for its name. Those of the server whose
    /// names begin like it, and [`OTHER`], are looked at: by their numbers, too, so that what is made twice is seen twice.
    pub(super) fn database(&self, prepare: &[&str]) -> Fresh<'w> {
        let (name, bench) = self.prepared(prepare);
        let query = format!(
            "SELECT oid, datname, datallowconn, datconnlimit FROM pg_database WHERE datname LIKE '{name}%' OR datname = '{OTHER}' ORDER BY oid"
        );
        Fresh::seen_by(bench, self.answer("postgres".to_owned(), query))
    }

    /// A database of its own, and its copies by what is written on them: what may be dropped and made anew is the same then.
    pub(super) fn copies(&self) -> Fresh<'w> {
        let (name, bench) = self.prepared(&[]);
        let query = format!(
            "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database WHERE datname LIKE '{name}%' ORDER BY 1"
        );
        Fresh::seen_by(bench, self.answer("postgres".to_owned(), query))
    }

    /// A database of its own, and what the server knows of its tables.
    pub(super) fn statistics(&self) -> Fresh<'w> {
        let (name, bench) = self.prepared(&[]);
        let query = "SELECT count(*) FROM pg_stats WHERE schemaname = 'public'";
        Fresh::seen_by(bench, self.answer(name, query.to_owned()))
    }

    fn prepared(&self, prepare: &[&str]) -> (String, StepBench) {
        // As long as any other, so that none begins like another.
        let name = format!("conf{:04}", self.number());
        let drop = format!("DROP DATABASE IF EXISTS {OTHER}");
        let copy = format!("CREATE DATABASE {{}} TEMPLATE {TEMPLATE}");
        let make = |statement: &str| {
            let statement = statement.replace("{}", &name);
            self.world.query("postgres", &statement).expect("prepared");
        };
        make(&drop);
        make(&copy);
        // The server writes small files of its own into a database that is gone into for the first time.
        self.world.query(&name, "SELECT count(*) FROM pg_class").expect("open");
        for statement in prepare {
            make(statement);
        }
        let bench = self.bench_on(&name, &self.file("backups-of-all"));
        (name, bench)
    }

    /// A directory for backups of its own.
    pub(super) fn no_backups(&self) -> Fresh<'w> {
        let directory = self.file(&format!("backups-{}", self.number()));
        let bench = self.bench_on(TEMPLATE, &directory);
        Fresh::seen_by(bench, move || names(&directory))
    }

    /// The backup of files, and a folder that is not there.
    pub(super) fn not_extracted(&self, name: &str) -> Fresh<'w> {
        let path = self.file(name);
        drop(std::fs::remove_dir_all(&path));
        let bench = self.bench_on(TEMPLATE, &self.file("files-of-all"));
        Fresh::seen_by(bench, move || path.exists().to_string())
    }

    /// A folder of the bucket of its own, and all versions in it.
    pub(super) fn folder(&self) -> Fresh<'w> {
        let prefix = format!("{}/", self.number());
        let bench = self.stored(&prefix);
        let (world, prefix) = (self.world, format!("conformance/{prefix}"));
        let bucket = world.systems.variable("BACKUP_S3_BUCKET");
        let words = ["s3api", "list-object-versions", "--bucket", bucket, "--prefix"];
        Fresh::seen_by(bench, move || {
            let words = [&words[..], &[prefix.as_str()]].concat();
            world.aws(&words).expect("an answer")
        })
    }

    /// The folder of the bucket that has an object, and a file that is not there yet.
    pub(super) fn given(&self, name: &str) -> Fresh<'w> {
        let file = self.file(name);
        // It may be there from the world before.
        drop(std::fs::remove_file(&file));
        let look = move || std::fs::read_to_string(&file).unwrap_or_default();
        Fresh::seen_by(self.stored("given/"), look)
    }

    /// A folder that is not there.
    pub(super) fn path(&self, name: &str) -> Fresh<'w> {
        let path = self.file(name);
        drop(std::fs::remove_dir_all(&path));
        Fresh::seen_by(self.bench(), move || path.exists().to_string())
    }

    /// A clone with a commit, `v1`, that its remote has; and a folder that is not there.
    pub(super) fn clone_of_remote(&self, folder: &str) -> Fresh<'w> {
        let (remote, clone) = (self.file("remote"), self.file("clone"));
        for made in [&remote, &clone] {
            // They may be there from the world before.
            drop(std::fs::remove_dir_all(made));
        }
        let git = |at: &Path, words: &[&str]| {
            let at = at.display().to_string();
            let who = ["-c", "user.name=ada", "-c", "user.email=ada@example.com", "-C", &at];
            self.world.run("git", &[&who[..], words].concat()).expect("git does it")
        };
        let place = |path: &Path| path.display().to_string();
        git(self.world.folder(), &["init", "--quiet", &place(&remote)]);
        std::fs::write(remote.join("file"), "content").expect("written");
        git(&remote, &["add", "file"]);
        git(&remote, &["commit", "--quiet", "--message", "first"]);
        git(&remote, &["tag", "v1"]);
        git(
            self.world.folder(),
            &["clone", "--quiet", &place(&remote), &place(&clone)],
        );
        self.path(folder)
    }

    /// Somebody who is told: each key counts once, as receivers are to take it.
    pub(super) fn receiver(&self) -> Fresh<'w> {
        let url = self.world.systems.variable("WEBHOOK_URL");
        let connection = self.registry.connection("notify").expect("a provider");
        let bench = self.bench().target("webhook", connection, json!({ "url": url }));
        let (world, key) = (self.world, format!("deed-{}", self.number()));
        Fresh::seen_by(bench.key(&key), move || {
            let told = world.told().expect("readable");
            told.iter().any(|one| one.key.as_deref() == Some(&key)).to_string()
        })
    }

    /// Nothing that could be changed.
    pub(super) fn nothing(&self) -> Fresh<'w> {
        Fresh::seen_by(self.bench(), String::new)
    }
}

fn names(directory: &Path) -> String {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.join("\n")
}
