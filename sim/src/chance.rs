//! Packets that are lost by chance.

use std::collections::BTreeMap;

use qpmux_workloads::keys::generator;
use rand::RngExt;
use rand_pcg::Pcg64;

/// The chance of each part of the network. It depends on the part's own packets alone, so that it
/// stays the same whatever happens elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    fraction: f64,
    seed: u64,
    streams: BTreeMap<u64, Pcg64>,
}

impl Chance {
    /// Loses a packet with this probability, 0 to 1.
    pub(crate) fn new(fraction: f64, seed: u64) -> Self {
        Self { fraction, seed, streams: BTreeMap::new() }
    }

    /// Whether the next packet on that part is lost.
    pub(crate) fn loses(&mut self, part: u64) -> bool {
        if self.fraction <= 0.0 {
            return false;
        }
        let seed = self.seed;
        let rng = self.streams.entry(part).or_insert_with(|| generator(seed, part));
        rng.random_bool(self.fraction.min(1.0))
    }
}
