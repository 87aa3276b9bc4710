//! Threads that take and release locks, words of the memory node, by one-sided verbs.
//!
//! A thread swaps its token for the 0 of a free lock, again and again until that succeeds, holds
//! the lock for a while, and stores 0.

mod judge;

#[cfg(test)]
mod tests;

use qpmux_engine::policy::ByteOrder;
use qpmux_workloads::keys::{KeyError, Mix, OperationStream, generator};
use rand::RngExt;
use rand_pcg::Pcg64;

use super::phases::{Done, Phases};
use super::report::NEVER_ENDED;
use super::{Latencies, LockPlan, Middlebox, Outcome, Patience, Plan, PlanError, Release};
use crate::fabric::{Between, Fabric, Happening, Host, Traffic};
use crate::memory::Memory;
use crate::rc::{self, Completion, Region, Status, Verb};
use judge::{Judge, Token};

/// Bytes of a lock.
const WORD: u64 = 8;
/// First address of the locks, and of the words that they guard. Numbered by their addresses, a
/// lock and its word differ by an odd number: they belong to different server queue pairs, as far
/// as there are several.
const LOCKS: u64 = 0x10_0000_0000;
const COUNTERS: u64 = 0x20_0000_0008;
/// Their remote keys.
const LOCKS_RKEY: u32 = 0x10_0001;
const COUNTERS_RKEY: u32 = 0x20_0001;
/// First queue pair numbers of the memory node and of clients.
const MEMORY_QPN: u32 = 0x5434;
const CLIENT_QPN: u32 = 0x8d7c;
/// Number of the memory node among the hosts; machines follow.
const MEMORY_NODE: usize = 0;
/// Software of a client between a completion and what follows from it, ns.
const THINK_NS: std::ops::Range<u64> = 150..650;
/// Stream of chance of the memory node's own doing: no thread has it.
const MEDDLING: u64 = 1 << 41;
/// First owner number of the memory node: no thread has it.
const OWN_FIRST: u64 = 1 << 20;

/// What a thread has asked for.
#[derive(Clone, Copy)]
enum Asked {
    Lock,
    Count,
    Counted,
    Release,
}

enum Notice {
    /// A thread begins its next acquisition.
    Begin(u16),
    /// A thread tries again.
    Try(u16),
    /// A thread has held its lock for long enough.
    Leave(u16),
    /// The memory node takes a lock.
    Take,
    /// It gives it back.
    GiveBack(u64, Token),
}

struct Thread {
    stream: OperationStream,
    left: u64,
    lock: u64,
    token: Token,
    attempts: u64,
    /// Attempts at the present lock.
    tries: u64,
    began: u64,
    releasing: u64,
    /// What the guarded word holds.
    count: u64,
    /// It has given up.
    gone: bool,
}

struct World<'a> {
    plan: &'a Plan,
    of_lock: LockPlan,
    fabric: Fabric<'a, (u16, Asked), Notice>,
    threads: Vec<Thread>,
    judge: Judge,
    rng: Pcg64,
    meddling: Pcg64,
    taken: u64,
    done: u64,
    first: u64,
    failed: u64,
    given_up: u64,
    end: u64,
    latencies: Latencies,
    phases: Phases,
}

/// One run.
pub(super) fn run(
    plan: &Plan,
    of_lock: &LockPlan,
    progress: &mut dyn FnMut(u64),
) -> Result<(Outcome, Traffic), PlanError> {
    plan.check()?;
    let mut world = World::new(plan, of_lock)?;
    let ended = world.run(progress);
    let now = world.fabric.now();
    let phases = std::mem::take(&mut world.phases).report(world.so_far());
    let World { mut judge, fabric, .. } = world;
    judge.finish(now, &fabric.hosts[MEMORY_NODE].memory, world.given_up > 0);
    if !ended {
        judge.broken.record(NEVER_ENDED, now, || "busy without end".to_owned());
    }
    if world.done + world.given_up < plan.load.operations {
        let left = plan.load.operations - world.done - world.given_up;
        judge.broken.record(NEVER_ENDED, now, || format!("{left} acquisitions never ended"));
    }
    let mut outcome = Outcome::of_network(&fabric, MEMORY_NODE, judge.broken);
    outcome.given_up = world.given_up;
    outcome.set_times(world.done, 0, world.end);
    outcome.latency_ns = world.latencies.report();
    outcome.phases = phases;
    outcome.set_first_tries("compare_swap", (world.first, world.done));
    outcome.application.insert("grants", judge.grants);
    outcome.application.insert("failed_attempts", world.failed);
    outcome.application.insert("taken_by_memory_node", world.taken);
    Ok((outcome, fabric.traffic()))
}

fn regions(locks: u64) -> [Region; 2] {
    [
        Region::new(LOCKS_RKEY, LOCKS, locks * WORD),
        Region::new(COUNTERS_RKEY, COUNTERS, locks * WORD),
    ]
}

