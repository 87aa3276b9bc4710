//! Hosts, adapters and wires around one clock: what an application model runs on.
//!
//! Adapters are the models of [`crate::rc`], hosts have real memory. Between clients and servers
//! stands what the run is about: a tap, or the engine. The application posts verbs and is told
//! what happened ([`Fabric::next`]); everything follows from what it does and the losses' seed.

mod clock;
mod end;
mod middle;

use std::collections::VecDeque;

use qpmux_engine::policy::{Choices, SwitchError};
use qpmux_engine::{Counters, ServerQpReport};
use qpmux_traces::CaptureError;

use crate::dice::Dice;
use crate::faults::{Fate, Faults, Leg, Rates, What, damage, mark};
use crate::memory::{Effect, Memory};
use crate::rc::{Completion, Region, RequesterStats, ResponderStats, Verb, Violations};
use clock::Clock;
use end::Connection;
pub(crate) use end::{Arrived, Between, Habits, Host};
pub(crate) use middle::Middle;
pub use middle::{EngineError, EngineSetup, Switch};

/// One-way times from a host to the middle and from there on, ns: 2.5 us round trip with the
/// server's, as [`crate::replay::Latency`] has it.
const TO_MIDDLE_NS: u64 = 500;
const FROM_MIDDLE_NS: u64 = 500;
/// From request to answer inside an adapter, ns.
const EXECUTION_NS: u64 = 500;
/// Streams of chance that faults have.
const FAULTS: u64 = 8;
/// Frames of one packet fit.
const FRAME_BYTES: usize = 2_048;

enum Event<N> {
    /// A frame is in the middle, towards the end of that number.
    InMiddle(usize, usize, Vec<u8>),
    /// A frame arrives.
    Arrives(usize, usize, Vec<u8>),
    /// A timer of an end.
    WakeEnd(usize, usize),
    /// A timer of the middle.
    WakeMiddle,
    Due(N),
}

/// What an application is told. `A` is who posted a verb, `N` what it had put off.
pub(crate) enum Happening<A, N> {
    /// Memory of a watched host was read or changed.
    Executed(Effect),
    /// A request was executed at an end of a connection, and software there can see it.
    Arrived(usize, usize, Arrived),
    /// A verb that was posted on a connection has ended.
    Completed(usize, A, Completion),
    /// The time of this has come.
    Due(N),
}

/// What may happen to packets, on every leg of every connection alike.
#[derive(Clone, Copy, Default)]
pub(crate) struct Weather {
    pub(crate) rates: Rates,
    pub(crate) seed: u64,
}

/// What passed so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) requests: u64,
    /// Packets by leg, in the order of [`Leg::ALL`].
    pub(crate) packets: [u64; 4],
    /// By kind, in the order of [`What::ALL`].
    pub(crate) faults: [u64; What::ALL.len()],
    pub(crate) counters: Counters,
    pub(crate) requester: RequesterStats,
    pub(crate) responder: ResponderStats,
}

/// The whole network.
pub(crate) struct Fabric<'a, A, N> {
    pub(crate) hosts: Vec<Host>,
    connections: Vec<Connection<A>>,
    middle: Middle<'a>,
    /// By connection and leg.
    faults: Vec<[Faults; 4]>,
    /// Those that happened, by kind, in the order of [`What::ALL`].
    happened_faults: [u64; What::ALL.len()],
    requests: u64,
    clock: Clock<Event<N>>,
    happened: VecDeque<Happening<A, N>>,
    broken: Option<CaptureError>,
    buffer: Vec<u8>,
}

