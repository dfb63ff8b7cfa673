//! Files there and back: by jm, and by gpg and tar alone.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use jm_step::{Secret, StepError, StepErrorKind};
use serde_json::json;
use tempfile::TempDir;

use super::rig::{GPG, KEY, open, shell, tools};
use crate::*;

/// A folder of configuration, and a place for backups.
struct Shop {
    folder: TempDir,
}

impl Shop {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let shop = Self { folder };
        std::fs::create_dir_all(shop.etc().join("tls")).expect("folders");
        shop.write("app.env", "PORT=eighty\n");
        shop.write("tls/key.pem", "a secret key");
        std::fs::set_permissions(shop.etc().join("tls"), std::fs::Permissions::from_mode(0o500)).expect("mode");
        // As it is written, and not as it could be.
        symlink("../etc//./app.env", shop.etc().join("current")).expect("a link");
        shop
    }

    fn etc(&self) -> PathBuf {
        self.folder.path().canonicalize().expect("a folder").join("etc")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.etc().join(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("mode");
    }

    async fn backups(&self) -> Backups {
        open(json!({ "directory": self.folder.path().join("backups"), "key": KEY })).await
    }

    fn request(&self) -> FilesRequest {
        let value = |text: &str| Some(Secret::new(text));
        FilesRequest {
            set: "configuration".to_owned(),
            paths: vec![self.etc()],
            environment: BTreeMap::from([
                ("DATABASE_URL".to_owned(), value("postgresql://a:it's@b/c\nd")),
                ("MISSING".to_owned(), None),
            ]),
            keeping: Keeping {
                label: None,
                pin: None,
                release: None,
                level: Level::Archive,
                run: "r".to_owned(),
                idempotency_key: "k".to_owned(),
            },
        }
    }

    async fn look(&self, backups: &Backups) -> FilesLook {
        backups.look_at_files(&self.request()).await.expect("a look")
    }

    async fn store(&self, backups: &Backups) -> Result<Created, StepError> {
        let look = self.look(backups).await;
        backups.store_files(&self.request(), look, &tools(), &Silent).await
    }

    fn inside(&self, name: &str) -> String {
        self.etc().join(name).display().to_string()
    }
}

