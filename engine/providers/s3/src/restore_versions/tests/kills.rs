//! Restores that are killed at each of their pages, of histories that always are the same and of others each time.

use std::collections::VecDeque;

use super::*;

/// The seed that a failure of [`killed_at_every_page`] names, to see it again.
const SEED: &str = "JM_TEST_SEED";

/// A seed by which a key is deleted while the bucket keeps no versions, written again, and to be marked as deleted again.
const ONCE_WRONG: u64 = 2;

/// Another seed each time, unless one is said.
#[expect(clippy::disallowed_methods, reason = "a test's own variable")]
fn drawn() -> u64 {
    let given = std::env::var(SEED).ok().map(|seed| seed.parse().expect("a number"));
    given.unwrap_or_else(|| jm_step::clock::now().as_millisecond().unsigned_abs())
}

/// Kills a restore at each of its pages, of a history that always is the same and of one that never was before; and once where
/// it was wrong before.
async fn killed_at_every_page(store: &Store, deeds: Deeds) {
    const KILLS: std::ops::Range<usize> = 1..14;
    let fixed = 99;
    let fresh = drawn();
    let seeds = [(fixed, KILLS), (fresh, KILLS), (ONCE_WRONG, 1..2)];
    let mut buckets = Vec::new();
    for (seed, kill) in seeds
        .iter()
        .flat_map(|(seed, kills)| kills.clone().map(move |kill| (*seed, kill)))
    {
        let bucket = store.bucket(&format!("kill-{seed}-{kill}")).await;
        bucket.set_versioning(true).await.expect("set");
        let mut rng = Rng::new(seed);
        let then = history(&bucket, &mut rng, deeds, 50).await;
        buckets.push((bucket, rng, then));
    }
    let at = now_of(store).await;
    let mut tales = VecDeque::new();
    for (bucket, mut rng, then) in buckets {
        let since = history(&bucket, &mut rng, deeds, 50).await;
        tales.push_back(Told { then, since });
        if deeds == Deeds::Everything {
            bucket.set_versioning(rng.below(3) > 0).await.expect("set");
        }
    }
    // Parts of a key or two, so that some are done before others begin: versitygw goes no further in pages of one.
    let (page, at_least) = if store.name == "versitygw" { (2, 1) } else { (1, 3) };
    let mut input = as_of(at);
    input["page"] = json!(page);
    for (seed, kills) in seeds {
        let mut cuts = Vec::new();
        for kill in kills {
            let (name, told) = (format!("kill-{seed}-{kill}"), tales.pop_front().expect("one for each"));
            cuts.push(restored(store, &name, &told, &input, Some(kill)).await);
        }
        let times = |cut: Cut| cuts.iter().filter(|one| **one == cut).count();
        let enough = times(Cut::Early) >= at_least && times(Cut::Later) >= at_least;
        assert!(enough || seed != fixed, "{}: {cuts:?}", store.name);
        aws_agrees(store, &format!("kill-{seed}-{}", KILLS.start)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_every_page_loses_nothing_and_counts_nothing_twice() {
    killed_at_every_page(&versitygw().await, Deeds::Unmarked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_it_where_versioning_was_switched_off_and_on() {
    killed_at_every_page(&sandbox().await, Deeds::Everything).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_on_a_store_of_somebody_else() {
    killed_at_every_page(&ministack().await, Deeds::Everything).await;
}
