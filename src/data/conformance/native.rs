//! The rules of [`NativeStore`].
//!
//! What differs is asked of the store itself: one that keeps versions goes on showing a blob whose place was taken,
//! any other answers that it is not found; neither ever shows other bytes for it.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};

use super::{MIB, body, payload, read, same};
use crate::{
    data::{BlobId, DataBackend, DataError, NativeObject, NativeSource, NativeStore, Staged, Written},
    types::BodyError,
};

/// The least part that stores take, but for the last.
const PART: usize = 5 * MIB;

/// Runs every rule of native stores against `backend`. Keys begin with `native-suite/`; the bucket is `suite`.
///
/// # Panics
/// Where a rule is broken, or the backend is no native store.
pub async fn native_suite(backend: Arc<dyn DataBackend>) {
    let native = backend.native().expect("a native store");
    let suite = Suite { backend: &*backend, native };
    suite.what_is_published_is_read_back().await;
    suite.publishing_twice_is_publishing_once().await;
    suite.what_is_discarded_is_never_found().await;
    suite.a_new_object_takes_the_place_of_the_old_one().await;
    suite.deleting_what_was_replaced_leaves_the_successor().await;
    suite.a_broken_body_stages_nothing().await;
    suite.a_dropped_stage_leaves_the_predecessor().await;
    suite.an_upload_is_its_parts_in_order().await;
    suite.a_discarded_upload_cannot_be_published().await;
    suite.copies_are_the_bytes_of_their_source().await;
    suite.parts_can_be_copies().await;
    suite.tags_are_taken().await;
    suite.a_marker_hides_and_goes_again().await;
    suite.any_key_and_any_metadata_is_taken().await;
}

struct Suite<'a> {
    backend: &'a dyn DataBackend,
    native: &'a dyn NativeStore,
}

fn object(key: &str) -> NativeObject {
    NativeObject {
        bucket: "suite".to_owned(),
        key: format!("native-suite/{key}"),
        headers: vec![("content-type", "text/plain".to_owned())],
        metadata: vec![("colour".to_owned(), "blue".to_owned())],
        tags: Vec::new(),
    }
}

