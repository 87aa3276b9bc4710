//! The connection manager's handshakes that are under way, in a table of fixed size.

use alloc::boxed::Box;
use alloc::vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::event::CmFacts;
use super::list::{Free, Links, List};
use super::store::hash_of;
use super::table::{Mixer, Table};
use crate::wire::cm::{CmRepRepr, CmReqRepr, path_mtu_bytes};
use crate::wire::{Layout, Psn, Qpn};

/// One end of a handshake, as its messages show it.
#[derive(Clone, Copy)]
pub(super) struct Peer {
    pub(super) ip: IpAddr,
    pub(super) mac: [u8; 6],
}

/// A REQ, and the REP if there was one.
#[derive(Clone, Copy)]
pub(super) struct Handshake {
    pub(super) client: Peer,
    pub(super) server: Peer,
    pub(super) req: CmReqRepr,
    pub(super) rep: Option<CmRepRepr>,
    pub(super) began_at_ns: u64,
    last_ns: u64,
}

impl Handshake {
    /// A place that is not in use.
    const UNUSED: Self = Self {
        client: Peer { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), mac: [0; 6] },
        server: Peer { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), mac: [0; 6] },
        req: CmReqRepr {
            local_comm_id: 0,
            service_id: 0,
            local_ca_guid: 0,
            local_qpn: Qpn::new(0),
            responder_resources: 0,
            initiator_depth: 0,
            starting_psn: Psn::new(0),
            partition_key: 0,
            local_gid: Ipv6Addr::UNSPECIFIED,
            remote_gid: Ipv6Addr::UNSPECIFIED,
            traffic_class: 0,
            hop_limit: 0,
            transport: 0,
            flow_control: 0,
            retry_count: 0,
            path_mtu: 0,
            rnr_retry_count: 0,
            shared_receive_queue: 0,
            local_ack_timeout: 0,
        },
        rep: None,
        began_at_ns: 0,
        last_ns: 0,
    };

    fn hash(&self) -> u32 {
        hash_of_client(self.client.ip, self.server.ip, self.req.local_comm_id)
    }

    /// What was agreed upon; `None` before the REP.
    pub(super) fn facts(&self) -> Option<CmFacts> {
        let (req, rep) = (&self.req, self.rep?);
        Some(CmFacts {
            client_comm_id: req.local_comm_id,
            server_comm_id: rep.local_comm_id,
            // Each end names the PSN that it expects to receive.
            client_psn: rep.starting_psn,
            server_psn: req.starting_psn,
            path_mtu: path_mtu_bytes(req.path_mtu)?,
            depth: rep.responder_resources,
            client_depth: rep.initiator_depth,
            partition_key: req.partition_key,
            retry_count: req.retry_count,
            rnr_retry_count: rep.rnr_retry_count,
            local_ack_timeout: req.local_ack_timeout,
        })
    }

    /// The connection's flow from the client (0) or from the server (1), and the PSN at which
    /// requests of that direction begin.
    fn flow(&self, rep: &CmRepRepr, way: u32) -> ((IpAddr, IpAddr, Qpn), Psn) {
        match way {
            0 => ((self.client.ip, self.server.ip, rep.local_qpn), rep.starting_psn),
            _ => ((self.server.ip, self.client.ip, self.req.local_qpn), self.req.starting_psn),
        }
    }
}

/// Handshakes by the client's name for the connection, and those with a REP by their flows.
pub(super) struct Handshakes {
    places: Box<[Handshake]>,
    free: Free,
    by_client: Table,
    /// Twice the index of a handshake with a REP, plus the way of the flow.
    by_flow: Table,
    waiting: u32,
    ages: Links,
    /// All, the longest quiet one first.
    oldest: List,
    timeout_ns: u64,
}

impl Handshakes {
    pub(super) fn new(max: u32, timeout_ns: u64) -> Self {
        Self {
            places: vec![Handshake::UNUSED; max as usize].into_boxed_slice(),
            free: Free::new(max),
            by_client: Table::new(max),
            by_flow: Table::new(2 * max),
            waiting: 0,
            ages: Links::new(max),
            oldest: List::EMPTY,
            timeout_ns,
        }
    }

    /// Whether any handshake has its REP and waits for the RTU, or for the first packet.
    #[inline]
    pub(super) fn any_waits(&self) -> bool {
        self.waiting > 0
    }

