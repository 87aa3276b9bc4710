//! Chance that is the same in every run: SplitMix64.

/// A stream of numbers that a seed determines.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The stream of `seed`, as far as it is for `purpose` and `index`.
    pub(crate) fn new(seed: u64, purpose: u64, index: u64) -> Self {
        let mut dice = Dice(seed ^ purpose.rotate_left(24) ^ index.rotate_left(48));
        // Seeds that are close to each other are told apart.
        dice.0 = dice.roll();
        dice
    }

    /// The next 64 bits (Steele, Lea and Flood, OOPSLA 2014).
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `end`, which is at least 1.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end.max(1)
    }

    /// A number from `first` to `last`, both included.
    pub(crate) fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    /// True `per_mille` times of a thousand.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// True in this share of cases, from 0 to 1.
    pub(crate) fn has_share(&mut self, share: f64) -> bool {
        ((self.roll() >> 11) as f64 / (1u64 << 53) as f64) < share
    }

    /// A number above 0 with this mean, exponentially distributed.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        // 53 bits make a number above 0 and up to 1, so that its logarithm is finite.
        let uniform = ((self.roll() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        -mean * libm::log(uniform)
    }

    /// One of `choices`.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}
