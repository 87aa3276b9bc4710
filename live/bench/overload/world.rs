//! Everything around one real host, on a clock that only the host's own processor time moves, at
//! the machine's pace.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::time::{ClockId, clock_gettime};
use qpmux_engine::wire::{Classified, classify};
use qpmux_engine::{ClientId, ConnectionState, Nanos, Side};
use qpmux_live::config::Settings;
use qpmux_live::driver::{Buffer, Held, ROOM_BEFORE};
use qpmux_live::host::Host;
use qpmux_live::journal::Writer;
use qpmux_live::standby::new_log;
use qpmux_sim::memory::{EffectLog, Memory};
use qpmux_sim::rc::{Completion, Responder, Status};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tempfile::TempDir;

use crate::ends::{BASE, Client, Mix, RKEY, SERVER, client_of, memory_len, pair};
use crate::pace::Pace;
use crate::rings::{FRAME_LEN_MAX, Packet, Rings};
use crate::tally::Tally;
use crate::wires::{Flight, Wires};

/// From an end to the host or back, ns: at least, and how much longer for some of the clients.
/// With the same for all, those whose answers come together would fill each gap of a full ring
/// together, too.
const DELAY: u64 = 2_000;
const FARTHEST: u64 = 20_000;

/// By how much clients notice a timeout of 67 ms late, at most, ns.
const TIMER_SPREAD: u64 = 67_000_000;

/// What is in the way of operations.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) clients: u32,
    /// Operations that one client has on their way, at most.
    pub(crate) window: usize,
    /// Frames that wait at a port, at most.
    pub(crate) ring: usize,
    /// Time that servers take more than none, ns.
    pub(crate) server_delay: u64,
    /// A line of table `[limits]`.
    pub(crate) limits: &'static str,
    /// Server queue pairs that carry keys, at most.
    pub(crate) server_qps: u32,
    /// The map, and of which packets the ICRC is verified.
    pub(crate) map: &'static str,
    /// What order one client's requests keep.
    pub(crate) order: &'static str,
    pub(crate) verify: &'static str,
    pub(crate) mix: Mix,
    /// Whether there is a journal.
    pub(crate) journal: bool,
}

/// Where operations come from.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    /// Nowhere.
    None,
    /// One follows each that is complete, at any client.
    Closed,
    /// They come at random, so many ns apart on average.
    Open(f64),
}

pub(crate) struct World {
    pub(crate) now: u64,
    /// Time in which the host had nothing to do.
    pub(crate) idle: u64,
    pub(crate) host: Host<Rings>,
    pub(crate) clients: Vec<Client>,
    pub(crate) responders: Vec<Responder>,
    pub(crate) tally: Tally,
    shape: Shape,
    rings: Rings,
    memory: Memory,
    wires: Wires,
    sent: Vec<(Side, Packet)>,
    timers: BinaryHeap<Reverse<(u64, usize)>>,
    source: Source,
    next_arrival: Option<u64>,
    rng: Pcg64,
    /// What asking for the time costs.
    clock_cost: u64,
    /// How fast the machine is, if that is taken into account.
    pace: Option<Pace>,
    /// Where the journal is; it goes with this.
    _folder: TempDir,
}

impl World {
    pub(crate) fn new(shape: &Shape, seed: u64) -> anyhow::Result<World> {
        let folder = TempDir::new()?;
        let mut text = configuration(shape);
        if shape.journal {
            text += &format!("[journal]\nfolder = '{}'\n", folder.path().display());
        }
        let settings = Settings::parse(&text).context("configuration")?;
        let engine = settings.engine().context("configuration")?;
        let rings = Rings::new(shape.ring);
        let mut host = Host::new(engine, rings.clone(), settings.frames());
        host.shedder().enable(settings.sheds_overload());
        host.shedder().set_room(shape.ring);
        if let Some(place) = settings.journal_place(0) {
            host.set_journal(Writer::begin(place, &settings.engine_config(), new_log()?, None)?);
        }
        let mut rng = Pcg64::seed_from_u64(seed);
        let mut clients = Vec::new();
        let mut responders = Vec::new();
        for i in 0..shape.clients {
            let (mut client, responder) = pair(i, shape.clients, shape.mix, &mut rng);
            client.delay = rng.random_range(DELAY..=FARTHEST);
            clients.push(client);
            responders.push(responder);
        }
        Ok(World {
            now: 0,
            idle: 0,
            host,
            clients,
            responders,
            tally: Tally::new()?,
            shape: shape.clone(),
            rings,
            memory: Memory::new(),
            wires: Wires::default(),
            sent: Vec::new(),
            timers: BinaryHeap::new(),
            source: Source::None,
            next_arrival: None,
            rng,
            clock_cost: clock_cost(),
            pace: None,
            _folder: folder,
        })
    }

