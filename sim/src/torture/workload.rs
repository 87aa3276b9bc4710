//! What the clients ask for: every request carries a tag of its own, so that each effect on
//! memory can be told from all others.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::memory::Memory;
use crate::rc::{Outcome, Status, Verb};

/// Memory key of a protection domain.
pub(super) fn rkey(domain: u16) -> u32 {
    0x1234 + u32::from(domain)
}

/// Bytes of a cell: what a record has, and the grain of all WRITEs.
pub(super) const CELL: usize = 64;
/// Cells that a client has for itself, and cells that all share.
pub(super) const CELLS: u64 = 32;
/// Words for atomics that all share. Each client has one more for itself.
pub(super) const WORDS: u64 = 4;
/// Most clients of a run.
pub(super) const CLIENTS_MAX: usize = 64;
/// Keys of the store that are drawn from.
const KEYS: u64 = 7;
/// First address.
pub(super) const BASE: u64 = 0x10_0000;
/// Where the words are.
pub(super) const WORD_BASE: u64 = 0x20_0000;
/// One past the last address.
pub(super) const END: u64 = 0x20_1000;

/// First cell of a client; those before the first client's are shared.
pub(super) fn first_cell(client: u32) -> u64 {
    u64::from(client + 1) * CELLS
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

/// Cells in a row, of the client's own or of those that all share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Span {
    pub(super) cell: u64,
    pub(super) cells: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) shared: bool,
}

impl Default for Span {
    fn default() -> Self {
        Span { cell: 0, cells: 1, shared: false }
    }
}

impl Span {
    fn address(self, client: u32) -> u64 {
        cell_address(if self.shared { self.cell } else { first_cell(client) + self.cell })
    }
}

/// A request, as plans and scripts say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Op {
    /// Each cell begins with the key.
    Write {
        #[serde(default)]
        key: u64,
        #[serde(default)]
        at: Span,
        #[serde(default, skip_serializing_if = "is_default")]
        immediate: bool,
    },
    Read {
        #[serde(default)]
        at: Span,
    },
    /// On a shared word, or on the client's own.
    CompareSwap {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        word: Option<u64>,
        /// It compares with a value that the word never has.
        #[serde(default, skip_serializing_if = "is_default")]
        fails: bool,
    },
    FetchAdd {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        word: Option<u64>,
    },
    Send {
        #[serde(default)]
        bytes: u32,
        #[serde(default, skip_serializing_if = "is_default")]
        immediate: bool,
    },
    /// A request that a server refuses.
    Bad(Offence),
}

impl Op {
    /// Whether its request is a message of several packets.
    pub(super) fn is_long(self, pmtu: usize) -> bool {
        match self {
            Op::Write { at, .. } => at.cells as usize * CELL > pmtu,
            Op::Send { bytes, .. } => bytes as usize > pmtu,
            _ => false,
        }
    }
}

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Offence {
    /// A record under a memory key that does not exist.
    MemoryKey,
    /// A record that ends outside of the region.
    Outside,
    /// An atomic at an address that is no multiple of 8.
    Misaligned,
    /// A READ of more than the server allows.
    Length,
}

impl Offence {
    pub(super) const ALL: [Offence; 4] =
        [Offence::MemoryKey, Offence::Outside, Offence::Misaligned, Offence::Length];
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Which kinds of request a client uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mix {
    /// SENDs and other messages of several packets.
    pub(super) long: bool,
    /// SENDs and immediate data.
    pub(super) sends: bool,
}

impl Mix {
    /// A client's requests.
    pub(super) fn draw(self, count: u32, dice: &mut Dice) -> Vec<Op> {
        let mut commit = false;
        (0..count).map(|_| self.draw_one(&mut commit, dice)).collect()
    }

    /// `commit`: a record was written, and the compare-and-swap that commits it comes next.
    fn draw_one(self, commit: &mut bool, dice: &mut Dice) -> Op {
        if std::mem::take(commit) {
            return compare_swap(dice);
        }
        match dice.below(100) {
            30..38 => compare_swap(dice),
            38..50 => Op::Read { at: span(&[1, 4, 2, 0], dice) },
            50..62 => Op::Read { at: span(&[12, 11, 9, 5], dice) },
            62..74 => Op::FetchAdd { word: Some(dice.below(WORDS)) },
            74..78 => {
                Op::Write { key: 0, at: Span { cells: 0, ..Span::default() }, immediate: false }
            }
            78..89 if self.sends => self.draw_send(dice),
            89..100 if self.long => {
                let at = span(&[2, 4, 5, 8, 9, 12], dice);
                let immediate = self.sends && dice.chance(150);
                Op::Write { key: dice.below(KEYS), at, immediate }
            }
            _ => {
                *commit = dice.chance(500);
                Op::Write { key: dice.below(KEYS), at: span(&[1], dice), immediate: false }
            }
        }
    }

