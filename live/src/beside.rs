//! What stands beside the engine in the loop: which frames it is not to see, and copies of frames
//! for a capture.

use qpmux_engine::{Nanos, Side};

use crate::control::capture::Tap;
use crate::subnets::Subnets;

/// It sees each frame that comes in and each that goes out.
#[derive(Debug, Default)]
pub struct Beside {
    servers: Subnets,
    passed_not_ours: u64,
    tap: Option<Box<Tap>>,
    /// Nanoseconds since 1970 when the loop's clock was 0.
    epoch_ns: u64,
    /// The time, since 1970.
    time_ns: u64,
}

impl Beside {
    /// The engine is to see connections to these servers only; to all if there are none.
    pub fn set_servers(&mut self, servers: Subnets) {
        self.servers = servers;
    }

    /// Frames that the engine has not seen, because they are of no configured server.
    #[must_use]
    pub fn passed_not_ours(&self) -> u64 {
        self.passed_not_ours
    }

    /// Copies frames from now on, as `tap` wants them; when the loop's clock was 0, it was
    /// `epoch_ns` since 1970. What was copied for another one before is handed over.
    pub fn set_tap(&mut self, tap: Option<Box<Tap>>, epoch_ns: u64) {
        (self.tap, self.epoch_ns) = (tap, epoch_ns);
    }

    /// A turn of the loop begins.
    pub fn begin(&mut self, now: Nanos) {
        self.time_ns = self.epoch_ns.saturating_add(now.0);
    }

    /// A frame comes in that tells its time.
    pub fn at(&mut self, time: Nanos) {
        self.time_ns = time.0;
    }

    /// A frame came in on `side`. Whether the engine is to see it; else it passes, and is counted.
    pub fn came_in(&mut self, side: Side, frame: &[u8]) -> bool {
        if let Some(tap) = &mut self.tap {
            tap.see(side, self.time_ns, frame);
        }
        let ours = self.servers.concern(side, frame);
        self.passed_not_ours += u64::from(!ours);
        ours
    }

    /// A frame goes out on `side`.
    pub fn goes_out(&mut self, side: Side, frame: &[u8]) {
        if let Some(tap) = &mut self.tap {
            tap.see(side, self.time_ns, frame);
        }
    }

    /// The turn ends: what was copied is handed over, and a capture that has all it wants is over.
    pub fn end(&mut self) {
        if let Some(tap) = &mut self.tap {
            tap.hand_over();
            if tap.is_done() {
                self.tap = None;
            }
        }
    }
}
