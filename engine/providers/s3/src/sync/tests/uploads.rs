//! From a directory to a bucket.

use super::*;

/// As after a kill in the middle of a part: what this machine began is ended, what somebody else began is told, to whichever key.
#[tokio::test]
async fn an_upload_that_a_kill_cut_off_is_ended_and_that_of_another_is_told() {
    for store in all_stores().await {
        let bucket = store.bucket("cut").await;
        let folder = folder(&store, "cut");
        write(&folder, "large", noise(3, 9 << 20));
        write(&folder, "small", "one request");
        let foreign = ["in/foreign", "in/large", "in/small"];
        for key in foreign {
            store
                .aws(&["s3api", "create-multipart-upload", "--bucket", "cut", "--key", key])
                .await;
        }
        let noting = store.noting("cut").await;
        let begun = noting.begin_upload("in/large", &Put::default()).await;
        drop(begun.expect("begun"));
        let left = async || {
            let unfinished = bucket.unfinished_uploads("in/").await.expect("listed");
            let mut keys: Vec<_> = unfinished.into_iter().map(|upload| upload.key).collect();
            keys.sort();
            keys
        };
        assert_eq!(left().await.len(), 4, "{}", store.name);
        let input = json!({ "directory": folder, "prefix": "in/" });
        let planned = json!({
            "looked_at": 2, "unchanged": 0, "created": 2, "overwritten": 0, "bytes": (9 << 20) + 11, "deleted": 0, "kept": 0,
            "failed": 0,
        });
        let saved = json!({ "planned": planned, "began": jm_step::clock::now().to_string() });
        let bench = StepBench::new().with("bucket", noting);
        let ran = bench.attempt(2).checkpoint(saved).run(&SyncStep, input).await;
        let told = |words: &str| ran.log.iter().any(|line| line.contains(words));
        assert!(
            told("`s3://cut/in/large` that was cut off is ended"),
            "{}: {:?}",
            store.name,
            ran.log
        );
        assert!(told("such as to `in/foreign`"), "{}: {:?}", store.name, ran.log);
        assert!(
            told("1 of them go to keys of this step, such as `in/large`"),
            "{}: {:?}",
            store.name,
            ran.log
        );
        assert_eq!(ran.output()["created"], json!(2), "{}", store.name);
        assert_eq!(left().await, foreign, "{}", store.name);
    }
}

/// What another client wrote in parts has no sum but its ETag. (Ministack does not say how large a part is.)
#[tokio::test]
async fn what_was_written_in_parts_is_known_again() {
    for store in stores().await {
        store.bucket("parts").await;
        let (folder, first) = (folder(&store, "parts"), noise(3, 5 * 1024 * 1024));
        store.put_in_parts("parts", "k", &[&first, b"rest"]).await;
        let bench = bench(&store, "parts").await;
        for (end, grade) in [(b"rest", Grade::Verified), (b"else", Grade::Computed)] {
            write(&folder, "k", [&first[..], end].concat());
            let preview = bench.preview(&SyncStep, json!({ "directory": folder })).await;
            let preview = preview.expect("a preview");
            assert_eq!(preview.grade, grade, "{}: {}", store.name, preview.summary);
        }
    }
}

const PAGE: &str = "<html></html>";

/// A site with pages, assets, a large file and odd names.
fn site(folder: &Path) {
    write(folder, "index.html", PAGE);
    write(folder, "static/app.0a1b.js", "js");
    write(folder, "static/ä ö+&.css", "css");
    write(folder, "deep/er/data.bin", noise(1, 9 * 1024 * 1024));
    write(folder, "empty", "");
}

