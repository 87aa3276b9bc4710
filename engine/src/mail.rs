//! What one shard tells another (design: ownership instead of locks).
//!
//! On one core the sender and the receiver are the same engine, and the message is a function
//! call; between cores the host carries it through a ring, together with the frame it names.

use crate::frame::Side;
use crate::ids::{ClientId, ServerQpId};
use crate::journal::Operands;
use crate::mux::client::Way;
use crate::policy::Access;
use crate::wire::{ClientPsn, Msn, NakCode, Opcode};

/// A client's slot, named across shards. A slot that was given to another request in between
/// has another generation, so late mail about the old one is recognised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotRef {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// A message from one shard to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mail {
    /// A frame arrived at a shard that does not own its connection. Carries the frame.
    Foreign {
        /// Where it came in.
        side: Side,
    },
    /// To the owner of a server queue pair: take this request. Carries the frame.
    Request(Request),
    /// To the owner of a client: news of one of its requests. Carries the frame of a READ
    /// response part, or of a request that comes back.
    Completion(Completion),
    /// To all: nothing that places brought to this server queue pair is left there, and it takes
    /// no more.
    Gone(ServerQpId),
    /// To the owner of a server queue pair: the bytes of this request, which was bound before the
    /// engine went on, do not come again.
    Void(Request),
}

/// A client's request on its way to a server queue pair. What its answer needs is first, and stays
/// there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Request {
    /// Whose it is.
    pub client: ClientId,
    /// The client's slot that waits for the outcome.
    pub slot: SlotRef,
    /// What kind of answer completes it.
    pub kind: Kind,
    /// The first (or only) packet of its message.
    pub starts_message: bool,
    /// The last (or only) packet of its message.
    pub ends_message: bool,
    /// No guest may be bound on the server queue pair while this is: it consumes a receive buffer,
    /// is long, or is not certain to be accepted.
    pub exclusive: bool,
    /// The first use of memory that it is not known whether its place's host may reach.
    pub alone: bool,
    /// A place brought it here: it may go elsewhere if it has not run.
    pub mapped: bool,
    /// PSNs that it takes, 1 to 2^23.
    pub packets: u32,
    /// Where it is to go.
    pub server_qp: ServerQpId,
    /// Packets of a READ's response that the client half has, from an earlier server queue pair.
    pub parts: u32,
    pub(crate) access: Option<Access>,
    /// Of an atomic, as its client sent them.
    pub(crate) operands: Operands,
    /// The key that it is for, if that is known.
    pub(crate) key: Option<u64>,
    pub(crate) origin: Origin,
}

/// What a request is to its client, for the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Origin {
    pub(crate) psn: ClientPsn,
    /// The client's message count once the request is complete.
    pub(crate) msn: Msn,
    pub(crate) opcode: Opcode,
    /// Everything before this PSN was complete when the request was handed over.
    pub(crate) floor: ClientPsn,
    pub(crate) way: Way,
    /// It is bound already, and only its bytes come again.
    pub(crate) again: bool,
    /// The key that the client wrote last, up to and including this request.
    pub(crate) key: Option<u64>,
}

/// What completes a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// WRITE or SEND: an acknowledgement of it or of anything later.
    Plain,
    /// READ: its whole response.
    Read,
    /// Compare-and-swap, fetch-and-add: its own response.
    Atomic,
}

/// News of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Completion {
    /// Whose request.
    pub client: ClientId,
    /// Which request.
    pub slot: SlotRef,
    /// What happened.
    pub outcome: Outcome,
}

/// What happened to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A WRITE or SEND is done.
    Acknowledged,
    /// An atomic is done; the value that its word had before.
    Atomic(u64),
    /// One packet of a READ's response, in order from 0.
    ReadPart {
        /// Which packet.
        index: u32,
    },
    /// The server refused it (IBTA vol. 1, 9.9.3).
    Refused {
        /// Why.
        code: NakCode,
        /// Which packet of a READ's response the refusal stands for; else 0.
        part: u32,
    },
    /// The server has no receive buffer for it yet; the engine will repeat it.
    NotReady {
        /// Coded delay (IBTA vol. 1, table 45), 0 to 31.
        timer: u8,
    },
    /// Its server queue pair was given up: nobody knows whether it was executed.
    Lost,
    /// A repeated READ got no answer; its client asks again if it still wants it.
    Unanswered,
    /// It did not run, and its server queue pair takes it no more.
    Returned,
    /// How far a request is that was bound before the engine went on where another was.
    Resumed(Resumed),
}

/// How far a request is that another engine had bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resumed {
    /// It was complete.
    Done,
    /// It may not have run, and its bytes are gone.
    Wanted,
    /// It is sent again; its outcome will be told.
    Sent,
    /// It did not run where it was bound and never will, and its bytes are gone: it goes elsewhere
    /// when its client has sent it again.
    Unbound,
}
