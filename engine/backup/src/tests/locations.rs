//! A directory and a bucket together, on the sandbox's store and on versitygw.

use jm_sandbox::s3::{Credentials, S3Server};
use jm_step::process::{Command, Process, Supervisor};
use jm_step::{Connection, Environment, OpenContext, RunId, Secrets, StepErrorKind};
use jm_testkit::line::{Refusal, refusing};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::rig::*;
use crate::location::Location;
use crate::*;

struct Store {
    endpoint: String,
    _server: Option<S3Server>,
    _process: Option<Process>,
    folder: TempDir,
}

impl Store {
    async fn sandbox() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let listen = "127.0.0.1:0".parse().expect("address");
        let server = S3Server::start(folder.path(), listen, Credentials::new("jm-test", "jm-test-secret")).await;
        let server = server.expect("the sandbox's store starts");
        Self {
            endpoint: server.endpoint(),
            _server: Some(server),
            _process: None,
            folder,
        }
    }

    async fn versitygw() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("folder");
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .expect("port")
            .port();
        let process = Command::new(versitygw())
            .args(["--port", &format!("127.0.0.1:{port}"), "posix"])
            .arg(data.display().to_string())
            .env("ROOT_ACCESS_KEY", "jm-test")
            .env("ROOT_SECRET_KEY", "jm-test-secret")
            .spawn(&Supervisor::none(), &Environment::default())
            .expect("versitygw starts");
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Self {
            endpoint: format!("http://127.0.0.1:{port}"),
            _server: None,
            _process: Some(process),
            folder,
        }
    }

    /// The configuration of a new bucket.
    async fn bucket(&self, name: &str) -> Value {
        self.client(name).await.create_bucket().await.expect("bucket");
        self.config(name)
    }

    fn config(&self, name: &str) -> Value {
        json!({
            "enabled": true, "bucket": name, "endpoint": self.endpoint, "region": "us-east-1",
            "access_key_id": "jm-test", "secret_access_key": "jm-test-secret",
        })
    }

    /// A client that sees a bucket's backups.
    async fn client(&self, name: &str) -> jm_client_s3::S3Bucket {
        let config: S3Config = serde_json::from_value(self.config(name)).expect("config");
        let cx = OpenContext {
            secrets: Secrets::new(),
            environment: Environment::default(),
            run: RunId::generate(),
        };
        jm_client_s3::S3Bucket::open(&config.client(&cx.environment).expect("enabled"), &cx)
            .await
            .expect("client")
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests find their servers through the environment"
)]
fn versitygw() -> std::path::PathBuf {
    if let Ok(program) = std::env::var("JM_TEST_VERSITYGW") {
        return program.into();
    }
    let home = std::env::var("HOME").unwrap_or_default();
    let cache = std::env::var("XDG_CACHE_HOME").unwrap_or_else(|_| format!("{home}/.cache"));
    let program = std::path::Path::new(&cache).join("jm/tools/versitygw-v1.7.0/versitygw");
    assert!(
        program.exists(),
        "versitygw is missing: run `tests/services/install s3`"
    );
    program
}

