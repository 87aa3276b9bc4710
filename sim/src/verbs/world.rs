//! Threads in their loops.

use qpmux_workloads::Mixed;
use qpmux_workloads::keys::KeyChooser;

use super::backend::{Backend, Order};
use super::lookup::Table;
use super::measure::Samples;
use super::plan::{Middlebox, Pace, RawOp, Sharing, Transport, VerbsError, VerbsPlan, WINDOW};
use crate::calls::{Calls, Sizes};
use crate::cluster::{Cluster, ConnectionSetup, Happening, Op};
use crate::dice::Dice;
use crate::event::{NS, Ps};
use crate::nic::Params;
use crate::rc::{Outcome, Region, Status, Verb};

/// Streams of chance that threads have.
const THREADS: u64 = 17;
/// First address of the server's memory.
const MEMORY: u64 = 1 << 30;
/// Remote key of its first region.
const RKEY: u32 = 0x1000;

/// What an operation is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    worker: u32,
    key: u64,
    /// What a COMPARE_SWAP expects.
    compare: u64,
    /// When what it belongs to began; a lock's operations belong together.
    begun: Ps,
    is_release: bool,
    /// READs of a lookup before this one.
    step: u32,
}

/// A thread of a client, or of the server.
struct Worker {
    thread: u32,
    /// Its queue pairs.
    pairs: Vec<u32>,
    dice: Dice,
    outstanding: usize,
}

/// All of it.
pub(super) struct World<'a> {
    plan: &'a VerbsPlan,
    pub(super) backend: Backend,
    table: Option<Table>,
    workers: Vec<Worker>,
    chooser: KeyChooser,
    rng: rand_pcg::Pcg64,
    /// What each key's word held when somebody saw it last.
    seen: std::collections::HashMap<u64, u64, Mixed>,
    begun: u64,
    ended: u64,
    pub(super) samples: Samples,
    pub(super) swaps: [u64; 2],
    pub(super) failed: u64,
}

impl<'a> World<'a> {
    pub(super) fn new(plan: &'a VerbsPlan, seed: u64) -> Result<Self, VerbsError> {
        plan.check()?;
        let chooser = KeyChooser::new(plan.distribution, plan.keys)
            .map_err(|error| VerbsError::Keys(error.to_string()))?;
        let client = with_doorbells(plan, &plan.client);
        let server = with_doorbells(plan, &plan.server);
        let adapters: Vec<&Params> =
            [&server].into_iter().chain((0..plan.machines).map(|_| &client)).collect();
        let mut backend = backend(plan, &adapters, seed);
        let window = WINDOW.max(plan.size.div_ceil(plan.path_mtu.max(1)) as u32);
        let setup = ConnectionSetup {
            path_mtu: plan.path_mtu,
            window,
            ..ConnectionSetup::under(&plan.conditions)
        };
        let is_lookup = plan.op == RawOp::Lookup;
        let table = is_lookup.then(|| Table::new(plan.table, plan.keys, seed));
        let before = table.as_ref().map_or(0, Table::bytes).next_multiple_of(64);
        let length = before + plan.keys * plan.stride() + 64;
        let regions: Vec<Region> =
            (0..plan.regions).map(|n| Region::new(RKEY + n, MEMORY, length)).collect();
        let workers = workers(plan, &mut backend, seed, &setup, &regions);
        if let (Some(Middlebox { costs, engine }), Backend::Verbs(cluster)) =
            (&plan.middlebox, &mut backend)
        {
            cluster.put_between(costs, engine, &[regions], setup.depth)?;
        }
        Ok(Self {
            plan,
            backend,
            table,
            workers,
            chooser,
            rng: qpmux_workloads::keys::generator(seed, THREADS),
            seen: std::collections::HashMap::default(),
            begun: 0,
            ended: 0,
            samples: Samples::new(plan.ops),
            swaps: [0; 2],
            failed: 0,
        })
    }

    /// Runs until all operations have ended.
    pub(super) fn run(&mut self, progress: &mut dyn FnMut(u64)) {
        for worker in 0..self.workers.len() {
            // Threads do not start at the same picosecond.
            let offset = match self.plan.pace {
                Pace::Open(rate) => interval(rate, &mut self.workers[worker].dice),
                _ => self.workers[worker].dice.below(2_000 * NS),
            };
            self.backend.at(offset, worker as u32);
        }
        while let Some(happening) = self.backend.next() {
            match happening {
                Happening::Due(worker) => self.on_due(worker),
                Happening::Completed(op) => self.on_completed(&op),
                // Nobody listens.
                Happening::Arrived(..) => {}
            }
            if self.samples.len().is_multiple_of(1_024) {
                progress(self.samples.len());
            }
        }
    }

