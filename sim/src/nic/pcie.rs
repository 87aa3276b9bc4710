//! Reads over PCIe, as the adapter sees them.
//!
//! A read needs a tag until its data is there, and there is a bounded number of them: with
//! latencies of half a microsecond this, more than the link, bounds how many small reads per second
//! an adapter can do (Neugebauer et al., "Understanding PCIe performance for end host networking",
//! SIGCOMM 2018).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::params::Params;
use crate::dice::Dice;
use crate::event::{Ps, ps};

/// What has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PcieCounts {
    /// Reads.
    pub reads: u64,
    /// Bytes that they brought.
    pub bytes: u64,
    /// Time that reads have waited for tags, all together, ps.
    pub tag_wait: Ps,
}

/// What the host needs for a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whether its last-level cache has what is read.
    pub cached: bool,
    /// The page, if an IOMMU has to translate it.
    pub page: Option<u64>,
}

impl Place {
    /// In the cache, and no IOMMU: the least that a read takes.
    pub const NEAR: Self = Self { cached: true, page: None };
}

/// The host's IOMMU: it holds some translations and looks some up at a time.
#[derive(Clone, Debug)]
struct Iommu {
    /// The page whose translation each entry holds; a page has one entry only where it can be.
    pages: Vec<Option<u64>>,
    /// When each of the walkers is free.
    walkers: BinaryHeap<Reverse<Ps>>,
    walk: Ps,
}

impl Iommu {
    fn new(params: &Params) -> Self {
        let walkers = (params.page_walks_count as usize).max(1);
        Self {
            pages: vec![None; (params.iotlb_count as usize).max(1)],
            walkers: std::iter::repeat_n(Reverse(0), walkers).collect(),
            walk: ps(params.page_walk_ns),
        }
    }

    /// When a translation that is needed at `now` is there.
    fn translate(&mut self, now: Ps, page: u64) -> Ps {
        let entry = (page % self.pages.len() as u64) as usize;
        if self.pages[entry] == Some(page) {
            return now;
        }
        self.pages[entry] = Some(page);
        let Some(mut walker) = self.walkers.peek_mut() else { return now };
        walker.0 = walker.0.max(now) + self.walk;
        walker.0
    }
}

/// The adapter's way to the host's memory.
#[derive(Clone, Debug)]
pub struct Pcie {
    /// When each tag that is taken is free again; at most `tags`.
    taken: BinaryHeap<Reverse<Ps>>,
    tags: usize,
    least: Ps,
    jitter: f64,
    byte: f64,
    /// Time of a byte on the link.
    link_byte: f64,
    /// When the link will have brought what has been asked for.
    link_free: Ps,
    cache_miss: Ps,
    write: Ps,
    iommu: Iommu,
    dice: Dice,
    counts: PcieCounts,
}

impl Pcie {
    /// Nothing is on its way.
    #[must_use]
    pub(crate) fn new(params: &Params, dice: Dice) -> Self {
        let tags = (params.pcie_reads_count as usize).max(1);
        Self {
            taken: BinaryHeap::with_capacity(tags),
            tags,
            least: ps(params.pcie_read_ns),
            jitter: params.pcie_jitter_ns,
            byte: params.pcie_byte_ns,
            link_byte: 8.0 / params.pcie_gbps,
            link_free: 0,
            cache_miss: ps(params.llc_miss_ns),
            write: ps(params.pcie_write_ns),
            iommu: Iommu::new(params),
            dice,
            counts: PcieCounts::default(),
        }
    }

    /// Reads from memory; says when the data is there. `now` is never less than it was before.
    pub fn read(&mut self, now: Ps, bytes: u64) -> Ps {
        self.read_from(now, bytes, Place::NEAR)
    }

    /// The same, from what the host may have to fetch or translate first.
    pub fn read_from(&mut self, now: Ps, bytes: u64, place: Place) -> Ps {
        let start = self.tag(now);
        // Of the link only the queue counts: an unloaded read's own bytes are in `pcie_byte_ns`.
        let on_link = self.link_free.max(start);
        self.link_free = on_link + ps(bytes as f64 * self.link_byte);
        let found = place.page.map_or(start, |page| self.iommu.translate(start, page));
        let fetch = if place.cached { 0 } else { self.cache_miss };
        let latency = self.least + ps(bytes as f64 * self.byte + self.late());
        let there = found.max(on_link) + fetch + latency;
        self.taken.push(Reverse(there));
        self.counts.reads += 1;
        self.counts.bytes += bytes;
        there
    }

    /// Writes to memory; says from when on a read behind it is held up by it no longer.
    #[must_use]
    pub fn written(&self, now: Ps, bytes: u64) -> Ps {
        now + self.write + ps(bytes as f64 * self.byte)
    }

    /// What has been read until now.
    #[must_use]
    pub fn counts(&self) -> PcieCounts {
        self.counts
    }

    /// When a read of this moment has a tag.
    fn tag(&mut self, now: Ps) -> Ps {
        if self.taken.len() < self.tags {
            return now;
        }
        let free = self.taken.pop().map_or(now, |Reverse(free)| free);
        let start = free.max(now);
        self.counts.tag_wait += start - now;
        start
    }

