//! Back from what a request became to what its client asked for: frames on their way out, answers
//! on their way back.

use super::server::{ServerSlot, Source};
use super::turn::{Told, Turn, place_of};
use crate::counters::DropReason;
use crate::engine::Engine;
use crate::frame::Frame;
use crate::ids::{DomainId, ServerQpId};
use crate::mail::{Outcome, Request};
use crate::out::Out;
use crate::rules::Rule;
use crate::wire::{AtomicEthRepr, Layout, Opcode, RethRepr, reform};

impl Engine {
    /// Makes a frame what its request became. A frame that comes back from a lost host may have
    /// become something else before.
    pub(super) fn form(
        &self,
        request: &Request,
        turn: &Turn,
        frame: &mut Frame<'_>,
        layout: &Layout,
    ) -> Option<Layout> {
        let access = request.access?;
        let (virtual_address, remote_key) = (turn.start, access.remote_key);
        match request.origin.opcode {
            Opcode::ReadRequest => {
                let reth = RethRepr { virtual_address, remote_key, dma_length: access.len };
                let same = layout.reth(frame.bytes()) == Some(reth);
                if same { None } else { reform::read(frame, layout, &reth) }
            }
            opcode if opcode.is_atomic() => match turn.told {
                Told::Had(_) => {
                    let order = self.directory.byte_order(request.server_qp);
                    let word = order.bytes(turn.operands.swap_or_add);
                    let reth = RethRepr { virtual_address, remote_key, dma_length: 8 };
                    reform::write(frame, layout, &reth, &word)
                }
                _ => {
                    let (swap_or_add, compare) = (turn.operands.swap_or_add, turn.operands.compare);
                    let eth = AtomicEthRepr { virtual_address, remote_key, swap_or_add, compare };
                    let same = layout.atomic_eth(frame.bytes()) == Some(eth);
                    if same { None } else { reform::atomic(frame, layout, opcode, &eth) }
                }
            },
            _ => None,
        }
    }

    /// Whether a request goes to another address than its client's.
    pub(super) fn is_steered(&self, slot: u32) -> bool {
        matches!(self.turns.get(slot).told, Told::Appended { .. } | Told::Version(_))
    }

    /// What a request's client is told once it is acknowledged.
    pub(super) fn acknowledged(&self, slot: u32) -> Outcome {
        match self.turns.get(slot).told {
            Told::Had(original) => Outcome::Atomic(original),
            _ => Outcome::Acknowledged,
        }
    }

    /// An atomic was answered: what that says of its word and its list, and what its client is
    /// told.
    pub(crate) fn on_atomic_answered(&mut self, id: ServerQpId, slot: u32, original: u64) -> u64 {
        let Some(&record) = self.servers.slots.get(slot) else { return original };
        let request = record.request;
        let is_swap = request.origin.opcode == Opcode::CompareSwap;
        if !self.follows_memory() {
            if is_swap {
                self.counters.count_swap(original == request.operands.compare);
            }
            return original;
        }
        let turn = self.turns.get(slot);
        let succeeded = is_swap && original == turn.operands.compare;
        self.learn_word(id, &record, &turn, original, is_swap);
        if turn.appends
            && let (Some(domain), Some(key)) = (self.memory_at(id), request.key)
            && let Some(list) = self.lists.list(domain, key, id)
        {
            let newest = list.asked == Some(record.psn);
            if newest || !self.config.keeps(Rule::AppendsAreAwaited) {
                list.asked = None;
            }
            let end = list.end;
            if !succeeded && !self.lists.is_unrelated(domain, turn.start, end) {
                // Somebody appended past the engine, or too little is known to send it on. A client
                // whose READs go on to the end, and its appends not, would try for ever.
                self.lists.lose_end(domain, key);
            }
            if succeeded {
                self.on_appended(id, domain, key, &turn);
            }
            self.servers.work.push(id.0);
        }
        let told = match turn.told {
            _ if !self.config.keeps(Rule::SteeredAnswerIsTranslated) => original,
            Told::Appended { expected, .. } if succeeded => expected,
            Told::Appended { superseded, .. } => superseded,
            Told::AsAnswered | Told::Had(_) | Told::Version(_) => original,
        };
        if is_swap {
            self.counters.count_swap(told == request.operands.compare);
        }
        told
    }

    fn learn_word(
        &mut self,
        id: ServerQpId,
        record: &ServerSlot,
        turn: &Turn,
        original: u64,
        is_swap: bool,
    ) {
        let Some(domain) = self.memory_at(id) else { return };
        if place_of(&record.request).is_none() || !self.follows_words() {
            return;
        }
        let swap_or_add = turn.operands.swap_or_add;
        let after = match is_swap {
            true if original == turn.operands.compare => swap_or_add,
            true => original,
            false => original.wrapping_add(swap_or_add),
        };
        if turn.holds.is_some_and(|holds| holds != original)
            && self.config.keeps(Rule::ContradictionEndsWord)
        {
            if self.words.turn_off(domain, turn.start) {
                self.on_contradiction(domain, turn.holds, original);
            }
            return;
        }
        self.words.on_answer(domain, turn.start, (id, record.psn), after);
    }

