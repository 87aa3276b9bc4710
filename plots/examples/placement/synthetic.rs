//! Made-up data: clients write keys, few of them often, each through its own queue pair.

use qpmux_plots::{Dot, Placement};

/// Rows, one per client.
const ROWS: usize = 16;
/// Rows that qpmux uses.
const PLACES: usize = 4;
/// Keys there are; the first 8 have a label.
const KEYS: usize = 200;

/// A linear congruential generator: enough for a picture, the same everywhere.
struct Random(u64);

impl Random {
    /// Evenly from 0 up to, without, `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % end
    }
}

/// A figure of `count` WRITEs on each side, over 20 ms.
pub(crate) fn placement(count: usize) -> Placement {
    let mut random = Random(7);
    let weights: Vec<u64> = (1..=KEYS as u64).map(|rank| 1_000_000 / rank).collect();
    let (mut captured, mut multiplexed) = (Vec::new(), Vec::new());
    for number in 0..count {
        let mut left = random.below(weights.iter().sum());
        let before = |weight: &&u64| {
            let past = left >= **weight;
            left = left.saturating_sub(**weight);
            past
        };
        let rank = weights.iter().take_while(before).count();
        let key = Some(rank).filter(|rank| *rank < 8);
        let jitter = random.below(1_000) as f64 / 1_000.0;
        let time_ms = (number as f64 + jitter) * 20.0 / count as f64;
        let client = random.below(ROWS as u64) as usize;
        captured.push(Dot { time_ms, server_qp: client, key });
        let place = rank % PLACES;
        multiplexed.push(Dot { time_ms: time_ms + 0.002, server_qp: place, key });
    }
    Placement {
        title: "Made-up workload: 16 clients, 200 keys, 100 % writes".to_owned(),
        server_qps: (0..ROWS).map(|row| format!("0x{:06x}", 0x11 + row)).collect(),
        keys: (0..8).map(|rank| format!("user{}", 1_000 + rank * 379 % 997)).collect(),
        captured,
        multiplexed,
    }
}
