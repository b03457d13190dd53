//! Random sequences of operations on one bucket: the engine must answer as a small reference S3 does, in memory and
//! on RocksDB.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panics")]

mod engine;
mod listing;
mod reference;

use std::sync::Arc;

use cloudserver::metadata::{MemoryStore, MetadataStore};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_assert_eq, proptest},
    prop_oneof, sample,
    test_runner::{Config, TestCaseError},
};

use engine::{Engine, INLINE, Store};
use reference::Reference;

/// Fewest bytes of a part other than the last.
const MIN_PART: usize = 4;

/// Parts by number.
type List = Vec<(u16, Vec<u8>)>;

/// A version of a key, by the order in which versions are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Newest,
    Null,
    Number(usize),
}

#[derive(Clone, Copy, Debug)]
enum Condition {
    None,
    Absent,
    Present,
}

#[derive(Clone, Debug)]
struct Listing {
    /// `objects`, `versions` or `uploads`.
    of: &'static str,
    prefix: String,
    delimited: bool,
    page: usize,
}

/// Uploads go by the order in which they are made.
#[derive(Clone, Debug)]
enum Op {
    Restart,
    Collect,
    Versioning(bool),
    Put { key: String, body: Vec<u8>, condition: Condition },
    Get { key: String, which: Which },
    Delete { key: String, which: Which },
    Create { key: String },
    Part { upload: usize, number: u16, body: Vec<u8> },
    Complete { upload: usize, list: List, condition: Condition },
    Abort { upload: usize },
    List(Listing),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Wrote { number: usize, null: bool },
    Deleted { marker: bool, version: Option<Which> },
    Body(Vec<u8>),
    Listed(Vec<String>),
    Refused(&'static str),
}

fn key() -> impl Strategy<Value = String> {
    sample::select(vec!["a", "a/b", "a/c/d", "b", "\0", "é/\u{10ffff}"]).prop_map(str::to_owned)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![1 => Just(Vec::new()), 3 => vec(any::<u8>(), 1..6), 3 => vec(any::<u8>(), 4..30)]
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![3 => Just(Which::Newest), 1 => Just(Which::Null), 3 => (0..30_usize).prop_map(Which::Number)]
}

fn condition() -> impl Strategy<Value = Condition> {
    sample::select(vec![Condition::None, Condition::None, Condition::None, Condition::Absent, Condition::Present])
}

fn listing() -> impl Strategy<Value = Listing> {
    let of = sample::select(vec!["objects", "versions", "uploads"]);
    let prefix = sample::select(vec!["", "", "a", "a/", "é"]).prop_map(str::to_owned);
    (of, prefix, any::<bool>(), 1..6_usize).prop_map(|(of, prefix, delimited, page)| Listing {
        of,
        prefix,
        delimited,
        page,
    })
}

/// An operation. What a completion lists is chosen when its turn comes, by bits: see [`chosen`].
fn op() -> impl Strategy<Value = (Op, u32)> {
    let upload = || 0..4_usize;
    let op = prop_oneof![
        1 => Just(Op::Restart),
        1 => Just(Op::Collect),
        2 => any::<bool>().prop_map(Op::Versioning),
        8 => (key(), body(), condition()).prop_map(|(key, body, condition)| Op::Put { key, body, condition }),
        4 => (key(), which()).prop_map(|(key, which)| Op::Get { key, which }),
        6 => (key(), which()).prop_map(|(key, which)| Op::Delete { key, which }),
        2 => key().prop_map(|key| Op::Create { key }),
        8 => (upload(), 1..40_u16, body()).prop_map(|(upload, number, body)| Op::Part { upload, number, body }),
        4 => (upload(), condition())
            .prop_map(|(upload, condition)| Op::Complete { upload, list: Vec::new(), condition }),
        1 => upload().prop_map(|upload| Op::Abort { upload }),
        5 => listing().prop_map(Op::List),
    ];
    (op, any::<u32>())
}

/// Fills in what a completion lists: mostly all large parts and a last one, at times too much or something wrong.
fn chosen(op: Op, bits: u32, reference: &Reference) -> Op {
    let Op::Complete { upload, condition, .. } = op else { return op };
    let Some(known) = reference.uploads.get(upload) else {
        return Op::Complete { upload, list: Vec::new(), condition };
    };
    let mut parts: List = known.parts.iter().map(|(number, body)| (*number, body.clone())).collect();
    if bits & 7 != 0 {
        let last = parts.pop();
        parts.retain(|(_, body)| body.len() >= MIN_PART);
        parts.extend(last);
    }
    if bits & 0x78 == 0 {
        parts.truncate(parts.len() / 2);
    }
    if bits & 0x780 == 0
        && let Some((_, body)) = parts.first_mut()
    {
        body.push(b'!');
    }
    Op::Complete { upload, list: parts, condition }
}

/// Every listing and every version, by name.
async fn compare(engine: &mut Engine, reference: &mut Reference) -> Result<(), TestCaseError> {
    let mut questions = Vec::new();
    for of in ["objects", "versions", "uploads"] {
        for (delimited, page) in [(false, 1000), (true, 2)] {
            questions.push(Op::List(Listing { of, prefix: String::new(), delimited, page }));
        }
    }
    for (key, versions) in &reference.keys {
        questions.push(Op::Get { key: key.clone(), which: Which::Newest });
        for version in versions {
            let which = if version.null { Which::Null } else { Which::Number(version.number) };
            questions.push(Op::Get { key: key.clone(), which });
        }
    }
    for question in questions {
        prop_assert_eq!(engine.apply(&question).await, reference.apply(&question), "{:?}", question);
    }
    let versions = || reference.keys.values().flatten().filter_map(|version| version.parts.as_ref());
    let open = || reference.uploads.iter().filter(|upload| upload.is_open()).flat_map(|upload| upload.parts.values());
    let current = |versions: &&Vec<reference::Version>| versions.first().is_some_and(|newest| newest.parts.is_some());
    let objects = reference.keys.values().filter(current).count();
    let bytes: usize = versions().flatten().map(Vec::len).sum();
    let upload_bytes: usize = open().map(Vec::len).sum();
    let counted = [objects, versions().count(), bytes, upload_bytes].map(|count| i64::try_from(count).unwrap());
    prop_assert_eq!(engine.usage().await, counted);
    let bytes = engine.blob_bytes().await;
    if let Some(begun) = engine.open_uploads() {
        // Every object is there as it is, and parts are none yet.
        prop_assert_eq!(bytes, counted[2].cast_unsigned());
        prop_assert_eq!(begun, reference.uploads.iter().filter(|upload| upload.is_open()).count());
        return Ok(());
    }
    let blobs: usize = versions().flatten().chain(open()).map(Vec::len).filter(|size| *size > INLINE).sum();
    prop_assert_eq!(bytes, blobs as u64);
    Ok(())
}

async fn play(
    metadata: Arc<dyn MetadataStore>,
    store: Store,
    ops: Vec<(Op, u32)>,
) -> Result<(Engine, Reference), TestCaseError> {
    let mut engine = Engine::new(metadata, store).await;
    let mut reference = Reference::default();
    for (step, (op, bits)) in ops.into_iter().enumerate() {
        let op = chosen(op, bits, &reference);
        prop_assert_eq!(engine.apply(&op).await, reference.apply(&op), "step {}: {:?}", step, op);
    }
    compare(&mut engine, &mut reference).await?;
    Ok((engine, reference))
}

fn run<T>(test: impl Future<Output = Result<T, TestCaseError>>) -> Result<T, TestCaseError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

proptest! {
    #![proptest_config(Config { cases: 256, ..Config::default() })]

    #[test]
    fn the_engine_in_memory_is_the_reference(ops in vec(op(), 1..80)) {
        run(play(Arc::new(MemoryStore::new()), Store::blobs(), ops))?;
    }
}

#[cfg(feature = "conformance")]
proptest! {
    #![proptest_config(Config { cases: 128, ..Config::default() })]

    #[test]
    fn the_engine_over_a_store_of_named_objects_is_the_reference(ops in vec(op(), 1..80)) {
        use cloudserver::data::memory_native::{MemoryNative, Mode};

        let store = Store::Native(Arc::new(MemoryNative::new(Mode::Versioned)));
        run(play(Arc::new(MemoryStore::new()), store, ops))?;
    }

    #[test]
    fn the_engine_over_a_store_without_versions_is_the_reference(ops in vec(op(), 1..80)) {
        use cloudserver::data::memory_native::{MemoryNative, Mode};

        let store = Store::Native(Arc::new(MemoryNative::new(Mode::InPlace)));
        let ops = ops.into_iter().filter(|(op, _)| !matches!(op, Op::Versioning(_))).collect();
        run(play(Arc::new(MemoryStore::new()), store, ops))?;
    }
}

#[cfg(feature = "rocksdb")]
proptest! {
    #![proptest_config(Config { cases: 12, ..Config::default() })]

    #[test]
    fn the_engine_on_rocksdb_is_the_reference_also_after_it_was_closed(ops in vec(op(), 40..160)) {
        use cloudserver::metadata::{RocksOptions, RocksStore};

        let folder = tempfile::tempdir().unwrap();
        let open = || -> Arc<dyn MetadataStore> {
            Arc::new(RocksStore::open(folder.path(), RocksOptions::default()).unwrap())
        };
        run(async {
            let (engine, mut reference) = play(open(), Store::blobs(), ops).await?;
            let mut engine = engine.reopened(open).await;
            compare(&mut engine, &mut reference).await
        })?;
    }
}
