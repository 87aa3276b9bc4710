//! A first look at all frames of a burst, so that the caches' misses overlap: one after the other
//! they would cost more than all the rest. Nothing depends on what is seen here.

use core::hint::black_box;

use crate::engine::Engine;
use crate::frame::{Frame, Side};
use crate::ids::ClientId;
use crate::wire::usual;

/// Bytes of a cache line.
const LINE: usize = 64;

impl Engine {
    /// Reads what will be needed of each frame: the first two lines, in which are the headers and
    /// the key, and the last one with the ICRC, where that is by the frame's length. Then what a
    /// request is going to be looked up by.
    pub(crate) fn touch(&self, side: Side, frames: &[Frame<'_>]) {
        let mut seen = 0;
        for frame in frames {
            let bytes = frame.bytes();
            let used = [bytes.first(), bytes.get(LINE), bytes.last()];
            seen ^= used.into_iter().flatten().fold(0, |seen, byte| seen ^ byte);
        }
        black_box(seen);
        if side == Side::Server {
            return;
        }
        let mut seen = 0;
        for frame in frames {
            let Some((flow, address)) = usual::flow_and_address(frame.bytes()) else { continue };
            let id = self.requests.find_flow(flow).map(ClientId);
            let Some(connection) = id.and_then(|id| self.directory.client(id)) else { continue };
            seen ^= self.addresses.touch(connection.domain, address);
        }
        black_box(seen);
    }
}
