//! A preview of more than it has time for.

use jm_client_s3::Put;

use super::*;

/// With a store that answers within a while, or not at all, it says what it saw.
#[tokio::test]
async fn a_preview_that_has_no_time_for_all_says_what_it_saw() {
    let store = sandbox().await;
    let bucket = store.bucket("endless").await;
    bucket.set_versioning(true).await.expect("set");
    for number in 0..60 {
        let key = format!("k-{number:02}");
        bucket.put_bytes(&key, "x", Put::default()).await.expect("written");
        bucket.delete(&key, None).await.expect("deleted");
    }
    let bench = bench(&store, "endless").await;
    let cx = bench.read_context();
    let connection = store.connection("endless").await;
    let input: Input = serde_json::from_value(json!({ "page": 1 })).expect("decodes");
    let rules = input.rules(&cx, connection.reader()).await.expect("rules");
    let mut seen = Vec::new();
    for patience in [0, 2, 4, 8, 16, 32, 60_000].map(Duration::from_millis) {
        let foreseen = Foreseen::look(&cx, connection.reader(), &input, rules, patience).await;
        let foreseen = foreseen.expect("a look");
        let keys = foreseen.counts.keys;
        let preview = foreseen.preview(connection.reader(), &input).expect("a preview");
        let is_whole = keys == 60 && preview.grade == Grade::Computed;
        if !is_whole {
            assert_eq!(
                (preview.grade, preview.predicted),
                (Grade::Declared, None),
                "{}",
                preview.summary
            );
            let told = if keys == 0 {
                "`".to_owned()
            } else {
                format!("`k-{:02}`", keys - 1)
            };
            for words in [format!("for {keys} keys, up to {told}"), "at least".to_owned()] {
                assert!(preview.summary.contains(&words), "no `{words}` in {}", preview.summary);
            }
        }
        seen.push(is_whole);
    }
    assert_eq!((seen.first(), seen.last()), (Some(&false), Some(&true)));
}
