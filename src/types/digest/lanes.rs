//! MD5 of several streams at once.
//!
//! MD5 cannot be split: each step waits for the last, and most of a core idles. But the steps of several streams can
//! be taken together, one stream in each lane of a vector register. A stream gets not faster by it; a server with
//! several uploads does. In microseconds of CPU per MiB (`benches/body.rs` on Zen 4, where one stream alone takes 1,660
//! and four took 730 as plain arrays):
//!
//! | streams | SSE2 | AVX2 | AVX-512 |
//! |--------:|-----:|-----:|--------:|
//! |       2 |  850 |  860 |     740 |
//! |       4 |  430 |  420 |     390 |
//! |       8 |  310 |  230 |     200 |
//! |      16 |  280 |  180 |     160 |
//!
//! The vectors are those of `fearless_simd`, which finds out what the processor has: it needs no other crate, hides
//! what is unsafe, and knows NEON, too. (`pulp` brings several, one of them given up by its author.)
//!
//! Vectors must meet their operations in one function that is compiled for the processor's level: all here is inlined,
//! and no function is passed on as a value, which would be compiled for every processor.
//!
//! The algorithm and its numbers are those of RFC 1321.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for the level of the processor")]

use std::{fmt, hint::black_box, sync::LazyLock};

use fearless_simd::{Level, Simd, SimdBase, SimdInt, dispatch, u32x4, u32x8, u32x16};
use md5::block_api::compress;

const BLOCK: usize = 64;
/// With more at a time, registers run out.
const MOST_VECTORS: usize = 2;

/// The vector instructions that the processor has.
static LEVEL: LazyLock<Level> = LazyLock::new(Level::new);

/// Streams that are hashed together at most.
pub fn lanes() -> usize {
    most_lanes(*LEVEL)
}

/// What the processor's widest vectors hold, two at a time, as one fills the waits of the other.
fn most_lanes(level: Level) -> usize {
    fn native<S: Simd>(_: S) -> usize {
        S::u32s::LEN
    }
    dispatch!(level, simd => (MOST_VECTORS * native(simd)).min(16))
}

/// The MD5 of a stream that can be hashed together with others.
#[derive(Clone)]
pub struct Md5Stream {
    state: [u32; 4],
    length: u64,
    /// The bytes behind the last full block; as many as `length` says.
    partial: [u8; BLOCK],
}

impl Default for Md5Stream {
    fn default() -> Self {
        Self { state: [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476], length: 0, partial: [0; BLOCK] }
    }
}

impl fmt::Debug for Md5Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Md5Stream").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Md5Stream {
    /// Takes the next bytes, alone.
    pub fn update(&mut self, bytes: &[u8]) {
        let blocks = self.take(bytes);
        compress(&mut self.state, blocks);
    }

    /// The MD5 of all bytes taken.
    pub fn finalize(mut self) -> [u8; 16] {
        let bits = self.length.wrapping_mul(8);
        let filled = self.filled();
        // One bit, zeros up to eight bytes before the end of a block, and the length.
        let zeros = (BLOCK * 2 - 9 - filled) % BLOCK;
        let mut padding = vec![0x80];
        padding.resize(1 + zeros, 0);
        padding.extend_from_slice(&bits.to_le_bytes());
        self.update(&padding);
        let mut digest = [0; 16];
        for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(self.state) {
            *bytes = word.to_le_bytes();
        }
        digest
    }

    fn filled(&self) -> usize {
        usize::try_from(self.length % BLOCK as u64).unwrap_or(0)
    }

    /// Takes bytes in but for their full blocks, which the caller must hash before it comes again.
    fn take<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [[u8; BLOCK]] {
        let filled = self.filled();
        self.length = self.length.wrapping_add(bytes.len() as u64);
        if filled > 0 {
            let (head, rest) = bytes.split_at_checked(BLOCK - filled).unwrap_or((bytes, &[]));
            self.keep(filled, head);
            if filled + head.len() < BLOCK {
                return &[];
            }
            compress(&mut self.state, &[self.partial]);
            bytes = rest;
        }
        let (blocks, tail) = bytes.as_chunks();
        self.keep(0, tail);
        blocks
    }

    fn keep(&mut self, from: usize, bytes: &[u8]) {
        for (slot, byte) in self.partial.iter_mut().skip(from).zip(bytes) {
            *slot = *byte;
        }
    }
}

