//! A small generator for jitter. The same seed gives the same pool, job by job, which
//! is what makes a simulation worth repeating.

/// SplitMix64: one word of state, and any seed is as good as another.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `most`, both included.
    pub(crate) fn up_to(&mut self, most: u64) -> u64 {
        // The high half of a product: no division, and a bias of less than most / 2^64.
        ((u128::from(self.next()) * (u128::from(most) + 1)) >> 64) as u64
    }
}
