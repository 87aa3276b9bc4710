//! The run of a seed.

use std::collections::VecDeque;

use qpmux_workloads::keys::{KeyChooser, generator};
use rand_pcg::Pcg64;

use super::core::{Choice, Chosen, Core, Running, Task};
use super::measure::{Left, ReceiveOutcome, Tally, Use};
use super::parts::{Landing, Packet, Put, Queue, SpinLock};
use super::plan::{Overload, ReceiveError, ReceivePlan, Sockets, Stack};
use crate::dice::Dice;
use crate::event::{Ps, Queue as Events, ps};
use crate::nic::Server;

/// Streams of chance.
const GAPS: u64 = 1;
const FLOWS: u64 = 2;
const RINGS: u64 = 3;
const SOCKETS: u64 = 4;
const SERVICE: u64 = 5;
/// Entries of the adapter's table from hashes to rings.
const TABLE: u64 = 128;
/// Preamble and gap between frames, bytes.
const BETWEEN_FRAMES: f64 = 20.0;

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The next request is in its ring.
    Arrival,
    /// A ring interrupts its core.
    Interrupt(usize),
    /// A core has done its task, if that has this stamp.
    Done(usize, u64),
}

/// A ring of the adapter.
#[derive(Debug, Default)]
struct Ring {
    packets: VecDeque<Packet>,
    core: usize,
    /// It interrupts no more until it is empty.
    is_masked: bool,
    /// Its interrupt waits for the core.
    is_raised: bool,
    /// Its core takes packets from it.
    is_polled: bool,
    last_interrupt: Option<Ps>,
}

/// A host, and what comes to it.
pub(super) struct World<'a> {
    plan: &'a ReceivePlan,
    seed: u64,
    events: Events<Event>,
    gaps: Dice,
    flows: KeyChooser,
    rng: Pcg64,
    link: Server,
    /// When requests were sent, and when the next one came from the wire.
    sent: f64,
    came: Ps,
    numbers: u64,
    rings: Vec<Ring>,
    cores: Vec<Core>,
    /// What a poll has taken.
    batches: Vec<Vec<Packet>>,
    sockets: Vec<Queue>,
    locks: Vec<SpinLock>,
    landing: Landing,
    tally: Tally,
}

impl<'a> World<'a> {
    pub(super) fn new(plan: &'a ReceivePlan, seed: u64) -> Result<Self, ReceiveError> {
        let ring = |number: usize| Ring { core: number % plan.cores, ..Ring::default() };
        let sockets = if plan.sockets == Sockets::One { 1 } else { plan.cores };
        Ok(Self {
            seed,
            events: Events::new(),
            gaps: Dice::new(seed, GAPS, 0),
            flows: KeyChooser::new(plan.popularity, plan.flows)?,
            rng: generator(seed, FLOWS),
            link: Server::default(),
            sent: 0.0,
            came: 0,
            numbers: 0,
            rings: (0..plan.rings).map(ring).collect(),
            cores: (0..plan.cores).map(|_| Core { sleeps: true, ..Core::default() }).collect(),
            batches: vec![Vec::new(); plan.cores],
            sockets: (0..sockets).map(|_| Queue::default()).collect(),
            locks: (0..sockets).map(|_| SpinLock::default()).collect(),
            landing: Landing::new(&plan.host, plan.packet_bytes, plan.rings, plan.remote_node),
            tally: Tally::new(plan, plan.ops / 4),
            plan,
        })
    }

    /// Runs until the last request has come.
    pub(super) fn run(mut self, progress: &mut dyn FnMut(u64)) -> ReceiveOutcome {
        self.next_arrival();
        while let Some(event) = self.events.pop() {
            match event {
                Event::Arrival => {
                    if self.on_arrival() {
                        break;
                    }
                    if self.numbers.is_multiple_of(4_096) {
                        progress(self.numbers);
                    }
                    self.next_arrival();
                }
                Event::Interrupt(ring) => self.on_interrupt(ring),
                Event::Done(core, stamp) if self.cores[core].stamp == stamp => self.on_done(core),
                Event::Done(..) => {}
            }
        }
        let misses = [self.landing.reads, self.landing.misses];
        let (now, events) = (self.events.now(), self.events.happened());
        let mut outcome = self.tally.outcome(now, events, misses);
        outcome.vanished = self.tally.inside().abs_diff(self.inside());
        outcome
    }

