//! MD5 of several streams at once.
//!
//! MD5 cannot be split: each step waits for the last, and most of a core idles. But the steps of several streams can
//! be taken together, one stream in each lane of a vector register. The code is plain arrays that the compiler turns
//! into vector instructions: four lanes with those that every x86-64 has, more where the build targets a later
//! processor. A stream gets not faster by it; a server with several uploads does (see `benches/body.rs`).
//!
//! The algorithm and its numbers are those of RFC 1321.

#![expect(clippy::inline_always, reason = "the arrays become vectors only where all of a step is in one function")]

use std::fmt;

use md5::block_api::compress;

const BLOCK: usize = 64;

/// Streams that are hashed together at most.
pub const LANES: usize = if cfg!(target_feature = "avx2") { 16 } else { 4 };

/// One word of each lane.
type Lanes<const N: usize> = [u32; N];

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

/// Feeds each stream its slices, up to [`LANES`] streams at a time.
pub fn update_together<'a, I>(streams: impl IntoIterator<Item = (&'a mut Md5Stream, I)>)
where
    I: Iterator<Item = &'a [u8]>,
{
    let mut waiting = streams.into_iter();
    let mut lanes: Vec<Lane<'a, I>> = Vec::with_capacity(LANES);
    loop {
        lanes.retain_mut(Lane::advance);
        while lanes.len() < LANES {
            let Some((stream, slices)) = waiting.next() else { break };
            let mut lane = Lane { stream, slices, blocks: &[] };
            if lane.advance() {
                lanes.push(lane);
            }
        }
        match lanes.as_mut_slice() {
            [] => return,
            [lane] => compress(&mut lane.stream.state, std::mem::take(&mut lane.blocks)),
            two @ [_, _] => together::<2, I>(two),
            few @ ([_, _, _] | [_, _, _, _]) => together::<4, I>(few),
            many => together::<LANES, I>(many),
        }
    }
}