#[tokio::test]
async fn a_bucket_becomes_as_the_directory_is_and_the_second_time_nothing_is_done() {
    for store in all_stores().await {
        let bucket = store.bucket("site").await;
        let folder = folder(&store, "site");
        site(&folder);
        let bench = bench(&store, "site").await;
        let input = json!({ "directory": folder, "prefix": "www/" });
        let preview = bench.preview(&SyncStep, input.clone()).await.expect("a preview");
        assert_eq!(preview.grade, Grade::Computed);
        assert_eq!(keys(&bucket).await, Vec::<String>::new(), "a preview writes nothing");
        let change = &preview.changes[0];
        assert_eq!(
            (change.action, change.after.as_ref().expect("known")["count"].as_u64()),
            (Action::Create, Some(5))
        );

        let ran = bench.run(&SyncStep, input.clone()).await;
        assert_eq!(ran.changes, preview.changes, "{}", store.name);
        let output = ran.output();
        assert_eq!(Some(&output), preview.predicted.as_ref(), "{}", store.name);
        assert_eq!((&output["created"], &output["unchanged"]), (&json!(5), &json!(0)));
        for name in ["index.html", "static/ä ö+&.css", "deep/er/data.bin", "empty"] {
            let expected = std::fs::read(folder.join(name)).expect("a file");
            assert!(
                content(&bucket, &format!("www/{name}")).await == Some(expected),
                "{} {name}",
                store.name
            );
        }
        let again = bench.preview(&SyncStep, input.clone()).await.expect("a preview");
        assert_eq!(
            (again.grade, again.changes.len()),
            (Grade::Verified, 0),
            "{}: {}",
            store.name,
            again.summary
        );
        let ran = bench.run(&SyncStep, input).await;
        assert_eq!((ran.changes.len(), ran.saves()), (0, 0));
        assert_eq!(ran.output()["unchanged"], json!(5));
    }
}

#[tokio::test]
async fn the_same_size_and_time_do_not_hide_other_content() {
    for store in stores().await {
        let bucket = store.bucket("touch").await;
        let folder = folder(&store, "touch");
        write(&folder, "a", "one");
        let input = json!({ "directory": folder });
        bench(&store, "touch")
            .await
            .run(&SyncStep, input.clone())
            .await
            .output();
        let time = std::fs::metadata(folder.join("a"))
            .expect("a file")
            .modified()
            .expect("a time");
        write(&folder, "a", "two");
        std::fs::File::options()
            .write(true)
            .open(folder.join("a"))
            .and_then(|file| file.set_modified(time))
            .expect("set");
        let output = bench(&store, "touch").await.run(&SyncStep, input).await.output();
        assert_eq!(output["overwritten"], json!(1), "{}", store.name);
        assert_eq!(content(&bucket, "a").await.as_deref(), Some(&b"two"[..]));
    }
}

#[tokio::test]
async fn headers_follow_the_rules_also_where_the_content_is_there() {
    for store in stores().await {
        let bucket = store.bucket("headers").await;
        let folder = folder(&store, "headers");
        site(&folder);
        let bench = bench(&store, "headers").await;
        bench.run(&SyncStep, json!({ "directory": folder })).await.output();
        let headers = json!([
            { "match": "*.html", "cache_control": "no-cache" },
            { "match": "static/*", "cache_control": "public, max-age=31536000, immutable" },
        ]);
        let input = json!({ "directory": folder, "headers": headers });
        let output = bench.run(&SyncStep, input.clone()).await.output();
        assert_eq!(
            (&output["overwritten"], &output["unchanged"]),
            (&json!(3), &json!(2)),
            "{}",
            store.name
        );
        let info = bucket
            .head("index.html", None)
            .await
            .expect("an answer")
            .expect("there");
        assert_eq!(info.cache_control.as_deref(), Some("no-cache"));
        assert_eq!(info.content_type.as_deref(), Some("text/html; charset=utf-8"));
        let info = bucket
            .head("static/app.0a1b.js", None)
            .await
            .expect("an answer")
            .expect("there");
        assert_eq!(
            info.cache_control.as_deref(),
            Some("public, max-age=31536000, immutable")
        );
        assert_eq!(
            bench.run(&SyncStep, input).await.output()["unchanged"],
            json!(5),
            "{}",
            store.name
        );
    }
}

