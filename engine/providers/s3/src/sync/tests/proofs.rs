//! What goes from bucket to bucket is held to what was written.

use super::copies::both;
use super::*;

/// More than one request takes: it goes in parts.
const IN_PARTS: usize = 21 << 20;

/// The same content, but for one bit.
fn damaged(content: &[u8]) -> Vec<u8> {
    let mut damaged = content.to_vec();
    damaged[content.len() / 2] ^= 1;
    damaged
}

/// A store that keeps no checksums has lost a bit of what its writer told the SHA-256 of. Ministack is one.
#[tokio::test]
async fn what_another_store_has_lost_a_bit_of_does_not_go_over() {
    let (from, to) = (ministack().await, sandbox().await);
    let (source, target) = (from.bucket("lost-from").await, to.bucket("lost-to").await);
    let large = noise(21, IN_PARTS);
    source
        .put_bytes("small", "wrong", told(b"right"))
        .await
        .expect("written");
    source
        .put("large", &damaged(&large)[..], told(&large))
        .await
        .expect("written");
    source.put("whole", &large[..], told(&large)).await.expect("written");
    let bench = both((&from, "lost-from"), (&to, "lost-to")).await;
    let ran = bench.run(&Copy, json!({})).await;
    let output = ran.outputs.last().expect("an output").clone();
    assert_eq!(
        (&output["created"], &output["failed"], &output["unverified"]),
        (&json!(1), &json!(2), &json!(0)),
        "{output}"
    );
    let error = ran.error();
    assert!(error.message().contains("is not what was written"), "{error}");
    assert_eq!(keys(&target).await, ["whole"]);
    let left = target.unfinished_uploads("").await.expect("listed");
    assert!(left.is_empty(), "{left:?}");
}

/// What another client wrote in parts of one size has no sum but its ETag.
#[tokio::test]
async fn what_has_the_sum_of_its_parts_alone_is_held_to_that() {
    let (from, to) = (versitygw().await, sandbox().await);
    from.bucket("even-from").await;
    let target = to.bucket("even-to").await;
    for key in ["damaged", "whole"] {
        from.put_in_parts("even-from", key, &[&noise(22, 5 << 20), b"rest"])
            .await;
    }
    from.damage("even-from", "damaged");
    let bench = both((&from, "even-from"), (&to, "even-to")).await;
    let ran = bench.run(&Copy, json!({})).await;
    let output = ran.outputs.last().expect("an output").clone();
    assert_eq!(output["unverified"], json!(0), "{output}");
    assert_eq!(output["failures"][0]["name"], "damaged", "{output}");
    let error = ran.error();
    assert!(error.message().contains("is not what was written"), "{error}");
    assert_eq!(keys(&target).await, ["whole"]);
}

/// A bit that is lost on the line is none of the store's: it is asked once more.
#[tokio::test]
async fn what_was_damaged_on_its_way_comes_a_second_time() {
    use std::sync::atomic::{AtomicBool, Ordering};

    let (from, to) = (sandbox().await, versitygw().await);
    let (source, target) = (from.bucket("way-from").await, to.bucket("way-to").await);
    source.put_bytes("k", "right", told(b"right")).await.expect("written");
    let first = Arc::new(AtomicBool::new(true));
    let line = from
        .answered("way-from", move |head: &str| {
            let is_first = head.starts_with("GET /way-from/k") && first.swap(false, Ordering::SeqCst);
            is_first.then(|| jm_testkit::line::Answer {
                status: format!("200 OK\r\nx-amz-meta-sha256: {}", told(b"right").metadata["sha256"]),
                body: "wrong",
            })
        })
        .await;
    let bench = StepBench::new()
        .with("from", line)
        .with("to", to.connection("way-to").await);
    let output = bench.run(&Copy, json!({})).await.output();
    assert_eq!(output["created"], json!(1), "{output}");
    assert_eq!(content(&target, "k").await.as_deref(), Some(&b"right"[..]));
}

