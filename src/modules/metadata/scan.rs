//! Scans as streams: page by page from one view, so that neither side holds more than a page for the other.

use std::{ops::Range, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{HeaderValue, Response, header};

use crate::{
    metadata::{Direction, MetadataError, MetadataStore, MetadataView, Namespace, Pairs, wire},
    modules::answer::Fault,
    s3::{
        ResponseBody,
        reply::{full, streaming},
    },
    types::BodyError,
};

/// A scan of up to so many pairs is one page, and needs no view.
const ONE_PAGE: u64 = 1100;
/// Pairs of the first page of a longer scan, and of its largest.
const PAGES: (usize, usize) = (64, 1024);
/// Bytes of a page that should not be larger.
const LARGE: usize = 1 << 20;

/// A scan under way.
struct Pages {
    view: Arc<dyn MetadataView>,
    ns: Namespace,
    range: Range<Bytes>,
    direction: Direction,
    left: u64,
    size: usize,
}

/// Answers a scan. What goes wrong with its first page is an error; later the connection is cut.
pub(super) async fn answer(
    store: &Arc<dyn MetadataStore>,
    view: Option<Arc<dyn MetadataView>>,
    query: wire::Query,
) -> Result<Response<ResponseBody>, Fault> {
    let wire::Query { ns, range, direction, limit, jump, .. } = query;
    let few = usize::try_from(limit).unwrap_or(usize::MAX);
    let body = match (view, jump) {
        (_, Some(jump)) => full(page(store.scan_jumping(ns, range, Arc::new(jump), few).await?, true)),
        (None, None) if limit <= ONE_PAGE => full(page(store.scan(ns, range, direction, few).await?, true)),
        (Some(view), None) if limit <= ONE_PAGE => full(page(view.scan(ns, range, direction, few).await?, true)),
        (view, None) => {
            let view = match view {
                Some(view) => view,
                None => store.snapshot().await?,
            };
            many(Pages { view, ns, range, direction, left: limit, size: PAGES.0 }).await?
        }
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    Ok(response)
}

async fn many(mut pages: Pages) -> Result<ResponseBody, MetadataError> {
    let (first, is_last) = pages.next().await?;
    let rest = stream::unfold((!is_last).then_some(pages), |pages| async move {
        let mut pages = pages?;
        match pages.next().await {
            Ok((page, is_last)) => Some((Ok(page), (!is_last).then_some(pages))),
            Err(error) => {
                tracing::error!(%error, "a scan breaks off");
                Some((Err(BodyError::Unreadable(error.to_string())), None))
            }
        }
    });
    Ok(streaming(stream::once(async { Ok(first) }).chain(rest).boxed()))
}

impl Pages {
    /// The next page, and whether it is the last.
    async fn next(&mut self) -> Result<(Bytes, bool), MetadataError> {
        let size = self.size.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let pairs = self.view.scan(self.ns, self.range.clone(), self.direction, size).await?;
        self.left = self.left.saturating_sub(pairs.len() as u64);
        let is_last = pairs.len() < size || self.left == 0;
        if let Some((key, _)) = pairs.last() {
            match self.direction {
                Direction::Forward => self.range.start = behind(key),
                Direction::Reverse => self.range.end = key.clone(),
            }
        }
        let page = page(pairs, is_last);
        self.size = if page.len() > LARGE { (self.size / 2).max(1) } else { (self.size * 2).min(PAGES.1) };
        Ok((page, is_last))
    }
}

/// The least key behind `key`.
fn behind(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.put_u8(0);
    next.freeze()
}

fn page(pairs: Pairs, is_last: bool) -> Bytes {
    let rows = pairs.into_iter().map(|(key, value)| wire::Row { key, value, end: false });
    let end = is_last.then(|| wire::Row { end: true, ..wire::Row::default() });
    wire::write_rows(rows.chain(end))
}