    fn on_due(&mut self, worker: u32) {
        if let Pace::Open(rate) = self.plan.pace {
            self.begin(worker, 1);
            let next = interval(rate, &mut self.workers[worker as usize].dice);
            if self.begun < self.plan.ops {
                self.backend.at(self.backend.now() + next, worker);
            }
        } else {
            self.begin(worker, self.plan.outstanding);
        }
    }

    /// A thread begins so many operations, unless enough have begun.
    fn begin(&mut self, worker: u32, count: usize) {
        let count = (count as u64).min(self.plan.ops.saturating_sub(self.begun));
        if count == 0 {
            return;
        }
        self.begun += count;
        let begun = self.backend.now();
        let mut list = Vec::new();
        for _ in 0..count {
            let key = self.chooser.choose(self.plan.keys, &mut self.rng);
            let compare = match self.plan.op {
                RawOp::Cas => self.seen.get(&key).copied().unwrap_or(0),
                _ => 0,
            };
            let asker = Asker { worker, key, compare, begun, is_release: false, step: 0 };
            let order = self.order(asker);
            match self.plan.list {
                true => list.push(order),
                false => self.post(worker, [order]),
            }
        }
        if !list.is_empty() {
            self.post(worker, list);
        }
        self.workers[worker as usize].outstanding += count as usize;
    }

    fn post(&mut self, worker: u32, orders: impl IntoIterator<Item = Order>) {
        let worker = &mut self.workers[worker as usize];
        let pair = worker.pairs[worker.dice.below(worker.pairs.len() as u64) as usize];
        self.backend.post(worker.thread, pair, orders);
    }

    fn order(&self, asker: Asker) -> Order {
        let touches = match (&self.table, &self.plan.transport) {
            (Some(table), _) => table.touches(asker.key),
            // An object's place is known: only itself is looked at.
            (None, _) => 1,
        };
        Order { asker, verb: self.verb(&asker), touches }
    }

    /// Where a lookup reads next, and how many bytes.
    fn lookup(&self, asker: &Asker) -> (u64, u64) {
        let values = self.table.as_ref().map_or(0, Table::bytes).next_multiple_of(64);
        let value = (MEMORY + values + asker.key * self.plan.stride(), self.plan.size as u64);
        let Some(table) = self.table.as_ref().filter(|_| self.plan.transport == Transport::Rc)
        else {
            return value;
        };
        let slots = table.read(asker.key, asker.step);
        slots.map_or(value, |(at, bytes)| (MEMORY + at, bytes))
    }

    /// Whether a lookup has to read once more.
    fn goes_on(&self, asker: &Asker) -> bool {
        let is_verbs = self.plan.transport == Transport::Rc;
        let table = self.table.as_ref().filter(|_| is_verbs);
        table.is_some_and(|table| asker.step + 1 < table.touches(asker.key))
    }

    fn verb(&self, asker: &Asker) -> Verb {
        let Asker { worker, key, compare, is_release, .. } = *asker;
        let swap = u64::from(worker) + 1;
        let mut address = MEMORY + key * self.plan.stride();
        if self.plan.unaligned && matches!(self.plan.op, RawOp::Read | RawOp::Write) {
            // The same place in each run; the last key's stays within the region.
            address += key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
        }
        let rkey = RKEY + (key % u64::from(self.plan.regions)) as u32;
        match self.plan.op {
            RawOp::Read => Verb::Read { address, rkey, length: self.plan.size as u32 },
            RawOp::Write => Verb::write(address, rkey, &vec![worker as u8; self.plan.size]),
            RawOp::Lookup => {
                let (address, length) = self.lookup(asker);
                Verb::Read { address, rkey, length: length as u32 }
            }
            RawOp::Faa => Verb::FetchAdd { address, rkey, add: 1 },
            RawOp::Lock if is_release => Verb::write(address, rkey, &[0; 8]),
            RawOp::Lock | RawOp::Cas => Verb::CompareSwap { address, rkey, compare, swap },
        }
    }