/// A stream on its way through its slices.
struct Lane<'a, I> {
    stream: &'a mut Md5Stream,
    slices: I,
    blocks: &'a [[u8; BLOCK]],
}

impl<'a, I: Iterator<Item = &'a [u8]>> Lane<'a, I> {
    /// Moves on to the next full block; `false` at the end of the slices.
    fn advance(&mut self) -> bool {
        while self.blocks.is_empty() {
            let Some(bytes) = self.slices.next() else { return false };
            self.blocks = self.stream.take(bytes);
        }
        true
    }
}

/// Feeds each stream its slices, up to [`lanes`] streams at a time.
pub fn update_together<'a, I>(streams: impl IntoIterator<Item = (&'a mut Md5Stream, I)>)
where
    I: Iterator<Item = &'a [u8]>,
{
    update_at(*LEVEL, streams);
}

fn update_at<'a, I>(level: Level, streams: impl IntoIterator<Item = (&'a mut Md5Stream, I)>)
where
    I: Iterator<Item = &'a [u8]>,
{
    let most = most_lanes(level);
    let mut waiting = streams.into_iter();
    let mut lanes: Vec<Lane<'a, I>> = Vec::with_capacity(most);
    loop {
        lanes.retain_mut(Lane::advance);
        while lanes.len() < most {
            let Some((stream, slices)) = waiting.next() else { break };
            let mut lane = Lane { stream, slices, blocks: &[] };
            if lane.advance() {
                lanes.push(lane);
            }
        }
        match lanes.as_mut_slice() {
            [] => return,
            [lane] => compress(&mut lane.stream.state, std::mem::take(&mut lane.blocks)),
            some => match some.len() {
                1..=4 => together(some, |work| compress_4(level, work)),
                5..=8 => together(some, |work| compress_8(level, work)),
                _ => together(some, |work| compress_16(level, work)),
            },
        }
    }
}

/// Hashes as many blocks of at most `N` lanes as the shortest has.
fn together<const N: usize, I>(lanes: &mut [Lane<'_, I>], compress: impl FnOnce(&mut Work<'_, N>)) {
    let count = lanes.iter().map(|lane| lane.blocks.len()).min().unwrap_or(0);
    let mut work = Work { state: [[0; N]; 4], blocks: [&[]; N], count };
    for (number, (lane, taken)) in lanes.iter_mut().zip(&mut work.blocks).enumerate() {
        (*taken, lane.blocks) = lane.blocks.split_at_checked(count).unwrap_or((lane.blocks, &[]));
        for (column, word) in work.state.iter_mut().zip(lane.stream.state) {
            column.iter_mut().skip(number).take(1).for_each(|slot| *slot = word);
        }
    }
    compress(&mut work);
    for (number, lane) in lanes.iter_mut().enumerate() {
        for (word, column) in lane.stream.state.iter_mut().zip(&work.state) {
            *word = column.get(number).copied().unwrap_or(*word);
        }
    }
}

fn compress_4(level: Level, work: &mut Work<'_, 4>) {
    dispatch!(level, simd => work.compress::<_, u32x4<_>>(simd));
}

fn compress_8(level: Level, work: &mut Work<'_, 8>) {
    dispatch!(level, simd => work.compress::<_, u32x8<_>>(simd));
}

fn compress_16(level: Level, work: &mut Work<'_, 16>) {
    dispatch!(level, simd => work.compress::<_, u32x16<_>>(simd));
}

/// As many blocks of each lane; a lane without a stream has none.
struct Work<'a, const N: usize> {
    /// Four columns, each with a word of each lane.
    state: [[u32; N]; 4],
    blocks: [&'a [[u8; BLOCK]]; N],
    count: usize,
}

