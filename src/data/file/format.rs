//! The bytes of a blob file: payload, checksums, footer. The table in [the module's page](super) is the contract.

use crc_fast::{CrcAlgorithm, Digest, crc32_iscsi};

use super::super::name::{BlobName, NAME_BYTES};

/// Payload bytes under one checksum.
pub(super) const BLOCK: u64 = 64 * 1024;
/// The same, to measure memory with.
pub(in crate::data) const BLOCK_LEN: usize = 64 * 1024;
/// Bytes of the footer.
pub(super) const FOOTER: u64 = 64;
/// Bytes of one checksum in the table.
pub(super) const SUM: u64 = 4;

const FOOTER_LEN: usize = 64;
const SUM_LEN: usize = 4;
const MAGIC: [u8; 8] = *b"CSblob\r\n";
const VERSION: u16 = 1;
const CRC32C: u16 = 1;

/// Blocks of a payload.
pub(super) const fn blocks(payload: u64) -> u64 {
    payload.div_ceil(BLOCK)
}

/// Bytes of the whole file of a payload.
pub(super) const fn file_length(payload: u64) -> u64 {
    payload.saturating_add(SUM * blocks(payload)).saturating_add(FOOTER)
}

/// The checksum of a block.
pub(super) fn block_sum(block: &[u8]) -> u32 {
    crc32_iscsi(block)
}

/// Computes the table while the payload flows by in pieces of any size.
pub(super) struct BlockSums {
    table: Vec<u8>,
    block: Digest,
    filled: usize,
    payload: u64,
}

impl std::fmt::Debug for BlockSums {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockSums").field("payload", &self.payload).finish_non_exhaustive()
    }
}

impl BlockSums {
    pub(super) fn new() -> Self {
        Self { table: Vec::new(), block: Digest::new(CrcAlgorithm::Crc32Iscsi), filled: 0, payload: 0 }
    }

    pub(super) const fn payload(&self) -> u64 {
        self.payload
    }

    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        self.payload += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_LEN - self.filled));
            self.block.update(now);
            self.filled += now.len();
            if self.filled == BLOCK_LEN {
                self.close_block();
            }
            bytes = later;
        }
    }

    fn close_block(&mut self) {
        // A CRC-32 fits in 32 bits; the crate counts all its sums in 64.
        let sum = u32::try_from(self.block.finalize_reset()).unwrap_or(u32::MAX);
        self.table.extend_from_slice(&sum.to_le_bytes());
        self.filled = 0;
    }

    /// The end of the file: table and footer.
    pub(super) fn finish(mut self, name: BlobName) -> Vec<u8> {
        if self.filled > 0 {
            self.close_block();
        }
        let footer = Footer { payload: self.payload, table_sum: crc32_iscsi(&self.table), name };
        let mut tail = self.table;
        tail.extend_from_slice(&footer.encode());
        tail
    }
}

/// The last 64 bytes of a blob file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) payload: u64,
    pub(super) table_sum: u32,
    pub(super) name: BlobName,
}

impl Footer {
    fn encode(&self) -> [u8; FOOTER_LEN] {
        let mut fields = Vec::with_capacity(FOOTER_LEN);
        fields.extend_from_slice(&self.payload.to_le_bytes());
        fields.extend_from_slice(&u32::try_from(BLOCK).unwrap_or(0).to_le_bytes());
        fields.extend_from_slice(&self.table_sum.to_le_bytes());
        fields.extend_from_slice(self.name.as_bytes());
        fields.extend_from_slice(&CRC32C.to_le_bytes());
        fields.extend_from_slice(&VERSION.to_le_bytes());
        fields.resize(FOOTER_LEN - MAGIC.len() - SUM_LEN, 0);
        let sum = crc32_iscsi(&fields);
        fields.extend_from_slice(&sum.to_le_bytes());
        fields.extend_from_slice(&MAGIC);
        let mut bytes = [0; FOOTER_LEN];
        bytes.copy_from_slice(&fields);
        bytes
    }

