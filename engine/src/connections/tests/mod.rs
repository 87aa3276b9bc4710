//! The learner watches synthetic traffic whose true pairs are known.

extern crate std;

mod cm;
mod configured;
mod epoch;
mod familiar;
mod handshake;
mod limits;
mod psn;
mod random;
mod reuse;
mod source_port;
mod structure;

use core::net::{IpAddr, Ipv4Addr};
use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use super::{Config, Connection, Event, Learner, Sighting, symmetric_port};
use crate::wire::{
    AethRepr, AtomicAckEthRepr, AtomicEthRepr, BthRepr, Classified, Extension, Msn, NotRc, Opcode,
    Path, Psn, Qpn, RethRepr, Syndrome, build, classify,
};

/// A connection as it truly is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    client_ip: u8,
    client_qpn: u32,
    server_qpn: u32,
    /// UDP source ports of requests and of responses.
    ports: [u16; 2],
    /// Next PSN of the client.
    psn: u32,
}

const SERVER_IP: u8 = 1;

impl Pair {
    /// A connection to the server whose driver uses the symmetric port.
    fn new(client_ip: u8, client_qpn: u32, server_qpn: u32, psn: u32) -> Self {
        let port = symmetric_port(Qpn::new(client_qpn), Qpn::new(server_qpn));
        Self { client_ip, client_qpn, server_qpn, ports: [port, port], psn }
    }

    /// The same with ports that say nothing.
    fn with_ports(self, ports: [u16; 2]) -> Self {
        Self { ports, ..self }
    }

    /// Client and server addresses and numbers.
    fn names(&self) -> (IpAddr, u32, IpAddr, u32) {
        (ip(self.client_ip), self.client_qpn, ip(SERVER_IP), self.server_qpn)
    }

    /// A request frame at `psn`.
    fn request(&self, psn: u32, verb: Verb) -> Vec<u8> {
        let reth = |dma_length| {
            Extension::Reth(RethRepr { virtual_address: 0, remote_key: 7, dma_length })
        };
        let (opcode, extension, payload) = match verb {
            Verb::Write => (Opcode::WriteOnly, reth(8), &[0; 8][..]),
            Verb::Read(length) => (Opcode::ReadRequest, reth(length), &[][..]),
            Verb::Cas => {
                let cas =
                    AtomicEthRepr { virtual_address: 0, remote_key: 7, swap_or_add: 1, compare: 0 };
                (Opcode::CompareSwap, Extension::AtomicEth(cas), &[][..])
            }
        };
        frame(self.path(true), opcode, self.server_qpn, psn, &extension, payload)
    }

    /// The answer to that request: for a READ its first packet, which is also its last.
    fn answer(&self, psn: u32, verb: Verb) -> Vec<u8> {
        let aeth = AethRepr { syndrome: Syndrome::Ack { credits: 31 }, msn: Msn::new(1) };
        let (opcode, extension) = match verb {
            Verb::Write => (Opcode::Acknowledge, Extension::Aeth(aeth)),
            Verb::Read(_) => (Opcode::ReadResponseOnly, Extension::Aeth(aeth)),
            Verb::Cas => {
                let value = AtomicAckEthRepr { original: 0 };
                (Opcode::AtomicAcknowledge, Extension::AtomicAck(aeth, value))
            }
        };
        frame(self.path(false), opcode, self.client_qpn, psn, &extension, &[])
    }

    fn path(&self, is_request: bool) -> Path {
        let ends = [self.client_ip, SERVER_IP];
        let [from, to] = if is_request { ends } else { [ends[1], ends[0]] };
        Path {
            source_mac: mac(from),
            destination_mac: mac(to),
            source: ip(from),
            destination: ip(to),
            source_port: self.ports[usize::from(!is_request)],
            traffic_class: 0,
            hop_limit: 64,
            identification: 0,
        }
    }
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Write,
    /// With its length in bytes.
    Read(u32),
    Cas,
}

fn ip(host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, host))
}

fn mac(host: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, host]
}

fn frame(path: Path, opcode: Opcode, qpn: u32, psn: u32, ext: &Extension, data: &[u8]) -> Vec<u8> {
    let bth = BthRepr {
        opcode,
        solicited: false,
        migration_request: false,
        pad_count: 0,
        partition_key: 0xffff,
        fecn: false,
        becn: false,
        dest_qp: Qpn::new(qpn),
        ack_request: opcode.is_request(),
        psn: Psn::new(psn),
    };
    let mut bytes = vec![0; 256];
    let length = build(&path, &bth, ext, data, &mut bytes).expect("it fits");
    bytes.truncate(length);
    bytes
}

/// A learner and what it has said.
struct Watch {
    learner: Learner,
    now_ns: u64,
    events: Vec<Event>,
}

impl Watch {
    fn new(config: Config) -> Self {
        Self { learner: Learner::new(config), now_ns: 0, events: Vec::new() }
    }

    /// By PSN only, after that many round trips.
    fn by_psn(psn_matches: u8) -> Self {
        Self::new(Config { source_port: false, psn_matches, ..small() })
    }

    fn see(&mut self, frame: &[u8]) -> Option<Sighting> {
        self.now_ns += 1000;
        let seen = match classify(frame) {
            Ok(Classified::Rc(layout)) => self.learner.observe(self.now_ns, &layout, frame),
            Ok(Classified::Other(NotRc::Cm(layout))) => {
                self.learner.observe_mad(self.now_ns, &layout, frame);
                None
            }
            other => panic!("the test makes no {other:?}"),
        };
        self.events.extend(std::iter::from_fn(|| self.learner.poll_event()));
        seen
    }

    /// One request and its answer.
    fn round_trip(&mut self, pair: &mut Pair, verb: Verb) {
        let psn = pair.psn;
        self.see(&pair.request(psn, verb));
        self.see(&pair.answer(psn, verb));
        pair.psn = psn.wrapping_add(1) % Psn::MODULUS;
    }

    /// What has been learnt, by names.
    fn learnt(&self) -> Vec<(IpAddr, u32, IpAddr, u32)> {
        let learnt = self.events.iter().filter_map(|event| match event {
            Event::ConnectionLearnt(connection) => Some(names(connection)),
            Event::ConnectionEnded { .. } => None,
        });
        learnt.collect()
    }

    /// Learnt pairs that are not among `truth`.
    fn wrong(&self, truth: &[Pair]) -> usize {
        let truth: BTreeSet<_> = truth.iter().map(Pair::names).collect();
        self.learnt().iter().filter(|names| !truth.contains(names)).count()
    }
}

fn names(connection: &Connection) -> (IpAddr, u32, IpAddr, u32) {
    let (client, server) = (connection.client, connection.server);
    (client.ip, client.qpn.value(), server.ip, server.qpn.value())
}

/// The defaults in a small space.
fn small() -> Config {
    Config { flows_max: 256, connections_max: 128, ..Config::default() }
}
