//! Judges a run of Clover by what the memory node executed and what clients were told.
//!
//! A *version* is a value that was written; its stamp names it. Where it lies, a slot is used once
//! more. A key's list is made of versions, in the order in which words that link them were stored.

use std::collections::HashMap;

use qpmux_workloads::clover::{
    self, CloverConfig, Entry, Finished, Layout, Message, Pointer, Request, SlotClass,
};

use super::garbage::Reports;
use super::history::{Operation, check};
use crate::apps::{Adversity, Garbage};
use crate::memory::{Access, Effect, Memory, digest};
use crate::rc::Violations;

/// Bytes of a slot's first word.
const HEADER: usize = 8;

/// A COMPARE_SWAP that a client has asked for.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    /// Of the version that it is to append.
    stamp: u64,
    /// The slot whose word it aims at.
    slot: u32,
    compare: u64,
    /// When it was posted, ns.
    posted: u64,
}

/// A value that was written.
pub(super) struct Version {
    pub(super) key: u64,
    /// Of what follows the slot's first word.
    digest: u64,
    pub(super) entry: Entry,
    /// When its client first asked for it to be appended, ns.
    begun: Option<u64>,
    /// A COMPARE_SWAP that may append it is on its way, or nobody knows what became of it.
    open: bool,
    /// When its client was told that it was appended, ns.
    told: Option<u64>,
    /// Where in its list it is.
    pub(super) place: Option<usize>,
}

/// A slot as memory has it.
#[derive(Default)]
struct Slot {
    /// The version in it, or 0.
    stamp: u64,
    /// Its first word, from which time on, ns.
    words: Vec<(u64, u64)>,
}

/// What has been seen so far.
pub(crate) struct Judge {
    layout: Layout,
    class: SlotClass,
    pub(super) versions: HashMap<u64, Version>,
    slots: HashMap<u32, Slot>,
    /// Versions of each key, oldest first.
    pub(super) lists: HashMap<u64, Vec<u64>>,
    operations: HashMap<u64, Vec<Operation>>,
    /// The version written last on each connection.
    written: HashMap<usize, u64>,
    reports: Reports,
    /// Keys, from 1 on, whose updates may be lost.
    unsound: u64,
    /// Requests are steered in place: who follows a list may go round for ever, in a ring of
    /// versions or because it is sent back; and a list has become a ring.
    pub(super) may_go_round: bool,
    pub(super) ring: bool,
    /// The memory node has the words that slots begin with in big-endian order.
    big_endian: bool,
    pub(super) broken: Violations,
}

impl Judge {
    pub(super) fn new(clover: &CloverConfig) -> Self {
        Self {
            layout: clover.layout,
            class: clover.class(),
            versions: HashMap::new(),
            slots: HashMap::new(),
            lists: HashMap::new(),
            operations: HashMap::new(),
            written: HashMap::new(),
            reports: Reports::default(),
            unsound: 0,
            may_go_round: false,
            ring: false,
            big_endian: false,
            broken: Violations::new(),
        }
    }

    /// The same judge where not all is as it should be.
    pub(super) fn with(self, adversity: &Adversity, may_go_round: bool) -> Self {
        let (unsound, big_endian) = (adversity.unsound_keys, adversity.big_endian);
        Self { unsound, may_go_round, big_endian, ..self }
    }

    /// Whether a key's updates may be lost. Then what is judged is that each value is whole and of
    /// its key, that nothing is linked but what its client asks for, to a slot of its key, and that
    /// who is told of a success has linked something.
    fn is_unsound(&self, key: u64) -> bool {
        key <= self.unsound
    }

    /// A word as the memory node has it.
    fn stored_word(&self, data: &[u8]) -> u64 {
        let word = word(data, 0);
        if self.big_endian { word.swap_bytes() } else { word }
    }

    /// A client asks something of the memory node. What it appends, if it does.
    pub(super) fn on_post(
        &mut self,
        now: u64,
        connection: usize,
        verb: &clover::Verb,
    ) -> Option<Asked> {
        match verb {
            clover::Verb::Write { address, data, .. } if data.len() == self.class.bytes() => {
                let slot = self.slot_at(*address)?;
                let stamp = self.on_written(slot, data);
                self.written.insert(connection, stamp);
                None
            }
            clover::Verb::CompareSwap { address, compare, .. } => {
                let slot = self.slot_at(*address)?;
                let stamp = *self.written.get(&connection)?;
                let version = self.versions.get_mut(&stamp)?;
                version.open = true;
                version.begun.get_or_insert(now);
                Some(Asked { stamp, slot, compare: *compare, posted: now })
            }
            _ => None,
        }
    }

