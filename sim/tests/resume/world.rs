//! A few clients and their servers around a middlebox that crashes after any of its actions and
//! goes on from its log.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use qpmux_engine::journal::{Journal, Record};
use qpmux_engine::policy::{Connection, Directory, Order, Policy, Start, TrustBy};
use qpmux_engine::wire::{Classified, ClientPsn, Msn, Opcode, Psn, classify};
use qpmux_engine::{Config, Nanos, ShardId, Side};
use qpmux_sim::host::{Host, RecordSink};
use qpmux_sim::memory::{EffectLog, Memory, digest};
use qpmux_sim::rc::{
    Completion, Link, Region, Requester, RequesterConfig, Responder, ResponderConfig, Verb, Wire,
};

use crate::clients;
use crate::keyed::keyed;

pub(crate) const RKEY: u32 = 0x77;
pub(crate) const BASE: u64 = 0x10_0000;
/// Length of a WRITE that carries a key, in bytes.
pub(crate) const RECORD: usize = 24;
/// One way on one leg, ns.
const LATENCY: u64 = 1_000;

/// What is lost in a crash beside the middlebox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) to_servers: bool,
    pub(crate) to_clients: bool,
    pub(crate) to_box: bool,
}

impl Fate {
    pub(crate) fn all() -> impl Iterator<Item = Fate> {
        (0..8).map(|bits| Fate {
            to_servers: bits & 1 != 0,
            to_clients: bits & 2 != 0,
            to_box: bits & 4 != 0,
        })
    }
}

/// What a run is.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) scripts: Vec<Vec<Verb>>,
    pub(crate) order: Order,
    pub(crate) hosts: u32,
    pub(crate) shards: u8,
    pub(crate) start_psn: u32,
    pub(crate) like_rxe: bool,
    /// Clients that are not heard any more after the first crash, and for how long, ns.
    pub(crate) dead: Vec<usize>,
    pub(crate) silence_ns: u64,
    pub(crate) server_window_max: u32,
    /// Packets that are lost, counted from 1 over all legs.
    pub(crate) lost: Vec<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Leg {
    Box(u8),
    Server,
    Client,
}

/// What leaves the middlebox, until it crashes.
struct Outlet {
    left: Rc<Cell<u64>>,
    log: Rc<RefCell<Vec<u8>>>,
}

impl Outlet {
    /// Whether one more action is carried out.
    fn pass(left: &Cell<u64>) -> bool {
        let now = left.get();
        left.set(now.saturating_sub(1));
        now > 0
    }

    fn sink(&self) -> RecordSink {
        let (left, log) = (self.left.clone(), self.log.clone());
        Box::new(move |bytes| {
            if Outlet::pass(&left) {
                log.borrow_mut().extend_from_slice(bytes);
            }
        })
    }
}

pub(crate) struct World {
    pub(crate) setup: Setup,
    config: Config,
    policy: Policy,
    directory: Directory,
    host: Option<Host>,
    outlet: Outlet,
    pub(crate) clients: Vec<Requester>,
    pub(crate) servers: Vec<Responder>,
    pub(crate) completions: Vec<Vec<Completion>>,
    pub(crate) initial: Memory,
    pub(crate) memory: Memory,
    pub(crate) effects: EffectLog,
    flying: BTreeMap<(u64, u64), (Leg, Vec<u8>)>,
    sequence: u64,
    pub(crate) now: u64,
    pub(crate) actions: u64,
    pub(crate) crashes: u32,
    pub(crate) fillers: u64,
    silent: Vec<usize>,
    silent_until: u64,
    /// What each PSN of a server queue pair was used for, zero-length WRITEs aside.
    contents: BTreeMap<(u32, u32), u64>,
    pub(crate) problems: Vec<String>,
}

fn client_link(i: u32) -> Link {
    Link { wire: Wire::LOSSY, ..clients::link(i) }
}

fn connection(i: u32, psn: u32, shards: u8) -> Connection {
    let start = Start { psn: ClientPsn::new(psn), msn: Msn::new(0xff_fffe), credits: 31 };
    let shard = ShardId((i % u32::from(shards)) as u8);
    Connection { shard, ..client_link(i).known(start, 4) }
}

fn policy(setup: &Setup) -> Policy {
    Policy {
        server_qps: setup.hosts,
        order: setup.order,
        message_packets_max: 4,
        ..keyed(RECORD, 8, TrustBy::Directory)
    }
}

fn config(setup: &Setup) -> Config {
    Config {
        records: true,
        server_timeout_ns: 20_000,
        resume_wait_ns: 1_000_000,
        server_window_max: setup.server_window_max,
        requests_max: 256,
        held_responses_max: 256,
        frame_len_max: 1024,
        atomic_results: 16,
        ..Config::default()
    }
}

