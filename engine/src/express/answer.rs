//! The usual answer: one packet, to the oldest request of its server queue pair, which is its
//! client's oldest as well. The request is finished and its client told.

use super::{Asks, Seen};
use crate::config::Config;
use crate::counters::{Counters, DropReason};
use crate::engine::Engine;
use crate::frame::{Frame, Side};
use crate::ids::{ClientId, ServerQpId};
use crate::mail::{Kind, Request};
use crate::mux::client::{Client, ClientSlot, State, Way};
use crate::mux::generate::{self, Answer};
use crate::mux::record::record_value;
use crate::mux::results::AtomicResult;
use crate::mux::server::{ServerSlot, Source};
use crate::mux::server_qp::ServerQp;
use crate::mux::slab::Slab;
use crate::out::{Action, Out};
use crate::policy::{Card, Directory, TrustBy};
use crate::time::Nanos;
use crate::wire::facts::Renewed;
use crate::wire::icrc::PatchTables;
use crate::wire::{AethRepr, Opcode, ServerPsn, Syndrome, usual};

/// What an answer says.
pub(super) struct Said {
    credits: u8,
    /// Of an atomic: what its word held before.
    pub(super) original: Option<u64>,
}

impl Said {
    /// `None` if it does not say that what was asked for is done.
    #[inline(always)]
    fn read<K: Asks>(bytes: &[u8]) -> Option<Said> {
        let (syndrome, rest) = bytes.get(usual::HEADERS..)?.split_first()?;
        let Syndrome::Ack { credits } = Syndrome::from_byte(*syndrome) else { return None };
        let original = match K::KIND {
            Kind::Atomic => {
                let original: &[u8; 8] = rest.get(AethRepr::LEN - 1..)?.first_chunk()?;
                Some(u64::from_be_bytes(*original))
            }
            Kind::Plain | Kind::Read => None,
        };
        Some(Said { credits, original })
    }
}

impl Engine {
    /// Takes an answer, if it is a usual one. `false`, and nothing is done, if it is not.
    // One function by itself has its values in registers.
    #[inline(never)]
    pub(super) fn take_answer<K: Asks>(
        &mut self,
        now: Nanos,
        seen: &Seen,
        frame: &mut Frame<'_>,
        out: &mut Out,
    ) -> bool {
        let owner = ClientId(seen.connection);
        let Some(mut said) = Said::read::<K>(frame.bytes()) else { return false };
        if seen.shape.payload_len > 0 && !self.is_good_data(owner, frame)
            || self.minds && self.mind_answer::<K>(owner, &mut said, seen, frame).is_none()
        {
            return false;
        }
        let ended = self.end_usual::<K>((now, owner), &said, seen, frame, out).is_some();
        debug_assert!(ended || !self.minds, "what was minded is usual");
        ended
    }

    /// Ends the request that is answered; `None`, and nothing is done, if it is not a usual one.
    // Each table is looked into once here; what stands there is at hand from then on.
    #[inline(always)]
    fn end_usual<K: Asks>(
        &mut self,
        (now, owner): (Nanos, ClientId),
        said: &Said,
        seen: &Seen,
        frame: &mut Frame<'_>,
        out: &mut Out,
    ) -> Option<()> {
        let id = owner.own_server_qp();
        let Engine { clients, servers, directory, config, counters, .. } = self;
        let (server, _) = servers.states.usual_or_waiting(id.index())?;
        let bound = oldest::<K>(server, &servers.slots, seen)?;
        let whose = bound.request.client;
        let (client, holds) = clients.states.usual_or_waiting(whose.index())?;
        let at_client = bound.request.slot;
        let (record, next) = clients.slots.named(at_client)?;
        let early = holds && may_go_early::<K>(directory);
        if early || self.watches.may_speak(whose) || !is_oldest(client, at_client.index, record) {
            return None;
        }
        let cards = match K::KIND {
            // What a response becomes may have changed since it was looked at, or was asked for.
            Kind::Read => Some((directory.card(owner)?, directory.card(whose)?)),
            Kind::Plain | Kind::Atomic => None,
        };
        // If the next one was answered before this one, there is more to tell.
        let rests = next.and_then(|next| clients.slots.get(next)).is_none_or(ClientSlot::waits);
        let (own, place) = (whose == owner, record.way.place());
        if own {
            client.credits = said.credits;
        }
        let &ClientSlot { psn, msn, way, opcode, ends_message, .. } = record;
        let syndrome = Syndrome::Ack { credits: client.credits };
        let answer = Answer { psn, msn, syndrome, original: said.original };
        out.push(match cards {
            Some(cards) => pass_on(cards, &self.icrc, &answer, seen, frame),
            None => consume(counters, frame),
        });
        if let Some(original) = said.original {
            let asked = (&bound.request, opcode == Opcode::CompareSwap);
            note_original((config, counters, self.minds), asked, original, out);
            clients.results.keep_next(whose, AtomicResult { psn, opcode, original });
        }
        if self.policy.trust == TrustBy::Observation {
            directory.observe(whose, id, bound.request.access);
        }
        out.push(Action::Release(bound.token));
        finish::<K>(now, server, bound.psn, (place.is_some(), !own));
        servers.slots.remove_front(&mut server.open);
        if let Some(deadline) = begin_next(now, server, config) {
            self.deadlines.note(id.0, deadline);
        }
        directory.places.note_ended(place);
        clients.slots.remove_front(&mut client.queue);
        close::<K>(client, &answer, (way, id));
        counters.completed += u64::from(ends_message);
        counters.mapped += u64::from(ends_message && place.is_some());
        if K::TOLD == Kind::Atomic || K::TOLD == Kind::Plain && rests {
            generate::tell(directory, counters, whose, &answer, out);
        }
        if !own {
            clients.tell_credits(owner, said.credits);
        }
        match rests {
            false => clients.owe(whose, K::TOLD == Kind::Plain),
            true if holds => self.wake_usual(whose, out),
            true => {}
        }
        Some(())
    }