    /// A value is about to be written. Its stamp.
    fn on_written(&mut self, slot: u32, data: &[u8]) -> u64 {
        let (key, stamp) = (word(data, HEADER), word(data, 2 * HEADER));
        let version = Version {
            key,
            digest: digest(&data[HEADER..]),
            entry: Entry { slot, version: Pointer(word(data, 0)).version() },
            begun: None,
            open: false,
            told: None,
            place: None,
        };
        self.versions.insert(stamp, version);
        stamp
    }

    /// The memory node itself writes a slot, and appends it where it has found the end of a list.
    pub(super) fn on_own_append(&mut self, now: u64, tail: Entry, slot: u32, data: &[u8]) {
        let stamp = self.on_written(slot, data);
        if let Some(version) = self.versions.get_mut(&stamp) {
            (version.begun, version.open) = (Some(now), true);
            let link = Pointer::link(version.entry, tail.version).0;
            self.on_slot(now, slot, word(data, 0), data);
            self.on_word(now, tail.slot, link);
        }
        self.end_append(now, stamp);
    }

    /// The memory node has executed something.
    pub(super) fn on_effect(&mut self, effect: &Effect) {
        let (now, address) = (effect.time, effect.address);
        let within = address.wrapping_sub(self.layout.values) < Layout::VALUES_BYTES;
        match &effect.access {
            Access::Write { data } if within && !data.is_empty() => match self.slot_at(address) {
                Some(slot) if data.len() == self.class.bytes() => {
                    self.on_slot(now, slot, self.stored_word(data), data);
                }
                Some(slot) if data.len() == HEADER => {
                    self.on_word(now, slot, self.stored_word(data));
                }
                _ => {
                    let text = || format!("{} bytes were written to {address:#x}", data.len());
                    self.broken.record("K4", now, text);
                }
            },
            Access::CompareSwap { compare, swap, before } if compare == before => {
                match self.slot_at(address) {
                    Some(slot) => self.on_word(now, slot, *swap),
                    None => self.broken.record("K4", now, || format!("swapped {address:#x}")),
                }
            }
            Access::FetchAdd { .. } => {
                self.broken.record("K4", now, || format!("added to {address:#x}"));
            }
            Access::Write { .. } | Access::Read { .. } | Access::CompareSwap { .. } => {}
        }
    }

    /// A slot was written, that begins with this word: another use of it.
    fn on_slot(&mut self, now: u64, number: u32, first: u64, data: &[u8]) {
        let (key, stamp) = (word(data, HEADER), word(data, 2 * HEADER));
        let slot = self.slots.entry(number).or_default();
        let former = std::mem::replace(&mut slot.stamp, stamp);
        slot.words.push((now, first));
        let live = self.versions.get(&former).is_some_and(|version| {
            let tail = self.lists.get(&version.key).and_then(|list| list.last());
            former != stamp && tail == Some(&former)
        });
        if live {
            let text = || format!("slot {number} holds key {key}'s newest version: overwritten");
            self.broken.record("K4", now, text);
        }
        match self.versions.get(&stamp) {
            Some(version) if version.key == key && version.entry.slot == number => {}
            _ => {
                let text = || format!("slot {number} got what nobody wrote: stamp {stamp:#x}");
                self.broken.record("K4", now, text);
            }
        }
    }

    /// A slot's first word was stored.
    fn on_word(&mut self, now: u64, number: u32, after: u64) {
        let slot = self.slots.entry(number).or_default();
        let (old, before) = (slot.stamp, slot.words.last().map_or(0, |(_, word)| *word));
        if before == after {
            return;
        }
        slot.words.push((now, after));
        let after = Pointer(after);
        let next = after.next();
        let new = next.and_then(|next| self.slots.get(&next.slot)).map_or(0, |slot| slot.stamp);
        if let Err(problem) = self.append(Pointer(before), old, after, new) {
            let text = || format!("slot {number}: {before:#x} became {:#x}: {problem}", after.0);
            self.broken.record("K4", now, text);
        }
    }

