//! Listings against a naive model: sort everything and filter.

use std::sync::Arc;

use bytes::Bytes;
use proptest::{
    collection::vec,
    prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest},
    prop_oneof, sample,
    test_runner::TestCaseError,
};

use super::world::World;
use crate::{
    metadata::{Direction, Namespace, Table},
    storage::{
        Bucket, keys,
        listing::{Entry, ListQuery, ListStart, Page, VersionEntry},
        records::{ListRecord, Record, Versioning},
    },
    types::{ObjectKey, UploadId, VersionId, VersionSelector},
};

/// Prefix, delimiter, marker and page size.
type Question = (String, String, Option<String>, usize);
type Outcome = Result<(), TestCaseError>;

/// Letters that make trouble: the least byte, the greatest characters, parts of delimiters.
fn letters() -> impl Strategy<Value = &'static str> {
    sample::select(vec!["a", "b", "/", "/", "-", "\0", "\u{1}", "é", "\u{ffff}", "\u{10ffff}"])
}

fn text(length: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    vec(letters(), length).prop_map(|letters| letters.concat())
}

fn delimiter() -> impl Strategy<Value = String> {
    let fixed = sample::select(vec!["", "/", "/", "//", "a/", "\0", "é", "\u{10ffff}", "b"]).prop_map(str::to_owned);
    prop_oneof![4 => fixed, 1 => text(1..4)]
}

fn question() -> impl Strategy<Value = Question> {
    (text(0..3), delimiter(), proptest::option::of(text(0..5)), 1..7_usize)
}

/// The common prefix of a key.
fn folded(query: &ListQuery, key: &str) -> Option<String> {
    if query.delimiter.is_empty() {
        return None;
    }
    let (head, _) = key.strip_prefix(query.prefix.as_str())?.split_once(query.delimiter.as_str())?;
    Some([query.prefix.as_str(), head, query.delimiter.as_str()].concat())
}

/// What one page without a limit must show of `rows`, which are in the order of listings.
fn naive<T: Clone>(
    query: &ListQuery,
    rows: &[T],
    key: impl Fn(&T) -> &str,
    passed: impl Fn(&T) -> bool,
) -> Vec<Entry<T>> {
    let marker = match &query.start {
        ListStart::Beginning => None,
        ListStart::AfterKey(key) | ListStart::AfterVersion(key, _) | ListStart::AfterUpload(key, _) => {
            folded(query, key)
        }
        ListStart::AfterPrefix(prefix) => Some(prefix.clone()),
    };
    let mut entries: Vec<Entry<T>> = Vec::new();
    let mut last = None;
    for row in rows {
        let key = key(row);
        let behind = match &marker {
            Some(prefix) => key.starts_with(prefix.as_str()) || key < prefix.as_str(),
            None => passed(row),
        };
        if !key.starts_with(&query.prefix) || behind {
            continue;
        }
        match folded(query, key) {
            None => entries.push(Entry::Item(row.clone())),
            Some(prefix) if last.as_ref() == Some(&prefix) => {}
            Some(prefix) => {
                entries.push(Entry::Prefix(prefix.clone()));
                last = Some(prefix);
            }
        }
    }
    entries
}

/// All pages, one after the other.
async fn walk<T, F>(
    query: &ListQuery,
    limit: usize,
    list: impl Fn(ListQuery) -> F,
) -> Result<Vec<Entry<T>>, TestCaseError>
where
    F: Future<Output = Page<T>>,
{
    let mut query = ListQuery { limit, ..query.clone() };
    let mut all = Vec::new();
    loop {
        let page = list(query.clone()).await;
        prop_assert!(page.entries.len() <= limit);
        prop_assert!(page.next.is_none() || page.entries.len() == limit, "a page is cut only where it is full");
        all.extend(page.entries);
        let Some(next) = page.next else { return Ok(all) };
        query.start = next;
    }
}

fn run<F: Future<Output = Outcome>>(test: F) -> Outcome {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test)
}

