//! Hosts, queue pairs and what a frame of theirs looks like on the wire.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};

use qpmux_engine::connections::symmetric_port;
use qpmux_engine::wire::{Classified, Ipv4, Msn, Opcode, Path, Psn, Qpn, classify, icrc, ipv4};
use qpmux_workloads::clover::{CloverConfig, Layout, MESSAGE_BYTES, Peer};

use crate::memory::{EffectLog, Memory};
use crate::rc::{Link, Region, Requester, RequesterConfig, Responder, ResponderConfig, Wire};

/// First PSN of both directions of every queue pair (clover source).
const START_PSN: u32 = 3_185;
/// DSCP 0, ECN-capable (trace).
const TRAFFIC_CLASS: u8 = 2;
/// Time to live (trace).
const HOP_LIMIT: u8 = 64;
/// READs and atomics in flight per queue pair (clover source: max_dest_rd_atomic).
const DEPTH: usize = 10;
/// First queue pair numbers of the memory node and of clients (trace), and of the metadata server.
const MEMORY_QPN: u32 = 0x5434;
const CLIENT_QPN: u32 = 0x8d7c;
const METADATA_QPN: u32 = 0x1c40;

/// Hosts by number: the memory node, the metadata server, then clients.
pub(super) const MEMORY_NODE: usize = 0;
/// See [`MEMORY_NODE`].
pub(super) const METADATA_SERVER: usize = 1;
/// The first client's number.
pub(super) const FIRST_CLIENT: usize = 2;

/// A machine on the network.
pub(super) struct Host {
    address: Ipv4Addr,
    /// Identification of its next packet: one counter for all its queue pairs (trace).
    identification: u16,
    pub(super) memory: Memory,
}

impl Host {
    fn new(number: usize) -> Self {
        // Addresses and first identifications as in the trace, where it has them.
        let (last, identification) = match number {
            MEMORY_NODE => (13, 0xe62b),
            METADATA_SERVER => (12, 0x1000),
            client => (17 + (client - FIRST_CLIENT) as u8, 0x5331),
        };
        let address = Ipv4Addr::new(192, 168, 1, last);
        Self { address, identification, memory: Memory::new() }
    }

    /// Puts the host's identification into a frame it is about to send.
    fn stamp(&mut self, frame: &mut [u8]) {
        let Ok(Classified::Rc(layout)) = classify(frame) else { return };
        let header =
            usize::from(layout.ip)..usize::from(layout.ip) + qpmux_engine::wire::Ipv4Repr::LEN;
        let Some(header) = frame.get_mut(header) else { return };
        if let Ok(mut view) = Ipv4::new_checked(&mut *header) {
            view.set_identification(self.identification);
        }
        ipv4::fill_checksum(header);
        icrc::store(frame, &layout);
        self.identification = self.identification.wrapping_add(1);
    }
}

/// One end of a queue pair pair. Both ends can ask and answer: the metadata server replies by
/// WRITEs of its own.
pub(super) struct End<A> {
    pub(super) host: usize,
    requester: Requester,
    responder: Responder,
    /// Who posted the verbs that are not complete, in order.
    asked: VecDeque<A>,
}

/// Two queue pairs that belong together, and who asks through them.
pub(super) struct Connection<A> {
    pub(super) ends: [End<A>; 2],
    /// The tap sees its packets.
    pub(super) tapped: bool,
    pub(super) seen: bool,
}

/// What a frame did where it arrived.
pub(super) enum Arrived {
    /// It wrote to memory.
    Write { address: u64, data: Vec<u8> },
    /// It was a message.
    Message(Vec<u8>),
    /// Nothing that anyone there is told of.
    Nothing,
}

impl<A: Copy> Connection<A> {
    fn new(
        hosts: &[Host],
        of: [usize; 2],
        qpns: [u32; 2],
        tapped: bool,
        regions: [&[Region]; 2],
    ) -> Self {
        let link = |own: usize| {
            let peer = 1 - own;
            Link {
                path: path(&hosts[of[own]], &hosts[of[peer]], qpns),
                migration_request: true,
                wire: Wire::FAITHFUL,
                ..Link::new(hosts[of[own]].address, qpns[own], hosts[of[peer]].address, qpns[peer])
            }
        };
        let end = |own: usize| {
            let mut asks = RequesterConfig::new(link(own), Psn::new(START_PSN));
            asks.max_rd_atomic = DEPTH;
            let mut answers =
                ResponderConfig::new(link(own), Psn::new(START_PSN), regions[own].to_vec());
            answers.msn_start = Msn::new(0);
            answers.credits = 0;
            answers.max_dest_rd_atomic = DEPTH;
            answers.answer_delay = 0;
            answers.require_ack_request = true;
            End {
                host: of[own],
                requester: Requester::new(asks),
                responder: Responder::new(answers),
                asked: VecDeque::new(),
            }
        };
        Self { ends: [end(0), end(1)], tapped, seen: false }
    }
}

impl<A: Copy> End<A> {
    /// Posts a verb; `asker` is told of its end.
    pub(super) fn post(&mut self, asker: A, verb: crate::rc::Verb) {
        self.requester.post(verb);
        self.asked.push_back(asker);
    }

    /// The next frame to send, and whether it is an answer.
    pub(super) fn poll_transmit(
        &mut self,
        now: u64,
        host: &mut Host,
        buffer: &mut [u8],
    ) -> Option<(Vec<u8>, bool)> {
        let answer = self.responder.poll_transmit(now, buffer);
        let is_answer = answer.is_some();
        let len = answer.or_else(|| self.requester.poll_transmit(now, buffer))?;
        let frame = buffer.get_mut(..len)?;
        host.stamp(frame);
        Some((frame.to_vec(), is_answer))
    }