impl World {
    pub(crate) fn new(setup: &Setup) -> World {
        let clients = setup.scripts.len() as u32;
        let config = config(setup);
        let policy = policy(setup);
        let psn = setup.start_psn;
        let connections = (0..clients).map(|i| connection(i, psn, setup.shards)).collect();
        let directory = clients::directory(&policy, connections, RKEY, BASE..BASE + 0x10_0000);
        let requester = |i: u32| RequesterConfig {
            timeout: 5,
            retry_count: 1000,
            msn_start: Msn::new(0xff_fffe),
            max_rd_atomic: 4,
            ..RequesterConfig::new(client_link(i), Psn::new(psn))
        };
        let responder = |i: u32| {
            let regions = vec![Region::new(RKEY, BASE, 0x10_0000)];
            let config = ResponderConfig::new(client_link(i).reversed(), Psn::new(psn), regions);
            let config = if setup.like_rxe { config.like_rxe() } else { config };
            let (msn_start, max_dest_rd_atomic) = (Msn::new(0xff_fffe), 4);
            ResponderConfig { msn_start, max_dest_rd_atomic, content_window: 0, ..config }
        };
        let mut initial = Memory::new();
        initial.write(BASE, &vec![0xee; 0x4000]);
        let mut world = World {
            outlet: Outlet { left: Rc::new(Cell::new(u64::MAX)), log: Rc::default() },
            clients: (0..clients).map(|i| Requester::new(requester(i))).collect(),
            servers: (0..clients).map(|i| Responder::new(responder(i))).collect(),
            completions: vec![Vec::new(); clients as usize],
            memory: initial.clone(),
            initial,
            effects: EffectLog::new(),
            flying: BTreeMap::new(),
            sequence: 0,
            now: 0,
            actions: 0,
            crashes: 0,
            fillers: 0,
            silent: Vec::new(),
            silent_until: u64::MAX,
            contents: BTreeMap::new(),
            problems: Vec::new(),
            host: None,
            setup: setup.clone(),
            config,
            policy,
            directory,
        };
        world.host = Some(
            Host::new(&world.config, &world.policy, &world.directory, setup.shards)
                .unwrap()
                .with_records(world.outlet.sink()),
        );
        for (client, script) in world.clients.iter_mut().zip(&setup.scripts) {
            script.iter().for_each(|verb| {
                client.post(verb.clone());
            });
        }
        world
    }

    /// Runs until nothing is left to do, and crashes after so many actions, counted anew after
    /// each crash.
    pub(crate) fn run(&mut self, crashes: &[(u64, Fate)]) {
        let mut crashes = crashes.iter();
        let mut next = crashes.next();
        self.outlet.left.set(next.map_or(u64::MAX, |(after, _)| *after));
        for _ in 0..100_000 {
            if self.now >= self.silent_until {
                self.silent.clear();
            }
            self.transmit();
            if let Some((_, fate)) = next
                && self.outlet.left.get() == 0
            {
                self.crash(*fate);
                next = crashes.next();
                self.outlet.left.set(next.map_or(u64::MAX, |(after, _)| *after));
                continue;
            }
            let host = self.host.as_ref().unwrap();
            let mut times: Vec<u64> =
                host.next_deadline(Nanos(self.now)).map(|time| time.0).into_iter().collect();
            times.extend(self.flying.keys().next().map(|(time, _)| *time));
            let live = (0..self.clients.len()).filter(|i| !self.silent.contains(i));
            times.extend(live.filter_map(|i| self.clients[i].poll_timeout()));
            times.extend(self.servers.iter().filter_map(Responder::poll_timeout));
            times.extend(
                Some(self.silent_until)
                    .filter(|until| !self.silent.is_empty() && *until < u64::MAX),
            );
            let Some(time) = times.into_iter().min() else { return };
            self.now = self.now.max(time);
            self.arrive();
            self.with_host(|host, now, emit| {
                host.timeout(now, emit);
            });
            for (i, client) in self.clients.iter_mut().enumerate() {
                if !self.silent.contains(&i) {
                    client.handle_timeout(self.now);
                }
            }
            self.servers.iter_mut().for_each(|server| server.handle_timeout(self.now));
        }
        self.problems.push("still busy".into());
    }

