//! What a request becomes when it is bound: the one that its client asked for, the same one for
//! another address (steered), or a WRITE in the place of an atomic (replaced).
//!
//! It is decided here and nowhere else, in the step that gives the request its PSN, since that is
//! when it is certain what will have run before it. What was decided stays until the request is
//! complete: see `turned.rs` for what its client is told.

use alloc::boxed::Box;
use alloc::vec;

use crate::contents::words::{Holds, Manner, Range, User};
use crate::counters::KeptReason;
use crate::engine::Engine;
use crate::frame::Frame;
use crate::ids::ServerQpId;
use crate::journal::Operands;
use crate::mail::{Kind, Request};
use crate::mux::client::Way;
use crate::policy::{Access, Atomics, Fit, PlaceId, Policy, Rights};
use crate::rules::Rule;
use crate::time::Nanos;
use crate::wire::{Layout, Opcode, ServerPsn, icrc};

/// How the answer of a request becomes that of the one that its client asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Told {
    /// It is that.
    #[default]
    AsAnswered,
    /// A WRITE took an atomic's place: the word had held this.
    Had(u64),
    /// A compare-and-swap went on to the end of its list.
    Appended {
        /// What the client had expected, and is told if the end was as expected.
        expected: u64,
        /// What the word holds that the client aimed at, and is told if not.
        superseded: u64,
    },
    /// A READ went on to the end of its list: the version of the node that the client aimed at.
    Version(u64),
}

/// What became of a bound request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Turn {
    pub(crate) told: Told,
    /// Address and operands that it goes out with.
    pub(crate) start: u64,
    pub(crate) operands: Operands,
    /// It appends a node to a list, if it succeeds: this one, if that is known.
    pub(crate) appends: bool,
    pub(crate) node: Option<u64>,
    /// What an atomic's word must have held, as far as the engine knows.
    pub(crate) holds: Option<u64>,
}

/// What became of all that is bound on one shard, by the index of its server slot. Empty where
/// every request goes out as it was asked for.
pub(crate) struct Turns(Box<[Turn]>);

impl Turns {
    pub(crate) fn new(slots: u32) -> Turns {
        Turns(vec![Turn::default(); slots as usize].into())
    }

    pub(crate) fn get(&self, slot: u32) -> Turn {
        self.0.get(slot as usize).copied().unwrap_or_default()
    }

    pub(crate) fn set(&mut self, slot: u32, turn: Turn) {
        if let Some(cell) = self.0.get_mut(slot as usize) {
            *cell = turn;
        }
    }
}

impl Engine {
    /// Whether a request waits because it is not known yet where its list ends.
    pub(super) fn waits_for_list(&self, id: ServerQpId, request: &Request) -> bool {
        self.is_list_awaited(id, (request.kind, request.mapped), request.key)
    }

    /// The same of a request of that kind, `mapped` or not, for a key.
    pub(crate) fn is_list_awaited(
        &self,
        id: ServerQpId,
        (kind, mapped): (Kind, bool),
        key: Option<u64>,
    ) -> bool {
        let Some(key) = key.filter(|_| self.steers(kind, mapped)) else { return false };
        let Some(domain) = self.memory_at(id) else { return false };
        self.lists.is_busy(domain, key, id)
    }

    /// Decides what a request becomes that is bound at `psn`, and makes its frame that. The frame's
    /// new layout; `None` if it stays as it is.
    pub(super) fn turn(
        &mut self,
        now: Nanos,
        slot: u32,
        psn: ServerPsn,
        frame: &mut Frame<'_>,
        layout: &Layout,
    ) -> Option<Layout> {
        if !self.follows_memory() {
            return None;
        }
        let request = self.servers.slots.get(slot)?.request;
        let id = request.server_qp;
        let mut turn = Turn {
            start: request.access.map_or(0, |access| access.start),
            operands: request.operands,
            ..Turn::default()
        };
        if request.kind != Kind::Plain {
            self.steer(id, &request, &mut turn);
        }
        if request.kind == Kind::Atomic {
            self.replace(now, id, psn, &request, &mut turn);
            self.note_append(id, psn, &request, &turn);
        }
        self.note_words(now, (id, psn), &request, &turn, frame, layout);
        self.turns.set(slot, turn);
        if matches!(turn.told, Told::Had(_))
            && let Some(record) = self.servers.slots.get_mut(slot)
        {
            // Any acknowledgement of it or of what is behind it completes a WRITE.
            record.request.kind = Kind::Plain;
        }
        self.form(&request, &turn, frame, layout)
    }

