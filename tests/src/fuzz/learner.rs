//! The bytes are frames, each behind its length (two bytes) and the time since the last one.

use qpmux_engine::connections::{Config, Event, Learner};
use qpmux_engine::wire::{Classified, NotRc, classify};

use super::bytes::Bytes;

/// Frames of one input.
const FRAMES_MAX: usize = 400;

/// A learner, and what it has said so far.
pub(super) struct Watched {
    learner: Learner,
    config: Config,
    now_ns: u64,
    alive: usize,
}

impl Watched {
    /// With so little room that every limit is met.
    pub(super) fn new() -> Self {
        let config = Config {
            flows_max: 12,
            connections_max: 4,
            handshakes_max: 3,
            recent_requests: 16,
            candidates_max: 4,
            source_port_matches: 1,
            psn_matches: 2,
            epoch_requests: 2,
            flow_idle_ns: 1_000_000,
            connection_idle_ns: 1_000_000_000,
            ..Config::default()
        };
        Self { learner: Learner::new(config), config, now_ns: 0, alive: 0 }
    }

    pub(super) fn wait(&mut self, pause_ns: u64) {
        self.now_ns += pause_ns;
    }

    /// Shows it a frame. Its ICRC is not looked at: most would be wrong.
    pub(super) fn see(&mut self, frame: &[u8]) {
        match classify(frame) {
            Ok(Classified::Rc(layout)) => {
                let seen = self.learner.observe(self.now_ns, &layout, frame);
                let (from, to) = (layout.source, layout.destination);
                assert_eq!(self.learner.lookup(from, to, layout.dest_qp), seen);
            }
            Ok(Classified::Other(NotRc::Cm(layout))) => {
                self.learner.observe_mad(self.now_ns, &layout, frame);
            }
            _ => {}
        }
        self.check();
    }

    fn check(&mut self) {
        while let Some(event) = self.learner.poll_event() {
            match event {
                Event::ConnectionLearnt(_) => self.alive += 1,
                Event::ConnectionEnded { .. } => self.alive -= 1,
            }
        }
        let connections: Vec<_> = self.learner.connections().copied().collect();
        assert_eq!(connections.len(), self.alive, "what was told is what is known");
        assert!(connections.len() <= self.config.connections_max as usize);
        for known in &connections {
            assert_ne!(known.client.ip, known.server.ip);
            let ahead = self.learner.lookup(known.client.ip, known.server.ip, known.server.qpn);
            let back = self.learner.lookup(known.server.ip, known.client.ip, known.client.qpn);
            let both =
                [ahead, back].map(|seen| seen.map(|seen| (seen.connection, seen.from_client)));
            assert_eq!(both, [Some((known.id, true)), Some((known.id, false))]);
        }
        let unpaired = self.learner.unpaired_flows().count();
        assert!(2 * connections.len() + unpaired <= self.config.flows_max as usize);
    }
}

/// Shows frames to a learner.
pub fn learner(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mut watched = Watched::new();
    for _ in 0..FRAMES_MAX {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.number();
        watched.wait(bytes.pause_ns());
        watched.see(bytes.take(usize::from(length % 2048)));
    }
}
