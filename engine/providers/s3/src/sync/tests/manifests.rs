//! Files of which manifests say what their content is.

use super::*;

#[tokio::test]
async fn only_what_a_manifest_speaks_for_goes_up() {
    for store in stores().await {
        let bucket = store.bucket("vouched").await;
        let folder = folder(&store, "vouched");
        let manifest = |of: &[u8]| {
            use sha2::Digest;
            json!({ "sha256": hex::encode(sha2::Sha256::digest(of)) }).to_string()
        };
        let good = noise(2, 2 * 1024 * 1024);
        write(&folder, "good.gpg", &good);
        write(&folder, "good.gpg.manifest.json", manifest(&good));
        write(&folder, "damaged.gpg", "rotten");
        write(&folder, "damaged.gpg.manifest.json", manifest(b"fresh!"));
        write(&folder, "pre_restore_plain.sql", "secret");
        write(&folder, "unfinished.gpg.partial", "half");
        std::os::unix::fs::symlink(folder.join("good.gpg"), folder.join("link.gpg")).expect("a link");
        let input = json!({ "directory": folder, "manifests": { "ending": ".manifest.json" } });
        let output = bench(&store, "vouched").await.run(&SyncStep, input).await.output();
        assert_eq!(
            keys(&bucket).await,
            ["good.gpg", "good.gpg.manifest.json"],
            "{}",
            store.name
        );
        let mut left_out: Vec<&str> = output["left_out"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|left| left["name"].as_str())
            .collect();
        left_out.sort_unstable();
        assert_eq!(
            left_out,
            [
                "damaged.gpg",
                "link.gpg",
                "pre_restore_plain.sql",
                "unfinished.gpg.partial"
            ]
        );
    }
}

/// A file that rots in the directory takes nothing of its good copy along.
#[tokio::test]
async fn what_is_left_out_keeps_its_copy_and_the_manifest_of_that() {
    for store in stores().await {
        let bucket = store.bucket("rotten").await;
        let folder = folder(&store, "rotten");
        let sum = |of: &[u8]| {
            use sha2::Digest;
            json!({ "sha256": hex::encode(sha2::Sha256::digest(of)) }).to_string()
        };
        for name in ["good.gpg", "old.gpg"] {
            write(&folder, name, "good");
            write(&folder, &format!("{name}.manifest.json"), sum(b"good"));
        }
        let mut input = json!({ "directory": folder, "manifests": { "ending": ".manifest.json" } });
        let bench = bench(&store, "rotten").await;
        bench.run(&SyncStep, input.clone()).await.output();
        bucket
            .put_bytes("surplus.manifest.json", "x", Put::default())
            .await
            .expect("written");
        write(&folder, "old.gpg", "rots");
        input["delete"] = json!({ "at_most": 10 });
        let output = bench.run(&SyncStep, input).await.output();
        assert_eq!(output["deleted"], json!(1), "{}: {output}", store.name);
        let both = ["good.gpg", "good.gpg.manifest.json", "old.gpg", "old.gpg.manifest.json"];
        assert_eq!(keys(&bucket).await, both, "{}", store.name);
    }
}

/// Whoever can write to the directory can write a manifest that fits a file of their own.
#[tokio::test]
async fn what_was_proven_stands_above_what_a_manifest_says() {
    let store = sandbox().await;
    let bucket = store.bucket("proven").await;
    let folder = folder(&store, "proven");
    let sum = |of: &str| {
        use sha2::Digest;
        hex::encode(sha2::Sha256::digest(of))
    };
    for (name, content) in [
        ("good.gpg", "good"),
        ("forged.gpg", "forged"),
        ("planted.gpg", "planted"),
    ] {
        write(&folder, name, content);
        let manifest = json!({ "sha256": sum(content) }).to_string();
        write(&folder, &format!("{name}.manifest.json"), manifest);
    }
    let proven = json!({ "good.gpg": sum("good"), "forged.gpg": sum("what it was") });
    let input = json!({ "directory": folder, "manifests": { "ending": ".manifest.json", "proven": proven } });
    let output = bench(&store, "proven").await.run(&SyncStep, input).await.output();
    assert_eq!(keys(&bucket).await, ["good.gpg", "good.gpg.manifest.json"]);
    assert_eq!(output["left_out_count"], json!(2), "{output}");
    let nothing = json!({ "directory": folder, "manifests": { "ending": ".manifest.json", "proven": {} } });
    let output = bench(&store, "proven").await.run(&SyncStep, nothing).await.output();
    assert_eq!(output["looked_at"], json!(0), "nothing proven is not everything");
}
