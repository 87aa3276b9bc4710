//! The client half: state of the responder that a client sees.

use super::assembly::Assembly;
use super::results::Results;
use super::rows::{Condition, Rows, Usual};
use super::slab::{Queue, Slab};
use super::work::WorkRing;
use crate::frame::Token;
use crate::ids::ServerQpId;
use crate::journal::Operands;
use crate::mail::Kind;
use crate::policy::{Access, Connection, PlaceId, Start};
use crate::wire::{ClientPsn, Msn, NakCode, Opcode};
use crate::{ClientId, Config};

/// Whether a connection is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Service {
    /// It is not translated yet: its packets pass, and are watched.
    Watching,
    /// It is not known yet how far it was with the engine before.
    Resuming,
    /// It is translated.
    Active,
    /// It is silent: requests are dropped, late answers go nowhere.
    Stopped,
}

/// Whether the client was told of a gap in its requests (IBTA vol. 1, 9.7.5.1.3: one NAK).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Gap {
    /// There is none.
    None,
    /// It must be told, once all before the gap is complete.
    Due,
    /// It was.
    Told,
}

/// One client, seen as a requester. What a usual packet needs is in the first cache line, and the
/// last key in the second one.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Client {
    /// Open requests, in the client's order.
    pub(crate) queue: Queue,
    /// The next PSN that the client is expected to send (ePSN).
    pub(crate) expected: ClientPsn,
    /// Messages accepted, and those whose answer was released, if only its first part.
    pub(crate) accepted_msn: Msn,
    pub(crate) completed_msn: Msn,
    /// The first PSN whose answer was not released.
    pub(crate) completed_end: ClientPsn,
    pub(crate) open: u32,
    /// Where the newest handed-over request went.
    pub(crate) target: ServerQpId,
    /// Where the newest request whose answer was released went: the rest of its message follows.
    pub(crate) released: (Way, ServerQpId),
    /// The newest released PSN that is no READ's and no atomic's: an acknowledgement of a READ
    /// or an atomic would complete it without its data.
    pub(crate) last_plain: Option<ClientPsn>,
    /// Credit code that the client's own server queue pair sent last.
    pub(crate) credits: u8,
    pub(crate) service: Service,
    pub(crate) gap: Gap,
    /// Acknowledgement of `last_plain` owed to the client.
    pub(crate) ack_due: bool,
    /// Repeated WRITEs to be acknowledged when the repeated READs before them are answered.
    pub(crate) repeat_ack_due: bool,
    /// The client is between the first and the last packet of a message.
    pub(crate) in_message: bool,
    /// Some of those that are held came back from a lost host, and may stand before a message that
    /// has begun.
    pub(crate) returned: bool,
    /// The log says that it is served no longer.
    pub(crate) stop_recorded: bool,
    /// The server was not ready for the oldest request: coded delay to tell the client.
    pub(crate) not_ready: Option<u8>,
    /// Key of the last keyed WRITE.
    pub(crate) last_key: Option<u64>,
    /// That message, if it is to be handed over whole.
    pub(crate) assembly: Option<Assembly>,
    /// Nothing at or beyond this PSN is taken or handed over: what is there was refused, or its
    /// outcome is unknown.
    pub(crate) halted: Option<ClientPsn>,
    /// The first open request that was not handed to its server queue pair.
    pub(crate) first_held: Option<u32>,
    /// Repeated READs on their way; they are answered before anything else.
    pub(crate) repeats: Queue,
}

impl Client {
    /// A client whose connection is not translated yet.
    pub(crate) fn watched(id: ClientId) -> Client {
        let start = Start { psn: ClientPsn::new(0), msn: Msn::new(0), credits: 31 };
        Client { service: Service::Watching, ..Client::started(id, &start) }
    }

    pub(super) fn started(id: ClientId, start: &Start) -> Client {
        Client {
            service: Service::Active,
            expected: start.psn,
            accepted_msn: start.msn,
            completed_msn: start.msn,
            completed_end: start.psn,
            last_plain: None,
            gap: Gap::None,
            ack_due: false,
            repeat_ack_due: false,
            not_ready: None,
            credits: start.credits & 31,
            in_message: false,
            assembly: None,
            halted: None,
            returned: false,
            released: (Way::Own, id.own_server_qp()),
            queue: Queue::EMPTY,
            first_held: None,
            repeats: Queue::EMPTY,
            open: 0,
            target: id.own_server_qp(),
            last_key: None,
            stop_recorded: false,
        }
    }
}

