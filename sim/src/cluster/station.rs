//! What a middlebox costs: cores that take frames from rings in bursts, the locks that they share,
//! and cores that send.

use std::collections::{BTreeMap, VecDeque};

use super::frames::FrameId;
use super::order::Order;
use crate::event::{NS, Ps, ps, whole};
use crate::nic::{HandOff, Lock, Named, PresetError, Server, Sourced, parameters};

parameters! {
    /// Everything that a middlebox costs. Times in ns, unless a name says otherwise.
    BoxParams;

    /// Cores that take frames where none is translated, each from receiving to sending; a
    /// connection's frames go to one of them (RSS).
    cores_count: 1..=256,
    /// Cores that take frames where they are translated.
    mapping_cores_count: 1..=256,
    /// Cores that then only send: all that goes to one queue pair is sent by one of them. With
    /// none, whoever has translated a frame sends it.
    sending_cores_count: 0..=256,
    /// Frames that a core takes at a time. One that sends by itself does so when it has done all.
    burst_count: 1..=4096,
    /// Frames that wait for a core at most; what comes beyond is dropped.
    ring_count: 1..=1000000,
    /// Time of a core for a frame: receiving and reading it, and sending it if no other core does.
    frame_ns: 0..=100000,
    /// More for a frame that is translated, outside of locks.
    mapped_ns: 0..=100000,
    /// Time of a sending core for a frame.
    send_ns: 0..=100000,
    /// More for each byte of a frame that is translated, where it is sent.
    byte_ns: 0..=1000,
    /// Where requests are steered: time under the lock that all cores share, of a WRITE of a list's
    /// version and of a compare-and-swap.
    global_lock_ns: 0..=100000,
    /// Time of a translated frame under the lock of its server queue pair's state.
    connection_lock_ns: 0..=100000,
    /// Time that a lock takes from one core to the next, if it is contended.
    lock_handoff_ns: 0..=20000,
    /// More for each core that waits for it.
    lock_waiter_ns: 0..=5000,
    /// From the core that has translated a frame to the one that sends it.
    handoff_ns: 0..=100000,
    /// Latency of a frame's passage besides its cores: adapters, PCIe, cables.
    latency_ns: 0..=1000000,
    /// Rate of each port, in Gbit/s.
    link_gbps: 1..=1000,
}

/// Middleboxes that are known by name.
const MIDDLEBOXES: Named = Named::new(
    "middlebox",
    &[
        ("qpmux", include_str!("../../presets/middleboxes/qpmux.toml")),
        ("prototype", include_str!("../../presets/middleboxes/prototype.toml")),
        ("switch", include_str!("../../presets/middleboxes/switch.toml")),
        ("smartnic-on-path", include_str!("../../presets/middleboxes/smartnic-on-path.toml")),
        ("smartnic-off-path", include_str!("../../presets/middleboxes/smartnic-off-path.toml")),
    ],
);

impl BoxParams {
    /// The middlebox of that name.
    ///
    /// # Errors
    /// When there is none, or its file is wrong.
    pub fn load(name: &str) -> Result<Self, PresetError> {
        MIDDLEBOXES.load(name)?.params(Self::from_sourced)
    }

    /// The values of that name, and where they are from.
    ///
    /// # Errors
    /// When there are none, or their file is wrong.
    pub fn sourced(name: &str) -> Result<BTreeMap<String, Sourced>, PresetError> {
        Ok(MIDDLEBOXES.load(name)?.sourced)
    }

    /// The names of all.
    pub fn names() -> impl Iterator<Item = &'static str> {
        MIDDLEBOXES.names()
    }
}

/// A core with its ring.
#[derive(Debug, Default)]
pub(super) struct Core {
    ring: VecDeque<FrameId>,
    /// What is left of the burst that it has taken.
    pub(super) burst: VecDeque<FrameId>,
    /// What it has made of the frame before.
    pub(super) made: Vec<FrameId>,
    /// What the burst has made so far.
    pub(super) out: Vec<FrameId>,
    /// The connection whose server queue pair's state it changes.
    pub(super) connection: usize,
    is_busy: bool,
}