/// Hashes as many blocks of at most `N` lanes as the shortest has.
fn together<const N: usize, I>(lanes: &mut [Lane<'_, I>]) {
    let count = lanes.iter().map(|lane| lane.blocks.len()).min().unwrap_or(0);
    let mut blocks: [&[[u8; BLOCK]]; N] = [&[]; N];
    for (taken, lane) in blocks.iter_mut().zip(lanes.iter_mut()) {
        (*taken, lane.blocks) = lane.blocks.split_at_checked(count).unwrap_or((lane.blocks, &[]));
    }
    let mut state = columns::<N, 4>(lanes.iter().map(|lane| lane.stream.state));
    compress_lanes(&mut state, blocks, count);
    for (lane, stream) in lanes.iter_mut().enumerate() {
        for (word, column) in stream.stream.state.iter_mut().zip(&state) {
            *word = column.get(lane).copied().unwrap_or(*word);
        }
    }
}

/// Turns rows, one of each lane, into columns. Lanes without a row are zero.
#[inline(always)]
fn columns<const N: usize, const M: usize>(rows: impl Iterator<Item = [u32; M]>) -> [Lanes<N>; M] {
    let mut columns = [[0; N]; M];
    for (lane, row) in rows.enumerate() {
        for (column, word) in columns.iter_mut().zip(row) {
            if let Some(slot) = column.get_mut(lane) {
                *slot = word;
            }
        }
    }
    columns
}

fn compress_lanes<const N: usize>(state: &mut [Lanes<N>; 4], blocks: [&[[u8; BLOCK]]; N], count: usize) {
    const NOTHING: [u8; BLOCK] = [0; BLOCK];
    let mut blocks = blocks.map(<[_]>::iter);
    for _ in 0..count {
        let next = blocks.each_mut().map(|lane| lane.next().unwrap_or(&NOTHING));
        let words = columns::<N, 16>(next.into_iter().map(words));
        let mut mixed = round_1(*state, &words);
        mixed = round_2(mixed, &words);
        mixed = round_3(mixed, &words);
        mixed = round_4(mixed, &words);
        for (word, mixed) in state.iter_mut().zip(mixed) {
            *word = add(*word, mixed);
        }
    }
}

#[inline(always)]
fn words(block: &[u8; BLOCK]) -> [u32; 16] {
    let mut words = [0; 16];
    for (word, bytes) in words.iter_mut().zip(block.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

#[inline(always)]
fn zip<const N: usize>(mut left: Lanes<N>, right: Lanes<N>, with: impl Fn(u32, u32) -> u32) -> Lanes<N> {
    for (left, right) in left.iter_mut().zip(right) {
        *left = with(*left, right);
    }
    left
}

#[inline(always)]
fn add<const N: usize>(left: Lanes<N>, right: Lanes<N>) -> Lanes<N> {
    zip(left, right, u32::wrapping_add)
}

/// One step: `a = b + ((a + mix(b, c, d) + word + constant) <<< shift)`.
#[inline(always)]
fn step<const N: usize>(
    mix: impl Fn(Lanes<N>, Lanes<N>, Lanes<N>) -> Lanes<N>,
    [a, b, c, d]: [Lanes<N>; 4],
    word: Lanes<N>,
    constant: u32,
    shift: u32,
) -> Lanes<N> {
    // What does not wait for the step before is added first.
    let early = zip(a, word, |a, word| a.wrapping_add(word).wrapping_add(constant));
    zip(add(early, mix(b, c, d)), b, |sum, b| sum.rotate_left(shift).wrapping_add(b))
}

#[inline(always)]
fn mix_f<const N: usize>(x: Lanes<N>, y: Lanes<N>, z: Lanes<N>) -> Lanes<N> {
    zip(zip(x, zip(y, z, |y, z| y ^ z), |x, yz| x & yz), z, |xyz, z| xyz ^ z)
}

#[inline(always)]
fn mix_g<const N: usize>(x: Lanes<N>, y: Lanes<N>, z: Lanes<N>) -> Lanes<N> {
    // The two halves share no bit, so their sum is their union; a sum need not wait for both.
    add(zip(x, z, |x, z| x & z), zip(y, z, |y, z| y & !z))
}

#[inline(always)]
fn mix_h<const N: usize>(x: Lanes<N>, y: Lanes<N>, z: Lanes<N>) -> Lanes<N> {
    zip(x, zip(y, z, |y, z| y ^ z), |x, yz| x ^ yz)
}

#[inline(always)]
fn mix_i<const N: usize>(x: Lanes<N>, y: Lanes<N>, z: Lanes<N>) -> Lanes<N> {
    zip(y, zip(x, z, |x, z| x | !z), |y, xz| y ^ xz)
}

#[inline(always)]
fn round_1<const N: usize>(state: [Lanes<N>; 4], words: &[Lanes<N>; 16]) -> [Lanes<N>; 4] {
    let [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15] = *words;
    let [a, b, c, d] = state;
    let a = step(mix_f, [a, b, c, d], w0, 0xd76a_a478, 7);
    let d = step(mix_f, [d, a, b, c], w1, 0xe8c7_b756, 12);
    let c = step(mix_f, [c, d, a, b], w2, 0x2420_70db, 17);
    let b = step(mix_f, [b, c, d, a], w3, 0xc1bd_ceee, 22);
    let a = step(mix_f, [a, b, c, d], w4, 0xf57c_0faf, 7);
    let d = step(mix_f, [d, a, b, c], w5, 0x4787_c62a, 12);
    let c = step(mix_f, [c, d, a, b], w6, 0xa830_4613, 17);
    let b = step(mix_f, [b, c, d, a], w7, 0xfd46_9501, 22);
    let a = step(mix_f, [a, b, c, d], w8, 0x6980_98d8, 7);
    let d = step(mix_f, [d, a, b, c], w9, 0x8b44_f7af, 12);
    let c = step(mix_f, [c, d, a, b], w10, 0xffff_5bb1, 17);
    let b = step(mix_f, [b, c, d, a], w11, 0x895c_d7be, 22);
    let a = step(mix_f, [a, b, c, d], w12, 0x6b90_1122, 7);
    let d = step(mix_f, [d, a, b, c], w13, 0xfd98_7193, 12);
    let c = step(mix_f, [c, d, a, b], w14, 0xa679_438e, 17);
    let b = step(mix_f, [b, c, d, a], w15, 0x49b4_0821, 22);
    [a, b, c, d]
}

#[inline(always)]
fn round_2<const N: usize>(state: [Lanes<N>; 4], words: &[Lanes<N>; 16]) -> [Lanes<N>; 4] {
    let [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15] = *words;
    let [a, b, c, d] = state;
    let a = step(mix_g, [a, b, c, d], w1, 0xf61e_2562, 5);
    let d = step(mix_g, [d, a, b, c], w6, 0xc040_b340, 9);
    let c = step(mix_g, [c, d, a, b], w11, 0x265e_5a51, 14);
    let b = step(mix_g, [b, c, d, a], w0, 0xe9b6_c7aa, 20);
    let a = step(mix_g, [a, b, c, d], w5, 0xd62f_105d, 5);
    let d = step(mix_g, [d, a, b, c], w10, 0x0244_1453, 9);
    let c = step(mix_g, [c, d, a, b], w15, 0xd8a1_e681, 14);
    let b = step(mix_g, [b, c, d, a], w4, 0xe7d3_fbc8, 20);
    let a = step(mix_g, [a, b, c, d], w9, 0x21e1_cde6, 5);
    let d = step(mix_g, [d, a, b, c], w14, 0xc337_07d6, 9);
    let c = step(mix_g, [c, d, a, b], w3, 0xf4d5_0d87, 14);
    let b = step(mix_g, [b, c, d, a], w8, 0x455a_14ed, 20);
    let a = step(mix_g, [a, b, c, d], w13, 0xa9e3_e905, 5);
    let d = step(mix_g, [d, a, b, c], w2, 0xfcef_a3f8, 9);
    let c = step(mix_g, [c, d, a, b], w7, 0x676f_02d9, 14);
    let b = step(mix_g, [b, c, d, a], w12, 0x8d2a_4c8a, 20);
    [a, b, c, d]
}

#[inline(always)]
fn round_3<const N: usize>(state: [Lanes<N>; 4], words: &[Lanes<N>; 16]) -> [Lanes<N>; 4] {
    let [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15] = *words;
    let [a, b, c, d] = state;
    let a = step(mix_h, [a, b, c, d], w5, 0xfffa_3942, 4);
    let d = step(mix_h, [d, a, b, c], w8, 0x8771_f681, 11);
    let c = step(mix_h, [c, d, a, b], w11, 0x6d9d_6122, 16);
    let b = step(mix_h, [b, c, d, a], w14, 0xfde5_380c, 23);
    let a = step(mix_h, [a, b, c, d], w1, 0xa4be_ea44, 4);
    let d = step(mix_h, [d, a, b, c], w4, 0x4bde_cfa9, 11);
    let c = step(mix_h, [c, d, a, b], w7, 0xf6bb_4b60, 16);
    let b = step(mix_h, [b, c, d, a], w10, 0xbebf_bc70, 23);
    let a = step(mix_h, [a, b, c, d], w13, 0x289b_7ec6, 4);
    let d = step(mix_h, [d, a, b, c], w0, 0xeaa1_27fa, 11);
    let c = step(mix_h, [c, d, a, b], w3, 0xd4ef_3085, 16);
    let b = step(mix_h, [b, c, d, a], w6, 0x0488_1d05, 23);
    let a = step(mix_h, [a, b, c, d], w9, 0xd9d4_d039, 4);
    let d = step(mix_h, [d, a, b, c], w12, 0xe6db_99e5, 11);
    let c = step(mix_h, [c, d, a, b], w15, 0x1fa2_7cf8, 16);
    let b = step(mix_h, [b, c, d, a], w2, 0xc4ac_5665, 23);
    [a, b, c, d]
}

#[inline(always)]
fn round_4<const N: usize>(state: [Lanes<N>; 4], words: &[Lanes<N>; 16]) -> [Lanes<N>; 4] {
    let [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15] = *words;
    let [a, b, c, d] = state;
    let a = step(mix_i, [a, b, c, d], w0, 0xf429_2244, 6);
    let d = step(mix_i, [d, a, b, c], w7, 0x432a_ff97, 10);
    let c = step(mix_i, [c, d, a, b], w14, 0xab94_23a7, 15);
    let b = step(mix_i, [b, c, d, a], w5, 0xfc93_a039, 21);
    let a = step(mix_i, [a, b, c, d], w12, 0x655b_59c3, 6);
    let d = step(mix_i, [d, a, b, c], w3, 0x8f0c_cc92, 10);
    let c = step(mix_i, [c, d, a, b], w10, 0xffef_f47d, 15);
    let b = step(mix_i, [b, c, d, a], w1, 0x8584_5dd1, 21);
    let a = step(mix_i, [a, b, c, d], w8, 0x6fa8_7e4f, 6);
    let d = step(mix_i, [d, a, b, c], w15, 0xfe2c_e6e0, 10);
    let c = step(mix_i, [c, d, a, b], w6, 0xa301_4314, 15);
    let b = step(mix_i, [b, c, d, a], w13, 0x4e08_11a1, 21);
    let a = step(mix_i, [a, b, c, d], w4, 0xf753_7e82, 6);
    let d = step(mix_i, [d, a, b, c], w11, 0xbd3a_f235, 10);
    let c = step(mix_i, [c, d, a, b], w2, 0x2ad7_d2bb, 15);
    let b = step(mix_i, [b, c, d, a], w9, 0xeb86_d391, 21);
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

    proptest! {
        #[test]
        fn streams_hashed_together_hash_as_alone(
            streams in proptest::collection::vec(
                proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..700), 0..5),
                0..LANES * 2,
            ),
            rounds in 1_usize..3,
        ) {
            let mut hashes = vec![Md5Stream::default(); streams.len()];
            for _ in 0..rounds {
                let together = hashes.iter_mut().zip(&streams);
                update_together(together.map(|(hash, slices)| (hash, slices.iter().map(Vec::as_slice))));
            }
            for (hash, slices) in hashes.into_iter().zip(&streams) {
                let mut alone = Md5::new();
                for slice in slices.iter().cycle().take(slices.len() * rounds) {
                    alone.update(slice);
                }
                prop_assert_eq!(hash.finalize().to_vec(), alone.finalize().to_vec());
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