impl<const N: usize> Work<'_, N> {
    #[inline(always)]
    fn compress<S: Simd, V: SimdInt<S, Element = u32, Array = [u32; N]>>(&mut self, simd: S) {
        const NOTHING: [u8; BLOCK] = [0; BLOCK];
        if const { N > MOST_VECTORS * S::u32s::LEN } {
            // Never asked for: see `most_lanes`. The compiler need not make it.
            return;
        }
        // The optimiser must not see through them: it adds constants last, where the next step waits for the sum.
        let [sines_1, sines_2, sines_3, sines_4] = black_box(&SINES);
        let mut blocks = self.blocks.map(<[_]>::iter);
        let [a, b, c, d] = self.state;
        let mut state =
            [V::load_array(simd, a), V::load_array(simd, b), V::load_array(simd, c), V::load_array(simd, d)];
        for _ in 0..self.count {
            let mut next = [&NOTHING; N];
            for (next, lane) in next.iter_mut().zip(&mut blocks) {
                *next = lane.next().unwrap_or(&NOTHING);
            }
            let words = columns::<S, V, N>(simd, next);
            let mut mixed = round_1(state, &words, sines_1);
            mixed = round_2(mixed, &words, sines_2);
            mixed = round_3(mixed, &words, sines_3);
            mixed = round_4(mixed, &words, sines_4);
            for (word, mixed) in state.iter_mut().zip(mixed) {
                *word += mixed;
            }
        }
        for (column, vector) in self.state.iter_mut().zip(state) {
            *column = vector.to_array();
        }
    }
}

/// The words of a block of each lane: vector `i` holds word `i` of all.
#[inline(always)]
fn columns<S: Simd, V: SimdInt<S, Element = u32, Array = [u32; N]>, const N: usize>(
    simd: S,
    blocks: [&[u8; BLOCK]; N],
) -> [V; 16] {
    let mut columns = [V::splat(simd, 0); 16];
    for (part, square) in columns.as_chunks_mut::<N>().0.iter_mut().enumerate() {
        for (row, block) in square.iter_mut().zip(blocks) {
            let mut words = [0; N];
            for (word, bytes) in words.iter_mut().zip(block.as_chunks().0.iter().skip(part * N)) {
                *word = u32::from_le_bytes(*bytes);
            }
            *row = V::load_array(simd, words);
        }
        // Each turn shuffles the upper rows into the lower, as cards: as many turns as a row number has bits, and rows
        // and columns have changed places.
        for _ in 0..N.ilog2() {
            let rows = *square;
            let (upper, lower) = rows.split_at(N / 2);
            for ((pair, upper), lower) in square.as_chunks_mut::<2>().0.iter_mut().zip(upper).zip(lower) {
                *pair = upper.interleave(*lower).into();
            }
        }
    }
    columns
}

/// The end of each step. What the steps add to `sum` last is what waits for the step before.
#[inline(always)]
fn turn<S: Simd, V: SimdInt<S, Element = u32>>(sum: V, shift: u32, b: V) -> V {
    ((sum << shift) | (sum >> (32 - shift))) + b
}

#[inline(always)]
fn step_1<S: Simd, V: SimdInt<S, Element = u32>>([a, b, c, d]: [V; 4], word: V, sine: u32, shift: u32) -> V {
    turn(a + (word + sine) + (((c ^ d) & b) ^ d), shift, b)
}

#[inline(always)]
fn step_2<S: Simd, V: SimdInt<S, Element = u32>>([a, b, c, d]: [V; 4], word: V, sine: u32, shift: u32) -> V {
    // The two halves share no bit, so their sum is their union; a sum need not wait for both.
    turn(a + (word + sine) + (c & !d) + (b & d), shift, b)
}

#[inline(always)]
fn step_3<S: Simd, V: SimdInt<S, Element = u32>>([a, b, c, d]: [V; 4], word: V, sine: u32, shift: u32) -> V {
    turn(a + (word + sine) + ((c ^ d) ^ b), shift, b)
}

#[inline(always)]
fn step_4<S: Simd, V: SimdInt<S, Element = u32>>([a, b, c, d]: [V; 4], word: V, sine: u32, shift: u32) -> V {
    turn(a + (word + sine) + ((b | !d) ^ c), shift, b)
}

