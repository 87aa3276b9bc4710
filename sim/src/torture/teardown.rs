//! Clients that end their connections through the connection manager once all that they asked for
//! is done (IBTA vol. 1, 12.10.8 and 12.10.9): their server queue pairs are gone then, guests or
//! not. Only an engine that learns connections looks at what the connection manager says.

use qpmux_engine::Side;
use qpmux_engine::wire::cm::{CmDrepRepr, CmDreqRepr};
use qpmux_engine::wire::{
    Classified, CmMad, CmMessage, Layout, NotRc, Psn, build_cm, classify, icrc, insert_tag,
};

use super::hosts::{Whose, whose};
use super::world::World;
use crate::faults::Leg;
use crate::rc::Link;

/// Time after which a client asks again that was not answered, ns.
const PATIENCE: u64 = 30_000;

/// A message of one end of a link to the other's host.
fn build(link: &Link, message: CmMessage) -> Option<Vec<u8>> {
    let mut buffer = [0; 512];
    let mad = CmMad { transaction_id: 1, message };
    let mut len = build_cm(&link.path, Psn::new(0), &mad, &mut buffer)?;
    if let Some(tag) = link.tag {
        len = insert_tag(&mut buffer, len, tag)?;
    }
    Some(buffer[..len].to_vec())
}

/// What an undamaged frame says to a connection manager.
fn message(frame: &[u8]) -> Option<CmMessage> {
    let Ok(Classified::Other(NotRc::Cm(layout))) = classify(frame) else { return None };
    let mad = frame.get(usize::from(layout.mad)..usize::from(layout.icrc))?;
    let mad = icrc::verify_cm(frame, &layout).then(|| CmMad::parse(mad).ok())?;
    mad.map(|mad| mad.message)
}

/// Names of a connection: the client's, and the server's.
fn names(i: u32) -> (u32, u32) {
    (i + 1, !i)
}

impl World<'_> {
    /// A client that has all that it asked for asks for the end, if it is one of those. What it
    /// sent before may still be on its way.
    pub(super) fn leave_if_done(&mut self, i: u32) {
        if !self.plan.clients[i as usize].leaves || self.plan.learning.is_none() {
            return;
        }
        let connection = &self.connections[i as usize];
        let done = connection.is_done() && connection.requester.pending() == 0;
        if !done || connection.left || connection.has_stopped() {
            return;
        }
        self.connections[i as usize].left = true;
        self.last_fault = self.now;
        self.ask_for_end(i);
    }

    /// A client asks for the end, until it is answered.
    pub(super) fn ask_for_end(&mut self, i: u32) {
        let connection = &self.connections[i as usize];
        if connection.answered || connection.has_stopped() {
            return;
        }
        if self.now < connection.deaf_until {
            return self.ask_for_end_after(PATIENCE, i);
        }
        let link = self.plan.link(i);
        let (local_comm_id, remote_comm_id) = names(i);
        let dreq = CmDreqRepr { local_comm_id, remote_comm_id, remote_qpn: link.peer_qpn };
        if let Some(frame) = build(&link, CmMessage::Dreq(dreq)) {
            self.send(Leg::ClientToBox, i, frame);
        }
        self.ask_for_end_after(PATIENCE, i);
    }

    /// The middlebox lets a message between connection managers out. `false` if it is none.
    pub(super) fn dispatch_message(&mut self, side: Side, frame: &[u8]) -> bool {
        let Some(message) = message(frame) else { return false };
        let (leg, i) = match (side, message) {
            (Side::Server, CmMessage::Dreq(dreq)) => (Leg::BoxToServer, dreq.local_comm_id - 1),
            (Side::Client, CmMessage::Drep(drep)) => (Leg::BoxToClient, drep.remote_comm_id - 1),
            _ => return false,
        };
        self.connections[i as usize].released |= leg == Leg::BoxToServer;
        self.send(leg, i, frame.to_vec());
        true
    }

    /// A frame comes to an end: whether it is for the connection manager there, or for nobody since
    /// the queue pair is gone.
    pub(super) fn is_past(&mut self, leg: Leg, i: u32, frame: &[u8]) -> bool {
        let connection = &mut self.connections[i as usize];
        match (leg, message(frame)) {
            (Leg::BoxToServer, Some(CmMessage::Dreq(_))) => {
                connection.gone = true;
                let (remote_comm_id, local_comm_id) = names(i);
                let drep = CmDrepRepr { local_comm_id, remote_comm_id };
                if let Some(frame) = build(&self.plan.link(i).reversed(), CmMessage::Drep(drep)) {
                    self.send(Leg::ServerToBox, i, frame);
                }
                true
            }
            (Leg::BoxToClient, message) => {
                connection.answered |= matches!(message, Some(CmMessage::Drep(_)));
                connection.left
            }
            (Leg::BoxToServer, _) => connection.gone,
            _ => false,
        }
    }

    /// A packet to a server queue pair: not a guest's once the end was let through. (The owner's
    /// own may be late, or asked for again.)
    pub(super) fn judge_released(&mut self, i: u32, layout: &Layout, frame: &[u8]) {
        let guest = match whose(frame, layout) {
            Whose::Request(client, _) | Whose::Client(client) => client != i,
            Whose::Word(_) | Whose::Unknown => false,
        };
        if guest && self.connections[i as usize].released {
            let text = || format!("PSN {} for server queue pair {i} after its end", layout.psn);
            self.violations.record("F29", self.now, text);
        }
    }
}