/// What a shell says of a folder, which it has as `$AT`.
fn told(script: &str, at: &Path) -> String {
    let output = shell(script, &[("AT", &at.display().to_string())]);
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_back_with_all_that_they_had() {
    let shop = Shop::new();
    let backups = shop.backups().await;
    let created = shop.store(&backups).await.expect("a backup");
    let index = created.manifest.files().expect("an index").clone();
    assert_eq!(index.files[&shop.inside("tls/key.pem")].mode, "0640");
    assert_eq!(index.files[&shop.inside("current")].kind, crate::FileKind::Link);
    assert_eq!(index.files.len(), 5);
    assert_eq!(index.environment.keys().collect::<Vec<_>>(), ["DATABASE_URL"]);
    assert_eq!(index.left_out[0].name, "$MISSING");
    // What lies beside the file tells no value, and nothing by which one could be guessed.
    let beside = serde_json::to_string(&created.manifest).expect("json");
    let guess = hex::encode(<sha2::Sha256 as sha2::Digest>::digest("PORT=eighty\n"));
    assert!(
        !beside.contains("eighty") && !beside.contains("secret key") && !beside.contains(&guess),
        "{beside}"
    );

    let entry = backups.find(&created.manifest.name).await.expect("it is there");
    let into = shop.folder.path().join("back");
    assert_eq!(
        backups
            .extract_files(&entry, &into, &Silent)
            .await
            .expect("it comes back"),
        6
    );
    let same = "cd \"$AT\"; find . -printf '%P %m %y %l\\n' | sort; find . -type f -exec sha256sum {} + | sort";
    let back = into.join("files").join(shop.etc().strip_prefix("/").expect("whole"));
    assert_eq!(told(same, &back), told(same, &shop.etc()));
    let value = told(". \"$AT/environment.sh\"; printf '%s' \"$DATABASE_URL\"", &into);
    assert_eq!(value, "postgresql://a:it's@b/c\nd");
    let mode = std::fs::metadata(into.join("environment.sh"))
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let error = backups
        .extract_files(&entry, &into, &Silent)
        .await
        .expect_err("it is there");
    assert_eq!(error.kind(), StepErrorKind::Conflict);

    // And without jm.
    let file = shop.folder.path().join("backups").join(created.manifest.name.as_str());
    let by_hand = shop.folder.path().join("by-hand");
    let script =
        "mkdir -m 700 \"$HOME_OF_GPG\" \"$TO\"; GPG --decrypt \"$FILE\" | tar -x --preserve-permissions -C \"$TO\"";
    let home = shop.folder.path().join("gnupg");
    let places = [home, by_hand.clone(), file].map(|path| path.display().to_string());
    let variables = [
        ("HOME_OF_GPG", places[0].as_str()),
        ("TO", &places[1]),
        ("FILE", &places[2]),
        ("KEY", KEY),
    ];
    shell(&script.replace("GPG --", &format!("{GPG} --")), &variables);
    let back = by_hand.join("files").join(shop.etc().strip_prefix("/").expect("whole"));
    assert_eq!(told(same, &back), told(same, &shop.etc()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_is_told_by_name() {
    let shop = Shop::new();
    let backups = shop.backups().await;
    let first = shop.look(&backups).await;
    assert_eq!(first.difference.added.len(), 6, "{:?}", first.difference);
    assert!(first.newest.is_none());
    let made = backups
        .store_files(&shop.request(), first, &tools(), &Silent)
        .await
        .expect("a backup");
    let again = shop.look(&backups).await;
    assert!(again.difference.is_empty(), "{:?}", again.difference);
    assert_eq!(again.newest.expect("the first").name, made.manifest.name);

    shop.write("app.env", "PORT=8081\n");
    std::fs::remove_file(shop.etc().join("current")).expect("gone");
    shop.write("new.env", "");
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(shop.etc().join("tls/key.pem"), mode).expect("mode");
    let mut request = shop.request();
    request.environment = BTreeMap::from([("DATABASE_URL".to_owned(), Some(Secret::new("another")))]);
    let look = backups.look_at_files(&request).await.expect("a look");
    let changed = [
        shop.inside("app.env"),
        shop.inside("tls/key.pem"),
        "$DATABASE_URL".to_owned(),
    ];
    assert_eq!(look.difference.added, [shop.inside("new.env")]);
    assert_eq!(look.difference.removed, [shop.inside("current")]);
    assert_eq!(look.difference.changed, changed);
    // Those of another set are no forerunner of these.
    request.set = "others".to_owned();
    let other = backups.look_at_files(&request).await.expect("a look");
    assert!(other.newest.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_it_is_read_is_no_backup() {
    let shop = Shop::new();
    let backups = shop.backups().await;
    for text in ["PORT=9090\n", "", "PORT=80"] {
        shop.write("app.env", "PORT=eighty\n");
        let look = shop.look(&backups).await;
        shop.write("app.env", text);
        let stored = backups.store_files(&shop.request(), look, &tools(), &Silent).await;
        let error = stored.expect_err("it changed");
        let told = error.message().contains("was changed while it was backed up");
        assert!(told, "{text:?}: {error}");
    }
    assert!(backups.catalogue().await.expect("a catalogue").entries.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_named() {
    let shop = Shop::new();
    let backups = shop.backups().await;
    told("mkfifo \"$AT/pipe\"", &shop.etc());
    let look = shop.look(&backups).await;
    let left: Vec<&str> = look.left_out.iter().map(|left| left.name.as_str()).collect();
    assert_eq!(left, [shop.inside("pipe").as_str(), "$MISSING"]);
    let mut request = shop.request();
    request.paths.push(shop.etc().join("absent"));
    let error = backups.look_at_files(&request).await.err().expect("it is not there");
    assert_eq!(error.kind(), StepErrorKind::NotFound);
    assert!(error.message().contains("absent"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_files_is_no_other() {
    let shop = Shop::new();
    let backups = shop.backups().await;
    let created = shop.store(&backups).await.expect("a backup");
    assert!(
        created.manifest.name.as_str().starts_with("files_backup_"),
        "{}",
        created.manifest.name
    );
    let entry = backups.find(&created.manifest.name).await.expect("it is there");
    let error = backups
        .read_objects(&entry, LocationName::Local)
        .await
        .err()
        .expect("no objects");
    assert!(error.message().contains("is a backup of files"), "{error}");
    let latest = crate::Wanted::database(crate::Which::Latest);
    let error = backups
        .select(&latest, &tools(), &Silent)
        .await
        .expect_err("of no database");
    assert_eq!(error.kind(), StepErrorKind::NotFound);
}