async fn check_objects(keys: Vec<String>, questions: Vec<Question>) -> Outcome {
    let world = World::new();
    let bucket = world.bucket("listed", Versioning::Unversioned).await;
    let neighbour = world.bucket("neighbour", Versioning::Unversioned).await;
    for key in &keys {
        world.put(&bucket, key, b"").await;
        world.put(&neighbour, key, b"").await;
    }
    let mut sorted = keys;
    sorted.sort();
    sorted.dedup();
    for (prefix, delimiter, marker, limit) in questions {
        let start = marker.map_or(ListStart::Beginning, ListStart::AfterKey);
        let query = ListQuery { prefix, delimiter, start, limit: 1000 };
        let passed = |key: &String| matches!(&query.start, ListStart::AfterKey(marker) if key <= marker);
        let expected = naive(&query, &sorted, |key| key, passed);
        let list = async |query: ListQuery| {
            let page = world.storage.list_objects(&bucket, &query).await.unwrap();
            let entries = page.entries.into_iter().map(|entry| match entry {
                Entry::Item(object) => Entry::Item(object.key),
                Entry::Prefix(prefix) => Entry::Prefix(prefix),
            });
            Page { entries: entries.collect(), next: page.next }
        };
        let whole = list(query.clone()).await;
        prop_assert!(!whole.is_truncated());
        prop_assert_eq!(&whole.entries, &expected, "{:?}", &query);
        prop_assert_eq!(walk(&query, limit, list).await?, expected, "{:?} by {}", &query, limit);
    }
    Ok(())
}

/// A random history of versions.
#[derive(Clone, Debug)]
enum Step {
    Put(usize),
    Delete(usize),
    Remove(usize, usize),
    Versioning(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<usize>().prop_map(Step::Put),
        3 => any::<usize>().prop_map(Step::Delete),
        2 => (any::<usize>(), any::<usize>()).prop_map(|(key, version)| Step::Remove(key, version)),
        1 => any::<bool>().prop_map(Step::Versioning),
    ]
}

/// Every version by brute force: both tables, sorted.
async fn all_versions(world: &World, bucket: &Bucket) -> Vec<VersionEntry> {
    let scan = async |table| {
        let ns = Namespace::of(table, bucket.id);
        world.metadata.scan(ns, Bytes::new()..keys::end_of_all(), Direction::Forward, usize::MAX).await.unwrap()
    };
    let mut rows: Vec<(String, ListRecord)> = Vec::new();
    for (key, value) in scan(Table::Current).await {
        rows.push((String::from_utf8(key.to_vec()).unwrap(), ListRecord::from_bytes(&value).unwrap()));
    }
    for (row, value) in scan(Table::Versions).await {
        let (key, _) = keys::split_key(&row).unwrap();
        rows.push((String::from_utf8(key).unwrap(), ListRecord::from_bytes(&value).unwrap()));
    }
    rows.sort_by(|(a, x), (b, y)| a.cmp(b).then(y.version_id().cmp(&x.version_id())));
    let mut last = None;
    let entry = |(key, record): (String, ListRecord)| {
        let is_latest = last.as_ref() != Some(&key);
        last = Some(key.clone());
        VersionEntry { key, record, is_latest }
    };
    rows.into_iter().map(entry).collect()
}

/// Whether a version lies before the marker, or is it.
fn version_passed(start: &ListStart, all: &[VersionEntry], row: &VersionEntry) -> bool {
    let (key, selector) = match start {
        ListStart::AfterVersion(key, selector) => (key, Some(selector)),
        ListStart::AfterKey(key) => (key, None),
        _ => return false,
    };
    if row.key != *key {
        return row.key < *key;
    }
    let null = || all.iter().find(|row| row.key == *key && row.record.is_null).map(|row| row.record.version_id());
    match selector {
        None => true,
        Some(VersionSelector::Id(id)) => row.record.version_id() >= *id,
        Some(VersionSelector::Null) => null().is_some_and(|null| row.record.version_id() >= null),
    }
}

/// Markers: a key, a version, one that is gone, `null`.
fn version_marker(all: &[VersionEntry], text: String, seed: usize) -> ListStart {
    let near = all.get(seed % (all.len() + 1));
    let id = |row: &VersionEntry, by: u64| {
        VersionId::new(row.record.stamp.wrapping_add(by), row.record.version_id().group())
    };
    match (seed % 7, near) {
        (0, _) | (_, None) => ListStart::Beginning,
        (1, _) => ListStart::AfterKey(text),
        (2, Some(row)) => ListStart::AfterKey(row.key.clone()),
        (3, Some(row)) => ListStart::AfterVersion(row.key.clone(), VersionSelector::Null),
        (4, Some(row)) => ListStart::AfterVersion(row.key.clone(), VersionSelector::Id(id(row, 1))),
        (5, Some(row)) => ListStart::AfterVersion(text, VersionSelector::Id(id(row, 0))),
        (_, Some(row)) => ListStart::AfterVersion(row.key.clone(), VersionSelector::Id(id(row, 0))),
    }
}