    /// Requests that wait or are being served.
    fn inside(&self) -> u64 {
        let waiting = self.rings.iter().map(|ring| ring.packets.len());
        let waiting = waiting.chain(self.sockets.iter().map(Queue::len));
        let waiting = waiting.chain(self.batches.iter().map(Vec::len));
        let served = self.cores.iter().map(|core| {
            let is_put_off = usize::from(core.put_off.is_some());
            is_put_off
                + usize::from(core.running.is_some_and(|running| {
                    matches!(running.task, Task::Deliver(_) | Task::Serve(_))
                }))
        });
        waiting.chain(served).sum::<usize>() as u64
    }

    fn next_arrival(&mut self) {
        let gap_ns = 1e9 / self.plan.offered_per_s;
        self.sent += self.gaps.exponential(gap_ns);
        let bits = 8.0 * (f64::from(self.plan.packet_bytes) + BETWEEN_FRAMES);
        self.came = self.link.reserve(ps(self.sent), ps(bits / self.plan.host.link_gbps));
        self.events.at(self.came + ps(self.plan.host.nic_ns), Event::Arrival);
    }

    /// The next request is put into its ring. Whether it was the last one.
    fn on_arrival(&mut self) -> bool {
        let flow = self.flows.choose(self.plan.flows, &mut self.rng);
        let entry = Dice::new(self.seed, RINGS, flow).below(TABLE);
        let ring = entry as usize % self.rings.len();
        let is_last = self.tally.on_arrival(self.events.now(), ring);
        let packet = Packet { number: self.numbers, came: self.came, flow, written: 0, by: 0 };
        self.numbers += 1;
        if self.rings[ring].packets.len() as f64 >= self.plan.host.ring_count {
            self.tally.on_left(Left::Ring);
            return is_last;
        }
        let written = self.landing.write();
        self.rings[ring].packets.push_back(Packet { written, ..packet });
        let core = self.rings[ring].core;
        match self.plan.stack {
            Stack::Bypass => self.kick(core),
            Stack::Interrupts | Stack::Napi => self.interrupt(ring),
        }
        is_last
    }

    /// A ring wants its core, unless it has it already.
    fn interrupt(&mut self, number: usize) {
        let now = self.events.now();
        let ring = &mut self.rings[number];
        if ring.is_masked {
            return;
        }
        ring.is_masked = true;
        let gap = ps(self.plan.host.moderation_ns);
        let time = ring.last_interrupt.map_or(now, |last| now.max(last + gap));
        self.events.at(time, Event::Interrupt(number));
    }

    fn on_interrupt(&mut self, ring: usize) {
        self.tally.on_interrupt();
        let now = self.events.now();
        self.rings[ring].is_raised = true;
        self.rings[ring].last_interrupt = Some(now);
        let number = self.rings[ring].core;
        let core = &mut self.cores[number];
        if let Some(Running { task: Task::Serve(packet), ends }) = core.running {
            core.put_off = Some((packet, ends - now));
            core.running = None;
            core.stamp += 1;
        }
        self.kick(number);
    }

    /// A core that does nothing looks for something to do.
    fn kick(&mut self, core: usize) {
        if self.cores[core].running.is_none() {
            self.start_next(core);
        }
    }

    fn start(&mut self, core: usize, task: Task, time: Ps) {
        let ends = self.events.now() + time;
        self.cores[core].running = Some(Running { task, ends });
        self.cores[core].stamp += 1;
        self.events.at(ends, Event::Done(core, self.cores[core].stamp));
    }

    /// A core uses time.
    fn spend(&mut self, of: Use, time: Ps) -> Ps {
        self.tally.on_time(of, time);
        time
    }

