//! Server memory, and the log of everything that was done to it.
//!
//! [`Memory`] is what remote accesses work on; [`EffectLog`] is what the responders say they did,
//! in the order they did it. [`check`] replays the log over the initial memory: if it ends in the
//! final memory and every answer is the one logged, no access was lost, doubled or reordered
//! after the log.

use std::collections::HashMap;
use std::fmt;

use qpmux_engine::policy::ByteOrder;
use qpmux_workloads::Mixed;

/// Bytes of a page, the unit in which memory is allocated.
pub const PAGE_LEN: usize = 4096;

type Page = Box<[u8; PAGE_LEN]>;

/// Sparse byte memory over the whole 64-bit address space; untouched bytes read as zero.
///
/// An atomic's operands are numbers, big-endian on the wire, that a responder stores as words in
/// its own order, usually little-endian, while the payload of a WRITE is stored byte for byte.
/// Accesses that reach past the last address continue at address zero.
#[derive(Clone)]
pub struct Memory {
    pages: HashMap<u64, Page, Mixed>,
    words: ByteOrder,
}

impl Default for Memory {
    fn default() -> Self {
        Memory::with_words(ByteOrder::Little)
    }
}

impl Memory {
    /// Empty memory: every byte is zero. Words are little-endian.
    pub fn new() -> Self {
        Self::default()
    }

    /// Empty memory whose words have this order.
    pub fn with_words(words: ByteOrder) -> Self {
        Memory { pages: HashMap::default(), words }
    }

    /// The order of the bytes of its words.
    pub fn words(&self) -> ByteOrder {
        self.words
    }

    /// Fills `out` with the bytes from `address` on.
    pub fn read(&self, address: u64, out: &mut [u8]) {
        let mut done = 0;
        while done < out.len() {
            let (page, start, len) = span(address, done, out.len());
            let target = &mut out[done..done + len];
            match self.pages.get(&page) {
                Some(bytes) => target.copy_from_slice(&bytes[start..start + len]),
                None => target.fill(0),
            }
            done += len;
        }
    }

    /// The `length` bytes from `address` on.
    pub fn read_vec(&self, address: u64, length: usize) -> Vec<u8> {
        let mut out = Vec::new();
        self.read_into(address, length, &mut out);
        out
    }

    /// Puts the `length` bytes from `address` on in the place of what `out` has.
    pub fn read_into(&self, address: u64, length: usize, out: &mut Vec<u8>) {
        out.clear();
        out.reserve_exact(length);
        while out.len() < length {
            let (page, start, len) = span(address, out.len(), length);
            match self.pages.get(&page) {
                Some(bytes) => out.extend_from_slice(&bytes[start..start + len]),
                None => out.resize(out.len() + len, 0),
            }
        }
    }

    /// Stores `data` from `address` on.
    pub fn write(&mut self, address: u64, data: &[u8]) {
        let mut done = 0;
        while done < data.len() {
            let (page, start, len) = span(address, done, data.len());
            let bytes = self.pages.entry(page).or_insert_with(|| Box::new([0; PAGE_LEN]));
            bytes[start..start + len].copy_from_slice(&data[done..done + len]);
            done += len;
        }
    }

    /// The word at `address`.
    pub fn read_u64(&self, address: u64) -> u64 {
        let mut word = [0; 8];
        self.read(address, &mut word);
        self.words.number(&word)
    }

    /// Stores `value` as the word at `address`.
    pub fn write_u64(&mut self, address: u64, value: u64) {
        self.write(address, &self.words.bytes(value));
    }

    /// Stores `swap` at `address` if the word there is `compare`; the word as it was before.
    pub fn compare_swap(&mut self, address: u64, compare: u64, swap: u64) -> u64 {
        let before = self.read_u64(address);
        if before == compare {
            self.write_u64(address, swap);
        }
        before
    }

    /// Adds `add` to the word at `address`, modulo 2^64; the word as it was before.
    pub fn fetch_add(&mut self, address: u64, add: u64) -> u64 {
        let before = self.read_u64(address);
        self.write_u64(address, before.wrapping_add(add));
        before
    }

    /// The lowest address at which the two memories differ.
    pub fn first_difference(&self, other: &Memory) -> Option<u64> {
        let pages = self.pages.keys().chain(other.pages.keys());
        pages.filter_map(|page| self.difference_in(other, *page)).min()
    }

    fn difference_in(&self, other: &Memory, page: u64) -> Option<u64> {
        const ZERO: [u8; PAGE_LEN] = [0; PAGE_LEN];
        let mine = self.pages.get(&page).map_or(&ZERO, |p| p);
        let theirs = other.pages.get(&page).map_or(&ZERO, |p| p);
        if mine == theirs {
            return None;
        }
        let at = mine.iter().zip(theirs).position(|(a, b)| a != b)?;
        Some(page * PAGE_LEN as u64 + at as u64)
    }
}

