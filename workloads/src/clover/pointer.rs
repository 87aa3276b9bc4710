//! The word that everything turns on: which slot, and which use of it.

use std::fmt;

/// Highest slot number that a pointer holds (32 bits, clover source).
pub const SLOT_NUMBER_MAX: u64 = 0xffff_ffff;

/// Highest version of a slot: what comes back from this use waits for the next epoch (clover
/// source).
pub const VERSION_MAX: u8 = 254;

const SLOT_AT: u32 = 28;
const NEXT_VERSION_AT: u32 = 19;
const VERSION_AT: u32 = 11;

/// One use of a slot: a slot that is recycled comes back with the next version, so that who still
/// knows the former use can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// Number of the slot, `1..=0xffff_ffff`; 0 is no slot.
    pub slot: u32,
    /// Version, `1..=254`.
    pub version: u8,
}

/// A pointer word: slot in bits 28 to 59, version of the slot pointed at in 19 to 26, version of
/// the slot it lies in in 11 to 18, and in bit 0 a lock that replication 1 does not use. In memory
/// it is little-endian, like all of Clover's numbers; on the wire of an atomic big-endian.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Pointer(pub u64);

impl Pointer {
    /// First word of a slot that nothing follows yet.
    #[must_use]
    pub const fn last(version: u8) -> Self {
        Self((version as u64) << VERSION_AT)
    }

    /// First word of a slot of version `own` that `next` follows.
    #[must_use]
    pub const fn link(next: Entry, own: u8) -> Self {
        let slot = (next.slot as u64) << SLOT_AT;
        Self(slot | (next.version as u64) << NEXT_VERSION_AT | (own as u64) << VERSION_AT)
    }

    /// The word that names a slot from outside the list: in a shortcut, in a message. Its version
    /// stands where a slot's own version does.
    #[must_use]
    pub const fn entry(entry: Entry) -> Self {
        Self((entry.slot as u64) << SLOT_AT | (entry.version as u64) << VERSION_AT)
    }

    /// Number of the slot it points at; 0 is none.
    #[must_use]
    pub const fn slot(self) -> u32 {
        (self.0 >> SLOT_AT) as u32
    }

    /// Version of the slot that the word lies in, or that an entry names.
    #[must_use]
    pub const fn version(self) -> u8 {
        (self.0 >> VERSION_AT) as u8
    }

    /// Version of the slot pointed at.
    #[must_use]
    pub const fn next_version(self) -> u8 {
        (self.0 >> NEXT_VERSION_AT) as u8
    }

    /// What follows, read as the first word of a slot.
    #[must_use]
    pub const fn next(self) -> Option<Entry> {
        match self.slot() {
            0 => None,
            slot => Some(Entry { slot, version: self.next_version() }),
        }
    }

    /// What it names, read as an entry.
    #[must_use]
    pub const fn named(self) -> Option<Entry> {
        match self.slot() {
            0 => None,
            slot => Some(Entry { slot, version: self.version() }),
        }
    }
}

impl fmt::Debug for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pointer({:#x})", self.0)
    }
}