/// Parts of several sizes make an ETag that no copy has, and other clients keep no sum over the whole of it: within a store as
/// between two.
#[tokio::test]
async fn a_copy_that_no_sum_proves_is_counted_and_told() {
    let (versity, sandbox) = (versitygw().await, sandbox().await);
    let (small, large) = (vec![b'a'; 5 << 20], vec![b'b'; 6 << 20]);
    for (from, to) in [(&versity, &versity), (&sandbox, &sandbox), (&versity, &sandbox)] {
        let what = format!("{} to {}", from.name, to.name);
        let (source, target) = (format!("uneven-{}", to.name), format!("of-{}", from.name));
        from.bucket(&source)
            .await
            .put_bytes("whole", "x", Put::default())
            .await
            .expect("written");
        to.bucket(&target).await;
        from.put_in_parts(&source, "parts", &[&small, &large, b"c"]).await;
        let ran = both((from, &source), (to, &target)).await.run(&Copy, json!({})).await;
        let is_told = ran.log.iter().any(|line| line.contains("of 1 copies no sum tells"));
        assert!(is_told, "{what}: {:?}", ran.log);
        let output = ran.output();
        assert_eq!(
            (&output["created"], &output["unverified"]),
            (&json!(2), &json!(1)),
            "{what}: {output}"
        );
    }
}

/// The ETag of parts that a copy in one request has was handed on and not computed: it proves nothing. So ministack does it.
#[tokio::test]
async fn the_etag_of_parts_that_a_copy_was_given_proves_nothing() {
    let store = ministack().await;
    let source = store.bucket("given-from").await;
    store.bucket("given-to").await;
    let large = noise(23, IN_PARTS);
    source.put("large", &large[..], told(&large)).await.expect("written");
    source
        .put_bytes("small", "small", told(b"small"))
        .await
        .expect("written");
    let bench = both((&store, "given-from"), (&store, "given-to")).await;
    let output = bench.run(&Copy, json!({})).await.output();
    assert_eq!(
        (&output["created"], &output["unverified"]),
        (&json!(2), &json!(1)),
        "{output}"
    );
}

/// Two objects in parts whose writers tell the same sum of other content: no store has another sum of them, so that both are read.
#[tokio::test]
async fn what_writers_say_of_what_is_in_parts_is_not_believed() {
    let store = ministack().await;
    let (from, to) = (store.bucket("parts-from").await, store.bucket("parts-to").await);
    let large = noise(24, IN_PARTS);
    from.put("damaged", &large[..], told(&large)).await.expect("written");
    to.put("damaged", &damaged(&large)[..], told(&large))
        .await
        .expect("written");
    // The same content in other parts.
    from.put("same", &large[..], told(&large)).await.expect("written");
    let sized = Put {
        bytes: Some(100_000 << 20),
        ..told(&large)
    };
    to.put("same", &large[..], sized).await.expect("written");
    let bench = both((&store, "parts-from"), (&store, "parts-to")).await;
    let keep = json!({ "existing": "keep" });
    let output = bench.run(&Copy, keep).await.output();
    assert_eq!(
        (&output["kept_names"], &output["unchanged"]),
        (&json!(["damaged"]), &json!(1)),
        "{output}"
    );
    let output = bench.run(&Copy, json!({})).await.output();
    assert_eq!(output["overwritten"], json!(1), "{output}");
    assert!(content(&to, "damaged").await == Some(large));
}

/// Where both sides keep checksums, these tell, and nothing is read to compare it.
#[tokio::test]
async fn what_has_checksums_is_not_read_to_be_compared() {
    for store in stores().await {
        let (from, to) = (store.bucket("sums-from").await, store.bucket("sums-to").await);
        let large = noise(25, IN_PARTS);
        from.put("large", &large[..], told(&large)).await.expect("written");
        let sized = Put {
            bytes: Some(100_000 << 20),
            ..told(&large)
        };
        to.put("large", &large[..], sized).await.expect("written");
        let reads = |head: &str| head.starts_with("GET ") && head.contains("/large");
        let bench = StepBench::new()
            .with("from", store.denying("sums-from", reads).await)
            .with("to", store.denying("sums-to", reads).await);
        let preview = bench.preview(&Copy, json!({})).await.expect("a preview");
        assert_eq!(preview.grade, Grade::Verified, "{}: {}", store.name, preview.summary);
    }
}