    /// Whether a response with data is what it was, where that has to be looked at.
    #[inline(always)]
    fn is_good_data(&self, owner: ClientId, frame: &Frame<'_>) -> bool {
        match self.trusts_data() {
            true => self.clients.is_active(owner),
            false => super::is_intact(frame.bytes()),
        }
    }
}

/// The oldest request of a server queue pair, if it is the one that is answered, and nothing else
/// is to be done for it.
#[inline(always)]
pub(super) fn oldest<'a, K: Asks>(
    server: &ServerQp,
    slots: &'a Slab<ServerSlot>,
    seen: &Seen,
) -> Option<&'a ServerSlot> {
    let bound = slots.get(server.open.head()?)?;
    let psn = bound.psn;
    let fits = bound.request.kind == K::KIND
        && psn == ServerPsn::from_wire(seen.shape.psn)
        && bound.request.packets == 1
        && bound.parts == 0
        && !bound.done
        && matches!(bound.source, Source::Frame)
        && !server.acknowledged.is_after(psn)
        && !server.seen.is_after(psn);
    fits.then_some(bound)
}

/// Whether what waits behind a READ may go before the READ is complete, though it could not when it
/// came: a host may have given its place up to the one where the READ went.
#[inline(always)]
pub(super) fn may_go_early<K: Asks>(directory: &Directory) -> bool {
    K::KIND == Kind::Read && directory.places.have_moved()
}

/// Whether a request is its client's oldest as well, and nothing else is to be done for it there.
#[inline(always)]
pub(super) fn is_oldest(client: &Client, at: u32, record: &ClientSlot) -> bool {
    client.queue.head() == Some(at)
        && matches!(record.state, State::Issued)
        && record.packets == 1
        && record.parts == 0
        && !matches!(record.way, Way::Alone(_))
        && !record.psn.is_before(client.completed_end)
}

/// Makes the response of a READ its client's.
#[inline(always)]
fn pass_on(
    (from, to): (&Card, &Card),
    tables: &PatchTables,
    answer: &Answer,
    seen: &Seen,
    frame: &mut Frame<'_>,
) -> Action {
    let &Answer { psn, msn, syndrome, .. } = answer;
    let aeth = Some(AethRepr { syndrome, msn });
    let new = Renewed { psn: psn.to_wire(), ack_request: false, aeth };
    let at = seen.shape.icrc.into();
    to.response.put(&from.response, tables, frame.bytes_mut(), at, &new);
    Action::Forward(frame.token(), Side::Client)
}

/// Drops what has said all that it had to say.
#[inline(always)]
fn consume(counters: &mut Counters, frame: &Frame<'_>) -> Action {
    counters.drops.count(DropReason::Consumed as usize);
    Action::Drop(frame.token(), DropReason::Consumed)
}

/// Takes note of what an atomic's word held before: what its client is told. It may have been
/// `counted` whether it succeeded.
#[inline(always)]
fn note_original(
    (config, counters, counted): (&Config, &mut Counters, bool),
    (request, is_swap): (&Request, bool),
    original: u64,
    out: &mut Out,
) {
    if config.records {
        record_value(config, request, original, out);
    }
    if is_swap && !counted {
        counters.count_swap(original == request.operands.compare);
    }
}

/// The oldest request is done at its server queue pair; a place brought it there if it is `mapped`.
#[inline(always)]
fn finish<K: Asks>(
    now: Nanos,
    server: &mut ServerQp,
    psn: ServerPsn,
    (mapped, guest): (bool, bool),
) {
    let end = psn.add(1);
    (server.acknowledged, server.seen, server.retries) = (end, end, 0);
    server.uncount(K::KIND, 1, mapped, guest);
    server.round_trip.on_answered(psn, now);
}

/// The next one's time begins. The deadline, if it is before the one that is known.
#[inline(always)]
fn begin_next(now: Nanos, server: &mut ServerQp, config: &Config) -> Option<Nanos> {
    let before = server.deadline;
    server.deadline = Nanos::NEVER;
    if server.open.is_empty() {
        return None;
    }
    let (floor, cap) = (config.server_timeout_ns, config.server_timeout_max_ns);
    server.deadline = now.after(server.round_trip.timeout_ns(floor, cap, 0));
    (server.deadline < before).then_some(server.deadline)
}

/// The request is done for its client as well.
#[inline(always)]
fn close<K: Asks>(client: &mut Client, answer: &Answer, released: (Way, ServerQpId)) {
    client.open = client.open.saturating_sub(1);
    client.completed_end = answer.psn.add(1);
    client.completed_msn = answer.msn;
    client.released = released;
    if K::TOLD == Kind::Plain {
        client.last_plain = Some(answer.psn);
    }
}