#[tokio::test]
async fn what_is_there_is_overwritten_kept_or_in_the_way() {
    for store in stores().await {
        let bucket = store.bucket("existing").await;
        let folder = folder(&store, "existing");
        write(&folder, "a", "ours");
        write(&folder, "b", "new");
        bucket.put_bytes("a", "theirs!", Put::default()).await.expect("written");
        let bench = bench(&store, "existing").await;
        let input = |existing: &str| json!({ "directory": folder, "existing": existing });
        let error = bench.run(&SyncStep, input("fail")).await.error();
        assert_eq!(
            (error.kind(), keys(&bucket).await.len()),
            (StepErrorKind::Conflict, 1),
            "{error}"
        );
        let output = bench.run(&SyncStep, input("keep")).await.output();
        assert_eq!(
            (&output["kept"], &output["kept_names"], &output["created"]),
            (&json!(1), &json!(["a"]), &json!(1))
        );
        assert_eq!(content(&bucket, "a").await.as_deref(), Some(&b"theirs!"[..]));
        bench.run(&SyncStep, input("overwrite")).await.output();
        assert_eq!(content(&bucket, "a").await.as_deref(), Some(&b"ours"[..]));
    }
}

#[tokio::test]
async fn nothing_is_deleted_unless_asked_and_no_more_than_allowed() {
    for store in stores().await {
        let bucket = store.bucket("delete").await;
        let folder = folder(&store, "delete");
        write(&folder, "stays", "x");
        for key in ["stays", "goes-1", "goes-2", "kept/by-name"] {
            bucket.put_bytes(key, "x", Put::default()).await.expect("written");
        }
        let bench = bench(&store, "delete").await;
        let input = |delete: Value| json!({ "directory": folder, "exclude": ["kept/*"], "delete": delete });
        bench.run(&SyncStep, input(Value::Null)).await.output();
        assert_eq!(keys(&bucket).await.len(), 4);
        let error = bench.run(&SyncStep, input(json!({ "at_most": 1 }))).await.error();
        assert_eq!(
            (error.kind(), keys(&bucket).await.len()),
            (StepErrorKind::Refused, 4),
            "{error}"
        );
        let preview = bench
            .preview(&SyncStep, input(json!({ "at_most": 2 })))
            .await
            .expect("a preview");
        let ran = bench.run(&SyncStep, input(json!({ "at_most": 2 }))).await;
        assert_eq!(ran.changes, preview.changes);
        assert_eq!(ran.changes[0].action, Action::Delete);
        assert_eq!(ran.output()["deleted"], json!(2));
        assert_eq!(keys(&bucket).await, ["kept/by-name", "stays"]);

        std::fs::remove_file(folder.join("stays")).expect("removed");
        let error = bench.run(&SyncStep, input(json!({ "at_most": 9 }))).await.error();
        assert_eq!(
            error.kind(),
            StepErrorKind::Refused,
            "an empty source deletes nothing: {error}"
        );
        let error = bench
            .run(
                &SyncStep,
                json!({ "directory": folder.join("missing"), "delete": { "at_most": 9 } }),
            )
            .await
            .error();
        assert_eq!(
            error.kind(),
            StepErrorKind::NotFound,
            "a missing source deletes nothing: {error}"
        );
        assert_eq!(keys(&bucket).await, ["kept/by-name", "stays"]);
    }
}

#[tokio::test]
async fn a_preview_that_has_no_time_to_compare_says_so() {
    let store = sandbox().await;
    store.bucket("slow").await;
    let folder = folder(&store, "slow");
    site(&folder);
    let bench = bench(&store, "slow").await;
    let cx = bench.read_context();
    let input: Input = serde_json::from_value(json!({ "directory": folder })).expect("decodes");
    let sync = input.sync(store.connection("slow").await.reader().clone());
    for (patience, grade) in [(0, Grade::Declared), (60, Grade::Computed)] {
        let patience = Duration::from_secs(patience);
        let preview = sync.preview_within(patience, &cx, false).await.expect("a preview");
        assert_eq!(preview.grade, grade, "{}", preview.summary);
        assert_eq!(preview.predicted.is_some(), grade == Grade::Computed);
    }
}

