//! What a completion makes of the stored parts: rules and arithmetic, no I/O.
//!
//! Rules: S3 reference, `CompleteMultipartUpload`; "Checking object integrity" in the S3 user guide.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use crate::{
    storage::{
        CompletionFault, StorageError, StorageResult, WriteCondition,
        encryption::sealed_size,
        keys,
        records::{ChecksumRecord, Layout, LayoutRow, ObjectRecord, PartRecord, Segment, UploadRecord},
    },
    types::{
        Checksum, ChecksumAlgorithm, ChecksumType, ETag, UploadId,
        checksum::{FullObject, composite},
        digest::{Digest, sha256},
    },
};

/// A part as the client lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPart {
    /// Its number.
    pub number: u16,
    /// Its tag.
    pub etag: ETag,
    /// Its checksum.
    pub checksum: Option<Checksum>,
}

/// The checksum that a client announces for a whole object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnouncedChecksum {
    /// The algorithm of the header.
    pub algorithm: ChecksumAlgorithm,
    /// The header's value: base64, of composite checksums with or without `-N` behind.
    pub value: String,
}

/// Whether the list of parts must have their checksums where the object's is made of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PartChecksums {
    /// It must.
    #[default]
    Demanded,
    /// The stored ones do; those that are listed are checked all the same.
    Optional,
}

/// A request to complete an upload.
#[derive(Clone, Debug, Default)]
pub struct CompleteRequest {
    /// The parts that make the object, by ascending numbers.
    pub parts: Vec<ListedPart>,
    /// `x-amz-mp-object-size`, in bytes.
    pub object_size: Option<u64>,
    /// `x-amz-checksum-*`.
    pub checksum: Option<AnnouncedChecksum>,
    /// `x-amz-checksum-type`.
    pub checksum_type: Option<ChecksumType>,
    /// Whether a composite object needs the checksums of its parts in the list.
    pub part_checksums: PartChecksums,
    /// When the object may be written.
    pub condition: WriteCondition,
}

/// Bytes of a segment where it is stored.
fn stored_size(segment: &Segment) -> u64 {
    if segment.seal.is_empty() { segment.size } else { sealed_size(segment.size) }
}

/// The parts of an upload, by number.
pub(super) type Parts = BTreeMap<u16, PartRecord>;

/// What a completion will make.
#[derive(Debug)]
pub(super) struct Plan {
    /// The object, but for its version and time.
    pub(super) object: ObjectRecord,
    /// Its layout rows, where it has so many parts.
    pub(super) rows: Vec<LayoutRow>,
    /// Where the bytes of parts are that are not listed.
    pub(super) dropped: Vec<Segment>,
    /// Where the parts are put together elsewhere: their numbers, and what they are called there.
    pub(super) tokens: Vec<(u32, String)>,
    /// Stored bytes of all parts.
    pub(super) stored: u64,
    /// The listed part of fewest bytes, the last one left out.
    pub(super) smallest: Option<(u16, u64)>,
}

impl CompleteRequest {
    /// Stands for the list of parts: two requests with one digest ask for the same object.
    pub(super) fn digest(&self) -> Bytes {
        let mut all = sha256();
        for part in &self.parts {
            all.update(part.number.to_be_bytes());
            all.update((part.etag.as_str().len() as u64).to_be_bytes());
            all.update(part.etag.as_str().as_bytes());
        }
        Bytes::copy_from_slice(&all.finalize())
    }
}

