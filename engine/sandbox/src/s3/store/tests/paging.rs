//! Pages of every size put together are the whole listing, and that is what a naive one finds.

use proptest::prelude::*;

use super::*;

type Line = (Option<String>, String);

/// All pages of the size that `list` makes, one after the other.
fn paged<T>(mut list: impl FnMut(&After) -> listing::Page<T>, most: usize) -> Vec<Item<T>> {
    let (mut all, mut after) = (Vec::new(), After::Start);
    loop {
        let page = list(&after);
        assert!(page.items.len() <= most);
        all.extend(page.items);
        match page.next {
            None => return all,
            Some(next) => after = next,
        }
    }
}

fn version_line(item: Item<Listed>) -> Line {
    match item {
        Item::One(one) => (Some(one.version.id().to_string()), one.history.key.clone()),
        Item::CommonPrefix(prefix) => (None, prefix),
    }
}

fn object_line(item: Item<Arc<History>>) -> Line {
    match item {
        Item::One(history) => (Some("current".into()), history.key.clone()),
        Item::CommonPrefix(prefix) => (None, prefix),
    }
}

/// The lines that a listing has, worked out key by key.
fn naive(index: &bucket::Index, filter: &Filter, of_key: impl Fn(&History) -> Vec<String>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for history in index.values().filter(|history| history.key.starts_with(&filter.prefix)) {
        let ids = of_key(history);
        let rest = &history.key[filter.prefix.len()..];
        let cut = filter
            .delimiter
            .as_ref()
            .and_then(|delimiter| rest.split_once(delimiter.as_str()));
        match cut {
            None => lines.extend(ids.into_iter().map(|id| (Some(id), history.key.clone()))),
            Some((head, _)) if !ids.is_empty() => {
                let delimiter = filter.delimiter.as_deref().unwrap_or_default();
                lines.push((None, format!("{}{head}{delimiter}", filter.prefix)));
            }
            Some(_) => {}
        }
    }
    lines.dedup_by(|a, b| a.0.is_none() && a == b);
    lines
}

fn written(steps: &[(String, bool)]) -> (TempDir, Store, Arc<Bucket>) {
    let (folder, store, bucket) = fresh(Some(Versioning::Enabled));
    for (key, delete) in steps {
        if *delete {
            bucket.delete_key(key, &Condition::default()).unwrap();
        } else {
            put(&bucket, key, b"");
        }
    }
    (folder, store, bucket)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn pages_of_every_size_are_the_whole(
        steps in prop::collection::vec(("[ab/é]{1,4}", prop::bool::weighted(0.3)), 0..30),
        prefix in "[ab/]{0,2}",
        delimiter in prop::option::of("/|b|é"),
    ) {
        let (_folder, _store, bucket) = written(&steps);
        let filter = Filter { prefix, delimiter };
        bucket.with_index(|index| {
            let ids = |history: &History| history.versions.iter().rev().map(|v| v.id().to_string()).collect();
            let current = |history: &History| history.current().map(|_| "current".to_owned()).into_iter().collect();
            let (versions, objects) = (naive(index, &filter, ids), naive(index, &filter, current));
            for most in 1..=versions.len() + 1 {
                let found = paged(|after| list_versions(index, &filter, after, most), most);
                assert_eq!(found.into_iter().map(version_line).collect::<Vec<_>>(), versions, "{most} a page");
                let found = paged(|after| list_objects(index, &filter, after, most), most);
                assert_eq!(found.into_iter().map(object_line).collect::<Vec<_>>(), objects, "{most} a page");
            }
        });
    }

    #[test]
    fn deleting_what_a_page_showed_skips_and_repeats_nothing(
        steps in prop::collection::vec(("[ab]{1,2}", any::<bool>()), 0..20),
        most in 1..5_usize,
    ) {
        let (_folder, _store, bucket) = written(&steps);
        let list = |after: &After| bucket.with_index(|index| list_versions(index, &Filter::default(), after, most));
        let whole = bucket.with_index(|index| list_versions(index, &Filter::default(), &After::Start, 1000));
        let deleting = |after: &After| {
            let page = list(after);
            for item in &page.items {
                let Item::One(one) = item else { panic!("{item:?}") };
                bucket.delete_version(&one.history.key, one.version.id(), &Condition::default()).unwrap();
            }
            page
        };
        let found: Vec<_> = paged(deleting, most).into_iter().map(version_line).collect();
        prop_assert_eq!(found, whole.items.into_iter().map(version_line).collect::<Vec<_>>());
        prop_assert!(bucket.with_index(bucket::Index::is_empty));
    }
}

#[test]
fn an_empty_page_ends_the_listing() {
    let (_folder, _store, bucket) = written(&[("a".into(), false)]);
    let page = bucket.with_index(|index| list_objects(index, &Filter::default(), &After::Start, 0));
    assert_eq!((page.items.len(), page.next), (0, None));
}

#[test]
fn a_marker_that_is_a_common_prefix_stands_for_all_below_it() {
    let filter = Filter {
        prefix: "a/".into(),
        delimiter: Some("/".into()),
    };
    let marker = |key: &str| After::marker(&filter, key.into());
    assert_eq!(marker("a/b/"), After::Prefix("a/b/".into()));
    assert_eq!(marker("a/b/c"), After::Key("a/b/c".into()));
    assert_eq!(marker("a/"), After::Key("a/".into()));
}

#[test]
fn a_prefix_at_the_end_of_all_text_has_nothing_behind_it() {
    let last = format!("{0}{0}/", char::MAX);
    let (_folder, _store, bucket) = written(&[("a".into(), false), (format!("{last}x"), false)]);
    let filter = Filter {
        prefix: String::new(),
        delimiter: Some("/".into()),
    };
    let list = |after: &After| bucket.with_index(|index| list_objects(index, &filter, after, 1));
    let found: Vec<_> = paged(list, 1).into_iter().map(object_line).collect();
    assert_eq!(found, [(Some("current".into()), "a".into()), (None, last)]);
}