impl<'a, A: Copy, N> Fabric<'a, A, N> {
    /// A network of these hosts and connections, with a wire in the middle.
    pub(crate) fn new(
        hosts: Vec<Host>,
        between: &[Between<'_>],
        habits: Habits,
        Weather { rates, seed }: Weather,
    ) -> Self {
        let dice = |connection: u64, leg: u64| Dice::new(seed, FAULTS + leg, connection);
        let faults = (0..between.len() as u64)
            .map(|c| Leg::ALL.map(|leg| Faults::drawn(rates, dice(c, leg as u64))));
        let connections = between.iter().map(|b| Connection::new(&hosts, b, habits)).collect();
        Self {
            hosts,
            connections,
            middle: Middle::Wire,
            faults: faults.collect(),
            happened_faults: [0; What::ALL.len()],
            requests: 0,
            clock: Clock::new(),
            happened: VecDeque::new(),
            broken: None,
            buffer: vec![0; FRAME_BYTES],
        }
    }

    /// The same with a tap in the middle.
    pub(crate) fn with_tap(mut self, tap: &'a mut middle::Tap<'a>) -> Self {
        self.middle = Middle::Tap(tap);
        self
    }

    /// The same with an engine in the middle, which knows of the servers' memory.
    pub(crate) fn with_engine(
        mut self,
        setup: &EngineSetup,
        regions: &[Region],
    ) -> Result<Self, EngineError> {
        let engine = middle::EngineHost::new(setup, &self.connections, regions)?;
        self.middle = Middle::Engine(Box::new(engine));
        Ok(self)
    }

    /// Simulated time, ns from the start.
    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Events so far.
    pub(crate) fn events(&self) -> u64 {
        self.clock.happened()
    }

    /// The memory of a host.
    pub(crate) fn memory(&mut self, host: usize) -> &mut Memory {
        &mut self.hosts[host].memory
    }

    /// Packets that were lost.
    pub(crate) fn lost(&self) -> u64 {
        self.happened_faults[What::Drop as usize]
    }

    /// What passed so far.
    pub(crate) fn traffic(&self) -> Traffic {
        let mut traffic = Traffic {
            requests: self.requests,
            faults: self.happened_faults,
            counters: self.engine().map(|(counters, _)| counters).unwrap_or_default(),
            ..Traffic::default()
        };
        for legs in &self.faults {
            let sent = legs.iter().map(|leg| leg.packets);
            traffic.packets.iter_mut().zip(sent).for_each(|(all, packets)| *all += packets);
        }
        for end in self.connections.iter().flat_map(|connection| &connection.ends) {
            traffic.requester.add(&end.requester.stats());
            traffic.responder.add(&end.responder.stats());
        }
        traffic
    }

    /// What the engine counted and its server queue pairs, if there is an engine.
    pub(crate) fn engine(&self) -> Option<(Counters, Vec<ServerQpReport>)> {
        match &self.middle {
            Middle::Engine(engine) => {
                Some((engine.host.counters(), engine.host.server_qps().collect()))
            }
            Middle::Tap(_) | Middle::Wire => None,
        }
    }

    /// Switches the engine, if there is one, to another policy.
    pub(crate) fn switch(&mut self, to: Choices) -> Result<(), SwitchError> {
        match &mut self.middle {
            Middle::Engine(engine) => engine.switch(to),
            Middle::Tap(_) | Middle::Wire => Ok(()),
        }
    }

    /// Why the tap could not go on, if so: then nothing happens any more.
    pub(crate) fn take_broken(&mut self) -> Option<CaptureError> {
        self.broken.take()
    }

    /// Posts a verb at an end of a connection; `asker` is told of its end.
    pub(crate) fn post(&mut self, connection: usize, end: usize, asker: A, verb: Verb) {
        self.requests += 1;
        self.connections[connection].ends[end].post(asker, verb);
        self.transmit(connection, end);
        // An adapter that has given up gives everything back at once.
        if self.connections[connection].ends[end].requester.is_dead() {
            self.take_completions(connection, end);
        }
    }

    /// Puts something off for so long.
    pub(crate) fn after(&mut self, delay_ns: u64, notice: N) {
        self.clock.after(delay_ns, Event::Due(notice));
    }

    /// The next thing that the application has to know; `None` if nothing is left to happen.
    pub(crate) fn next(&mut self) -> Option<Happening<A, N>> {
        loop {
            if let Some(happening) = self.happened.pop_front() {
                return Some(happening);
            }
            if self.broken.is_some() {
                return None;
            }
            match self.clock.pop()? {
                Event::InMiddle(connection, end, frame) => self.pass(connection, end, frame),
                Event::Arrives(connection, end, frame) => self.arrive(connection, end, &frame),
                Event::WakeEnd(connection, end) => self.wake_end(connection, end),
                Event::WakeMiddle => self.wake_middle(),
                Event::Due(notice) => return Some(Happening::Due(notice)),
            }
        }
    }

    /// A frame comes to the middle.
    fn pass(&mut self, connection: usize, end: usize, frame: Vec<u8>) {
        let now = self.clock.now();
        let through = self.connections[connection].through;
        let sent = match &mut self.middle {
            Middle::Tap(tap) if through => {
                self.broken = tap(now, connection, &frame).err();
                vec![(connection, end, frame)]
            }
            Middle::Engine(engine) if through => engine.offer(now, (connection, end), &frame),
            _ => vec![(connection, end, frame)],
        };
        self.leave_middle(sent);
    }

    fn leave_middle(&mut self, sent: Vec<(usize, usize, Vec<u8>)>) {
        let now = self.clock.now();
        for (connection, end, frame) in sent {
            let leg = if end == 0 { Leg::BoxToClient } else { Leg::BoxToServer };
            let arrives = |frame| Event::Arrives(connection, end, frame);
            self.fly(leg, connection, FROM_MIDDLE_NS, frame, arrives);
        }
        if let Middle::Engine(engine) = &mut self.middle
            && let Some(due) = engine.due(now)
        {
            self.clock.after(due - now, Event::WakeMiddle);
        }
    }

    fn wake_middle(&mut self) {
        let now = self.clock.now();
        let Middle::Engine(engine) = &mut self.middle else { return };
        if engine.wake == now {
            engine.wake = u64::MAX;
            let sent = engine.timeout(now);
            self.leave_middle(sent);
        }
    }

    /// A frame arrives at an adapter, which answers by itself and tells the software.
    fn arrive(&mut self, connection: usize, end: usize, frame: &[u8]) {
        let now = self.clock.now();
        let here = &mut self.connections[connection].ends[end];
        let host = &mut self.hosts[here.host];
        let (effects, arrived) = here.handle_frame(now, frame, &mut host.memory);
        if host.watched {
            self.happened.extend(effects.into_iter().map(Happening::Executed));
        }
        if let Some(arrived) = arrived {
            self.happened.push_back(Happening::Arrived(connection, end, arrived));
        }
        self.take_completions(connection, end);
        self.transmit(connection, end);
    }

    fn wake_end(&mut self, connection: usize, end: usize) {
        let now = self.clock.now();
        let here = &mut self.connections[connection].ends[end];
        if here.wake == now {
            here.wake = u64::MAX;
            here.requester.handle_timeout(now);
            here.responder.handle_timeout(now);
            self.take_completions(connection, end);
            self.transmit(connection, end);
        }
    }

    fn take_completions(&mut self, connection: usize, end: usize) {
        let here = &mut self.connections[connection].ends[end];
        while let Some((asker, completion)) = here.poll_completion() {
            self.happened.push_back(Happening::Completed(connection, asker, completion));
        }
    }

    /// Sends what an adapter may send.
    fn transmit(&mut self, connection: usize, end: usize) {
        let now = self.clock.now();
        loop {
            let here = &mut self.connections[connection].ends[end];
            let host = &mut self.hosts[here.host];
            let next = here.poll_transmit(now, host, &mut self.buffer);
            let Some((frame, is_answer)) = next else { break };
            let delay = if is_answer { EXECUTION_NS + TO_MIDDLE_NS } else { TO_MIDDLE_NS };
            let leg = if end == 0 { Leg::ClientToBox } else { Leg::ServerToBox };
            let in_middle = |frame| Event::InMiddle(connection, 1 - end, frame);
            self.fly(leg, connection, delay, frame, in_middle);
        }
        let here = &mut self.connections[connection].ends[end];
        let due = here.poll_timeout().map(|due| due.max(now + 1)).filter(|due| *due < here.wake);
        if let Some(due) = due {
            here.wake = due;
            self.clock.after(due - now, Event::WakeEnd(connection, end));
        }
    }

    /// A packet sets out on a leg, and meets its fate.
    fn fly(
        &mut self,
        leg: Leg,
        connection: usize,
        delay: u64,
        mut frame: Vec<u8>,
        event: impl Fn(Vec<u8>) -> Event<N>,
    ) {
        let fate = self.faults[connection][leg as usize].next();
        if let Some((what, _)) = fate.fault() {
            self.happened_faults[what as usize] += 1;
        }
        let mut later = 0;
        match fate {
            // Nobody sends anything beside.
            Fate::Deliver | Fate::Noise(_) => {}
            Fate::Drop => return,
            Fate::Double(again) => self.clock.after(delay + again, event(frame.clone())),
            Fate::Delay(by) => later = by,
            Fate::Corrupt(bit) => damage(&mut frame, bit),
            Fate::Mark => mark(&mut frame),
        }
        self.clock.after(delay + later, event(frame));
    }

    /// Rules of the transport that were broken, and what nobody answered.
    pub(crate) fn violations(&self) -> Violations {
        let mut all = Violations::new();
        let mut open = 0;
        for end in self.connections.iter().flat_map(|connection| &connection.ends) {
            all.merge(end.requester.violations());
            all.merge(end.responder.violations());
            open += end.requester.pending();
        }
        if open > 0 {
            all.record("O7", self.now(), || format!("{open} requests without an answer"));
        }
        if let Middle::Engine(engine) = &self.middle
            && engine.host.open() != (0, 0, 0)
            && open == 0
            && self.given_up() == 0
        {
            let (buffers, requests, bound) = engine.host.open();
            all.record("O10", self.now(), || {
                format!("at rest: {buffers} buffers, {requests} requests, {bound} bound")
            });
        }
        all
    }

    /// Ends that have given up.
    pub(crate) fn given_up(&self) -> u64 {
        let ends = self.connections.iter().flat_map(|connection| &connection.ends);
        ends.filter(|end| end.requester.is_dead()).count() as u64
    }

    /// Requests that adapters sent again.
    pub(crate) fn sent_again(&self) -> u64 {
        let ends = self.connections.iter().flat_map(|connection| &connection.ends);
        ends.map(|end| end.requester.stats().sent_again).sum()
    }

    /// Queue pairs of a host that have executed requests.
    pub(crate) fn used(&self, host: usize) -> u64 {
        let ends = self.connections.iter().flat_map(|connection| &connection.ends);
        ends.filter(|end| end.host == host && end.responder.stats().accepted > 0).count() as u64
    }
}