impl PartialEq for Memory {
    fn eq(&self, other: &Self) -> bool {
        self.first_difference(other).is_none()
    }
}

impl Eq for Memory {}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({} pages)", self.pages.len())
    }
}

/// Page, offset in it and length of the next piece of an access of `total` bytes, `done` of them
/// done.
fn span(address: u64, done: usize, total: usize) -> (u64, usize, usize) {
    let at = address.wrapping_add(done as u64);
    let start = (at % PAGE_LEN as u64) as usize;
    (at / PAGE_LEN as u64, start, (total - done).min(PAGE_LEN - start))
}

/// FNV-1a over `data`: tells two READ answers apart without keeping either.
pub fn digest(data: &[u8]) -> u64 {
    digest_more(DIGEST_START, data)
}

/// Digest of nothing, where [`digest_more`] starts.
pub const DIGEST_START: u64 = 0xcbf2_9ce4_8422_2325;

/// Continues a [`digest`] over further bytes.
pub fn digest_more(state: u64, data: &[u8]) -> u64 {
    data.iter().fold(state, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// What one executed request packet did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// A WRITE packet stored these bytes.
    Write {
        /// The payload, kept because a replay needs it.
        data: Box<[u8]>,
    },
    /// A READ was answered with bytes of this digest.
    Read {
        /// Length of the answer in bytes.
        length: u32,
        /// [`digest`] of the answer.
        digest: u64,
    },
    /// A compare-and-swap.
    CompareSwap {
        /// Value the word had to have.
        compare: u64,
        /// Value stored if it had.
        swap: u64,
        /// Value answered: the word before.
        before: u64,
    },
    /// A fetch-and-add.
    FetchAdd {
        /// Value added.
        add: u64,
        /// Value answered: the word before.
        before: u64,
    },
}

/// One executed request packet: one per packet of a WRITE, one per execution of a READ or atomic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Virtual time of the execution, ns.
    pub time: u64,
    /// Number of the server QP that executed it.
    pub server_qp: u32,
    /// PSN on that QP of the request packet.
    pub psn: u32,
    /// Address of the first byte touched.
    pub address: u64,
    /// A READ executed again for a duplicate request.
    pub again: bool,
    /// What was done.
    pub access: Access,
}

impl Effect {
    /// Bytes touched.
    pub fn length(&self) -> usize {
        match &self.access {
            Access::Write { data } => data.len(),
            Access::Read { length, .. } => *length as usize,
            Access::CompareSwap { .. } | Access::FetchAdd { .. } => 8,
        }
    }
}

/// Everything all responders did to one [`Memory`], in order of execution.
#[derive(Clone, Debug, Default)]
pub struct EffectLog {
    effects: Vec<Effect>,
    is_unread: bool,
}

impl EffectLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// A log that nobody is going to read: it stays empty.
    pub fn unread() -> Self {
        Self { effects: Vec::new(), is_unread: true }
    }

    /// Whether effects are to be appended.
    pub fn is_kept(&self) -> bool {
        !self.is_unread
    }

    /// Appends an effect; the caller has just carried it out.
    pub fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// The effects, oldest first.
    pub fn effects(&self) -> &[Effect] {
        &self.effects
    }

    /// The effects, oldest first, without the log.
    pub fn into_effects(self) -> Vec<Effect> {
        self.effects
    }

    /// Number of effects.
    pub fn len(&self) -> usize {
        self.effects.len()
    }

    /// Whether nothing was done.
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }
}

/// Why a log and two memories do not belong together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// An answer was not the memory's content at its place in the log.
    #[error(
        "effect {index} (QP {server_qp:#x}, PSN {psn}): answered {answered:#x}, \
         memory had {held:#x}"
    )]
    Answer {
        /// Position in the log.
        index: usize,
        /// Server QP of the effect.
        server_qp: u32,
        /// PSN of the effect.
        psn: u32,
        /// Value or digest logged as the answer.
        answered: u64,
        /// Value or digest the replay found.
        held: u64,
    },
    /// The replay ended in another memory.
    #[error("memory differs from the replayed log at address {address:#x}")]
    Final {
        /// Lowest address that differs.
        address: u64,
    },
}

