//! Go-back-N from retained frames (IBTA vol. 1, 9.7.5.1): the client has no part in it.

use crate::engine::Engine;
use crate::ids::ServerQpId;
use crate::mail::Kind;
use crate::mux::generate;
use crate::mux::server::{ServerSlot, Source};
use crate::out::Out;
use crate::rules::Rule;
use crate::time::Nanos;
use crate::wire::{RethRepr, ServerPsn};

impl Engine {
    /// Sends everything open again, oldest first. A READ is asked for again from its start:
    /// parts that have come are skipped then. (A responder that was asked for the end of a READ
    /// may not answer for its beginning any more: rxe_resp.c.)
    pub(crate) fn repair_from_oldest(&mut self, now: Nanos, id: ServerQpId) {
        let (floor, cap) = (self.config.server_timeout_ns, self.config.server_timeout_max_ns);
        let Some(server) = self.servers.get_mut(id) else { return };
        // Nothing but its end ends a wait that the server has asked for: some send a sequence
        // NAK all the same (rxe_resp.c).
        if server.not_ready_until.is_some_and(|until| until > now) {
            return;
        }
        server.repair = server.open.head();
        server.not_ready_until = None;
        if server.repair.is_some() {
            server.round_trip.on_repair();
            server.deadline = now.after(server.round_trip.timeout_ns(floor, cap, server.retries));
            self.deadlines.note(id.0, server.deadline);
        }
        self.servers.work.push(id.0);
    }

    /// Repair because a later request was answered: once until the oldest makes progress, or the
    /// timer runs out, since every later answer says the same.
    pub(crate) fn repair_implied(&mut self, now: Nanos, id: ServerQpId, oldest: ServerPsn) {
        let Some(server) = self.servers.get_mut(id) else { return };
        if server.repaired_at == Some(oldest) || server.repair.is_some() {
            return;
        }
        server.repaired_at = Some(oldest);
        self.repair_from_oldest(now, id);
    }

    /// Sends one request again. `false` if none is left.
    pub(crate) fn repair_step(&mut self, id: ServerQpId, out: &mut Out) -> bool {
        let Some(server) = self.servers.states.get_mut(id.index()) else { return false };
        let Some(slot) = server.repair else { return false };
        let next = self.servers.slots.next(slot);
        let Some(&record) = self.servers.slots.get(slot) else { return false };
        if self.is_checked(id, slot) {
            return false;
        }
        let sent = self.ask_for_tail(id, &record, out) || self.transmit(id, &record, out);
        if let Some(server) = self.servers.get_mut(id).filter(|_| sent) {
            server.repair = next;
        }
        sent
    }

    /// Only without the rule against it: asks for what is missing of a READ's response. Whether it
    /// did.
    fn ask_for_tail(&self, id: ServerQpId, record: &ServerSlot, out: &mut Out) -> bool {
        let implied = self.servers.get(id).is_some_and(|server| server.retries == 0);
        let parts = record.parts;
        if self.config.keeps(Rule::ReadsFromTheirStart) || !implied || parts == 0 || record.done {
            return false;
        }
        let (Some(to), Some(access), Source::Frame, Kind::Read) = (
            self.directory.server_qp(id),
            record.request.access,
            record.source,
            record.request.kind,
        ) else {
            return false;
        };
        let skipped = parts * u32::from(to.path_mtu);
        let reth = RethRepr {
            virtual_address: access.start + u64::from(skipped),
            remote_key: access.remote_key,
            dma_length: access.len.saturating_sub(skipped),
        };
        generate::read(out, to, record.psn.add(parts), reth)
    }

    /// Something was answered: the timer starts anew (IBTA vol. 1, 9.9.2.1.1).
    pub(crate) fn note_progress(&mut self, now: Nanos, id: ServerQpId) {
        let (floor, cap) = (self.config.server_timeout_ns, self.config.server_timeout_max_ns);
        let Some(server) = self.servers.get_mut(id) else { return };
        server.retries = 0;
        let timeout = server.round_trip.timeout_ns(floor, cap, 0);
        if server.not_ready_until.is_some() {
            return;
        }
        let empty = server.open.is_empty();
        server.deadline = if empty { Nanos::NEVER } else { now.after(timeout) };
        self.deadlines.note(id.0, server.deadline);
    }
}
