//! An engine that learnt its connections ends, and another goes on: what cannot be told from the
//! ends of a run.

use std::cell::RefCell;
use std::rc::Rc;

use qpmux_engine::journal::{Binding, Extent, Journal, Operands, Record, Steer};
use qpmux_engine::policy::{Directory, Policy, TrustBy};
use qpmux_engine::wire::{
    AethRepr, AtomicAckEthRepr, AtomicEthRepr, Classified, ClientPsn, Extension, Msn, Opcode, Psn,
    ServerPsn, classify,
};
use qpmux_engine::{ClientId, Config, Nanos, ServerQpId, Side};
use qpmux_sim::host::Host;
use qpmux_sim::rc::Packet;

use super::clients::{PATH_MTU, link};
use super::packets::{self, ACK, KEY};
use super::{connection, policy};

/// When an engine goes on.
const RESUMED_AT: u64 = 1_000_000;

fn learning() -> Policy {
    Policy { trust: TrustBy::Observation, ..policy() }
}

/// An engine with its log.
struct Logged {
    host: Host,
    config: Config,
    log: Rc<RefCell<Vec<u8>>>,
    now: u64,
}

impl Logged {
    /// One that goes on from such a log.
    fn resume(config: &Config, log: Vec<u8>) -> Logged {
        let config = Config { records: true, path_mtu: Some(PATH_MTU as u16), ..*config };
        let journal = Journal::read(&config, &log).unwrap();
        let now = Nanos(RESUMED_AT);
        let host = Host::resume(&config, &learning(), &Directory::empty(), 1, &journal, now);
        let log = Rc::new(RefCell::new(log));
        let sink = Rc::clone(&log);
        let sink = Box::new(move |bytes: &[u8]| sink.borrow_mut().extend_from_slice(bytes));
        Logged { host: host.unwrap().with_records(sink), config, log, now: RESUMED_AT }
    }

    fn offer(&mut self, side: Side, client: u32, packet: &Packet<'_>) -> Vec<(Side, u32, Opcode)> {
        let link = match side {
            Side::Client => link(client),
            Side::Server => link(client).reversed(),
        };
        let frame = link.frame(packet).unwrap();
        let mut sent = Vec::new();
        self.now += 1_000;
        self.host.offer(0, side, Nanos(self.now), &frame, &mut |side, frame| {
            if let Ok(Classified::Rc(layout)) = classify(frame) {
                sent.push((side, layout.dest_qp.value(), layout.opcode));
            }
        });
        sent
    }

    /// A client writes. Whether that goes to its own server queue pair.
    fn write(&mut self, client: u32, psn: u32) -> bool {
        let sent = self.offer(Side::Client, client, &packets::write(Psn::new(psn), &[7; 8]));
        sent.contains(&(Side::Server, link(client).peer_qpn.value(), Opcode::WriteOnly))
    }

    /// The server queue pair of a client acknowledges.
    fn acknowledge(&mut self, client: u32, psn: u32) {
        self.offer(Side::Server, client, &packets::answer(Psn::new(psn), ACK, psn + 1));
    }

    /// The first client swaps a word. Where that goes, or an answer.
    fn swap(&mut self, psn: u32) -> Option<Side> {
        let eth =
            AtomicEthRepr { virtual_address: 64, remote_key: KEY, swap_or_add: 1, compare: 0 };
        let (psn, extension) = (Psn::new(psn), Extension::AtomicEth(eth));
        let opcode = Opcode::CompareSwap;
        let packet = Packet { opcode, psn, ack_request: true, extension, payload: &[] };
        self.offer(Side::Client, 0, &packet).first().map(|(side, ..)| *side)
    }

    /// It does so until its connection is translated, a few times at most, and is answered. How
    /// often it did.
    fn swap_until_flipped(&mut self, from: u32) -> u32 {
        for psn in from..from + 16 {
            self.swap(psn);
            if self.host.counters().flips > 0 {
                return psn - from;
            }
            let aeth = AethRepr { syndrome: ACK, msn: Msn::new(psn + 1) };
            let extension = Extension::AtomicAck(aeth, AtomicAckEthRepr { original: 5 });
            let (opcode, psn) = (Opcode::AtomicAcknowledge, Psn::new(psn));
            let packet = Packet { opcode, psn, ack_request: false, extension, payload: &[] };
            self.offer(Side::Server, 0, &packet);
        }
        16
    }
}

fn encode(records: &[Record]) -> Vec<u8> {
    let mut log = Vec::new();
    for record in records {
        let mut bytes = [0; 128];
        let len = record.encode(&mut bytes).unwrap();
        log.extend_from_slice(&bytes[..len]);
    }
    log
}

/// Some clients' connections are translated.
fn started() -> Vec<Record> {
    let record = |client| {
        let connection = connection(client);
        Record::Start { client: ClientId(client), connection, cm: None }
    };
    (0..3).map(record).collect()
}

/// Whether a request waits for one of the same place that an engine before had sent alone.
pub(crate) fn what_ran_alone_still_does(config: &Config) -> bool {
    let binding = Binding {
        client: ClientId(0),
        psn: ClientPsn::new(0),
        msn: Msn::new(1),
        packets: 1,
        opcode: Opcode::WriteOnly,
        payload_len: 8,
        exclusive: true,
        steer: Steer::Alone(0),
        extent: Some(Extent { remote_key: KEY, start: 64, len: 8 }),
        operands: Operands::default(),
        key: None,
        server_qp: ServerQpId(0),
        server_psn: ServerPsn::new(0),
        server_floor: ServerPsn::new(0),
        floor: ClientPsn::new(0),
    };
    let mut records = started();
    records.push(Record::Host { place: 0, server_qp: ServerQpId(1) });
    records.push(Record::Binding(binding));
    let mut engine = Logged::resume(config, encode(&records));
    !engine.write(2, 0)
}

/// Whether a request waits for one that an engine before had bound at the holder of its place.
pub(crate) fn a_place_keeps_its_host(config: &Config) -> bool {
    let mut engine = Logged::resume(config, encode(&started()));
    for client in [0, 1] {
        engine.write(client, 0);
        engine.acknowledge(client, 0);
    }
    let at_host = !engine.write(1, 1);
    let log = engine.log.borrow().clone();
    let mut next = Logged::resume(config, log);
    at_host && !next.write(2, 0)
}

/// Whether connections pass for as long as what passed an engine before may be on its way.
pub(crate) fn nothing_flips_at_once(config: &Config) -> bool {
    let mut engine = Logged::resume(config, Vec::new());
    let at_once = engine.swap_until_flipped(0) < 16;
    engine.now += engine.config.packet_lifetime_ns;
    !at_once && engine.swap_until_flipped(16) < 16
}

/// Whether an engine that goes on answers an atomic from before the flip by itself.
pub(crate) fn what_passed_is_known(config: &Config) -> bool {
    let mut engine = Logged::resume(config, Vec::new());
    engine.now += engine.config.packet_lifetime_ns;
    let flip = engine.swap_until_flipped(0);
    let mut log = engine.log.borrow().clone();
    // It ends before the first request is bound.
    let (mut at, mut last) = (0, 0);
    while let Some((_, len)) = log.get(at..).and_then(|rest| Record::decode(rest).ok()) {
        (last, at) = (at, at + len);
    }
    log.truncate(last);
    let mut next = Logged::resume(config, log);
    flip < 16 && next.swap(flip - 1) == Some(Side::Client)
}