    fn start_next(&mut self, core: usize) {
        let raised = self.rings.iter().position(|ring| ring.core == core && ring.is_raised);
        if let Some(ring) = raised {
            self.rings[ring].is_raised = false;
            let time = self.spend(Use::Interrupt, ps(self.plan.host.interrupt_ns));
            return self.start(core, Task::Interrupt(ring), time);
        }
        let ring = self.ring_to_take_from(core);
        let socket = self.socket_of_thread(core);
        let has_put_off = self.cores[core].put_off.is_some();
        let serve = has_put_off || !self.sockets[socket].is_empty();
        let choice = Choice { receive: ring.is_some(), serve };
        self.cores[core].sleeps |= !serve;
        let host = &self.plan.host;
        let limits = (host.budget_count as u64, ps(host.slice_ns));
        let now = self.events.now();
        match (self.cores[core].choose(self.plan.stack, choice, now, limits), ring) {
            (Chosen::Receive, Some(ring)) if self.plan.stack == Stack::Bypass => {
                self.poll(core, ring);
            }
            (Chosen::Receive, Some(ring)) => self.deliver(core, ring),
            (Chosen::Serve, _) => self.serve(core, socket),
            (Chosen::Receive | Chosen::Nothing, _) => {}
        }
    }

    /// A ring of a core that there is something to take from; the adapter may interrupt again for
    /// those that are empty.
    fn ring_to_take_from(&mut self, core: usize) -> Option<usize> {
        let is_bypass = self.plan.stack == Stack::Bypass;
        let mut found = None;
        for number in 0..self.rings.len() {
            let ring = &mut self.rings[number];
            if ring.core != core || !(is_bypass || ring.is_polled) {
                continue;
            }
            let Some(head) = ring.packets.front().copied() else {
                (ring.is_polled, ring.is_masked) = (false, false);
                continue;
            };
            let socket = self.socket_of(core, head.flow);
            let is_full = self.sockets[socket].len() >= self.plan.queue_limit;
            if !(self.plan.feedback && is_full) {
                found = found.or(Some(number));
            }
        }
        found
    }

    /// The socket that a core's thread takes from.
    fn socket_of_thread(&self, core: usize) -> usize {
        if self.plan.sockets == Sockets::One { 0 } else { core }
    }

    /// The socket that a packet of a flow, taken from a ring by this core, is put into.
    fn socket_of(&self, core: usize, flow: u64) -> usize {
        match self.plan.sockets {
            Sockets::One => 0,
            Sockets::Local => core,
            Sockets::Hashed => {
                Dice::new(self.seed, SOCKETS, flow).below(self.plan.cores as u64) as usize
            }
        }
    }

    /// Whether a request for this socket is shed now.
    fn sheds(&self, socket: usize) -> bool {
        self.plan.overload == Overload::Early
            && self.sockets[socket].age(self.events.now()) > ps(self.plan.host.shed_ns)
    }

    /// The kernel takes a packet from a ring.
    fn deliver(&mut self, core: usize, ring: usize) {
        let Some(packet) = self.rings[ring].packets.pop_front() else { return };
        self.cores[core].polled += 1;
        let (host, now) = (&self.plan.host, self.events.now());
        let headers = self.landing.headers(packet.written, self.tally.has_begun());
        let socket = self.socket_of(core, packet.flow);
        if self.sheds(socket) {
            self.tally.on_left(Left::Shed);
            let time = ps(host.driver_ns + host.reject_ns) + headers;
            let time = self.spend(Use::Receive, time);
            return self.start(core, Task::Reject, time);
        }
        let locked = self.locks[socket].take(now, host) - now;
        let time = ps(host.driver_ns + host.protocol_ns) + headers;
        let time = self.spend(Use::Receive, time) + self.spend(Use::Lock, locked);
        self.start(core, Task::Deliver(Packet { by: core, ..packet }), time);
    }

