//! Bytes from file to file, within the kernel where it can: a file system that shares blocks copies nothing at all.

use std::{fs::File, io, ops::Range};

use rustix::io::Errno;

/// The most that one call copies.
const STEP: u64 = 1 << 30;
/// The buffer where the kernel cannot.
const BUFFER: usize = 256 * 1024;

/// Copies `range` of one file to `offset` of another. Blocks.
///
/// # Errors
/// `UnexpectedEof` where the file ends within the range.
pub(super) fn copy(from: &File, range: Range<u64>, to: &File, offset: u64) -> io::Result<()> {
    let (mut read, mut written) = (range.start, offset);
    while read < range.end {
        let len = usize::try_from((range.end - read).min(STEP)).unwrap_or(BUFFER);
        match rustix::fs::copy_file_range(from, Some(&mut read), to, Some(&mut written), len) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM | Errno::IO) => {
                return copy_by_hand(from, read..range.end, to, written);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn copy_by_hand(from: &File, range: Range<u64>, to: &File, mut offset: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;

    let mut buffer = vec![0; BUFFER];
    let mut at = range.start;
    while at < range.end {
        let len = usize::try_from(range.end - at).unwrap_or(BUFFER).min(BUFFER);
        let Some(piece) = buffer.get_mut(..len) else { break };
        from.read_exact_at(piece, at)?;
        to.write_all_at(piece, offset)?;
        at += len as u64;
        offset += len as u64;
    }
    Ok(())
}
