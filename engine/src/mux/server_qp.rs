//! One server queue pair, seen as a responder: its state, and how requests are counted in and out.

use super::closing::{Hosting, Loss};
use super::congestion::Marked;
use super::rows::{Condition, Usual};
use super::slab::Queue;
use crate::Config;
use crate::frame::Token;
use crate::ids::{ClientId, ServerQpId};
use crate::mail::{Kind, Request};
use crate::recovery::rtt::RoundTrip;
use crate::rules::Rule;
use crate::time::Nanos;
use crate::wire::{ClientPsn, Ecn, ServerPsn};

/// PSNs between the oldest open and the next: half the sequence space, less one
/// (IBTA vol. 1, 9.7.2).
pub(crate) const SPAN_MAX: u32 = (1 << 23) - 1;

/// A client's word that it ends its connection, kept back.
#[derive(Clone, Copy)]
pub(crate) struct Teardown {
    pub(crate) token: Token,
    /// Of its message: one that comes again has the same.
    pub(crate) transaction_id: u64,
}

/// One server queue pair, seen as a responder. What a usual packet needs is in the first two cache
/// lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct ServerQp {
    /// Bound requests, in PSN order.
    pub(crate) open: Queue,
    /// The PSN of the next request.
    pub(crate) next: ServerPsn,
    /// One past the newest PSN that the server said is done. Not before the oldest open request.
    pub(crate) acknowledged: ServerPsn,
    /// The newest PSN of a response packet with data, or of what is complete.
    pub(crate) seen: ServerPsn,
    pub(crate) open_packets: u32,
    pub(crate) open_span: u32,
    /// READs and atomics among them.
    pub(crate) open_reads: u32,
    /// Those that a place brought here, and those of others than the owner.
    pub(crate) open_mapped: u32,
    pub(crate) open_guests: u32,
    /// When the oldest open request is sent again.
    pub(crate) deadline: Nanos,
    pub(crate) retries: u32,
    pub(crate) carried: bool,
    pub(crate) hosted: bool,
    /// The connection is translated.
    pub(crate) started: bool,
    /// A request of the owner that guests must not share the queue pair with waits or is open.
    pub(crate) exclusive: bool,
    pub(crate) round_trip: RoundTrip,
    /// When the READs are given up that wait for the end of their client's own message, unless it
    /// goes on. `Nanos::NEVER` if there are none.
    pub(crate) stalled_until: Nanos,
    /// The client whose message is bound without its last packet. Nobody else may be bound:
    /// messages do not interleave (IBTA vol. 1, 9.7.4.1.2).
    pub(crate) in_message: Option<ClientId>,
    /// Requests that are not bound yet: the owner's, those of others, and packets that continue a
    /// message, which wait for nothing but their first one.
    pub(crate) waiting_own: Queue,
    pub(crate) waiting_guests: Queue,
    pub(crate) waiting_rest: Queue,
    /// READs that were sent under a PSN that they had before; none of them is open.
    pub(crate) again: Queue,
    /// When they are given up.
    pub(crate) again_until: Nanos,
    /// The waiting request whose frame was recalled.
    pub(crate) recalled: Option<u32>,
    /// The next request to send again.
    pub(crate) repair: Option<u32>,
    /// The oldest open request when repair began on implied evidence: begun once per progress.
    pub(crate) repaired_at: Option<ServerPsn>,
    /// End of the wait that the server asked for.
    pub(crate) not_ready_until: Option<Nanos>,
    /// Exclusive requests so far; beyond the limit the queue pair hosts no more.
    pub(crate) disturbances: u32,
    /// Whether it hosts, and whether it stopped only because its owner was busy.
    pub(crate) hosting: Hosting,
    pub(crate) busy: bool,
    /// Since when guests wait for a request of the owner.
    pub(crate) blocked_since: Option<Nanos>,
    /// Whose packets came with a congestion mark.
    pub(crate) marked: Marked,
    /// The end of its connection, announced: goes out when the guests have left.
    pub(crate) teardown: Option<Teardown>,
    /// It was given up.
    pub(crate) loss: Option<Loss>,
    /// The log says so.
    pub(crate) loss_recorded: bool,
    /// The client of the bound message that was given back last.
    pub(crate) message_returned: Option<ClientId>,
    /// A message of several packets that writes is on its way.
    pub(crate) writes_long: bool,
}

impl ServerQp {
    /// Reads a little of both lines that a usual packet needs.
    #[inline]
    pub(crate) fn touch(&self) -> u64 {
        u64::from(self.open_packets) ^ self.stalled_until.0
    }

    pub(super) fn new() -> ServerQp {
        let psn = ServerPsn::new(0);
        ServerQp {
            next: psn,
            acknowledged: psn,
            seen: psn,
            open: Queue::EMPTY,
            open_packets: 0,
            open_span: 0,
            open_reads: 0,
            open_mapped: 0,
            open_guests: 0,
            waiting_own: Queue::EMPTY,
            waiting_guests: Queue::EMPTY,
            waiting_rest: Queue::EMPTY,
            again: Queue::EMPTY,
            again_until: Nanos::NEVER,
            stalled_until: Nanos::NEVER,
            in_message: None,
            recalled: None,
            repair: None,
            repaired_at: None,
            not_ready_until: None,
            deadline: Nanos::NEVER,
            retries: 0,
            round_trip: RoundTrip::default(),
            started: false,
            exclusive: false,
            disturbances: 0,
            hosting: Hosting::Open,
            busy: false,
            blocked_since: None,
            marked: Marked::default(),
            teardown: None,
            loss: None,
            loss_recorded: false,
            message_returned: None,
            carried: false,
            hosted: false,
            writes_long: false,
        }
    }

