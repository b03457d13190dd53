//! Whether every call reaches the store within.

use std::collections::BTreeSet;

use futures_util::future;
use parking_lot::Mutex;

use super::*;
use crate::{
    data::{MemoryBackend, MemoryNative, conformance, memory_native::Mode},
    types::body,
};

/// Does nothing.
#[derive(Debug)]
struct Nothing;

impl Layer for Nothing {
    async fn around<T: Send>(
        &self,
        _: Call,
        work: impl Future<Output = Result<T, DataError>> + Send,
    ) -> Result<T, DataError> {
        work.await
    }
}

/// Notes the calls that are made by the layer; nothing reaches the store.
#[derive(Debug, Default)]
struct Names(Mutex<BTreeSet<&'static str>>);

impl Layer for Names {
    async fn around<T: Send>(
        &self,
        call: Call,
        _: impl Future<Output = Result<T, DataError>> + Send,
    ) -> Result<T, DataError> {
        self.0.lock().insert(call.name());
        Err(DataError::NoSpace)
    }
}

/// A store that has a body of its own for every method, and notes which were called. It refuses everything.
#[derive(Debug, Default)]
struct Witness(Mutex<BTreeSet<&'static str>>);

impl Witness {
    fn note(&self, method: &'static str) {
        self.0.lock().insert(method);
    }

    fn refuse<T: Send + 'static>(&self, method: &'static str) -> BoxFuture<'static, Result<T, DataError>> {
        self.note(method);
        future::ready(Err(DataError::NoSpace)).boxed()
    }
}

impl DataBackend for Witness {
    fn reserve(&self) -> Option<BlobId> {
        self.note("reserve");
        None
    }

    fn put(&self, _: ByteStream, _: PutHint) -> BoxFuture<'_, Result<Written, DataError>> {
        self.refuse("put")
    }

    fn get<'a>(&'a self, _: &'a BlobId, _: Range<u64>) -> BoxFuture<'a, Result<ByteStream, DataError>> {
        self.refuse("get")
    }

    fn delete<'a>(&'a self, _: &'a BlobId) -> BoxFuture<'a, Result<(), DataError>> {
        self.refuse("delete")
    }

    fn size<'a>(&'a self, _: &'a BlobId) -> BoxFuture<'a, Result<Option<u64>, DataError>> {
        self.refuse("size")
    }

    fn list<'a>(&'a self, _: Option<&'a BlobId>, _: usize) -> BoxFuture<'a, Result<Vec<BlobId>, DataError>> {
        self.refuse("list")
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), DataError>> {
        self.refuse("probe")
    }

    fn disk_usage(&self) -> BoxFuture<'_, Result<Option<DiskUsage>, DataError>> {
        self.refuse("disk_usage")
    }

    fn capabilities(&self) -> Capabilities {
        self.note("capabilities");
        Capabilities::default()
    }

    fn native(&self) -> Option<&dyn NativeStore> {
        self.note("native");
        Some(self)
    }

    fn browse(&self) -> Option<&dyn Browse> {
        self.note("browse");
        Some(self)
    }
}

impl NativeStore for Witness {
    fn stage<'a>(
        &'a self,
        _: &'a NativeObject,
        _: ByteStream,
        _: BodyHint,
    ) -> BoxFuture<'a, Result<Staged, DataError>> {
        self.refuse("stage")
    }

    fn stage_copy<'a>(
        &'a self,
        _: &'a NativeObject,
        _: NativeSource<'a>,
    ) -> BoxFuture<'a, Result<Option<Staged>, DataError>> {
        self.refuse("stage_copy")
    }

    fn publish<'a>(&'a self, _: &'a Staged) -> BoxFuture<'a, Result<Written, DataError>> {
        self.refuse("publish")
    }

    fn find<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Written>, DataError>> {
        self.refuse("find")
    }

    fn lateness(&self, _: &str) -> Duration {
        self.note("lateness");
        Duration::ZERO
    }

    fn discard<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), DataError>> {
        self.refuse("discard")
    }

    fn create_upload<'a>(&'a self, _: &'a NativeObject) -> BoxFuture<'a, Result<String, DataError>> {
        self.refuse("create_upload")
    }

    fn put_part<'a>(
        &'a self,
        _: &'a str,
        _: u32,
        _: ByteStream,
        _: BodyHint,
    ) -> BoxFuture<'a, Result<PartToken, DataError>> {
        self.refuse("put_part")
    }

    fn part_there<'a>(&'a self, _: &'a str, _: u32) -> BoxFuture<'a, Result<Option<String>, DataError>> {
        self.refuse("part_there")
    }

    fn copy_part<'a>(
        &'a self,
        _: &'a str,
        _: u32,
        _: NativeSource<'a>,
    ) -> BoxFuture<'a, Result<Option<PartToken>, DataError>> {
        self.refuse("copy_part")
    }

    fn staged_upload(&self, _: &str, _: Vec<(u32, String)>, size: u64) -> Staged {
        self.note("staged_upload");
        Staged { handle: String::new(), size, held: None, parts: Arc::default() }
    }

    fn set_tags<'a>(&'a self, _: &'a BlobId, _: &'a [(String, String)]) -> BoxFuture<'a, Result<(), DataError>> {
        self.refuse("set_tags")
    }

    fn mark_deleted<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: Option<&'a BlobId>,
    ) -> BoxFuture<'a, Result<Option<BlobId>, DataError>> {
        self.refuse("mark_deleted")
    }
}

