//! Randomness that gives the same values on every machine and with every version of `rand`: only
//! the value-stable generator is taken from there, the distributions are here, in integers.

use rand_pcg::{Pcg64Mcg, rand_core::RngCore};

use crate::text::Guid;

/// What a sequence of throws is for. Every purpose has its own sequences, so that a change to one
/// part of the simulation leaves the others as they were.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Tenant = 1,
    Plan,
    Whereabouts,
    SignIns,
    Traffic,
    Dialect,
    Background,
}

/// A seeded sequence of throws.
pub(crate) struct Dice(Pcg64Mcg);

impl Dice {
    /// The sequence of a purpose, told apart by two numbers such as an account and an hour.
    pub(crate) fn new(seed: u64, purpose: Purpose, first: u64, second: u64) -> Self {
        let state = scramble(scramble(scramble(seed).wrapping_add(purpose as u64)) ^ first);
        let low = scramble(state ^ second.rotate_left(32));
        Self(Pcg64Mcg::new(u128::from(scramble(low ^ seed)) << 64 | u128::from(low)))
    }

    /// A whole number below `bound`, which is at least 1. The bias, below 2^-40 for every bound
    /// in use, does not matter here.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A duration in ticks, from `least` up to but without `bound`.
    pub(crate) fn between(&mut self, least: i64, bound: i64) -> i64 {
        least + self.below(bound.abs_diff(least)).cast_signed()
    }

    /// An index into something of `len` elements, which is at least 1.
    #[expect(clippy::cast_possible_truncation, reason = "the result is below a usize")]
    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// One of the elements of a slice that is not empty.
    pub(crate) fn pick<'a, T>(&mut self, slice: &'a [T]) -> &'a T {
        &slice[self.index(slice.len())]
    }

    /// True with the given probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        /// 2^-53: one step of the 53-bit fraction that a double holds.
        const STEP: f64 = 1.0 / 9_007_199_254_740_992.0;
        ((self.0.next_u64() >> 11) as f64) * STEP < probability
    }

    /// A number of at least `least` with a long tail: each doubling is half as likely as the one
    /// before, `octaves` of them at most.
    pub(crate) fn skewed(&mut self, least: u64, octaves: u32) -> u64 {
        let base = least << self.0.next_u64().trailing_ones().min(octaves);
        base + self.below(base)
    }

    /// A random (version 4) GUID.
    pub(crate) fn guid(&mut self) -> Guid {
        let random = u128::from(self.0.next_u64()) << 64 | u128::from(self.0.next_u64());
        Guid::version_4(random)
    }
}

/// The finaliser of SplitMix64: spreads neighbouring seeds over all 64 bits.
fn scramble(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