/// A hundred files fail for a KMS key or a policy that is for them alone, which holds up nothing else, or for credentials that
/// are of no use any more.
#[tokio::test]
async fn files_that_fail_by_themselves_hold_up_no_other() {
    let store = sandbox().await;
    let bucket = store.bucket("disabled").await;
    let folder = folder(&store, "disabled");
    for number in 0..100 {
        write(&folder, &format!("key-{number:02}"), "x");
    }
    write(&folder, "other", "x");
    for (code, meant, names, told) in [
        ("ExpiredToken", "/", vec![], 0),
        ("KMS.DisabledException", "/key-", vec!["other"], 0),
        ("AccessDenied", "/key-", vec!["other"], 1),
    ] {
        let body = format!("<Error><Code>{code}</Code><Message>no</Message></Error>").leak();
        let is_meant = move |head: &str| head.starts_with("PUT ") && head.contains(meant);
        let status = "403 Forbidden";
        let line = store.over("disabled", Refusal { is_meant, status, body }).await;
        let bench = StepBench::new().with("bucket", line);
        let input = json!({ "directory": folder, "concurrency": 1 });
        let ran = bench.run(&SyncStep, input).await;
        assert_eq!(ran.degraded.len(), told, "{code}: {:?}", ran.degraded);
        assert!(
            ran.degraded
                .iter()
                .all(|line| line.starts_with("100 names were denied"))
        );
        let error = ran.error();
        let went_on = error.message().starts_with("100 names were not done");
        assert_eq!(went_on, !names.is_empty(), "{code}: {error}");
        assert_eq!(keys(&bucket).await, names, "{code}");
        bucket.delete("other", None).await.expect("deleted");
    }
}

/// What lies behind a link to a directory is not looked at, and not deleted either: whatever the patterns say of the link's own
/// name.
#[tokio::test]
async fn what_lies_behind_a_link_to_a_directory_is_not_surplus() {
    for store in stores().await {
        let bucket = store.bucket("linked").await;
        let (site, elsewhere) = (folder(&store, "linked"), folder(&store, "elsewhere"));
        write(&site, "index.html", PAGE);
        write(&elsewhere, "app.js", "x");
        std::os::unix::fs::symlink(&elsewhere, site.join("static")).expect("a link");
        for key in ["static/app.js", "old.html"] {
            bucket.put_bytes(key, "x", Put::default()).await.expect("written");
        }
        let bench = bench(&store, "linked").await;
        for follow in [false, true] {
            let input = json!({
                "directory": site, "include": ["static/*", "*.html"], "follow_links": follow, "delete": { "at_most": 9 },
            });
            let output = bench.run(&SyncStep, input).await.output();
            assert_eq!(output["left_out"][0]["name"], "static", "{}", store.name);
            assert_eq!(keys(&bucket).await, ["index.html", "static/app.js"], "{}", store.name);
        }
    }
}

/// A site may have files of such a name: they go up, stay, and come back beside one that their name is made of.
#[tokio::test]
async fn a_partial_of_a_site_is_a_file_like_others_and_one_of_jm_is_none() {
    for store in stores().await {
        let bucket = store.bucket("partials").await;
        let site = folder(&store, "partials");
        write(&site, "nav.partial", "a template");
        write(&site, "nav", "a page");
        write(&site, "large.jm-partial", "ha");
        let up = json!({ "directory": site, "delete": { "at_most": 9 } });
        let bench = bench(&store, "partials").await;
        for _ in 0..2 {
            let output = bench.clone().run(&SyncStep, up.clone()).await.output();
            assert_eq!(output["left_out"][0]["name"], "large.jm-partial", "{}", store.name);
            assert_eq!(keys(&bucket).await, ["nav", "nav.partial"], "{}", store.name);
        }
        let back = folder(&store, "back");
        write(&back, "nav.partial", "a template");
        let down = json!({ "directory": back, "to": "directory" });
        bench.run(&SyncStep, down).await.output();
        let read = |name: &str| std::fs::read_to_string(back.join(name)).expect("there");
        assert_eq!(
            (read("nav").as_str(), read("nav.partial").as_str()),
            ("a page", "a template")
        );
    }
}