/// The numbers added in each round: the sines of 1 to 64, times 2^32.
static SINES: [[u32; 16]; 4] = [
    [
        0xd76a_a478,
        0xe8c7_b756,
        0x2420_70db,
        0xc1bd_ceee,
        0xf57c_0faf,
        0x4787_c62a,
        0xa830_4613,
        0xfd46_9501,
        0x6980_98d8,
        0x8b44_f7af,
        0xffff_5bb1,
        0x895c_d7be,
        0x6b90_1122,
        0xfd98_7193,
        0xa679_438e,
        0x49b4_0821,
    ],
    [
        0xf61e_2562,
        0xc040_b340,
        0x265e_5a51,
        0xe9b6_c7aa,
        0xd62f_105d,
        0x0244_1453,
        0xd8a1_e681,
        0xe7d3_fbc8,
        0x21e1_cde6,
        0xc337_07d6,
        0xf4d5_0d87,
        0x455a_14ed,
        0xa9e3_e905,
        0xfcef_a3f8,
        0x676f_02d9,
        0x8d2a_4c8a,
    ],
    [
        0xfffa_3942,
        0x8771_f681,
        0x6d9d_6122,
        0xfde5_380c,
        0xa4be_ea44,
        0x4bde_cfa9,
        0xf6bb_4b60,
        0xbebf_bc70,
        0x289b_7ec6,
        0xeaa1_27fa,
        0xd4ef_3085,
        0x0488_1d05,
        0xd9d4_d039,
        0xe6db_99e5,
        0x1fa2_7cf8,
        0xc4ac_5665,
    ],
    [
        0xf429_2244,
        0x432a_ff97,
        0xab94_23a7,
        0xfc93_a039,
        0x655b_59c3,
        0x8f0c_cc92,
        0xffef_f47d,
        0x8584_5dd1,
        0x6fa8_7e4f,
        0xfe2c_e6e0,
        0xa301_4314,
        0x4e08_11a1,
        0xf753_7e82,
        0xbd3a_f235,
        0x2ad7_d2bb,
        0xeb86_d391,
    ],
];

#[inline(always)]
fn round_1<S: Simd, V: SimdInt<S, Element = u32>>([a, b, c, d]: [V; 4], words: &[V; 16], sines: &[u32; 16]) -> [V; 4] {
    let a = step_1([a, b, c, d], words[0], sines[0], 7);
    let d = step_1([d, a, b, c], words[1], sines[1], 12);
    let c = step_1([c, d, a, b], words[2], sines[2], 17);
    let b = step_1([b, c, d, a], words[3], sines[3], 22);
    let a = step_1([a, b, c, d], words[4], sines[4], 7);
    let d = step_1([d, a, b, c], words[5], sines[5], 12);
    let c = step_1([c, d, a, b], words[6], sines[6], 17);
    let b = step_1([b, c, d, a], words[7], sines[7], 22);
    let a = step_1([a, b, c, d], words[8], sines[8], 7);
    let d = step_1([d, a, b, c], words[9], sines[9], 12);
    let c = step_1([c, d, a, b], words[10], sines[10], 17);
    let b = step_1([b, c, d, a], words[11], sines[11], 22);
    let a = step_1([a, b, c, d], words[12], sines[12], 7);
    let d = step_1([d, a, b, c], words[13], sines[13], 12);
    let c = step_1([c, d, a, b], words[14], sines[14], 17);
    let b = step_1([b, c, d, a], words[15], sines[15], 22);
    [a, b, c, d]
}

#[inline(always)]
fn round_2<S: Simd, V: SimdInt<S, Element = u32>>([a, b, c, d]: [V; 4], words: &[V; 16], sines: &[u32; 16]) -> [V; 4] {
    let a = step_2([a, b, c, d], words[1], sines[0], 5);
    let d = step_2([d, a, b, c], words[6], sines[1], 9);
    let c = step_2([c, d, a, b], words[11], sines[2], 14);
    let b = step_2([b, c, d, a], words[0], sines[3], 20);
    let a = step_2([a, b, c, d], words[5], sines[4], 5);
    let d = step_2([d, a, b, c], words[10], sines[5], 9);
    let c = step_2([c, d, a, b], words[15], sines[6], 14);
    let b = step_2([b, c, d, a], words[4], sines[7], 20);
    let a = step_2([a, b, c, d], words[9], sines[8], 5);
    let d = step_2([d, a, b, c], words[14], sines[9], 9);
    let c = step_2([c, d, a, b], words[3], sines[10], 14);
    let b = step_2([b, c, d, a], words[8], sines[11], 20);
    let a = step_2([a, b, c, d], words[13], sines[12], 5);
    let d = step_2([d, a, b, c], words[2], sines[13], 9);
    let c = step_2([c, d, a, b], words[7], sines[14], 14);
    let b = step_2([b, c, d, a], words[12], sines[15], 20);
    [a, b, c, d]
}