    /// Time is counted at this pace from now on.
    pub(crate) fn set_pace(&mut self, pace: Pace) {
        self.pace = Some(pace);
    }

    /// Operations come from there from now on. Of a closed loop, `outstanding` come at once.
    pub(crate) fn set_source(&mut self, source: Source, outstanding: usize) {
        self.source = source;
        self.next_arrival = None;
        match source {
            Source::None => {}
            Source::Closed => (0..outstanding).for_each(|_| self.arrive(self.now)),
            Source::Open(_) => self.draw_arrival(self.now),
        }
    }

    /// Servers take so much longer than no time from now on. How long they took before.
    pub(crate) fn set_server_delay(&mut self, ns: u64) -> u64 {
        std::mem::replace(&mut self.shape.server_delay, ns)
    }

    /// Runs a closed loop until every connection is translated.
    pub(crate) fn translate_all(&mut self) -> anyhow::Result<()> {
        if self.shape.map == "none" {
            return Ok(());
        }
        self.set_source(Source::Closed, 256.min(self.clients.len()));
        let last = self.now + 5_000_000_000;
        while self.translated() < self.clients.len() {
            let done = self.translated();
            ensure!(self.now < last, "only {done} connections are translated");
            self.run_for(5_000_000);
        }
        self.settle();
        Ok(())
    }

    /// Lets everything complete that is on its way.
    pub(crate) fn settle(&mut self) {
        self.set_source(Source::None, 0);
        let last = self.now + 2_000_000_000;
        let busy = |client: &Client| client.requester.pending() > 0;
        while self.clients.iter().any(busy) && self.now < last {
            self.run_for(1_000_000);
        }
    }

    fn translated(&self) -> usize {
        let connections = self.host.engine().connections(ClientId(0));
        connections.filter(|each| each.state == ConnectionState::Translated).count()
    }

    /// So many ns pass.
    pub(crate) fn run_for(&mut self, ns: u64) {
        let end = self.now + ns;
        while self.now < end {
            self.pace.iter_mut().for_each(|pace| pace.look(self.now));
            self.deliver();
            let due = self.host.next_deadline().map(|at| at.0);
            if self.rings.are_empty() && due.is_none_or(|at| at > self.now) {
                let next = self.next_event().into_iter().chain(due).min();
                let next = next.unwrap_or(end).clamp(self.now + 1, end.max(self.now + 1));
                self.idle += next - self.now;
                self.now = next;
            } else {
                self.turn();
            }
        }
    }

    /// One turn of the host takes as long as it takes, and what it sends leaves at its end.
    fn turn(&mut self) {
        let from = thread_cpu_ns();
        self.host.turn(Nanos(self.now));
        let took = (thread_cpu_ns() - from).saturating_sub(self.clock_cost).max(1);
        let took = self.pace.as_ref().map_or(took, |pace| pace.usual(took));
        self.now += took;
        self.tally.longest_turn = self.tally.longest_turn.max(took);
        self.rings.take_sent(&mut self.sent);
        let mut sent = std::mem::take(&mut self.sent);
        for (side, packet) in sent.drain(..) {
            let delay = self.delay_of(side, &packet);
            self.wires.put(self.now + delay, false, side, packet);
        }
        self.sent = sent;
    }

    fn delay_of(&self, side: Side, packet: &Packet) -> u64 {
        match side {
            Side::Server => DELAY,
            Side::Client => self.clients[end_of(packet)].delay,
        }
    }

    fn next_event(&self) -> Option<u64> {
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        self.wires.next().into_iter().chain(timer).chain(self.next_arrival).min()
    }

    /// Does all that happens around the host until now, in the order of time.
    fn deliver(&mut self) {
        while let Some(at) = self.next_event().filter(|at| *at <= self.now) {
            if self.next_arrival == Some(at) {
                self.arrive(at);
                self.draw_arrival(at);
            }
            if let Some(&Reverse((due, client))) = self.timers.peek()
                && due == at
            {
                self.timers.pop();
                self.clients[client].armed = None;
                self.clients[client].requester.handle_timeout(at);
                self.go_on(at, client);
            }
            match self.wires.take(at) {
                Some(Flight { inwards: true, side, packet, .. }) => self.rings.put(side, packet),
                Some(Flight { side, packet, .. }) => self.come_out(at, side, packet),
                None => {}
            }
        }
    }