/// Checks a request against the upload and its parts, and plans the object.
pub(super) fn plan(
    request: &CompleteRequest,
    (id, upload): (UploadId, &UploadRecord),
    mut parts: Parts,
    min_part_size: u64,
) -> StorageResult<Plan> {
    let declared = upload.checksum();
    let kind = declared.map_or(ChecksumType::FullObject, |(_, kind)| kind);
    if request.checksum_type.is_some_and(|asked| asked != kind) {
        return Err(CompletionFault::ChecksumType(kind).into());
    }
    let listed = take_listed(request, declared, &mut parts, min_part_size)?;
    let size = listed.iter().map(PartRecord::size).sum();
    if let Some(announced) = request.object_size.filter(|announced| *announced != size) {
        return Err(CompletionFault::ObjectSize { announced, actual: size }.into());
    }
    let checksum = checksum_of(&listed, declared)?;
    if declared.is_some() {
        check_announced(request, checksum.as_ref())?;
    }
    if let Some((algorithm, ChecksumType::Composite)) = declared {
        check_composite(request, algorithm)?;
    }
    let digests: Vec<[u8; 16]> = listed.iter().filter_map(PartRecord::md5).collect();
    let mut object = upload.object.clone().ok_or(StorageError::Broken("an open upload has an object to be"))?;
    object.size = size;
    ETag::from_parts(digests.iter()).as_str().clone_into(&mut object.etag);
    object.checksum = checksum;
    object.upload_id = Bytes::copy_from_slice(id.as_bytes());
    let mut segments: Vec<Segment> = listed.into_iter().filter_map(|part| part.segment).collect();
    let others = segments.split_last().map_or(&[][..], |(_, others)| others);
    let smallest = others.iter().min_by_key(|segment| segment.size);
    let smallest = smallest.map(|least| (u16::try_from(least.part_number).unwrap_or_default(), least.size));
    let (tokens, stored) = if upload.handle.is_empty() { (Vec::new(), 0) } else { join(&mut segments) };
    let location = object.location.clone();
    let rows = lay_out(&mut object, segments);
    if !upload.handle.is_empty() {
        name_later(&mut object, location, stored);
    }
    let dropped = parts.into_values().filter_map(|part| part.segment).collect();
    Ok(Plan { object, rows, dropped, tokens, stored, smallest })
}

/// Makes segments those of one blob that is to be named later: into the record, or into rows of their own.
pub(in crate::storage) fn lay_out_in_one(
    object: &mut ObjectRecord,
    mut segments: Vec<Segment>,
    location: String,
) -> Vec<LayoutRow> {
    let (_, stored) = join(&mut segments);
    object.layout = None;
    let rows = lay_out(object, segments);
    name_later(object, location, stored);
    rows
}

/// Makes the parts neighbours in one blob. Gives their numbers and what they are called where they are put together,
/// and the bytes of the blob.
fn join(segments: &mut [Segment]) -> (Vec<(u32, String)>, u64) {
    let mut offset = 0;
    let mut tokens = Vec::with_capacity(segments.len());
    for segment in segments {
        tokens.push((segment.part_number, std::mem::take(&mut segment.token)));
        segment.offset = offset;
        segment.shared = true;
        segment.location.clear();
        segment.blob.clear();
        segment.body.clear();
        offset += stored_size(segment);
    }
    (tokens, offset)
}

/// The first segment is the one that names the blob, once there is one.
fn name_later(object: &mut ObjectRecord, location: String, stored: u64) {
    match object.segments.first_mut() {
        Some(first) => {
            first.shared = false;
            first.location = location;
        }
        None => object.segments.push(Segment { size: stored, location, ..Segment::default() }),
    }
}

/// Takes the listed parts out of the stored ones.
fn take_listed(
    request: &CompleteRequest,
    declared: Option<(ChecksumAlgorithm, ChecksumType)>,
    parts: &mut Parts,
    min_part_size: u64,
) -> StorageResult<Vec<PartRecord>> {
    let Some(last) = request.parts.last() else { return Err(CompletionFault::NoParts.into()) };
    if !request.parts.is_sorted_by(|a, b| a.number < b.number) {
        return Err(CompletionFault::Order.into());
    }
    let mut listed = Vec::with_capacity(request.parts.len());
    for asked in &request.parts {
        let invalid = || StorageError::InvalidPart { number: asked.number, etag: asked.etag.clone() };
        let part = parts.remove(&asked.number).ok_or_else(invalid)?;
        if !is_tag_of(&asked.etag, &part) {
            return Err(invalid());
        }
        if let Some(checksum) = asked.checksum.as_ref().filter(|checksum| part.checksum().as_ref() != Some(*checksum)) {
            let known = part.checksum_of(checksum.algorithm);
            if known.is_none() && declared.is_some() {
                let fault = CompletionFault::PartChecksumAlgorithm { number: asked.number, listed: checksum.algorithm };
                return Err(fault.into());
            }
            if known.as_ref() != Some(checksum) {
                return Err(invalid());
            }
        }
        if asked.number != last.number && part.size() < min_part_size {
            let (number, etag, size) = (asked.number, asked.etag.clone(), part.size());
            return Err(StorageError::EntityTooSmall { number, etag, size, minimum: min_part_size });
        }
        listed.push(part);
    }
    Ok(listed)
}

