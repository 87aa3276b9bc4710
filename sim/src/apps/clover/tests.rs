//! The judge of Clover misses nothing that it is there for.

use qpmux_workloads::clover::{
    CloverConfig, Entry, Finished, FinishedHow, Outcome, Pointer, Request, SlotClass, Variant, Verb,
};

use super::judge::{Asked, Judge};
use crate::apps::Adversity;
use crate::memory::{Access, Effect, Memory};

const KEY: u64 = 5;
/// Slots 1, 2 and 3, on connections of these numbers.
const SLOTS: [u32; 3] = [1, 2, 3];

fn config() -> CloverConfig {
    CloverConfig::new(Variant::Fork, 1, 1, 100).unwrap()
}

fn address(slot: u32) -> u64 {
    config().layout.slot(SlotClass::B128, Entry { slot, version: 1 }).unwrap()
}

fn slot_bytes(slot: u32) -> Vec<u8> {
    let mut data = vec![0x41; 128];
    for (at, word) in [Pointer::last(1).0, KEY, stamp(slot)].into_iter().enumerate() {
        data[8 * at..8 * at + 8].copy_from_slice(&word.to_le_bytes());
    }
    data
}

fn stamp(slot: u32) -> u64 {
    1 << 48 | u64::from(slot)
}

fn link(slot: u32) -> u64 {
    Pointer::link(Entry { slot, version: 1 }, 1).0
}

/// A run, and memory as it is meanwhile.
struct Run {
    judge: Judge,
    memory: Memory,
    now: u64,
}

impl Run {
    /// Slot 1 is the key's first version; 2 and 3 are written.
    fn new() -> Self {
        let mut run = Self { judge: Judge::new(&config()), memory: Memory::new(), now: 0 };
        SLOTS.into_iter().for_each(|slot| run.write(slot));
        run.finished(Request::Insert { key: KEY }, 1);
        run
    }

    /// The same where so many keys may lose updates, steered in place or not.
    fn unsound(unsound_keys: u64, in_place: bool) -> Self {
        let mut run = Self::new();
        let adversity = Adversity { unsound_keys, ..Adversity::default() };
        run.judge = run.judge.with(&adversity, in_place);
        run
    }

    fn write(&mut self, slot: u32) {
        let (rkey, data) = (1, slot_bytes(slot));
        let verb = Verb::Write { address: address(slot), rkey, data: data.clone() };
        self.judge.on_post(self.now, slot as usize, &verb);
        self.store(slot, &data);
    }

    fn store(&mut self, slot: u32, data: &[u8]) {
        self.now += 10;
        self.memory.write(address(slot), data);
        let (time, address) = (self.now, address(slot));
        let access = Access::Write { data: data.into() };
        let effect = Effect { time, server_qp: 1, psn: 1, address, again: false, access };
        self.judge.on_effect(&effect);
    }

    /// The writer of slot `new` asks for it to be appended to slot `old`.
    fn ask(&mut self, old: u32, new: u32) -> Asked {
        self.now += 10;
        let compare = Pointer::last(1).0;
        let verb = Verb::CompareSwap { address: address(old), rkey: 1, compare, swap: link(new) };
        self.judge.on_post(self.now, new as usize, &verb).unwrap()
    }

    fn told(&mut self, asked: &Asked, original: u64) {
        self.now += 10;
        self.judge.on_told(self.now, asked, &Outcome::Atomic(original));
    }

    /// All of it, as it must be.
    fn append(&mut self, old: u32, new: u32) {
        let asked = self.ask(old, new);
        self.store(old, &link(new).to_le_bytes());
        self.told(&asked, Pointer::last(1).0);
        self.finished(Request::Update { key: KEY }, new);
    }

    fn finished(&mut self, request: Request, slot: u32) {
        let begin = self.now + 10;
        self.finished_since(begin, request, slot);
    }

    fn finished_since(&mut self, begin: u64, request: Request, slot: u32) {
        self.now = self.now.max(begin) + 10;
        let (worker, how, tries) = (0, FinishedHow::Done, 1);
        let finished =
            Finished { worker, request, how, value: slot_bytes(slot)[8..].into(), tries };
        self.judge.on_finished(self.now, begin, &finished);
    }

    /// The rules broken in all.
    fn broken(mut self) -> Vec<&'static str> {
        self.judge.finish(self.now, &self.memory);
        self.judge.broken.iter().map(|(id, _)| id).collect()
    }
}

const READ: Request = Request::Read { key: KEY };