    /// The application takes packets from its ring.
    fn poll(&mut self, core: usize, ring: usize) {
        let host = &self.plan.host;
        let mut count = self.rings[ring].packets.len().min(host.burst_count as usize);
        if self.plan.feedback {
            count = count.min(self.plan.queue_limit.saturating_sub(self.sockets[core].len()));
        }
        let (each, reject) = (ps(host.bypass_driver_ns), ps(host.reject_ns));
        let mut time = ps(host.poll_ns);
        for _ in 0..count {
            let Some(packet) = self.rings[ring].packets.pop_front() else { break };
            time += each + self.landing.headers(packet.written, self.tally.has_begun());
            if self.sheds(core) {
                self.tally.on_left(Left::Shed);
                time += reject;
            } else {
                self.batches[core].push(Packet { by: core, ..packet });
            }
        }
        self.cores[core].has_looked = true;
        let time = self.spend(Use::Receive, time);
        self.start(core, Task::Poll, time);
    }

    /// The application takes a request from its socket and serves it, or goes on with one.
    fn serve(&mut self, core: usize, socket: usize) {
        if let Some((packet, rest)) = self.cores[core].put_off.take() {
            return self.start(core, Task::Serve(packet), rest);
        }
        let Some(packet) = self.sockets[socket].take() else { return };
        self.cores[core].has_looked = false;
        let (host, now) = (&self.plan.host, self.events.now());
        let mut dice = Dice::new(self.seed, SERVICE, packet.number);
        let random = dice.exponential(host.app_random);
        let app = host.app_ns * (1.0 - host.app_random + random);
        let payload = self.landing.payload(packet.written);
        let woken = std::mem::take(&mut self.cores[core].sleeps);
        let (calls, locked) = match self.plan.stack {
            Stack::Bypass => (host.bypass_stack_ns + host.bypass_send_ns, 0),
            Stack::Interrupts | Stack::Napi => {
                let copy = host.copy_byte_ns * f64::from(self.plan.packet_bytes);
                let wake = if woken { host.wakeup_ns } else { 0.0 };
                let moved = if packet.by == core { 0.0 } else { host.migrate_ns };
                let locked = self.locks[socket].take(now, host) - now;
                (wake + host.syscall_ns + copy + moved + host.send_ns, locked)
            }
        };
        let time = self.spend(Use::Application, ps(calls + app) + payload);
        let time = time + self.spend(Use::Lock, locked);
        self.start(core, Task::Serve(packet), time);
        if self.plan.feedback {
            // Rings that were not taken from since this socket was full.
            (0..self.cores.len()).for_each(|other| self.kick(other));
        }
    }

    fn on_done(&mut self, core: usize) {
        let Some(Running { task, .. }) = self.cores[core].running.take() else { return };
        match task {
            Task::Interrupt(ring) => self.rings[ring].is_polled = true,
            Task::Deliver(packet) => {
                let socket = self.socket_of(core, packet.flow);
                self.put(socket, packet);
                self.wake(core, socket);
            }
            Task::Reject => {}
            Task::Poll => {
                for packet in std::mem::take(&mut self.batches[core]) {
                    self.put(core, packet);
                }
            }
            Task::Serve(packet) => {
                let end = self.events.now() + ps(self.plan.host.nic_ns);
                self.tally.on_answer(&packet, end);
            }
        }
        self.kick(core);
    }

    fn put(&mut self, socket: usize, packet: Packet) {
        let (limit, overload) = (self.plan.queue_limit, self.plan.overload);
        if self.sockets[socket].put(packet, limit, overload) == Put::Dropped {
            self.tally.on_left(Left::Queue);
        }
    }

    /// A thread that sleeps takes from a socket into which this core has put something.
    fn wake(&mut self, core: usize, socket: usize) {
        let idle = |number: &usize| self.cores[*number].running.is_none();
        let sleeper = match self.plan.sockets {
            Sockets::One => (0..self.cores.len()).filter(|other| *other != core).find(idle),
            Sockets::Hashed | Sockets::Local => Some(socket).filter(|other| *other != core),
        };
        if let Some(sleeper) = sleeper {
            self.kick(sleeper);
        }
    }
}