    fn draw_arrival(&mut self, after: u64) {
        if let Source::Open(apart) = self.source {
            let wait = -apart * (1.0 - self.rng.random::<f64>()).ln();
            self.next_arrival = Some(after + wait as u64);
        }
    }

    /// An operation comes to one of the clients.
    fn arrive(&mut self, at: u64) {
        let client = self.rng.random_range(0..self.clients.len());
        self.tally.offered += 1;
        self.clients[client].waiting.push_back(at);
        self.go_on(at, client);
    }

    /// A frame of the host's comes to one of the ends.
    fn come_out(&mut self, at: u64, side: Side, packet: Packet) {
        let i = end_of(&packet);
        if side == Side::Client {
            self.clients[i].requester.handle_frame(at, packet.frame());
            self.go_on(at, i);
        } else {
            let responder = &mut self.responders[i];
            let mut log = EffectLog::new();
            responder.handle_frame(at, packet.frame(), &mut self.memory, &mut log);
            let leaves = at + DELAY + self.shape.server_delay;
            let emit = |out: &mut [u8]| responder.poll_transmit(at, out);
            transmit(&self.rings, &mut self.wires, Side::Server, leaves, emit);
        }
        self.rings.put_back(packet.buffer);
    }

    /// A client takes its completions, posts what it has room for, and sends what it may.
    fn go_on(&mut self, at: u64, i: usize) {
        let mut follow = 0;
        let client = &mut self.clients[i];
        while let Some(completion) = client.requester.poll_completion() {
            let came = client.posted.pop_front().unwrap_or(at);
            follow += usize::from(count(&mut self.tally, came, &completion));
        }
        client.post(self.shape.window, &mut self.rng);
        let requester = &mut client.requester;
        let emit = |out: &mut [u8]| requester.poll_transmit(at, out);
        transmit(&self.rings, &mut self.wires, Side::Client, at + client.delay, emit);
        // One that is armed too early is armed again then.
        if let Some(due) = client.requester.poll_timeout()
            && client.armed.is_none_or(|armed| due < armed)
        {
            client.armed = Some(due);
            // Adapters may take between one and four timeouts to notice (IBTA vol. 1,
            // 9.7.6.1.3); these take up to two.
            let late = self.rng.random_range(0..=TIMER_SPREAD);
            self.timers.push(Reverse((due.max(at) + late + 1, i)));
        }
        if matches!(self.source, Source::Closed) {
            (0..follow).for_each(|_| self.arrive(at));
        }
    }
}

/// The client whose connection a frame of the host's is of.
fn end_of(packet: &Packet) -> usize {
    let Ok(Classified::Rc(layout)) = classify(packet.frame()) else {
        panic!("the host sends what is no packet of a reliable connection");
    };
    client_of(layout.dest_qp.value())
}

/// Puts all that an end has to send on its wire.
fn transmit(
    rings: &Rings,
    wires: &mut Wires,
    side: Side,
    arrives: u64,
    mut emit: impl FnMut(&mut [u8]) -> Option<usize>,
) {
    loop {
        let mut buffer = rings.blank();
        let place = &mut buffer.bytes_mut()[ROOM_BEFORE..ROOM_BEFORE + FRAME_LEN_MAX];
        let Some(len) = emit(place) else { return rings.put_back(buffer) };
        wires.put(arrives, true, side, Held::new(buffer, ROOM_BEFORE, len));
    }
}

/// Whether the operation was done.
fn count(tally: &mut Tally, came: u64, completion: &Completion) -> bool {
    if completion.status != Status::Success {
        tally.failed += 1;
        return false;
    }
    tally.complete(came, completion.sent_at.unwrap_or(came), completion.completed_at);
    true
}

/// The host's, as an operator writes it.
fn configuration(shape: &Shape) -> String {
    format!(
        "[client]\ninterface = 'clients'\n[server]\ninterface = 'servers'\n\
         [policy]\nmap = '{}'\norder = '{}'\nserver_qps = {}\n\
         [network]\npath_mtu = 1024\ndepth = 16\nverify = '{}'\n\
         [limits]\nframe_len_max = {FRAME_LEN_MAX}\n{}\n\
         [[region]]\nserver = '{SERVER}'\nrkey = {RKEY}\nstart = {BASE}\nlen = {}\n\
         rights = ['read', 'write', 'atomic']\n",
        shape.map,
        shape.order,
        shape.server_qps,
        shape.verify,
        shape.limits,
        memory_len(shape.clients),
    )
}

fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    time.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

fn clock_cost() -> u64 {
    let cost = |_| {
        let from = thread_cpu_ns();
        thread_cpu_ns() - from
    };
    (0..1_000).map(cost).min().unwrap_or(0)
}