async fn both_ways(store: &Store) {
    let rig = Rig::new().await;
    let s3 = store.bucket("backups").await;
    let backups = rig.backups_with(json!({ "s3": s3 })).await;
    backups.ping().await.expect("up");
    let created = rig.create(&backups).await;
    let name = created.manifest.name.clone();
    assert_eq!(created.backup.locations, [LocationName::Local, LocationName::S3]);
    let identity = backups.identity().await.expect("identity");
    assert_eq!(identity.0.keys().collect::<Vec<_>>(), ["local", "s3"]);
    let entry = backups.find(&name).await.expect("found");
    for at in [LocationName::Local, LocationName::S3] {
        for level in [Level::Checksum, Level::Decrypt, Level::Archive] {
            backups.prove(&entry, at, level, &tools(), &Silent).await.expect("good");
        }
    }
    let before = rig.inventory(&rig.database).await;

    // The bucket alone is enough.
    let alone = open(json!({ "s3": s3, "key": KEY })).await;
    let restored = rig.aside(&alone, &name).await.expect("from s3");
    assert_eq!(rig.inventory(&restored.database).await, before);
    let only = rig.create(&alone).await;
    assert_eq!(only.manifest.level, Level::Archive);

    // A damaged copy is given up for the other one, and that is told.
    let path = rig.directory().join(name.as_str());
    let mut bytes = std::fs::read(&path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).expect("write");
    let heard = Heard::default();
    let request = rig.restore(&name, Target::Aside);
    let restored = backups
        .restore(&rig.postgres, &request, &tools(), &heard)
        .await
        .expect("from the other");
    assert_eq!(rig.inventory(&restored.database).await, before);
    assert!(
        heard.degraded()[0].contains("the copy in local"),
        "{:?}",
        heard.degraded()
    );
    let error = backups
        .prove(&entry, LocationName::Local, Level::Checksum, &tools(), &Silent)
        .await
        .expect_err("bad");
    assert!(error.message().contains("checksum"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_and_the_sandboxs_bucket() {
    Box::pin(both_ways(&Store::sandbox().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_and_a_real_bucket() {
    Box::pin(both_ways(&Store::versitygw().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_location_that_fails_makes_it_degraded() {
    let rig = Rig::new().await;
    let store = Store::sandbox().await;
    let s3 = store.bucket("backups").await;
    // A file where the directory should be.
    std::fs::write(rig.directory(), "in the way").expect("write");
    let backups = rig.backups_with(json!({ "s3": s3 })).await;
    backups.ping().await.expect("the bucket answers");
    assert_eq!(backups.down().await[0].0, LocationName::Local);
    let heard = Heard::default();
    let created = backups
        .create(&rig.postgres, &rig.request(), &tools(), &heard)
        .await
        .expect("in s3");
    assert_eq!(created.backup.locations, [LocationName::S3]);
    assert!(
        heard.degraded()[0].contains("is not in local"),
        "{:?}",
        heard.degraded()
    );

    // And the other way round: no such bucket.
    std::fs::remove_file(rig.directory()).expect("remove");
    let mut gone = s3.clone();
    gone["bucket"] = json!("nowhere");
    let backups = rig.backups_with(json!({ "s3": gone })).await;
    let heard = Heard::default();
    let created = backups
        .create(&rig.postgres, &rig.request(), &tools(), &heard)
        .await
        .expect("local");
    assert_eq!(created.backup.locations, [LocationName::Local]);
    assert!(heard.degraded()[0].contains("is not in s3"), "{:?}", heard.degraded());
    let wanted = Wanted::database(Which::Latest);
    let chosen = backups.select(&wanted, &tools(), &Silent).await.expect("chosen");
    assert!(
        chosen.degraded[0].contains("s3 does not answer"),
        "{:?}",
        chosen.degraded
    );
    drop(store.folder);
}

/// What of two backups a bucket lacks, as far as that is seen without reading them; the older one has a manifest here alone.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_bucket_lacks_is_named() {
    let rig = Rig::new().await;
    let store = Store::sandbox().await;
    let s3 = store.bucket("backups").await;
    let backups = rig.backups_with(json!({ "s3": s3 })).await;
    let (older, newer) = (rig.create(&backups).await, rig.create(&backups).await);
    let at = LocationName::S3;
    let whole = backups.wholeness(at, Later::Told).await.expect("looked");
    assert_eq!((whole.whole, whole.lacking.len()), (2, 0), "{:?}", whole.lacking);
    let other = rig
        .backups_with(json!({ "s3": s3, "key": "a key that came after it, of many words" }))
        .await;
    let found = other.wholeness(at, Later::Told).await.expect("looked");
    assert_eq!(
        (found.whole, found.other_key, found.lacking.len()),
        (0, 2, 0),
        "{:?}",
        found.lacking
    );

    let bucket = store.client("backups").await;
    let name = older.manifest.name.as_str();
    let bytes = usize::try_from(older.manifest.bytes.encrypted).expect("fits");
    let noted = jm_client_s3::Put {
        metadata: [("sha256".to_owned(), "0".repeat(64))].into(),
        ..jm_client_s3::Put::default()
    };
    let lacks = async |expected: &str| {
        let found = backups.wholeness(at, Later::Told).await.expect("looked");
        let lacking: Vec<_> = found.lacking.iter().map(|lacking| lacking.name.as_str()).collect();
        assert_eq!((found.whole, lacking), (1, vec![name]));
        let reason = &found.lacking[0].reason;
        assert!(reason.contains(expected), "{reason}");
    };
    bucket.put_bytes(name, vec![0; bytes], noted).await.expect("written");
    lacks("another checksum").await;
    // What somebody else has put there later says nothing of itself.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let silent = jm_client_s3::Put::default();
    bucket.put_bytes(name, vec![0; bytes], silent).await.expect("written");
    let found = backups.wholeness(at, Later::Told).await.expect("looked");
    assert_eq!((found.whole, found.unproven), (2, 1), "{:?}", found.lacking);
    let found = backups.wholeness(at, Later::Read).await.expect("looked");
    let told = found.lacking.iter();
    let lacking: Vec<_> = told.map(|one| (one.name.as_str(), one.reason.as_str())).collect();
    assert_eq!((found.whole, found.unproven), (1, 0));
    assert_eq!(lacking, [(name, "its file has another checksum")]);
    bucket
        .put_bytes(name, "short", jm_client_s3::Put::default())
        .await
        .expect("written");
    lacks("has 5 bytes").await;
    bucket.delete(name, None).await.expect("deleted");
    lacks("is not there").await;
    bucket
        .delete(&older.manifest.name.manifest(), None)
        .await
        .expect("deleted");
    lacks("is not there").await;
    assert_eq!(
        backups
            .wholeness(LocationName::Local, Later::Told)
            .await
            .expect("looked")
            .whole,
        2
    );

    // A bucket that is gone has nothing, and a directory that is gone tells nothing.
    let mut gone = s3.clone();
    gone["bucket"] = json!("nowhere");
    let elsewhere = rig.backups_with(json!({ "s3": gone })).await;
    let names: Vec<String> = elsewhere
        .wholeness(at, Later::Told)
        .await
        .expect("looked")
        .lacking
        .into_iter()
        .map(|lacking| lacking.name)
        .collect();
    assert_eq!(names, [newer.manifest.name.to_string(), name.to_owned()]);
    assert!(backups.places().await.expect("looked").directory_exists);
    std::fs::remove_dir_all(rig.directory()).expect("removed");
    let places = backups.places().await.expect("looked");
    assert_eq!(
        (places.directory, places.directory_exists),
        (Some(rig.directory()), false)
    );
    assert_eq!(
        (places.bucket.as_deref(), places.prefix.as_deref()),
        (Some("backups"), Some("backups/"))
    );
    assert_eq!(backups.wholeness(at, Later::Told).await.expect("looked").whole, 1);
}

/// The address of a line to a store that gives out everything but what is meant, by the first line of a request.
async fn without(store: &Store, is_meant: impl Fn(&str) -> bool + Clone + Send + Sync + 'static) -> Value {
    let refusal = Refusal {
        is_meant: move |head: &str| head.starts_with("GET") && head.lines().next().is_some_and(&is_meant),
        status: "503 Service Unavailable",
        body: "<Error><Code>ServiceUnavailable</Code><Message>Please try again.</Message></Error>",
    };
    let server = store
        .endpoint
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    json!(format!("http://{}", refusing(server, refusal).await))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_cannot_be_read_for_now_is_no_reason_for_an_older_backup() {
    let rig = Rig::new().await;
    let store = Store::sandbox().await;
    let mut s3 = store.bucket("backups").await;
    // A file where the directory should be: the bucket has the only copies.
    std::fs::write(rig.directory(), "in the way").expect("write");
    let backups = rig.backups_with(json!({ "s3": s3 })).await;
    let older = rig.create(&backups).await;
    // Without its manifest a backup is as old as its name says, in whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let newer = rig.create(&backups).await;
    let meant = newer.manifest.name.manifest();
    s3["endpoint"] = without(&store, move |request| request.contains(&meant)).await;
    let cut = rig.backups_with(json!({ "s3": s3 })).await;

    let latest = Wanted::database(Which::Latest);
    let errors = [
        cut.select(&latest, &tools(), &Silent)
            .await
            .expect_err("nobody knows which is the newest"),
        cut.made_by("another deed").await.expect_err("nobody knows who made it"),
    ];
    for error in errors {
        assert_eq!(error.kind(), StepErrorKind::Unavailable, "{error}");
        let words = format!("the manifest of `{}` cannot be read", newer.manifest.name);
        assert!(error.message().contains(&words), "{error}");
    }
    let catalogue = cut.catalogue().await.expect("a catalogue");
    let entry = catalogue.find(&newer.manifest.name).expect("an entry");
    let error = entry
        .must_be(&newer.manifest.sha256)
        .expect_err("it cannot be compared");
    assert_eq!(error.kind(), StepErrorKind::Unavailable, "{error}");

    // What is known is known, and a backup that somebody names is what he gets.
    let key = &older.manifest.idempotency_key;
    let made = cut.made_by(key).await.expect("known").expect("it was made");
    let absences = cut.absences(&made).await;
    assert!(absences.len() == 1 && absences[0].contains("in local"), "{absences:?}");
    let unread = backups.made_by(&newer.manifest.idempotency_key).await;
    let absences = cut.absences(&unread.expect("known").expect("made")).await;
    assert!(
        absences[1].starts_with("whether backup"),
        "nobody knows of the bucket: {absences:?}"
    );
    let named = Wanted::database(Which::Name(older.manifest.name.clone()));
    let chosen = cut.select(&named, &tools(), &Silent).await.expect("chosen");
    assert_eq!(chosen.backup.name, older.manifest.name);
    // The line alone was to blame.
    let chosen = backups.select(&latest, &tools(), &Silent).await.expect("chosen");
    assert_eq!(chosen.backup.name, newer.manifest.name);
}

/// Of what makes a backup the manifest is written last, in one location after the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_cut_off_between_two_manifests_is_not_whole_in_one_location() {
    let rig = Rig::new().await;
    let store = Store::sandbox().await;
    let backups = rig.backups_with(json!({ "s3": store.bucket("backups").await })).await;
    let manifest = rig.create(&backups).await.manifest;
    let absences = async || {
        let made = backups.made_by(&manifest.idempotency_key).await.expect("known");
        backups.absences(&made.expect("it was made")).await
    };
    assert_eq!(absences().await, Vec::<String>::new());
    std::fs::remove_file(rig.directory().join(manifest.name.manifest())).expect("removed");
    let told = absences().await;
    let words = format!("backup `{}` is not whole in local", manifest.name);
    assert!(told.len() == 1 && told[0].starts_with(&words), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_costs_only_its_own_copy() {
    let rig = Rig::new().await;
    rig.server.sql(&rig.database, &["CREATE TABLE blob AS SELECT md5(random()::text) || md5(random()::text) AS x FROM generate_series(1, 260000)"]).await;
    let store = Store::sandbox().await;
    let s3 = store.bucket("backups").await;
    std::fs::create_dir(rig.directory()).expect("folder");
    shell(
        &format!(
            "mount -t tmpfs -o size=8m,mode=700 tmpfs '{}'",
            rig.directory().display()
        ),
        &[],
    );
    let backups = rig.backups_with(json!({ "s3": s3 })).await;
    let heard = Heard::default();
    let created = backups.create(&rig.postgres, &rig.request(), &tools(), &heard).await;
    let left = rig.files();
    shell(&format!("umount -l '{}'", rig.directory().display()), &[]);
    let created = created.expect("in s3");
    assert!(
        created.manifest.bytes.encrypted > 8 << 20,
        "{:?}",
        created.manifest.bytes
    );
    assert_eq!(created.backup.locations, [LocationName::S3]);
    assert!(
        heard.degraded()[0].contains("the disk is full"),
        "{:?}",
        heard.degraded()
    );
    assert_eq!(left, [""; 0]);
    rig.aside(&backups, &created.manifest.name)
        .await
        .expect("restored from s3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_cannot_be_read_gives_way_to_the_one_in_the_other_location() {
    let rig = Rig::new().await;
    let store = Store::sandbox().await;
    let mut s3 = store.bucket("backups").await;
    let backups = rig.backups_with(json!({ "s3": s3 })).await;
    let older = rig.create(&backups).await.manifest.name;
    let name = rig.create(&backups).await.manifest.name;
    let is_copy = |request: &str| request.contains(".gpg") && !request.contains(".manifest");
    s3["endpoint"] = without(&store, is_copy).await;
    let cut = rig.backups_with(json!({ "s3": s3 })).await;

    let heard = Heard::default();
    let request = RestoreRequest {
        from: vec![LocationName::S3, LocationName::Local],
        ..rig.restore(&name, Target::Aside)
    };
    cut.restore(&rig.postgres, &request, &tools(), &heard)
        .await
        .expect("restored");
    let degraded = heard.degraded();
    assert!(
        degraded.len() == 1 && degraded[0].contains("the copy in s3"),
        "{degraded:?}"
    );
    let request = RestoreRequest {
        from: vec![LocationName::S3],
        ..request
    };
    let error = cut
        .restore(&rig.postgres, &request, &tools(), &Silent)
        .await
        .expect_err("no other");
    assert_eq!(error.kind(), StepErrorKind::Unavailable, "{error}");
    let hint = error.hint_text().expect("what to do");
    let (again, other) = (hint.find("`jm plan resume`"), hint.find(older.as_str()));
    assert!(again.is_some() && again < other, "an older one comes last: {hint}");
    rig.assert_no_copy().await;
}

#[tokio::test]
async fn an_upload_that_a_dead_run_left_is_ended_by_a_later_one() {
    let store = Store::versitygw().await;
    store.bucket("left").await;
    let bucket = store.client("left").await;
    let mut feeds = Vec::new();
    for name in ["journeyman_backup_20261101_020000.sql.gpg", "somebody-elses"] {
        let (feed, body) = tokio::io::duplex(10 << 20);
        let (mut feed, bucket) = (feed, bucket.clone());
        tokio::io::AsyncWriteExt::write_all(&mut feed, &vec![7; 9 << 20])
            .await
            .expect("taken");
        // Its end never comes.
        feeds.push(feed);
        tokio::spawn(async move { bucket.put(name, body, jm_client_s3::Put::default()).await });
    }
    let left = async || bucket.unfinished_uploads("").await.expect("listed").len();
    while left().await < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let location = Location::S3(bucket.clone());
    let now = jm_step::clock::now();
    let hour = jiff::SignedDuration::from_hours(1);
    let ended = location.end_uploads(now - hour).await.expect("listed");
    assert!(ended.is_empty(), "it may be under way: {ended:?}");
    let ended = location.end_uploads(now + hour).await.expect("ended");
    assert_eq!(ended, ["journeyman_backup_20261101_020000.sql.gpg"]);
    assert_eq!(left().await, 1);
}

/// Versitygw refuses requests that are signed for another region than its own.
#[tokio::test]
async fn a_bucket_in_another_region_is_told_of() {
    let store = Store::versitygw().await;
    let mut s3 = store.bucket("elsewhere").await;
    let told = async |s3: &Value| open(json!({ "s3": s3, "key": KEY })).await.notice();
    assert_eq!(told(&s3).await, None);
    s3["region"] = json!("eu-central-1");
    let notice = told(&s3).await.expect("it is asked elsewhere");
    assert!(notice.contains("`elsewhere` is in region `us-east-1`"), "{notice}");
}

/// Beside a directory an archive is allowed; where the machine with the directory is lost, nothing else is left.
#[tokio::test]
async fn copies_in_an_archive_are_told_of_before_they_are_the_only_ones() {
    let (store, folder) = (Store::versitygw().await, tempfile::tempdir().expect("a folder"));
    let mut s3 = store.bucket("cold").await;
    let told = async |s3: &Value| {
        let config = json!({ "directory": folder.path(), "s3": s3, "key": KEY });
        open(config).await.notice()
    };
    s3["storage_class"] = json!("GLACIER_IR");
    assert_eq!(told(&s3).await, None);
    s3["storage_class"] = json!("DEEP_ARCHIVE");
    let notice = told(&s3).await.expect("they are cold");
    assert!(
        notice.contains("new copies in the bucket go to `DEEP_ARCHIVE`"),
        "{notice}"
    );
    // What else there is to say is said, too.
    s3["region"] = json!("eu-central-1");
    let notice = told(&s3).await.expect("told");
    assert!(
        notice.contains("is in region `us-east-1`") && notice.contains("`DEEP_ARCHIVE`"),
        "{notice}"
    );
}