#[tokio::test]
async fn cut_off_after_it_began_it_tells_the_whole_of_it() {
    for store in stores().await {
        let folder = folder(&store, "cut");
        site(&folder);
        store.bucket("cut-whole").await;
        let input = json!({ "directory": folder });
        let whole = bench(&store, "cut-whole")
            .await
            .run(&SyncStep, input.clone())
            .await
            .output();
        let bucket = store.bucket("cut").await;
        let bench = bench(&store, "cut").await;
        let first = bench.run_until(&SyncStep, input.clone(), 1).await;
        assert!(first.result.is_none(), "it saves before it acts");
        // What was on its way may still arrive.
        bucket
            .put_bytes("index.html", PAGE, Put::default())
            .await
            .expect("written");
        let again = bench.clone().attempt(2).checkpoint(first.checkpoints[0].clone());
        let probe = again.probe(&SyncStep, input.clone()).await.expect("an answer");
        assert!(matches!(probe, Probe::Partial { .. }));
        let mut output = again.run(&SyncStep, input).await.output();
        output["to"] = whole["to"].clone();
        assert_eq!(output, whole, "{}", store.name);
        assert_eq!(keys(&bucket).await.len(), 5);
    }
}

#[tokio::test]
async fn told_to_stop_it_stops() {
    let store = sandbox().await;
    store.bucket("stop").await;
    let folder = folder(&store, "stop");
    write(&folder, "large", noise(3, 64 * 1024 * 1024));
    let bench = bench(&store, "stop").await;
    let (cancel, input) = (bench.cancellation(), json!({ "directory": folder }));
    let stop = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        cancel.cancel();
    };
    let (ran, ()) = tokio::join!(bench.run(&SyncStep, input), stop);
    assert_eq!(ran.error().kind(), StepErrorKind::Cancelled);
    let bucket = store.connection("stop").await;
    assert_eq!(keys(&bucket).await, Vec::<String>::new(), "no object is there by half");
}

#[tokio::test]
async fn a_name_that_fails_does_not_stop_the_others() {
    // A key of versitygw is a path, so that a file cannot be below another one.
    let store = versitygw().await;
    let bucket = store.bucket("clash").await;
    bucket
        .put_bytes("taken", "a file", Put::default())
        .await
        .expect("written");
    let folder = folder(&store, "clash");
    write(&folder, "taken/below", "x");
    write(&folder, "other", "x");
    bucket.put_bytes("surplus", "x", Put::default()).await.expect("written");
    let input = json!({ "directory": folder, "delete": { "at_most": 5 } });
    let ran = bench(&store, "clash").await.run(&SyncStep, input).await;
    let saved = ran.outputs.last().expect("saved").clone();
    assert_eq!(
        (&saved["failed"], &saved["created"], &saved["deleted"]),
        (&json!(1), &json!(1), &json!(0)),
        "{saved}"
    );
    assert_eq!(saved["failures"][0]["name"], "taken/below");
    assert!(ran.error().message().starts_with("1 names were not done"));
    assert_eq!(
        keys(&bucket).await,
        ["other", "surplus", "taken"],
        "after a failure nothing is deleted"
    );
}

#[tokio::test]
async fn after_a_listing_that_is_refused_nothing_is_written_or_deleted() {
    let store = sandbox().await;
    let bucket = store.bucket("unlisted").await;
    bucket.put_bytes("surplus", "x", Put::default()).await.expect("written");
    let folder = folder(&store, "unlisted");
    write(&folder, "new", "x");
    let line = store.refusing("unlisted", &["GET ", "list-type=2"]).await;
    let bench = StepBench::new().with("bucket", line);
    let input = json!({ "directory": folder, "delete": { "at_most": 5 } });
    let error = bench.run(&SyncStep, input).await.error();
    assert_eq!(error.kind(), StepErrorKind::Denied, "{error}");
    assert_eq!(keys(&bucket).await, ["surplus"]);
}
