//! Chance for waiting times: numbers from a seed, and times with some of it added.

use core::time::Duration;

pub(super) trait PlusChance {
    fn plus_chance(self, chance: &mut SplitMix64) -> Duration;
}

impl PlusChance for Duration {
    /// This time and up to half of it more.
    fn plus_chance(self, chance: &mut SplitMix64) -> Duration {
        let half = u64::try_from(self.as_millis() / 2).unwrap_or(u64::MAX - 1);
        self.saturating_add(Self::from_millis(chance.below(half.saturating_add(1))))
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): eight bytes of state, every seed is good, neighbouring seeds give unrelated
/// sequences. For waiting times only, never for keys.
#[derive(Debug, Clone)]
pub(super) struct SplitMix64(pub(super) u64);

impl SplitMix64 {
    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(super) const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
