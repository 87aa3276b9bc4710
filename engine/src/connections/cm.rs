//! Listening to the connection manager: how connections are set up and taken down.
//!
//! The client's REQ, the server's REP and the client's RTU name all that there is to know. Each
//! may be sent again, put off (MRA) or refused (REJ); a DREQ, which either end may send and which
//! may cross another, ends the connection. Nothing is taken for true before the RTU, or a packet
//! of the connection at the PSN agreed upon, in case the RTU is lost.

use core::net::IpAddr;

use super::event::EndReason;
use super::handshakes::Peer;
use super::learner::{Learner, mac_of};
use super::told::{comm_ids_hash, is_usual_qp};
use crate::wire::cm::{CmMessage, CmRejRepr, CmRepRepr, CmReqRepr, address_of_gid, path_mtu_bytes};
use crate::wire::{CmLayout, CmMad, Layout, Qpn};

/// Transport service type of reliable connected transport.
const RC: u8 = 0;

/// Who sends a message to whom.
#[derive(Clone, Copy)]
struct Letter {
    from: Peer,
    to: IpAddr,
}

impl Learner {
    /// Watches a message of the connection manager. It must have been checked as in
    /// [`Learner::observe`]: `layout` describes it, and its ICRC is right. `now_ns` must not go
    /// back.
    ///
    /// A connection that this ends is ended before the message reaches its receiver; whoever
    /// holds requests of it must settle them first and then let the message pass.
    pub fn observe_mad(&mut self, now_ns: u64, layout: &CmLayout, frame: &[u8]) {
        self.counters.cm_messages += 1;
        if !self.config.cm {
            return;
        }
        self.counters.handshakes_expired += self.handshakes.expire(now_ns);
        let from = Peer { ip: layout.source, mac: mac_of(frame) };
        let letter = Letter { from, to: layout.destination };
        let understood = CmMad::parse(layout.mad(frame))
            .is_ok_and(|mad| self.on_message(now_ns, letter, mad.message));
        self.counters.cm_ignored += u64::from(!understood);
    }

    /// Says whether the message was of use.
    fn on_message(&mut self, now_ns: u64, letter: Letter, message: CmMessage) -> bool {
        let (from, to) = (letter.from.ip, letter.to);
        match message {
            CmMessage::Req(req) => self.on_req(now_ns, letter, req),
            CmMessage::Rep(rep) => self.on_rep(now_ns, letter, rep),
            CmMessage::Rtu(rtu) => {
                let Some(index) = self.handshakes.find(from, to, rtu.local_comm_id) else {
                    return false;
                };
                let rep = self.handshakes.get(index).and_then(|known| known.rep);
                let fits = rep.is_some_and(|rep| rep.local_comm_id == rtu.remote_comm_id);
                if fits {
                    self.complete_handshake(now_ns, index);
                }
                fits
            }
            CmMessage::Mra(mra) => {
                let found = self.handshake_of(letter, mra.local_comm_id, mra.remote_comm_id);
                found.inspect(|&index| self.handshakes.touch(now_ns, index)).is_some()
            }
            CmMessage::Rej(rej) => self.on_rej(letter, rej),
            CmMessage::Dreq(dreq) => {
                let names = (dreq.local_comm_id, dreq.remote_comm_id);
                self.on_teardown(letter, names, Some(dreq.remote_qpn))
            }
            CmMessage::Drep(drep) => {
                self.on_teardown(letter, (drep.local_comm_id, drep.remote_comm_id), None)
            }
            CmMessage::Other(_) => false,
        }
    }

    fn on_req(&mut self, now_ns: u64, letter: Letter, req: CmReqRepr) -> bool {
        let Letter { from, to } = letter;
        // The connection's packets go between the addresses of the path, which need not be those
        // of this message; such a path is left to other evidence.
        let same_path =
            address_of_gid(req.local_gid) == from.ip && address_of_gid(req.remote_gid) == to;
        if req.transport != RC
            || path_mtu_bytes(req.path_mtu).is_none()
            || !is_usual_qp(req.local_qpn)
            || !same_path
            || from.ip == to
        {
            return false;
        }
        let server = Peer { ip: to, mac: [0; 6] };
        let evicted = self.handshakes.on_req(now_ns, from, server, req);
        self.counters.handshakes_evicted += u64::from(evicted);
        true
    }

