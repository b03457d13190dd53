//! Bodies of unknown size for modules that must be told the size first.
//!
//! A little is kept in memory; beyond it the body goes into a nameless file, so that memory stays bounded and nothing
//! is left behind, whatever happens to the process.

use std::{fs, io, path::Path};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt},
};

use crate::{
    data::DataError,
    types::{BodyError, ByteStream},
};

/// Most bytes kept in memory for one body.
const MOST_HELD: usize = 1 << 20;
/// Bytes read back at a time.
const PIECE: usize = 256 << 10;

/// Takes a body whole; gives it back with its size.
///
/// # Errors
/// [`DataError::Body`] where the body is broken; the file's faults.
pub(super) async fn spool(mut body: ByteStream) -> Result<(ByteStream, u64), DataError> {
    let mut held: Vec<Bytes> = Vec::new();
    let mut size = 0_u64;
    while let Some(slice) = body.next().await {
        let slice = slice?;
        size += slice.len() as u64;
        held.push(slice);
        if size > MOST_HELD as u64 {
            return to_file(held, size, body).await;
        }
    }
    Ok((stream::iter(held.into_iter().map(Ok)).boxed(), size))
}

async fn to_file(held: Vec<Bytes>, mut size: u64, mut body: ByteStream) -> Result<(ByteStream, u64), DataError> {
    let mut file = File::from_std(nameless(&std::env::temp_dir())?);
    for slice in held {
        file.write_all(&slice).await?;
    }
    while let Some(slice) = body.next().await {
        let slice = slice?;
        size += slice.len() as u64;
        file.write_all(&slice).await.map_err(full_or_other)?;
    }
    file.flush().await.map_err(full_or_other)?;
    file.rewind().await?;
    let pieces = stream::unfold((file, size), |(mut file, left)| async move {
        if left == 0 {
            return None;
        }
        let mut piece = BytesMut::with_capacity(PIECE);
        match file.read_buf(&mut piece).await {
            Ok(0) => Some((Err(BodyError::Unreadable("the spooled body is cut".to_owned())), (file, 0))),
            Ok(read) => Some((Ok(piece.freeze()), (file, left.saturating_sub(read as u64)))),
            Err(error) => Some((Err(BodyError::Unreadable(error.to_string())), (file, 0))),
        }
    });
    Ok((pieces.boxed(), size))
}

fn full_or_other(error: io::Error) -> DataError {
    if error.kind() == io::ErrorKind::StorageFull { DataError::NoSpace } else { DataError::Io(error) }
}

/// A file without a name, for this process only.
fn nameless(folder: &Path) -> io::Result<fs::File> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    let path = folder.join(format!("cloudserver-{}", hex::encode(random)));
    let mut options = fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::body;

    #[tokio::test]
    async fn bodies_come_back_whole_from_memory_and_from_the_file() {
        for size in [0, 5, MOST_HELD, MOST_HELD + 1, 3 * MOST_HELD + 7] {
            let bytes = Bytes::from((0..=250_u8).cycle().take(size).collect::<Vec<u8>>());
            let slices: Vec<_> = bytes.chunks(100_000).map(|slice| Ok(bytes.slice_ref(slice))).collect();
            let (back, known) = spool(stream::iter(slices).boxed()).await.unwrap();
            assert_eq!(known, size as u64);
            assert!(body::collect(back, size + 1).await.unwrap() == bytes, "{size} bytes");
        }
    }

    #[tokio::test]
    async fn a_broken_body_is_told() {
        let slices = [Ok(Bytes::from(vec![1; MOST_HELD + 1])), Err(BodyError::Disconnected)];
        let result = spool(stream::iter(slices).boxed()).await;
        assert!(matches!(result.map(|(_, size)| size), Err(DataError::Body(BodyError::Disconnected))));
    }
}