    /// Somebody writes a word past the engine, or its server keeps its bytes the other way round.
    fn on_contradiction(&mut self, domain: DomainId, holds: Option<u64>, original: u64) {
        self.counters.words_contradicted += 1;
        if holds.is_some_and(|holds| holds.swap_bytes() == original) {
            self.counters.byte_orders_wrong += 1;
            self.words.on_disorder(domain);
        }
    }

    /// Makes the answer of a READ, in hand, the one that its client waits for. `false` if it is
    /// none: somebody wrote over the node that the READ had gone on to.
    pub(crate) fn turn_answer(
        &mut self,
        id: ServerQpId,
        slot: u32,
        frame: &mut Frame<'_>,
        layout: &Layout,
    ) -> bool {
        let Some(&record) = self.servers.slots.get(slot) else { return true };
        let turn = self.turns.get(slot);
        let order = self.directory.byte_order(id);
        let Some(found) = layout.payload(frame.bytes()).get(..8).map(|word| order.number(word))
        else {
            return true;
        };
        self.compare_word(id, &record, &turn, found);
        if !self.is_node_found(&turn, found) {
            return false;
        }
        let (Told::Version(version), Some(form)) = (turn.told, self.policy.profile.list()) else {
            return true;
        };
        if version != turn.operands.compare && self.config.keeps(Rule::SteeredAnswerIsTranslated) {
            let word = order.bytes(form.version.with(found, version));
            reform::payload_start(&self.icrc, frame.bytes_mut(), layout, &word);
        }
        true
    }

    /// Whether a READ that had gone on has found the node that it went to, by its first word.
    /// `true` of any other READ.
    pub(crate) fn is_node_found(&self, turn: &Turn, found: u64) -> bool {
        let (Told::Version(_), Some(form)) = (turn.told, self.policy.profile.list()) else {
            return true;
        };
        let all = form.next.mask() | form.next_version.mask() | form.version.mask();
        form.version.get(found) == turn.operands.compare && found & !all == 0
    }

    /// Compares a word that a READ found with what is known of it.
    fn compare_word(&mut self, id: ServerQpId, record: &ServerSlot, turn: &Turn, found: u64) {
        let Some(domain) = self.memory_at(id).filter(|_| self.follows_words()) else { return };
        let keeps = self.config.keeps(Rule::ContradictionEndsWord);
        if keeps && !self.words.compare(domain, turn.start, (id, record.psn), found) {
            self.counters.words_contradicted += 1;
        }
    }

    /// A READ that had gone on is asked for again, where its client had aimed.
    pub(super) fn steer_back(
        &mut self,
        id: ServerQpId,
        slot: u32,
        frame: &Frame<'_>,
        out: &mut Out,
    ) {
        self.drop_frame(frame, DropReason::ResponseUnfit, out);
        let Some(&record) = self.servers.slots.get(slot) else { return };
        let (turn, request) = (self.turns.get(slot), record.request);
        if let (Some(domain), Some(key)) = (self.memory_at(id), request.key) {
            self.lists.on_other_write(domain, turn.start, 1);
            self.lists.lose_end(domain, key);
        }
        self.counters.steered_back += 1;
        self.close_server_slot(id, slot);
        debug_assert_eq!(record.source, Source::Frame, "only what has a frame is steered");
        self.take_back(request.client, request.slot, record.token, out);
    }

    /// A request is not open any more: what it wrote, it has written.
    pub(crate) fn end_write(&mut self, id: ServerQpId, slot: u32) {
        if !self.follows_words() {
            return;
        }
        let Some(&ServerSlot { request, .. }) = self.servers.slots.get(slot) else { return };
        let turn = self.turns.get(slot);
        if let Some(range) = self.written_range(id, request.access, turn.start) {
            let replaced = matches!(turn.told, Told::Had(_));
            if self.words.end_write(range, replaced) {
                while let Some(waiter) = self.word_waiters.pop() {
                    self.servers.work.push(waiter);
                }
            }
        }
        let last = matches!(request.origin.opcode, Opcode::WriteLast | Opcode::WriteLastImm);
        if last
            && let Some(server) = self.servers.get_mut(id)
            && core::mem::take(&mut server.writes_long)
        {
            self.words.count_long_write(false);
        }
    }

    /// It is not known any more what a server queue pair has done.
    pub(crate) fn forget_contents(&mut self, id: ServerQpId) {
        self.words.forget(id);
        self.lists.forget(id);
        if let Some(server) = self.servers.get_mut(id)
            && core::mem::take(&mut server.writes_long)
        {
            self.words.count_long_write(false);
        }
    }
}