    /// A WRITE takes an atomic's place if it is known what the word holds, and that the atomic
    /// would succeed.
    fn replace(
        &mut self,
        now: Nanos,
        id: ServerQpId,
        psn: ServerPsn,
        request: &Request,
        turn: &mut Turn,
    ) {
        if self.choices.atomics != Atomics::Replace {
            return self.ask_word(now, id, psn, request, turn);
        }
        let (Some(place), Some(domain)) = (place_of(request), self.memory_at(id)) else {
            return self.counters.kept.count(KeptReason::OwnQueuePair as usize);
        };
        if !self.words.is_passed(now) {
            return self.counters.kept.count(KeptReason::OthersPass as usize);
        }
        if self.words.is_disordered(domain) {
            return self.counters.kept.count(KeptReason::ByteOrder as usize);
        }
        let user = User { server_qp: id, place };
        let quiet = self.words.is_quiet(domain, turn.start, id);
        let holds = match self.words.holds(domain, turn.start, user) {
            Holds::Known(_) if !quiet => Holds::Unknown,
            holds => holds,
        };
        let is_swap = request.origin.opcode == Opcode::CompareSwap;
        let reason = match holds {
            Holds::Off => Some(KeptReason::WordOff),
            Holds::Unknown | Holds::Asked(_) => Some(KeptReason::ValueUnknown),
            Holds::Known(value) => {
                turn.holds = Some(value);
                let fails = is_swap && value != turn.operands.compare;
                match fails && self.config.keeps(Rule::FailingSwapIsAsked) {
                    true => Some(KeptReason::ValueDiffers),
                    false if self.may_write(request, turn.start) => None,
                    false => Some(KeptReason::NotTrusted),
                }
            }
        };
        let Some(reason) = reason else {
            return self.put_write(domain, user, psn, request, turn);
        };
        self.counters.kept.count(reason as usize);
        let known = matches!(holds, Holds::Known(_)) && reason == KeptReason::ValueDiffers;
        if !known {
            self.words.set(domain, turn.start, user, psn, Holds::Asked(psn), false);
        }
    }

    /// An atomic stays one by choice: its answer says what its word holds then.
    fn ask_word(
        &mut self,
        now: Nanos,
        server_qp: ServerQpId,
        psn: ServerPsn,
        request: &Request,
        turn: &Turn,
    ) {
        let (Some(place), Some(domain)) = (place_of(request), self.memory_at(server_qp)) else {
            return;
        };
        let knows = self.follows_words() && self.words.is_passed(now);
        if knows && !self.words.is_disordered(domain) {
            let user = User { server_qp, place };
            self.words.set(domain, turn.start, user, psn, Holds::Asked(psn), false);
        }
    }

    /// The atomic becomes a WRITE.
    fn put_write(
        &mut self,
        domain: crate::DomainId,
        user: User,
        psn: ServerPsn,
        request: &Request,
        turn: &mut Turn,
    ) {
        let Some(value) = turn.holds else { return };
        let is_swap = request.origin.opcode == Opcode::CompareSwap;
        let Operands { swap_or_add, compare: _ } = turn.operands;
        let after = if is_swap { swap_or_add } else { value.wrapping_add(swap_or_add) };
        turn.operands = Operands { swap_or_add: after, compare: 0 };
        turn.told = Told::Had(match turn.told {
            Told::Appended { expected, .. } => expected,
            _ => value,
        });
        self.words.set(domain, turn.start, user, psn, Holds::Known(after), false);
        self.counters.replaced_atomics += 1;
        if is_swap {
            self.counters.count_swap(true);
        }
    }

    /// An atomic is bound that may append to its list. A WRITE in its place cannot but do so: what
    /// is in memory then is what it stores.
    fn note_append(&mut self, id: ServerQpId, psn: ServerPsn, request: &Request, turn: &Turn) {
        let (true, Some(key)) = (turn.appends, request.key) else { return };
        let Some(domain) = self.memory_at(id) else { return };
        if matches!(turn.told, Told::Had(_)) {
            self.on_appended(id, domain, key, turn);
        } else if let Some(list) = self.lists.list(domain, key, id) {
            list.asked = Some(psn);
        }
    }

    /// Whether server queue pair and client may both write the word.
    fn may_write(&self, request: &Request, start: u64) -> bool {
        request.access.is_some_and(|access| {
            let access = Access { right: Rights::WRITE, start, len: 8, ..access };
            self.directory.fit(request.client, request.server_qp, &access, 1) == Fit::Certain
        })
    }

