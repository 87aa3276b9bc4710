//! Clients, middlebox and servers around one clock: a capture's workload, driven again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::iter::Peekable;
use std::net::IpAddr;

use qpmux_engine::wire::{Classified, classify};
use qpmux_engine::{Nanos, Side};

use super::answers::{Allowed, Answers};
use super::losses::{Leg, RecordedReport, Wires};
use super::script::{Script, ScriptedConnection, ScriptedVerb};
use super::setup::{Latency, Setup};
use crate::host::Host;
use crate::memory::{EffectLog, Memory, check};
use crate::rc::{Requester, Responder, Status, Verb, Violations};

/// What happens next, and to whom. Ties in time are broken by the order here, then by
/// connection, never by insertion: so the order is the same for any number of shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// A packet of this client arrives at the middlebox.
    BoxFromClient(u32),
    /// A packet of this server queue pair arrives at the middlebox.
    BoxFromServer(u32),
    /// A packet arrives at this server queue pair.
    AtServer(u32),
    /// A packet arrives at this client.
    AtClient(u32),
    /// A timer of this server queue pair.
    WakeServer(u32),
    /// A timer of this client, or the time to post.
    WakeClient(u32),
    /// A timer of the middlebox.
    WakeBox,
}

impl Place {
    /// The leg that leads there, and the endpoint that is at its other end or here.
    fn leg(self) -> Option<(Leg, u32)> {
        let leg = |side, inwards| Leg { side, inwards };
        match self {
            Place::BoxFromClient(i) => Some((leg(Side::Client, true), i)),
            Place::AtClient(i) => Some((leg(Side::Client, false), i)),
            Place::BoxFromServer(i) => Some((leg(Side::Server, true), i)),
            Place::AtServer(i) => Some((leg(Side::Server, false), i)),
            Place::WakeServer(_) | Place::WakeClient(_) | Place::WakeBox => None,
        }
    }
}

/// Where a frame passes the middlebox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passing {
    /// It comes in on this side.
    In(Side),
    /// It goes out on this side.
    Out(Side),
}

impl Passing {
    pub(super) fn side(self) -> Side {
        let (Passing::In(side) | Passing::Out(side)) = self;
        side
    }
}

/// Who sees frames on both sides of the middlebox, in the order in which it takes and sends them:
/// where, time in nanoseconds since the start, frame.
pub(super) type Tap<'a> = dyn FnMut(Passing, u64, &[u8]) + 'a;

struct Client {
    requester: Requester,
    script: Peekable<std::vec::IntoIter<ScriptedVerb>>,
    /// Posted and not complete.
    posted: VecDeque<Verb>,
    completed: u64,
    succeeded: u64,
    /// Times of the completions that no verb has waited for yet, and of the one before these.
    history: VecDeque<u64>,
    last_completion: u64,
    shard: u8,
    path_mtu: u16,
    wake: u64,
}

struct Server {
    responder: Responder,
    /// Index of its store.
    store: usize,
    shard: u8,
    wake: u64,
    used: bool,
}

/// Memory of one server, what was done to it, and how it was at the start.
struct Store {
    initial: Memory,
    memory: Memory,
    log: EffectLog,
}

/// What a run showed.
pub(super) struct WorldReport {
    pub(super) violations: Violations,
    /// Why memory or answers are wrong; empty if they are right.
    pub(super) memory_problems: Vec<String>,
    pub(super) completed: u64,
    /// Server queue pairs that a request arrived at.
    pub(super) server_qps_used: usize,
    /// Clients that gave up.
    pub(super) dead_clients: u64,
    /// Requests that clients sent again.
    pub(super) sent_again: u64,
    /// Packets lost, by leg.
    pub(super) lost: BTreeMap<&'static str, u64>,
    pub(super) recorded: Option<RecordedReport>,
    pub(super) events: u64,
    pub(super) duration_ns: u64,
    pub(super) host: Host,
}

/// The whole run.
pub(super) struct World<'a> {
    latency: Latency,
    wires: Wires,
    host: Host,
    clients: Vec<Client>,
    servers: Vec<Server>,
    stores: Vec<Store>,
    by_client: BTreeMap<(IpAddr, u32), u32>,
    by_server: BTreeMap<(IpAddr, u32), u32>,
    queue: BinaryHeap<Reverse<(u64, Place, u64)>>,
    /// Frames on their way, by place and number in its sequence.
    frames: BTreeMap<(Place, u64), Vec<u8>>,
    sequence: BTreeMap<Place, u64>,
    box_wake: u64,
    answers: Answers,
    allowed: Allowed,
    events: u64,
    now: u64,
    tap: &'a mut Tap<'a>,
    buffer: Vec<u8>,
}