#[test]
fn a_run_as_it_must_be() {
    let mut run = Run::new();
    run.finished(READ, 1);
    let begin = run.now;
    run.append(1, 2);
    run.finished_since(begin, READ, 1);
    let asked = run.ask(1, 3);
    run.told(&asked, link(2));
    run.append(2, 3);
    run.finished(READ, 3);
    assert_eq!(run.broken(), Vec::<&str>::new());
}

#[test]
fn a_read_of_what_nobody_wrote_or_of_another_key() {
    let mut run = Run::new();
    run.finished(READ, 9);
    assert_eq!(run.broken(), ["K1"]);
    let mut run = Run::new();
    run.finished(Request::Read { key: KEY + 1 }, 1);
    assert_eq!(run.broken(), ["K1"]);
}

#[test]
fn a_stale_read() {
    let mut run = Run::new();
    run.append(1, 2);
    run.finished(READ, 1);
    assert_eq!(run.broken(), ["K2"]);
}

#[test]
fn an_update_without_its_commit() {
    let mut run = Run::new();
    run.finished(Request::Update { key: KEY }, 2);
    assert_eq!(run.broken(), ["K3"]);
}

#[test]
fn a_successor_that_is_replaced() {
    let mut run = Run::new();
    run.append(1, 2);
    let asked = run.ask(1, 3);
    run.store(1, &link(3).to_le_bytes());
    run.told(&asked, Pointer::last(1).0);
    assert_eq!(run.broken(), ["K4", "K5", "K6"]);
}

#[test]
fn an_update_that_may_be_lost() {
    for (keys, expected) in [(KEY - 1, &["K4", "K5", "K6"][..]), (KEY, &[])] {
        let mut run = Run::unsound(keys, false);
        run.append(1, 2);
        let asked = run.ask(1, 3);
        run.store(1, &link(3).to_le_bytes());
        run.told(&asked, Pointer::last(1).0);
        run.finished(READ, 2);
        assert_eq!(run.broken(), expected);
    }
}

/// Whatever may be lost, a value is whole and its key's, and who is told of a success has linked
/// something.
#[test]
fn what_holds_of_updates_that_may_be_lost() {
    let mut run = Run::unsound(KEY, true);
    run.finished(READ, 9);
    let asked = run.ask(1, 2);
    run.told(&asked, Pointer::last(1).0);
    assert_eq!(run.broken(), ["K1", "K5"]);
}

#[test]
fn a_ring() {
    for (in_place, expected) in [(false, &["K4"][..]), (true, &[])] {
        let mut run = Run::unsound(KEY, in_place);
        run.ask(2, 3);
        run.store(2, &link(3).to_le_bytes());
        run.ask(3, 2);
        run.store(3, &link(2).to_le_bytes());
        assert_eq!(run.judge.ring, in_place);
        assert_eq!(run.broken(), expected);
    }
}

#[test]
fn an_append_to_itself() {
    let mut run = Run::new();
    run.ask(2, 2);
    run.store(2, &link(2).to_le_bytes());
    assert_eq!(run.broken(), ["K4"]);
}

#[test]
fn a_newest_version_that_is_overwritten() {
    let mut run = Run::new();
    run.append(1, 2);
    let mut other = slot_bytes(2);
    other[16] = 0x77;
    run.store(2, &other);
    assert_eq!(run.broken(), ["K4", "K6"]);
}

#[test]
fn a_success_that_was_none_and_a_failure_that_was_none() {
    let mut run = Run::new();
    let asked = run.ask(1, 2);
    run.told(&asked, Pointer::last(1).0);
    assert_eq!(run.broken(), ["K5"]);
    let mut run = Run::new();
    let asked = run.ask(1, 2);
    run.store(1, &link(2).to_le_bytes());
    run.told(&asked, link(3));
    assert!(run.broken().contains(&"K5"));
}

#[test]
fn a_word_that_was_never_there() {
    let mut run = Run::new();
    run.append(1, 2);
    let asked = run.ask(1, 3);
    run.told(&asked, link(3));
    assert_eq!(run.broken(), ["K5"]);
}

#[test]
fn an_append_after_its_failure_was_told() {
    let mut run = Run::new();
    run.append(1, 2);
    let asked = run.ask(1, 3);
    run.told(&asked, link(2));
    run.store(2, &link(3).to_le_bytes());
    assert_eq!(run.broken(), ["K3", "K4"]);
}

#[test]
fn memory_that_is_not_what_was_stored() {
    let mut run = Run::new();
    run.append(1, 2);
    run.memory.write_u64(address(1), Pointer::last(1).0);
    assert_eq!(run.broken(), ["K6"]);
}
