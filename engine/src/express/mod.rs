//! The short way for what is usual: a packet of the usual shape on a usual connection, the next one
//! of its client, or the answer to the oldest request of its server queue pair, where nothing else
//! is left to do for either; or a request that only waits for others of its client ([`hold`]).
//! Nearly all packets are. A burst is looked through first ([`look`]); then each packet is handled
//! in one go, with a look at each table.
//!
//! Where requests depend on what memory holds, what is known of that is asked and told between the
//! same steps ([`minding`]).
//!
//! There is no state of its own here, and nothing happens that would not happen without: whatever
//! is unusual about a packet is left to `mux/`, which handles every packet, step by step. Before
//! the first change it is certain that the packet is usual. That both do the same is shown by
//! every test that compares an engine with one that takes no short way
//! ([`crate::Config::step_by_step`]).

mod answer;
mod asked;
mod hold;
mod look;
mod minding;
mod request;
mod waited;

use crate::engine::{BURST_MAX, Engine};
use crate::frame::{Frame, Side};
use crate::ids::ClientId;
use crate::mail::Kind;
use crate::out::Out;
use crate::time::Nanos;
use crate::wire::usual::{self, Shape};
use crate::wire::{Opcode, icrc};

/// What the first look at a burst has found.
pub(crate) struct Burst {
    packets: [Seen; BURST_MAX],
    /// Changes of the tables when they were looked into.
    changes: u32,
}

/// A packet that may be usual: it has the usual shape and the headers of its connection, and its
/// ICRC is right if it has no payload.
#[derive(Clone, Copy)]
struct Seen {
    /// [`NOBODY`] if it is not usual.
    connection: u32,
    shape: Shape,
}

const NOBODY: u32 = u32::MAX;

impl Burst {
    pub(crate) const fn new() -> Burst {
        Burst { packets: [Seen::NOTHING; BURST_MAX], changes: 0 }
    }
}

impl Seen {
    const NOTHING: Seen = Seen { connection: NOBODY, shape: Shape::NONE };

    /// The connection of what may be usual.
    #[inline]
    fn connection(&self) -> Option<ClientId> {
        (self.connection != NOBODY).then_some(ClientId(self.connection))
    }
}

/// What a request asks for, known when the program is made: so each kind has code of its own, in
/// which nothing depends on it, and what comes next is guessed wrong once a packet at most.
trait Asks {
    /// At its server queue pair.
    const KIND: Kind;
    /// To its client.
    const TOLD: Kind = Self::KIND;
}

struct Write;
struct Read;
struct Atomic;
/// A WRITE took its place.
struct Replaced;

impl Asks for Write {
    const KIND: Kind = Kind::Plain;
}

impl Asks for Read {
    const KIND: Kind = Kind::Read;
}

impl Asks for Atomic {
    const KIND: Kind = Kind::Atomic;
}

impl Asks for Replaced {
    const KIND: Kind = Kind::Plain;
    const TOLD: Kind = Kind::Atomic;
}

impl Engine {
    /// Whether there can be anything usual at all: on one shard, while no other engine has left
    /// anything behind, nobody waits for a place, and nobody is about to begin.
    #[inline]
    pub(crate) fn has_usual(&self) -> bool {
        self.goes_short
            && self.resumes.is_settled()
            && self.parked.is_empty()
            && !self.learner.as_ref().is_some_and(|learner| learner.any_waits())
    }

    /// Whether what was found out of a burst still holds, after something that was not usual.
    #[inline]
    pub(crate) fn stays_usual(&self) -> bool {
        self.burst.changes == self.flow_changes() && self.has_usual()
    }

    /// Handles the frame `at` of a burst, if it is a usual one. `false`, and nothing is done, if it
    /// is not.
    #[inline(always)]
    pub(crate) fn take_usual(
        &mut self,
        (side, now): (Side, Nanos),
        at: usize,
        frame: &mut Frame<'_>,
        out: &mut Out,
    ) -> bool {
        let Some(&seen) = self.burst.packets.get(at) else { return false };
        if seen.connection == NOBODY || self.watches.may_speak(ClientId(seen.connection)) {
            return false;
        }
        match (side, seen.shape.opcode) {
            (Side::Client, Opcode::WriteOnly) => self.take_request::<Write>(now, &seen, frame, out),
            (Side::Client, Opcode::ReadRequest) => {
                self.take_request::<Read>(now, &seen, frame, out)
            }
            (Side::Client, Opcode::CompareSwap | Opcode::FetchAdd) => {
                self.take_request::<Atomic>(now, &seen, frame, out)
            }
            (Side::Server, Opcode::Acknowledge) if self.minds && self.is_replaced(&seen) => {
                self.take_answer::<Replaced>(now, &seen, frame, out)
            }
            (Side::Server, Opcode::Acknowledge) => {
                self.take_answer::<Write>(now, &seen, frame, out)
            }
            (Side::Server, Opcode::ReadResponseOnly) => {
                self.take_answer::<Read>(now, &seen, frame, out)
            }
            (Side::Server, Opcode::AtomicAcknowledge) => {
                self.take_answer::<Atomic>(now, &seen, frame, out)
            }
            _ => false,
        }
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