impl<'a> World<'a> {
    /// The world of a workload; `tap` sees every frame on both sides of the middlebox.
    pub(super) fn new(
        script: Script,
        setup: &Setup,
        wires: Wires,
        host: Host,
        tap: &'a mut Tap<'a>,
    ) -> Self {
        let stores: Vec<Store> = script
            .memory
            .iter()
            .map(|server| Store {
                initial: server.memory.clone(),
                memory: server.memory.clone(),
                log: EffectLog::new(),
            })
            .collect();
        let store_of = |ip: IpAddr| script.memory.iter().position(|m| m.ip == ip).unwrap_or(0);
        let key = |e: &qpmux_engine::policy::Endpoint| (e.ip, e.qpn.value());
        let by_client = setup.index(&script, |c| key(&c.client));
        let by_server = setup.index(&script, |c| key(&c.server));
        let servers = script
            .connections
            .iter()
            .enumerate()
            .map(|(i, c)| Server {
                responder: Responder::new(setup.responder(&script, i)),
                store: store_of(c.server.ip),
                shard: setup.shard(&c.server, &c.client, c.response.source_port),
                wake: u64::MAX,
                used: false,
            })
            .collect();
        let client = |c: ScriptedConnection| Client {
            requester: Requester::new(setup.requester(&c)),
            shard: setup.shard(&c.client, &c.server, c.request.source_port),
            path_mtu: c.path_mtu,
            script: c.verbs.into_iter().peekable(),
            posted: VecDeque::new(),
            completed: 0,
            succeeded: 0,
            last_completion: 0,
            history: VecDeque::new(),
            wake: u64::MAX,
        };
        World {
            latency: setup.latency,
            wires,
            host,
            clients: script.connections.into_iter().map(client).collect(),
            servers,
            stores,
            by_client,
            by_server,
            queue: BinaryHeap::new(),
            frames: BTreeMap::new(),
            sequence: BTreeMap::new(),
            box_wake: u64::MAX,
            answers: Answers::default(),
            allowed: Allowed::by(&setup.policy),
            events: 0,
            now: 0,
            tap,
            buffer: vec![0; 16 * 1024],
        }
    }

    /// Runs until nothing is left to happen. `progress` is told completed requests now and then.
    pub(super) fn run(mut self, progress: &mut dyn FnMut(u64)) -> WorldReport {
        for client in 0..self.clients.len() as u32 {
            self.drive_client(client);
        }
        while let Some(Reverse((time, place, number))) = self.queue.pop() {
            debug_assert!(time >= self.now, "time does not go back");
            self.now = time;
            // The middlebox's own timers depend on how many shards look at them.
            self.events += u64::from(place != Place::WakeBox);
            self.step(place, number);
            if self.events.is_multiple_of(4_096) {
                progress(self.clients.iter().map(|client| client.completed).sum());
            }
        }
        self.report()
    }

    fn step(&mut self, place: Place, number: u64) {
        let frame = self.frames.remove(&(place, number)).unwrap_or_default();
        match place {
            Place::BoxFromClient(i) => {
                (self.tap)(Passing::In(Side::Client), self.now, &frame);
                self.offer(self.clients[i as usize].shard, Side::Client, &frame);
            }
            Place::BoxFromServer(i) => {
                (self.tap)(Passing::In(Side::Server), self.now, &frame);
                self.offer(self.servers[i as usize].shard, Side::Server, &frame);
            }
            Place::AtServer(i) => {
                let server = &mut self.servers[i as usize];
                server.used = true;
                let store = &mut self.stores[server.store];
                server.responder.handle_frame(self.now, &frame, &mut store.memory, &mut store.log);
                self.drive_server(i);
            }
            Place::AtClient(i) => {
                self.clients[i as usize].requester.handle_frame(self.now, &frame);
                self.drive_client(i);
            }
            Place::WakeServer(i) => {
                let server = &mut self.servers[i as usize];
                if server.wake == self.now {
                    server.wake = u64::MAX;
                    server.responder.handle_timeout(self.now);
                    self.drive_server(i);
                }
            }
            Place::WakeClient(i) => {
                let client = &mut self.clients[i as usize];
                if client.wake == self.now {
                    client.wake = u64::MAX;
                    client.requester.handle_timeout(self.now);
                    self.drive_client(i);
                }
            }
            Place::WakeBox => {
                if self.box_wake == self.now {
                    self.box_wake = u64::MAX;
                    let mut sent = Vec::new();
                    let now = Nanos(self.now);
                    self.host.timeout(now, &mut |side, frame| sent.push((side, frame.to_vec())));
                    self.dispatch(sent);
                }
            }
        }
    }

    /// A frame arrives at the middlebox.
    fn offer(&mut self, shard: u8, side: Side, frame: &[u8]) {
        let mut sent = Vec::new();
        let now = Nanos(self.now);
        let emit = &mut |side, frame: &[u8]| sent.push((side, frame.to_vec()));
        self.host.offer(shard, side, now, frame, emit);
        self.dispatch(sent);
    }

    /// What the middlebox sent travels on.
    fn dispatch(&mut self, sent: Vec<(Side, Vec<u8>)>) {
        for (side, frame) in sent {
            (self.tap)(Passing::Out(side), self.now, &frame);
            let Ok(Classified::Rc(layout)) = classify(&frame) else { continue };
            let to = (layout.destination, layout.dest_qp.value());
            let place = match side {
                Side::Client => self.by_client.get(&to).map(|&i| Place::AtClient(i)),
                Side::Server => self.by_server.get(&to).map(|&i| Place::AtServer(i)),
            };
            let Some(place) = place else { continue };
            self.send(self.latency.of(side), place, frame);
        }
        if let Some(Nanos(deadline)) = self.host.next_deadline(Nanos(self.now))
            && deadline < self.box_wake
        {
            self.box_wake = deadline;
            self.wake(deadline, Place::WakeBox);
        }
    }