    /// Reads and checks the footer of the file of `name`, which has `file_length` bytes; says what is wrong with it.
    pub(super) fn decode(bytes: &[u8], name: BlobName, length: u64) -> Result<Self, String> {
        let mut reader = Fields(bytes);
        let payload = u64::from_le_bytes(reader.take()?);
        let block = u32::from_le_bytes(reader.take()?);
        let table_sum = u32::from_le_bytes(reader.take()?);
        let found = BlobName::from_bytes(reader.take::<NAME_BYTES>()?);
        let algorithm = u16::from_le_bytes(reader.take()?);
        let version = u16::from_le_bytes(reader.take()?);
        let _reserved: [u8; 12] = reader.take()?;
        let sum = u32::from_le_bytes(reader.take()?);
        if reader.take()? != MAGIC {
            return Err("the file does not end in a footer".to_owned());
        }
        let (covered, _) = bytes.split_at(FOOTER_LEN - MAGIC.len() - SUM_LEN);
        if crc32_iscsi(covered) != sum {
            return Err("the footer fails its checksum".to_owned());
        }
        if version != VERSION || algorithm != CRC32C || u64::from(block) != BLOCK {
            return Err(format!("blob format {version} with checksum {algorithm} is not known to this release"));
        }
        if found != name {
            return Err(format!("the file holds blob {found}"));
        }
        if file_length(payload) != length {
            return Err(format!("the file has {length} bytes, {} expected", file_length(payload)));
        }
        Ok(Self { payload, table_sum, name })
    }
}

/// Takes fixed fields off the front of a slice.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or_else(|| "the footer is cut short".to_owned())?;
        self.0 = rest;
        Ok(*field)
    }
}

/// Some consecutive checksums of a table.
#[derive(Clone, Debug)]
pub(super) struct TableWindow {
    first: u64,
    sums: std::sync::Arc<[u32]>,
}

impl TableWindow {
    /// Checksums of the blocks from `first` on, from the table's bytes.
    pub(super) fn decode(first: u64, bytes: &[u8]) -> Self {
        let (sums, _) = bytes.as_chunks::<SUM_LEN>();
        Self { first, sums: sums.iter().map(|sum| u32::from_le_bytes(*sum)).collect() }
    }

    /// Whether the checksums of all `blocks` lie in this window.
    pub(super) fn covers(&self, blocks: &std::ops::Range<u64>) -> bool {
        self.first <= blocks.start && blocks.end <= self.first + self.sums.len() as u64
    }

    /// The checksum of a block, if it lies in this window.
    pub(super) fn sum(&self, block: u64) -> Option<u32> {
        let index = usize::try_from(block.checked_sub(self.first)?).ok()?;
        self.sums.get(index).copied()
    }
}

/// The bytes that a whole table must have to agree with its footer.
pub(super) fn table_agrees(table: &[u8], footer: &Footer) -> bool {
    crc32_iscsi(table) == footer.table_sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_of_a_blob_is_fixed() {
        let name = BlobName::from_bytes([0xab; NAME_BYTES]);
        let mut sums = BlockSums::new();
        sums.update(b"123456789");
        let tail = sums.finish(name);
        let (table, footer) = tail.split_at(4);
        assert_eq!(table, 0xe306_9283_u32.to_le_bytes(), "CRC-32C of the check string");
        assert_eq!(
            hex::encode(footer),
            concat!(
                "0900000000000000",
                "00000100",
                "d959a055",
                "abababababababababababababababababababab",
                "0100",
                "0100",
                "000000000000000000000000",
                "dfb0ab85",
                "4353626c6f620d0a"
            )
        );
    }

    #[test]
    fn sums_do_not_depend_on_how_the_payload_is_cut() {
        let name = BlobName::random().unwrap();
        let payload: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
        let mut whole = BlockSums::new();
        whole.update(&payload);
        let whole = whole.finish(name);
        for step in [1, 1000, 65_535, 65_536, 65_537] {
            let mut cut = BlockSums::new();
            for piece in payload.chunks(step) {
                cut.update(piece);
            }
            assert_eq!(cut.finish(name), whole, "pieces of {step}");
        }
        let footer = Footer::decode(&whole[whole.len() - FOOTER_LEN..], name, file_length(200_000)).unwrap();
        assert_eq!(footer.payload, 200_000);
        assert!(table_agrees(&whole[..16], &footer));
    }
}