    fn on_rep(&mut self, now_ns: u64, letter: Letter, rep: CmRepRepr) -> bool {
        let Letter { from, to } = letter;
        let found = self.handshakes.find(to, from.ip, rep.remote_comm_id);
        let Some(index) = found.filter(|_| is_usual_qp(rep.local_qpn)) else {
            return false;
        };
        self.handshakes.on_rep(now_ns, index, from.mac, rep);
        true
    }

    fn on_rej(&mut self, letter: Letter, rej: CmRejRepr) -> bool {
        let names = (rej.local_comm_id, rej.remote_comm_id);
        if let Some(index) = self.handshake_of(letter, names.0, names.1) {
            self.handshakes.remove(index);
            self.counters.handshakes_rejected += 1;
            return true;
        }
        // A server that never got the RTU takes back what its client already uses.
        self.on_teardown(letter, names, None)
    }

    /// The handshake that a message belongs to, whichever end sent it. The client may not know
    /// the server's name, but the other way round it is known.
    fn handshake_of(&self, letter: Letter, local: u32, remote: u32) -> Option<u32> {
        let (from, to) = (letter.from.ip, letter.to);
        let of_client = self.handshakes.find(from, to, local).filter(|&index| {
            let rep = self.handshakes.get(index).and_then(|known| known.rep);
            rep.is_some_and(|rep| rep.local_comm_id == remote)
        });
        of_client.or_else(|| self.handshakes.find(to, from, remote))
    }

    /// One end wants a connection to end. `receiver` is the other end's queue pair, if it is
    /// named.
    fn on_teardown(&mut self, letter: Letter, names: (u32, u32), receiver: Option<Qpn>) -> bool {
        let (from, to) = (letter.from.ip, letter.to);
        let place = self.by_names(from, to, names, receiver).or_else(|| {
            // Its handshake may have passed before we listened.
            let flow = self.store.find(from, to, receiver?)?;
            let place = self.store.flows[flow as usize].connection;
            let connection = self.slot_at(place)?.connection?;
            connection.cm.is_none().then_some(place)
        });
        if let Some(place) = place {
            self.end_epoch(place, EndReason::Teardown);
        }
        place.is_some()
    }

    /// The place of the connection that the sender calls `names.0` and the receiver `names.1`.
    fn by_names(
        &self,
        from: IpAddr,
        to: IpAddr,
        names: (u32, u32),
        receiver: Option<Qpn>,
    ) -> Option<u32> {
        let find = |hash, sender_is_client: bool| {
            self.by_comm_ids.find(hash, |place| {
                let Some(known) = self.slot_at(place).and_then(|slot| slot.connection) else {
                    return false;
                };
                let Some(cm) = known.cm else { return false };
                let (client, server) = (known.client, known.server);
                let (ids, ends) = match sender_is_client {
                    true => ((cm.client_comm_id, cm.server_comm_id), (client, server)),
                    false => ((cm.server_comm_id, cm.client_comm_id), (server, client)),
                };
                ids == names
                    && (ends.0.ip, ends.1.ip) == (from, to)
                    && receiver.is_none_or(|qpn| qpn == ends.1.qpn)
            })
        };
        find(comm_ids_hash(from, to, names.0, names.1), true)
            .or_else(|| find(comm_ids_hash(to, from, names.1, names.0), false))
    }

    /// Looks whether a packet is the first of a connection whose RTU has not been seen.
    pub(crate) fn confirm_handshake(&mut self, now_ns: u64, layout: &Layout) {
        self.counters.handshakes_expired += self.handshakes.expire(now_ns);
        let far = self.config.far_psns;
        let Some(index) = self.handshakes.of_packet(layout, far) else {
            return;
        };
        if !self.goes_on(layout) {
            self.complete_handshake(now_ns, index);
        }
    }

    /// Whether a packet belongs to a connection that is known and in use.
    fn goes_on(&self, layout: &Layout) -> bool {
        let Some(index) = self.store.find(layout.source, layout.destination, layout.dest_qp) else {
            return false;
        };
        let flow = &self.store.flows[index as usize];
        let Some(slot) = self.slot_of(index) else { return false };
        let other = slot.flows[usize::from(slot.flows[0] == index)];
        let asking = if layout.opcode.is_response() { other } else { index };
        let asked = &self.store.flows[asking as usize].requests;
        flow.source_port == layout.source_port && !asked.is_far(layout.psn, self.config.far_psns)
    }

    fn complete_handshake(&mut self, now_ns: u64, index: u32) {
        if let Some(done) = self.handshakes.remove(index) {
            self.establish(now_ns, &done);
        }
    }
}