/// Cores, their locks and the ports.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) cores: Vec<Core>,
    /// Cores that only send.
    senders: Vec<Server>,
    /// Around steering.
    pub(super) steering: Lock,
    /// Around the state of each connection's server queue pair.
    pub(super) states: Vec<Lock>,
    pub(super) hand_off: HandOff,
    /// What is to be sent, in order.
    pub(super) order: Order,
    /// Towards clients, and towards servers.
    ports: [Server; 2],
    translates: bool,
    params: BoxParams,
    pub(super) counts: BoxCounts,
}

/// What a middlebox has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, schemars::JsonSchema, serde::Serialize)]
pub struct BoxCounts {
    /// Frames that came.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Frames that found their ring full.
    pub dropped: u64,
    /// Frames that left.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Frames that were translated.
    pub translated: u64,
    /// Time that cores worked, those that send included, ps, all together.
    pub busy_ps: u64,
}

impl Station {
    /// One for so many connections, whose frames are translated or only looked at.
    pub(super) fn new(params: &BoxParams, translates: bool, connections: usize) -> Self {
        let (cores, senders) = match translates {
            true => (params.mapping_cores_count, params.sending_cores_count),
            false => (params.cores_count, 0.0),
        };
        Self {
            cores: (0..(cores as usize).max(1)).map(|_| Core::default()).collect(),
            senders: vec![Server::default(); senders as usize],
            steering: Lock::default(),
            states: vec![Lock::default(); connections],
            hand_off: HandOff::of(params.lock_handoff_ns, params.lock_waiter_ns),
            order: Order::new(2 * connections),
            ports: [Server::default(); 2],
            translates,
            params: params.clone(),
            counts: BoxCounts::default(),
        }
    }

    /// A frame of a connection comes. The core that is to begin, if it has nothing to do; or that
    /// the frame found no room.
    pub(super) fn receive(
        &mut self,
        connection: usize,
        frame: FrameId,
    ) -> Result<Option<usize>, ()> {
        let number = connection % self.cores.len();
        let core = &mut self.cores[number];
        if core.ring.len() >= self.params.ring_count as usize {
            self.counts.dropped += 1;
            return Err(());
        }
        core.ring.push_back(frame);
        let begins = !core.is_busy;
        core.is_busy = true;
        Ok(begins.then_some(number))
    }

    /// A core takes its next burst. Whether there was one.
    pub(super) fn take_burst(&mut self, number: usize) -> bool {
        let core = &mut self.cores[number];
        let count = core.ring.len().min(self.params.burst_count as usize);
        core.burst.extend(core.ring.drain(..count));
        core.is_busy = count > 0;
        core.is_busy
    }

    /// Time of a core for a frame, outside of locks.
    pub(super) fn work(&mut self, bytes: usize) -> Ps {
        let params = &self.params;
        self.counts.translated += u64::from(self.translates);
        let time = match (self.translates, self.senders.is_empty()) {
            (false, _) => params.frame_ns,
            (true, false) => params.frame_ns + params.mapped_ns,
            (true, true) => params.frame_ns + params.mapped_ns + params.byte_ns * bytes as f64,
        };
        self.worked(time)
    }

    /// Time of a frame that is steered under the lock around it.
    pub(super) fn steering_work(&mut self) -> Ps {
        self.worked(self.params.global_lock_ns)
    }

    /// Whether the state of a server queue pair has a lock.
    pub(super) fn locks_states(&self) -> bool {
        self.translates && self.params.connection_lock_ns > 0.0
    }

    /// Time of a frame under that lock.
    pub(super) fn state_work(&mut self) -> Ps {
        self.worked(self.params.connection_lock_ns)
    }

    fn worked(&mut self, ns: f64) -> Ps {
        self.counts.busy_ps += ps(ns);
        ps(ns)
    }