#[inline(always)]
fn round_3<S: Simd, V: SimdInt<S, Element = u32>>([a, b, c, d]: [V; 4], words: &[V; 16], sines: &[u32; 16]) -> [V; 4] {
    let a = step_3([a, b, c, d], words[5], sines[0], 4);
    let d = step_3([d, a, b, c], words[8], sines[1], 11);
    let c = step_3([c, d, a, b], words[11], sines[2], 16);
    let b = step_3([b, c, d, a], words[14], sines[3], 23);
    let a = step_3([a, b, c, d], words[1], sines[4], 4);
    let d = step_3([d, a, b, c], words[4], sines[5], 11);
    let c = step_3([c, d, a, b], words[7], sines[6], 16);
    let b = step_3([b, c, d, a], words[10], sines[7], 23);
    let a = step_3([a, b, c, d], words[13], sines[8], 4);
    let d = step_3([d, a, b, c], words[0], sines[9], 11);
    let c = step_3([c, d, a, b], words[3], sines[10], 16);
    let b = step_3([b, c, d, a], words[6], sines[11], 23);
    let a = step_3([a, b, c, d], words[9], sines[12], 4);
    let d = step_3([d, a, b, c], words[12], sines[13], 11);
    let c = step_3([c, d, a, b], words[15], sines[14], 16);
    let b = step_3([b, c, d, a], words[2], sines[15], 23);
    [a, b, c, d]
}

#[inline(always)]
fn round_4<S: Simd, V: SimdInt<S, Element = u32>>([a, b, c, d]: [V; 4], words: &[V; 16], sines: &[u32; 16]) -> [V; 4] {
    let a = step_4([a, b, c, d], words[0], sines[0], 6);
    let d = step_4([d, a, b, c], words[7], sines[1], 10);
    let c = step_4([c, d, a, b], words[14], sines[2], 15);
    let b = step_4([b, c, d, a], words[5], sines[3], 21);
    let a = step_4([a, b, c, d], words[12], sines[4], 6);
    let d = step_4([d, a, b, c], words[3], sines[5], 10);
    let c = step_4([c, d, a, b], words[10], sines[6], 15);
    let b = step_4([b, c, d, a], words[1], sines[7], 21);
    let a = step_4([a, b, c, d], words[8], sines[8], 6);
    let d = step_4([d, a, b, c], words[15], sines[9], 10);
    let c = step_4([c, d, a, b], words[6], sines[10], 15);
    let b = step_4([b, c, d, a], words[13], sines[11], 21);
    let a = step_4([a, b, c, d], words[4], sines[12], 6);
    let d = step_4([d, a, b, c], words[11], sines[13], 10);
    let c = step_4([c, d, a, b], words[2], sines[14], 15);
    let b = step_4([b, c, d, a], words[9], sines[15], 21);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::digest::{Digest, Md5};

    #[test]
    fn the_examples_of_rfc_1321_come_out() {
        for (text, digest) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ] {
            let mut stream = Md5Stream::default();
            stream.update(text.as_bytes());
            assert_eq!(hex::encode(stream.finalize()), digest, "{text}");
        }
    }

    /// Each level of instructions that this machine has.
    fn levels() -> Vec<Level> {
        let best = Level::new();
        let mut levels = vec![Level::baseline(), best];
        #[cfg(target_arch = "x86_64")]
        levels.extend(best.as_sse4_2().map(Level::Sse4_2));
        #[cfg(target_arch = "x86_64")]
        levels.extend(best.as_avx2().map(Level::Avx2));
        levels
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn streams_hashed_together_hash_as_alone(
            streams in proptest::collection::vec(
                proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 0..4),
                0..40_usize,
            ),
            rounds in 1_usize..3,
        ) {
            for level in levels() {
                let mut hashes = vec![Md5Stream::default(); streams.len()];
                for _ in 0..rounds {
                    let together = hashes.iter_mut().zip(&streams);
                    update_at(level, together.map(|(hash, slices)| (hash, slices.iter().map(Vec::as_slice))));
                }
                for (hash, slices) in hashes.into_iter().zip(&streams) {
                    let mut alone = Md5::new();
                    for slice in slices.iter().cycle().take(slices.len() * rounds) {
                        alone.update(slice);
                    }
                    prop_assert_eq!(hash.finalize().to_vec(), alone.finalize().to_vec(), "{:?}", level);
                }
            }
        }

        #[test]
        fn any_length_is_padded_right(length in 0_usize..300) {
            let bytes = vec![0xa5; length];
            let mut stream = Md5Stream::default();
            stream.update(&bytes);
            prop_assert_eq!(stream.finalize().to_vec(), Md5::digest(&bytes).to_vec());
        }
    }
}
