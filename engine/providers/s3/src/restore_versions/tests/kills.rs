//! Restores that are killed at each of their pages, of histories that always are the same and of others each time.

use std::collections::{BTreeSet, VecDeque};

use jm_client_s3::S3Bucket;

use super::histories::{Deed, delete_all, keys_of};
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

fn named(undeletes: bool, seed: u64, kill: usize) -> String {
    let what = if undeletes { "undelete" } else { "kill" };
    format!("{what}-{seed}-{kill}")
}

fn undelete(_: Timestamp) -> Value {
    json!({ "page": PAGE })
}

/// Kills a restore at each of its pages, until it ends by itself, of a history that always is the same; at the first ones of one
/// that never was before; and once where it was wrong before.
async fn killed_at_every_page(store: &Store, deeds: Deeds, wish: fn(Timestamp) -> Value) {
    let undeletes = wish(Timestamp::UNIX_EPOCH)["as_of"].is_null();
    let fixed = 99;
    let fresh = drawn();
    // It is saved once before each part, and each part has a key: one more than there are keys are too many.
    let kills = 1..keys_of(deeds).len() + 2;
    let seeds = [(fixed, kills), (fresh, 1..14), (ONCE_WRONG, 1..2)];
    let mut buckets = Vec::new();
    for (seed, kill) in seeds
        .iter()
        .flat_map(|(seed, kills)| kills.clone().map(move |kill| (*seed, kill)))
    {
        let bucket = store.bucket(&named(undeletes, seed, kill)).await;
        bucket.set_versioning(true).await.expect("set");
        let mut rng = Rng::new(seed);
        let then = history(&bucket, &mut rng, deeds, 50).await;
        buckets.push((bucket, rng, then));
    }
    let at = now_of(store).await;
    let mut tales = VecDeque::new();
    for (bucket, mut rng, then) in buckets {
        let mut since = history(&bucket, &mut rng, deeds, 50).await;
        if undeletes {
            delete_all(&bucket, keys_of(deeds).into_iter(), &mut since).await;
        }
        tales.push_back(Told { then, since });
        if deeds.switches() {
            bucket.set_versioning(rng.below(3) > 0).await.expect("set");
        }
    }
    // Parts of a key or two, so that some are done before others begin: versitygw goes no further in pages of one.
    let (page, at_least) = match store.name {
        "versitygw" => (2, 1),
        _ if undeletes => (1, 2),
        _ => (1, 3),
    };
    let mut input = wish(at);
    input["page"] = json!(page);
    for (seed, kills) in seeds {
        let mut cuts = Vec::new();
        let tales: Vec<Told> = tales.drain(..kills.len()).collect();
        for (kill, told) in kills.zip(tales) {
            let cut = restored(store, &named(undeletes, seed, kill), &told, &input, Some(kill)).await;
            cuts.push(cut);
            if cut == Cut::Never {
                break;
            }
        }
        assert!(
            seed != fixed || cuts.last() == Some(&Cut::Never),
            "{}: a page was left out: {cuts:?}",
            store.name
        );
        let times = |cut: Cut| cuts.iter().filter(|one| **one == cut).count();
        let enough = times(Cut::Early) >= at_least && times(Cut::Later) >= at_least;
        assert!(enough || seed != fixed, "{}: {cuts:?}", store.name);
        aws_agrees(store, &named(undeletes, seed, 1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_every_page_loses_nothing_and_counts_nothing_twice() {
    killed_at_every_page(&versitygw().await, Deeds::Unmarked, as_of).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_it_where_versioning_was_switched_off_and_on() {
    killed_at_every_page(&sandbox().await, Deeds::Everything, as_of).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_on_a_store_of_somebody_else() {
    killed_at_every_page(&ministack().await, Deeds::Everything, as_of).await;
}

/// What `plans/s3-loss.yaml` does where no moment is given.
#[tokio::test(flavor = "multi_thread")]
async fn nor_does_a_kill_of_an_undelete() {
    killed_at_every_page(&sandbox().await, Deeds::Everything, undelete).await;
}

/// An undelete that was cut off.
struct CutOff {
    bucket: S3Bucket,
    rng: Rng,
    then: Vec<Deed>,
    saved: Value,
}

/// Undeletes of histories that are cut off, each at another of its saved points.
async fn cut_off(store: &Store) -> Vec<CutOff> {
    let mut buckets = Vec::new();
    for seed in 1..8 {
        let bucket = store.bucket(&format!("others-{seed}")).await;
        bucket.set_versioning(true).await.expect("set");
        let mut rng = Rng::new(seed);
        let mut then = history(&bucket, &mut rng, Deeds::Unmarked, 50).await;
        delete_all(&bucket, KEYS.iter().copied(), &mut then).await;
        buckets.push((bucket, rng, then));
    }
    now_of(store).await;
    let mut cut = Vec::new();
    for (number, (bucket, rng, then)) in buckets.into_iter().enumerate() {
        let bench = bench(store, bucket.bucket()).await;
        let first = bench
            .run_until(&RestoreVersions, json!({ "page": 2 }), number + 1)
            .await;
        if first.result.is_none() {
            let saved = first.checkpoints.last().expect("saved").clone();
            let one = CutOff {
                bucket,
                rng,
                then,
                saved,
            };
            cut.push(one);
        }
    }
    assert!(cut.len() > 1, "{}", store.name);
    cut
}

/// What others write and delete between a kill and the next attempt stays as they made it; what of it is missing is told, as far as the
/// attempt has yet to look at it; and all else comes back.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_do_between_a_kill_and_the_next_attempt_stays_and_is_told() {
    for store in all_stores().await {
        let cut = cut_off(&store).await;
        // Also what was on its way when the process died.
        now_of(&store).await;
        for mut one in cut {
            let name = one.bucket.bucket().to_owned();
            let others = history(&one.bucket, &mut one.rng, Deeds::Plain, 8).await;
            let after = one.saved["after"].as_str().unwrap_or_default().to_owned();
            let bench = bench(&store, &name).await.attempt(2).checkpoint(one.saved);
            let ran = bench.run(&RestoreVersions, json!({ "page": 2 })).await;
            let failed = ran.outputs.last().cloned();
            let output = failed.unwrap_or_else(|| ran.output());
            let told = Told {
                then: one.then,
                since: others.clone(),
            };
            let written = written(told.all());
            let mut wanted = written.clone();
            let touched: BTreeSet<&str> = others.iter().filter_map(Deed::key).collect();
            let now = state(&one.bucket).await;
            let is_gone = |key: &&str| {
                let last = others.iter().rfind(|deed| deed.key() == Some(key));
                matches!(last, Some(Deed::Delete(_))) && written.contains_key(*key)
            };
            let gone: Vec<&str> = touched.into_iter().filter(is_gone).collect();
            wanted.retain(|key, _| !gone.contains(&key.as_str()));
            assert_eq!(now, wanted, "{} {name}", store.name);
            let to_tell = gone.iter().filter(|key| key.as_bytes() > after.as_bytes()).count();
            let count = |field: &str| output[field].as_u64().expect("a count");
            assert_eq!(
                count("failed") + count("changed_since"),
                to_tell as u64,
                "{} {name} after {after:?}: {gone:?} {output}",
                store.name
            );
        }
    }
}