    /// Posts what is due, sends what may be sent, takes what is complete.
    fn drive_client(&mut self, i: u32) {
        let client = &mut self.clients[i as usize];
        while let Some(completion) = client.requester.poll_completion() {
            let Some(verb) = client.posted.pop_front() else { break };
            client.completed += 1;
            client.succeeded += u64::from(completion.status == Status::Success);
            client.history.push_back(completion.completed_at);
            self.answers.note(&verb, &completion, client.path_mtu);
        }
        let post_at = client.post_due(self.now);
        let mut packets = Vec::new();
        while let Some(len) = client.requester.poll_transmit(self.now, &mut self.buffer) {
            packets.push(self.buffer[..len].to_vec());
        }
        let due = client.requester.poll_timeout().into_iter().chain(post_at).min();
        let wake = due.map(|due| due.max(self.now + 1)).filter(|due| *due < client.wake);
        if let Some(wake) = wake {
            client.wake = wake;
            self.wake(wake, Place::WakeClient(i));
        }
        for packet in packets {
            self.send(self.latency.client_ns, Place::BoxFromClient(i), packet);
        }
    }

    fn drive_server(&mut self, i: u32) {
        let server = &mut self.servers[i as usize];
        let mut packets = Vec::new();
        while let Some(len) = server.responder.poll_transmit(self.now, &mut self.buffer) {
            packets.push(self.buffer[..len].to_vec());
        }
        let due = server.responder.poll_timeout().map(|due| due.max(self.now + 1));
        if let Some(wake) = due.filter(|due| *due < server.wake) {
            server.wake = wake;
            self.wake(wake, Place::WakeServer(i));
        }
        for packet in packets {
            self.send(self.latency.server_ns, Place::BoxFromServer(i), packet);
        }
    }

    fn send(&mut self, delay: u64, place: Place, frame: Vec<u8>) {
        if place.leg().is_some_and(|(leg, endpoint)| self.wires.lose(leg, endpoint, &frame)) {
            return;
        }
        let number = self.sequence.entry(place).or_default();
        *number += 1;
        self.frames.insert((place, *number), frame);
        self.queue.push(Reverse((self.now + delay, place, *number)));
    }

    fn wake(&mut self, time: u64, place: Place) {
        self.queue.push(Reverse((time, place, 0)));
    }

    fn report(self) -> WorldReport {
        let mut violations = Violations::new();
        for client in &self.clients {
            violations.merge(client.requester.violations());
        }
        for server in &self.servers {
            violations.merge(server.responder.violations());
        }
        let unfinished = |c: &&Client| c.requester.pending() > 0 || c.script.len() > 0;
        let stuck = self.clients.iter().filter(unfinished).count();
        if stuck > 0 {
            violations.record("O7", self.now, || format!("{stuck} clients are not done"));
        }
        let (buffers, requests, bound) = self.host.open();
        if (buffers, requests, bound) != (0, 0, 0) && stuck == 0 {
            violations.record("O10", self.now, || {
                format!("at rest: {buffers} buffers, {requests} requests, {bound} bound")
            });
        }
        let mut memory_problems: Vec<String> = self
            .stores
            .iter()
            .filter_map(|store| check(&store.initial, &store.log, &store.memory).err())
            .map(|mismatch| mismatch.to_string())
            .collect();
        let stores = self.stores.iter().map(|store| (&store.initial, &store.log));
        memory_problems.extend(self.answers.differences(stores, self.allowed));
        WorldReport {
            violations,
            memory_problems,
            completed: self.clients.iter().map(|client| client.succeeded).sum(),
            server_qps_used: self.servers.iter().filter(|s| s.used).count(),
            dead_clients: self.clients.iter().filter(|c| c.requester.is_dead()).count() as u64,
            sent_again: self.clients.iter().map(|c| c.requester.stats().sent_again).sum(),
            lost: self.wires.lost().clone(),
            recorded: self.wires.recorded(),
            events: self.events,
            duration_ns: self.now,
            host: self.host,
        }
    }
}

impl Client {
    /// Posts every verb whose time has come; the time of the next one, if that is known.
    fn post_due(&mut self, now: u64) -> Option<u64> {
        loop {
            let next = self.script.peek()?;
            let after = next.after as u64;
            if after > self.completed {
                return None;
            }
            // The history starts at the newest completion that some verb has waited for.
            let first = self.completed - self.history.len() as u64;
            if after > first {
                self.history.drain(..(after - first - 1) as usize);
                self.last_completion = self.history.pop_front().unwrap_or(self.last_completion);
            }
            let due = self.last_completion.saturating_add(next.think_ns);
            if due > now {
                return Some(due);
            }
            let scripted = self.script.next()?;
            self.requester.post(scripted.verb.clone());
            self.posted.push_back(scripted.verb);
        }
    }
}
