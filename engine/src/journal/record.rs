//! What records say.

use crate::connections::CmFacts;
use crate::ids::{ClientId, DomainId, ServerQpId};
use crate::mail::Kind;
use crate::policy::{Access, Connection, Rights};
use crate::wire::{ClientPsn, Msn, Opcode, ServerPsn};

/// Server memory that a request names, as its RETH or AtomicETH says (IBTA vol. 1, 9.3 and 9.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// Memory key (R_Key).
    pub remote_key: u32,
    /// First virtual address.
    pub start: u64,
    /// Bytes; 8 for an atomic.
    pub len: u32,
}

/// Operands of an atomic (IBTA vol. 1, 9.5.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Operands {
    /// Value to store or to add.
    pub swap_or_add: u64,
    /// Value that the word must have.
    pub compare: u64,
}

/// Why a request went to its server queue pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Steer {
    /// It is its client's own.
    Own,
    /// It holds this place.
    Place(u32),
    /// It is its client's own, and nothing else of this place was on its way.
    Alone(u32),
}

/// A request packet was given a server's PSN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Binding {
    /// Whose request it is.
    pub client: ClientId,
    /// Its first PSN on the client's connection.
    pub psn: ClientPsn,
    /// The client's message count once it is complete.
    pub msn: Msn,
    /// PSNs that it takes, 1 to 2^22.
    pub packets: u32,
    /// What it does.
    pub opcode: Opcode,
    /// Bytes of payload, without pad.
    pub payload_len: u16,
    /// No guest is bound on the server queue pair beside it.
    pub exclusive: bool,
    /// Why it went there.
    pub steer: Steer,
    /// What it reaches; `None` for what has neither RETH nor AtomicETH.
    pub extent: Option<Extent>,
    /// Operands, zero for all but atomics.
    pub operands: Operands,
    /// The key that the client wrote last, up to and including this request.
    pub key: Option<u64>,
    /// The server queue pair.
    pub server_qp: ServerQpId,
    /// Its first PSN there.
    pub server_psn: ServerPsn,
    /// Everything before this PSN of the server queue pair is done.
    pub server_floor: ServerPsn,
    /// Everything before this PSN of the client is done, and its results are in the log. It may be
    /// older than the binding, never newer than the truth.
    pub floor: ClientPsn,
}

impl Binding {
    /// What completes it.
    pub(crate) fn kind(&self) -> Kind {
        match self.opcode {
            Opcode::ReadRequest => Kind::Read,
            opcode if opcode.is_atomic() => Kind::Atomic,
            _ => Kind::Plain,
        }
    }

    /// One past its last PSN at the server.
    pub(crate) fn server_end(&self) -> ServerPsn {
        self.server_psn.add(self.packets)
    }

    /// A READ that its client asked for again: its first answer was complete when it was bound.
    pub(crate) fn is_repeat(&self) -> bool {
        self.psn.is_before(self.floor)
    }

    pub(crate) fn access(&self) -> Option<Access> {
        let right = match self.kind() {
            Kind::Read => Rights::READ,
            Kind::Atomic => Rights::ATOMIC,
            Kind::Plain => Rights::WRITE,
        };
        let Extent { remote_key, start, len } = self.extent?;
        Some(Access { remote_key, right, start, len })
    }
}

/// READs and atomics of a server queue pair that are known, at most: what responders remember
/// (ConnectX: 16).
pub(crate) const PAST_READS: usize = 16;

/// A READ of a server queue pair's owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OwnRead {
    /// Its first PSN on the client's connection.
    pub psn: ClientPsn,
    /// PSNs that it takes, 1 to 2^22.
    pub packets: u32,
    /// What it reads.
    pub extent: Extent,
}

/// A READ or an atomic that a server queue pair was given, which makes it forget an older one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PastRead {
    /// Its first PSN there.
    pub server_psn: ServerPsn,
    /// It is one that may be asked for again as it was.
    pub read: Option<OwnRead>,
}