impl Suite<'_> {
    async fn stage(&self, object: &NativeObject, bytes: &Bytes, announced: bool) -> Staged {
        let size = announced.then_some(bytes.len() as u64);
        let staged = self.native.stage(object, body(bytes, 3), size.into()).await.expect("a stage works");
        assert_eq!(staged.size, bytes.len() as u64, "what is staged has the size of its body");
        assert!(staged.handle.len() <= 4096, "a handle has at most 4 KiB");
        staged
    }

    async fn publish(&self, staged: &Staged) -> Written {
        let written = self.native.publish(staged).await.expect("a publish works");
        assert_eq!(written.size, staged.size, "what is published has the size that was staged");
        assert!(written.blob.as_str().len() <= 2048, "a name has at most 2 KiB");
        written
    }

    async fn write(&self, key: &str, bytes: &Bytes) -> BlobId {
        self.publish(&self.stage(&object(key), bytes, true).await).await.blob
    }

    async fn is(&self, blob: &BlobId, bytes: &Bytes, what: &str) {
        let found = read(self.backend, blob, 0..bytes.len() as u64).await;
        same(&found.unwrap_or_else(|error| panic!("{what}: {error}")), bytes, what);
    }

    /// Its own bytes or none, never others.
    async fn is_itself_or_gone(&self, blob: &BlobId, bytes: &Bytes, what: &str) {
        match read(self.backend, blob, 0..bytes.len() as u64).await {
            Ok(found) => same(&found, bytes, what),
            Err(DataError::NotFound(_)) => {}
            Err(error) => panic!("{what}: {error}"),
        }
    }

    async fn delete(&self, blob: &BlobId) {
        self.backend.delete(blob).await.expect("a delete works");
        let gone = read(self.backend, blob, 0..0).await;
        assert!(matches!(gone, Err(DataError::NotFound(_))), "after a delete: {gone:?}");
    }

    async fn what_is_published_is_read_back(&self) {
        for (index, size) in [0, 1, 70_000, 300_000, MIB + 1, 6 * MIB + 5].into_iter().enumerate() {
            for announced in [true, false] {
                let bytes = payload(size, index as u64);
                let staged = self.stage(&object("read-back"), &bytes, announced).await;
                let written = self.publish(&staged).await;
                self.is(&written.blob, &bytes, &format!("{size} bytes, announced: {announced}")).await;
                let found = self.native.find(&staged.handle).await.expect("a find works");
                assert_eq!(found.as_ref(), Some(&written), "what was published is found");
                if size > 10 {
                    let range = 3..size as u64 - 2;
                    let found = read(self.backend, &written.blob, range).await.expect("a ranged get works");
                    same(&found, &bytes[3..size - 2], "a range");
                }
                self.delete(&written.blob).await;
                let found = self.native.find(&staged.handle).await.expect("a find works");
                assert_eq!(found, None, "what was deleted is not found");
            }
        }
    }

    async fn publishing_twice_is_publishing_once(&self) {
        for size in [100, MIB] {
            let bytes = payload(size, 5);
            let staged = self.stage(&object("twice"), &bytes, true).await;
            let first = self.publish(&staged).await;
            let again = self.publish(&staged).await;
            self.is(&again.blob, &bytes, "published twice").await;
            self.delete(&again.blob).await;
            self.delete(&first.blob).await;
        }
    }

    async fn what_is_discarded_is_never_found(&self) {
        for size in [100, MIB] {
            let old = payload(50, 1);
            let before = self.write("discarded", &old).await;
            let staged = self.stage(&object("discarded"), &payload(size, 2), true).await;
            for _ in 0..2 {
                self.native.discard(&staged.handle).await.expect("a discard works, and works again");
            }
            assert_eq!(self.native.find(&staged.handle).await.expect("a find works"), None, "{size} bytes");
            self.is(&before, &old, "beside a discarded stage").await;
            self.delete(&before).await;
        }
    }

    async fn a_new_object_takes_the_place_of_the_old_one(&self) {
        for (first, second) in [(100, 200), (100, MIB), (MIB, 100), (MIB, MIB)] {
            let (old, new) = (payload(first, 1), payload(second, 2));
            let before = self.write("replaced", &old).await;
            let staged = self.stage(&object("replaced"), &new, true).await;
            self.is(&before, &old, "while its successor is staged").await;
            let after = self.publish(&staged).await.blob;
            assert_ne!(before, after, "two writes have two names");
            self.is(&after, &new, "the successor").await;
            self.is_itself_or_gone(&before, &old, "the predecessor").await;
            self.delete(&before).await;
            self.is(&after, &new, "after its predecessor was deleted").await;
            self.delete(&after).await;
        }
    }

    async fn deleting_what_was_replaced_leaves_the_successor(&self) {
        // The same bytes: only the write tells them apart.
        let bytes = payload(1000, 3);
        let before = self.write("same", &bytes).await;
        let after = self.write("same", &bytes).await;
        assert_ne!(before, after, "two writes have two names");
        self.backend.delete(&before).await.expect("a delete works");
        self.is(&after, &bytes, "after its equal predecessor was deleted").await;
        self.delete(&after).await;
    }

    async fn a_broken_body_stages_nothing(&self) {
        let old = payload(500, 1);
        let before = self.write("broken", &old).await;
        for size in [0, 100, MIB, 6 * MIB] {
            for announced in [None, Some(8 * MIB as u64), Some(size as u64)] {
                let broken = body(&payload(size, 4), 3).chain(stream::iter([Err(BodyError::Disconnected)])).boxed();
                let result = self.native.stage(&object("broken"), broken, announced.into()).await;
                assert!(
                    matches!(result, Err(DataError::Body(BodyError::Disconnected))),
                    "{size} bytes announced as {announced:?}, then an end: {result:?}"
                );
            }
            let short = body(&payload(size, 4), 3);
            let result = self.native.stage(&object("broken"), short, Some(size as u64 + 1).into()).await;
            assert!(matches!(result, Err(DataError::Body(_))), "one byte short of {}: {result:?}", size + 1);
        }
        self.is(&before, &old, "beside broken bodies").await;
        self.delete(&before).await;
    }

    async fn a_dropped_stage_leaves_the_predecessor(&self) {
        let old = payload(500, 1);
        let before = self.write("dropped", &old).await;
        let endless = body(&payload(2 * MIB, 6), 8).chain(stream::pending()).boxed();
        let object = object("dropped");
        let mut stage = self.native.stage(&object, endless, Some(9 * MIB as u64).into());
        let waited = tokio::time::timeout(std::time::Duration::from_millis(300), &mut stage).await;
        assert!(waited.is_err(), "an endless body never ends");
        assert!((&mut stage).now_or_never().is_none(), "an endless body never ends");
        drop(stage);
        self.is(&before, &old, "beside a dropped stage").await;
        self.delete(&before).await;
    }

    async fn part(&self, upload: &str, number: u32, bytes: &Bytes) -> (u32, String) {
        let part = self.native.put_part(upload, number, body(bytes, 5), Some(bytes.len() as u64).into()).await;
        let part = part.expect("a part is taken");
        assert_eq!(part.size, bytes.len() as u64, "a part has the size of its body");
        assert!(part.token.len() <= 255, "a token has at most 255 bytes");
        (number, part.token)
    }

    async fn an_upload_is_its_parts_in_order(&self) {
        let upload = self.native.create_upload(&object("upload")).await.expect("an upload begins");
        assert!(upload.len() <= 4096, "a handle has at most 4 KiB");
        let (first, second, third) = (payload(PART + 1, 1), payload(PART, 2), payload(77, 3));
        let last = self.part(&upload, 9, &third).await;
        self.part(&upload, 2, &payload(PART, 9)).await;
        let middle = self.part(&upload, 4, &second).await;
        let replaced = self.part(&upload, 2, &first).await;
        let broken = body(&payload(MIB, 4), 3).chain(stream::iter([Err(BodyError::Disconnected)])).boxed();
        let result = self.native.put_part(&upload, 5, broken, Some(MIB as u64).into()).await;
        assert!(matches!(result, Err(DataError::Body(BodyError::Disconnected))), "a broken part: {result:?}");
        let whole = Bytes::from([first, second, third].concat());
        let staged = self.native.staged_upload(&upload, vec![replaced, middle, last], whole.len() as u64);
        assert_eq!(self.native.find(&staged.handle).await.expect("a find works"), None, "not published yet");
        let written = self.publish(&staged).await;
        self.is(&written.blob, &whole, "an upload").await;
        assert_eq!(self.native.find(&staged.handle).await.expect("a find works"), Some(written.clone()));
        let again = self.publish(&staged).await;
        assert_eq!(again, written, "a lost answer is no loss");
        self.delete(&written.blob).await;
    }

    async fn a_discarded_upload_cannot_be_published(&self) {
        let upload = self.native.create_upload(&object("discarded-upload")).await.expect("an upload begins");
        let part = self.part(&upload, 1, &payload(1000, 1)).await;
        for _ in 0..2 {
            self.native.discard(&upload).await.expect("a discard works, and works again");
        }
        let staged = self.native.staged_upload(&upload, vec![part], 1000);
        let result = self.native.publish(&staged).await;
        assert!(matches!(result, Err(DataError::NotFound(_))), "a discarded upload: {result:?}");
        assert_eq!(self.native.find(&upload).await.expect("a find works"), None);
    }

    async fn copies_are_the_bytes_of_their_source(&self) {
        let bytes = payload(6 * MIB, 7);
        let size = bytes.len() as u64;
        let blob = self.write("copy-source", &bytes).await;
        for range in [0..size, 5..size - 3] {
            let source = NativeSource { blob: &blob, range: range.clone(), size };
            let target = object("copy-target");
            let copied = self.native.stage_copy(&target, source).await.expect("a copy works, or is not offered");
            let Some(staged) = copied else { continue };
            let copy = self.publish(&staged).await.blob;
            let expected = bytes.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap());
            self.is(&copy, &expected, &format!("a copy of {range:?}")).await;
            self.delete(&copy).await;
        }
        self.delete(&blob).await;
        let source = NativeSource { blob: &blob, range: 0..size, size };
        match self.native.stage_copy(&object("copy-target"), source).await {
            Ok(None) | Err(DataError::NotFound(_)) => {}
            other => panic!("a copy of what is gone: {other:?}"),
        }
    }

    async fn parts_can_be_copies(&self) {
        let bytes = payload(7 * MIB, 8);
        let size = bytes.len() as u64;
        let blob = self.write("part-source", &bytes).await;
        let upload = self.native.create_upload(&object("part-target")).await.expect("an upload begins");
        let end = 6 * MIB;
        let source = NativeSource { blob: &blob, range: 10..end as u64, size };
        let copied = self.native.copy_part(&upload, 1, source).await.expect("a copy works, or is not offered");
        if let Some(part) = copied {
            assert_eq!(part.size, end as u64 - 10, "a copied part has the size of its range");
            let tail = payload(99, 1);
            let last = self.part(&upload, 2, &tail).await;
            let whole = Bytes::from([&bytes[10..end], &tail[..]].concat());
            let parts = vec![(1, part.token), last];
            let staged = self.native.staged_upload(&upload, parts, whole.len() as u64);
            let written = self.publish(&staged).await;
            self.is(&written.blob, &whole, "an upload with a copied part").await;
            self.delete(&written.blob).await;
        } else {
            self.native.discard(&upload).await.expect("a discard works");
        }
        self.delete(&blob).await;
    }

    async fn tags_are_taken(&self) {
        let bytes = payload(100, 1);
        let tagged = NativeObject { tags: vec![("a b".to_owned(), "c=d/\u{fc}+".to_owned())], ..object("tagged") };
        let blob = self.publish(&self.stage(&tagged, &bytes, true).await).await.blob;
        for tags in [vec![("x".to_owned(), "y:@".to_owned())], Vec::new()] {
            self.native.set_tags(&blob, &tags).await.expect("tags are taken");
        }
        self.is(&blob, &bytes, "a tagged object").await;
        self.delete(&blob).await;
    }

    async fn a_marker_hides_and_goes_again(&self) {
        let bytes = payload(100, 1);
        let blob = self.write("marked", &bytes).await;
        let key = &object("marked").key;
        let marker = self.native.mark_deleted("suite", key, Some(&blob)).await;
        let marker = marker.expect("a marker is made, or is not offered");
        if let Some(marker) = marker {
            assert_ne!(marker, blob);
            self.is(&blob, &bytes, "behind a marker").await;
            self.backend.delete(&marker).await.expect("a marker goes");
            self.backend.delete(&marker).await.expect("and is gone");
        }
        self.is(&blob, &bytes, "after a marker").await;
        self.delete(&blob).await;
    }

    async fn any_key_and_any_metadata_is_taken(&self) {
        let bytes = payload(100, 1);
        let long = "k".repeat(900);
        for key in ["a b+c%20d?e#f&g", "\u{fc}/\u{1f600}", "dots/../../up", "double//slash", "quote\"'<>", &long] {
            let object = NativeObject {
                headers: vec![
                    ("content-type", "text/plain; charset=\"x\"".to_owned()),
                    ("cache-control", "no-cache".to_owned()),
                    ("content-disposition", "attachment; filename=\"\u{fc}.txt\"".to_owned()),
                    ("content-encoding", "identity".to_owned()),
                    ("content-language", "de".to_owned()),
                    ("expires", "Thu, 01 Dec 1994 16:00:00 GMT".to_owned()),
                ],
                metadata: vec![
                    ("unicode".to_owned(), "gr\u{fc}n".to_owned()),
                    ("empty".to_owned(), String::new()),
                    ("long".to_owned(), "m".repeat(1900)),
                ],
                ..object(key)
            };
            let staged = self.native.stage(&object, body(&bytes, 3), Some(100).into()).await;
            let written = match staged {
                Ok(staged) => self.native.publish(&staged).await,
                Err(error) => Err(error),
            };
            match written {
                Ok(written) => {
                    self.is(&written.blob, &bytes, key).await;
                    self.delete(&written.blob).await;
                }
                // Some have shorter names, and say so.
                Err(DataError::NameTooLong(_)) => {}
                // A store that takes keys for paths cannot have these; what it must not do is take them for others.
                Err(_) if key.contains("..") || key.contains("//") => {}
                Err(error) => panic!("{key}: {error}"),
            }
        }
    }
}
