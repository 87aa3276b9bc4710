//! The switch's port towards a machine, or a middlebox.
//!
//! Packets that come from several machines wait there, in the order in which they come. The switch
//! cuts through, and `wire_ns` is all of the way when nothing waits: a frame whose last bit comes
//! now leaves now, unless those before it have kept the port. So nobody's bits are counted twice,
//! and a lone frame is not late. (Where the machine's link is slower than the sender's, a lone
//! frame is early by the difference.)

use crate::dice::Dice;
use crate::event::{NS, Ps, whole};
use crate::nic::Network;

/// Streams of chance that ports have.
const PORTS: u64 = 19;

/// A port, with its queue.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    /// When all that it has taken will have left.
    free: Ps,
    /// The longest time that a frame has made it busy ahead.
    busy_most: Ps,
    ps_per_byte: f64,
    network: Network,
    dice: Dice,
    pub(crate) counts: PortCounts,
}

/// What a port has seen. Bytes are those on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PortCounts {
    /// Frames that left, or will.
    pub(crate) passed: u64,
    /// Frames that found the queue full.
    pub(crate) dropped: u64,
    /// Frames that it marked.
    pub(crate) marked: u64,
    /// The longest queue that a frame has made.
    pub(crate) queue_most_bytes: u64,
    /// Sum over all frames of the queue that each found.
    pub(crate) queue_found_bytes: u64,
}

/// A frame that leaves a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    /// When its last bit does.
    pub(crate) leaves: Ps,
    /// Whether it says "congestion experienced" from there on.
    pub(crate) is_marked: bool,
}

impl Port {
    /// Port `number`, whose link has this rate.
    pub(crate) fn new(link_gbps: f64, network: &Network, seed: u64, number: u64) -> Self {
        Self {
            free: 0,
            busy_most: 0,
            ps_per_byte: 8.0 * NS as f64 / link_gbps,
            network: network.clone(),
            dice: Dice::new(seed, PORTS, number),
            counts: PortCounts::default(),
        }
    }

    /// It has these limits from now on.
    pub(crate) fn set_network(&mut self, network: &Network) {
        self.network = network.clone();
    }

    /// A frame comes; `None` if there is no room for it. Its sender may take part in ECN.
    pub(crate) fn pass(&mut self, now: Ps, bytes: f64, takes_part: bool) -> Option<Passage> {
        let waiting = match self.free.saturating_sub(now) {
            0 => 0.0,
            busy => busy as f64 / self.ps_per_byte,
        };
        if waiting + bytes > self.network.queue_bytes {
            self.counts.dropped += 1;
            return None;
        }
        let is_marked = takes_part && self.marks(waiting);
        self.free = now.max(self.free + whole(bytes * self.ps_per_byte));
        let counts = &mut self.counts;
        counts.passed += 1;
        counts.marked += u64::from(is_marked);
        counts.queue_found_bytes += waiting as u64;
        if self.free - now > self.busy_most {
            self.busy_most = self.free - now;
            counts.queue_most_bytes = (self.busy_most as f64 / self.ps_per_byte) as u64;
        }
        Some(Passage { leaves: self.free, is_marked })
    }

    /// Whether a frame is marked that finds so many bytes waiting: random early detection on the
    /// queue as it is (after Zhu et al., SIGCOMM 2015).
    fn marks(&mut self, waiting: f64) -> bool {
        let Network { ecn_kmin_bytes: least, ecn_kmax_bytes: most, .. } = self.network;
        if waiting <= least {
            return false;
        }
        let share = (waiting - least) / (most - least);
        waiting >= most || self.dice.has_share(share * self.network.ecn_pmax_share)
    }
}

#[cfg(test)]
mod tests {
    use super::{Network, Passage, Port};

    /// 100 Gbit/s: 80 ps per byte.
    fn port(change: impl FnOnce(&mut Network)) -> Port {
        let mut network = Network::default();
        change(&mut network);
        Port::new(100.0, &network, 1, 0)
    }

    #[test]
    fn who_comes_at_the_rate_of_the_port_does_not_wait() {
        let mut port = port(|_| ());
        for frame in 1..100 {
            let now = frame * 80_000;
            let passage = port.pass(now, 1_000.0, true);
            assert_eq!(passage, Some(Passage { leaves: now, is_marked: false }));
        }
        assert_eq!(port.counts.queue_most_bytes, 0);
    }

    #[test]
    fn who_comes_together_leaves_one_after_the_other_until_there_is_no_room() {
        let mut port = port(|network| network.queue_bytes = 10_000.0);
        let leaves: Vec<_> =
            (0..12).map_while(|_| port.pass(1_000_000, 1_000.0, false)).map(|p| p.leaves).collect();
        // The first has been passed on while it came.
        let expected: Vec<_> = (0..11).map(|n| 1_000_000 + n * 80_000).collect();
        assert_eq!(leaves, expected);
        assert_eq!((port.counts.dropped, port.counts.queue_most_bytes), (1, 10_000));
        assert!(port.pass(1_080_000, 1_000.0, false).is_some());
    }

    #[test]
    fn the_longer_the_queue_the_more_is_marked() {
        let share = |waiting: f64, takes_part| {
            let mut marked = 0;
            let mut port = port(|network| network.ecn_pmax_share = 0.2);
            for _ in 0..10_000 {
                port.free = 1_000_000 + (waiting * 80.0) as u64;
                marked += u32::from(port.pass(1_000_000, 1.0, takes_part).unwrap().is_marked);
            }
            f64::from(marked) / 10_000.0
        };
        assert_eq!(share(5_000.0, true), 0.0);
        assert!((share(102_500.0, true) - 0.1).abs() < 0.01);
        assert!((share(199_000.0, true) - 0.2).abs() < 0.01);
        assert_eq!(share(200_000.0, true), 1.0);
        assert_eq!(share(200_000.0, false), 0.0);
    }
}