    fn crash(&mut self, fate: Fate) {
        self.crashes += 1;
        if self.crashes == 1 {
            self.silent.clone_from(&self.setup.dead);
            self.silent_until = self.now.saturating_add(self.setup.silence_ns);
        }
        self.flying.retain(|_, (leg, _)| match leg {
            Leg::Box(_) => !fate.to_box,
            Leg::Server => !fate.to_servers,
            Leg::Client => !fate.to_clients,
        });
        self.host = None;
        let log = self.outlet.log.borrow().clone();
        let journal = Journal::read(&self.config, &log).unwrap();
        // What is read from a log written anew is the same.
        let mut short = Vec::new();
        journal.checkpoint(|record: &Record| {
            let mut bytes = [0; 128];
            let len = record.encode(&mut bytes).unwrap();
            short.extend_from_slice(&bytes[..len]);
        });
        assert_eq!(Journal::read(&self.config, &short).unwrap(), journal);
        *self.outlet.log.borrow_mut() = short;
        let (policy, directory, shards) = (&self.policy, &self.directory, self.setup.shards);
        let now = Nanos(self.now);
        let host = Host::resume(&self.config, policy, directory, shards, &journal, now).unwrap();
        self.host = Some(host.with_records(self.outlet.sink()));
    }

    fn with_host(&mut self, call: impl FnOnce(&mut Host, Nanos, &mut dyn FnMut(Side, &[u8]))) {
        let mut sent = Vec::new();
        let (left, mut actions) = (self.outlet.left.clone(), 0);
        let before = self.outlet.log.borrow().len();
        call(self.host.as_mut().unwrap(), Nanos(self.now), &mut |side, frame| {
            if Outlet::pass(&left) {
                actions += 1;
                sent.push((side, frame.to_vec()));
            }
        });
        // A record is an action as well; how many there were is known well enough by their bytes.
        self.actions += actions + (self.outlet.log.borrow().len() - before).div_ceil(85) as u64;
        for (side, frame) in sent {
            if side == Side::Server {
                self.note_content(&frame);
            }
            let leg = if side == Side::Server { Leg::Server } else { Leg::Client };
            self.put(leg, frame);
        }
    }

    fn note_content(&mut self, frame: &[u8]) {
        let Ok(Classified::Rc(layout)) = classify(frame) else { return };
        let reth = layout.reth(frame);
        if layout.opcode == Opcode::WriteOnly && reth.is_some_and(|reth| reth.dma_length == 0) {
            self.fillers += 1;
            return;
        }
        let bytes = &frame[usize::from(layout.bth) + 12..usize::from(layout.icrc)];
        let content = digest(bytes) ^ u64::from(layout.opcode.to_byte());
        let place = (layout.dest_qp.value(), layout.psn.value());
        let known = *self.contents.entry(place).or_insert(content);
        if known != content {
            self.problems.push(format!("{place:?} changed its content"));
        }
    }

    fn put(&mut self, leg: Leg, frame: Vec<u8>) {
        self.sequence += 1;
        if self.setup.lost.contains(&self.sequence) {
            return;
        }
        self.flying.insert((self.now + LATENCY, self.sequence), (leg, frame));
    }

    fn transmit(&mut self) {
        let mut buffer = [0; 2048];
        for i in 0..self.clients.len() {
            while !self.silent.contains(&i)
                && let Some(len) = self.clients[i].poll_transmit(self.now, &mut buffer)
            {
                self.put(Leg::Box(0), buffer[..len].to_vec());
            }
            while let Some(completion) = self.clients[i].poll_completion() {
                self.completions[i].push(completion);
            }
            while let Some(len) = self.servers[i].poll_transmit(self.now, &mut buffer) {
                self.put(Leg::Box(1), buffer[..len].to_vec());
            }
        }
    }

    fn arrive(&mut self) {
        while let Some(entry) = self.flying.first_entry() {
            if entry.key().0 > self.now || self.outlet.left.get() == 0 {
                return;
            }
            let (leg, frame) = entry.remove();
            let Ok(Classified::Rc(layout)) = classify(&frame) else { continue };
            let to = layout.dest_qp;
            match leg {
                Leg::Box(from) => {
                    let side = if from == 0 { Side::Client } else { Side::Server };
                    let base = if from == 0 { 0x100 } else { 0x11 };
                    let shard = (to.value() - base) % u32::from(self.setup.shards);
                    self.with_host(|host, now, emit| {
                        host.offer(shard as u8, side, now, &frame, emit);
                    });
                }
                Leg::Client => {
                    let i = (to.value() - 0x11) as usize;
                    if !self.silent.contains(&i) {
                        self.clients[i].handle_frame(self.now, &frame);
                    }
                }
                Leg::Server => {
                    let server = &mut self.servers[(to.value() - 0x100) as usize];
                    server.handle_frame(self.now, &frame, &mut self.memory, &mut self.effects);
                }
            }
        }
    }

    /// What the middlebox still has open.
    pub(crate) fn open(&self) -> (usize, usize, usize) {
        self.host.as_ref().unwrap().open()
    }
}