impl Usual for Client {
    /// Requests are taken and go out as they come, and nothing is owed to it; or they wait for
    /// their turn behind one of its own.
    fn condition(&self) -> Condition {
        let usual = self.service == Service::Active
            && self.gap == Gap::None
            && !self.in_message
            && !self.ack_due
            && self.assembly.is_none()
            && (!self.returned || self.first_held.is_none())
            && self.halted.is_none()
            && self.not_ready.is_none()
            && self.repeats.is_empty();
        match usual {
            false => Condition::Unusual,
            true if self.first_held.is_some() => Condition::Waiting,
            true => Condition::Usual,
        }
    }
}

/// How far a request is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Not handed over yet: the frame waits here.
    Held(Token),
    /// Handed to the owner of its server queue pair.
    Issued,
    /// Another engine bound it; it is not known whether it ran.
    Unsettled,
    /// Another engine bound it, it may not have run, and its bytes are gone.
    Missing,
    /// It came back from a lost host without its bytes, which its client is to send again. It is
    /// not handed over before.
    Wanted,
    /// It was complete before this engine went on.
    Past,
    /// It passed untouched, before the connection was translated.
    Passed,
    /// Its result is here.
    Ready,
    /// The server refused it.
    Refused(NakCode),
    /// Its server queue pair was given up: its outcome is unknown, its client hears nothing.
    Lost,
}

impl State {
    /// Whether the request is at its server queue pair, or on its way there.
    pub(crate) fn is_out(self) -> bool {
        matches!(self, State::Issued | State::Unsettled | State::Missing)
    }

    /// Whether its client is to send it again.
    pub(crate) fn awaits_client(self) -> bool {
        matches!(self, State::Missing | State::Wanted)
    }

    /// Whether the request is still to be handed over.
    pub(crate) fn is_held(self) -> bool {
        matches!(self, State::Held(_) | State::Wanted)
    }
}

/// Which server queue pair a request goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// Its client's own.
    Own,
    /// The one that holds this place.
    Place(PlaceId),
    /// Its client's own, while nothing of this place is on its way: it is not certain that the
    /// one that holds the place would accept it.
    Alone(PlaceId),
}

impl Way {
    /// The place whose holder it goes to.
    #[inline]
    pub(crate) fn place(self) -> Option<PlaceId> {
        match self {
            Way::Place(place) => Some(place),
            Way::Own | Way::Alone(_) => None,
        }
    }
}

/// One open request of a client: one packet, and for a READ the PSNs of its response. What its
/// answer needs is first.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ClientSlot {
    pub(crate) psn: ClientPsn,
    pub(crate) packets: u32,
    /// The client's message count once this request is complete.
    pub(crate) msn: Msn,
    pub(crate) way: Way,
    /// The server queue pair that it was handed to.
    pub(crate) target: ServerQpId,
    pub(crate) state: State,
    /// READ response packets: come so far, and kept because an earlier answer is missing.
    pub(crate) parts: u32,
    pub(crate) held: Queue,
    pub(crate) kind: Kind,
    pub(crate) opcode: Opcode,
    pub(crate) ends_message: bool,
    /// Alone on its client's own server queue pair, if that hosts others.
    pub(crate) exclusive: bool,
    /// READs were mapped when it was accepted: one without a key is for any.
    pub(crate) reads_mapped: bool,
    /// Value that an atomic's word had before.
    pub(crate) original: u64,
    /// Server memory that it reaches, if any.
    pub(crate) access: Option<Access>,
    /// Of an atomic.
    pub(crate) operands: Operands,
    /// The key that it is for, if that is known.
    pub(crate) of_key: Option<u64>,
    /// The key that the client wrote last, up to and including this request.
    pub(crate) key: Option<u64>,
}

impl ClientSlot {
    /// Whether nothing of its answer has come.
    #[inline]
    pub(crate) fn waits(&self) -> bool {
        matches!(self.state, State::Issued | State::Held(_)) && self.held.is_empty()
    }
}

/// All clients of one shard, and what they have open.
pub(crate) struct Clients {
    pub(crate) states: Rows<Client>,
    pub(crate) slots: Slab<ClientSlot>,
    /// READ response frames that wait for an earlier answer.
    pub(crate) held: Slab<Token>,
    pub(crate) results: Results,
    pub(crate) work: WorkRing,
}

impl Clients {
    /// Whether a client's packets are translated, and nothing else is to be found out of it.
    pub(crate) fn is_active(&self, id: ClientId) -> bool {
        self.get(id).is_some_and(|client| client.service == Service::Active)
    }

