//! What is recorded, and when: before the packet that it is about leaves.

use super::client::{ClientSlot, Way};
use super::closing::Loss;
use super::results::AtomicResult;
use super::server::ServerSlot;
use crate::Config;
use crate::engine::Engine;
use crate::frame::Frame;
use crate::ids::{ClientId, ServerQpId};
use crate::journal::{Binding, Extent, Operands, Record, ServerPoint, Steer};
use crate::mail::{Origin, Request};
use crate::out::Out;
use crate::policy::PlaceId;
use crate::rules::Rule;
use crate::wire::{ClientPsn, Layout};

/// What a request of a client that is complete up to `floor` is to it.
pub(super) fn origin_of(record: &ClientSlot, floor: ClientPsn) -> Origin {
    let ClientSlot { psn, msn, opcode, way, key, .. } = *record;
    Origin { psn, msn, opcode, floor, way, again: false, key }
}

impl From<Way> for Steer {
    fn from(way: Way) -> Steer {
        match way {
            Way::Own => Steer::Own,
            Way::Place(PlaceId(place)) => Steer::Place(place),
            Way::Alone(PlaceId(place)) => Steer::Alone(place),
        }
    }
}

impl From<Steer> for Way {
    fn from(steer: Steer) -> Way {
        match steer {
            Steer::Own => Way::Own,
            Steer::Place(place) => Way::Place(PlaceId(place)),
            Steer::Alone(place) => Way::Alone(PlaceId(place)),
        }
    }
}

impl Engine {
    /// Records that a request was bound, its frame in hand.
    pub(crate) fn record_binding(
        &mut self,
        slot: u32,
        frame: &Frame<'_>,
        layout: &Layout,
        out: &mut Out,
    ) {
        if !self.config.records || !self.config.keeps(Rule::BindingIsRecorded) {
            return;
        }
        self.record_host(slot, out);
        let Some(record) = self.servers.slots.get(slot) else { return };
        let Request { client, packets, exclusive, server_qp, origin, .. } = record.request;
        let Some(server) = self.servers.get(server_qp) else { return };
        let oldest = server.open.head().and_then(|oldest| self.servers.slots.get(oldest));
        let bytes = frame.bytes();
        let (extent, operands) = match (layout.reth(bytes), layout.atomic_eth(bytes)) {
            (Some(reth), _) => {
                let (remote_key, start) = (reth.remote_key, reth.virtual_address);
                (Some(Extent { remote_key, start, len: reth.dma_length }), Operands::default())
            }
            (None, Some(atomic)) => {
                let (remote_key, start) = (atomic.remote_key, atomic.virtual_address);
                let (swap_or_add, compare) = (atomic.swap_or_add, atomic.compare);
                let extent = Extent { remote_key, start, len: 8 };
                (Some(extent), Operands { swap_or_add, compare })
            }
            (None, None) => (None, Operands::default()),
        };
        out.push_record(&Record::Binding(Binding {
            client,
            psn: origin.psn,
            msn: origin.msn,
            packets,
            opcode: layout.opcode,
            payload_len: layout.payload_len,
            exclusive,
            steer: origin.way.into(),
            extent,
            operands,
            key: origin.key,
            server_qp,
            server_psn: record.psn,
            server_floor: oldest.map_or(record.psn, |oldest| oldest.psn),
            floor: origin.floor,
        }));
    }

    /// Records who holds the place that brought a request to its server queue pair, unless that is
    /// known from the start or recorded.
    fn record_host(&mut self, slot: u32, out: &mut Out) {
        let Some(&ServerSlot { request, .. }) = self.servers.slots.get(slot) else { return };
        let Way::Place(PlaceId(place)) = request.origin.way else { return };
        let records = self.policy.trust.learns() && self.config.keeps(Rule::HostIsRecorded);
        let server_qp = request.server_qp;
        if let Some(state) = self.directory.places.get_mut(PlaceId(place))
            && records
            && state.host == Some(server_qp)
            && !core::mem::replace(&mut state.host_recorded, true)
        {
            out.push_record(&Record::Host { place, server_qp });
        }
    }

    /// Records that a translated connection has ended, and, while packets of it may be late, how
    /// far its server queue pair is: there will be nobody to ask.
    pub(crate) fn record_end(&self, client: ClientId, late: bool, out: &mut Out) {
        let server_qp = client.own_server_qp();
        let started = self.servers.get(server_qp).is_some_and(|server| server.started);
        if started && self.config.records && self.config.keeps(Rule::EndIsRecorded) {
            out.push_record(&Record::Ended { client, late });
            if late {
                self.record_point(server_qp, out);
            }
        }
    }

    /// Records how far a server queue pair is, if that is known.
    pub(super) fn record_point(&self, server_qp: ServerQpId, out: &mut Out) {
        let Some(server) = self.servers.get(server_qp) else { return };
        let known = server.carried && server.loss.is_none() && !self.is_asking(server_qp);
        if self.config.records && known {
            let oldest = server.open.head().and_then(|oldest| self.servers.slots.get(oldest));
            let floor = oldest.map_or(server.next, |oldest| oldest.psn);
            let (next, in_message) = (server.next, server.in_message);
            let point = ServerPoint { server_qp, next, floor, in_message };
            out.push_record(&Record::ServerPoint(point));
        }
    }

    /// Records what an atomic had found that was asked for before its connection was translated.
    pub(super) fn record_result(&self, client: ClientId, result: &AtomicResult, out: &mut Out) {
        if self.config.records && self.config.keeps(Rule::ValueIsRecorded) {
            let AtomicResult { psn, opcode, original } = *result;
            out.push_record(&Record::Value { client, psn, opcode, original });
        }
    }

    /// Records that a server queue pair was given up. `false` if that was recorded.
    pub(crate) fn record_loss(&mut self, server_qp: ServerQpId, out: &mut Out) -> bool {
        let records = self.config.records && self.config.keeps(Rule::LossIsRecorded);
        let Some(state) = self.servers.get_mut(server_qp) else { return false };
        let recorded = core::mem::replace(&mut state.loss_recorded, true);
        if recorded || !records {
            return false;
        }
        let (done, refusing) = (state.acknowledged, state.loss == Some(Loss::Refusing));
        out.push_record(&Record::Lost { server_qp, done, refusing });
        true
    }

    /// Records that nothing mapped is left on a server queue pair, which takes no more.
    pub(super) fn record_gone(&self, server_qp: ServerQpId, out: &mut Out) {
        if self.config.records && self.config.keeps(Rule::GoneIsRecorded) {
            out.push_record(&Record::Gone { server_qp });
        }
    }

    /// Records that a client is served no longer. `false` if that was recorded.
    pub(super) fn record_stop(&mut self, client: ClientId, out: &mut Out) -> bool {
        let records = self.config.records && self.config.keeps(Rule::FillIsRecorded);
        let Some(state) = self.clients.get_mut(client) else { return false };
        let recorded = core::mem::replace(&mut state.stop_recorded, true);
        if recorded || !records {
            return false;
        }
        out.push_record(&Record::Stopped { client });
        true
    }
}

/// Records the answer of an atomic.
pub(crate) fn record_value(config: &Config, request: &Request, original: u64, out: &mut Out) {
    if config.records && config.keeps(Rule::ValueIsRecorded) {
        let client = request.client;
        let Origin { psn, opcode, .. } = request.origin;
        out.push_record(&Record::Value { client, psn, opcode, original });
    }
}
