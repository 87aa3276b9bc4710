//! Congestion notifications (RoCEv2 annex A17.9.3) on queue pairs that several clients use.
//!
//! The mark of a request travels with it to the server, which then tells the queue pair's owner to
//! slow down; but the marked packet may be a guest's. So those are told whose packets were marked.

use crate::counters::{DropReason, GeneratedKind};
use crate::engine::Engine;
use crate::frame::{Frame, Side};
use crate::ids::{ClientId, ServerQpId};
use crate::mail::Mail;
use crate::mux::client::Service;
use crate::mux::generate;
use crate::out::Out;
use crate::rules::Rule;
use crate::wire::{CnpLayout, icrc};

/// Clients that one notification is passed on to, at most.
const TOLD_MAX: usize = 8;

/// Clients whose packets were marked on a server queue pair since its last notification. Of more
/// than there is room for, the others are told by the next one.
#[derive(Clone, Copy, Default)]
pub(crate) struct Marked {
    clients: [Option<ClientId>; TOLD_MAX],
}

impl Marked {
    /// Remembers a client, once.
    pub(crate) fn add(&mut self, client: ClientId) {
        if !self.clients.contains(&Some(client))
            && let Some(room) = self.clients.iter_mut().find(|room| room.is_none())
        {
            *room = Some(client);
        }
    }

    fn is_empty(&self) -> bool {
        self.clients.iter().all(Option::is_none)
    }
}

impl Engine {
    /// A congestion notification from `side`.
    pub(crate) fn on_cnp(
        &mut self,
        side: Side,
        frame: &mut Frame<'_>,
        layout: &CnpLayout,
        out: &mut Out,
    ) {
        let target = &layout.target;
        let flow = (target.source, target.destination, target.dest_qp);
        let found = match side {
            Side::Client => self.requests.find_flow(flow),
            Side::Server => self.responses.find_flow(flow),
        };
        let Some(id) = found.map(ClientId) else { return self.pass(frame, out) };
        match self.shard_of(id) {
            Some(shard) if shard != self.shard => {
                return out.push_mail(shard, Mail::Foreign { side }, Some(frame.token()));
            }
            _ => {}
        }
        if self.clients.get(id).is_none_or(|client| client.service == Service::Watching) {
            return self.pass(frame, out);
        }
        if !icrc::verify_cnp(frame.bytes(), layout) {
            return self.drop_frame(frame, DropReason::IcrcBad, out);
        }
        match side {
            Side::Client => self.on_client_cnp(id, frame, out),
            Side::Server => self.on_server_cnp(id.own_server_qp(), frame, out),
        }
    }

    /// The way to a server queue pair is congested: those whose packets were marked are told, or,
    /// if none is known, those who have requests there.
    fn on_server_cnp(&mut self, id: ServerQpId, frame: &mut Frame<'_>, out: &mut Out) {
        let Some(server) = self.servers.get_mut(id) else { return self.pass(frame, out) };
        let mut told = core::mem::take(&mut server.marked);
        if !self.config.keeps(Rule::MarkedAreNotified) {
            told = Marked::default();
        }
        let mut slot = server.open.head();
        while told.is_empty()
            && let Some(index) = slot
        {
            let Some(record) = self.servers.slots.get(index) else { break };
            told.add(record.request.client);
            slot = self.servers.slots.next(index);
        }
        if told.is_empty() {
            told.add(id.owner());
        }
        self.drop_frame(frame, DropReason::Consumed, out);
        for client in told.clients.into_iter().flatten() {
            let Some(connection) = self.directory.client(client) else { continue };
            if generate::notify_client(out, connection) {
                self.counters.generated.count(GeneratedKind::Cnp as usize);
            }
        }
    }

    /// The way to a client is congested: the server queue pair that has answered it is told.
    fn on_client_cnp(&mut self, id: ClientId, frame: &mut Frame<'_>, out: &mut Out) {
        let own = id.own_server_qp();
        let target = self.clients.get(id).map_or(own, |client| client.released.1);
        let Some(connection) = self.directory.server_qp(target).filter(|_| target != own) else {
            return self.pass(frame, out);
        };
        if generate::notify_server(out, connection) {
            self.counters.generated.count(GeneratedKind::Cnp as usize);
        }
        self.drop_frame(frame, DropReason::Consumed, out);
    }
}