async fn check_versions(names: Vec<String>, steps: Vec<Step>, questions: Vec<(Question, usize)>) -> Outcome {
    let world = World::new();
    let mut bucket = world.bucket("listed", Versioning::Unversioned).await;
    let name = |seed: usize| names[seed % names.len()].as_str();
    for step in steps {
        match step {
            Step::Put(key) => drop(world.put(&bucket, name(key), b"").await),
            Step::Delete(key) => drop(world.delete(&bucket, name(key), None).await.unwrap()),
            Step::Remove(key, version) => {
                let all = all_versions(&world, &bucket).await;
                let of: Vec<_> = all.iter().filter(|row| row.key == name(key)).collect();
                let Some(row) = of.get(version % (of.len() + 1)) else { continue };
                let id = row.record.version_id();
                let selector = if row.record.is_null { VersionSelector::Null } else { VersionSelector::Id(id) };
                world.delete(&bucket, name(key), Some(selector)).await.unwrap();
            }
            Step::Versioning(enabled) => {
                let state = if enabled { Versioning::Enabled } else { Versioning::Suspended };
                bucket = world.set_versioning(&bucket.name, state).await;
            }
        }
    }
    super::audit::audit(&world, &[&bucket], &[]).await;
    let all = all_versions(&world, &bucket).await;
    for ((prefix, delimiter, marker, limit), seed) in questions {
        let start = version_marker(&all, marker.unwrap_or_default(), seed);
        let query = ListQuery { prefix, delimiter, start, limit: 1000 };
        let expected = naive(&query, &all, |row| &row.key, |row| version_passed(&query.start, &all, row));
        let list = async |query: ListQuery| world.storage.list_versions(&bucket, &query).await.unwrap();
        let whole = list(query.clone()).await;
        prop_assert!(!whole.is_truncated());
        prop_assert_eq!(&whole.entries, &expected, "{:?}", &query);
        prop_assert_eq!(walk(&query, limit, list).await?, expected, "{:?} by {}", &query, limit);
    }
    Ok(())
}

async fn check_uploads(names: Vec<String>, ended: Vec<usize>, questions: Vec<(Question, usize)>) -> Outcome {
    let world = World::new();
    let bucket = world.bucket("listed", Versioning::Unversioned).await;
    let mut all: Vec<(String, UploadId)> = Vec::new();
    for name in &names {
        all.push((name.clone(), world.create_upload(&bucket, name).await));
    }
    for which in ended {
        if all.is_empty() {
            break;
        }
        let (name, id) = all.swap_remove(which % all.len());
        if which % 2 == 0 {
            world.abort(&bucket, &name, id).await.unwrap();
        } else {
            world.put_part(&bucket, &name, id, (1, b"x")).await.unwrap();
            world.complete(&bucket, &name, id, &super::world::listing_of(&[b"x"])).await.unwrap();
        }
    }
    all.sort();
    for ((prefix, delimiter, marker, limit), seed) in questions {
        let start = match (seed % 4, all.get(seed % (all.len() + 1))) {
            (0, _) | (_, None) => ListStart::Beginning,
            (1, _) => ListStart::AfterKey(marker.unwrap_or_default()),
            (2, Some((_, id))) => ListStart::AfterUpload(marker.unwrap_or_default(), *id),
            (_, Some((key, id))) => ListStart::AfterUpload(key.clone(), *id),
        };
        let query = ListQuery { prefix, delimiter, start, limit: 1000 };
        let passed = |row: &(String, UploadId)| match &query.start {
            ListStart::AfterUpload(key, id) => (&row.0, &row.1) <= (key, id),
            ListStart::AfterKey(key) => row.0 <= *key,
            _ => false,
        };
        let expected = naive(&query, &all, |row| &row.0, passed);
        let list = async |query: ListQuery| {
            let page = world.storage.list_uploads(&bucket, &query).await.unwrap();
            let entries = page.entries.into_iter().map(|entry| match entry {
                Entry::Item(upload) => Entry::Item((upload.key, upload.id)),
                Entry::Prefix(prefix) => Entry::Prefix(prefix),
            });
            Page { entries: entries.collect(), next: page.next }
        };
        prop_assert_eq!(&list(query.clone()).await.entries, &expected, "{:?}", &query);
        prop_assert_eq!(walk(&query, limit, list).await?, expected, "{:?} by {}", &query, limit);
    }
    Ok(())
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 96, ..proptest::test_runner::Config::default() })]

    #[test]
    fn pages_of_objects_are_the_sorted_and_folded_keys(
        keys in vec(text(1..7), 0..40),
        questions in vec(question(), 12),
    ) {
        run(check_objects(keys, questions))?;
    }

    #[test]
    fn pages_of_versions_are_the_sorted_and_folded_versions(
        names in vec(text(1..5), 1..8),
        steps in vec(step(), 0..50),
        questions in vec((question(), any::<usize>()), 12),
    ) {
        run(check_versions(names, steps, questions))?;
    }

    #[test]
    fn pages_of_uploads_are_the_sorted_and_folded_open_uploads(
        names in vec(text(1..5), 0..20),
        ended in vec(any::<usize>(), 0..6),
        questions in vec((question(), any::<usize>()), 12),
    ) {
        run(check_uploads(names, ended, questions))?;
    }
}