    /// Gives up handshakes that have been quiet for too long; says how many.
    pub(super) fn expire(&mut self, now_ns: u64) -> u64 {
        let mut expired = 0;
        while let Some(oldest) = self.places.get(self.oldest.first() as usize) {
            if now_ns.saturating_sub(oldest.last_ns) <= self.timeout_ns {
                break;
            }
            self.remove(self.oldest.first());
            expired += 1;
        }
        expired
    }

    /// The handshake that this client calls by this name.
    pub(super) fn find(&self, client: IpAddr, server: IpAddr, comm_id: u32) -> Option<u32> {
        self.by_client.find(hash_of_client(client, server, comm_id), |index| {
            let place = &self.places[index as usize];
            place.req.local_comm_id == comm_id
                && place.client.ip == client
                && place.server.ip == server
        })
    }

    pub(super) fn get(&self, index: u32) -> Option<&Handshake> {
        self.places.get(index as usize)
    }

    /// Notes that a handshake goes on.
    pub(super) fn touch(&mut self, now_ns: u64, index: u32) {
        if let Some(place) = self.places.get_mut(index as usize) {
            place.last_ns = now_ns;
            self.ages.remove(&mut self.oldest, index);
            self.ages.push(&mut self.oldest, index);
        }
    }

    /// Takes in a REQ. Says whether another handshake had to make room.
    pub(super) fn on_req(
        &mut self,
        now_ns: u64,
        client: Peer,
        server: Peer,
        req: CmReqRepr,
    ) -> bool {
        if let Some(known) = self.find(client.ip, server.ip, req.local_comm_id) {
            if self.places[known as usize].req == req {
                self.touch(now_ns, known);
                return false;
            }
            // The client has given up what it called by this name before.
            self.remove(known);
        }
        let is_full = self.free.taken() == self.places.len();
        if is_full {
            self.remove(self.oldest.first());
        }
        let Some(index) = self.free.take() else {
            return is_full;
        };
        let new =
            Handshake { client, server, req, rep: None, began_at_ns: now_ns, last_ns: now_ns };
        self.places[index as usize] = new;
        self.by_client.insert(new.hash(), index);
        self.ages.push(&mut self.oldest, index);
        is_full
    }

    /// Takes in a REP. The last one counts until the client answers one.
    pub(super) fn on_rep(&mut self, now_ns: u64, index: u32, server_mac: [u8; 6], rep: CmRepRepr) {
        self.touch(now_ns, index);
        self.forget_rep(index);
        let place = &mut self.places[index as usize];
        place.server.mac = server_mac;
        place.rep = Some(rep);
        for way in 0..2 {
            let ((source, destination, qp), _) = place.flow(&rep, way);
            self.by_flow.insert(hash_of(source, destination, qp), 2 * index + way);
        }
        self.waiting += 1;
    }

    fn forget_rep(&mut self, index: u32) {
        let Some(rep) = self.places[index as usize].rep.take() else {
            return;
        };
        for way in 0..2 {
            let ((source, destination, qp), _) = self.places[index as usize].flow(&rep, way);
            self.by_flow.remove(hash_of(source, destination, qp), 2 * index + way);
        }
        self.waiting -= 1;
    }

    /// Takes a handshake out.
    pub(super) fn remove(&mut self, index: u32) -> Option<Handshake> {
        let removed = *self.places.get(index as usize)?;
        self.forget_rep(index);
        self.by_client.remove(removed.hash(), index);
        self.ages.remove(&mut self.oldest, index);
        self.free.give(index);
        Some(removed)
    }

    /// The handshake to whose connection this packet belongs: it is of one of the two flows, and
    /// at most `far` PSNs after that direction's first one.
    pub(super) fn of_packet(&self, layout: &Layout, far: u32) -> Option<u32> {
        let flow = (layout.source, layout.destination, layout.dest_qp);
        let found = self.by_flow.find(hash_of(flow.0, flow.1, flow.2), |entry| {
            let place = &self.places[(entry / 2) as usize];
            let Some(rep) = place.rep else { return false };
            let way = entry % 2;
            // An answer has a PSN of the requests the other way.
            let (_, start) = place.flow(&rep, way ^ u32::from(layout.opcode.is_response()));
            place.flow(&rep, way).0 == flow && layout.psn.offset_from(start) < far
        });
        found.map(|entry| entry / 2)
    }
}

fn hash_of_client(client: IpAddr, server: IpAddr, comm_id: u32) -> u32 {
    Mixer::new().add_address(client).add_address(server).add(comm_id.into()).finish()
}
