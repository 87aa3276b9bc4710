//! The short way for what is usual: a packet of the usual shape on a usual connection, the next one
//! of its client, or the answer to the oldest request of its server queue pair, where nothing else
//! is left to do for either. Nearly all packets are. They are handled in one go, with a look at
//! each table.
//!
//! There is no state of its own here, and nothing happens that would not happen without: whatever
//! is unusual about a packet is left to `mux/`, which handles every packet, step by step. Before
//! the first change it is certain that the packet is usual. That both do the same is shown by
//! every test that compares an engine with one that takes no short way
//! ([`crate::Config::step_by_step`]).

mod answer;
mod request;
mod touch;

use crate::config::Verify;
use crate::engine::{BURST_MAX, Engine};
use crate::frame::{Frame, Side};
use crate::ids::ClientId;
use crate::out::Out;
use crate::time::Nanos;
use crate::wire::{icrc, usual};

/// The connections of a burst's frames, as far as they were found.
pub(crate) struct Found {
    connections: [u32; BURST_MAX],
    /// Changes of the tables when they were looked into.
    changes: u32,
}

const NOBODY: u32 = u32::MAX;

impl Engine {
    /// Whether there can be anything usual at all: on one shard, while requests go out as they come
    /// in, and no other engine has left anything behind.
    #[inline]
    pub(crate) fn has_usual(&self) -> bool {
        self.plain && self.resumes.is_settled()
    }

    /// Handles the frame `at` of a burst, if it is a usual one. `false`, and nothing is done, if it
    /// is not.
    #[inline(always)]
    pub(crate) fn take_usual(
        &mut self,
        (side, now): (Side, Nanos),
        (found, at): (&Found, usize),
        frame: &mut Frame<'_>,
        out: &mut Out,
    ) -> bool {
        let connection = found.connections.get(at).copied().unwrap_or(NOBODY);
        let id = ClientId(connection);
        if connection == NOBODY
            || found.changes != self.flow_changes()
            || self.watches.may_speak(id)
            || self.learner.as_ref().is_some_and(|learner| learner.any_waits())
        {
            return false;
        }
        match side {
            Side::Client => self.take_request(now, id, frame, out),
            Side::Server => self.take_answer(now, id.own_server_qp(), frame, out),
        }
    }

    /// Whether frames with data need not be verified: nothing looks at it where there is anything
    /// usual.
    #[inline]
    fn trusts_usual_data(&self) -> bool {
        self.config.verify == Verify::Headers
    }

    #[inline]
    fn flow_changes(&self) -> u32 {
        self.requests.changes().wrapping_add(self.responses.changes())
    }
}

/// Whether the ICRC of a packet of the usual shape is right.
fn is_intact(frame: &[u8]) -> bool {
    usual::layout(frame).is_some_and(|layout| icrc::verify(frame, &layout))
}