    fn on_completed(&mut self, op: &Op<Asker>) {
        let asker = op.asker;
        let now = self.backend.now();
        let told = op.completion.as_ref();
        let is_verb = self.plan.transport == Transport::Rc;
        if is_verb && told.is_none_or(|told| told.status != Status::Success) {
            self.failed += 1;
        }
        let original = match told.map(|told| &told.outcome) {
            Some(Outcome::Atomic(original)) => Some(*original),
            _ => None,
        };
        match (self.plan.op, original) {
            // A lock whose holder's queue pair is dead is never given back.
            (RawOp::Lock, Some(original)) if original == 0 || self.failed == 0 => {
                self.swaps[usize::from(original == 0)] += 1;
                self.samples.add_parts(&op.parts());
                let next = Asker { is_release: original == 0, ..asker };
                let order = self.order(next);
                self.post(asker.worker, [order]);
                return;
            }
            (RawOp::Lookup, _) if self.goes_on(&asker) => {
                self.samples.add_parts(&op.parts());
                let order = self.order(Asker { step: asker.step + 1, ..asker });
                self.post(asker.worker, [order]);
                return;
            }
            (RawOp::Cas, Some(original)) => {
                let swapped = original == asker.compare;
                self.swaps[usize::from(swapped)] += 1;
                let holds = if swapped { u64::from(asker.worker) + 1 } else { original };
                self.seen.insert(asker.key, holds);
            }
            _ => {}
        }
        self.samples.add(now, now - asker.begun, &op.parts());
        self.ended += 1;
        let worker = &mut self.workers[asker.worker as usize];
        worker.outstanding -= 1;
        match self.plan.pace {
            Pace::Sliding => self.begin(asker.worker, 1),
            Pace::Batch if worker.outstanding == 0 => {
                self.begin(asker.worker, self.plan.outstanding);
            }
            Pace::Barrier if self.ended == self.begun => {
                for worker in 0..self.workers.len() {
                    self.begin(worker as u32, self.plan.outstanding);
                }
            }
            Pace::Batch | Pace::Barrier | Pace::Open(_) => {}
        }
    }
}

/// Machines with their adapters, and what carries operations between them.
fn backend(plan: &VerbsPlan, adapters: &[&Params], seed: u64) -> Backend {
    if let Transport::Calls(software) = &plan.transport {
        let sizes = Sizes { mtu: plan.path_mtu, inline_bytes: plan.inline_bytes };
        let calls = Calls::new(adapters, software, &plan.conditions, sizes, seed);
        return Backend::Calls(Box::new(calls));
    }
    let mut cluster = Cluster::new(adapters, seed);
    cluster.inline_bytes = plan.inline_bytes;
    cluster.set_conditions(&plan.conditions);
    for machine in 0..adapters.len() {
        cluster.set_page_bytes(machine, plan.page_bytes);
        if plan.device_memory {
            cluster.use_device_memory(machine);
        }
    }
    Backend::Verbs(Box::new(cluster))
}

/// Adapters of which every queue pair has a doorbell register, if the plan says so.
fn with_doorbells(plan: &VerbsPlan, params: &Params) -> Params {
    let mut params = params.clone();
    if plan.own_doorbells {
        params.doorbells_own_count = 4_096.0;
    }
    params
}

/// Connects machines and starts threads: machine 0 is the server.
fn workers(
    plan: &VerbsPlan,
    backend: &mut Backend,
    seed: u64,
    setup: &ConnectionSetup,
    regions: &[Region],
) -> Vec<Worker> {
    let mut workers = Vec::new();
    let mut shared: Vec<Vec<u32>> = vec![Vec::new(); plan.machines];
    for number in 0..plan.threads {
        let machine = number % plan.machines;
        let place = number / plan.machines;
        let thread = backend.add_thread(machine + 1);
        let mut connect = || backend.connect(thread, machine + 1, setup, regions);
        let pairs = match plan.sharing {
            Sharing::Own => vec![connect()],
            Sharing::Many(count) => (0..count).map(|_| connect()).collect(),
            Sharing::All | Sharing::Threads(_) => {
                let group = match plan.sharing {
                    Sharing::Threads(threads) => place / threads,
                    _ => 0,
                };
                if shared[machine].len() == group {
                    let pair = connect();
                    shared[machine].push(pair);
                }
                vec![shared[machine][group]]
            }
        };
        let dice = Dice::new(seed, THREADS, number as u64);
        workers.push(Worker { thread, pairs, dice, outstanding: 0 });
    }
    if plan.both_ask {
        let asking: Vec<_> = (0..workers.len()).step_by(plan.machines).collect();
        for number in asking {
            // The other ends of the first client's queue pairs.
            let pairs = workers[number].pairs.iter().map(|pair| pair ^ 1).collect();
            let thread = backend.add_thread(0);
            let dice = Dice::new(seed, THREADS + 1, number as u64);
            workers.push(Worker { thread, pairs, dice, outstanding: 0 });
        }
    }
    workers
}

/// Time until the next arrival, ps: exponentially distributed.
fn interval(rate: f64, dice: &mut Dice) -> Ps {
    (dice.exponential(1.0 / rate) * 1e12) as Ps
}
