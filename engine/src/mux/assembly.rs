//! Messages of several packets for a server queue pair that others use as well. They are held
//! until their last packet is here and are then handed over whole: a client that falls silent
//! leaves none half sent, which nothing could end (messages do not interleave, not even with a
//! zero-length WRITE: IBTA vol. 1, 9.7.4.1.2).

use super::client::{ClientSlot, State, Way};
use crate::counters::DeclineReason;
use crate::engine::Engine;
use crate::ids::ClientId;
use crate::out::{Action, Out};
use crate::rules::Rule;
use crate::time::Nanos;
use crate::wire::{Layout, NakCode, Opcode};

/// A message whose last packet has not come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Assembly {
    /// The slot of its first packet.
    pub(crate) first: u32,
    /// Bytes that are still to come.
    pub(super) left: u32,
    /// When it began, or was last waited for with reason.
    pub(super) since: Nanos,
}

impl Engine {
    /// Takes the newest packet of a client into account, if it belongs to a message that is to be
    /// handed over whole. `false` if its packets are not the message that the first one announced:
    /// its responder would refuse it.
    pub(super) fn assemble(
        &mut self,
        id: ClientId,
        slot: u32,
        now: Nanos,
        layout: &Layout,
        out: &mut Out,
    ) -> bool {
        let Some(&record) = self.clients.slots.get(slot) else { return true };
        let path_mtu = self.directory.client(id).map_or(0, |own| u32::from(own.path_mtu));
        let Some(client) = self.clients.get_mut(id) else { return true };
        let payload = u32::from(layout.payload_len);
        if layout.opcode.starts_message() {
            let whole = layout.opcode != Opcode::WriteFirst || record.way == Way::Own;
            let Some(access) = record.access.filter(|_| !whole) else { return true };
            let left = access.len.saturating_sub(payload);
            client.assembly = Some(Assembly { first: slot, left, since: now });
            self.assembling.push(id.0);
            self.deadlines.note(id.0, now.after(self.config.message_wait_ns));
            return true;
        }
        let Some(assembly) = client.assembly else { return true };
        match layout.opcode {
            Opcode::WriteMiddle if payload == path_mtu && payload < assembly.left => {
                client.assembly = Some(Assembly { left: assembly.left - payload, ..assembly });
            }
            Opcode::WriteLast if payload == assembly.left => {
                client.assembly = None;
                self.clients.work.push(id.0);
            }
            Opcode::WriteLastImm if payload == assembly.left => {
                self.send_own_way(id, assembly.first);
            }
            _ => {
                self.refuse_assembly(id, assembly.first, out);
                return false;
            }
        }
        true
    }

    /// The first packet is refused, and with it the message.
    fn refuse_assembly(&mut self, id: ClientId, first: u32, out: &mut Out) {
        let Some(record) = self.clients.slots.get_mut(first) else { return };
        if let State::Held(token) = record.state {
            out.push(Action::Release(token));
        }
        record.state = State::Refused(NakCode::InvalidRequest);
        let psn = record.psn;
        self.halt(id, psn);
        if let Some(client) = self.clients.get_mut(id) {
            client.assembly = None;
        }
    }

    /// The last packet consumes a receive buffer: the client's own server queue pair takes the
    /// message.
    fn send_own_way(&mut self, id: ClientId, first: u32) {
        self.counters.declined.count(DeclineReason::NotWhole as usize);
        let mut slot = Some(first);
        while let Some(index) = slot {
            let Some(record) = self.clients.slots.get_mut(index) else { break };
            record.way = Way::Own;
            record.target = id.own_server_qp();
            record.exclusive = index == first;
            slot = self.clients.slots.next(index);
        }
        if let Some(client) = self.clients.get_mut(id) {
            client.assembly = None;
            self.clients.work.push(id.0);
        }
    }

    /// What the packets of the message under way do: as its first one does.
    pub(super) fn assembly_way(&self, id: ClientId) -> Option<Way> {
        let assembly = self.clients.get(id)?.assembly?;
        self.clients.slots.get(assembly.first).map(|record| record.way)
    }

    /// When the client's message that is not whole is given up.
    pub(crate) fn assembly_deadline(&self, id: ClientId) -> Option<Nanos> {
        let since = self.clients.get(id)?.assembly?.since;
        Some(since.after(self.config.message_wait_ns))
    }

    /// Gives a message up that has waited for its last packet for too long. `false` if none has.
    /// While something before it is unanswered, the client's window may be what keeps the last
    /// packet back: the time begins anew.
    pub(super) fn expire_step(&mut self, now: Nanos, id: ClientId, out: &mut Out) -> bool {
        if self.assembly_deadline(id).is_none_or(|deadline| deadline > now) {
            return false;
        }
        let wait = self.config.message_wait_ns;
        let may_be_kept_back = self.config.keeps(Rule::WindowMayKeepBack);
        if let Some(client) = self.clients.get_mut(id)
            && let Some(assembly) = &mut client.assembly
            && may_be_kept_back
            && client.queue.head() != Some(assembly.first)
        {
            assembly.since = now;
            self.deadlines.note(id.0, now.after(wait));
            return false;
        }
        self.roll_back_assembly(id, out)
    }

    /// The table of requests is full. Of the clients with a message that is not whole, the one
    /// that began first gives it up: it is not bound, so the client repeats it.
    pub(super) fn shed_assembly(&mut self, out: &mut Out) {
        while out.has_room()
            && let Some(client) = self.assembling.pop()
        {
            if self.roll_back_assembly(ClientId(client), out) {
                return;
            }
        }
    }

    /// Forgets the packets of a message that is not whole, the newest of their client. Whether
    /// there were any.
    fn roll_back_assembly(&mut self, id: ClientId, out: &mut Out) -> bool {
        let Some(client) = self.clients.states.get_mut(id.index()) else { return false };
        let Some(assembly) = client.assembly.take() else { return false };
        let Some(&first) = self.clients.slots.get(assembly.first) else { return false };
        client.expected = first.psn;
        client.in_message = false;
        if client.first_held == Some(assembly.first) {
            client.first_held = None;
        }
        let mut slot = Some(assembly.first);
        while let Some(index) = slot {
            slot = self.clients.slots.next(index);
            self.clients.slots.unlink(&mut client.queue, index);
            client.open = client.open.saturating_sub(1);
            if let Some(&ClientSlot { state: State::Held(token), .. }) =
                self.clients.slots.get(index)
            {
                out.push(Action::Release(token));
            }
            self.clients.slots.remove(index);
        }
        self.counters.shed += 1;
        true
    }
}
