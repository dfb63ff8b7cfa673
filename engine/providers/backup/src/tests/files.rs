//! Files of this machine there and back, by the steps.

use jm_backup::{BundleRequest, Keeping, Level, Silent};
use jm_step::{Grade, StepErrorKind};
use jm_testkit::StepBench;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{KEY, backups};
use crate::extract::Extract;
use crate::files::Files;
use crate::find::Find;
use crate::observer::toolbox;

struct Shop {
    folder: TempDir,
    bench: StepBench,
}

impl Shop {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("etc")).expect("a folder");
        std::fs::write(folder.path().join("etc/app.env"), "PORT=8080").expect("a file");
        let bench = StepBench::new()
            .environment([
                ("PATH", "/usr/bin:/bin"),
                ("API_KEY", "hunter2hunter2"),
                ("OTHER", "not asked for"),
            ])
            .with("backups", backups(&folder.path().join("backups"), KEY).await);
        Self { folder, bench }
    }

    fn input(&self) -> Value {
        json!({ "paths": [self.folder.path().join("etc")], "environment": ["API_KEY", "UNSET"] })
    }

    fn is_written(&self) -> bool {
        self.folder.path().join("backups").exists()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_is_kept_where_it_changed_and_comes_back() {
    let shop = Shop::new().await;
    let dry = shop
        .bench
        .clone()
        .preview(&Files, shop.input())
        .await
        .expect("a preview");
    assert_eq!(dry.grade, Grade::Computed);
    assert!(
        dry.summary.contains("2 files and folders and 1 variables (new: "),
        "{}",
        dry.summary
    );
    let shown = format!("{} {}", dry.summary, json!(dry.changes));
    assert!(
        shown.contains("$API_KEY") && !shown.contains("hunter2") && !shown.contains("8080"),
        "{shown}"
    );
    assert!(
        dry.degraded.iter().any(|reason| reason.contains("`$UNSET`")),
        "{:?}",
        dry.degraded
    );
    assert!(!shop.is_written(), "a dry run writes nothing");

    let ran = shop.bench.clone().key("one").run(&Files, shop.input()).await;
    assert!(
        ran.degraded.iter().any(|reason| reason.contains("`$UNSET`")),
        "{:?}",
        ran.degraded
    );
    let made = ran.output();
    assert_eq!(
        (&made["made"], &made["files"], &made["variables"]),
        (&json!(true), &json!(2), &json!(1))
    );
    let again = shop.bench.clone().key("two").run(&Files, shop.input()).await.output();
    assert_eq!((&again["made"], &again["name"]), (&json!(false), &made["name"]));
    let dry = shop
        .bench
        .clone()
        .preview(&Files, shop.input())
        .await
        .expect("a preview");
    assert!(
        dry.changes.is_empty() && dry.summary.contains("nothing changed"),
        "{}",
        dry.summary
    );

    // By a name, or to be kept, it is made all the same; and where a location has lost it.
    let mut named = shop.input();
    named["label"] = json!("pre_upgrade");
    let kept = shop.bench.clone().key("named").run(&Files, named).await.output();
    assert_eq!(kept["made"], true);
    std::fs::remove_file(
        shop.folder
            .path()
            .join("backups")
            .join(kept["name"].as_str().expect("a name")),
    )
    .expect("lost");
    let dry = shop
        .bench
        .clone()
        .preview(&Files, shop.input())
        .await
        .expect("a preview");
    assert!(dry.summary.contains("has no whole copy of"), "{}", dry.summary);
    let anew = shop.bench.clone().key("anew").run(&Files, shop.input()).await.output();
    assert_eq!(anew["made"], true);

    std::fs::write(shop.folder.path().join("etc/app.env"), "PORT=8081").expect("a file");
    let newer = shop.bench.clone().key("three").run(&Files, shop.input()).await.output();
    let changed = shop.folder.path().canonicalize().expect("a folder").join("etc/app.env");
    assert_eq!(newer["changed"], json!([changed]));

    let found = shop.bench.clone().run(&Find, json!({ "kind": "files" })).await.output();
    assert_eq!(found["name"], newer["name"]);
    let into = shop.folder.path().join("back");
    let input = json!({ "backup": found["backup"], "into": into });
    let back = shop.bench.clone().run(&Extract, input.clone()).await.output();
    let file = into.join("files").join(changed.strip_prefix("/").expect("whole"));
    assert_eq!(std::fs::read_to_string(file).expect("it came back"), "PORT=8081");
    let script = std::fs::read_to_string(back["environment"].as_str().expect("a file")).expect("it came back");
    assert_eq!(script, "export API_KEY='hunter2hunter2'\n");
    let error = shop.bench.clone().run(&Extract, input).await.error();
    assert_eq!(error.kind(), StepErrorKind::Conflict);
}

/// Killed after the backup was made and before that was written down: the same deed finds it.
#[tokio::test(flavor = "multi_thread")]
async fn a_deed_that_was_done_is_not_done_twice() {
    let shop = Shop::new().await;
    let mut input = shop.input();
    input["only_changed"] = json!(false);
    let one = shop.bench.clone().key("one").run(&Files, input.clone()).await.output();
    match shop
        .bench
        .clone()
        .key("one")
        .probe(&Files, input.clone())
        .await
        .expect("an answer")
    {
        jm_step::Probe::Succeeded(found) => assert_eq!(found["name"], one["name"]),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        shop.bench.clone().key("one").run(&Files, input.clone()).await.output()["name"],
        one["name"]
    );
    assert_ne!(
        shop.bench.clone().key("two").run(&Files, input).await.output()["name"],
        one["name"]
    );
}

/// The file has its name only when all of it is there, so that an attempt that broke off is gone on with in its folder.
#[tokio::test(flavor = "multi_thread")]
async fn code_comes_back_as_the_bundle_that_it_was() {
    let shop = Shop::new().await;
    let path = |name: &str| shop.folder.path().join(name);
    // An empty bundle: a head that names a commit, and a pack without objects.
    let pack = b"PACK\x00\x00\x00\x02\x00\x00\x00\x00\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e";
    let head = format!("# v2 git bundle\n{} refs/heads/main\n\n", "a".repeat(40));
    let bundle = [head.as_bytes(), pack].concat();
    std::fs::write(path("bundle"), &bundle).expect("a file");
    let kept = backups(&path("backups"), KEY).await;
    let request = BundleRequest {
        repository: "https://git.example.com/shop.git".to_owned(),
        refs: [("refs/heads/main".to_owned(), "a".repeat(40))].into(),
        bundle: path("bundle"),
        keeping: Keeping {
            label: None,
            pin: None,
            release: None,
            level: Level::Archive,
            run: "run".to_owned(),
            idempotency_key: "key".to_owned(),
        },
    };
    let tools = toolbox(&shop.bench.read_context());
    let made = kept.store_bundle(&request, &tools, &Silent).await.expect("kept");
    let input = json!({ "backup": made.manifest.name, "into": path("back") });
    // What a kill left of an attempt.
    std::fs::create_dir(path("back")).expect("a folder");
    let back = shop.bench.clone().run(&Extract, input.clone()).await.output();
    assert_eq!(back["bundle"], json!(path("back").join("code.bundle")));
    assert_eq!(
        std::fs::read(path("back").join("code.bundle")).expect("it came back"),
        bundle
    );
    let error = shop.bench.clone().run(&Extract, input).await.error();
    assert_eq!(error.kind(), StepErrorKind::Conflict);
}
