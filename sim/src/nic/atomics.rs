//! Words that are kept while somebody works on them.
//!
//! An atomic keeps its word from its read until its write, in host memory a PCIe round trip, and
//! the queue pair that it came on as long (SwordBox, NSDI'23, challenges: one address, one queue
//! pair). READs of one address wait for each other as well, for a shorter time.

use std::collections::HashMap;

use qpmux_workloads::Mixed;

use super::params::Params;
use super::server::Server;
use crate::event::{Ps, ps};

/// Words that may be in the map before those are dropped that are free.
const USED: usize = 256;

/// What is done to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
    CompareSwap,
    FetchAdd,
}

/// The words of one adapter's host that are in use, by the lock that stands for them.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    locks: u64,
    used: HashMap<u64, Server, Mixed>,
    /// With so many it is looked which of them are free again.
    used_most: usize,
    /// Times by kind, in host and device memory, ps.
    times: [[Ps; 2]; 4],
    /// Time that requests have waited for their word, ps.
    pub(crate) waited: Ps,
}

impl Words {
    pub(crate) fn new(params: &Params) -> Self {
        let device = ps(params.access_device_ns);
        Self {
            locks: params.atomic_locks_count as u64,
            used: HashMap::default(),
            used_most: USED,
            times: [
                [ps(params.read_host_ns), device],
                [0, device],
                [ps(params.cas_host_ns), ps(params.cas_device_ns)],
                [ps(params.faa_host_ns), ps(params.faa_device_ns)],
            ],
            waited: 0,
        }
    }

    /// A request may begin at `now`. When it begins and ends to work on its word.
    pub(crate) fn reserve(
        &mut self,
        now: Ps,
        kind: Kind,
        address: u64,
        in_device: bool,
    ) -> (Ps, Ps) {
        let service = self.times[kind as usize][usize::from(in_device)];
        if service == 0 {
            return (now, now);
        }
        let lock = match kind {
            Kind::CompareSwap | Kind::FetchAdd => (address >> 3) % self.locks,
            // READs wait for READs of the same address only.
            Kind::Read | Kind::Write => address | 1 << 63,
        };
        if self.used.len() >= self.used_most {
            // Who is free is as good as one that was never used.
            self.used.retain(|_, word| word.free() > now);
            self.used_most = USED.max(2 * self.used.len());
        }
        let end = self.used.entry(lock).or_default().reserve(now, service);
        self.waited += end - service - now;
        (end - service, end)
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Words};
    use crate::nic::Preset;

    #[test]
    fn one_word_is_kept_and_others_are_free() {
        let params = Preset::load("connectx-5").unwrap().params;
        let mut words = Words::new(&params);
        let cas = (params.cas_host_ns * 1_000.0) as u64;
        assert_eq!(words.reserve(0, Kind::CompareSwap, 64, false), (0, cas));
        assert_eq!(words.reserve(0, Kind::CompareSwap, 64, false), (cas, 2 * cas));
        assert_eq!(words.reserve(0, Kind::CompareSwap, 72, false), (0, cas));
        assert_eq!(words.waited, cas);
    }

    #[test]
    fn writes_to_host_memory_wait_for_nobody() {
        let params = Preset::load("connectx-5").unwrap().params;
        let mut words = Words::new(&params);
        assert_eq!(words.reserve(7, Kind::Write, 64, false), (7, 7));
        assert_eq!(words.reserve(7, Kind::Write, 64, false), (7, 7));
    }
}
