//! What a middlebox costs: cores that take frames from rings in bursts.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;

use super::frames::FrameId;
use crate::event::{NS, Ps, ps};
use crate::nic::{HandOff, Lock, ParamError, Server, Sourced, parameters};

parameters! {
    /// Everything that a middlebox costs. Times in ns, unless a name says otherwise.
    BoxParams;

    /// Cores that take frames; a connection's frames go to one of them (RSS).
    cores_count: 1..=256,
    /// Frames that a core takes at a time. A lone core sends when it has done all.
    burst_count: 1..=4096,
    /// Frames that wait for a core at most; what comes beyond is dropped.
    ring_count: 1..=1000000,
    /// Time of a core for a frame: receiving, reading and sending it.
    frame_ns: 0..=100000,
    /// More for a frame that is translated.
    mapped_ns: 0..=100000,
    /// More for each byte of a frame that is translated.
    byte_ns: 0..=1000,
    /// Time of a translated frame under the lock that all cores share.
    global_lock_ns: 0..=100000,
    /// Time that this lock takes from one core to the next, if it is contended.
    lock_handoff_ns: 0..=20000,
    /// More for each core that waits for it.
    lock_waiter_ns: 0..=5000,
    /// From the core that has done a frame to the one that sends it, where there are several: all
    /// that goes to one queue pair is sent by one core, so that it stays in order.
    handoff_ns: 0..=100000,
    /// Latency of a frame's passage besides its cores: adapters, PCIe, cables.
    latency_ns: 0..=1000000,
    /// Rate of each port, in Gbit/s.
    link_gbps: 1..=1000,
}

const FILES: [(&str, &str); 5] = [
    ("qpmux", include_str!("../../presets/middleboxes/qpmux.toml")),
    ("prototype", include_str!("../../presets/middleboxes/prototype.toml")),
    ("switch", include_str!("../../presets/middleboxes/switch.toml")),
    ("smartnic-on-path", include_str!("../../presets/middleboxes/smartnic-on-path.toml")),
    ("smartnic-off-path", include_str!("../../presets/middleboxes/smartnic-off-path.toml")),
];

/// Why there is no such middlebox.
#[derive(Debug, thiserror::Error)]
pub enum BoxError {
    /// No preset has this name.
    #[error("no middlebox `{0}`; there are {list}", list = FILES.map(|(name, _)| name).join(", "))]
    Unknown(String),
    /// It cannot be read.
    #[error("middlebox {0}: {1}")]
    Syntax(&'static str, #[source] toml::de::Error),
    /// Its parameters are none.
    #[error("middlebox {0}: {1}")]
    Params(&'static str, #[source] ParamError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "title")]
    _title: String,
    parameters: BTreeMap<String, Sourced>,
}

impl BoxParams {
    /// The middlebox of that name.
    ///
    /// # Errors
    /// When there is none, or its file is wrong.
    pub fn load(name: &str) -> Result<Self, BoxError> {
        let found = FILES.iter().find(|(known, _)| *known == name);
        let &(name, text) = found.ok_or_else(|| BoxError::Unknown(name.to_owned()))?;
        let file: File = toml::from_str(text).map_err(|error| BoxError::Syntax(name, error))?;
        Self::from_sourced(&file.parameters).map_err(|error| BoxError::Params(name, error))
    }
}

/// A core with its ring.
#[derive(Debug, Default)]
pub(super) struct Core {
    ring: VecDeque<FrameId>,
    /// What is left of the burst that it has taken.
    pub(super) burst: VecDeque<FrameId>,
    /// What the burst has made so far.
    pub(super) out: Vec<FrameId>,
    pub(super) is_busy: bool,
}

/// Cores, their lock and the ports.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) cores: Vec<Core>,
    pub(super) lock: Lock,
    pub(super) hand_off: HandOff,
    /// Towards clients, and towards servers.
    pub(super) ports: [Server; 2],
    params: BoxParams,
    pub(super) counts: BoxCounts,
}

/// What a middlebox has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct BoxCounts {
    /// Frames that came, and bytes of theirs.
    pub received: u64,
    /// See [`BoxCounts::received`].
    pub received_bytes: u64,
    /// Frames that found their ring full.
    pub dropped: u64,
    /// Frames that left.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Frames that were translated.
    pub translated: u64,
    /// Time that cores worked, ps, all together.
    pub busy_ps: u64,
}

impl Station {
    pub(super) fn new(params: &BoxParams) -> Self {
        let cores = (params.cores_count as usize).max(1);
        Self {
            cores: (0..cores).map(|_| Core::default()).collect(),
            lock: Lock::default(),
            hand_off: HandOff::of(params.lock_handoff_ns, params.lock_waiter_ns),
            ports: [Server::default(); 2],
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

    /// Time of a core for a frame, outside the lock and under it.
    pub(super) fn times(&mut self, bytes: usize, is_translated: bool) -> (Ps, Ps) {
        let params = &self.params;
        self.counts.translated += u64::from(is_translated);
        let (work, locked) = match is_translated {
            false => (params.frame_ns, 0.0),
            true => (
                params.frame_ns + params.mapped_ns + params.byte_ns * bytes as f64,
                params.global_lock_ns,
            ),
        };
        self.counts.busy_ps += ps(work + locked);
        (ps(work), ps(locked))
    }

    /// Whether a core keeps what it has done until the burst's end; if not, how long it takes
    /// to the core that sends it.
    pub(super) fn hand_over(&self) -> Option<Ps> {
        (self.cores.len() > 1).then(|| ps(self.params.handoff_ns))
    }

    /// When a frame that leaves at one of the ports is at the other end.
    pub(super) fn send(&mut self, now: Ps, to_server: bool, bytes: usize) -> Ps {
        self.counts.sent += 1;
        self.counts.sent_bytes += bytes as u64;
        // Preamble, check sequence and gap: IEEE 802.3.
        let time = (bytes as f64 + 24.0) * 8.0 * NS as f64 / self.params.link_gbps;
        let left = self.ports[usize::from(to_server)].reserve(now, time.round() as Ps);
        // The last bit of a lone frame left the sender's port as late: a port that is free adds
        // nothing.
        let queued = left - now - time.round() as Ps;
        now + queued + ps(self.params.latency_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::{BoxParams, FILES, Station};
    use crate::cluster::frames::Frames;

    #[test]
    fn all_presets_can_be_read() {
        for (name, _) in FILES {
            BoxParams::load(name).unwrap();
        }
    }

    #[test]
    fn a_ring_has_an_end_and_a_burst_as_well() {
        let mut params = BoxParams::load("qpmux").unwrap();
        (params.ring_count, params.burst_count) = (5.0, 3.0);
        let mut station = Station::new(&params);
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
}