    fn draw_send(self, dice: &mut Dice) -> Op {
        let bytes = if self.long { dice.pick(&[0, 32, 256, 600]) } else { 32 };
        Op::Send { bytes, immediate: dice.chance(300) }
    }
}

fn compare_swap(dice: &mut Dice) -> Op {
    Op::CompareSwap { word: Some(dice.below(WORDS)), fails: !dice.chance(800) }
}

fn span(lengths: &[u64], dice: &mut Dice) -> Span {
    let (cells, shared) = (dice.pick(lengths), !dice.chance(600));
    Span { cell: dice.below(CELLS - cells.max(1) + 1), cells, shared }
}

/// One client's requests, made when they are posted.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    client: u32,
    rkey: u32,
    posted: u32,
    /// The shared words as the client saw them last.
    words: [u64; WORDS as usize],
    /// The client's own word, once all that was posted is done.
    own: u64,
}

impl Workload {
    pub(super) fn new(client: u32, domain: u16) -> Self {
        Workload { client, rkey: rkey(domain), posted: 0, words: [0; WORDS as usize], own: 0 }
    }

    /// The next request.
    pub(super) fn make(&mut self, op: Op) -> Verb {
        let verb = self.verb(op);
        self.posted += 1;
        verb
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
        if let Some(word) = self.words.get_mut(((address - WORD_BASE) / 8) as usize) {
            *word = after;
        }
    }

    fn verb(&mut self, op: Op) -> Verb {
        let (rkey, client) = (self.rkey, self.client);
        match op {
            Op::Write { key, at, immediate } => {
                let data = (0..at.cells).flat_map(|index| self.content(key, index)).collect();
                let immediate = immediate.then_some(7);
                Verb::Write { address: at.address(client), rkey, data, immediate }
            }
            Op::Read { at } => {
                let length = (at.cells * CELL as u64) as u32;
                Verb::Read { address: at.address(client), rkey, length }
            }
            Op::CompareSwap { word, fails } => {
                let (address, seen) = self.word(word);
                let (compare, swap) = (if fails { 1 } else { seen }, self.tag());
                if word.is_none() && !fails {
                    self.own = swap;
                }
                Verb::CompareSwap { address, rkey, compare, swap }
            }
            Op::FetchAdd { word } => {
                let (address, _) = self.word(word);
                let add = self.tag();
                if word.is_none() {
                    self.own = self.own.wrapping_add(add);
                }
                Verb::FetchAdd { address, rkey, add }
            }
            Op::Send { bytes, immediate } => Verb::Send {
                data: vec![client as u8; bytes as usize],
                immediate: immediate.then_some(5),
            },
            Op::Bad(offence) => self.offend(offence),
        }
    }

    fn offend(&self, offence: Offence) -> Verb {
        let (rkey, address) = (self.rkey, cell_address(first_cell(self.client)));
        match offence {
            Offence::MemoryKey => Verb::write(address, 0xbad, &self.content(0, 0)),
            Offence::Outside => Verb::write(END - 8, rkey, &self.content(0, 0)),
            Offence::Misaligned => Verb::FetchAdd { address: WORD_BASE + 4, rkey, add: self.tag() },
            Offence::Length => Verb::Read { address: END - 8, rkey, length: 640 },
        }
    }

    fn tag(&self) -> u64 {
        tag(self.client, self.posted)
    }

    /// A cell's content: key, tag, and bytes that follow from the tag.
    fn content(&self, key: u64, index: u64) -> Vec<u8> {
        let mut cell = Vec::with_capacity(CELL);
        cell.extend(key.to_le_bytes());
        cell.extend(self.tag().to_le_bytes());
        cell.extend((index + 1).to_le_bytes());
        let rest = CELL - cell.len();
        cell.extend((0..rest).map(|n| (self.tag() as usize * 31 + n) as u8));
        cell
    }

    /// Address of a word, and what it is to be compared with.
    fn word(&self, word: Option<u64>) -> (u64, u64) {
        match word {
            Some(word) => {
                let word = word % WORDS;
                (WORD_BASE + word * 8, self.words[word as usize])
            }
            None => (WORD_BASE + (WORDS + u64::from(self.client)) * 8, self.own),
        }
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