    /// How long what a core has made takes to the one that sends it, if it does not do so itself.
    pub(super) fn hand_over(&self) -> Option<Ps> {
        (!self.senders.is_empty()).then(|| ps(self.params.handoff_ns))
    }

    /// When the core that sends to this queue pair has sent a frame; `None` if it is sent now.
    pub(super) fn sent_by_core(&mut self, now: Ps, to: u32, bytes: usize) -> Option<Ps> {
        let number = (to as usize / 2).checked_rem(self.senders.len())?;
        let time = self.worked(self.params.send_ns + self.params.byte_ns * bytes as f64);
        Some(self.senders[number].reserve(now, time))
    }

    /// When a frame that leaves at one of the ports is at the other end.
    pub(super) fn send(&mut self, now: Ps, to_server: bool, bytes: usize) -> Ps {
        self.counts.sent += 1;
        self.counts.sent_bytes += bytes as u64;
        // Preamble, check sequence and gap: IEEE 802.3.
        let time = whole((bytes as f64 + 24.0) * 8.0 * NS as f64 / self.params.link_gbps);
        let left = self.ports[usize::from(to_server)].reserve(now, time);
        // The last bit of a lone frame left the sender's port as late: a port that is free adds
        // nothing.
        let queued = left - now - time;
        now + queued + ps(self.params.latency_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::{BoxParams, Station};
    use crate::cluster::frames::Frames;
    use crate::event::{NS, ps};

    #[test]
    fn all_presets_can_be_read() {
        for name in BoxParams::names() {
            BoxParams::load(name).unwrap();
        }
    }

    #[test]
    fn a_ring_has_an_end_and_a_burst_as_well() {
        let mut params = BoxParams::load("qpmux").unwrap();
        (params.ring_count, params.burst_count) = (5.0, 3.0);
        let mut station = Station::new(&params, true, 1);
        let mut frames = Frames::default();
        let mut frame = || frames.write(0, None, |_| Some(64)).unwrap();
        assert_eq!(station.receive(0, frame()), Ok(Some(0)));
        for _ in 0..4 {
            assert_eq!(station.receive(0, frame()), Ok(None));
        }
        assert_eq!(station.receive(0, frame()), Err(()));
        let mut bursts = Vec::new();
        while station.take_burst(0) {
            bursts.push(station.cores[0].burst.drain(..).count());
        }
        assert_eq!((bursts, station.counts.dropped), (vec![3, 2], 1));
    }

    #[test]
    fn a_queue_pair_has_one_of_the_cores_that_send() {
        let mut params = BoxParams::load("prototype").unwrap();
        (params.sending_cores_count, params.send_ns, params.byte_ns) = (2.0, 100.0, 1.0);
        let mut station = Station::new(&params, true, 4);
        let ends = [1, 5, 3, 0].map(|to| station.sent_by_core(0, to, 50));
        let expected = [150, 300, 150, 450].map(|ns| Some(ns * NS));
        assert_eq!(ends, expected, "connections 0 and 2 have one core, 1 and 3 the other");
        assert_eq!(station.work(1_000), ps(params.frame_ns + params.mapped_ns));
        params.sending_cores_count = 0.0;
        let mut station = Station::new(&params, true, 4);
        assert_eq!(station.sent_by_core(0, 1, 50), None);
        assert_eq!(station.work(1_000), ps(params.frame_ns + params.mapped_ns + 1_000.0));
    }

    #[test]
    fn who_only_looks_at_frames_uses_all_cores_and_sends_at_once() {
        let params = BoxParams::load("prototype").unwrap();
        let mut station = Station::new(&params, false, 4);
        assert_eq!((station.cores.len(), station.hand_over()), (14, None));
        assert_eq!((station.work(1_000), station.locks_states()), (ps(params.frame_ns), false));
        assert_eq!(station.sent_by_core(0, 1, 50), None);
    }
}
