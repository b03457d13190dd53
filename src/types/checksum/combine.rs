//! The checksum of a whole from the checksums of its parts, without reading a byte again.
//!
//! A CRC is a remainder in the polynomials over GF(2): `crc(A‖B) = crc(A)·x^(8·|B|) + crc(B)`. All three CRCs of S3
//! are bit-reflected with an initial value and a final XOR of all ones, and those two cancel in that sum.

use super::{Checksum, ChecksumAlgorithm, ChecksumHasher};

/// The field of one CRC, bit-reflected: the highest of `width` bits is the coefficient of `x^0`.
#[derive(Clone, Copy, Debug)]
struct Field {
    polynomial: u64,
    one: u64,
}

impl Field {
    const fn of(algorithm: ChecksumAlgorithm) -> Option<Self> {
        match algorithm {
            ChecksumAlgorithm::Crc32 => Some(Self { polynomial: 0xedb8_8320, one: 1 << 31 }),
            ChecksumAlgorithm::Crc32c => Some(Self { polynomial: 0x82f6_3b78, one: 1 << 31 }),
            ChecksumAlgorithm::Crc64Nvme => Some(Self { polynomial: 0x9a6c_9329_ac4b_c9b5, one: 1 << 63 }),
            _ => None,
        }
    }

    /// `a·b` modulo the polynomial.
    const fn multiply(self, a: u64, mut b: u64) -> u64 {
        let mut product = 0;
        let mut bit = self.one;
        while bit != 0 {
            if a & bit != 0 {
                product ^= b;
            }
            bit >>= 1;
            b = if b & 1 == 0 { b >> 1 } else { (b >> 1) ^ self.polynomial };
        }
        product
    }

    /// `x^(8·bytes)` modulo the polynomial: what a CRC is multiplied by when `bytes` bytes follow.
    const fn shift(self, mut bytes: u64) -> u64 {
        let mut result = self.one;
        let mut power = self.one >> 8;
        while bytes != 0 {
            if bytes & 1 != 0 {
                result = self.multiply(result, power);
            }
            power = self.multiply(power, power);
            bytes >>= 1;
        }
        result
    }
}

/// Builds the full-object CRC of a multipart object from its parts, in order.
#[derive(Clone, Debug)]
pub struct FullObject {
    algorithm: ChecksumAlgorithm,
    field: Field,
    crc: u64,
    /// The last length and its shift: all parts but the last tend to be of one size.
    shift: (u64, u64),
}

impl FullObject {
    /// The checksum of no parts yet; `None` unless the algorithm is a CRC.
    pub fn new(algorithm: ChecksumAlgorithm) -> Option<Self> {
        let field = Field::of(algorithm)?;
        Some(Self { algorithm, field, crc: 0, shift: (0, field.one) })
    }

    /// Appends a part of `len` bytes; `false` (and nothing changed) if its checksum is of another algorithm.
    #[must_use]
    pub fn push(&mut self, part: &Checksum, len: u64) -> bool {
        if part.algorithm != self.algorithm {
            return false;
        }
        if self.shift.0 != len {
            self.shift = (len, self.field.shift(len));
        }
        self.crc = self.field.multiply(self.shift.1, self.crc) ^ number(part);
        true
    }

    /// The checksum of all parts.
    pub fn finish(&self) -> Checksum {
        let unused = 8_usize.saturating_sub(self.algorithm.digest_len());
        Checksum { algorithm: self.algorithm, value: self.crc.to_be_bytes().into_iter().skip(unused).collect() }
    }
}

fn number(checksum: &Checksum) -> u64 {
    checksum.value.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// The CRC of a sequence from those of its first and second half, the second of `second_len` bytes.
///
/// `None` unless both are of the same CRC.
pub fn combine(first: &Checksum, second: &Checksum, second_len: u64) -> Option<Checksum> {
    let mut whole = FullObject::new(first.algorithm)?;
    // Nothing stands before the first half, so its length does not matter.
    (whole.push(first, 0) && whole.push(second, second_len)).then(|| whole.finish())
}

/// The composite checksum of a multipart object: the hash of its parts' raw digests, without the `-N`.
pub fn composite<'a>(algorithm: ChecksumAlgorithm, parts: impl IntoIterator<Item = &'a Checksum>) -> Checksum {
    let mut hasher = ChecksumHasher::new(algorithm);
    for part in parts {
        hasher.update(&part.value);
    }
    hasher.finalize()
}
