//! The loop with translated connections: every action of the engine, also over a wire that loses.

use std::net::Ipv4Addr;

use qpmux_engine::policy::{Connection, Map, Region, Start};
use qpmux_engine::wire::{Classified, ClientPsn, Msn, Psn, classify};
use qpmux_engine::{DomainId, Engine, Nanos};
use qpmux_sim::memory::{EffectLog, Memory, check};
use qpmux_sim::rc::{Link, Requester, RequesterConfig, Responder, ResponderConfig, Verb, Wire};

use super::{MemoryHost, MemoryPort, engine, host};
use crate::report::Report;

const RKEY: u32 = 0x1234;
const BASE: u64 = 0x10_0000;
const LENGTH: u64 = 0x10_0000;
const RECORD: usize = 1_024;
pub(super) const CLIENTS: u32 = 4;
const VERBS: u64 = 30;

/// Clients and server queue pairs at the two ports of a host.
pub(super) struct Bench {
    pub(super) host: MemoryHost,
    client: MemoryPort,
    server: MemoryPort,
    requesters: Vec<Requester>,
    responders: Vec<Responder>,
    initial: Memory,
    pub(super) memory: Memory,
    log: EffectLog,
    completed: u64,
    now: u64,
    /// Every so many frames one is lost, on either side; 0 is none.
    lose_every: u64,
    travelled: u64,
}

pub(super) fn links(i: u32) -> (Link, Link) {
    let (client, server) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
    let link = |host, qpn, peer, peer_qpn| Link {
        wire: Wire::LOSSY,
        ..Link::new(host, qpn, peer, peer_qpn)
    };
    (link(client, 100 + i, server, 200 + i), link(server, 200 + i, client, 100 + i))
}

pub(super) fn connection(i: u32) -> Connection {
    let start = Start { psn: ClientPsn::new(1_000 * i), msn: Msn::new(0), credits: 31 };
    links(i).0.known(start, 16)
}

/// Where the head word of a client's own key is, in a granule of its own.
pub(super) fn head_of(client: u64) -> u64 {
    BASE + 64 * client
}

impl Bench {
    fn lossy(lose_every: u64) -> Bench {
        Bench { lose_every, ..Bench::between(1_024) }
    }

    /// All is as usual but for the number of buffers.
    fn between(buffers: u32) -> Bench {
        let region =
            Region { domain: DomainId(0), remote_key: RKEY, start: BASE, end: BASE + LENGTH };
        let engine = engine(Map::Writes, (0..CLIENTS).map(connection).collect(), vec![region]);
        Bench::with_buffers(engine, Memory::new(), buffers)
    }

    /// Nothing is lost.
    pub(super) fn new(engine: Engine, initial: Memory) -> Bench {
        Bench::with_buffers(engine, initial, 1_024)
    }

    fn with_buffers(engine: Engine, initial: Memory, buffers: u32) -> Bench {
        let (host, client, server) = host(engine, buffers);
        let start = |i: u32| Psn::new(1_000 * i);
        let requester = |i| Requester::new(RequesterConfig::new(links(i).0, start(i)));
        let memory = qpmux_sim::rc::Region::new(RKEY, BASE, LENGTH);
        let responder =
            |i| Responder::new(ResponderConfig::new(links(i).1, start(i), vec![memory]));
        Bench {
            host,
            client,
            server,
            requesters: (0..CLIENTS).map(requester).collect(),
            responders: (0..CLIENTS).map(responder).collect(),
            memory: initial.clone(),
            initial,
            log: EffectLog::new(),
            completed: 0,
            now: 0,
            lose_every: 0,
            travelled: 0,
        }
    }

    /// WRITE a record of some key, swap the key's head word, READ a record; nothing waits.
    fn post(&mut self) {
        for (i, requester) in self.requesters.iter_mut().enumerate() {
            for n in 0..VERBS / 3 {
                let key = n % 5;
                let slot = BASE + 0x1000 + (i as u64 * VERBS + n) * RECORD as u64;
                let mut record = vec![n as u8; RECORD];
                record[..8].copy_from_slice(&key.to_le_bytes());
                requester.post(Verb::write(slot, RKEY, &record));
                let address = BASE + 8 * key;
                requester.post(Verb::CompareSwap { address, rkey: RKEY, compare: 0, swap: slot });
                requester.post(Verb::Read { address: slot, rkey: RKEY, length: 2_048 });
            }
        }
    }

    /// Each client WRITEs a record of a key of its own, and swaps the key's head word from what it
    /// holds to the record's number, which is `number`; then all is complete.
    pub(super) fn update(&mut self, number: u64) {
        for (i, requester) in (0..).zip(&mut self.requesters) {
            let mut record = vec![number as u8; RECORD];
            record[..8].copy_from_slice(&u64::to_le_bytes(i));
            let slot = BASE + 0x1000 + (number * u64::from(CLIENTS) + i) * RECORD as u64;
            requester.post(Verb::write(slot, RKEY, &record));
            let (address, compare) = (head_of(i), number - 1);
            requester.post(Verb::CompareSwap { address, rkey: RKEY, compare, swap: number });
        }
        self.complete(number * u64::from(CLIENTS) * 2);
    }

