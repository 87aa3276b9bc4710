//! Which record the next operation is for: key distributions and YCSB's mixes of operations.
//!
//! Everything is drawn from a [`Pcg64`] made by [`generator`]: the same seed and stream give the
//! same sequence on every machine. (Zipf draws take powers of `f64`; where a platform's `pow`
//! rounds differently in its last bit, one draw in about 10^13 can differ.)
//!
//! The skew comes from [`rand_distr::Zipf`], a rejection sampler that is exact for every
//! exponent, above 1 too, and costs the same for any number of records. YCSB's own generator
//! (Gray et al., SIGMOD 1994) is an approximation and ends at exponent 1.

mod distribution;
mod mix;

#[cfg(test)]
mod tests;

use rand_pcg::Pcg64;

pub use distribution::{KeyChooser, KeyDistribution, KeyError, RECORDS_MAX};
pub use mix::{Mix, Operation, OperationKind, OperationStream, Ycsb};

/// The source of all randomness of one generator: `seed` is the run's, `stream` tells its threads
/// apart. Streams of one seed do not overlap.
#[must_use]
pub fn generator(seed: u64, stream: u64) -> Pcg64 {
    // PCG spreads similar states only after some draws, so similar seeds are spread here.
    let high = u128::from(spread(seed));
    let low = u128::from(spread(seed ^ 0x9e37_79b9_7f4a_7c15));
    Pcg64::new(high << 64 | low, u128::from(stream))
}

/// The finaliser of splitmix64, a bijection.
fn spread(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}