    /// By how many ns a read is later than the least, exponentially distributed.
    fn late(&mut self) -> f64 {
        self.dice.exponential(self.jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::{Pcie, Place};
    use crate::dice::Dice;
    use crate::event::{NS, Ps};
    use crate::nic::{Params, Preset};

    fn params(change: impl Fn(&mut Params)) -> Params {
        let mut params = Preset::load("connectx-5").unwrap().params;
        change(&mut params);
        params
    }

    /// Reads one after the other, as many as there are tags at a time; the time they take, ps.
    fn flood(params: &Params, reads: u64, bytes: u64) -> (Ps, Pcie) {
        let mut pcie = Pcie::new(params, Dice::new(1, 0, 0));
        let last = (0..reads).map(|_| pcie.read(0, bytes)).max().unwrap_or(0);
        (last, pcie)
    }

    #[test]
    fn as_many_are_on_their_way_as_there_are_tags() {
        // Little's law: tags = rate * mean latency, if nothing else is short.
        for (tags, jitter) in [(1.0, 0.0), (8.0, 50.0), (34.0, 50.0), (64.0, 200.0)] {
            let params = params(|params| {
                params.pcie_reads_count = tags;
                params.pcie_jitter_ns = jitter;
                params.pcie_gbps = 1000.0;
            });
            let reads = 100_000;
            let (time, pcie) = flood(&params, reads, 64);
            let latency = params.pcie_read_ns + jitter + 64.0 * params.pcie_byte_ns;
            let on_way = reads as f64 / time as f64 * latency * NS as f64;
            assert!((on_way / tags - 1.0).abs() < 0.02, "{on_way} of {tags}");
            assert!(pcie.counts().tag_wait > 0);
        }
    }

    #[test]
    fn the_link_bounds_large_reads() {
        let params = params(|params| {
            params.pcie_reads_count = 4096.0;
            params.pcie_gbps = 50.0;
        });
        let (time, pcie) = flood(&params, 100_000, 4096);
        let gbps = pcie.counts().bytes as f64 * 8.0 / (time as f64 / NS as f64);
        assert!((gbps / 50.0 - 1.0).abs() < 0.01, "{gbps}");
    }

    #[test]
    fn a_lone_read_takes_its_latency_and_waits_for_nothing() {
        let params = params(|params| params.pcie_jitter_ns = 0.0);
        let mut pcie = Pcie::new(&params, Dice::new(1, 0, 0));
        let expected = params.pcie_read_ns + 1000.0 * params.pcie_byte_ns;
        assert_eq!(pcie.read(7 * NS, 1000), 7 * NS + (expected * NS as f64).round() as Ps);
        assert_eq!(pcie.counts().tag_wait, 0);
    }

    #[test]
    fn jitter_has_its_mean_and_never_makes_a_read_early() {
        let params = params(|params| params.pcie_jitter_ns = 80.0);
        let mut pcie = Pcie::new(&params, Dice::new(3, 0, 0));
        let mut now = 0;
        let least = ((params.pcie_read_ns + 64.0 * params.pcie_byte_ns) * NS as f64) as Ps;
        let mut late = 0;
        for _ in 0..100_000 {
            let there = pcie.read(now, 64);
            assert!(there - now >= least);
            late += there - now - least;
            now = there;
        }
        let mean = late as f64 / 100_000.0 / NS as f64;
        assert!((mean / 80.0 - 1.0).abs() < 0.02, "{mean}");
    }

    #[test]
    fn nothing_is_allocated_after_construction() {
        let params = params(|params| params.pcie_reads_count = 16.0);
        let mut pcie = Pcie::new(&params, Dice::new(1, 0, 0));
        let capacity = pcie.taken.capacity();
        for now in 0..10_000 {
            pcie.read(now * NS, 64);
        }
        assert_eq!(pcie.taken.capacity(), capacity);
        assert!(pcie.taken.len() <= 16);
    }

    #[test]
    fn translations_that_are_held_cost_nothing_and_walks_are_bounded() {
        let params = params(|params| params.pcie_jitter_ns = 0.0);
        let mut pcie = Pcie::new(&params, Dice::new(1, 0, 0));
        let at = |page| Place { cached: true, page: Some(page) };
        let walk = params.page_walk_ns as Ps * NS;
        let lone = pcie.read(0, 0);
        assert_eq!(pcie.read_from(0, 0, at(7)), lone + walk);
        assert_eq!(pcie.read_from(0, 0, at(7)), lone, "held");
        let other = 7 + params.iotlb_count as u64;
        let walks = params.page_walks_count as u64;
        let there: Vec<_> = (0..walks).map(|n| pcie.read_from(0, 0, at(other + n))).collect();
        assert!(there[..there.len() - 1].iter().all(|&time| time == lone + walk));
        assert_eq!(there[there.len() - 1], lone + 2 * walk, "all walkers are busy");
        assert_eq!(pcie.read_from(4 * walk, 0, at(7)), 4 * walk + lone + walk, "it was displaced");
    }

    #[test]
    fn what_the_cache_does_not_have_takes_longer() {
        let params = params(|params| params.pcie_jitter_ns = 0.0);
        let mut pcie = Pcie::new(&params, Dice::new(1, 0, 0));
        let near = pcie.read(0, 0);
        let far = pcie.read_from(0, 0, Place { cached: false, page: None });
        assert_eq!(far - near, params.llc_miss_ns as Ps * NS);
    }
}
