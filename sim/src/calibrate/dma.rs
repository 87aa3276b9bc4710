//! Reads over PCIe alone, as pcie-bench and the vendor's counters measure them.

use super::setup::{Access, DmaSetup, LatencyUs, Measured, Warmth};
use crate::dice::Dice;
use crate::event::{NS, Ps};
use crate::nic::{Params, Pcie, Place};

/// Reads before those that are measured, so that what the IOMMU holds and what is on its way are
/// as they stay.
const WARM_UP: usize = 300;
/// Least number of reads that are measured.
const READS: usize = 1_000;
/// A lone read comes so long after the one before, ps; it need only be later.
const PAUSE: Ps = 100 * NS;
/// Bytes of a line of the cache.
const LINE: u64 = 64;

/// What is read at random.
struct Window {
    lines: u64,
    cached_bytes: f64,
    page_bytes: Option<u64>,
    dice: Dice,
}

impl Window {
    fn new(params: &Params, setup: &DmaSetup, seed: u64) -> Self {
        let cached_bytes = match setup.warmth {
            Warmth::Cold => 0.0,
            Warmth::Host => params.llc_bytes,
            Warmth::Device => params.ddio_bytes,
        };
        Self {
            lines: (setup.window_bytes / LINE).max(1),
            cached_bytes,
            page_bytes: setup.iommu.then_some(params.iotlb_page_bytes as u64),
            dice: Dice::new(seed, 1, 0),
        }
    }

    fn next(&mut self) -> Place {
        let address = self.dice.below(self.lines) * LINE;
        Place {
            cached: (address as f64) < self.cached_bytes,
            page: self.page_bytes.map(|bytes| address / bytes.max(1)),
        }
    }
}

/// Measures what the setup says on an adapter with these parameters.
pub(super) fn measure(params: &Params, setup: &DmaSetup, seed: u64) -> Measured {
    let mut pcie = Pcie::new(params, Dice::new(seed, 0, 0));
    let mut window = Window::new(params, setup, seed);
    match setup.access {
        Access::Flood => flood(&mut pcie, &mut window, setup),
        Access::Reads(reads) => one_by_one(&mut pcie, &mut window, setup, reads, false),
        Access::WriteReads(reads) => one_by_one(&mut pcie, &mut window, setup, reads, true),
    }
}

fn flood(pcie: &mut Pcie, window: &mut Window, setup: &DmaSetup) -> Measured {
    let bytes = u64::from(setup.bytes);
    // All are asked for at once: each starts when there is a tag for it.
    let mut read = |reads| (0..reads).map(|_| pcie.read_from(0, bytes, window.next())).max();
    let start = read(WARM_UP).unwrap_or(0);
    let time = read(READS).unwrap_or(0).saturating_sub(start);
    Measured { mops: READS as f64 / us(time), ..Measured::default() }
}

fn one_by_one(
    pcie: &mut Pcie,
    window: &mut Window,
    setup: &DmaSetup,
    reads: u32,
    write: bool,
) -> Measured {
    let bytes = u64::from(setup.bytes);
    let mut now = 0;
    let mut lone = || {
        let place = window.next();
        let start = if write { pcie.written(now, bytes) } else { now };
        let there = pcie.read_from(start, bytes, place);
        let latency = there - now;
        now = there + PAUSE;
        latency
    };
    (0..WARM_UP).for_each(|_| {
        lone();
    });
    // Least and greatest depend on how many are measured: as many as were, many times over.
    let reads = reads.max(1) as usize;
    let times = READS.div_ceil(reads);
    let mut all: Vec<Ps> = (0..reads * times).map(|_| lone()).collect();
    let mean_of =
        |of: fn(&[Ps]) -> Ps| all.chunks(reads).map(|run| us(of(run))).sum::<f64>() / times as f64;
    let least = mean_of(|run| run.iter().copied().min().unwrap_or(0));
    let most = mean_of(|run| run.iter().copied().max().unwrap_or(0));
    let mean = us(all.iter().sum()) / all.len() as f64;
    let middle = all.len() / 2;
    let (_, &mut median, _) = all.select_nth_unstable(middle);
    let latency_us = LatencyUs { mean, median: us(median), least, most };
    Measured { mops: 1.0 / mean, latency_us, ..Measured::default() }
}

fn us(time: Ps) -> f64 {
    time as f64 / (1_000 * NS) as f64
}

#[cfg(test)]
mod tests {
    use super::measure;
    use crate::calibrate::setup::{Access, DmaSetup, Warmth};
    use crate::nic::Preset;

    const SETUP: DmaSetup = DmaSetup {
        access: Access::Flood,
        bytes: 64,
        window_bytes: 1 << 20,
        warmth: Warmth::Host,
        iommu: false,
    };

    #[test]
    fn rate_and_latency_keep_littles_law() {
        let params = Preset::load("nfp6000").unwrap().params;
        let rate = measure(&params, &SETUP, 1).mops;
        let lone = DmaSetup { access: Access::Reads(1000), ..SETUP };
        let latency = measure(&params, &lone, 1).latency_us.mean;
        let on_way = rate * latency;
        assert!((on_way / params.pcie_reads_count - 1.0).abs() < 0.03, "{on_way}");
    }

    #[test]
    fn a_window_larger_than_what_the_iommu_holds_is_bounded_by_its_walks() {
        let params = Preset::load("nfp6000").unwrap().params;
        let setup = DmaSetup { iommu: true, window_bytes: 1 << 26, ..SETUP };
        let rate = measure(&params, &setup, 1).mops;
        let walks = params.page_walks_count / params.page_walk_ns * 1e3;
        assert!((rate / walks - 1.0).abs() < 0.02, "{rate} of {walks}");
        let held = DmaSetup { window_bytes: 1 << 18, ..setup };
        assert!(measure(&params, &held, 1).mops > 2.0 * rate);
    }

    #[test]
    fn more_reads_have_a_greater_greatest() {
        let params = Preset::load("connectx-6").unwrap().params;
        let of = |reads| {
            let setup = DmaSetup { access: Access::Reads(reads), ..SETUP };
            measure(&params, &setup, 1).latency_us
        };
        let (few, many) = (of(10), of(1000));
        assert!(few.most < many.most && few.least > many.least);
        assert!((few.mean - many.mean).abs() < 1e-3 && few.median < few.mean);
    }
}