    /// Compares what a request writes with the words that are known.
    fn note_words(
        &mut self,
        now: Nanos,
        (id, psn): (ServerQpId, ServerPsn),
        request: &Request,
        turn: &Turn,
        frame: &Frame<'_>,
        layout: &Layout,
    ) {
        let Some(range) = self.written_range(id, request.access, turn.start) else { return };
        let replaced = matches!(turn.told, Told::Had(_));
        self.words.begin_write(range, id, replaced);
        if layout.opcode == Opcode::WriteFirst
            && let Some(server) = self.servers.get_mut(id)
            && !core::mem::replace(&mut server.writes_long, true)
        {
            self.words.count_long_write(true);
        }
        let asked = request.kind == Kind::Atomic && place_of(request).is_some();
        let alone = matches!(request.origin.way, Way::Alone(_));
        if replaced || asked && !alone {
            return;
        }
        let fills = whole_slot(&self.policy, request, layout);
        let manner = match request.origin.way {
            _ if fills => Manner::Fresh,
            Way::Place(place) | Way::Alone(place) => Manner::Keyed(place),
            Way::Own => Manner::Own,
        };
        let order = self.directory.byte_order(id);
        let payload = layout.payload(frame.bytes());
        let whole = request.kind == Kind::Plain && layout.opcode == Opcode::WriteOnly;
        let value_at = |address: u64| {
            let at = usize::try_from(address.checked_sub(range.start)?).ok()?;
            let bytes = payload.get(at..at.checked_add(8)?)?;
            whole.then(|| order.number(bytes))
        };
        let strays = self.config.keeps(Rule::StrayWriteEndsWord);
        let off = self.words.on_write(range, (id, psn), (manner, strays), value_at);
        self.counters.words_off += u64::from(off);
        let fills = fills && self.words.is_passed(now);
        if let (true, Some(place), Some(word)) = (fills, place_of(request), payload.get(..8)) {
            let user = User { server_qp: id, place };
            let holds = Holds::Known(order.number(word));
            self.words.set(range.domain, range.start, user, psn, holds, true);
        }
    }

    /// What an access that goes to this address writes at the server.
    pub(super) fn written_range(
        &self,
        id: ServerQpId,
        access: Option<Access>,
        start: u64,
    ) -> Option<Range> {
        let access = access.filter(|_| self.follows_words())?;
        let writes = access.right != Rights::READ && access.len > 0;
        let range = Range { domain: self.memory_at(id)?, start, len: access.len };
        writes.then_some(range)
    }

    /// Whether a request waits for WRITEs in the place of atomics that are on their way to the same
    /// memory by another server queue pair: it would not see them, nor they it.
    pub(super) fn waits_for_word(&self, id: ServerQpId, request: &Request) -> bool {
        request.access.is_some_and(|access| self.is_word_awaited(id, access))
    }

    /// The same of a request with this access.
    pub(crate) fn is_word_awaited(&self, id: ServerQpId, access: Access) -> bool {
        if !self.follows_words() || !self.config.keeps(Rule::StrayWriteWaits) {
            return false;
        }
        let range = self.written_range(id, Some(access), access.start);
        range.is_some_and(|range| self.words.must_wait(range, id))
    }

    /// Whether a request waits for what is not known yet of memory.
    pub(super) fn waits_for_memory(&self, id: ServerQpId, request: &Request) -> bool {
        self.waits_for_list(id, request) || self.waits_for_word(id, request)
    }

    /// A request has begun to wait.
    pub(super) fn note_wait(&mut self, id: ServerQpId, slot: u32) {
        if !self.minds {
            return;
        }
        let Some(record) = self.servers.slots.get(slot) else { return };
        self.counters.list_waits += u64::from(self.waits_for_list(id, &record.request));
        self.counters.word_waits += u64::from(self.waits_for_word(id, &record.request));
        self.stay_waiter(id);
    }

    /// What waits goes on waiting.
    pub(super) fn stay_waiter(&mut self, id: ServerQpId) {
        let waits = self.servers.get(id).is_some_and(|server| {
            !server.waiting_own.is_empty() || !server.waiting_guests.is_empty()
        });
        if waits && self.follows_words() {
            self.word_waiters.push(id.0);
        }
    }

    /// A request passes untranslated: who writes so is seen, but not waited for.
    pub(crate) fn note_passing(&mut self, now: Nanos, frame: &Frame<'_>, layout: &Layout) {
        let writes =
            layout.opcode.is_request() && (layout.opcode.is_write() || layout.opcode.is_atomic());
        let knows = || {
            let mut all = self.directory.connections().iter();
            all.any(|connection| connection.server.ip == layout.destination)
        };
        if writes && self.follows_words() && knows() && icrc::verify(frame.bytes(), layout) {
            self.words.on_passing(now, now.after(self.config.packet_lifetime_ns));
        }
    }

    pub(super) fn memory_at(&self, id: ServerQpId) -> Option<crate::DomainId> {
        self.directory.memory_at(id)
    }
}

/// Whether a request fills a whole slot of a list.
fn whole_slot(policy: &Policy, request: &Request, layout: &Layout) -> bool {
    request.kind == Kind::Plain
        && layout.opcode == Opcode::WriteOnly
        && policy.profile.is_slot(layout.payload_len.into())
}

/// The place that brought a request to its server queue pair.
pub(super) fn place_of(request: &Request) -> Option<PlaceId> {
    match request.origin.way {
        Way::Place(place) => Some(place),
        Way::Alone(_) | Way::Own => None,
    }
}
