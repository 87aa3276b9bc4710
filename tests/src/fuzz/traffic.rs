//! Frames of a small world: two hosts of clients, one server, few queue pairs.

use std::net::{IpAddr, Ipv4Addr};

use qpmux_engine::connections::symmetric_port;
use qpmux_engine::wire::{
    AethRepr, AtomicAckEthRepr, AtomicEthRepr, BthRepr, CmMad, Extension, Msn, Opcode, Path, Psn,
    Qpn, RethRepr, Syndrome, build, build_cm,
};

/// Connections of the world.
pub(super) const CLIENTS: usize = 4;
/// The memory key that all may use.
pub(super) const REMOTE_KEY: u32 = 7;

pub(super) const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// The address of a client's host.
pub(super) fn host_of(client: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2 + (client % 2) as u8))
}

/// The numbers of a connection's queue pairs, the client's and the server's.
pub(super) fn qpns_of(client: usize) -> [Qpn; 2] {
    [0x10, 0x20].map(|base| Qpn::new(base + client as u32))
}

/// The UDP source port of a connection: but for the last one the usual hash.
pub(super) fn source_port_of(client: usize) -> u16 {
    let [one, other] = qpns_of(client);
    if client + 1 < CLIENTS { symmetric_port(one, other) } else { 0xc003 }
}

/// The way of a client's packets, or of those to it.
pub(super) fn path_of(client: usize, is_request: bool) -> Path {
    let (source, destination) =
        if is_request { (host_of(client), SERVER) } else { (SERVER, host_of(client)) };
    Path {
        source_mac: [2; 6],
        destination_mac: [4; 6],
        source,
        destination,
        source_port: source_port_of(client),
        traffic_class: 2,
        hop_limit: 64,
        identification: 0,
    }
}

/// What a packet says, beside where it goes.
#[derive(Clone, Copy)]
pub(super) struct Packet<'a> {
    pub(super) opcode: Opcode,
    pub(super) psn: u32,
    pub(super) ack_request: bool,
    /// Virtual address and length of a READ or WRITE, address of an atomic.
    pub(super) address: u64,
    pub(super) length: u32,
    pub(super) remote_key: u32,
    /// Syndrome and MSN of an answer.
    pub(super) syndrome: u8,
    pub(super) msn: u32,
    pub(super) payload: &'a [u8],
}

impl Packet<'_> {
    /// The frame, with a right ICRC, on the way of a connection.
    pub(super) fn frame(&self, client: usize, is_request: bool) -> Vec<u8> {
        let bth = BthRepr {
            opcode: self.opcode,
            solicited: false,
            migration_request: false,
            pad_count: 0,
            partition_key: 0xffff,
            fecn: false,
            becn: false,
            dest_qp: qpns_of(client)[usize::from(is_request)],
            ack_request: self.ack_request,
            psn: Psn::new(self.psn),
        };
        let payload = if self.opcode.has_payload() { self.payload } else { &[] };
        let mut frame = vec![0; 200 + payload.len()];
        let path = path_of(client, is_request);
        let len = build(&path, &bth, &self.extension(), payload, &mut frame);
        frame.truncate(len.unwrap_or(0));
        frame
    }

    fn extension(&self) -> Extension {
        let (virtual_address, remote_key) = (self.address, self.remote_key);
        let reth = RethRepr { virtual_address, remote_key, dma_length: self.length };
        let syndrome = Syndrome::from_byte(self.syndrome);
        let aeth = AethRepr { syndrome, msn: Msn::new(self.msn) };
        let op = self.opcode;
        match (op.has_reth(), op.has_immediate(), op.has_aeth(), op.has_atomic_eth()) {
            (true, true, ..) => Extension::RethImm(reth, 1),
            (true, ..) => Extension::Reth(reth),
            (_, true, ..) => Extension::Imm(1),
            (_, _, true, _) if op.has_atomic_ack_eth() => {
                Extension::AtomicAck(aeth, AtomicAckEthRepr { original: self.address })
            }
            (_, _, true, _) => Extension::Aeth(aeth),
            (.., true) => Extension::AtomicEth(AtomicEthRepr {
                virtual_address,
                remote_key,
                swap_or_add: 1,
                compare: 0,
            }),
            _ if op.has_ieth() => Extension::Ieth(remote_key),
            _ => Extension::None,
        }
    }
}

/// A message of the connection manager on the way of a connection.
pub(super) fn cm_frame(client: usize, is_request: bool, mad: &CmMad) -> Vec<u8> {
    let mut frame = vec![0; 400];
    let len = build_cm(&path_of(client, is_request), Psn::new(0), mad, &mut frame);
    frame.truncate(len.unwrap_or(0));
    frame
}
