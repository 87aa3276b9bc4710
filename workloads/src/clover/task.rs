//! One operation after the other: the verbs of insert, read and update, and the walk to the tail.

use std::collections::VecDeque;

use super::collector::Garbage;
use super::config::{CloverConfig, HEADER_BYTES, STAMP, Variant};
use super::machine::{Finished, FinishedHow, Known, Request, Shared, Wait};
use super::message::{Collected, Content, ENTRIES_MAX, OPEN, QUERY};
use super::pointer::{Entry, Pointer};
use super::verb::{Peer, Ticket, Verb};

/// Fill byte of a thread that has opened no key (clover source, trace).
const FILL: u8 = 0x41;
/// Bytes of the slot up to which such a thread has filled its buffer; zeros follow (trace).
const FILL_END: usize = 128;
/// Fill bytes of one that has: this and the last key modulo 30 (clover source, trace).
const FILL_OPENED: u8 = 0x31;

/// A worker thread: what its operations share.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    number: u16,
    lane: u16,
    /// Slots handed out and not used yet.
    slots: VecDeque<Entry>,
    fill: u8,
    /// Bytes of value that are filled; at most those that a value has count.
    filled: usize,
    /// Values written so far.
    written: u32,
}

impl Worker {
    pub(super) fn new(number: u16, config: &CloverConfig) -> Self {
        Self {
            number,
            lane: config.worker_lane(number),
            slots: VecDeque::new(),
            fill: FILL,
            filled: FILL_END - HEADER_BYTES,
            written: 0,
        }
    }

    /// What tells the value that is written next from all others of a run: the machine, the worker,
    /// and how many it has written.
    fn stamp(&self, machine: u16) -> u64 {
        u64::from(machine) << 48 | u64::from(self.number) << 32 | u64::from(self.written)
    }

    /// A slot's content: pointer word, value, and zeros up to its end.
    fn slot_bytes(&self, shared: &Shared, version: u8, key: u64) -> Vec<u8> {
        let config = &shared.config;
        let mut slot = vec![0; config.class().bytes()];
        let (header, value) = slot.split_at_mut(HEADER_BYTES);
        header.copy_from_slice(&Pointer::last(version).0.to_le_bytes());
        let end = usize::from(config.value_len).min(self.filled).min(value.len());
        value[..end].fill(self.fill);
        if config.variant == Variant::Fork
            && let Some(start) = value.first_chunk_mut()
        {
            *start = key.to_le_bytes();
        }
        if config.stamped
            && let Some(stamp) = value.get_mut(STAMP)
        {
            stamp.copy_from_slice(&self.stamp(shared.id).to_le_bytes());
        }
        slot
    }
}

/// What an operation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// There is no operation.
    Idle,
    /// It has not begun.
    Parked,
    /// The metadata server says where the key is.
    Querying,
    /// The metadata server hands out slots.
    Allocating,
    /// The new value is being written.
    Storing,
    /// The metadata server makes the key known.
    Opening,
    /// The new slot is being appended.
    Committing,
    /// A slot is being read; in the first round, the shortcut with it.
    Looking { first: bool },
}

/// A thread's place for one operation.
#[derive(Clone, Debug)]
pub(super) struct Task {
    context: u16,
    pub(super) worker: u16,
    pub(super) wait: Wait,
    step: Step,
    request: Request,
    /// Where the key's list is believed to end.
    tail: Entry,
    shortcut: u32,
    /// The slot written by this operation.
    fresh: Entry,
    /// `tail` is this operation's own finding, not what the machine knows.
    walking: bool,
    /// The value written.
    value: Vec<u8>,
    /// COMPARE_SWAPs of an update, slots looked at by a read.
    tries: u32,
}