/// Whether a client's spelling is the part's tag: hexadecimal digits, or base64 as the original allows.
fn is_tag_of(etag: &ETag, part: &PartRecord) -> bool {
    let Some(md5) = part.md5() else { return false };
    etag.as_str().eq_ignore_ascii_case(&hex::encode(md5)) || etag.as_str() == STANDARD.encode(md5)
}

/// The checksum of the object: the declared one, else what the parts' checksums allow without reading a byte again,
/// CRC64NVME first, which S3 keeps where none is declared.
fn checksum_of(
    parts: &[PartRecord],
    declared: Option<(ChecksumAlgorithm, ChecksumType)>,
) -> StorageResult<Option<ChecksumRecord>> {
    let Some((algorithm, kind)) = declared else {
        let common = parts.first().and_then(PartRecord::checksum).map(|checksum| checksum.algorithm);
        let candidates = [Some(ChecksumAlgorithm::Crc64Nvme), common];
        return Ok(candidates.into_iter().flatten().find_map(|algorithm| full_object(parts, algorithm)));
    };
    let made = match kind {
        ChecksumType::FullObject => full_object(parts, algorithm),
        ChecksumType::Composite => {
            let known: Vec<Checksum> = parts.iter().filter_map(|part| part.checksum_of(algorithm)).collect();
            let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
            (known.len() == parts.len()).then(|| ChecksumRecord::new(&composite(algorithm, &known), kind, count))
        }
    };
    made.map(Some).ok_or(StorageError::Broken("parts have the checksum that their upload declares"))
}

fn full_object(parts: &[PartRecord], algorithm: ChecksumAlgorithm) -> Option<ChecksumRecord> {
    let mut whole = FullObject::new(algorithm)?;
    for part in parts {
        if !whole.push(&part.checksum_of(algorithm)?, part.size()) {
            return None;
        }
    }
    Some(ChecksumRecord::new(&whole.finish(), ChecksumType::FullObject, 0))
}

fn check_announced(request: &CompleteRequest, made: Option<&ChecksumRecord>) -> StorageResult<()> {
    let Some(announced) = &request.checksum else { return Ok(()) };
    let matches = made.is_some_and(|made| {
        let whole = made.to_text();
        let bare = made.checksum().map(|checksum| checksum.to_base64());
        made.algorithm() == Some(announced.algorithm) && [whole, bare].contains(&Some(announced.value.clone()))
    });
    if matches { Ok(()) } else { Err(CompletionFault::ObjectChecksum(announced.algorithm).into()) }
}

fn check_composite(request: &CompleteRequest, algorithm: ChecksumAlgorithm) -> StorageResult<()> {
    let is_demanded = request.part_checksums == PartChecksums::Demanded;
    if let Some(part) = request.parts.iter().find(|part| is_demanded && part.checksum.is_none()) {
        return Err(CompletionFault::PartChecksumMissing { number: part.number, algorithm }.into());
    }
    let consecutive = request.parts.iter().zip(1..).all(|(part, number)| part.number == number);
    if consecutive { Ok(()) } else { Err(CompletionFault::NotConsecutive.into()) }
}

/// Puts the segments into the record, or into rows of their own where there are many.
fn lay_out(object: &mut ObjectRecord, segments: Vec<Segment>) -> Vec<LayoutRow> {
    if segments.len() <= keys::INLINE_SEGMENTS {
        object.segments = segments;
        return Vec::new();
    }
    let mut layout = Layout { row_starts: Vec::new(), count: u32::try_from(segments.len()).unwrap_or(u32::MAX) };
    let mut start = 0;
    let mut rows = Vec::with_capacity(segments.len().div_ceil(keys::LAYOUT_ROW));
    for row in segments.chunks(keys::LAYOUT_ROW) {
        layout.row_starts.push(start);
        start += row.iter().map(|segment| segment.size).sum::<u64>();
        rows.push(LayoutRow { segments: row.to_vec() });
    }
    object.layout = Some(layout);
    object.segments.clear();
    rows
}
