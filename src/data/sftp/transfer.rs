//! Bytes of files, in pieces, several of them under way at a time: a file's speed is not that of one round trip.

use std::{ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, future, stream};
use russh_sftp::protocol::{FileAttributes, OpenFlags};

use super::{
    super::tree::{OpenFile, TreeError},
    connect::{Session, is_end, length_of},
};
use crate::{
    tasks::Tasks,
    types::{BodyError, ByteStream},
};

/// Bytes of a piece, at most.
pub(super) const PIECE: usize = 128 << 10;
/// Pieces of a file under way.
const UNDER_WAY: usize = 16;

/// A file or folder that is open there, and is closed when nobody needs it any more.
pub(super) struct Opened {
    session: Arc<Session>,
    handle: String,
    tasks: Tasks,
    open: bool,
}

impl Opened {
    pub(super) fn new(session: &Arc<Session>, handle: String, tasks: &Tasks) -> Self {
        Self { session: Arc::clone(session), handle, tasks: tasks.clone(), open: true }
    }

    pub(super) fn name(&self) -> &str {
        &self.handle
    }

    /// Closes it, and tells what the server found wrong until then.
    async fn close(mut self) -> Result<(), TreeError> {
        self.open = false;
        let closed = self.session.sftp.close(self.handle.as_str()).await;
        closed.map(drop).map_err(|error| self.session.failure("close", error))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if !self.open || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (session, handle) = (Arc::clone(&self.session), std::mem::take(&mut self.handle));
        self.tasks.spawn("close far file", async move {
            // A connection that broke has closed its files.
            if let Err(error) = session.sftp.close(handle).await {
                tracing::debug!(error = ?session.failure("close", error), "a far file was not closed");
            }
        });
    }
}

/// Writes a new file, and syncs it where the server can.
pub(super) async fn write(
    session: &Arc<Session>,
    path: String,
    body: ByteStream,
    tasks: &Tasks,
) -> Result<(), TreeError> {
    let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE;
    let attributes = FileAttributes { permissions: Some(0o600), ..FileAttributes::empty() };
    let opened = session.sftp.open(path, flags, attributes).await;
    let file = Opened::new(session, opened.map_err(|error| session.failure("open", error))?.handle, tasks);
    let sent = pieces(body, session.piece).map(|piece| async {
        let (at, bytes) = piece?;
        let written = session.sftp.write(file.name(), at, bytes).await;
        written.map(drop).map_err(|error| session.failure("write", error))
    });
    sent.buffer_unordered(UNDER_WAY).try_for_each(|()| future::ready(Ok(()))).await?;
    if session.syncs {
        session.sftp.fsync(file.name()).await.map_err(|error| session.failure("fsync", error))?;
    }
    file.close().await
}

/// A body in pieces of `size` bytes, and where each begins.
fn pieces(body: ByteStream, size: usize) -> impl futures_util::Stream<Item = Result<(u64, Vec<u8>), TreeError>> {
    let state = (Some(body), Bytes::new(), 0_u64);
    stream::unfold(state, move |(mut body, mut rest, at)| async move {
        let mut piece = Vec::with_capacity(size);
        while piece.len() < size {
            if rest.is_empty() {
                let Some(stream) = &mut body else { break };
                match stream.next().await {
                    Some(Ok(slice)) => rest = slice,
                    Some(Err(error)) => return Some((Err(TreeError::Body(error)), (None, Bytes::new(), at))),
                    None => body = None,
                }
            }
            let now = rest.split_to(rest.len().min(size - piece.len()));
            piece.extend_from_slice(&now);
        }
        let length = piece.len() as u64;
        (length > 0).then(|| (Ok((at, piece)), (body, rest, at + length)))
    })
}

/// Opens a file and reads `range` of it, as far as there is one.
pub(super) async fn open(
    session: &Arc<Session>,
    path: String,
    range: Range<u64>,
    tasks: &Tasks,
) -> Result<OpenFile, TreeError> {
    let opened = session.sftp.open(path, OpenFlags::READ, FileAttributes::empty()).await;
    let file = Opened::new(session, opened.map_err(|error| session.failure("open", error))?.handle, tasks);
    let there = session.sftp.fstat(file.name()).await.map_err(|error| session.failure("fstat", error))?;
    let length = length_of(&there.attrs)?;
    let end = range.end.min(length);
    if range.start >= end {
        return Err(TreeError::Beyond);
    }
    let step = session.piece;
    let file = Arc::new(file);
    let starts = stream::iter((range.start..end).step_by(step));
    let bytes = starts.map(move |at| piece(Arc::clone(&file), at..end.min(at.saturating_add(step as u64))));
    Ok(OpenFile { length, bytes: bytes.buffered(UNDER_WAY).boxed() })
}

/// All bytes of a range of a file; a server may answer with fewer than asked for.
async fn piece(file: Arc<Opened>, range: Range<u64>) -> Result<Bytes, BodyError> {
    let unreadable = |why: String| BodyError::Unreadable(why);
    let mut bytes = BytesMut::new();
    let mut at = range.start;
    while at < range.end {
        let most = u32::try_from(range.end - at).unwrap_or(u32::MAX);
        let data = match file.session.sftp.read(file.name(), at, most).await {
            Ok(data) => data.data,
            Err(error) if is_end(&error) => return Err(unreadable("the file ended early".to_owned())),
            Err(error) => return Err(unreadable(file.session.failure("read", error).to_string())),
        };
        if data.is_empty() {
            return Err(unreadable("the server sent nothing".to_owned()));
        }
        at = at.saturating_add(data.len() as u64);
        if bytes.is_empty() && at >= range.end {
            return Ok(Bytes::from(data));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}
