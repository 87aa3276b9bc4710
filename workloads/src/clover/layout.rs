//! Where everything lies in the memory node's two regions.

use super::pointer::Entry;

/// Bytes of the chunks that the values' region is cut into (clover source).
const CHUNK_BYTES: u64 = 32 * 1024;
/// Chunks where the slots of 128, 256, 512 and 1,024 bytes begin, and where the last end: 1, 2, 3
/// and 98 percent of 131,072 (clover source).
const CHUNKS: [u64; 5] = [0, 1_310, 2_620, 3_930, 128_380];

/// Bytes of a shortcut word.
pub const SHORTCUT_BYTES: u64 = 8;
/// Number of the first shortcut handed out (clover source).
pub const SHORTCUT_FIRST: u32 = 128;
/// Shortcuts in their region (clover source).
const SHORTCUTS: u64 = 400_000;

/// Size of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SlotClass {
    /// 128 bytes.
    B128,
    /// 256 bytes.
    B256,
    /// 512 bytes.
    B512,
    /// 1,024 bytes.
    B1024,
}

impl SlotClass {
    /// All, by size.
    pub const ALL: [SlotClass; 4] = [Self::B128, Self::B256, Self::B512, Self::B1024];

    /// The smallest class that holds this many bytes, header included; `None` if none does.
    #[must_use]
    pub fn of(bytes: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|class| bytes <= class.bytes())
    }

    /// Bytes of a slot.
    #[must_use]
    pub const fn bytes(self) -> usize {
        128 << self.index()
    }

    /// Numbers of its slots: from the first, below the second.
    #[must_use]
    pub const fn slots(self) -> (u32, u32) {
        let mut first = 0;
        let mut index = 0;
        while index < self.index() {
            first += Self::count(index);
            index += 1;
        }
        (first as u32, (first + Self::count(index)) as u32)
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }

    const fn count(index: usize) -> u64 {
        (CHUNKS[index + 1] - CHUNKS[index]) * CHUNK_BYTES / (128 << index)
    }
}

/// The memory node's two regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// First address of the values, 4 GiB.
    pub values: u64,
    /// Their remote key.
    pub values_rkey: u32,
    /// First address of the shortcuts.
    pub shortcuts: u64,
    /// Words of the shortcuts' region, those included that are not handed out: 400,000 in Clover.
    pub shortcuts_count: u64,
    /// Their remote key.
    pub shortcuts_rkey: u32,
}

impl Layout {
    /// Bytes of the values' region.
    pub const VALUES_BYTES: u64 = 131_072 * CHUNK_BYTES;
    /// Shortcuts that Clover can hand out: the most keys, unless its region is made larger.
    pub const SHORTCUTS_MAX: u64 = SHORTCUTS - SHORTCUT_FIRST as u64;

    /// Bytes of the shortcuts' region.
    #[must_use]
    pub const fn shortcuts_bytes(&self) -> u64 {
        self.shortcuts_count * SHORTCUT_BYTES
    }

    /// Shortcuts that can be handed out.
    #[must_use]
    pub const fn shortcuts_max(&self) -> u64 {
        self.shortcuts_count.saturating_sub(SHORTCUT_FIRST as u64)
    }

    /// Makes room for the shortcuts of so many keys: where Clover's region has too little, it is a
    /// larger one, which ends where the values begin.
    pub fn make_room_for(&mut self, keys: u64) {
        if keys > self.shortcuts_max() {
            self.shortcuts_count = keys.saturating_add(u64::from(SHORTCUT_FIRST));
            self.shortcuts = self.values.wrapping_sub(self.shortcuts_bytes());
        }
    }

    /// Address of a slot of that class; `None` for a slot of another.
    #[must_use]
    pub const fn slot(&self, class: SlotClass, entry: Entry) -> Option<u64> {
        let (first, end) = class.slots();
        if entry.slot < first || entry.slot >= end || entry.slot == 0 {
            return None;
        }
        let start = self.values.wrapping_add(CHUNKS[class.index()] * CHUNK_BYTES);
        Some(start.wrapping_add((entry.slot - first) as u64 * class.bytes() as u64))
    }

    /// Address of a shortcut.
    #[must_use]
    pub const fn shortcut(&self, number: u32) -> u64 {
        self.shortcuts.wrapping_add(number as u64 * SHORTCUT_BYTES)
    }
}

impl Default for Layout {
    /// As in the trace of two threads.
    fn default() -> Self {
        Self {
            values: 0x557a_3f0a_8100,
            values_rkey: 0x05_7251,
            shortcuts: 0x557a_3ed9_acf0,
            shortcuts_count: SHORTCUTS,
            shortcuts_rkey: 0x11_0719,
        }
    }
}
