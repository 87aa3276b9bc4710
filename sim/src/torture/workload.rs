//! What the clients ask for: every request carries a tag of its own, so that each effect on
//! memory can be told from all others.

use super::dice::Dice;
use crate::memory::Memory;
use crate::rc::{Outcome, Status, Verb};

/// Memory key of everything.
pub(super) const RKEY: u32 = 0x1234;
/// Bytes of a cell: what a record has, and the grain of all WRITEs.
pub(super) const CELL: usize = 64;
/// Cells that a client has for itself, and cells that all share.
pub(super) const CELLS: u64 = 32;
/// Words for atomics, shared by all.
pub(super) const WORDS: u64 = 4;
/// Keys of the store.
const KEYS: u64 = 7;
/// First address.
pub(super) const BASE: u64 = 0x10_0000;
/// Where the words are.
pub(super) const WORD_BASE: u64 = 0x20_0000;
/// One past the last address.
pub(super) const END: u64 = 0x20_1000;

/// First cell of a client; the shared ones are those of a client that does not exist.
pub(super) fn first_cell(client: u32) -> u64 {
    u64::from(client) * CELLS
}

/// The address of a cell.
pub(super) fn cell_address(cell: u64) -> u64 {
    BASE + cell * CELL as u64
}

/// The tag of a client's n-th request.
pub(super) fn tag(client: u32, number: u32) -> u64 {
    u64::from(client + 1) << 32 | u64::from(number + 1)
}

/// Client and number of a tag; `None` if it is none.
pub(super) fn of_tag(tag: u64) -> Option<(u32, u32)> {
    let (client, number) = ((tag >> 32) as u32, tag as u32);
    (client > 0 && number > 0).then(|| (client - 1, number - 1))
}

/// The tag in the first cell of a WRITE's payload.
pub(super) fn tag_in(cell: &[u8]) -> u64 {
    let bytes = cell.get(8..16).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

/// Which kinds of request a client uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mix {
    /// SENDs and other messages of several packets.
    pub(super) long: bool,
    /// SENDs and immediate data.
    pub(super) sends: bool,
}

/// One client's requests, made when they are posted.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    client: u32,
    clients: u32,
    dice: Dice,
    mix: Mix,
    posted: u32,
    left: u32,
    /// The words as the client saw them last.
    words: [u64; WORDS as usize],
    /// A WRITE was posted, and the compare-and-swap that commits it comes next.
    commit: bool,
}

impl Workload {
    pub(super) fn new(client: u32, clients: u32, requests: u32, mix: Mix, dice: Dice) -> Self {
        let words = [0; WORDS as usize];
        Workload { client, clients, dice, mix, posted: 0, left: requests, words, commit: false }
    }

    /// Whether nothing is left to ask for.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// The next request.
    pub(super) fn next(&mut self) -> Option<Verb> {
        self.left = self.left.checked_sub(1)?;
        let verb = self.draw();
        self.posted += 1;
        Some(verb)
    }

    /// Remembers what an atomic has found.
    pub(super) fn learn(&mut self, verb: &Verb, status: Status, outcome: &Outcome) {
        let (Status::Success, Outcome::Atomic(before)) = (status, outcome) else { return };
        let (address, after) = match verb {
            Verb::CompareSwap { address, compare, swap, .. } => {
                (*address, if before == compare { *swap } else { *before })
            }
            Verb::FetchAdd { address, add, .. } => (*address, before.wrapping_add(*add)),
            _ => return,
        };
        self.words[((address - WORD_BASE) / 8 % WORDS) as usize] = after;
    }

    fn draw(&mut self) -> Verb {
        if std::mem::take(&mut self.commit) {
            return self.compare_swap();
        }
        match self.dice.below(100) {
            0..30 => self.record(),
            30..38 => self.compare_swap(),
            38..50 => self.read(&[CELL, 4 * CELL, 2 * CELL, 0]),
            50..62 => self.read(&[12 * CELL, 11 * CELL, 9 * CELL, 5 * CELL]),
            62..74 => self.fetch_add(),
            74..78 => Verb::write(cell_address(first_cell(self.client)), RKEY, &[]),
            78..89 if self.mix.sends => self.send(),
            89..100 if self.mix.long => self.long_write(),
            _ => self.record(),
        }
    }

    fn tag(&self) -> u64 {
        tag(self.client, self.posted)
    }

    /// A cell of the client's own, or of those that are shared, with room for `count`.
    fn cell(&mut self, count: u64) -> u64 {
        let whose = if self.dice.chance(600) { self.client } else { self.clients };
        first_cell(whose) + self.dice.below(CELLS - count + 1)
    }

    /// A cell's content: key, tag, and bytes that follow from the tag.
    fn content(&self, key: u64, index: u64) -> Vec<u8> {
        let mut cell = key.to_le_bytes().to_vec();
        cell.extend(self.tag().to_le_bytes());
        cell.extend((index + 1).to_le_bytes());
        let rest = CELL - cell.len();
        cell.extend((0..rest).map(|n| (self.tag() as usize * 31 + n) as u8));
        cell
    }

    fn record(&mut self) -> Verb {
        let (address, key) = (cell_address(self.cell(1)), self.dice.below(KEYS));
        self.commit = self.dice.chance(500);
        Verb::write(address, RKEY, &self.content(key, 0))
    }

    fn long_write(&mut self) -> Verb {
        let cells = self.dice.pick(&[2, 4, 5, 8, 9, 12]);
        let address = cell_address(self.cell(cells));
        let data = (0..cells).flat_map(|index| self.content(0, index)).collect();
        let immediate = (self.mix.sends && self.dice.chance(150)).then_some(7);
        Verb::Write { address, rkey: RKEY, data, immediate }
    }

    fn read(&mut self, lengths: &[usize]) -> Verb {
        let length = self.dice.pick(lengths);
        let address = cell_address(self.cell((length / CELL).max(1) as u64));
        Verb::Read { address, rkey: RKEY, length: length as u32 }
    }

    fn word(&mut self) -> (u64, u64) {
        let index = self.dice.below(WORDS);
        (WORD_BASE + index * 8, self.words[index as usize])
    }

    fn compare_swap(&mut self) -> Verb {
        let (address, seen) = self.word();
        let compare = if self.dice.chance(800) { seen } else { 1 };
        Verb::CompareSwap { address, rkey: RKEY, compare, swap: self.tag() }
    }

    fn fetch_add(&mut self) -> Verb {
        let (address, _) = self.word();
        Verb::FetchAdd { address, rkey: RKEY, add: self.tag() }
    }

    fn send(&mut self) -> Verb {
        let length = if self.mix.long { self.dice.pick(&[0, 32, 256, 600]) } else { 32 };
        let immediate = self.dice.chance(300).then_some(5);
        Verb::Send { data: vec![self.client as u8; length], immediate }
    }
}

/// The memory before the first request.
pub(super) fn initial_memory() -> Memory {
    let mut memory = Memory::new();
    for word in 0..WORDS {
        memory.write_u64(WORD_BASE + word * 8, 0);
    }
    memory
}