    /// A client's own server queue pair says how many receive buffers it has: that is told to this
    /// client alone.
    #[inline(always)]
    pub(crate) fn tell_credits(&mut self, owner: ClientId, credits: u8) {
        if let Some(owner) = self.states.get_same(owner.index()) {
            owner.credits = credits;
        }
    }

    /// There is more to tell a client; an acknowledgement before that, if that is `ack_due`.
    pub(crate) fn owe(&mut self, id: ClientId, ack_due: bool) {
        if let Some(client) = self.get_mut(id) {
            client.ack_due |= ack_due;
        }
        self.work.push(id.0);
    }

    /// For the connections known from the start and those learnt later, so many in all.
    pub(crate) fn new(
        config: &Config,
        connections: &[Connection],
        connections_max: usize,
    ) -> Clients {
        let blank = ClientSlot {
            psn: ClientPsn::default(),
            packets: 0,
            msn: Msn::default(),
            kind: Kind::Plain,
            opcode: Opcode::SendOnly,
            ends_message: true,
            way: Way::Own,
            target: ServerQpId(0),
            exclusive: false,
            access: None,
            operands: Operands::default(),
            of_key: None,
            reads_mapped: false,
            state: State::Ready,
            key: None,
            original: 0,
            parts: 0,
            held: Queue::EMPTY,
        };
        Clients {
            states: (0..connections_max)
                .map(|i| {
                    let id = ClientId(i as u32);
                    let known = connections.get(i);
                    known.map_or(Client::watched(id), |known| Client::started(id, &known.start))
                })
                .collect(),
            slots: Slab::new(config.requests_max, blank),
            held: Slab::new(config.held_responses_max, Token(0)),
            results: Results::new(connections_max, config.atomic_results as usize),
            work: WorkRing::new(connections_max),
        }
    }

    pub(crate) fn get(&self, id: ClientId) -> Option<&Client> {
        self.states.get(id.index())
    }

    pub(crate) fn get_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        self.states.get_mut(id.index())
    }

    /// Forgets a connection: its place in the table belongs to another one, watched from now on.
    pub(crate) fn reset(&mut self, id: ClientId) {
        if let Some(client) = self.states.get_mut(id.index()) {
            *client = Client::watched(id);
        }
        self.results.reset(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mux::server::ServerSlot;
    use crate::mux::server_qp::ServerQp;
    use crate::time::Nanos;
    use core::mem::offset_of;

    /// Bytes of a cache line.
    const LINE: usize = 64;

    /// Timers do not look at a connection whose two records are usual ([`crate::recovery`]), but
    /// for the deadline of what is open.
    #[test]
    fn what_has_another_deadline_is_not_usual() {
        let start = Start { psn: ClientPsn::new(0), msn: Msn::new(0), credits: 0 };
        let client = Client::started(ClientId(0), &start);
        assert!(client.condition() == Condition::Usual);
        let waits = Assembly { first: 0, left: 1, since: Nanos(1) };
        let unusual = Client { assembly: Some(waits), ..client };
        assert!(unusual.condition() == Condition::Unusual);
        let mut server = ServerQp::new();
        server.start(ClientPsn::new(0));
        assert!(server.condition() == Condition::Usual);
        let mut slab = Slab::new(1, ());
        let mut queue = Queue::EMPTY;
        slab.append(&mut queue);
        let now = Some(Nanos(1));
        for other in [
            ServerQp { again: queue, ..server },
            ServerQp { stalled_until: Nanos(1), ..server },
            ServerQp { waiting_guests: queue, ..server },
            ServerQp { blocked_since: now, ..server },
            ServerQp { not_ready_until: now, ..server },
        ] {
            assert!(other.condition() == Condition::Unusual);
        }
    }

    #[test]
    fn what_usual_packets_need_is_in_few_cache_lines() {
        assert_eq!(size_of::<Client>(), 2 * LINE);
        assert!(offset_of!(Client, stop_recorded) < LINE);
        assert!(offset_of!(ServerQp, in_message) < 2 * LINE);
        // A slab's entry begins with 16 bytes of its own.
        assert!(offset_of!(ClientSlot, ends_message) < LINE - 16);
        assert_eq!(
            offset_of!(ServerSlot, request) + offset_of!(crate::Request, access),
            LINE - 16 + 8
        );
        assert!(size_of::<ClientSlot>().max(size_of::<ServerSlot>()) <= 3 * LINE - 16);
    }
}