impl PastRead {
    /// What is to be known of a binding; `None` if it is no READ and no atomic.
    pub(crate) fn of(binding: &Binding) -> Option<PastRead> {
        let Binding { psn, packets, server_psn, .. } = *binding;
        let owners = binding.client == binding.server_qp.owner();
        let extent = binding.extent.filter(|_| owners && binding.kind() == Kind::Read);
        let read = extent.map(|extent| OwnRead { psn, packets, extent });
        (binding.kind() != Kind::Plain).then_some(PastRead { server_psn, read })
    }
}

/// Where a client is, in a log that was written anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientPoint {
    /// Which client.
    pub client: ClientId,
    /// Everything before this PSN is done.
    pub floor: ClientPsn,
    /// Messages before it.
    pub msn: Msn,
    /// The newest PSN before it that is no READ's and no atomic's.
    pub last_plain: Option<ClientPsn>,
    /// The key that it wrote last.
    pub key: Option<u64>,
    /// The floor is inside a message.
    pub in_message: bool,
}

/// Where a server queue pair is, in a log that was written anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerPoint {
    /// Which.
    pub server_qp: ServerQpId,
    /// The PSN of the next request.
    pub next: ServerPsn,
    /// Everything before this PSN is done.
    pub floor: ServerPsn,
    /// The client whose message is bound without its last packet.
    pub in_message: Option<ClientId>,
}

/// One record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record {
    /// A connection that was learnt is translated from here on, as [`Connection::start`] says. It
    /// precedes whatever is translated. What was done before and may be asked for again stands
    /// before it, behind [`Record::Vacant`]: [`Record::PastRead`] and [`Record::Value`].
    Start {
        /// Which client.
        client: ClientId,
        /// All that is known of it.
        connection: Connection,
        /// What the connection manager said of it, if it was heard.
        cm: Option<CmFacts>,
    },
    /// The number belongs to another connection than before, or is about to. Whatever the one
    /// before had bound is done, and what was bound at its server queue pair, whose answers are
    /// given.
    Vacant {
        /// Which client, and server queue pair.
        client: ClientId,
    },
    /// A translated connection has ended. It precedes the message that says so to its server.
    Ended {
        /// Which client.
        client: ClientId,
        /// Packets that bear its queue pair numbers are still its own.
        late: bool,
    },
    /// A server queue pair holds a place. It precedes the first binding that this brings there.
    Host {
        /// The place.
        place: u32,
        /// The server queue pair.
        server_qp: ServerQpId,
    },
    /// See [`Binding`]. It precedes the request's first transmission.
    Binding(Binding),
    /// The answer of an atomic is here. It precedes the answer to the client.
    Value {
        /// Whose atomic.
        client: ClientId,
        /// Its PSN.
        psn: ClientPsn,
        /// Which atomic.
        opcode: Opcode,
        /// Value that the word had before.
        original: u64,
    },
    /// A zero-length WRITE takes the place of a request whose bytes are gone. Its client is never
    /// told of success, and is served no longer.
    Fill {
        /// The server queue pair.
        server_qp: ServerQpId,
        /// The request's first PSN there.
        psn: ServerPsn,
    },
    /// A client is served no longer.
    Stopped {
        /// Which.
        client: ClientId,
    },
    /// A server queue pair was given up.
    Lost {
        /// Which.
        server_qp: ServerQpId,
        /// Everything before this PSN is done.
        done: ServerPsn,
        /// It is in the error state: nothing from there on has run or ever will.
        refusing: bool,
    },
    /// A server queue pair hosts no guests any more.
    Gone {
        /// Which.
        server_qp: ServerQpId,
    },
    /// Requests of a key stay on their clients' own server queue pairs for good.
    Declined {
        /// The key's server and protection domain.
        domain: DomainId,
        /// The key.
        key: u64,
    },
    /// See [`ClientPoint`].
    ClientPoint(ClientPoint),
    /// See [`ServerPoint`].
    ServerPoint(ServerPoint),
    /// See [`PastRead`]. It precedes what was bound later.
    PastRead {
        /// The server queue pair.
        server_qp: ServerQpId,
        /// What it was given.
        past: PastRead,
    },
}