    /// Version `new` follows `old`, as the word `after` in place of `before` says.
    fn append(
        &mut self,
        before: Pointer,
        old: u64,
        after: Pointer,
        new: u64,
    ) -> Result<(), &'static str> {
        let key = self.versions.get(&old).ok_or("nothing was written there")?.key;
        let unsound = self.is_unsound(key);
        let version = self.versions.get_mut(&new).ok_or("the next slot was never written")?;
        if before.next().is_some() && !unsound {
            return Err("it had a successor");
        }
        if after.version() != before.version() {
            return Err("its version changed");
        }
        if after.next() != Some(version.entry) {
            return Err("the next slot has another version");
        }
        if version.key != key {
            return Err("the next slot is another key's");
        }
        if version.place.is_some() {
            return Err("the next slot was in the list before");
        }
        let (open, entry) = (version.open, version.entry);
        let list = self.lists.entry(key).or_default();
        if list.last() != Some(&old) && !unsound {
            return Err("it is not the last of its list");
        }
        version.place = Some(list.len());
        list.push(new);
        if self.leads_to(entry, old) {
            self.ring = self.may_go_round && unsound;
            return if self.ring { Ok(()) } else { Err("the list is a ring now") };
        }
        if open { Ok(()) } else { Err("nobody asks for it, or was told that it failed") }
    }

    /// Whether who goes on from a slot comes to the one that holds this version.
    fn leads_to(&self, from: Entry, stamp: u64) -> bool {
        let follow = |at: &Entry| Pointer(self.slots.get(&at.slot)?.words.last()?.1).next();
        let mut chain = std::iter::successors(Some(from), follow).take(self.slots.len());
        chain.any(|at| self.slots.get(&at.slot).is_some_and(|slot| slot.stamp == stamp))
    }

    /// A client is told of the end of a COMPARE_SWAP.
    pub(super) fn on_told(&mut self, now: u64, asked: &Asked, outcome: &clover::Outcome) {
        let Some(version) = self.versions.get(&asked.stamp) else { return };
        let (appended, version_key) = (version.place.is_some(), version.key);
        match outcome {
            clover::Outcome::Atomic(original) if *original == asked.compare => {
                if !appended {
                    let text = || format!("{:#x} was told a success, it was none", asked.stamp);
                    self.broken.record("K5", now, text);
                }
                self.end_append(now, asked.stamp);
            }
            clover::Outcome::Atomic(original) => {
                if appended {
                    let text = || format!("{:#x} was told a failure, it was none", asked.stamp);
                    self.broken.record("K5", now, text);
                }
                if !self.is_unsound(version_key) && !self.held(asked, *original, now) {
                    let slot = asked.slot;
                    let text = || format!("slot {slot} never had the word {original:#x}");
                    self.broken.record("K5", now, text);
                }
                if let Some(version) = self.versions.get_mut(&asked.stamp) {
                    version.open = false;
                }
            }
            // Nobody knows what became of it.
            _ => {}
        }
    }

    /// Whether the slot's word was that at some time between the posting and now.
    fn held(&self, asked: &Asked, word: u64, now: u64) -> bool {
        let Some(slot) = self.slots.get(&asked.slot) else { return false };
        let mut end = u64::MAX;
        for &(begin, held) in slot.words.iter().rev() {
            if held == word && begin <= now && end >= asked.posted {
                return true;
            }
            if begin < asked.posted {
                break;
            }
            end = begin;
        }
        false
    }

    fn end_append(&mut self, now: u64, stamp: u64) {
        let Some(version) = self.versions.get_mut(&stamp) else { return };
        let (key, place) = (version.key, version.place);
        version.open = false;
        if version.told.replace(now).is_some() {
            self.broken.record("K5", now, || format!("{stamp:#x} was told a success twice"));
        }
        if let (Some(place), Some(begin)) = (place, version.begun) {
            let operation = Operation { begin, end: now, place, writes: true };
            self.operations.entry(key).or_default().push(operation);
        }
    }

    /// An operation has ended well.
    pub(super) fn on_finished(&mut self, now: u64, begin: u64, finished: &Finished) {
        let key = finished.request.key();
        let (stamp, unsound) = (word(&finished.value, HEADER), self.is_unsound(key));
        let version = self.versions.get_mut(&stamp);
        let known = version.filter(|version| {
            version.key == key
                && word(&finished.value, 0) == key
                && version.digest == digest(&finished.value)
        });
        let Some(version) = known else {
            let text = || format!("{:?}: stamp {stamp:#x} is nothing of it", finished.request);
            return self.broken.record("K1", now, text);
        };
        match finished.request {
            Request::Insert { .. } => {
                version.place = Some(0);
                (version.begun, version.told) = (Some(begin), Some(now));
                self.lists.insert(key, vec![stamp]);
            }
            Request::Update { .. } if version.told.is_none() => {
                let text = || format!("an update of key {key} ended without its commit");
                self.broken.record("K3", now, text);
            }
            Request::Update { .. } => {}
            Request::Read { .. } => match version.place {
                Some(place) => {
                    let operation = Operation { begin, end: now, place, writes: false };
                    self.operations.entry(key).or_default().push(operation);
                }
                None if unsound => {}
                None => {
                    let text = || format!("key {key}: {stamp:#x} is not in the list");
                    self.broken.record("K1", now, text);
                }
            },
        }
    }

    /// A message comes to the metadata server.
    pub(super) fn on_message(&mut self, data: &[u8]) {
        if let Some(Message { content: clover::Content::Collection(pairs), .. }) =
            Message::parse(data)
        {
            self.reports.note(&pairs);
        }
    }

    /// The run is over; `memory` is the memory node's.
    pub(super) fn finish(&mut self, now: u64, memory: &Memory) {
        for (stamp, version) in &self.versions {
            let Some(place) = version.place.filter(|_| version.told.is_none()) else { continue };
            if !version.open {
                let text = || format!("{stamp:#x} is in the list, its client heard of no success");
                self.broken.record("K3", now, text);
            }
            let begin = version.begun.unwrap_or(0);
            let operation = Operation { begin, end: u64::MAX, place, writes: true };
            self.operations.entry(version.key).or_default().push(operation);
        }
        let unsound = self.unsound;
        for (key, operations) in self.operations.iter_mut().filter(|(key, _)| **key > unsound) {
            if let Some(problem) = check(operations) {
                self.broken.record("K2", now, || format!("key {key}: {problem}"));
            }
        }
        let keys: Vec<u64> = self.lists.keys().copied().filter(|key| *key > unsound).collect();
        for key in keys {
            if let Some(problem) = self.walk(key, memory) {
                self.broken.record("K6", now, || format!("key {key}: {problem}"));
            }
        }
    }

    /// Walks a key's list in memory, from the oldest version whose slot has no other use, and all
    /// after it neither. What is wrong, if anything.
    fn walk(&self, key: u64, memory: &Memory) -> Option<String> {
        let list = self.lists.get(&key)?;
        let in_place = |stamp: &&u64| {
            let slot = self.versions.get(*stamp).and_then(|v| self.slots.get(&v.entry.slot));
            slot.is_some_and(|slot| slot.stamp == **stamp)
        };
        let left = list.iter().rev().take_while(in_place).count();
        let mut place = list.len() - left;
        if left == 0 {
            return Some("the newest version is overwritten".to_owned());
        }
        let mut entry = self.versions.get(&list[place])?.entry;
        loop {
            let address = self.layout.slot(self.class, entry)?;
            let data = memory.read_vec(address, self.class.bytes());
            let (header, stamp) = (Pointer(self.stored_word(&data)), word(&data, 2 * HEADER));
            let same = |version: &Version| version.digest == digest(&data[HEADER..]);
            if list.get(place) != Some(&stamp) || !self.versions.get(&stamp).is_some_and(same) {
                return Some(format!("version {place} is not what was appended"));
            }
            if header.version() != entry.version {
                return Some(format!("version {place} has another slot version"));
            }
            place += 1;
            match header.next() {
                Some(next) => entry = next,
                None if place == list.len() => return None,
                None => return Some(format!("{place} versions, {} were appended", list.len())),
            }
        }
    }

    /// What the metadata server was told of superseded slots, and took back.
    pub(super) fn garbage(&self, recycled: u64) -> Garbage {
        self.reports.compare(self, recycled)
    }

    /// Number of the slot at an address, if one begins there.
    fn slot_at(&self, address: u64) -> Option<u32> {
        let (first, end) = self.class.slots();
        let version = 1;
        let start = self.layout.slot(self.class, Entry { slot: first.max(1), version })?;
        let offset = address.checked_sub(start)?;
        let bytes = self.class.bytes() as u64;
        let slot = u64::from(first.max(1)) + offset / bytes;
        (offset % bytes == 0 && slot < u64::from(end)).then_some(slot as u32)
    }
}

/// The little-endian word at an offset; 0 beyond the end.
fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_le_bytes(*word))
}