    /// Takes a frame that has arrived.
    pub(super) fn handle_frame(&mut self, now: u64, frame: &[u8], memory: &mut Memory) -> Arrived {
        let Ok(Classified::Rc(layout)) = classify(frame) else { return Arrived::Nothing };
        if layout.opcode.is_response() {
            self.requester.handle_frame(now, frame);
            return Arrived::Nothing;
        }
        let expected = self.responder.expected_psn();
        // The log is for replays; here the memory itself is the result.
        self.responder.handle_frame(now, frame, memory, &mut EffectLog::new());
        if self.responder.expected_psn() == expected {
            return Arrived::Nothing;
        }
        let data = layout.payload(frame).to_vec();
        match (layout.opcode, layout.reth(frame)) {
            (Opcode::WriteOnly, Some(reth)) => {
                Arrived::Write { address: reth.virtual_address, data }
            }
            (Opcode::SendOnly, _) => Arrived::Message(data),
            _ => Arrived::Nothing,
        }
    }

    /// The next verb that is complete, and who had asked.
    pub(super) fn poll_completion(&mut self) -> Option<(A, crate::rc::Completion)> {
        let completion = self.requester.poll_completion()?;
        Some((self.asked.pop_front()?, completion))
    }

    /// What the two models have to complain of.
    pub(super) fn complaints(&self) -> Option<String> {
        let all = [self.requester.violations(), self.responder.violations()];
        let first = all.into_iter().find(|violations| !violations.is_empty());
        let stuck = self.requester.pending();
        first
            .map(ToString::to_string)
            .or_else(|| (stuck > 0).then(|| format!("{stuck} requests without an answer")))
    }
}

fn path(from: &Host, to: &Host, qpns: [u32; 2]) -> Path {
    let mac = |host: &Host| {
        let [a, b, c, d] = host.address.octets();
        [2, 0, a, b, c, d]
    };
    Path {
        source_mac: mac(from),
        destination_mac: mac(to),
        source: IpAddr::V4(from.address),
        destination: IpAddr::V4(to.address),
        // The trace's ports are what this gives for its queue pair numbers.
        source_port: symmetric_port(Qpn::new(qpns[0]), Qpn::new(qpns[1])),
        traffic_class: TRAFFIC_CLASS,
        hop_limit: HOP_LIMIT,
        identification: 0,
    }
}

/// All hosts, and all queue pairs between them.
pub(super) struct Network<A> {
    pub(super) hosts: Vec<Host>,
    pub(super) connections: Vec<Connection<A>>,
    lanes: usize,
    machines: usize,
}

impl<A: Copy> Network<A> {
    /// The network of a Clover: every client has `lanes` connections to the memory node and as
    /// many to the metadata server, which has one to the memory node.
    pub(super) fn new(clover: &CloverConfig, tap_metadata: bool) -> Self {
        let (machines, lanes) = (usize::from(clover.machines), usize::from(clover.lanes()));
        let hosts: Vec<Host> = (0..FIRST_CLIENT + machines).map(Host::new).collect();
        let layout = &clover.layout;
        let shared = [
            Region::new(layout.values_rkey, layout.values, Layout::VALUES_BYTES),
            Region::new(layout.shortcuts_rkey, layout.shortcuts, Layout::SHORTCUTS_BYTES),
        ];
        let buffers = u64::from(u16::MAX) * MESSAGE_BYTES as u64;
        let replies = [Region::new(clover.reply_rkey, clover.reply_buffers, buffers)];
        let mut connections = Vec::with_capacity(2 * machines * lanes + 1);
        for index in 0..machines * lanes {
            let client = FIRST_CLIENT + index / lanes;
            let (lane, place) = ((index % lanes) as u32, index as u32);
            let qpns = [CLIENT_QPN + lane, MEMORY_QPN + place];
            let of = [client, MEMORY_NODE];
            connections.push(Connection::new(&hosts, of, qpns, true, [&[], &shared]));
            let qpns = [CLIENT_QPN + lanes as u32 + lane, METADATA_QPN + place];
            let of = [client, METADATA_SERVER];
            let regions: [&[Region]; 2] = [&replies, &replies];
            connections.push(Connection::new(&hosts, of, qpns, tap_metadata, regions));
        }
        let last = (machines * lanes) as u32;
        let qpns = [METADATA_QPN + last, MEMORY_QPN + last];
        let of = [METADATA_SERVER, MEMORY_NODE];
        connections.push(Connection::new(&hosts, of, qpns, tap_metadata, [&[], &shared]));
        Self { hosts, connections, lanes, machines }
    }

    /// The connection of a client's lane; the client is its end 0. `machine` counts from 0.
    pub(super) fn of_client(&self, machine: usize, to: Peer, lane: u16) -> usize {
        let index = machine * self.lanes + usize::from(lane) % self.lanes;
        2 * index + usize::from(to == Peer::Metadata)
    }

    /// The connection from metadata server (end 0) to memory node.
    pub(super) fn of_metadata(&self) -> usize {
        2 * self.machines * self.lanes
    }

    /// Machine, from 0, and lane of a client's connection.
    pub(super) fn client_of(&self, connection: usize) -> (usize, u16) {
        let index = connection / 2;
        (index / self.lanes, (index % self.lanes) as u16)
    }
}