async fn shown(
    world: &World,
    bucket: &Arc<Bucket>,
    query: (&str, &str, ListStart, usize),
) -> (Vec<String>, Option<ListStart>) {
    let (prefix, delimiter, start, limit) = query;
    let query = ListQuery { prefix: prefix.to_owned(), delimiter: delimiter.to_owned(), start, limit };
    let page = world.storage.list_objects(bucket, &query).await.unwrap();
    let lines = page.entries.iter().map(|entry| match entry {
        Entry::Item(object) => object.key.clone(),
        Entry::Prefix(prefix) => format!("<{prefix}>"),
    });
    (lines.collect(), page.next)
}

#[tokio::test]
async fn a_page_that_ends_on_a_common_prefix_goes_on_behind_all_of_it() {
    let world = World::new();
    let bucket = world.bucket("listed", Versioning::Unversioned).await;
    for key in ["asdf", "boo/bar", "boo/baz/xyzzy", "cquux/thud", "cquux/bla"] {
        world.put(&bucket, key, b"").await;
    }
    let (lines, next) = shown(&world, &bucket, ("", "/", ListStart::Beginning, 2)).await;
    assert_eq!(lines, ["asdf", "<boo/>"]);
    assert_eq!(next, Some(ListStart::AfterPrefix("boo/".to_owned())));
    for start in ["boo/", "boo/bar", "boo/zzz"] {
        let (lines, next) = shown(&world, &bucket, ("", "/", ListStart::AfterKey(start.to_owned()), 2)).await;
        assert_eq!((lines, next), (vec!["<cquux/>".to_owned()], None), "after {start}");
    }
    let (lines, next) = shown(&world, &bucket, ("boo/", "/", ListStart::AfterKey("boo/".to_owned()), 2)).await;
    assert_eq!((lines, next), (vec!["boo/bar".to_owned(), "<boo/baz/>".to_owned()], None));
}

#[tokio::test]
async fn a_page_of_no_entries_is_the_last() {
    let world = World::new();
    let bucket = world.bucket("listed", Versioning::Enabled).await;
    world.put(&bucket, "a", b"").await;
    world.create_upload(&bucket, "a").await;
    let query = ListQuery::default();
    assert_eq!(world.storage.list_objects(&bucket, &query).await.unwrap(), Page { entries: vec![], next: None });
    assert_eq!(world.storage.list_versions(&bucket, &query).await.unwrap(), Page { entries: vec![], next: None });
    assert_eq!(world.storage.list_uploads(&bucket, &query).await.unwrap(), Page { entries: vec![], next: None });
}

#[tokio::test]
async fn parts_are_listed_by_number_behind_the_marker() {
    let world = World::new();
    let bucket = world.bucket("listed", Versioning::Unversioned).await;
    let id = world.create_upload(&bucket, "k").await;
    for number in [10_000, 2, 1, 300, 255] {
        world.put_part(&bucket, "k", id, (number, b"part")).await.unwrap();
    }
    let key = ObjectKey::new("k").unwrap();
    let numbers = async |after, limit| {
        let page = world.storage.list_parts(&bucket, &key, id, after, limit).await.unwrap();
        (page.parts.iter().map(|(number, _)| *number).collect::<Vec<_>>(), page.truncated)
    };
    assert_eq!(numbers(0, 1000).await, (vec![1, 2, 255, 300, 10_000], false));
    assert_eq!(numbers(2, 2).await, (vec![255, 300], true));
    assert_eq!(numbers(300, 1).await, (vec![10_000], false));
    assert_eq!(numbers(10_000, 5).await, (vec![], false));
    assert_eq!(numbers(u16::MAX, 5).await, (vec![], false));
    assert_eq!(numbers(0, 0).await, (vec![], false));
}