fn network<'a>(plan: &Plan) -> Result<Fabric<'a, (u16, Asked), Notice>, PlanError> {
    let load = &plan.load;
    let mut hosts = vec![Host::new(13, 0xe62b)];
    hosts.extend((0..load.machines).map(|machine| Host::new(17 + machine as u8, 0x5331)));
    hosts[MEMORY_NODE].watched = true;
    if plan.adversity.big_endian {
        hosts[MEMORY_NODE].memory = Memory::with_words(ByteOrder::Big);
    }
    let regions = regions(load.keys);
    let between = |thread: u16| {
        let (machine, number) = load.place(thread);
        Between {
            hosts: [1 + machine, MEMORY_NODE],
            qpns: [CLIENT_QPN + u32::from(number), MEMORY_QPN + u32::from(thread)],
            regions: [&[], &regions],
            through: plan.passes(thread) || plan.adversity.strangers,
            known: plan.passes(thread),
        }
    };
    let all: Vec<Between<'_>> = (0..load.threads).map(between).collect();
    let fabric = Fabric::new(hosts, &all, plan.habits(), plan.weather());
    match &plan.middlebox {
        Middlebox::Engine(setup) => Ok(fabric.with_engine(setup, &regions)?),
        Middlebox::None => Ok(fabric),
    }
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan, of_lock: &LockPlan) -> Result<Self, PlanError> {
        let load = &plan.load;
        let threads = u64::from(load.threads);
        let mix = Mix { read: 0, update: 100, insert: 0, scan: 0, read_modify_write: 0 };
        let thread = |number: u64| {
            let share = load.operations / threads;
            Ok(Thread {
                stream: OperationStream::new(
                    mix,
                    load.distribution,
                    load.keys,
                    plan.seed,
                    number + 1,
                )?,
                left: share + u64::from(number < load.operations % threads),
                lock: 0,
                token: Token(0),
                attempts: 0,
                tries: 0,
                began: 0,
                releasing: 0,
                count: 0,
                gone: false,
            })
        };
        Ok(Self {
            fabric: network(plan)?,
            threads: (0..threads).map(thread).collect::<Result<_, KeyError>>()?,
            judge: Judge::new(load.keys).with(&plan.adversity),
            rng: generator(plan.seed, 0),
            meddling: generator(plan.seed, MEDDLING),
            plan,
            of_lock: *of_lock,
            taken: 0,
            done: 0,
            first: 0,
            failed: 0,
            given_up: 0,
            end: 0,
            latencies: Latencies::default(),
            phases: Phases::of(plan),
        })
    }

    /// Runs until nothing is left to happen; `false` if it turns in a circle.
    fn run(&mut self, progress: &mut dyn FnMut(u64)) -> bool {
        let mut patience = Patience::new();
        self.switch();
        for thread in 0..self.threads.len() as u16 {
            self.think(Notice::Begin(thread));
        }
        self.meddle_later();
        let mut rounds = 0_u64;
        while let Some(happening) = self.fabric.next() {
            match happening {
                Happening::Executed(effect) => self.judge.on_effect(&effect),
                // Nothing runs on the memory node, and nobody asks anything of clients.
                Happening::Arrived(..) => {}
                Happening::Completed(_, (thread, asked), completion) => {
                    self.on_completed(thread, asked, &completion);
                }
                Happening::Due(notice) => self.on_notice(notice),
            }
            rounds += 1;
            if rounds.is_multiple_of(4_096) {
                progress(self.done);
                if patience.is_over(self.done, self.fabric.events()) {
                    return false;
                }
            }
        }
        true
    }

    /// Switches the engine, if that is due.
    fn switch(&mut self) {
        if self.phases.is_due(self.done) {
            self.phases.switch(self.so_far(), &mut self.fabric);
        }
    }

    fn so_far(&self) -> Done {
        let tries = [("compare_swap", self.first, self.done), ("", 0, 0)];
        Done { operations: self.done, tries, at: self.end }
    }

    fn on_notice(&mut self, notice: Notice) {
        match notice {
            Notice::Begin(thread) => self.begin(thread),
            Notice::Try(thread) => self.attempt(thread),
            Notice::Leave(thread) => self.leave(thread),
            Notice::Take => self.take(),
            Notice::GiveBack(lock, token) => {
                let now = self.fabric.now();
                self.judge.on_releasing(token, false);
                self.fabric.memory(MEMORY_NODE).write_u64(LOCKS + lock * WORD, 0);
                self.judge.on_word(now, lock, 0);
                self.judge.on_released(now, token, Release::Write, 0);
            }
        }
    }

    fn begin(&mut self, number: u16) {
        let now = self.fabric.now();
        let plan = self.plan;
        let thread = &mut self.threads[usize::from(number)];
        let Some(left) = thread.left.checked_sub(1) else { return };
        thread.left = left;
        let record = thread.stream.next_operation(plan.load.keys).record;
        thread.lock = if plan.passes(number) { record } else { record % plan.outside_keys() };
        (thread.began, thread.tries) = (now, 0);
        self.attempt(number);
    }

    fn attempt(&mut self, number: u16) {
        let now = self.fabric.now();
        let thread = &mut self.threads[usize::from(number)];
        thread.attempts += 1;
        thread.tries += 1;
        thread.token = Token::new(number.into(), thread.attempts);
        let (lock, token) = (thread.lock, thread.token);
        self.judge.on_attempt(now, lock, token);
        let (address, rkey) = (LOCKS + lock * WORD, LOCKS_RKEY);
        let verb = Verb::CompareSwap { address, rkey, compare: 0, swap: token.0 };
        self.post(number, Asked::Lock, verb);
    }

    fn on_completed(&mut self, number: u16, asked: Asked, completion: &Completion) {
        let now = completion.completed_at;
        if completion.status != Status::Success {
            return self.give_up(number);
        }
        let thread = &mut self.threads[usize::from(number)];
        let (lock, token) = (thread.lock, thread.token);
        match (asked, &completion.outcome) {
            (Asked::Lock, rc::Outcome::Atomic(original)) => {
                if self.judge.on_told(now, token, *original) {
                    self.on_locked(now, number);
                } else {
                    self.failed += 1;
                    self.again(number);
                }
            }
            (Asked::Count, rc::Outcome::Read(data)) => {
                thread.count = data.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
                self.judge.on_counted(now, lock, thread.count);
                self.fabric.after(self.of_lock.hold_ns, Notice::Leave(number));
            }
            (Asked::Release, outcome) => {
                let original = match outcome {
                    rc::Outcome::Atomic(original) => *original,
                    _ => 0,
                };
                self.latencies.record("release", now - thread.releasing);
                self.judge.on_released(now, token, self.of_lock.release, original);
                (self.done, self.end) = (self.done + 1, now);
                self.switch();
                self.think(Notice::Begin(number));
            }
            _ => {}
        }
    }

    fn on_locked(&mut self, now: u64, number: u16) {
        let thread = &self.threads[usize::from(number)];
        self.first += u64::from(thread.tries == 1);
        self.latencies.record("acquire", now - thread.began);
        if self.of_lock.guarded {
            let (address, rkey) = (COUNTERS + thread.lock * WORD, COUNTERS_RKEY);
            self.post(number, Asked::Count, Verb::Read { address, rkey, length: WORD as u32 });
        } else {
            self.fabric.after(self.of_lock.hold_ns, Notice::Leave(number));
        }
    }

    /// Posts the release; what the lock guards is written just before.
    fn leave(&mut self, number: u16) {
        let now = self.fabric.now();
        let thread = &mut self.threads[usize::from(number)];
        thread.releasing = now;
        let (lock, token, count) = (thread.lock, thread.token, thread.count);
        self.judge.on_releasing(token, self.of_lock.guarded);
        if self.of_lock.guarded {
            let data = (count + 1).to_le_bytes();
            let verb = Verb::write(COUNTERS + lock * WORD, COUNTERS_RKEY, &data);
            self.post(number, Asked::Counted, verb);
        }
        let (address, rkey) = (LOCKS + lock * WORD, LOCKS_RKEY);
        let verb = match self.of_lock.release {
            Release::Write => Verb::write(address, rkey, &0_u64.to_le_bytes()),
            Release::CompareSwap => Verb::CompareSwap { address, rkey, compare: token.0, swap: 0 },
        };
        self.post(number, Asked::Release, verb);
    }

    /// The lock was not free. If somebody has given up, it may never be.
    fn again(&mut self, number: u16) {
        if self.given_up > 0 {
            return self.give_up(number);
        }
        self.think(Notice::Try(number));
    }

    /// The thread does nothing more.
    fn give_up(&mut self, number: u16) {
        let thread = &mut self.threads[usize::from(number)];
        if !std::mem::replace(&mut thread.gone, true) {
            self.given_up += 1 + std::mem::take(&mut thread.left);
        }
    }

    /// The memory node takes a lock if it is free.
    fn take(&mut self) {
        let now = self.fabric.now();
        if self.done + self.given_up >= self.plan.load.operations {
            return;
        }
        let lock = self.meddling.random_range(0..self.plan.outside_keys());
        if self.judge.value(lock) == 0 {
            self.taken += 1;
            let token = Token::new(OWN_FIRST + self.taken, 1);
            self.judge.on_attempt(now, lock, token);
            self.fabric.memory(MEMORY_NODE).write_u64(LOCKS + lock * WORD, token.0);
            self.judge.on_word(now, lock, token.0);
            let hold = self.of_lock.hold_ns + self.meddling.random_range(THINK_NS);
            self.fabric.after(hold, Notice::GiveBack(lock, token));
        }
        self.meddle_later();
    }

    fn meddle_later(&mut self) {
        if let Some(mean_ns) = self.plan.meddling_ns {
            let pause = self.meddling.random_range(1..=2 * mean_ns.max(1));
            self.fabric.after(pause, Notice::Take);
        }
    }

    fn think(&mut self, notice: Notice) {
        let think = self.rng.random_range(THINK_NS);
        self.fabric.after(think, notice);
    }

    fn post(&mut self, number: u16, asked: Asked, verb: Verb) {
        self.fabric.post(usize::from(number), 0, (number, asked), verb);
    }
}