impl Browse for Witness {
    fn identity(&self) -> BoxFuture<'_, Result<String, DataError>> {
        self.refuse("identity")
    }

    fn require(&self, _: Expected) {
        self.note("require");
    }

    fn walk(&self, _: &str) -> BoxStream<'static, Result<Found, DataError>> {
        self.note("walk");
        stream::empty().boxed()
    }

    fn is_same(&self, _: &BlobId, _: &BlobId) -> bool {
        self.note("is_same");
        false
    }

    fn stands<'a>(&'a self, _: &'a BlobId) -> BoxFuture<'a, Result<bool, DataError>> {
        self.refuse("stands")
    }

    fn is_taken<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<bool, DataError>> {
        self.refuse("is_taken")
    }

    fn holds<'a>(&'a self, _: &'a BlobId) -> BoxFuture<'a, Result<bool, DataError>> {
        self.refuse("holds")
    }
}

/// The names of a trait's methods, as its source has them.
fn methods(source: &'static str, name: &str) -> impl Iterator<Item = &'static str> {
    let (_, body) = source.split_once(&format!("\npub trait {name}: ")).unwrap();
    let (body, _) = body.split_once("\n}\n").unwrap();
    body.lines().filter_map(|line| line.strip_prefix("    fn ")?.split(['<', '(']).next())
}

/// The names of all methods of the seam.
fn seam() -> BTreeSet<&'static str> {
    let all: BTreeSet<_> = methods(include_str!("../mod.rs"), "DataBackend")
        .chain(methods(include_str!("../native.rs"), "NativeStore"))
        .chain(methods(include_str!("../browse.rs"), "Browse"))
        .collect();
    assert!(["native", "part_there", "holds"].iter().all(|last| all.contains(last)), "{all:?}");
    all
}

/// Makes every call once.
async fn call_everything(store: &dyn DataBackend) {
    let refused = |is_refused: bool| assert!(is_refused, "the store within refuses everything");
    let (object, blob, staged) = (NativeObject::default(), BlobId::new("b"), upload());
    let source = || NativeSource { blob: &blob, range: 0..1, size: 1 };
    let bytes = || body::once("x".into());
    store.reserve();
    store.capabilities();
    refused(store.put(bytes(), PutHint::default()).await.is_err());
    refused(store.get(&blob, 0..1).await.is_err());
    refused(store.delete(&blob).await.is_err());
    refused(store.size(&blob).await.is_err());
    refused(store.list(None, 1).await.is_err());
    refused(store.probe().await.is_err());
    refused(store.disk_usage().await.is_err());
    let native = store.native().unwrap();
    native.lateness("handle");
    native.staged_upload("upload", Vec::new(), 1);
    refused(native.stage(&object, bytes(), None.into()).await.is_err());
    refused(native.stage_copy(&object, source()).await.is_err());
    refused(native.publish(&staged).await.is_err());
    refused(native.find("handle").await.is_err());
    refused(native.discard("handle").await.is_err());
    refused(native.create_upload(&object).await.is_err());
    refused(native.put_part("upload", 1, bytes(), None.into()).await.is_err());
    refused(native.part_there("upload", 1).await.is_err());
    refused(native.copy_part("upload", 1, source()).await.is_err());
    refused(native.set_tags(&blob, &[]).await.is_err());
    refused(native.mark_deleted("bucket", "key", None).await.is_err());
    let browse = store.browse().unwrap();
    browse.require(Expected::Anything);
    browse.is_same(&blob, &blob);
    refused(browse.walk("bucket").next().await.is_none());
    refused(browse.identity().await.is_err());
    refused(browse.stands(&blob).await.is_err());
    refused(browse.is_taken("bucket", "key").await.is_err());
    refused(browse.holds(&blob).await.is_err());
}

fn upload() -> Staged {
    Staged { handle: "upload".to_owned(), size: 1, held: None, parts: Arc::default() }
}

/// A default body must not answer for a store that has one of its own: whoever adds a method finds it missing here.
#[tokio::test]
async fn every_method_of_the_seam_reaches_the_store_within() {
    let witness = Arc::new(Witness::default());
    call_everything(&Layered::over(Arc::<Witness>::clone(&witness), Nothing)).await;
    assert_eq!(*witness.0.lock(), seam());
}

#[tokio::test]
async fn a_call_is_made_by_its_layer_under_its_own_name_and_not_before() {
    let witness = Arc::new(Witness::default());
    let layered = Layered::over(Arc::<Witness>::clone(&witness), Names::default());
    call_everything(&layered).await;
    let unlayered =
        ["browse", "capabilities", "is_same", "lateness", "native", "require", "reserve", "staged_upload", "walk"];
    // The walk has begun nothing before the layer has it.
    assert_eq!(witness.0.lock().iter().copied().collect::<Vec<_>>(), unlayered);
    let layered = layered.layer().0.lock().clone();
    assert_eq!(&seam() - &layered, unlayered.into());
}

#[tokio::test]
async fn with_nothing_around_it_a_store_keeps_every_rule_of_the_seam() {
    let stores: [Arc<dyn DataBackend>; 3] = [
        Arc::new(MemoryBackend::new()),
        Arc::new(MemoryNative::new(Mode::Versioned)),
        Arc::new(MemoryNative::new(Mode::InPlace)),
    ];
    for store in stores {
        let has = (store.native().is_some(), store.browse().is_some());
        let layered = Layered::over(store, Nothing);
        assert_eq!((layered.native().is_some(), layered.browse().is_some()), has);
        conformance::suite(Arc::new(layered)).await;
    }
}