    fn survives(&mut self) -> bool {
        self.travelled += 1;
        self.lose_every == 0 || !self.travelled.is_multiple_of(self.lose_every)
    }

    /// One step of everybody.
    fn step(&mut self, now: u64) {
        let mut buffer = vec![0; 4_096];
        for i in 0..CLIENTS as usize {
            while let Some(len) = self.requesters[i].poll_transmit(now, &mut buffer) {
                if self.survives() {
                    self.client.put(&buffer[..len]);
                }
            }
            while let Some(len) = self.responders[i].poll_transmit(now, &mut buffer) {
                if self.survives() {
                    self.server.put(&buffer[..len]);
                }
            }
        }
        self.host.turn(Nanos(now));
        for frame in self.client.take_sent() {
            if let Some(i) = self.destination(&frame, 100) {
                self.requesters[i].handle_frame(now, &frame);
            }
        }
        for frame in self.server.take_sent() {
            if let Some(i) = self.destination(&frame, 200) {
                self.responders[i].handle_frame(now, &frame, &mut self.memory, &mut self.log);
            }
        }
        for requester in &mut self.requesters {
            requester.handle_timeout(now);
            while requester.poll_completion().is_some() {
                self.completed += 1;
            }
        }
    }

    /// Where a frame goes, if it is not lost.
    fn destination(&mut self, frame: &[u8], first: u32) -> Option<usize> {
        let Ok(Classified::Rc(layout)) = classify(frame) else { panic!("not a RoCE frame") };
        self.survives().then(|| (layout.dest_qp.value() - first) as usize)
    }

    /// Runs until so many verbs are complete.
    pub(super) fn complete(&mut self, verbs: u64) {
        let until = self.now + 20_000_000_000;
        while self.completed < verbs {
            self.now += 20_000;
            assert!(self.now < until, "{} completed", self.completed);
            self.step(self.now);
        }
    }

    /// Runs until all is complete, and checks what everybody saw.
    fn run(&mut self) -> Report {
        self.post();
        self.complete(u64::from(CLIENTS) * VERBS);
        self.finish()
    }

    /// Nothing is left to do but to wait; checks what everybody saw.
    pub(super) fn finish(&mut self) -> Report {
        for _ in 0..500 {
            self.now += 1_000_000;
            self.step(self.now);
        }
        for requester in &self.requesters {
            assert!(requester.violations().is_empty(), "{}", requester.violations());
        }
        for responder in &self.responders {
            assert!(responder.violations().is_empty(), "{}", responder.violations());
        }
        check(&self.initial, &self.log, &self.memory).unwrap();
        Report::of(&mut self.host, Nanos(self.now))
    }
}

#[test]
fn translated_connections_complete_and_leave_nothing_behind() {
    let report = Bench::lossy(0).run();
    assert_eq!((report.open.buffers, report.broken), (0, 0));
    assert_eq!((report.open.client_requests, report.open.server_requests), (0, 0));
    assert_eq!(report.totals["requests"], u64::from(CLIENTS) * VERBS);
    assert_eq!(report.totals["completed"], report.totals["requests"]);
    assert!(report.totals["mapped"] > 0 && report.totals["fence_waits"] > 0, "{report:?}");
    assert_eq!((report.server_qps_used, report.server_qps_hosting), (4, 1));
    assert!(report.generated["ack"] > 0);
}

#[test]
fn what_is_lost_is_repaired_from_kept_buffers() {
    let report = Bench::lossy(17).run();
    assert_eq!((report.open.buffers, report.broken), (0, 0));
    assert_eq!(report.totals["completed"], u64::from(CLIENTS) * VERBS);
    assert!(report.generated["repair"] > 0 && report.totals["timeouts"] > 0, "{report:?}");
}

#[test]
fn clients_that_ask_for_more_than_there_is_room_for_are_shed_and_served_later() {
    // Three more than are reserved for the servers' answers.
    let report = Bench::between(64 + 3).run();
    assert!(report.ports.client.counters.pool_exhausted > 0, "{report:#?}");
    assert_eq!(report.ports.server.counters.pool_exhausted, 0);
    assert_eq!((report.open.buffers, report.broken), (0, 0));
}

#[test]
fn the_report_has_the_names_of_replay() {
    let report = serde_json::to_value(Bench::lossy(0).run()).unwrap();
    let whole = ["requests", "completed", "mapped", "passed", "drops", "server_qps_hosting"];
    let known = ["address_hits", "address_misses", "address_evictions", "replaced_atomics", "kept"];
    for name in whole.into_iter().chain(known) {
        assert!(report.get(name).is_some(), "{name} is missing");
    }
    assert!(report["ports"]["client"]["received"].as_u64() > Some(0));
    assert_eq!(report["ports"]["server"]["receive_missed"], 0);
}