    /// The connection is translated from here on. Both sides start with the same number: they
    /// differ from the first guest on.
    pub(crate) fn start(&mut self, psn: ClientPsn) {
        let psn = ServerPsn::from_wire(psn.to_wire());
        self.next = psn;
        self.acknowledged = psn;
        self.seen = psn;
        self.started = true;
    }

    /// Whether it has nothing open, nothing waiting, and nothing to tell.
    pub(crate) fn is_idle(&self) -> bool {
        let queues = [self.open, self.waiting_own, self.waiting_guests, self.waiting_rest];
        queues.iter().all(Queue::is_empty)
            && self.recalled.is_none()
            && self.teardown.is_none()
            && matches!(self.hosting, Hosting::Open | Hosting::Gone)
    }

    /// Whether there is nothing to do but to finish what is complete, when no other engine has left
    /// anything behind.
    #[inline]
    pub(super) fn only_finishes(&self) -> bool {
        self.waiting_own.is_empty()
            && self.waiting_guests.is_empty()
            && self.recalled.is_none()
            && self.finishes_or_binds()
    }

    /// The same, but that requests may wait to be bound.
    #[inline]
    pub(super) fn finishes_or_binds(&self) -> bool {
        self.waiting_rest.is_empty()
            && self.again.is_empty()
            && self.hosting == Hosting::Open
            && self.loss.is_none()
            && self.repair.is_none()
            && self.blocked_since.is_none()
            && self.stalled_until == Nanos::NEVER
    }

    /// Counts a request in that is bound.
    #[inline]
    pub(super) fn count_open(&mut self, id: ServerQpId, request: &Request) {
        self.open_packets += 1;
        self.open_span += request.packets;
        self.open_reads += u32::from(request.kind != Kind::Plain);
        self.open_mapped += u32::from(request.mapped);
        self.open_guests += u32::from(request.client != id.owner());
    }

    /// Counts it out.
    pub(crate) fn uncount_open(&mut self, id: ServerQpId, request: &Request) {
        let Request { kind, packets, mapped, client, .. } = *request;
        self.uncount(kind, packets, mapped, client != id.owner());
    }

    /// Counts out a request of so many packets, which a place brought here, and which is a guest's.
    #[inline(always)]
    pub(crate) fn uncount(&mut self, kind: Kind, packets: u32, mapped: bool, guest: bool) {
        let less = |count: &mut u32, by: u32| *count = count.saturating_sub(by);
        less(&mut self.open_packets, 1);
        less(&mut self.open_span, packets);
        if kind != Kind::Plain {
            less(&mut self.open_reads, 1);
        }
        less(&mut self.open_mapped, mapped.into());
        less(&mut self.open_guests, guest.into());
    }

    /// A request gets its PSN. `alone` if no other one is open.
    #[inline(always)]
    pub(crate) fn on_bound(
        &mut self,
        (now, alone): (Nanos, bool),
        psn: ServerPsn,
        request: &Request,
        ecn: Ecn,
        config: &Config,
    ) {
        if alone {
            self.acknowledged = psn;
            let (floor, cap) = (config.server_timeout_ns, config.server_timeout_max_ns);
            self.deadline = now.after(self.round_trip.timeout_ns(floor, cap, 0));
        }
        self.round_trip.on_sent(psn, now);
        let hole = u32::from(!config.keeps(Rule::PsnsAreDense));
        self.next = psn.add(request.packets + hole);
        let id = request.server_qp;
        self.count_open(id, request);
        self.in_message = (!request.ends_message).then_some(request.client);
        self.stalled_until = Nanos::NEVER;
        self.carried = true;
        self.hosted |= request.client != id.owner();
        if ecn == Ecn::Ce {
            self.marked.add(request.client);
        }
    }

    /// Where a request waits that cannot be bound yet.
    pub(super) fn waiting_queue(&mut self, id: ServerQpId, request: &Request) -> &mut Queue {
        match request.starts_message {
            false => &mut self.waiting_rest,
            true if request.client == id.owner() => &mut self.waiting_own,
            true => &mut self.waiting_guests,
        }
    }
}

impl Usual for ServerQp {
    /// Requests are bound as they come, and there is nothing to do but to finish what is complete;
    /// or some wait to be bound, and the frame of the next one was recalled: that of a request that
    /// is bound is recalled only while something is to be sent again, or was not ready.
    fn condition(&self) -> Condition {
        let usual = self.started
            && self.finishes_or_binds()
            && self.in_message.is_none()
            && self.not_ready_until.is_none()
            && !self.exclusive;
        let waits = !self.waiting_own.is_empty() || !self.waiting_guests.is_empty();
        match (usual, waits, self.recalled) {
            (true, false, None) => Condition::Usual,
            (true, true, Some(_)) => Condition::Waiting,
            _ => Condition::Unusual,
        }
    }
}