/// Replays `log` over `initial`: every answer must be the one logged and the end must be `last`.
pub fn check(initial: &Memory, log: &EffectLog, last: &Memory) -> Result<(), Mismatch> {
    let mut memory = initial.clone();
    for (index, effect) in log.effects.iter().enumerate() {
        let (answered, held) = carry_out(&mut memory, effect);
        if answered != held {
            let (server_qp, psn) = (effect.server_qp, effect.psn);
            return Err(Mismatch::Answer { index, server_qp, psn, answered, held });
        }
    }
    match memory.first_difference(last) {
        Some(address) => Err(Mismatch::Final { address }),
        None => Ok(()),
    }
}

/// Carries out one effect; the answer as logged and as found.
pub(crate) fn carry_out(memory: &mut Memory, effect: &Effect) -> (u64, u64) {
    let address = effect.address;
    match &effect.access {
        Access::Write { data } => {
            memory.write(address, data);
            (0, 0)
        }
        Access::Read { length, digest: answered } => {
            (*answered, digest(&memory.read_vec(address, *length as usize)))
        }
        Access::CompareSwap { compare, swap, before } => {
            (*before, memory.compare_swap(address, *compare, *swap))
        }
        Access::FetchAdd { add, before } => (*before, memory.fetch_add(address, *add)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(address: u64, access: Access) -> Effect {
        Effect { time: 0, server_qp: 1, psn: 2, address, again: false, access }
    }

    #[test]
    fn bytes_cross_pages_and_the_end_of_the_address_space() {
        let mut memory = Memory::new();
        let data: Vec<u8> = (0..10_000_u32).map(|n| n as u8).collect();
        for address in [0, 1, 4095, 4096, 0x7fff_fff0, u64::MAX - 5000] {
            memory.write(address, &data);
            assert_eq!(memory.read_vec(address, data.len()), data);
        }
        assert_eq!(memory.read_vec(1 << 50, 3), [0; 3]);
    }

    #[test]
    fn words_are_little_endian_and_atomics_return_the_word_before() {
        let mut memory = Memory::new();
        memory.write(0x1000, &[0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
        assert_eq!(memory.compare_swap(0x1000, 5, 7), 0x1122_3344_5566_7788);
        assert_eq!(memory.read_u64(0x1000), 0x1122_3344_5566_7788);
        assert_eq!(
            memory.compare_swap(0x1000, 0x1122_3344_5566_7788, u64::MAX),
            0x1122_3344_5566_7788
        );
        assert_eq!(memory.fetch_add(0x1000, 2), u64::MAX);
        assert_eq!(memory.read_u64(0x1000), 1);
    }

    #[test]
    fn words_may_be_big_endian() {
        let mut memory = Memory::with_words(ByteOrder::Big);
        memory.write(8, &[0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]);
        assert_eq!(memory.fetch_add(8, 1), 0x1122_3344_5566_7788);
        assert_eq!(memory.compare_swap(8, 0x1122_3344_5566_7789, 5), 0x1122_3344_5566_7789);
        assert_eq!(memory.read_vec(8, 8), [0, 0, 0, 0, 0, 0, 0, 5]);
    }

    #[test]
    fn zero_pages_equal_absent_ones() {
        let mut memory = Memory::new();
        memory.write(0x5000, &[0; 9]);
        assert_eq!(memory, Memory::new());
        memory.write(0x5008, &[1]);
        assert_eq!(memory.first_difference(&Memory::new()), Some(0x5008));
        assert_eq!(Memory::new().first_difference(&memory), Some(0x5008));
    }

    #[test]
    fn check_finds_a_lost_write_a_wrong_answer_and_a_wrong_read() {
        let initial = Memory::new();
        let mut last = initial.clone();
        let mut log = EffectLog::new();
        last.write(16, &[1, 2, 3]);
        log.push(effect(16, Access::Write { data: Box::new([1, 2, 3]) }));
        assert_eq!(check(&initial, &log, &last), Ok(()));
        assert_eq!(check(&initial, &EffectLog::new(), &last), Err(Mismatch::Final { address: 16 }));
        log.push(effect(16, Access::Read { length: 3, digest: digest(&[1, 2, 3]) }));
        let before = last.fetch_add(8, 5);
        log.push(effect(8, Access::FetchAdd { add: 5, before }));
        assert_eq!(check(&initial, &log, &last), Ok(()));
        let mut wrong = log.clone();
        wrong.push(effect(8, Access::CompareSwap { compare: 4, swap: 9, before: 4 }));
        assert!(matches!(check(&initial, &wrong, &last), Err(Mismatch::Answer { index: 3, .. })));
        log.push(effect(16, Access::Read { length: 3, digest: digest(&[1, 2, 4]) }));
        assert!(matches!(check(&initial, &log, &last), Err(Mismatch::Answer { index: 3, .. })));
    }
}