impl Task {
    pub(super) fn new(context: u16, worker: u16) -> Self {
        let nowhere = Entry { slot: 0, version: 0 };
        Self {
            context,
            worker,
            wait: Wait::default(),
            step: Step::Idle,
            request: Request::Read { key: 0 },
            tail: nowhere,
            shortcut: 0,
            fresh: nowhere,
            walking: false,
            value: Vec::new(),
            tries: 0,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.step == Step::Idle
    }

    /// Whether no operation has begun.
    pub(super) fn is_at_rest(&self) -> bool {
        matches!(self.step, Step::Idle | Step::Parked)
    }

    /// Takes an operation, to be begun later.
    pub(super) fn park(&mut self, request: Request) {
        self.request = request;
        self.tries = 0;
        self.step = Step::Parked;
    }

    /// Begins, or begins again once the key is known.
    pub(super) fn begin(&mut self, shared: &mut Shared, worker: &mut Worker) {
        self.walking = false;
        if matches!(self.request, Request::Insert { .. }) {
            return self.store(shared, worker);
        }
        let Some(known) = shared.known.get(&self.request.key()) else {
            return self.ask(shared, worker, QUERY);
        };
        // The tail is taken here, before the value is written: another thread may have moved on by
        // the time of the commit (trace: packets 36 to 43 of the two threads).
        (self.tail, self.shortcut) = (known.tail, known.shortcut);
        match self.request {
            Request::Read { .. } => self.look(shared, worker, true),
            _ => self.store(shared, worker),
        }
    }

    /// Everything waited for is here.
    pub(super) fn advance(&mut self, shared: &mut Shared, worker: &mut Worker) {
        if self.wait.failed {
            return self.finish(shared, FinishedHow::Failed);
        }
        match self.step {
            Step::Idle | Step::Parked => {}
            Step::Querying => self.on_answer(shared, worker),
            Step::Allocating => self.on_slots(shared, worker),
            Step::Storing => match self.request {
                Request::Insert { .. } => self.ask(shared, worker, OPEN),
                _ => self.commit(shared, worker),
            },
            Step::Opening => {
                let opened = self.learn(shared);
                self.finish(shared, if opened { FinishedHow::Done } else { FinishedHow::Failed });
            }
            Step::Committing => self.on_commit(shared, worker),
            Step::Looking { first } => self.on_look(shared, worker, first),
        }
    }

    const fn ticket(&self, part: u8) -> Ticket {
        Ticket { context: self.context, part }
    }

    /// Tells or asks the metadata server about the key.
    fn ask(&mut self, shared: &mut Shared, worker: &Worker, request: u32) {
        let pointer = if request == OPEN { Pointer::entry(self.fresh) } else { Pointer::default() };
        let (key, shortcut) = (self.request.key(), Pointer::default());
        let content = Content::Entry { request, key, pointer, shortcut };
        shared.call(self.ticket(0), worker.lane, worker.number, content);
        self.step = if request == OPEN { Step::Opening } else { Step::Querying };
        self.wait.set(1, true);
    }

    /// Puts what the metadata server says into the machine's knowledge; whether it knows the key.
    fn learn(&mut self, shared: &mut Shared) -> bool {
        let Some(Content::Entry { pointer, shortcut, .. }) = self.wait.reply else { return false };
        let (Some(tail), Some(place)) = (pointer.named(), shortcut.named()) else { return false };
        shared.known.insert(self.request.key(), Known { tail, shortcut: place.slot });
        (self.tail, self.shortcut) = (tail, place.slot);
        true
    }

    fn on_answer(&mut self, shared: &mut Shared, worker: &mut Worker) {
        if !self.learn(shared) {
            self.finish(shared, FinishedHow::Missing);
        } else if self.walking {
            self.look(shared, worker, false);
        } else {
            self.begin(shared, worker);
        }
    }

    /// Writes the value to a slot of the thread's own, or asks for slots first.
    fn store(&mut self, shared: &mut Shared, worker: &mut Worker) {
        let Some(fresh) = worker.slots.pop_front() else {
            let content = Content::Allocation {
                slots: Vec::new(),
                slot_bytes: shared.config.class().bytes() as u32,
                number: ENTRIES_MAX as u32,
            };
            shared.call(self.ticket(0), worker.lane, worker.number, content);
            self.step = Step::Allocating;
            return self.wait.set(1, true);
        };
        self.fresh = fresh;
        let key = self.request.key();
        if matches!(self.request, Request::Insert { .. }) {
            worker.fill = FILL_OPENED + (key % 30) as u8;
            worker.filled = usize::MAX;
        }
        worker.written = worker.written.wrapping_add(1);
        let data = worker.slot_bytes(shared, fresh.version, key);
        self.value = data[HEADER_BYTES..].to_vec();
        let Some(address) = slot_address(shared, fresh) else {
            return self.finish(shared, FinishedHow::Failed);
        };
        let verb = Verb::Write { address, rkey: shared.config.layout.values_rkey, data };
        shared.post(self.ticket(0), Peer::Memory, worker.lane, verb);
        self.step = Step::Storing;
        self.wait.set(1, false);
    }

    fn on_slots(&mut self, shared: &mut Shared, worker: &mut Worker) {
        if let Some(Content::Allocation { slots, .. }) = &self.wait.reply {
            worker.slots.extend(slots.iter().filter_map(|slot| slot.named()));
        }
        if worker.slots.is_empty() {
            return self.finish(shared, FinishedHow::NoSpace);
        }
        self.store(shared, worker);
    }

    /// Appends the new slot to the one believed to be the last.
    fn commit(&mut self, shared: &mut Shared, worker: &Worker) {
        let Some(address) = slot_address(shared, self.tail) else {
            return self.finish(shared, FinishedHow::Failed);
        };
        let verb = Verb::CompareSwap {
            address,
            rkey: shared.config.layout.values_rkey,
            compare: Pointer::last(self.tail.version).0,
            swap: Pointer::link(self.fresh, self.tail.version).0,
        };
        shared.post(self.ticket(0), Peer::Memory, worker.lane, verb);
        self.tries += 1;
        self.step = Step::Committing;
        self.wait.set(1, false);
    }

    fn on_commit(&mut self, shared: &mut Shared, worker: &Worker) {
        if self.wait.original != Pointer::last(self.tail.version).0 {
            shared.stats.commits_lost += 1;
            self.walking = true;
            return self.look(shared, worker, true);
        }
        shared.stats.commits += 1;
        let (key, shortcut) = (self.request.key(), self.shortcut);
        shared.known.insert(key, Known { tail: self.fresh, shortcut });
        let (old, new) = (Pointer::entry(self.tail), Pointer::entry(self.fresh));
        let collector = (key % shared.garbage.len() as u64) as usize;
        let collected = Collected { old, new, key };
        shared.garbage[collector].push_back(Garbage { collected, shortcut });
        self.finish(shared, FinishedHow::Done);
    }

    /// Reads the slot believed to be the last: whole to read the value, its first word to append.
    fn look(&mut self, shared: &mut Shared, worker: &Worker, first: bool) {
        let Some(address) = slot_address(shared, self.tail) else {
            return self.finish(shared, FinishedHow::Failed);
        };
        let layout = shared.config.layout;
        let length = match self.request {
            Request::Read { .. } => shared.config.class().bytes() as u32,
            _ => HEADER_BYTES as u32,
        };
        self.tries += u32::from(matches!(self.request, Request::Read { .. }));
        let slot = Verb::Read { address, rkey: layout.values_rkey, length };
        shared.post(self.ticket(0), Peer::Memory, worker.lane, slot);
        if first {
            let address = layout.shortcut(self.shortcut);
            let length = HEADER_BYTES as u32;
            let verb = Verb::Read { address, rkey: layout.shortcuts_rkey, length };
            shared.post(self.ticket(1), Peer::Memory, worker.lane, verb);
        }
        self.step = Step::Looking { first };
        self.wait.set(if first { 2 } else { 1 }, false);
    }

    /// Decides where to look next (clover source: the shortcut once, then along the list, and to
    /// the metadata server where a slot has been recycled meanwhile).
    fn on_look(&mut self, shared: &mut Shared, worker: &mut Worker, first: bool) {
        let header = first_word(&self.wait.read[0]);
        let expected = header.version() == self.tail.version;
        if expected && header.next().is_none() {
            return self.on_found(shared, worker);
        }
        self.walking = true;
        shared.stats.hops += 1;
        let next = if first {
            first_word(&self.wait.read[1]).named()
        } else {
            header.next().filter(|_| expected)
        };
        match next {
            Some(next) => {
                self.tail = next;
                self.look(shared, worker, false);
            }
            None => self.ask(shared, worker, QUERY),
        }
    }

    fn on_found(&mut self, shared: &mut Shared, worker: &Worker) {
        if self.walking {
            let known = Known { tail: self.tail, shortcut: self.shortcut };
            shared.known.insert(self.request.key(), known);
        }
        match self.request {
            Request::Read { .. } => self.finish(shared, FinishedHow::Done),
            _ => self.commit(shared, worker),
        }
    }

    fn finish(&mut self, shared: &mut Shared, how: FinishedHow) {
        let (worker, request, tries) = (self.worker, self.request, self.tries);
        let value = match request {
            Request::Read { .. } => {
                self.wait.read[0].get(HEADER_BYTES..).map(<[u8]>::to_vec).unwrap_or_default()
            }
            _ => std::mem::take(&mut self.value),
        };
        shared.finished.push_back(Finished { worker, request, how, value, tries });
        self.step = Step::Idle;
        self.wait.set(0, false);
    }
}

fn slot_address(shared: &Shared, entry: Entry) -> Option<u64> {
    shared.config.layout.slot(shared.config.class(), entry)
}

/// A READ's first word; 0, which no slot begins with, if it brought less.
fn first_word(bytes: &[u8]) -> Pointer {
    Pointer(bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word)))
}
